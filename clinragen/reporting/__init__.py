"""Predictions as a static HTML site that opens from a file and asks the network for nothing."""
