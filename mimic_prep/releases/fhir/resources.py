"""Resources other than Observations as rows. Like ``observations``, ``skip`` and ``bad`` say why a row is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import polars as pl
from msgspec import json

from mimic_prep.releases.fhir.clock import Clock
from mimic_prep.releases.fhir.elements import codings, contained, identifiers, items, part, reference, text, words
from mimic_prep.releases.fhir.note_content import NoteReader
from mimic_prep.releases.fhir.observations import NO_PATIENT, NO_TIME, WITHDRAWN
from mimic_prep.releases.fhir.specimens import SpecimenTypes
from mimic_prep.releases.fhir.treatments import TREATMENT
from mimic_prep.releases.fhir.vocabulary import Vocabulary

type Row = dict[str, Any]
#: ``key`` is ``Type/id``; every row also has version, line, skip and bad.
_COMMON = {"key": pl.String, "version": pl.Int64, "line": pl.Int64, "skip": pl.String, "bad": pl.String}
_OF = {"subject": pl.String, "encounter": pl.String}
_TIME = pl.Datetime("ms")
SCHEMAS: dict[str, dict[str, Any]] = {
    "Patient": {**_COMMON, "number": pl.Int64, "birth": _TIME, "sex": pl.String, "dead": pl.Boolean, "death": _TIME,
                "death_day": _TIME},
    "Encounter": {
        **_COMMON, "number": pl.Int64, "subject": pl.String, "part_of": pl.String, "kind": pl.String,
        "intensive": pl.Boolean, "start": _TIME, "end": _TIME, "locations": pl.String, "classes": pl.String,
        "source": pl.String, "disposition": pl.String, "ranks": pl.String, "provider": pl.String,
        "provider_name": pl.String,
    },
    "Organization": {**_COMMON, "name": pl.String, "part_of": pl.String},
    "Location": {**_COMMON, "intensive": pl.Boolean, "name": pl.String, "part_of": pl.String},
    "Condition": {**_COMMON, **_OF, "code": pl.String, "icd": pl.Int64, "history": pl.Boolean, "time": _TIME,
                  "title": pl.String},
    "Medication": {**_COMMON, "name": pl.String},
    "Drug": {**_COMMON, **_OF, "time": _TIME, "drug": pl.String, "medication": pl.String},
    "Note": {**_COMMON, **_OF, "kind": pl.String, "time": _TIME, "available": _TIME, "text": pl.String,
             "binary": pl.String},
    "Binary": {**_COMMON, "text": pl.String},
    "Specimen": {**_COMMON, "level": pl.Int8},
    "Given": {**_COMMON, "item": pl.Int64},
    "Administration": {**_COMMON, **TREATMENT},
    "Procedure": {**_COMMON, **TREATMENT},
    "Alias": {**_COMMON, "target": pl.String},
    "Deleted": _COMMON,
}  # fmt: skip
_DIED = re.compile(r"(?i)\b(?:died|dead|death|deceased|expired|exp)\b")
_REFUTED = {"refuted": "refuted", "entered-in-error": "entered in error", "unconfirmed": "not confirmed",
            "provisional": "not confirmed", "differential": "not confirmed"}  # fmt: skip
_SEX = {"male": "M", "female": "F", "m": "M", "f": "F"}


class ResourceReader:
    """Reads resources; ``remarks`` counts what was repaired."""

    def __init__(self, vocabulary: Vocabulary, clock: Clock) -> None:
        mapping = vocabulary.mapping
        self._vocabulary = vocabulary
        self._clock = clock
        self.remarks: Counter[str] = Counter()
        self._notes = NoteReader(mapping.notes, self.remarks)
        self._specimens = SpecimenTypes(mapping.specimens)
        self._intensive = re.compile(mapping.intensive_care, re.IGNORECASE)
        self._lesser = re.compile(mapping.not_intensive_care, re.IGNORECASE)
        self._readers: dict[str, tuple[str, Callable[[Mapping[str, Any]], Row]]] = {
            "Patient": ("Patient", self._patient), "Encounter": ("Encounter", self._encounter),
            "Location": ("Location", self._location), "Organization": ("Organization", self._organization),
            "Condition": ("Condition", self._condition),
            "Medication": ("Medication", self._medication), "MedicationRequest": ("Drug", self._request),
            "MedicationAdministration": ("Drug", self._administration), "DocumentReference": ("Note", self._document),
            "DiagnosticReport": ("Note", self._report), "Composition": ("Note", self._composition),
            "Binary": ("Binary", self._binary), "Specimen": ("Specimen", self._specimen),
        }  # fmt: skip

    def reads(self, kind: object) -> bool:
        """Whether resources of a type are read."""
        return kind in self._readers

    def row(self, resource: Mapping[str, Any]) -> tuple[str, Row]:
        """The table of ``SCHEMAS`` and the row of a resource, without key, version and line."""
        table, read = self._readers[resource["resourceType"]]
        status = text(resource.get("status"))
        if status and status.lower() in WITHDRAWN:
            return table, {"skip": WITHDRAWN[status.lower()]}
        row = read(resource)
        if "subject" in SCHEMAS[table] and not row.get("subject") and not row.get("encounter"):
            row = {"skip" if row.get("skip") else "bad": row.get("skip") or NO_PATIENT}
        return table, row

    def aliases(self, resource: Mapping[str, Any], key: str, url: str | None) -> list[Row]:
        """Other names under which a resource is referred to: its ``fullUrl``, its identifiers, merged patients."""
        names = [url] if url and url != key else []
        if resource.get("resourceType") in ("Patient", "Encounter", "Location", "Organization"):
            kind = resource["resourceType"]
            names += [f"{kind}?{system}|{value}" for system, value in identifiers(resource)]
        rows = [{"key": name, "target": key} for name in names]
        for link in items(resource.get("link")) if resource.get("resourceType") == "Patient" else []:
            other = reference(link.get("other"), "Patient")
            if link.get("type") == "replaced-by" and other:
                rows.append({"key": key, "target": other})
            elif link.get("type") == "replaces" and other:
                rows.append({"key": other, "target": key})
        return rows

    def _specimen(self, resource: Mapping[str, Any]) -> Row:
        return {"level": self._specimens.level(resource.get("type"))}

    def _number(self, resource: Mapping[str, Any], systems: list[str]) -> int | None:
        by_system = dict(reversed(list(identifiers(resource))))
        value = next((by_system[system] for system in systems if system in by_system), "")
        return int(value) if value.isdecimal() and len(value) < 18 else None

    def _patient(self, resource: Mapping[str, Any]) -> Row:
        born = self._clock.day(resource.get("birthDate"))
        sex = text(resource.get("gender"))
        death, _ = self._clock.read(resource.get("deceasedDateTime"))
        day = self._clock.day(resource.get("deceasedDateTime"))
        dead = resource.get("deceasedBoolean")
        if born is None:
            self.remarks["patient without a birth date that can be read"] += 1
        return {
            "number": self._number(resource, self._vocabulary.mapping.patient_ids),
            "birth": datetime(born.year, born.month, born.day) if born else None,
            "sex": _SEX.get(sex.lower()) if sex else None,
            "dead": True if day else dead if isinstance(dead, bool) else None,
            "death": death,
            "death_day": datetime(day.year, day.month, day.day) if day else None,
        }

    def is_intensive(self, *elements: Any) -> bool:
        """Whether concepts, codings, references or texts speak of intensive care."""
        spoken = [
            word for element in elements for word in (words(element) if not isinstance(element, str) else [element])
        ]
        return any(self._intensive.search(word) and not self._lesser.search(word) for word in spoken)

    def _period(self, period: Any) -> tuple[datetime | None, datetime | None, str | None]:
        """Start and end of a period; a date without an hour is its midnight, or the end of that day."""
        times: list[datetime | None] = []
        dated = False
        for name, add in (("start", (0, 0, 0)), ("end", (23, 59, 59))):
            stated = part(period, name)
            time, why = self._clock.read(stated)
            if why and (day := self._clock.day(stated)) and len(str(stated).strip()) == 10:
                dated = True
                time, why = datetime(day.year, day.month, day.day, *add), None
            if why:
                return None, None, why
            times.append(time)
        self.remarks["period whose times are dates without an hour"] += dated
        return times[0], times[1], None

    def _encounter(self, resource: Mapping[str, Any]) -> Row:
        start, end, why = self._period(resource.get("period"))
        kind = next(iter(codings(resource.get("class"))), ("", "", ""))
        systems = [system for system, _ in identifiers(resource)]
        status = text(resource.get("status"))
        skip = f"encounter that is {status}" if status in ("planned", "proposed") else None
        admission = resource.get("hospitalization") or resource.get("admission")
        provider = reference(resource.get("serviceProvider"), "Organization")
        inside = contained(resource, provider)
        row: Row = {
            "number": self._number(resource, self._vocabulary.mapping.encounter_ids),
            "subject": reference(resource.get("subject"), "Patient"),
            "part_of": reference(resource.get("partOf"), "Encounter"),
            "kind": kind[1].upper() or None,
            "intensive": self.is_intensive(
                resource.get("class"), resource.get("type"), resource.get("serviceType"), *systems
            ),
            "start": start,
            "end": end,
            "locations": self._spans(resource.get("location"), "location"),
            "classes": self._spans(resource.get("classHistory"), "class"),
            "source": next(iter(words(part(admission, "admitSource"))), None),
            "disposition": next(iter(words(part(admission, "dischargeDisposition"))), None),
            "ranks": json.encode(
                {
                    target: rank
                    for one in items(resource.get("diagnosis"))
                    if (target := reference(one.get("condition"))) and isinstance(rank := one.get("rank"), int)
                }
            ).decode(),
            "provider": None if inside else provider,
            "provider_name": text((inside or {}).get("name")) or text(part(resource, "serviceProvider", "display")),
        }
        return {**row, "skip": skip, "bad": None if skip else why}

    def _spans(self, entries: Any, name: str) -> str:
        """Entries with a period as JSON: [reference, whether they speak of intensive care, start, end]."""
        spans = []
        for one in items(entries):
            start, end, _ = self._period(one.get("period"))
            target = reference(one.get(name)) if name == "location" else None
            spans.append([target, self.is_intensive(one.get(name)), start, end])
        return json.encode(spans).decode()

    def _location(self, resource: Mapping[str, Any]) -> Row:
        alias = [entry for entry in resource.get("alias") or [] if isinstance(entry, str)]
        name = text(resource.get("name")) or ""
        described = [name, *alias, text(resource.get("description")) or ""]
        return {
            "intensive": self.is_intensive(resource.get("type"), *described),
            "name": name,
            "part_of": reference(resource.get("partOf"), "Location"),
        }

    def _organization(self, resource: Mapping[str, Any]) -> Row:
        return {"name": text(resource.get("name")), "part_of": reference(resource.get("partOf"), "Organization")}

    def _condition(self, resource: Mapping[str, Any]) -> Row:
        for _, code, _ in codings(resource.get("verificationStatus")):
            if code in _REFUTED:
                return {"skip": _REFUTED[code]}
        categories = {code for _, code, _ in codings(resource.get("category"))}
        diagnosis = self._vocabulary.diagnosis(resource.get("code"))
        encounter = reference(resource.get("encounter") or resource.get("context"), "Encounter")
        stated = next(
            (resource[name] for name in ("recordedDate", "onsetDateTime", "onsetPeriod") if name in resource), None
        )
        stated = part(stated, "start") if isinstance(stated, dict) else stated
        time, _ = self._clock.read(stated)
        if time is None and (day := self._clock.day(stated)):
            time = datetime(day.year, day.month, day.day)
        of_encounter = "encounter-diagnosis" in categories or (encounter and "problem-list-item" not in categories)
        row: Row = {
            "subject": reference(resource.get("subject"), "Patient"),
            "encounter": encounter,
            "history": not of_encounter,
            "time": time,
            "title": next(iter(words(resource.get("code"))), None),
        }
        if diagnosis is None:
            return {
                **row,
                "skip": "diagnosis without an ICD code"
                if any(codings(resource.get("code")))
                else "diagnosis without a code",
            }
        return {**row, "code": diagnosis[0], "icd": diagnosis[1]}

    def _medication(self, resource: Mapping[str, Any]) -> Row:
        spoken = [word for word in words(resource.get("code")) if re.search(r"[A-Za-z]{3}", word)]
        named = [value for system, value in identifiers(resource) if system.endswith("name")]
        return {"name": next(iter([*named, *spoken]), None)}

    def _drug(self, resource: Mapping[str, Any], encounter: Any) -> Row:
        target = reference(resource.get("medicationReference"), "Medication")
        concept: Any = resource.get("medicationCodeableConcept")
        if inside := contained(resource, target):
            concept, target = inside.get("code"), None
        name = next((word for word in words(concept) if re.search(r"[A-Za-z]{3}", word)), None)
        display = text(part(resource, "medicationReference", "display"))
        return {
            "subject": reference(resource.get("subject"), "Patient"),
            "encounter": reference(encounter, "Encounter"),
            "drug": name or display,
            "medication": target,
            "bad": None if target or any(codings(concept)) or name or display else "no drug",
        }

    def _request(self, resource: Mapping[str, Any]) -> Row:
        if resource.get("doNotPerform") is True:
            return {"skip": "order not to give a drug"}
        if (intent := text(resource.get("intent"))) in ("proposal", "plan", "option"):
            return {"skip": f"{intent}, not an order"}
        row = self._drug(resource, resource.get("encounter") or resource.get("context"))
        start = part(resource, "dispenseRequest", "validityPeriod", "start")
        return self._timed(row, start, resource.get("authoredOn"))

    def _administration(self, resource: Mapping[str, Any]) -> Row:
        if text(resource.get("status")) == "not-done":
            return {"skip": "drug not given"}
        row = self._drug(resource, resource.get("context") or resource.get("encounter"))
        return self._timed(row, resource.get("effectiveDateTime"), part(resource, "effectivePeriod", "start"))

    def _timed(self, row: Row, *stated: Any) -> Row:
        time, why = self._clock.read(next((one for one in stated if one is not None), None))
        return {**row, "time": time, "bad": row.get("bad") or why or (NO_TIME if time is None else None)}

    def _document(self, resource: Mapping[str, Any]) -> Row:
        body = self._notes.document(resource)
        context = part(resource, "context", "encounter") or part(resource, "context")
        return self._note(resource, body, context, resource.get("date") or part(resource, "context", "period", "end"))

    def _report(self, resource: Mapping[str, Any]) -> Row:
        body = self._notes.report(resource)
        stated = resource.get("effectiveDateTime") or part(resource, "effectivePeriod", "end") or resource.get("issued")
        return self._note(resource, body, resource.get("encounter"), stated, resource.get("issued"))

    def _composition(self, resource: Mapping[str, Any]) -> Row:
        return self._note(resource, self._notes.composition(resource), resource.get("encounter"), resource.get("date"))

    def _note(self, resource: Mapping[str, Any], body: Row, encounter: Any, stated: Any, filed: Any = None) -> Row:
        time, why = self._clock.read(stated)
        available, _ = self._clock.read(filed)
        row: Row = {
            "subject": reference(resource.get("subject"), "Patient"),
            "encounter": reference(encounter, "Encounter"),
            "time": time,
            "available": available,
            **body,
        }
        if not row.get("skip") and not row.get("bad"):
            row["bad"] = why or (NO_TIME if time is None and row.get("kind") != "discharge" else None)
        return row

    def _binary(self, resource: Mapping[str, Any]) -> Row:
        return self._notes.binary(resource)


def died(disposition: str | None) -> bool | None:
    """Whether a discharge disposition says that the patient died; None without one.

    >>> died("Expired"), died("HOME"), died(None)
    (True, False, None)
    """
    return None if not disposition else _DIED.search(disposition) is not None
