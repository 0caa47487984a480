"""What the pages of suggestions of drugs show, as plain values: grounds and cautions with their places in the chart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from clinragen.artifacts import read_json
from clinragen.chart.measurements import cells_by_stay
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.drugs import drug_classes
from clinragen.errors import UserError
from clinragen.integrity import hold_output
from clinragen.outputs import MANIFEST, PRESCRIPTIONS
from clinragen.reporting.figures import Figure, figures_of
from clinragen.reporting.notes import NotePart, section_parts
from clinragen.reporting.places import NamedPlace, Places
from clinragen.reporting.views import age_text, sex_text
from clinragen.safety.cautions import SEVERITIES

FILE = "prescriptions.jsonl"
#: What a ground is called, by its kind.
_GROUNDS = {
    "treats": "the chart shows what it treats",
    "home": "taken before admission",
    "cases": "similar stays",
    "stated": "said by the model, checked",
}
_REMEDY = "run clinragen prescribe again"


@dataclass(frozen=True)
class GroundView:
    """What speaks for a class. ``in_chart``: it is in the chart of the stay, and not in those of others."""

    title: str
    in_chart: bool
    text: str
    source: str
    places: list[NamedPlace]


@dataclass(frozen=True)
class CautionView:
    """What speaks against an ingredient."""

    severity: str
    because: str
    source: str
    places: list[NamedPlace]


@dataclass(frozen=True)
class MemberView:
    """An ingredient of a class."""

    ingredient: str
    cautions: list[CautionView]

    @property
    def gravest(self) -> str:
        """The gravest severity; empty without a caution."""
        return next((one for one in SEVERITIES if any(one == c.severity for c in self.cautions)), "")


@dataclass(frozen=True)
class SuggestionView:
    """A class that may be started."""

    name: str
    probability: float
    rank: int | None
    members: list[MemberView]
    grounds: list[GroundView]

    @property
    def in_chart(self) -> bool:
        """Whether anything in the chart speaks for it."""
        return any(ground.in_chart for ground in self.grounds)

    @property
    def free(self) -> list[str]:
        """Ingredients without a caution."""
        return [member.ingredient for member in self.members if not member.cautions]

    @property
    def gravest(self) -> str:
        """The gravest severity of all ingredients; empty where one has no caution."""
        if not self.members or any(not member.cautions for member in self.members):
            return ""
        return max((member.gravest for member in self.members), key=SEVERITIES.index)


@dataclass(frozen=True)
class PrescriptionView:
    """Everything on the page of one stay. ``unchecked_anywhere``: what was checked for no stay."""

    stay_id: int
    age: str
    sex: str
    split: str
    complaint: str
    prediction_time: datetime
    window: float
    orders_known: bool
    in_force: list[str]
    suggestions: list[SuggestionView]
    withheld: list[SuggestionView]
    unchecked: list[str]
    unchecked_anywhere: list[str]
    sections: list[tuple[str, list[NotePart]]]
    figures: list[Figure]

    @property
    def grounded(self) -> int:
        """Number of suggestions with a ground in the chart."""
        return sum(one.in_chart for one in self.suggestions)

    @property
    def cautioned(self) -> int:
        """Number of suggestions with a caution for some ingredient."""
        return sum(any(member.cautions for member in one.members) for one in self.suggestions)


@dataclass(frozen=True)
class StoredPrescriptions:
    """Suggestions as ``clinragen prescribe`` wrote them.

    Attributes:
        root: their folder.
        manifest: theirs.
        rows: by stay, in ascending order of the ids.
    """

    root: Path
    manifest: Mapping[str, Any]
    rows: Mapping[int, Mapping[str, Any]]

    @classmethod
    def load(cls, root: Path, cohort: Cohort, stays: Sequence[int] = ()) -> StoredPrescriptions:
        """Read them.

        Args:
            root: their folder.
            cohort: the one they were made from.
            stays: only these; all by default.

        Raises:
            UserError: no such folder, one that was changed or is of another cohort, or a stay without suggestions.
        """
        manifest = read_json(root / MANIFEST, "the manifest of a folder written by clinragen prescribe")
        if manifest.get("kind") != PRESCRIPTIONS.name:
            raise UserError(f"{root} holds no suggestions of drugs: give a folder written by clinragen prescribe")
        if manifest.get("cohort_hash") != cohort.sha256:
            raise UserError(f"{root} was made from another cohort than {cohort.paths.root}: {_REMEDY}")
        hold_output(root / FILE, manifest, remedy=_REMEDY)
        rows: dict[int, Mapping[str, Any]] = {}
        with open(root / FILE, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    row = json.loads(line)
                    rows[int(row["stay_id"])] = row
                except (ValueError, KeyError, TypeError):
                    raise UserError(f"{root / FILE}, line {number}: no suggestions of a stay: {_REMEDY}") from None
        if missing := [stay for stay in stays if stay not in rows]:
            raise UserError(f"{root}: stay {missing[0]} has no suggestions there")
        return cls(root, manifest, {stay: rows[stay] for stay in sorted(stays or rows)})

    @property
    def stated(self) -> str:
        """What the number beside a class is."""
        uncalibrated = "language_model" in self.manifest and not self.manifest["language_model"]["calibrated"]
        if self.manifest.get("engine") == "popularity" or uncalibrated:
            return "how often the class is started in general"
        return "the probability of a start within 24 hours"


class PrescriptionViews:
    """The content of the pages.

    Args:
        stored: the suggestions.
        cohort: the one they were made from.
    """

    def __init__(self, stored: StoredPrescriptions, cohort: Cohort) -> None:
        ids = pl.Series(list(stored.rows), dtype=pl.Int64).implode()
        notes = cohort.notes.filter(pl.col("stay_id").is_in(ids))
        self._stored, self._cohort = stored, cohort
        self._whole = sections_by_stay(notes, layout=True, whole=True)
        self._read = sections_by_stay(notes, layout=True, labels=cohort.label_set)
        self._cells = cells_by_stay(cohort.series.filter(pl.col("stay_id").is_in(ids)))
        self._stays = {row["stay_id"]: row for row in cohort.stays.filter(pl.col("stay_id").is_in(ids)).to_dicts()}

    def __iter__(self) -> Iterator[PrescriptionView]:
        for stay_id, row in self._stored.rows.items():
            try:
                yield self._view(stay_id, row)
            except (KeyError, TypeError, ValueError, AttributeError):
                path = self._stored.root / FILE
                raise UserError(f"{path}: what it holds of stay {stay_id} is no suggestion: {_REMEDY}") from None

    def _view(self, stay_id: int, row: Mapping[str, Any]) -> PrescriptionView:
        stay, sections = self._stays[stay_id], self._whole.get(stay_id, [])
        names = drug_classes()
        hours = (stay["prediction_time"] - stay["intime"]).total_seconds() / 3600
        cells = {key: [cell for cell in rows if cell[0] < hours] for key, rows in self._cells.get(stay_id, {}).items()}
        places = Places(sections, cells)
        suggestions = [_suggestion(one, places) for one in row["suggestions"]]
        withheld = [_suggestion(one, places) for one in row["withheld"]]
        general = self._stored.manifest.get("unchecked", [])
        unchecked = [str(what) for what in row["unchecked"]]
        read = [text for _, text in self._read.get(stay_id, [])]
        return PrescriptionView(
            stay_id=stay_id,
            age=age_text(stay["age"]),
            sex=sex_text(stay["sex"]),
            split=stay["split"],
            complaint=next((" ".join(text.split()) for key, text in sections if key == "chief_complaint"), ""),
            prediction_time=stay["prediction_time"],
            window=hours,
            orders_known=bool(row["orders_known"]),
            in_force=[names.get(str(key), str(key)) for key in row["in_force"]],
            suggestions=suggestions,
            withheld=withheld,
            unchecked=[what for what in unchecked if what not in general],
            unchecked_anywhere=[what for what in unchecked if what in general],
            sections=section_parts(sections, read, places.passages, self._cohort.label_set),
            figures=figures_of({key: rows for key, rows in cells.items() if rows}, places.hours, {}, {}),
        )


def _suggestion(row: Mapping[str, Any], places: Places) -> SuggestionView:
    grounds = [
        GroundView(
            _GROUNDS[one["kind"]],
            one["kind"] != "cases",
            one["text"],
            one["source"],
            places.named(one["evidence"], one["text"]),
        )
        for one in row["grounds"]
    ]
    members = [
        MemberView(
            str(member["ingredient"]),
            [
                CautionView(
                    one["severity"], one["because"], one["source"], places.named(one["evidence"], one["because"])
                )
                for one in member["cautions"]
            ],
        )
        for member in row["members"]
    ]
    return SuggestionView(str(row["name"]), float(row["probability"]), row.get("rank"), members, grounds)
