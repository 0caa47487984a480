"""``clinragen export``: a finished run as a folder to hand over, with a model card"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Write a finished run as a Hugging Face style folder: merged weights in safetensors, and a model card."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", type=Path, required=True, metavar="RUN", help="run folder written by `clinragen train`"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--evaluation", type=Path, metavar="FILE", help="evaluation.json of this model, for the card")
    parser.add_argument("--title", help="title of the card (default: the folder's name)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")


def run(args: argparse.Namespace) -> None:
    """Export and say where it is."""
    from rich.console import Console

    from clinragen.evaluation.stored import load_evaluation
    from clinragen.inference.finished import FinishedRun
    from clinragen.outputs import EXPORT, check_output
    from clinragen.stages.quiet import phase, quiet_libraries

    quiet_libraries()
    check_output(args.out, EXPORT, overwrite=args.overwrite, inputs=(args.model, args.evaluation))
    FinishedRun.open(args.model)
    if args.evaluation:
        load_evaluation(args.evaluation)
    phase(Console(stderr=True), "loading torch and the model")
    from clinragen.inference.export import export

    manifest = export(args.model, args.out, evaluation=args.evaluation, title=args.title, overwrite=args.overwrite)
    print(f"{args.out}: {manifest['parameters']:,} parameters; the card is README.md")
