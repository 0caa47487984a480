"""Reports in other forms than pages: what is stated of a stay as JSON, FHIR, CSV and PDF."""
