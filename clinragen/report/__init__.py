"""Predictions as a static HTML site that opens from a file and asks the network for nothing."""

from clinragen.callable_package import make_callable

make_callable(__name__, "clinragen.api.assessment")
