"""The published table beside what `clinragen experiment` reached; without a run, with empty cells.

    python benchmarks/paper_table.py paper_mimic4 [--run OUT]

Means over the seeds, with the least and the largest of them in brackets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from printed_tables import Console
from rich.table import Table

from clinragen.config import load
from clinragen.experiment import SCORES, TABLE, ExperimentConfig


def reached(scores: Sequence[float | None]) -> str:
    """The mean of the seeds that have a score, with their range if there are several; empty without any."""
    values = [score for score in scores if score is not None]
    if not values:
        return ""
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="of configs/experiment, or a YAML file")
    parser.add_argument("--run", type=Path, help="the folder that `clinragen experiment` wrote")
    args = parser.parse_args()
    config = load("experiment", args.experiment, ExperimentConfig)
    rows = json.loads((args.run / TABLE).read_text(encoding="utf-8"))["rows"] if args.run else []
    scores = {row["title"]: row["reached"] for row in rows}
    table = Table("model", "micro F1, published", "macro F1, published", "micro F1", "macro F1", title=config.title)
    for row in config.rows:
        published = [f"{value:.4f}" if value is not None else "" for value in (row.micro_f1, row.macro_f1)]
        mine = scores.get(row.title, {})
        table.add_row(row.title, *published, *(reached(mine.get(score, [])) for score in SCORES))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
