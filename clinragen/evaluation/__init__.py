"""Metrics: diagnoses and probabilities against the labels, rationales against the teacher's and the chart."""
