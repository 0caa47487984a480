"""A rationale is split into claims, and each claim is checked against the chart: supported, contradicted or absent."""
