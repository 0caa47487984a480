"""Ratings as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clinragen.evaluation.rows import Interval
from clinragen.rating.preferences import Comparison
from clinragen.rating.results import Group as Rated
from clinragen.rating.results import Results

_TITLES = {"human": "people", "llm": "language models"}


def render(results: Results) -> RenderableType:
    """Tables of raters, means, differences, agreement and preferences."""
    parts: list[RenderableType] = [
        Text(
            f"Pack {results['pack']}: {results['stays']} stays of {results['patients']} patients; 95 % intervals by "
            "patient"
        )
    ]
    for row in results["raters"]:
        alike = "; every rationale got the same ratings" if row["alike"] else ""
        parts.append(Text(f"{row['rater']}: {row['ratings']} ratings, {row['missing']} missing{alike}"))
    if results["absent"]:
        parts.append(Text(f"no file of {', '.join(results['absent'])}", style="yellow"))
    for kind, title in _TITLES.items():
        parts += _group(results["human"] if kind == "human" else results["llm"], title)
    if results["preferences"]:
        parts.append(_preferences(results["preferences"]))
    if results["comments"]:
        parts.append(Text(f"{len(results['comments'])} comments are in the file"))
    return Group(*parts)


def _group(group: Rated, title: str) -> list[RenderableType]:
    if not group["means"]:
        return []
    criteria = list(dict.fromkeys(row["criterion"] for row in group["means"]))
    means = _table(criteria, f"Mean rating by {title}, from 1 to 5, and number of ratings")
    for author in dict.fromkeys(row["author"] for row in group["means"]):
        rows = [row for row in group["means"] if row["author"] == author]
        means.add_row(author, *(f"{_cell(row['mean'])}\n{row['ratings']}" for row in rows))
    parts: list[RenderableType] = [means]
    if group["differences"]:
        apart = _table(criteria, f"Differences by {title}, same rater and stay, and number of pairs")
        for pair in dict.fromkeys((row["author"], row["other"]) for row in group["differences"]):
            rows = [row for row in group["differences"] if (row["author"], row["other"]) == pair]
            apart.add_row(" − ".join(pair), *(f"{_cell(row['difference'], True)}\n{row['pairs']}" for row in rows))
        parts.append(apart)
    if any(row["raters"] > 1 for row in group["agreement"]):
        agreement = _table(criteria, f"Agreement of {title}")
        for name, label in (("icc_single", "ICC(2,1)"), ("icc_average", "ICC(2,k)"), ("alpha", "Krippendorff’s α")):
            agreement.add_row(label, *(_cell(row[name]) for row in group["agreement"]))
        agreement.add_row("rationales rated by all", *(str(row["complete"]) for row in group["agreement"]))
        agreement.add_row("rated by two or more", *(str(row["shared"]) for row in group["agreement"]))
        parts.append(agreement)
    return parts


def _preferences(rows: Sequence[Comparison]) -> Table:
    table = Table(title="Preferences of language models, each stay judged in both orders", show_edge=False)
    for name in ("", "pair", "criterion"):
        table.add_column(name, no_wrap=True)
    for name in ("first\nbetter", "second\nbetter", "tie", "incon-\nsistent", "missing", "for the one\nshown first"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        counts = [row["author_better"], row["other_better"], row["tie"], row["inconsistent"], row["missing"]]
        shown_first = f"{row['first']} of {row['decided']}"
        pair = f"{row['author']} : {row['other']}"
        table.add_row(row["rater"], pair, row["criterion"], *map(str, counts), shown_first)
    return table


def _table(criteria: Sequence[str], title: str) -> Table:
    table = Table(title=title, show_edge=False)
    table.add_column("", no_wrap=True)
    for criterion in criteria:
        table.add_column(criterion.capitalize(), justify="right", no_wrap=True)
    return table


def _cell(score: Interval, signed: bool = False) -> str:
    """The value above its interval.

    >>> _cell({"value": -0.25, "low": -0.5, "high": 0.04})
    '−0.25\\n−0.50 to 0.04'
    >>> _cell({"value": 0.25, "low": None, "high": None}, True), _cell({"value": None, "low": None, "high": None})
    ('+0.25\\n', '–\\n')
    """
    if score["value"] is None:
        return "–\n"
    interval = f"{_number(score['low'])} to {_number(score['high'])}" if score["low"] is not None else ""
    return f"{_number(score['value'], signed)}\n{interval}"


def _number(value: float | None, signed: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if signed else ''}.2f}".replace("-", "−")
