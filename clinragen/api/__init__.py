"""What ``import clinragen`` offers to Python: one function for each command, typed results."""
