"""Similar cases: training stays as vectors, exact search over them, and what two charts have in common."""
