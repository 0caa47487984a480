"""Stays from a FHIR R4 bundle: encounters, observations by LOINC code, and the text of documents and reports.

A stay is an encounter that no other one of the bundle is part of. What belongs to no stay, has no variable, or lies
after the prediction time is counted with its reason, and never dropped silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError

from clinragen.cohort.window import Window
from clinragen.serve.fhir_measurements import hourly_rows, read_parts
from clinragen.serve.fhir_notes import document_sections, report_sections
from clinragen.serve.fhir_resources import (
    READ,
    Bundle,
    DiagnosticReport,
    DocumentReference,
    Element,
    Encounter,
    Observation,
    Patient,
    Reference,
)
from clinragen.serve.intake import LATE, SPLIT, Intake, LeftOut, naive, prediction_end, prefixed, utc
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import Field, invalid, of_validation, path_of
from clinragen.serve.rows import refused

SOURCE = "FHIR"
_INVALID_STATUS = ("entered-in-error", "cancelled")
_SEX = {"female": "F", "male": "M"}
_YEAR = 365.2425  # days


@dataclass(frozen=True)
class _Stay:
    """A stay, the references that mean it, and its patient's."""

    stay_id: int
    names: frozenset[str]
    subjects: frozenset[str]
    start: datetime
    end: datetime  # the prediction time

    def covers(self, encounters: Sequence[Reference], subject: Reference, others: frozenset[str]) -> bool:
        """Whether a resource belongs to the stay: by its encounter, else by its patient.

        Args:
            encounters: of the resource.
            subject: its patient.
            others: the references that mean some stay.
        """
        named = {one.reference for one in encounters if one.reference in others}
        return not named.isdisjoint(self.names) if named else subject.reference in self.subjects


class _Bundle:
    """The resources of a bundle by type, with their position and the references that mean them."""

    def __init__(self, bundle: Bundle, left_out: LeftOut) -> None:
        self.wrong: list[Field] = []
        self.resources: dict[str, list[tuple[int, Any]]] = {name: [] for name in READ}
        self.references: dict[int, frozenset[str]] = {}
        for index, entry in enumerate(bundle.entry):
            kind = entry.resource.get("resourceType")
            if not isinstance(kind, str) or kind not in READ:
                code = kind if isinstance(kind, str) and kind.isalpha() and len(kind) <= 40 else None
                left_out.add("type of resource that is not read", code=code)
                continue
            try:
                resource = READ[kind].model_validate(entry.resource)
            except ValidationError as error:
                self.wrong += of_validation(error, ("entry", index, "resource"))
                continue
            self.resources[kind].append((index, resource))
            self.references[index] = _references(kind, resource, entry.fullUrl)
        if len(naive(time for _, part in self._timed() for time in part)) > 1:
            self.wrong.append(Field("entry", "some times have a time zone and others have none"))

    def _timed(self) -> list[tuple[int, list[datetime | None]]]:
        kinds = ("Encounter", "Observation", "DocumentReference", "DiagnosticReport")
        return [(index, _times(one)) for kind in kinds for index, one in self.resources[kind]]

    def stays(self, window: Window) -> tuple[list[_Stay], list[dict[str, Any]], dict[int, str]]:
        """The stays, their rows of a cohort, and the ids of their encounters."""
        patients = {name: one for index, one in self.resources["Patient"] for name in self.references[index]}
        parents = {one.partOf.reference for _, one in self.resources["Encounter"]}
        stays, rows, encounters = [], [], {}
        for index, encounter in self.resources["Encounter"]:
            names = self.references[index]
            if not names.isdisjoint(parents):
                continue
            row = self._row(index, encounter, patients, window, len(rows) + 1)
            if row is not None:
                rows.append(row)
                subject = next(one for one in self.resources["Patient"] if one[1] is patients[_of(encounter)])[0]
                subjects = self.references[subject]
                stays.append(_Stay(row["stay_id"], names, subjects, row["intime"], row["prediction_time"]))
                encounters[row["stay_id"]] = encounter.id or ""
        if not rows and not self.wrong:
            self.wrong.append(Field("entry", "the bundle has no Encounter, so there is no stay"))
        return stays, rows, encounters

    def _row(
        self, index: int, encounter: Encounter, patients: dict[str, Patient], window: Window, number: int
    ) -> dict[str, Any] | None:
        where = ("entry", index, "resource")
        patient = patients.get(_of(encounter))
        start, end = utc(encounter.period.start), utc(encounter.period.end)
        if patient is None:
            self.wrong.append(Field(path_of((*where, "subject")), "no Patient of the bundle has this reference"))
            return None
        if start is None:
            self.wrong.append(Field(path_of((*where, "period", "start")), "a date and time are needed"))
            return None
        chosen, trouble = prediction_end(start, end, None, window)
        age = _age(patient.birthDate, start)
        if trouble or not 0 <= age <= 130:
            self.wrong.append(
                prefixed(trouble, *where, "period") if trouble else Field(path_of(where), "an age of 0 to 130 years")
            )
            return None
        return {
            "stay_id": number,
            "subject_id": number,
            "hadm_id": number,
            "intime": start,
            "outtime": end or chosen,
            "prediction_time": chosen,
            "age": age,
            "sex": _SEX.get(patient.gender or ""),
            "split": SPLIT,
        }


def read_bundle(body: bytes, window: Window, limits: Limits) -> Intake:
    """The stays of a bundle.

    Args:
        body: JSON of a FHIR R4 bundle.
        window: the hours that the model reads.
        limits: of the service.

    Raises:
        RefusalError: 422 with the fields that are wrong.
    """
    try:
        bundle = Bundle.model_validate_json(body)
    except ValidationError as error:
        raise refused(error) from None
    left_out = LeftOut()
    opened = _Bundle(bundle, left_out)
    stays, rows, encounters = opened.stays(window)
    if opened.wrong:
        raise invalid(opened.wrong)
    if len(opened.resources["Observation"]) > limits.measurements:
        raise invalid([Field("entry", f"at most {limits.measurements:,} observations are read")])
    series = _series(opened, stays, left_out)
    notes = _notes(opened, stays, left_out)
    intake = Intake.of_rows((rows, series, notes), window, SOURCE, left_out, encounters)
    if excess := intake.excess(limits):
        raise invalid(excess)
    return intake


def _series(bundle: _Bundle, stays: Sequence[_Stay], left_out: LeftOut) -> list[dict[str, Any]]:
    names = frozenset(name for stay in stays for name in stay.names)
    events = []
    for _, one in bundle.resources["Observation"]:
        time, issued = utc(one.time), utc(one.issued)
        if one.status in _INVALID_STATUS:
            left_out.add("marked as an error or cancelled")
        elif time is None:
            left_out.add("observation without a time")
        elif not (owners := [stay for stay in stays if stay.covers([one.encounter], one.subject, names)]):
            left_out.add("observation of no stay of the bundle")
        elif not (inside := [stay for stay in owners if stay.start <= time < stay.end]):
            left_out.add(LATE if any(time >= stay.end for stay in owners) else "before the stay")
        elif issued is not None and not any(issued < stay.end for stay in inside):
            left_out.add("issued " + LATE)
        else:
            read_stays = [stay for stay in inside if issued is None or issued < stay.end]
            for variable, value in read_parts(one, left_out):
                events += [(stay.stay_id, time - stay.start, variable, value) for stay in read_stays]
    return hourly_rows(events)


def _notes(bundle: _Bundle, stays: Sequence[_Stay], left_out: LeftOut) -> list[dict[str, Any]]:
    names = frozenset(name for stay in stays for name in stay.names)
    rows = []
    for index, one in [*bundle.resources["DocumentReference"], *bundle.resources["DiagnosticReport"]]:
        document = isinstance(one, DocumentReference)
        encounters = one.context.encounter if document else [one.encounter]
        time = utc(one.date if document else one.issued or one.effectiveDateTime)
        if one.status in _INVALID_STATUS:
            left_out.add("marked as an error or cancelled")
        elif time is None:
            left_out.add("document without a time")
        elif not (owners := [stay for stay in stays if stay.covers(encounters, one.subject, names)]):
            left_out.add("document of no stay of the bundle")
        elif not (readers := [stay for stay in owners if time < stay.end]):
            left_out.add(LATE)
        else:
            sections = document_sections(one, left_out) if document else report_sections(one, left_out)
            kind = "document" if document else "report"
            rows += [
                {
                    "stay_id": stay.stay_id,
                    "note_id": str(index),
                    "kind": kind,
                    "section": key,
                    "time": time,
                    "text": text,
                }
                for stay in readers
                for key, text in sections
            ]
    return rows


def _references(kind: str, resource: Element, url: str | None) -> frozenset[str]:
    """What a reference to a resource may say."""
    identifier = getattr(resource, "id", None)
    return frozenset(name for name in (f"{kind}/{identifier}" if identifier else None, url) if name)


def _of(encounter: Encounter) -> str:
    return encounter.subject.reference or ""


def _times(resource: Encounter | Observation | DocumentReference | DiagnosticReport) -> list[datetime | None]:
    match resource:
        case Encounter():
            return [resource.period.start, resource.period.end]
        case Observation():
            return [resource.time, resource.issued]
        case DocumentReference():
            return [resource.date]
    return [resource.issued, resource.effectiveDateTime]


def _age(born: str, start: datetime) -> float:
    """Years at the start of a stay; of a year of birth its middle is taken, and of a month its first day.

    >>> _age("1950", datetime(2020, 7, 1))
    70.0
    """
    parts = [int(part) for part in born.split("-")]
    year, month, day = (*parts, *(7, 1)[len(parts) - 1 :]) if len(parts) < 3 else parts
    try:
        days = (start.date() - date(year, month, day)).days
    except ValueError:  # the 31st of February
        return -1.0
    return round(days / _YEAR, 1)
