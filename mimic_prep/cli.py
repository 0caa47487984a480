"""The ``mimic-prep`` command: one subcommand for each release, and those of ``mimic_prep.commands``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from clinragen.command_line import Program
from mimic_prep.commands._releases import release_commands

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # nothing here multiplies matrices: its threads would only wait, busily

PROGRAM = Program(
    name="mimic-prep",
    about="Prepare a leak-free cohort folder from raw electronic health records.",
    package="mimic_prep.commands",
    order=("mimic-iv", "mimic-iii", "eicu", "meds", "fhir", "physionet-2012", "check-release", "audit", "synthesize"),
    closing="`mimic-prep COMMAND --help` explains a command; `clinragen --help` explains the use of a cohort.",
    further=release_commands(),
    renamed={("", "verify"): "check-release"},
)


def dispatch(argv: Sequence[str]) -> int | None:
    """Run one subcommand; errors are raised."""
    return PROGRAM.run(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Console entry: the exit code."""
    return PROGRAM.main(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
