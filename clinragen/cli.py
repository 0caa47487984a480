"""The ``clinragen`` command: its files are in ``clinragen.commands``, each imported only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clinragen.command_line import Program

PROGRAM = Program(
    name="clinragen",
    about="Knowledge-augmented EHR rationale distillation. Not for clinical use.",
    package="clinragen.commands",
    order=(
        "graph",
        "freshness",
        "teach",
        "distill",
        "train",
        "federate",
        "predict",
        "explain",
        "ask",
        "index",
        "similar",
        "zeroshot",
        "prescribe",
        "baseline",
        "evaluate",
        "compare",
        "export",
        "export-cohort",
        "report",
        "rate",
        "contract",
        "ledger",
        "serve",
        "experiment",
        "demo",
    ),
    renamed={
        ("predict", "--claims"): "--decoding",
        ("predict", "--decoding", "grounded"): "constrained",
        ("predict", "--series-input", "shuffled"): "permuted",
        ("evaluate", "--predictions-shuffled"): "--predictions-permuted",
    },
    closing="`clinragen COMMAND --help` explains a command; `mimic-prep --help` explains data preparation.",
)


def dispatch(argv: Sequence[str]) -> int | None:
    """Run one subcommand; errors are raised."""
    return PROGRAM.run(argv)


def main() -> None:
    """Console entry point."""
    sys.exit(PROGRAM.main(sys.argv[1:]))
