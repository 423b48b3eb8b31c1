"""Writes `docs/reference` from the code: `python -m services.ops.reference [--check]`."""
