"""Stays and admissions from Encounters: intensive care, or whole hospital encounters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import polars as pl
from msgspec import json

from clinragen.errors import UserError, unknown_choice

StayKind = Literal["encounter", "location", "class", "hospital"]
AUTO = "auto"
_INPATIENT = ("IMP", "ACUTE", "NONAC", "SS", "OBSENC")
_TOUCHING = timedelta(hours=1)  # longest gap between two spans of one stay
_STAYS = {"stay_id": pl.Int64, "hadm_id": pl.Int64, "subject_id": pl.Int64, "intime": pl.Datetime("ms"),
          "outtime": pl.Datetime("ms"), "unit": pl.String, "encounter": pl.String}  # fmt: skip


@dataclass
class Placed:
    """Stays, admissions, and what references to encounters mean.

    Attributes:
        stays: stay_id, hadm_id, subject_id, intime, outtime, unit, encounter.
        admissions: hadm_id, subject_id, start, end, kind, source, disposition, encounter.
        stay_of: key of an encounter -> the stay that it is.
        admission_of: key of an encounter -> its admission.
        subject_of: key of an encounter -> its patient.
        kind: how the stays were recognised.
        warnings: what the user should know.
    """

    stays: pl.DataFrame
    admissions: pl.DataFrame
    stay_of: dict[str, int]
    admission_of: dict[str, int]
    subject_of: dict[str, int]
    kind: StayKind
    warnings: list[str] = field(default_factory=list)


def made_id(key: str) -> int:
    """The number of a resource whose identifiers are none: from its key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big")


def place(encounters: pl.DataFrame, locations: pl.DataFrame, subjects: dict[str, int], chosen: str) -> Placed:
    """Stays and admissions.

    Args:
        encounters: rows of ``resources.SCHEMAS``, with references resolved.
        locations: likewise.
        subjects: key of a patient -> subject_id.
        chosen: how stays are recognised, or ``auto`` for the first way that gives any.

    Raises:
        UserError: an unknown way, or no stay at all.
    """
    if chosen not in (AUTO, "default", *get_args(StayKind)):
        raise unknown_choice("stays", chosen, (AUTO, *get_args(StayKind)))
    rows = {row["key"]: row for row in encounters.iter_rows(named=True)}
    places = _Places(rows, {row["key"]: row for row in locations.iter_rows(named=True)})
    ways: tuple[StayKind, ...] = get_args(StayKind) if chosen in (AUTO, "default") else (chosen,)  # type: ignore[assignment]
    for kind in ways:
        if spans := places.spans(kind):
            break
    else:
        raise UserError(
            "no Encounter is a stay: expected encounters, locations or a classHistory of intensive care, or inpatient "
            "encounters; say with --codes what the site calls intensive care, or pass --stays hospital"
        )
    placed = _placed(places, spans, subjects, kind)
    if orphans := sum(places.is_orphan(key) for key, *_ in spans):
        placed.warnings.append(
            f"{orphans:,} of {len(spans):,} stays are part of an Encounter that the export does not have: without it "
            "they have no times of admission and discharge, and no diagnoses; ask for all Encounters"
        )
    if kind != "hospital" and chosen in (AUTO, "default"):
        others = {key for way in ("location", "class") if way != kind for key, *_ in places.spans(way)}  # type: ignore[arg-type]
        missed = {places.admission(key) for key in others} - {places.admission(key) for key, *_ in spans}
        if missed:
            placed.warnings.append(
                f"{len(missed):,} hospital encounters show intensive care by location or class, but have no stay, "
                f"since other stays are recognised by {kind}: see --stays"
            )
    elif chosen in (AUTO, "default"):
        placed.warnings.append(
            "no Encounter speaks of intensive care: whole hospital encounters are the stays; if the site calls it "
            "otherwise, say so with intensive_care in a file for --codes"
        )
    return placed


type _Span = tuple[str, datetime | None, datetime | None, str | None]


class _Places:
    """Where encounters take place."""

    def __init__(self, encounters: dict[str, dict[str, Any]], locations: dict[str, dict[str, Any]]) -> None:
        self.encounters = encounters
        self._locations = locations

    def _is_intensive(self, location: str | None) -> bool:
        for _ in range(4):  # bed, room, ward, building
            row = self._locations.get(location or "")
            if row is None:
                return False
            if row["intensive"]:
                return True
            location = row["part_of"]
        return False

    def _located(self, row: dict[str, Any]) -> list[tuple[str | None, bool, datetime | None, datetime | None]]:
        return [
            (target, intensive or self._is_intensive(target), _time(start), _time(end))
            for target, intensive, start, end in json.decode(row["locations"] or "[]")
        ]

    def is_intensive(self, row: dict[str, Any]) -> bool:
        """Whether an encounter as a whole is intensive care: it says so, or is a part with only such locations."""
        if row["intensive"]:
            return True
        located = self._located(row)
        return row["part_of"] is not None and bool(located) and all(intensive for _, intensive, *_ in located)

    def is_orphan(self, key: str) -> bool:
        """Whether an encounter is part of one that the export does not have."""
        whole = self.encounters[key]["part_of"]
        return whole is not None and whole not in self.encounters

    def spans(self, kind: StayKind) -> list[_Span]:
        """Encounter, start, end and unit of each stay."""
        spans: list[_Span] = []
        for key, row in self.encounters.items():
            if kind == "encounter" and self.is_intensive(row):
                spans.append((key, row["start"], row["end"], self._unit(row)))
            elif kind == "location" and not self.is_intensive(row):
                spans += [(key, *span) for span in self._by_location(row)]
            elif kind == "class" and not self.is_intensive(row):
                spans += [
                    (key, _time(start), _time(end) or row["end"], None)
                    for _, intensive, start, end in json.decode(row["classes"] or "[]")
                    if intensive
                ]
            elif kind == "hospital" and row["kind"] in _INPATIENT and self.admission(key) == key:
                spans.append((key, row["start"], row["end"], None))
        return spans

    def _unit(self, row: dict[str, Any]) -> str | None:
        names = [self._locations[target]["name"] for target, *_ in self._located(row) if target in self._locations]
        return names[0] if names else None

    def _by_location(self, row: dict[str, Any]) -> list[tuple[datetime | None, datetime | None, str | None]]:
        """Spans in intensive care, those that touch joined."""
        located = self._located(row)
        begin = row["start"] if len(located) == 1 else None  # of an encounter's only place, which often has no period
        spans: list[tuple[datetime, datetime | None, str | None]] = []
        for target, intensive, start, end in located:
            if intensive and (since := start or begin):
                spans.append((since, end or row["end"], self._locations.get(target or "", {}).get("name")))
        joined: list[tuple[datetime, datetime | None, str | None]] = []
        for start, end, unit in sorted(spans, key=lambda span: (span[0], span[1] or datetime.max)):
            last = joined[-1] if joined else None
            if last and last[1] is not None and start - last[1] <= _TOUCHING:
                joined[-1] = (last[0], max(last[1], end) if end else None, last[2])
            else:
                joined.append((start, end, unit))
        return list(joined)

    def admission(self, key: str) -> str:
        """The hospital encounter that an encounter belongs to: that which intensive care is a part of, or itself."""
        row = self.encounters[key]
        parent = row["part_of"]
        for _ in range(8):
            if parent is None or parent not in self.encounters or parent == key:
                return key
            above = self.encounters[parent]
            whole = self.is_intensive(row) or (row["kind"] in _INPATIENT and above["kind"] in _INPATIENT)
            if not whole:
                return key
            key, row, parent = parent, above, above["part_of"]
        return key


def _placed(places: _Places, spans: list[_Span], subjects: dict[str, int], kind: StayKind) -> Placed:
    stay_rows = []
    stay_of: dict[str, int] = {}
    numbers = {
        key: row["number"] if row["number"] is not None else made_id(key) for key, row in places.encounters.items()
    }
    subject_of = {
        key: subjects.get(row["subject"] or "", made_id(row["subject"]))
        for key, row in places.encounters.items()
        if row["subject"]
    }
    admission_of = {key: numbers[places.admission(key)] for key in places.encounters}
    for key, start, end, unit in spans:
        if key not in subject_of:
            continue
        whole = kind in ("encounter", "hospital")
        stay = numbers[key] if whole else made_id(f"{key} {start}")
        if whole:
            stay_of[key] = stay
        stay_rows.append([stay, admission_of[key], subject_of[key], start, end, unit, key])
    stays = pl.DataFrame(stay_rows, schema=_STAYS, orient="row").sort("stay_id")
    top_encounters = [
        (key, places.encounters[key]) for key in places.encounters if places.admission(key) == key and key in subject_of
    ]
    admissions = pl.DataFrame(
        [
            [numbers[key], subject_of[key], row["start"], row["end"], row["kind"], row["source"],
             row["disposition"], key]
            for key, row in top_encounters
        ],
        schema={"hadm_id": pl.Int64, "subject_id": pl.Int64, "start": pl.Datetime("ms"), "end": pl.Datetime("ms"),
                "kind": pl.String, "source": pl.String, "disposition": pl.String, "encounter": pl.String},
        orient="row",
    ).sort("hadm_id")  # fmt: skip
    return Placed(stays, admissions, stay_of, admission_of, subject_of, kind)


def _time(stated: str | None) -> datetime | None:
    return datetime.fromisoformat(stated) if stated else None
