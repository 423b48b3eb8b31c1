"""What the API refuses before it charges anybody: body, model, schema subset."""
