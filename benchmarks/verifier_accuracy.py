"""How often the verifier judges hand-labelled statements right, and what it says of them with directions flipped.

    python benchmarks/verifier_accuracy.py [--cohort eicu=COHORT] [--cohort mimic4=COHORT]

The statements are those of `tests/verification/claims`; the real stays need their cohorts,
made by `mimic-prep eicu` and `mimic-prep mimic-iv` from the open demos.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import polars as pl

from clinragen.chart.measurements import SeriesChart
from clinragen.chart.measurements import measurements as chart
from clinragen.knowledge.graph import build
from clinragen.schema import CohortPaths
from clinragen.verification.reader import SeriesReader

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "verification"))
from flips import flipped
from labelled import FOLDER, Labelled, agrees, judged, labelled

#: Statements that deny, or speak of some measurements only, may hold with either direction.
BOTH_WAYS = re.compile(r"\b(no|not|never|times|often|half|occasions|intermittently|both|episode)\b", re.I)


def main() -> None:
    """Judge, count, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cohort", action="append", default=[], metavar="NAME=DIR")
    args = parser.parse_args()
    folders = dict(pair.split("=", 1) for pair in args.cohort)
    reader = SeriesReader(build())
    for part in ("development", "held_back"):
        rows = labelled(part)
        charts = charts_of(rows, {name: Path(folder) for name, folder in folders.items()})
        rows = [row for row in rows if (row.cohort, row.stay) in charts]
        letters = [judged(row.text, charts[row.cohort, row.stay], reader) for row in rows]
        right = Counter(row.cohort for row, found in zip(rows, letters, strict=True) if agrees(row.label, found))
        every = Counter(row.cohort for row in rows)
        share = f"{right.total()} of {every.total()} right ({right.total() / every.total():.1%})"
        print(f"{part}: {share}; " + ", ".join(f"{name} {right[name]} of {every[name]}" for name in sorted(every)))
        for row, found in zip(rows, letters, strict=True):
            if not agrees(row.label, found):
                print(f"  wrong: {row.cohort} {row.stay}: {row.label} read as {found}: {row.text}")
        for label, name in (("s", "supported"), ("c", "contradicted"), ("n", "not in the chart")):
            mine = [agrees(r.label, f) for r, f in zip(rows, letters, strict=True) if r.label == label]
            print(f"  labelled {name}: {sum(mine)} of {len(mine)}")
        turned = [row for row in rows if set(row.label) == {"s"} and flipped(row.text) != row.text]
        turned = [row for row in turned if not BOTH_WAYS.search(row.text)]
        wrong = [row for row in turned if set(judged(flipped(row.text), charts[row.cohort, row.stay], reader)) == {"s"}]
        print(f"  flipped: {len(wrong)} of {len(turned)} still supported")
        for row in wrong:
            print(f"    {row.cohort} {row.stay}: {flipped(row.text)}")


def charts_of(rows: list[Labelled], cohorts: dict[str, Path]) -> dict[tuple[str, int], SeriesChart]:
    """The charts of the labelled stays: synthetic ones from a file beside the statements, real ones from cohorts."""
    found: dict[tuple[str, int], SeriesChart] = {}
    synthetic = json.loads((FOLDER / "hospital_charts.json").read_text(encoding="utf-8"))
    for stay, cells in synthetic.items():
        found["hospital", int(stay)] = chart(
            {key: [(hour, value) for hour, value in row] for key, row in cells.items()}
        )
    for name, folder in cohorts.items():
        wanted = sorted({row.stay for row in rows if row.cohort == name})
        table = pl.read_parquet(CohortPaths(folder).series).filter(pl.col("stay_id").is_in(wanted)).sort("hour")
        for stay in wanted:
            cells: dict[str, list[tuple[float, float]]] = {}
            of_stay = table.filter(pl.col("stay_id") == stay).select("hour", "variable", "value")
            for hour, variable, value in of_stay.iter_rows():
                cells.setdefault(variable, []).append((hour, value))
            found[name, stay] = chart(cells)
    return found


if __name__ == "__main__":
    main()
