"""``clinragen report``: predictions as a static site that opens from a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from clinragen.names import teacher_name

HELP = "write predictions as a static HTML site: an index, and a page per stay with rationales and plots"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--predictions", type=Path, required=True, metavar="DIR", help="what clinragen predict wrote")
    add("--cohort", type=Path, required=True, metavar="DIR", help="the cohort the predictions were made from")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write the site to")
    add("--graph", type=Path, metavar="DIR", help="concept graph, for claims and names (default: the model's)")
    add("--evaluation", type=Path, metavar="FILE", help="default: evaluation.json beside the predictions, if there")
    add(
        "--teacher",
        type=teacher_name,
        metavar="NAME",
        help="whose rationales to show beside (default: evidence, where it exists)",
    )
    add("--overwrite", action="store_true", help="replace the folder if it exists")


def run(args: argparse.Namespace) -> int | None:
    """Write the site and print where it is.

    Raises:
        UserError: the folders do not belong together, or the output exists.
    """
    from rich.console import Console
    from rich.progress import Progress

    from clinragen.data.cohort import Cohort
    from clinragen.evaluation import faithfulness
    from clinragen.evaluation.inputs import default_teacher, graph_of, load_predictions, load_truth
    from clinragen.outputs import REPORT, check_output
    from clinragen.report.build import Report, check_evaluation, write_report

    read = (args.predictions, args.cohort, args.graph, args.evaluation)
    check_output(args.out, REPORT, overwrite=args.overwrite, inputs=read)
    predictions = load_predictions(args.predictions)
    truth = load_truth(predictions, Cohort.load(args.cohort), needs_labels=False)
    path = args.evaluation or args.predictions / "evaluation.json"
    evaluation = None
    if args.evaluation or path.is_file():
        evaluation = check_evaluation(path, predictions)
    graph = graph_of(predictions, args.graph)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("claims", total=len(predictions.stay_ids))
        report = Report(
            predictions=predictions,
            truth=truth,
            claims=faithfulness.check(predictions, truth, graph, lambda: progress.advance(task)),
            nodes=dict(graph.nodes),
            evaluation=evaluation,
            teacher=args.teacher or default_teacher(truth.cohort),
        )
        task = progress.add_task("stays", total=len(predictions.stay_ids))
        count = write_report(report, args.out, overwrite=args.overwrite, progress=lambda: progress.advance(task))
    print(f"{count} stays; open {args.out / 'index.html'}")
    return 0
