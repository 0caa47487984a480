"""A comparison of systems as tables for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clinragen.evaluation.comparison import Comparison, Difference
from clinragen.evaluation.table import bounds, number, with_interval

_SCORES = {
    "macro_auroc": "macro AUROC",
    "micro_auroc": "micro AUROC",
    "macro_auprc": "macro AUPRC",
    "thresholded_micro_f1": "micro F1, threshold",
    "thresholded_macro_f1": "macro F1, threshold",
    "brier": "Brier",
    "ece": "calibration error",
}


def render(comparison: Comparison) -> RenderableType:
    """Scores and their differences to the reference, then the AUROC of each label."""
    reference, *others = comparison["systems"]
    cohort = comparison["cohort"]
    what = f"{cohort['stays']} stays of {cohort['patients']} patients; 95 % interval by patient, paired"
    parts: list[RenderableType] = [_scores(comparison, reference, others, what)]
    parts += [_labels(comparison, reference, other) for other in others]
    parts.append(
        Text(
            "p: two-sided, of the paired bootstrap; by label corrected for their number (Holm). Brier: less is better."
        )
    )
    if comparison["left_out"]:
        parts.append(Text(f"{comparison['left_out']} stays were not predicted by all and are left out"))
    return Group(*parts)


def _scores(comparison: Comparison, reference: str, others: list[str], title: str) -> Table:
    table = Table(title=title)
    table.add_column("")
    table.add_column(f"{reference}\n(reference)", justify="right")
    for other in others:
        table.add_column(other, justify="right")
        table.add_column("difference", justify="right")
    first = comparison["systems"][reference]["scores"]
    for metric, heading in _SCORES.items():
        cells = [heading, with_interval(first[metric])]
        for other in others:
            row = comparison["systems"][other]
            cells += [number(row["scores"][metric]["value"]), _difference(row.get("differences", {})[metric])]
        table.add_row(*cells)
    return table


def _labels(comparison: Comparison, reference: str, other: str) -> Table:
    table = Table(title=f"AUROC by label: {other} beside {reference}")
    for position, heading in enumerate(("label", "stays with it", reference, other, "difference", "p (Holm)")):
        table.add_column(heading, justify="right" if position else "left")
    compared = comparison["systems"][other].get("labels", {})
    for key, label in sorted(comparison["labels"].items(), key=lambda item: _size(compared[item[0]])):
        row = compared[key]
        table.add_row(
            label["name"],
            str(label["positives"]),
            number(label["auroc"]["value"]),
            number(row["auroc"]["value"]),
            _difference(row, p=False),
            number(row["p_holm"]),
        )
    return table


def _size(difference: Difference) -> float:
    """For the order of the labels: the greatest gain first, undefined ones last."""
    value = difference["difference"]["value"]
    return float("inf") if value is None else -value


def _difference(row: Difference, *, p: bool = True) -> str:
    difference = row["difference"]
    if difference["value"] is None:
        return "–"
    sign = "+" if difference["value"] > 0 else ""
    text = f"{sign}{number(difference['value'])} ({bounds(difference)})"
    return f"{text}\np {number(row['p'])}" if p else text
