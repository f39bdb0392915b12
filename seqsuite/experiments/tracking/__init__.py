"""What is recorded of runs, and where it is read."""
