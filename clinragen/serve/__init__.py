"""The service on one's own premises: stays in the cohort's schema or as FHIR come in, verified reports go out."""
