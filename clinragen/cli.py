"""The ``clinragen`` command. Each subcommand is imported only when it is called, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from clinragen import __version__
from clinragen.errors import exit_code, unknown_choice

#: command -> what it does; the code is ``clinragen.commands.<command>``.
COMMANDS = {
    "graph": "build, show, draw and count the medical concept graph",
    "teach": "write teacher rationales for a cohort",
    "distill": "run all distillation stages",
    "train": "run one distillation stage: pretrain, notes, series or multimodal",
    "predict": "diagnose stays and write rationales, as JSONL and Parquet",
    "explain": "show which concepts, variables and hours carried a diagnosis",
    "evaluate": "score predictions, with control experiments beside them",
    "export": "write a finished run as a folder to hand over, with a model card",
    "report": "write predictions as a static HTML site",
    "demo": "run everything on a made-up hospital",
}
#: options that name folders whose files are held against their manifests
HELD = ("cohort", "model", "predictions", "parent")


def usage() -> str:
    """The text of ``clinragen --help``."""
    width = max(map(len, COMMANDS))
    lines = [
        "usage: clinragen COMMAND [options]",
        "",
        "Knowledge-augmented EHR rationale distillation. Not for clinical use.",
        "",
        "commands, in the order in which they are used:",
        *(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()),
        "",
        "`clinragen COMMAND --help` explains a command; `mimic-prep --help` the preparation of hospital data.",
        "`clinragen --version` prints the version.",
    ]
    return "\n".join(lines)


def dispatch(argv: Sequence[str]) -> int | None:
    """Run one subcommand; errors are raised."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"clinragen {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        raise unknown_choice("command", argv[0], COMMANDS)
    command = importlib.import_module(f"clinragen.commands.{argv[0]}")
    parser = argparse.ArgumentParser(prog=f"clinragen {argv[0]}", description=command.HELP)
    command.configure(parser)
    if any(action.dest in HELD for action in parser._actions):  # argparse has no public list of them
        parser.add_argument("--verify", action="store_true", help="hash large files too, before they are read")
    args = parser.parse_args(argv[1:])
    from clinragen.integrity import thorough
    from clinragen.label_sets import use_those_of

    with thorough(getattr(args, "verify", False)), use_those_of(getattr(args, "cohort", None)):
        return command.run(args)


def main() -> None:
    """Console entry point."""
    sys.exit(exit_code(dispatch, sys.argv[1:]))
