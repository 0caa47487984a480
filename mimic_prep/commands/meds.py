"""``mimic-prep meds``: a cohort from any MEDS dataset."""

from __future__ import annotations

import argparse

from mimic_prep.commands._prepare import add_arguments, run_reader

HELP = "prepare a cohort from a MEDS dataset"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_arguments(parser, "the folder of the dataset, with data/ and metadata/")
    parser.add_argument(
        "--codes", default="default", metavar="FILE", help="what the codes mean (default: configs/meds/default.yaml)"
    )


def run(args: argparse.Namespace) -> int | None:
    """Run the command."""
    from tempfile import TemporaryDirectory

    from clinragen.artifacts import read_json, write_json
    from clinragen.errors import UserError
    from clinragen.schema import CohortPaths
    from mimic_prep import meds
    from mimic_prep.mimic import MimicReader
    from mimic_prep.sources.meds import MEDS

    if not args.raw.is_dir():
        raise UserError(f"{args.raw} not found: --raw expects the folder of a MEDS dataset")
    codes = meds.load_codes(args.codes)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".meds-", dir=args.out.parent) as scratch:
        raw = args.raw
        args.raw = type(raw)(scratch)
        converted = meds.convert(raw, codes, args.raw)
        result = run_reader(MimicReader(MEDS), args)
    path = CohortPaths(args.out).manifest
    manifest = read_json(path, "the manifest of a cohort made by mimic-prep")
    manifest["meds"] = {"shards": converted.shards, "events": converted.account}
    write_json(path, manifest)
    return result
