"""Preparation of credentialed EHR data into cohort folders. Never imports torch."""
