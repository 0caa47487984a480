"""Conversion of cohorts to and from the formats of other tools."""
