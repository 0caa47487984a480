"""A rationale is split into claims, and each claim is checked against the chart: supported, contradicted or absent."""

from clinragen.callable_package import make_callable

make_callable(__name__, "clinragen.api.assessment")
