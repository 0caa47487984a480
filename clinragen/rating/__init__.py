"""Rationales rated by clinicians and by a language model, on blinded pages that work offline."""
