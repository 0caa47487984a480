"""``clinragen predict``: batch inference."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "Diagnose the stays of a split and write their rationales, as JSONL and Parquet."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", type=Path, required=True, help="run folder written by `clinragen train`")
    parser.add_argument("--cohort", type=Path, required=True, help="cohort folder made by mimic-prep")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--split", default="test", help="train, validation or test (default)")
    parser.add_argument(
        "--series-input", default="observed", help="observed (default); zeroed or shuffled as a control"
    )
    parser.add_argument(
        "--claims",
        default="grounded",
        help="grounded (default): only what note and series show can be written of them; free: what the model likes",
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit", type=int, help="only the first stays")
    parser.add_argument(
        "--explain", action="store_true", help="also write what carried each diagnosis (attributions.jsonl); slower"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output folder")


def run(args: argparse.Namespace) -> int:
    """Predict and say where the result is; 1 where nothing that was written can be read as a report."""
    from rich.console import Console

    from clinragen.data.cohort import Cohort
    from clinragen.errors import UserError, unknown_choice
    from clinragen.inference.finished import FinishedRun
    from clinragen.outputs import PREDICTIONS, check_output
    from clinragen.schema import CLAIMS, SERIES_INPUTS
    from clinragen.stages.quiet import phase, quiet_libraries, remark

    quiet_libraries()
    if args.batch_size < 1 or (args.limit is not None and args.limit < 1):
        raise UserError("--batch-size and --limit must be at least 1")
    check_output(args.out, PREDICTIONS, overwrite=args.overwrite, inputs=(args.model, args.cohort))
    if args.series_input not in SERIES_INPUTS:
        raise unknown_choice("series input", args.series_input, SERIES_INPUTS)
    if args.claims not in CLAIMS:
        raise unknown_choice("claims", args.claims, CLAIMS)
    finished, cohort, console = FinishedRun.open(args.model), Cohort.load(args.cohort), Console(stderr=True)
    cohort.split(args.split)
    remarks = finished.remarks(cohort, args.claims)
    for text in remarks:
        remark(console, text)
    phase(console, "loading torch and the model")
    from clinragen.attribution.explain import explanations
    from clinragen.inference.predict import TrainedModel, write_predictions

    trained = TrainedModel.load(finished)
    manifest = write_predictions(
        trained,
        cohort,
        args.cohort,
        args.split,
        args.out,
        console,
        series_input=args.series_input,
        claims=args.claims,
        batch_size=args.batch_size,
        limit=args.limit,
        overwrite=args.overwrite,
        remarks=remarks,
        explain=(lambda dataset: explanations(trained, dataset, cohort)) if args.explain else None,
    )
    print(f"{args.out}: {manifest['stays']} stays, {manifest['parsed']} parsed into rationales and diagnoses")
    if not manifest["parsed"]:
        print(
            f"warning: nothing that {args.model} wrote can be read as rationales and diagnoses: train it longer; its "
            "probabilities do not depend on its text",
            file=sys.stderr,
        )
        return 1
    return 0
