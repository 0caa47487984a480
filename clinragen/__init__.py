"""Knowledge-augmented EHR rationale distillation."""

__version__ = "0.1.0"
