"""Scores and calibration of evaluated predictions, a row for each.

    python benchmarks/evaluation_table.py "eICU demo=EVALUATION" "synthetic hospital=EVALUATION"

`EVALUATION` is a folder of `clinragen evaluate`; intervals are its own, by patient. *In the interval* is the share of
bins of labels whose 95 % interval of a probability, widened by the error of so few stays, contains the share that came
true.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from printed_tables import Console, with_interval
from rich.table import Table


def shown(value: Mapping[str, float]) -> str:
    """A score with its interval."""
    return with_interval(value)


def row_of(evaluation: Mapping[str, Any]) -> list[str]:
    """Stays, scores of the model and of the prevalence guess, sets of labels and intervals."""
    systems = evaluation["systems"]
    scores = systems["model"]["scores"]
    sets, intervals = evaluation["label_sets"], evaluation["intervals"]
    return [
        str(evaluation["cohort"]["stays"]),
        *(shown(scores[name]) for name in ("macro_auroc", "thresholded_micro_f1", "ece")),
        shown(systems["prevalence"]["scores"]["ece"]),
        shown(sets["held"]),
        f"{sets['size']['value']:.1f}",
        shown(intervals["within_error"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", nargs="+", metavar="NAME=EVALUATION")
    names = ("held-out stays of", "stays", "macro AUROC", "micro F1", "calibration error", "of the prevalence guess")
    table = Table(*names, "sets promised 0.900 hold", "labels in a set", "in the interval")
    for given in parser.parse_args().evaluation:
        name, _, folder = given.partition("=")
        evaluation = json.loads((Path(folder) / "evaluation.json").read_text(encoding="utf-8"))
        table.add_row(name, *row_of(evaluation))
    Console(width=190).print(table)


if __name__ == "__main__":
    main()
