"""What an altered input costs a model: the controls of evaluated predictions, a row for each.

    python benchmarks/controls_table.py EVALUATION

`EVALUATION` is a folder of `clinragen evaluate --labels-permuted`. A cost is the score of the model minus that of the
control on the same resampled patients: its interval says whether the model was any better for what the control lacks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from printed_tables import Console
from rich.table import Table

from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import CONTROL_TITLES, with_interval

SCORES = {"macro_auroc": "macro AUROC", "thresholded_micro_f1": "micro F1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    evaluation = load_evaluation(parser.parse_args().evaluation / "evaluation.json")
    table = Table("", *(f"{title}{what}" for title in SCORES.values() for what in ("", ": cost")))
    for name, title in {"model": "the model", **CONTROL_TITLES}.items():
        if name not in evaluation["systems"]:
            continue
        costs, scores = evaluation["cost_of_control"].get(name, {}), evaluation["systems"][name]["scores"]
        cells = []
        for score in SCORES:
            cells += [with_interval(scores[score]), with_interval(costs[score]) if score in costs else ""]
        table.add_row(title, *cells)
    Console(width=190).print(table)


if __name__ == "__main__":
    main()
