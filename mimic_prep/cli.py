"""The ``mimic-prep`` command: looks up the subcommand and imports only that one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from clinragen import __version__
from clinragen.errors import UserError, exit_code

#: subcommand -> module with ``configure(parser)`` and ``run(args)``, one line of help
COMMANDS = {
    "mimic-iv": ("mimic_prep.commands.mimic_iv", "prepare a cohort from MIMIC-IV 2.2 to 3.1"),
    "mimic-iii": ("mimic_prep.commands.mimic_iii", "prepare a cohort from MIMIC-III 1.4"),
    "eicu": ("mimic_prep.commands.eicu", "prepare a cohort from eICU 2.0 or its demo"),
    "meds": ("mimic_prep.commands.meds", "prepare a cohort from a MEDS dataset"),
    "physionet-2012": ("mimic_prep.commands.physionet_2012", "prepare unlabelled stays to pretrain the series encoder"),
    "verify": (
        "mimic_prep.commands.verify",
        "check raw tables before work: release, files, columns, row counts, SHA-256",
    ),
    "audit": ("mimic_prep.commands.audit", "check a cohort for leaks, copies, mixed units and drift"),
    "synthesize": ("mimic_prep.synthetic.command", "write a made-up hospital as raw MIMIC-IV tables"),
}


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mimic-prep", description="Turn raw electronic health records into a cohort folder, without leaks."
    )
    parser.add_argument("--version", action="version", version=f"mimic-prep {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_line) in COMMANDS.items():
        command = commands.add_parser(name, help=help_line, description=help_line)
        if name == chosen:
            import_module(module).configure(command)
    return parser


def dispatch(argv: Sequence[str]) -> int | None:
    """Run one subcommand; errors are raised."""
    chosen = next((word for word in argv if word in COMMANDS), None)
    args = _parser(chosen).parse_args(argv)
    return import_module(COMMANDS[args.command][0]).run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Console entry: the exit code."""
    return exit_code(dispatch, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
