"""Similar cases of databases whose dates are real, FHIR and OMOP, from the raw export to the answer.

Nobody who was still in hospital at the prediction time of a stay is a case of it, and what comes later changes nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.similarity.index import ENCODERS, VECTORS
from mimic_prep.prepare import prepare
from tests.mimic_prep.exports import Export
from tests.mimic_prep.fhir_export import concept, write

PATIENTS = 60
FIRST = datetime(2020, 1, 5, 8)  # dates in the future are taken for shifted ones, which have no clock
COUNT = 5
DISCHARGE, RADIOLOGY = "Discharge summary", "Radiology report"
LOINC = {DISCHARGE: "18842-5", RADIOLOGY: "18748-4"}
TEXTS = (
    "Productive cough and fever, now dyspnea. History of COPD.",
    "Crushing chest pain, diaphoresis. History of hypertension.",
    "Confusion, fever and hypotension. Urinary tract infection last month.",
)
CODES = ("J18.9", "I21.4", "A41.9")
#: LOINC code, OMOP concept, unit in UCUM, OMOP concept of the unit, and the values of the three kinds of patient.
MEASURED = (
    ("8867-4", 3027018, "/min", 8541, (98, 84, 128)),
    ("2160-0", 3016723, "mg/dL", 8840, (1.0, 1.1, 2.6)),
    ("8310-5", 3020891, "Cel", 8653, (38.9, 36.8, 39.4)),
)


@dataclass(frozen=True)
class Patient:
    """A patient of an export; every day one is admitted, for four days and a few hours.

    Attributes:
        number: from 0.
        later: the rows after the prediction time are other ones.
        recoded: the diagnoses are other ones.
    """

    number: int
    later: bool = False
    recoded: bool = False

    @property
    def kind(self) -> int:
        return self.number % 3

    @property
    def code(self) -> str:
        return CODES[(self.kind + self.recoded) % 3]

    @property
    def end(self) -> datetime:
        """Of the hospital stay; how long a test stay lasts is not known when it is asked about."""
        return self.at(100 + (20 if self.later and self.recoded else 0))

    def at(self, hour: float) -> datetime:
        return FIRST + timedelta(days=self.number, hours=hour)

    def values(self) -> list[tuple[datetime, Any, float]]:
        """Time, row of ``MEASURED``, and value: the last is after the 48 hours that are read."""
        rows = []
        for measured in MEASURED:
            usual = measured[-1][self.kind]
            rows += [(self.at(hour), measured, round(usual + 0.01 * (self.number % 7), 2)) for hour in (2, 9, 30)]
            rows.append((self.at(52), measured, round(usual * (1.05 if self.later else 1), 2)))
        return rows

    def notes(self) -> list[tuple[datetime, str, str]]:
        """Time, title and text: of the summary what happened on the ward is not read, nor is a late image."""
        text = f"{TEXTS[self.kind]} Admitted with {('pain', 'nausea', 'weakness', 'fatigue')[self.number % 4]}."
        course = "Fell, hip fracture, then a stroke." if self.later else "Improved."
        image = "IMPRESSION: Large pneumothorax." if self.later else "IMPRESSION: No change."
        return [
            (self.at(90), DISCHARGE, f"History of Present Illness:\n{text}\n\nHospital Course:\n{course}\n"),
            (self.at(55), RADIOLOGY, f"{image}\n"),
        ]


def fhir(folder: Path, patients: Collection[Patient]) -> Path:
    """The patients as FHIR R4 in NDJSON."""
    resources: list[dict[str, Any]] = [{"resourceType": "Location", "id": "loc", "name": "Medical ICU"}]
    for one in patients:
        subject, whole = {"reference": f"Patient/p{one.number}"}, {"reference": f"Encounter/h{one.number}"}
        within = {"subject": subject, "encounter": {"reference": f"Encounter/icu{one.number}"}}
        finished = {"status": "finished", "class": {"code": "IMP"}, "subject": subject}

        def times(start: datetime, end: datetime) -> dict[str, str]:
            return {"start": _zoned(start), "end": _zoned(end)}

        resources += [
            {"resourceType": "Patient", "id": f"p{one.number}", "gender": "female", "birthDate": "1960-03-01"},
            {
                "resourceType": "Encounter", "id": f"h{one.number}", **finished,
                "period": times(one.at(-3), one.end),
                "hospitalization": {"dischargeDisposition": {"text": "Home"}},
            },
            {
                "resourceType": "Encounter", "id": f"icu{one.number}", **finished, "partOf": whole,
                "period": times(one.at(0), one.at(60)),
                "location": [{"location": {"reference": "Location/loc"}}],
            },
            {
                "resourceType": "Condition", "id": f"c{one.number}", "subject": subject, "encounter": whole,
                "category": [concept("encounter-diagnosis", "http://terminology.hl7.org/CodeSystem/condition-category")],
                "code": concept(one.code, "http://hl7.org/fhir/sid/icd-10-cm"),
            },
        ]  # fmt: skip
        resources += [
            {
                "resourceType": "Observation", "id": f"o{one.number}-{row}", "status": "final", "code": concept(loinc),
                **within, "effectiveDateTime": _zoned(time), "issued": _zoned(time),
                "valueQuantity": {"value": value, "unit": unit, "code": unit, "system": "http://unitsofmeasure.org"},
            }
            for row, (time, (loinc, _, unit, *_), value) in enumerate(one.values())
        ]  # fmt: skip
        resources += [
            {
                "resourceType": "DocumentReference", "id": f"d{one.number}-{row}", "status": "current",
                "type": concept(LOINC[title]), "date": _zoned(time), "subject": subject,
                "context": {"encounter": [whole]},
                "content": [{"attachment": {
                    "contentType": "text/plain", "data": base64.b64encode(text.encode()).decode(),
                }}],
            }
            for row, (time, title, text) in enumerate(one.notes())
        ]  # fmt: skip
    return write(folder, resources)


def omop(folder: Path, patients: Collection[Patient]) -> Path:
    """The patients as CSV files of the OMOP CDM."""
    tables: dict[str, list[dict[str, Any]]] = {
        "care_site": [{"care_site_id": 1, "care_site_name": "Medical ICU", "place_of_service_concept_id": 0}]
    }
    for one in patients:
        whose = {"person_id": one.number + 1}
        visit = {**whose, "visit_occurrence_id": one.number + 1}
        rows = {
            "person": [{**whose, "gender_concept_id": 8532, "year_of_birth": 1960, "gender_source_value": "F"}],
            "visit_occurrence": [
                {
                    **visit, "visit_concept_id": 9201, **_dated("visit_start", one.at(-3)),
                    **_dated("visit_end", one.end), "visit_type_concept_id": 32817, "discharge_to_concept_id": 8536,
                }
            ],
            "visit_detail": [
                {
                    **visit, "visit_detail_id": one.number + 1, "visit_detail_concept_id": 0,
                    **_dated("visit_detail_start", one.at(0)), **_dated("visit_detail_end", one.at(60)),
                    "visit_detail_type_concept_id": 32817, "care_site_id": 1,
                }
            ],
            "measurement": [
                {
                    **whose, "measurement_id": row, "measurement_concept_id": number, **_dated("measurement", time),
                    "value_as_number": value, "unit_concept_id": unit, "measurement_source_value": "x",
                    "measurement_source_concept_id": 0, "unit_source_value": "", "value_source_value": "",
                }
                for row, (time, (_, number, _, unit, _), value) in enumerate(one.values())
            ],
            "condition_occurrence": [
                {
                    **visit, "condition_occurrence_id": one.number, "condition_concept_id": 1,
                    "condition_start_date": f"{one.at(0):%Y-%m-%d}", "condition_type_concept_id": 32821,
                    "condition_source_value": one.code, "condition_source_concept_id": 0,
                }
            ],
            "note": [
                {
                    **visit, "note_id": 10 * one.number + row, **_dated("note", time), "note_type_concept_id": 0,
                    "note_class_concept_id": 0, "note_title": title, "note_text": text,
                    "note_source_value": "",
                }
                for row, (time, title, text) in enumerate(one.notes())
            ],
        }  # fmt: skip
        for name, part in rows.items():
            tables.setdefault(name, []).extend(part)
    return Export(tables).write(folder)


def _zoned(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}-05:00"


def _dated(name: str, time: datetime) -> dict[str, str]:
    return {f"{name}_date": f"{time:%Y-%m-%d}", f"{name}_datetime": f"{time:%Y-%m-%d %H:%M:%S}"}


WRITERS: dict[str, Callable[[Path, Collection[Patient]], Path]] = {"fhir": fhir, "omop": omop}


@dataclass(frozen=True)
class Asked:
    """A database with its index, and the answers about its test stays."""

    cohort: Cohort
    index: Path
    answers: list[str]


def asked(source: str, folder: Path, patients: Collection[Patient]) -> Asked:
    """Write, prepare, index and ask."""
    folder.mkdir(parents=True)
    raw = WRITERS[source](folder / "raw", patients)
    prepare(raw, folder / "cohort", source=source, workers=1)
    opened = clinragen.build_index(folder / "cohort", folder / "index")
    cohort = Cohort.load(folder / "cohort")
    answers = [
        json.dumps(clinragen.similar(opened, cohort, stay, count=COUNT).as_json())
        for stay in cohort.split("test").tolist()
    ]
    return Asked(cohort, folder / "index", answers)


@pytest.fixture(scope="module", params=list(WRITERS))
def before(request, tmp_path_factory) -> tuple[str, Asked]:
    folder = tmp_path_factory.mktemp(request.param) / "before"
    return request.param, asked(request.param, folder, [Patient(number) for number in range(PATIENTS)])


def numbers(cohort: Cohort, split: str) -> set[int]:
    """The patients of a split, of whom one is admitted every day."""
    return {(start - FIRST).days for start in cohort.stays.filter(split=split)["intime"]}


def test_the_clock_is_the_calendar_and_both_modalities_are_read(before):
    _, read = before
    assert read.cohort.clock == "absolute"
    assert len(read.cohort.stays) == PATIENTS
    assert len(read.answers) >= 4
    shown = [case for answer in read.answers for case in json.loads(answer)["cases"]]
    assert {sign["kind"] for case in shown for sign in case["shared"]} == {"note", "series"}
    assert max(case["similarities"]["words"] for case in shown) > 0.5


def test_who_was_still_in_hospital_is_no_case(before):
    _, read = before
    ended = dict(read.cohort.outcomes.select("stay_id", "hospital_outtime").iter_rows())
    times = dict(read.cohort.stays.select("stay_id", "prediction_time").iter_rows())
    train = set(read.cohort.split("train").tolist())
    possible = 0
    for answer in read.answers:
        values = json.loads(answer)
        at = times[values["stay_id"]]
        done = {stay for stay in train if ended[stay] <= at}
        assert {case["stay_id"] for case in values["cases"]} <= done
        assert len(values["cases"]) == min(COUNT, len(done))
        possible += len(done)
    assert 0 < possible < len(train) * len(read.answers)  # the clock leaves out some, and not all


def test_later_rows_and_codes_of_test_stays_change_no_byte(before, tmp_path):
    source, read = before
    test = numbers(read.cohort, "test")
    patients = [Patient(number, later=True, recoded=number in test) for number in range(PATIENTS)]
    after = asked(source, tmp_path / "after", patients)
    assert numbers(after.cohort, "test") == test
    changed = pl.col("stay_id").is_in(after.cohort.split("test").tolist())
    assert not after.cohort.labels.filter(changed).equals(read.cohort.labels.filter(changed))
    assert not after.cohort.outcomes.equals(read.cohort.outcomes)
    for file in (VECTORS, ENCODERS):
        assert (after.index / file).read_bytes() == (read.index / file).read_bytes()
    assert after.answers == read.answers


def test_an_earlier_row_does_change_the_answer(before, tmp_path):
    """The test above could not fail if nothing of an export reached an answer."""
    source, read = before
    first = min(numbers(read.cohort, "test"))
    patients = [Patient(number, later=False) for number in range(PATIENTS)]
    patients[first] = _Earlier(first)
    after = asked(source, tmp_path / "after", patients)
    assert after.answers != read.answers


class _Earlier(Patient):
    """A patient of whom something else was written, and measured, before the prediction time."""

    def values(self) -> list[tuple[datetime, Any, float]]:
        return [(time, measured, round(value * 1.04, 2)) for time, measured, value in super().values()]
