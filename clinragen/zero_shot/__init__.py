"""Scores of labels that no model was trained on: what a label is called and described as, against what charts show."""
