"""A small FHIR export for tests: two patients with an intensive care stay each, which tests change."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mimic_prep.releases.fhir.convert import convert
from mimic_prep.releases.fhir.layout import lay_out
from mimic_prep.releases.fhir.versions import Parts
from mimic_prep.releases.fhir.vocabulary import load_mapping

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
OF_FIRST = {"subject": {"reference": "Patient/p1"}}
type Resource = dict[str, Any]


def concept(code: str, system: str = LOINC, **more: Any) -> Resource:
    return {"coding": [{"system": system, "code": code}], **more}


def observation(number: int, code: str = "8867-4", value: float = 80, unit: str = "/min", **changes: Any) -> Resource:
    """Of the first patient, in the hour after hour ``number % 40`` of the stay."""
    made = {
        "resourceType": "Observation", "id": f"o{number}", "status": "final", "code": concept(code),
        "subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/icu1"},
        "effectiveDateTime": at(number % 40), "issued": at(number % 40),
        "valueQuantity": {"value": value, "unit": unit, "code": unit, "system": UCUM},
    }  # fmt: skip
    made |= changes
    return {key: content for key, content in made.items() if content is not None}


def at(hour: float, zone: str = "-05:00") -> str:
    """A time of the first stay, which begins at 2030-01-05 08:00."""
    day, hour = 5 + int((hour + 8) // 24), (hour + 8) % 24
    return f"2030-01-{day:02d}T{int(hour):02d}:{int(hour % 1 * 60):02d}:00{zone}"


def base() -> list[Resource]:
    """Patients, encounters and diagnoses, and a few values."""
    resources: list[Resource] = [{"resourceType": "Location", "id": "loc", "name": "Medical ICU"}]
    for number, sex in ((1, "female"), (2, "male")):
        patient, whole = {"reference": f"Patient/p{number}"}, {"reference": f"Encounter/h{number}"}
        resources += [
            {"resourceType": "Patient", "id": f"p{number}", "gender": sex, "birthDate": "1960-03-01"},
            {
                "resourceType": "Encounter", "id": f"h{number}", "status": "finished", "class": {"code": "IMP"},
                "subject": patient, "period": {"start": at(-3), "end": at(90)},
                "hospitalization": {"dischargeDisposition": {"text": "Home"}},
            },
            {
                "resourceType": "Encounter", "id": f"icu{number}", "status": "finished", "class": {"code": "IMP"},
                "subject": patient, "partOf": whole, "period": {"start": at(0), "end": at(60)},
                "location": [{"location": {"reference": "Location/loc"}}],
            },
            {
                "resourceType": "Condition", "id": f"c{number}", "subject": patient, "encounter": whole,
                "category": [concept("encounter-diagnosis", "http://terminology.hl7.org/CodeSystem/condition-category")],
                "code": concept("J18.9", "http://hl7.org/fhir/sid/icd-10-cm"),
            },
        ]  # fmt: skip
    second = {"subject": {"reference": "Patient/p2"}, "encounter": {"reference": "Encounter/icu2"}}
    return [
        *resources,
        *(observation(number, value=70 + number) for number in range(4)),
        observation(4, "2160-0", 1.1, "mg/dL"),
        observation(5, "8867-4", 90, **second),
    ]


def write(folder: Path, resources: Sequence[Resource], name: str = "export.ndjson") -> Path:
    """NDJSON of resources, in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in resources), encoding="utf-8")
    return folder


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


class Outcome:
    """The tables and the account of an export."""

    def __init__(self, raw: Path, work: Path, *, codes: str = "default", zone: str = "default", stays: str = "default"):
        (work / "parts").mkdir(parents=True)
        of_file, _ = convert(raw, work / "parts", load_mapping(codes), zone, lambda name, size: None)
        parts = Parts(of_file)
        self.laid_out = lay_out(parts, work / "tables", stays)
        self.unmapped, self.odd_units = parts.unmapped(), parts.odd_units()
        self.root = work / "tables"
        self.skipped: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        ledger = parts.ledger()
        self.quarantine = {(row["line"], row["reason"]) for row in ledger.quarantine().to_pylist()}
        for count in ledger.tables.values():
            assert count.read == count.kept + sum(count.out_of_scope.values()) + sum(count.quarantined.values())
            self.skipped += count.out_of_scope
            self.bad += count.quarantined
            self.remarks += count.remarks

    def table(self, name: str) -> pl.DataFrame:
        path = self.root / f"{name}.parquet"
        return pl.read_parquet(path) if path.exists() else pl.DataFrame()

    def values(self) -> list[float]:
        return sorted(self.table("fhir/observations")["valuenum"].drop_nulls().to_list())
