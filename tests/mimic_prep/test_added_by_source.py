"""The variable of docs/variables.md in every source that has its codes, and treatments in CLIF."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import clinragen
from clinragen import added_variables, catalog
from clinragen.chart.findings import findings
from clinragen.chart.measurements import measurements
from clinragen.chart.series_statements import statement
from clinragen.chart.wording import Wording
from clinragen.knowledge.relabel import open_graph
from clinragen.label_sets import shipped
from clinragen.verification.rationale import Verifier
from tests.mimic_prep import fhir_export, test_clif, test_meds_datasets, test_omop

pytestmark = pytest.mark.slow
_PAGE = Path(clinragen.__file__).parents[1] / "docs" / "variables.md"


@pytest.fixture
def file(tmp_path) -> Path:
    match = re.search(r"```yaml\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match
    path = tmp_path / "procalcitonin.yaml"
    path.write_text(match[1], encoding="utf-8")
    return path


def values(source: str, raw: Path, variables: object, *names: str) -> list[tuple[str, float, float]]:
    """(variable, hour, value) of added variables, from Python."""
    cohort = clinragen.prepare(raw, raw.parent / "cohort", source=source, variables=variables, workers=1)  # type: ignore[arg-type]
    rows = cohort.series.filter(pl.col("variable").is_in(names)).sort("stay_id", "hour", "variable")
    return [(name, hour, round(value, 3)) for name, hour, value in rows.select("variable", "hour", "value").iter_rows()]


def test_clif_by_category(file, tmp_path):
    export = test_clif._GOOD.copy()
    place = export.tables["clif_labs"][0]
    for value, unit in ((2.5, "ng/mL"), (3000.0, "pg/mL")):
        time = place["lab_collect_dttm"].replace(":00:00+", f":{10 if unit == 'ng/mL' else 50}:00+")
        export.tables["clif_labs"].append(
            place | {"lab_category": "procalcitonin", "lab_value": value, "lab_value_numeric": value,
                     "reference_unit": unit, "lab_collect_dttm": time, "lab_result_dttm": time}
        )  # fmt: skip
    assert [value for *_, value in values("clif", export.write(tmp_path / "raw"), file, "procalcitonin")][-1] == 3.0


def test_omop_by_concept(file, tmp_path):
    export = test_omop._GOOD.copy()
    rows = export.tables["measurement"]
    rows.append(rows[0] | {"measurement_concept_id": 3046279, "value_as_number": 4.5, "measurement_id": 999,
                           "unit_concept_id": 0, "unit_source_value": "ng/mL"})  # fmt: skip
    assert [value for *_, value in values("omop", export.write(tmp_path / "raw"), file, "procalcitonin")] == [4.5]


def test_fhir_by_loinc_with_a_unit_of_ucum(file, tmp_path):
    resources = [*fhir_export.base(), fhir_export.observation(90, "33959-8", 2500, "pg/mL"),
                 fhir_export.observation(91, "75241-0", 3, "ng/mL{PCT}")]  # fmt: skip
    file.write_text(file.read_text() + 'ucum: {"ng/mL{PCT}": ng/mL}\n')
    fhir_export.write(tmp_path / "raw", resources)
    assert [value for *_, value in values("fhir", tmp_path / "raw", str(file), "procalcitonin")] == [2.5, 3.0]


def test_meds_by_loinc_where_there_are_no_items_of_mimic(file, tmp_path):
    file.write_text(re.sub(r" *mimic4:.*\n", "", file.read_text()))
    rows = test_meds_datasets.patient(1, ("02:00:00", "LOINC/33959-8//ng/mL", 1.25))
    test_meds_datasets.write(tmp_path / "raw", {"0.parquet": rows})
    assert values("meds", tmp_path / "raw", [file], "procalcitonin") == [("procalcitonin", 2.0, 1.25)]


def test_clif_treatments(tmp_path):
    export = test_clif._GOOD.copy()
    row = next(row for row in export.tables["clif_vitals"] if row["vital_category"] == "heart_rate")
    admission, start = row["hospitalization_id"], row["recorded_dttm"]

    def dose(minute: int, drug: str, number: object, unit: str, action: str) -> dict:
        return {"hospitalization_id": admission, "admin_dttm": start[:14] + f"{minute:02d}" + start[16:],
                "med_category": drug, "med_dose": number, "med_dose_unit": unit,
                "mar_action_category": action}  # fmt: skip

    export.tables["clif_medication_admin_continuous"] = [
        dose(10, "norepinephrine", 0.2, "mcg/kg/min", "start"),
        dose(20, "vasopressin", 2.4, "units/hour", "start"),
        dose(30, "phenylephrine", 50, "mcg/min", "start"),  # without a weight
        dose(40, "dopamine", 5, "mcg/kg/min", "not_given"),
        dose(50, "norepinephrine", "", "mcg/kg/min", "stop"),
        dose(50, "propofol", 30, "mcg/kg/min", "start"),
    ]
    export.tables["clif_respiratory_support"] = [
        {"hospitalization_id": admission, "recorded_dttm": start, "device_category": "IMV", "fio2_set": 0.5}
    ]
    named = ("norepinephrine_rate", "vasopressin_rate", "vasopressor_dose", "invasive_ventilation")
    given = {name: value for name, _, value in values("clif", export.write(tmp_path / "raw"), "treatments", *named)}
    assert given == {
        "norepinephrine_rate": 0.0, "vasopressin_rate": 0.04, "vasopressor_dose": 0.1, "invasive_ventilation": 1.0,
    }  # fmt: skip


def test_what_is_said_of_a_treatment_is_read_as_that():
    added = added_variables.load(["treatments"])
    added_variables.opened(added.marked(), "treatments")
    graph = open_graph(None, shipped(), added)
    verifier = Verifier(graph)
    for key, variable in added.variables.items():
        if variable.high is None:
            continue
        high = 1.0 if variable.unit == "flag" else variable.plausible[1] / 10
        rows = [(1.0, 0.0), (2.0, high), (3.0, high * 0.6 if variable.unit != "flag" else 1.0)]
        series = pl.DataFrame(
            {"stay_id": 1, "hour": [h for h, _ in rows], "variable": key, "value": [v for _, v in rows]}
        )
        (finding,) = findings(series)[1]
        text = f"Lab test shows {statement(finding, graph, Wording(1)).statement}."
        claims = verifier.check(text, "series", [], measurements({key: rows}), [])
        assert [(claim.about, claim.standing) for claim in claims] == [(key, "supported")], text


def test_an_export_as_meds_brings_the_variable_back(file, tmp_path):
    export_cohort = pytest.importorskip("clinragen.adapters.meds").export_cohort
    resources = [*fhir_export.base(), fhir_export.observation(90, "33959-8", 2500, "pg/mL")]
    fhir_export.write(tmp_path / "raw", resources)
    cohort = clinragen.prepare(tmp_path / "raw", tmp_path / "cohort", source="fhir", variables=file, workers=1)
    export_cohort(cohort, tmp_path / "export")
    with catalog.only({}, {}, ""):  # as in another process
        again = clinragen.prepare(tmp_path / "export", tmp_path / "again", source="meds")
        assert list(again.added.rows) == ["procalcitonin"]
        assert again.series.equals(cohort.series)
        assert "procalcitonin" in catalog.variables()
