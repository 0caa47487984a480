"""What is rated: the chart of a stay, and what each author wrote about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay

FILE = "items.json"


@dataclass(frozen=True)
class Argument:
    """The rationales of one author for one stay, its suggestions of drugs, or its answer to a question.

    Attributes:
        diagnoses: names of the diagnoses that they argue for, or of the classes to start, in their order; or the
            question, after the one before it.
        note, series: the two texts, of which one may be empty: from note and series; what speaks for the classes and
            against them; the answer, and what it rests on.
    """

    diagnoses: list[str]
    note: str
    series: str


@dataclass(frozen=True)
class Author:
    """Someone whose work on stays of the cohort is rated.

    Attributes:
        name: student, teacher or baseline, as tables name it.
        source: name of the rationale set, or the folder of what was written.
        arguments: by stay id.
    """

    name: str
    source: str
    arguments: Mapping[int, Argument]


@dataclass(frozen=True)
class Chart:
    """What raters see of a stay.

    Attributes:
        age: years.
        sex: F, M or None.
        window: hours from admission to the unit to the prediction time.
        sections: (section, text as written) of its notes in reading order.
        cells: variable -> [(hour, value)], ascending, in canonical units.
    """

    age: float
    sex: str | None
    window: float
    sections: list[tuple[str, str]]
    cells: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Item:
    """One stay of a rating pack.

    Attributes:
        name: the neutral name under which raters see it.
        stay_id, subject_id: those of the cohort; they never reach a rater.
        arguments: by author.
    """

    name: str
    stay_id: int
    subject_id: int
    chart: Chart
    arguments: dict[str, Argument]


def charts_of(cohort: Cohort, stays: list[int]) -> dict[int, Chart]:
    """The charts of some stays of a cohort, as far as the window reaches."""
    chosen = pl.col("stay_id").is_in(stays)
    notes = sections_by_stay(cohort.notes.filter(chosen), layout=True, whole=True)
    cells: dict[int, dict[str, list[tuple[float, float]]]] = {stay: {} for stay in stays}
    rows = cohort.series.filter(chosen).sort("stay_id", "variable", "hour")
    for stay, variable, hour, value in rows.select("stay_id", "variable", "hour", "value").iter_rows():
        cells[stay].setdefault(variable, []).append((hour, value))
    return {
        row["stay_id"]: Chart(
            age=row["age"],
            sex=row["sex"],
            window=(row["prediction_time"] - row["intime"]).total_seconds() / 3600,
            sections=notes.get(row["stay_id"], []),
            cells=cells[row["stay_id"]],
        )
        for row in cohort.stays.filter(chosen).iter_rows(named=True)
    }


def write_items(folder: Path, items: list[Item]) -> None:
    """Write ``items.json``."""
    write_json(folder / FILE, {"items": [asdict(item) for item in items]})


def read_items(folder: Path) -> list[Item]:
    """The items of a pack, whose hash has been checked."""
    content = read_json(folder / FILE, "the stays of a rating pack")
    return [_item(entry) for entry in content["items"]]


def _item(entry: dict[str, Any]) -> Item:
    chart = entry["chart"]
    return Item(
        name=entry["name"],
        stay_id=entry["stay_id"],
        subject_id=entry["subject_id"],
        chart=Chart(
            age=chart["age"],
            sex=chart["sex"],
            window=chart["window"],
            sections=[(section, text) for section, text in chart["sections"]],
            cells={key: [(hour, value) for hour, value in rows] for key, rows in chart["cells"].items()},
        ),
        arguments={author: Argument(**texts) for author, texts in entry["arguments"].items()},
    )
