"""``clinragen demo``: everything on a made-up hospital."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Run the whole pipeline on a made-up hospital and open up a report. Needs no data and no download."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/demo"), help="folder to write (default: outputs/demo)"
    )
    parser.add_argument("--config", type=Path, help="settings (default: the shipped configs/demo.yaml)")
    parser.add_argument("--patients", type=int, help="size of the made-up hospital")
    parser.add_argument("--overwrite", action="store_true", help="replace the output folder of an earlier demo")


def run(args: argparse.Namespace) -> None:
    """Run it."""
    from rich.console import Console

    from clinragen.demo import run_demo

    run_demo(args.out, args.config, args.patients, Console(stderr=True), overwrite=args.overwrite)
