"""The pages of FHIR, CLIF and OMOP lead to a report: their commands are typed beside a small export.

Three things differ from what a page shows: the path of the export, a smaller model, and one epoch instead of many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import EXACT, MICRO_MODEL
from tests.mimic_prep import fhir_export, test_clif, test_omop
from tests.mimic_prep.exports import Export
from tests.test_pages import ROOT, blocks, typed

PATIENTS = range(101, 125)
_CODES = {0: "J18.9", 1: "A41.9", 2: "I50.9"}  # by the number of a patient
_MINE = "PATH/TO/"
_SMALLER = {"tiny": [str(MICRO_MODEL), *EXACT, "--set", "stage.epochs=1"]}


def fhir(folder: Path) -> None:
    resources: list[dict[str, Any]] = [{"resourceType": "Location", "id": "loc", "name": "Medical ICU"}]
    for number in PATIENTS:
        of = {"subject": {"reference": f"Patient/p{number}"}, "encounter": {"reference": f"Encounter/icu{number}"}}
        whole = of | {"encounter": {"reference": f"Encounter/h{number}"}}
        inpatient = {"resourceType": "Encounter", "status": "finished", "class": {"code": "IMP"}}
        resources += [
            {"resourceType": "Patient", "id": f"p{number}", "gender": "female", "birthDate": f"{1830 + number}-03-01"},
            inpatient | {"id": f"h{number}", "subject": of["subject"],
                         "period": {"start": fhir_export.at(-3), "end": fhir_export.at(90)}},
            inpatient | {"id": f"icu{number}", "subject": of["subject"], "partOf": whole["encounter"],
                         "period": {"start": fhir_export.at(0), "end": fhir_export.at(60)},
                         "location": [{"location": {"reference": "Location/loc"}}]},
            {"resourceType": "Condition", "id": f"c{number}", **whole,
             "category": [fhir_export.concept(
                 "encounter-diagnosis", "http://terminology.hl7.org/CodeSystem/condition-category")],
             "code": fhir_export.concept(_CODES[number % 3], "http://hl7.org/fhir/sid/icd-10-cm")},
        ]  # fmt: skip
        for hour in range(6):
            entry = 100 * number + hour
            resources += [
                fhir_export.observation(entry, value=number - 30 + hour, **of),
                fhir_export.observation(entry + 50, "2160-0", number / 100, "mg/dL", **of),
            ]
    fhir_export.write(folder, resources)


def clif(folder: Path) -> None:
    patient, hospitalization = (test_clif._GOOD.tables[name][0] for name in (test_clif._P, test_clif._H))
    tables: dict[str, list[dict[str, Any]]] = {
        test_clif._P: [patient | {"patient_id": f"p{number}"} for number in PATIENTS],
        test_clif._H: [hospitalization | {"patient_id": f"p{number}", "hospitalization_id": f"h{number}"}
                       for number in PATIENTS],
        test_clif._ADT: [test_clif._place(f"h{number}", "03-01 08:00", "03-04 08:00", "icu") for number in PATIENTS],
        test_clif._V: [test_clif._vital(f"h{number}", f"03-01 {9 + hour:02d}:10", "heart_rate", number - 30 + hour)
                       for number in PATIENTS for hour in range(6)],
        test_clif._L: [test_clif._lab(f"h{number}", "03-01 10:00", "creatinine", number / 100, "mg/dL")
                       for number in PATIENTS],
        test_clif._G: [{"hospitalization_id": f"h{number}", "diagnosis_code": _CODES[number % 3],
                        "diagnosis_code_format": "ICD10CM"} for number in PATIENTS],
    }  # fmt: skip
    Export(tables).write(folder)


def omop(folder: Path) -> None:
    good = test_omop._GOOD.tables
    begin, left, end = "2150-03-01 06:00:00", "2150-03-05 08:00:00", "2150-03-09 12:00:00"
    tables: dict[str, list[dict[str, Any]]] = {
        "person": [good["person"][0] | {"person_id": number} for number in PATIENTS],
        "care_site": good["care_site"],
        "visit_occurrence": [test_omop._visit(number, number, begin, end, 8536) for number in PATIENTS],
        "visit_detail": [test_omop._detail(number, number, number, begin, left, 1) for number in PATIENTS],
        "measurement": [test_omop._value(concept, f"2150-03-01 {9 + hour:02d}:10:00", value, unit, person_id=number)
                        for number in PATIENTS for hour in range(6)
                        for concept, value, unit in ((3027018, number - 30 + hour, 8541),
                                                     (3016723, number / 100, 8840))],
        "condition_occurrence": [test_omop._condition(number, number, _CODES[number % 3]) for number in PATIENTS],
    }  # fmt: skip
    Export(tables).write(folder)


EXPORTS: dict[str, Callable[[Path], None]] = {"fhir": fhir, "clif": clif, "omop": omop}


def lines_of(page: Path) -> Iterator[list[str]]:
    """The command lines of a page, with the reader's own paths and the smaller model in place."""
    for block in blocks(page, "console"):
        for words in typed(block):
            yield [part.removeprefix(_MINE) for word in words for part in _SMALLER.get(word, [word])]


@pytest.mark.parametrize("name", EXPORTS)
def test_the_commands_of_a_page_lead_from_an_export_to_a_report(name, command, tmp_path, monkeypatch):
    page = ROOT / "docs" / f"{name}.md"
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "yaml"):
        (tmp_path / "site.yaml").write_text(text)  # that of the page's own example
    lines = list(lines_of(page))
    [raw] = {words[words.index("--raw") + 1] for words in lines if "--raw" in words}
    EXPORTS[name](tmp_path / raw)
    for words in lines:
        assert command(*words) == 0, words
    report = tmp_path / "outputs" / "report"
    assert f"Open `{(report / 'index.html').relative_to(tmp_path)}`" in page.read_text()
    [cohort] = {words[words.index("--cohort") + 1] for words in lines if "--cohort" in words}
    tested = pl.read_parquet(f"{cohort}/stays.parquet").filter(pl.col("split") == "test")["stay_id"].to_list()
    assert {path.stem for path in (report / "stays").glob("*.html")} == set(map(str, tested)) != set()
    assert f"{len(tested)} stays" in (report / "index.html").read_text()
