"""``clinragen teach``: rationales for a cohort."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Write teacher rationales for every stay of a cohort, from its notes, series and gold diagnoses."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--cohort", type=Path, required=True, help="cohort folder made by mimic-prep")
    parser.add_argument("--graph", type=Path, help="concept graph folder (default: the curated core)")
    parser.add_argument("--teacher", default="evidence", help="evidence: composed offline from the chart (default)")
    parser.add_argument("--overwrite", action="store_true", help="replace rationales of the same teacher")


def run(args: argparse.Namespace) -> None:
    """Write the rationales and say how they turned out."""
    import json

    import pyarrow.compute as pc
    from rich.console import Console
    from rich.progress import Progress

    from clinragen.artifacts import read_table
    from clinragen.schema import CohortPaths
    from clinragen.teacher.generate import generate

    paths = CohortPaths(args.cohort)
    total = read_table(paths.stays).num_rows
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rationales", total=total)
        table = generate(
            args.cohort,
            args.graph,
            args.teacher,
            overwrite=args.overwrite,
            progress=lambda done: bar.update(task, completed=done),
        )
    for kind in ("note", "series"):
        rows = table.filter(pc.field("kind") == kind)
        texts = rows.column("text").to_pylist()
        lengths = [len(text.split()) for text in texts]
        grounds = [sum(map(len, json.loads(verdict).values())) for verdict in rows.column("verdicts").to_pylist()]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        told = sum(count > 0 for count in grounds)
        print(
            f"{kind:<6}  {len(texts)} rationales, {mean:.1f} words on average (at most {max(lengths, default=0)}), "
            f"{len(set(texts))} distinct, {told} name evidence in the chart"
        )
    print(f"written to {paths.rationales(args.teacher)}")
