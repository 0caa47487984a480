"""What is rated: the chart of a stay, and the rationales that each author wrote for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.drugs import drug_classes
from clinragen.errors import UserError
from clinragen.evaluation.inputs import Predictions, Truth, teacher_rationales
from clinragen.reporting.prescriptions import StoredPrescriptions

FILE = "items.json"


@dataclass(frozen=True)
class Argument:
    """The rationales of one author for one stay, or its suggestions of drugs.

    Attributes:
        diagnoses: names of the diagnoses that they argue for, or of the classes to start, in their order.
        note, series: the two texts, of which one may be empty: from note and series, or what speaks for the classes
            and against them.
    """

    diagnoses: list[str]
    note: str
    series: str


@dataclass(frozen=True)
class Author:
    """Someone who wrote rationales for stays of the cohort.

    Attributes:
        name: student, teacher or baseline, as tables name it.
        source: name of the rationale set, or folder of the predictions.
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


def of_predictions(name: str, predictions: Predictions) -> Author:
    """The author of a predictions folder: it argues for the diagnoses that it lists."""
    titles = list(predictions.labels.names.values())
    arguments = {}
    for row, stay in enumerate(predictions.stay_ids.tolist()):
        texts = predictions.rationales(row)
        if any(text.strip() for text in texts.values()):
            listed = [title for title, called in zip(titles, predictions.system.listed[row], strict=True) if called]
            arguments[stay] = Argument(listed, texts["note"], texts["series"])
    return Author(name, str(predictions.root), arguments)


def of_prescriptions(name: str, stored: StoredPrescriptions) -> Author:
    """The author of suggestions of drugs, without numbers and names that tell how it came to them."""
    arguments = {}
    for stay, row in stored.rows.items():
        suggestions = row["suggestions"]
        grounds = [
            f"{one['name']}: {ground['text']}" + (f" [{ground['source']}]" if ground["kind"] == "treats" else "")
            for one in suggestions
            for ground in one["grounds"]
        ]
        cautions = [
            f"{one['name']}, {member['ingredient']}: {caution['severity']}: {caution['because']} [{caution['source']}]"
            for one in suggestions
            for member in one["members"]
            for caution in member["cautions"]
        ]
        arguments[stay] = Argument([_class(one) for one in suggestions], "\n".join(grounds), "\n".join(cautions))
    return Author(name, str(stored.root), arguments)


def in_force_texts(stored: StoredPrescriptions) -> dict[int, str]:
    """What had been ordered in each stay, in words: nobody could judge what to start without it."""
    names = drug_classes()
    return {
        stay: "; ".join(names.get(str(key), str(key)) for key in row["in_force"])
        or ("nothing" if row["orders_known"] else "not known: the hospital may send no orders")
        for stay, row in stored.rows.items()
    }


def _class(suggestion: Mapping[str, Any]) -> str:
    """A class with its usual ingredients."""
    members = [member["ingredient"] for member in suggestion["members"]]
    return f"{suggestion['name']} ({', '.join(members)})" if members else suggestion["name"]


def of_teacher(name: str, predictions: Predictions, truth: Truth) -> Author:
    """A teacher, who argues for the recorded diagnoses.

    Args:
        name: of the rationale set.
        predictions: whose stays and labels they are.
        truth: the labels.

    Raises:
        UserError: no such rationale set, or a cohort without labels.
    """
    if not truth.labelled:
        raise UserError(
            f"{truth.cohort.paths.root} has no labels, for which teacher '{name}' argues: leave --teacher out"
        )
    texts = teacher_rationales(truth.cohort, name, predictions.stay_ids)
    titles = list(predictions.labels.names.values())
    arguments = {}
    for row, stay in enumerate(predictions.stay_ids.tolist()):
        note, series = texts["note"][row], texts["series"][row]
        if note is None or series is None:
            continue
        recorded = truth.gold[row] & truth.eligible[row]
        arguments[stay] = Argument(
            [title for title, present in zip(titles, recorded, strict=True) if present], note, series
        )
    return Author("teacher", name, arguments)


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
