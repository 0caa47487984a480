"""A prepared cohort: tables, window, note sections, and the authors of its rationales. Torch-free."""
