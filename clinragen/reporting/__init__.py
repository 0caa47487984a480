"""Predictions as a static HTML site that opens from a file and makes no network requests."""
