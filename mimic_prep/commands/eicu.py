"""``mimic-prep eicu``: a cohort from the eICU Collaborative Research Database."""

from __future__ import annotations

import argparse

from mimic_prep.commands._prepare import add_arguments, run_reader

HELP = "prepare a cohort from eICU 2.0 or its demo"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_arguments(parser, "the folder with the tables, such as patient.csv.gz and lab.csv.gz")


def run(args: argparse.Namespace) -> int | None:
    """Run the command."""
    from mimic_prep.eicu import EicuReader

    return run_reader(EicuReader(), args)
