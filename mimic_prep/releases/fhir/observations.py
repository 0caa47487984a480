"""Observations as rows: any shape of resource, one at a time. ``numbers`` reads the usual shape many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from mimic_prep.releases.fhir.clock import Clock
from mimic_prep.releases.fhir.elements import contained, items, part, reference, text, words
from mimic_prep.releases.fhir.specimens import SAID, SpecimenTypes
from mimic_prep.releases.fhir.vocabulary import CONFLICT, NO_CODE, Meaning, Vocabulary

#: One row per value; a resource without a usable value has one row that says why: ``skip`` if it is out of scope,
#: ``bad`` if it cannot be trusted. ``entry`` and ``version`` tell resources and their versions apart.
ROWS = {
    "entry": pl.UInt64, "version": pl.Int64, "line": pl.Int64, "table": pl.Int8, "item": pl.Int64,
    "rank": pl.Int16,
    "time": pl.Datetime("ms"), "known": pl.Datetime("ms"), "value": pl.Float64, "unit": pl.String, "words": pl.String,
    "comment": pl.String, "specimen": pl.String, "subject": pl.String, "encounter": pl.String, "skip": pl.String,
    "bad": pl.String,
}  # fmt: skip
#: The same on disk, where texts, which repeat, are dictionaries.
PART = pa.schema(
    [
        (name, pa.dictionary(pa.int32(), pa.string()) if kind == pl.String else kind_)
        for (name, kind), kind_ in zip(ROWS.items(), pl.DataFrame(schema=ROWS).to_arrow().schema.types, strict=True)
    ]
)
USED = frozenset(("final", "amended", "corrected", "preliminary"))
WITHDRAWN = {"entered-in-error": "entered in error", "cancelled": "cancelled"}
NO_TIME, NO_PATIENT, NO_VALUE = "no time", "no patient", "no value"
LARGEST = 1e300
_ABSENT = "value absent, as dataAbsentReason says"
_VALUES = ("valueQuantity", "valueInteger", "valueDecimal", "valueString", "valueCodeableConcept", "valueBoolean",
           "valueRange", "valueRatio", "valueSampledData", "valueTime", "valueDateTime", "valuePeriod")  # fmt: skip


class ObservationReader:
    """Reads Observations; ``remarks`` counts what was repaired."""

    def __init__(self, vocabulary: Vocabulary, clock: Clock) -> None:
        self._vocabulary = vocabulary
        self._clock = clock
        self._specimens = SpecimenTypes(vocabulary.mapping.specimens)
        self.remarks: Counter[str] = Counter()

    def rows(self, resource: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of one Observation, without entry, version and line."""
        subject, encounter = (
            reference(resource.get("subject"), "Patient"),
            reference(resource.get("encounter") or resource.get("context")),
        )
        whole: dict[str, Any] = {"subject": subject, "encounter": encounter}
        if why := self._withdrawn(resource):
            return [{**whole, "skip": why}]
        if resource.get("modifierExtension"):
            return [{**whole, "bad": "modifierExtension that may change the meaning"}]
        if subject is None and encounter is None:
            return [{**whole, "bad": NO_PATIENT}]
        if subject and not subject.startswith(("Patient", "urn:", "#")):
            return [{**whole, "skip": "not of a patient"}]
        parts = self._parts(resource)
        meant = [(self._vocabulary.meaning(one.get("code")), one) for one in parts]
        for (_, _, coding), _ in meant:
            if coding:
                self._vocabulary.count_unmapped(coding)
        usable = [(meaning, one) for (meaning, _, _), one in meant if meaning]
        if not usable:
            why = meant[0][0][1] or ""
            return [{**whole, "bad" if why in (CONFLICT, NO_CODE) else "skip": why}]
        if len(usable) < len(meant) - (1 if resource in parts else 0) and len(meant) > 1:
            self.remarks["component whose code no variable has"] += 1
        time, entered, why = self._times(resource)
        whole |= {"time": time, "known": entered, "specimen": self._specimen(resource)}
        whole["comment"] = text(part(resource, "note", "text")) or text(resource.get("comment"))
        rows = [{**whole, **self._value(meaning, one)} for meaning, one in usable]
        sound = [row for row in rows if "bad" not in row and "skip" not in row]
        if len(sound) < len(rows) and sound:
            self.remarks["component without a usable value"] += len(rows) - len(sound)
        rows = sound or rows[:1]
        return [{**row, "bad": row.get("bad") or why} if why and "skip" not in row else row for row in rows]

    def _specimen(self, resource: Mapping[str, Any]) -> str | None:
        """The key of the specimen; where the Observation contains it, or only names its type, what that says."""
        stated = resource.get("specimen")
        target = reference(stated, "Specimen")
        inside = contained(resource, target)
        if inside is None and target:
            return target
        level = self._specimens.level(inside.get("type") if inside else stated)
        return f"{SAID}{level}" if level else target

    def _withdrawn(self, resource: Mapping[str, Any]) -> str | None:
        status = text(resource.get("status"))
        status = status.lower() if status else None
        if status is None:
            self.remarks["no status: taken as final"] += 1
        elif status in WITHDRAWN:
            return WITHDRAWN[status]
        elif status == "registered":
            return "registered, without a result yet"
        elif status not in USED and status != "unknown":
            self.remarks["status that FHIR does not have: taken as final"] += 1
        return None

    def _parts(self, resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The resource, unless it is a panel without a value, and its components."""
        components = items(resource.get("component"))
        alone = not components or any(name in resource for name in _VALUES)
        return [resource, *components] if alone else list(components)

    def _times(self, resource: Mapping[str, Any]) -> tuple[datetime | None, datetime | None, str | None]:
        """When it was measured and known. A value over a period counts from its end."""
        period, timing = resource.get("effectivePeriod"), resource.get("effectiveTiming")
        events = timing.get("event") if isinstance(timing, dict) else None
        stamps = [event for event in events if isinstance(event, str)] if isinstance(events, list) else []
        options = [
            resource.get("effectiveDateTime"), resource.get("effectiveInstant"), part(period, "end"),
            part(period, "start"), max(stamps, default=None),
            part(timing, "repeat", "boundsPeriod", "end"), part(timing, "repeat", "boundsPeriod", "start"),
        ]  # fmt: skip
        stated = next((option for option in options if option is not None), None)
        issued, _ = self._clock.read(resource.get("issued"))
        time, why = self._clock.read(stated)
        if stated is None and issued is not None:
            self.remarks["no time of measurement: that of issue"] += 1
            return issued, issued, None
        return time, issued, why or (NO_TIME if time is None else None)

    def _value(self, meaning: Meaning, one: Mapping[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {"table": meaning.table, "item": meaning.item, "rank": meaning.rank}
        number, worded, unit = self._read(one)
        if one.get("dataAbsentReason") is not None:
            if number is None and worded is None:
                return {**row, "skip": _ABSENT}
            return {**row, "bad": "value beside a dataAbsentReason"}
        if number is None and worded is None:
            odd = any(name in one for name in _VALUES)
            return {**row, "bad": "value of a kind that is not read" if odd else NO_VALUE}
        spelt, why = self._vocabulary.unit(meaning, *unit)
        if number is None:
            spelt, why = unit[1], None
        return {**row, "value": number, "words": worded, "unit": spelt, **({"bad": why} if why else {})}

    def _read(self, one: Mapping[str, Any]) -> tuple[float | None, str | None, tuple[str | None, str | None]]:
        """Number, words, and code and unit of a quantity."""
        quantity = next(iter(items(one.get("valueQuantity"))), None)
        if quantity is not None:
            number = self._number(quantity.get("value"))
            sign = text(quantity.get("comparator"))
            if sign and number is not None:
                self.remarks["result beyond the range of an assay: its limit"] += 1
            worded = text(quantity["value"]) if number is None and isinstance(quantity.get("value"), str) else None
            return number, worded, (text(quantity.get("code")), text(quantity.get("unit")))
        for name in ("valueInteger", "valueDecimal"):
            if name in one:
                return self._number(one[name]), None, (None, None)
        if worded := text(one.get("valueString")):
            number = self._number(worded)
            return number, None if number is not None else worded, (None, None)
        concept = one.get("valueCodeableConcept")
        worded = next(iter(words(concept)), None) if concept is not None else None
        return None, worded, (None, None)

    def _number(self, value: object) -> float | None:
        if isinstance(value, str):
            try:
                number = float(value.strip())
            except ValueError:
                return None
            if number - number != 0:  # NaN, infinite
                return None
            self.remarks["number written as text"] += 1
            return number
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > LARGEST:
            return None
        return float(value)
