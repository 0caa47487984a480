"""Cohort and rationales to batches of tensors."""
