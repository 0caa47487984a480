"""``clinragen distill``: all stages with one command"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Run all stages of the distillation. Typed again, it keeps what is finished and resumes what is not."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from clinragen.commands import train

    train.add_common(parser, "folder of the runs, one for each stage")
    parser.add_argument("--unlabelled", type=Path, metavar="COHORT", help="pretrain the series encoder on this cohort")


def run(args: argparse.Namespace) -> None:
    """Distil and say where the last run is."""
    from rich.console import Console

    from clinragen.commands.train import request_of
    from clinragen.stages.distill import Chain, distill, split_overrides
    from clinragen.stages.quiet import quiet_libraries

    quiet_libraries()
    common, own = split_overrides(args.set)
    base = request_of(args, stage="notes", overrides=common, finish=True)
    distill(Chain(base, args.unlabelled, own), Console(stderr=True))
    if not args.preflight:
        print(f"{args.out / 'multimodal'}: the last stage; next: clinragen predict --model {args.out / 'multimodal'}")
