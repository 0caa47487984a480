"""``mimic-prep mimic-iv``: a cohort from MIMIC-IV."""

from __future__ import annotations

import argparse

from mimic_prep.commands._prepare import add_arguments, run_reader

HELP = "prepare a cohort from MIMIC-IV 2.2 to 3.1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_arguments(parser, "the folder with hosp/ and icu/, and note/ of MIMIC-IV-Note where you have it")


def run(args: argparse.Namespace) -> int | None:
    """Run the command."""
    from mimic_prep.mimic import MimicReader
    from mimic_prep.sources.mimic4 import MIMIC4

    return run_reader(MimicReader(MIMIC4), args)
