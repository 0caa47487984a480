"""``clinragen evaluate``: predictions against the cohort, beside a guess and beside altered series."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.artifacts import read_json, write_json
from clinragen.errors import UserError
from clinragen.names import teacher_name

if TYPE_CHECKING:
    from clinragen.evaluation.diagnosis import System
    from clinragen.evaluation.inputs import Predictions, Truth

HELP = "score predictions beside the prevalence guess and the same model with zeroed and shuffled series"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--predictions", type=Path, required=True, metavar="DIR", help="what clinragen predict wrote")
    add("--cohort", type=Path, required=True, metavar="DIR", help="the cohort the predictions were made from")
    add(
        "--predictions-zeroed", type=Path, metavar="DIR", help="predictions with zeroed series, instead of running them"
    )
    add("--predictions-shuffled", type=Path, metavar="DIR", help="the same with each series taken from another patient")
    add("--no-controls", action="store_true", help="do not run the model on zeroed and shuffled series")
    add(
        "--teacher",
        type=teacher_name,
        metavar="NAME",
        help="whose rationales to compare with (default: evidence, where it exists)",
    )
    add("--graph", type=Path, metavar="DIR", help="concept graph by which claims are read (default: the model's)")
    add("--out", type=Path, metavar="DIR", help="where evaluation.json goes (default: the predictions folder)")
    add("--overwrite", action="store_true", help="replace an evaluation; controls that are not run again are kept")
    add("--replicates", type=int, default=1000, metavar="N", help="bootstrap replicates (default: 1000)")
    add("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")


def run(args: argparse.Namespace) -> int | None:
    """Score, write ``evaluation.json`` and the claims of each rationale, print the tables.

    Raises:
        UserError: the folders do not belong together.
    """
    from rich.console import Console

    from clinragen.data.cohort import Cohort
    from clinragen.evaluation import faithfulness, stored
    from clinragen.evaluation.inputs import default_teacher, graph_of, load_predictions, load_truth
    from clinragen.evaluation.summary import summarize
    from clinragen.evaluation.table import render

    for name, least, most in (("replicates", 1, 1_000_000), ("seed", 0, 2**63 - 1)):
        if not least <= (given := getattr(args, name)) <= most:
            raise UserError(f"--{name} {given}: expected a number from {least} to {most:,}")
    out = args.out or args.predictions
    read = (args.cohort, args.graph, args.predictions_zeroed, args.predictions_shuffled)
    before = stored.replaceable(out, overwrite=args.overwrite, inputs=read)
    predictions = load_predictions(args.predictions)
    truth = load_truth(predictions, Cohort.load(args.cohort))
    claims = faithfulness.check(predictions, truth, graph_of(predictions, args.graph))
    controls = _controls(args, predictions, truth)
    evaluation = summarize(
        predictions,
        truth,
        controls,
        claims=claims,
        teacher=args.teacher or default_teacher(truth.cohort),
        replicates=args.replicates,
        seed=args.seed,
    )
    path = out / stored.FILE
    evaluation = stored.keep_controls(path, before, evaluation)
    write_json(path, evaluation)
    faithfulness.write(path.with_name(stored.CLAIMS), predictions, claims)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(render(evaluation))
    console.print(f"Written to {path}", highlight=False, soft_wrap=True)
    return 0


def _controls(args: argparse.Namespace, predictions: Predictions, truth: Truth) -> dict[str, System]:
    """Controls the user predicted beforehand, and for the rest the model run again; none for a model without series."""
    from clinragen.evaluation.diagnosis import System
    from clinragen.evaluation.inputs import load_control

    given = {"zeroed": args.predictions_zeroed, "shuffled": args.predictions_shuffled}
    found = {name: load_control(root, name, predictions).system for name, root in given.items() if root is not None}
    absent = [name for name in given if name not in found]
    model = Path(predictions.manifest["model"])
    if args.no_controls or not absent:
        return found
    if not model.exists():
        print(f"model {model} is not here: no controls are run", file=sys.stderr)
        return found
    manifest = read_json(model / "manifest.json", "the manifest of a finished training run")
    if manifest.get("model_sha256") != predictions.manifest["model_hash"]:
        raise UserError(
            f"{model} has changed since {predictions.root} was predicted: predict anew, or pass --no-controls"
        )
    import numpy as np

    from clinragen.inference import controls  # torch is needed from here on

    # The model answers for the whole split; the predictions may hold only some of its stays.
    rows = np.searchsorted(truth.cohort.split(predictions.manifest["split"]), predictions.stay_ids)
    probabilities = controls(args.predictions, args.cohort)
    thresholds = predictions.system.thresholds
    return found | {name: System(probabilities[name][rows], thresholds) for name in absent if name in probabilities}
