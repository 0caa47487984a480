"""``mimic-prep synthesize``: write the made-up hospital."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a made-up hospital in raw MIMIC-IV tables, with its ground truth"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--patients", type=int, required=True, metavar="N", help="number of patients")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="the same seed gives the same bytes (default 0)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--workers", type=int, default=None, metavar="K", help="processes (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder when it exists")


def run(args: argparse.Namespace) -> None:
    """Write the tables and print where they are.

    Raises:
        UserError: a number out of range, or the folder exists without ``--overwrite``.
    """
    from mimic_prep.synthetic.write import synthesize

    counts = synthesize(args.patients, args.seed, args.out, workers=args.workers, overwrite=args.overwrite)
    stays, rows = counts["icu/icustays"], sum(counts.values())
    print(
        f"{args.out}: {args.patients} patients, {stays} stays in intensive care, {rows:,} rows; ground truth in truth/"
    )
