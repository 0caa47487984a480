"""``mimic-prep physionet-2012``: unlabelled stays of the Challenge 2012, to pretrain the series encoder"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "prepare unlabelled stays of the PhysioNet Challenge 2012, to pretrain the series encoder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="the folder with set-a, set-b, set-c")
    parser.add_argument("--out", type=Path, required=True, metavar="COHORT", help="the cohort folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace COHORT if it exists")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from mimic_prep import challenge2012, protocol

    manifest = challenge2012.prepare(args.raw, args.out, protocol.load("admission"), overwrite=args.overwrite)
    counts = manifest["rows"]
    print(f"{args.out}: {counts['stays']:,} stays, {counts['measurements']:,} measurements")
