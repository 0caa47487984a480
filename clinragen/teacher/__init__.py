"""Teachers write the rationales that the student learns from."""
