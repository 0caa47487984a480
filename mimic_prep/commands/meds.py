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
    from clinragen.adapters.meds import is_export
    from clinragen.errors import UserError
    from clinragen.outputs import check_place
    from mimic_prep import meds
    from mimic_prep.meds_codes import load_codes

    if not args.raw.is_dir():
        raise UserError(f"{args.raw} not found: --raw expects the folder of a MEDS dataset")
    check_place(args.out, (args.raw,))
    if is_export(args.raw):
        return _bring_back(args)
    codes = load_codes(args.codes)
    with meds.scratch_beside(args.out) as scratch:
        reader = meds.MedsReader(args.raw, meds.convert(args.raw, codes, scratch))
        return run_reader(reader, args, scratch)


def _bring_back(args: argparse.Namespace) -> int | None:
    """A cohort that clinragen exported, as it was: it is prepared already."""
    from rich.console import Console

    from clinragen.adapters.meds import import_cohort
    from clinragen.artifacts import read_json
    from clinragen.errors import UserError
    from clinragen.schema import CohortPaths
    from mimic_prep import summary

    given = {"--protocol": args.protocol != "admission", "--set": args.set, "--codes": args.codes != "default"}
    if odd := [option for option, value in given.items() if value]:
        raise UserError(
            f"{args.raw} is a cohort that clinragen exported, with the protocol it was prepared by: {odd[0]} cannot "
            "apply; leave it out, or prepare the raw tables anew"
        )
    import_cohort(args.raw, args.out, overwrite=args.overwrite)
    console = Console()
    manifest = read_json(CohortPaths(args.out).manifest, "the manifest of a cohort")
    if "cohort" in manifest and "tables" in manifest:  # older exports do not say
        summary.show(manifest, console)
    console.print(f"[bold]{args.out}[/bold]", highlight=False, soft_wrap=True)
    return None
