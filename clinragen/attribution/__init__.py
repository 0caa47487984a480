"""Which concepts, variables and hours carried a diagnosis."""
