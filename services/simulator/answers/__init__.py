"""What the simulated model says: deterministic given the request and the seed."""
