"""``clinragen explain``: which concepts, variables and hours carried the diagnoses of a stay."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HELP = "Show which concepts, variables and hours carried the diagnoses of a stay, and write it as JSON."
SHOWN = 5  # rows of each list on the terminal; the JSON holds more


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", type=Path, required=True, help="run folder written by `clinragen train`")
    parser.add_argument("--cohort", type=Path, required=True, help="cohort folder made by mimic-prep")
    parser.add_argument("--stay", type=int, action="append", default=[], help="stay id; may be given more than once")
    parser.add_argument("--split", default="test", help="without --stay: train, validation or test (default)")
    parser.add_argument("--limit", type=int, help="without --stay: only the first stays")
    parser.add_argument(
        "--diagnosis",
        action="append",
        default=[],
        metavar="NAME",
        help="a phenotype by key, name or published name; may be given more than once (default: those above their "
        "threshold, or the likeliest)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON Lines to write, one line per stay")
    parser.add_argument("--overwrite", action="store_true", help="replace the output file")


def run(args: argparse.Namespace) -> None:
    """Explain, print a table per diagnosis and write the file."""
    import json

    from rich.console import Console

    from clinragen.artifacts import write_text
    from clinragen.attribution import chosen_stays
    from clinragen.data.cohort import Cohort
    from clinragen.errors import UserError
    from clinragen.inference.finished import FinishedRun
    from clinragen.outputs import check_output_file
    from clinragen.stages.quiet import phase, quiet_libraries, remark

    quiet_libraries()
    if args.limit is not None and args.limit < 1:
        raise UserError("--limit must be at least 1")
    if args.out:
        check_output_file(args.out, (b'{"stay_id": ',), overwrite=args.overwrite, inputs=(args.model, args.cohort))
    if not args.stay and not args.out:
        raise UserError("give --stay, or --out for the explanations of a whole split")
    finished, cohort, console = FinishedRun.open(args.model), Cohort.load(args.cohort), Console(stderr=True)
    remarks = finished.remarks(cohort)
    chosen = chosen_stays(cohort, args.split, args.stay, args.diagnosis, args.limit)
    for text in remarks:
        remark(console, text)
    phase(console, "loading torch and the model")
    from clinragen.attribution.explain import explain_cohort
    from clinragen.inference.predict import TrainedModel

    trained = TrainedModel.load(finished)
    phase(console, f"explaining {len(chosen):,} stays")
    console = Console()
    lines = []
    for found in explain_cohort(trained, cohort, args.split, args.stay, args.diagnosis, args.limit):
        lines.append(json.dumps(found, ensure_ascii=False) + "\n")
        if args.stay:
            _print(found, trained.model, console)
    if args.out:
        write_text(args.out, "".join(lines))
        print(f"{args.out}: {len(lines)} stays explained")


def _print(found: Mapping[str, Any], model: Any, console: Any) -> None:
    """One table per diagnosis: what it would lose without a part, and beside it what the model looked at."""
    from rich.table import Table

    nodes = model.graph.nodes
    console.print(f"[bold]Stay {found['stay_id']}[/]")
    for row in found["diagnoses"]:
        table = Table(
            "",
            "fall of the logit when it is taken away",
            "share of attention",
            title=f"{model.labels[row['diagnosis']]}: probability {row['probability']:.2f}, "
            f"threshold {row['threshold']:.2f}",
            title_justify="left",
        )
        for kind in ("concepts", "variables", "hours"):
            lists = [_lines(row[method][kind], kind, nodes) for method in ("occlusion", "attention")]
            table.add_row(kind, *("\n".join(lines) or "nothing" for lines in lists))
            table.add_section()
        console.print(table)


def _lines(entries: Sequence[Mapping[str, Any]], kind: str, nodes: Mapping[str, Any]) -> list[str]:
    from clinragen.catalog import variables

    lines = []
    for entry in entries[:SHOWN]:
        if kind == "concepts":
            name = nodes[entry["concept"]]["name"] if entry["concept"] in nodes else entry["concept"]
            text = f"{name} ({entry['in']})" if "in" in entry else name
        else:
            text = variables()[entry["variable"]].label
            if kind == "hours":
                text += f", hours {entry['from_hour']} to {entry['to_hour']}"
        lines.append(f"{entry['score']:6.3f}  {text}")
    return lines
