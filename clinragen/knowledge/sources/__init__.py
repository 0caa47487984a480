"""One module per knowledge source; each has ``contribute(...) -> Contribution``."""
