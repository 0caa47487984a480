"""``mimic-prep mimic-iii``: a cohort from MIMIC-III."""

from __future__ import annotations

import argparse

from mimic_prep.commands._prepare import add_arguments, run_reader

HELP = "prepare a cohort from MIMIC-III 1.4"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_arguments(parser, "the folder with the tables, such as CHARTEVENTS.csv.gz")


def run(args: argparse.Namespace) -> int | None:
    """Run the command."""
    from mimic_prep.mimic import MimicReader
    from mimic_prep.sources.mimic3 import MIMIC3

    return run_reader(MimicReader(MIMIC3), args)
