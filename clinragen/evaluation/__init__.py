"""How good predictions are: diagnoses and probabilities against the labels, rationales against the teacher's."""
