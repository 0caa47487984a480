"""Administrations and ventilation of a FHIR export as hourly values, and what becomes of those that tell no rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import clinragen
from mimic_prep.cli import main
from tests.mimic_prep.fhir_export import UCUM, Resource, at, base, concept, observation, write

pytestmark = pytest.mark.slow
_RXNORM, _ATC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://www.whocc.no/atc"
_SNOMED = "http://snomed.info/sct"
_OF = {"subject": {"reference": "Patient/p1"}, "context": {"reference": "Encounter/icu1"}}
_NOREPINEPHRINE = {"medicationCodeableConcept": {"text": "NORepinephrine 8 mg in D5W 250 mL"}}
_SALINE = {"medicationCodeableConcept": {"text": "sodium chloride 0.9 % infusion"}}


def quantity(value: float, unit: str) -> Resource:
    return {"value": value, "unit": unit, "code": unit, "system": UCUM}


def period(start: float, end: float | None) -> Resource:
    return {"effectivePeriod": {"start": at(start)} | ({} if end is None else {"end": at(end)})}


def given(number: int, *parts: Resource, dosage: Resource | None = None, **more: Any) -> Resource:
    """An administration of the first patient."""
    made = {"resourceType": "MedicationAdministration", "id": f"m{number}", "status": "completed", **_OF}
    for part in parts:
        made |= part
    return made | ({"dosage": dosage} if dosage else {}) | more


def rate(value: float, unit: str = "ug/kg/min", **more: Any) -> Resource:
    return {"rateQuantity": quantity(value, unit), **more}


def ventilation(number: int, code: Resource, start: float, end: float | None, **more: Any) -> Resource:
    times = {"start": at(start)} | ({} if end is None else {"end": at(end)})
    return {
        "resourceType": "Procedure", "id": f"v{number}", "status": "completed", "code": code, "performedPeriod": times,
        "subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/icu1"}, **more,
    }  # fmt: skip


class Prepared:
    """A cohort with treatments; values of the first patient by variable and hour."""

    def __init__(self, folder: Path, resources: list[Resource], **options: Any) -> None:
        raw = write(folder / "raw", [*base(), *resources])
        self.cohort = clinragen.prepare(
            raw, folder / "cohort", source="fhir", variables="treatments", workers=1, **options
        )
        rows = self.cohort.series.filter(pl.col("variable").is_in(list(self.cohort.added.rows)))
        self.values = {
            (name, hour): round(value, 3) for name, hour, value in rows.select("variable", "hour", "value").iter_rows()
        }

    def of(self, variable: str) -> dict[float, float]:
        return {hour: value for (name, hour), value in sorted(self.values.items()) if name == variable}

    def counts(self, table: str) -> tuple[dict[str, int], dict[str, int]]:
        """Rows of a table that are out of scope, and in quarantine."""
        counts = self.cohort.manifest["tables"][table]
        return counts["out_of_scope"], counts["quarantined"]


def test_rates_that_last_add_up_and_end_with_0(tmp_path):
    made = Prepared(
        tmp_path,
        [
            given(1, _NOREPINEPHRINE, period(0.5, 3.5), dosage=rate(0.1)),
            given(2, _NOREPINEPHRINE, period(2, 3.25), dosage=rate(0.05, "ug/(kg.min)")),  # a second pump
            given(3, {"medicationCodeableConcept": concept("H01BA01", _ATC)}, period(5, 6.5),
                  dosage={"rateRatio": {"numerator": quantity(4.8, "U"), "denominator": quantity(2, "h")}}),
            given(4, {"medicationCodeableConcept": concept("3628", _RXNORM)}, period(47, None), status="in-progress",
                  dosage=rate(5)),
        ],
    )  # fmt: skip
    assert made.of("norepinephrine_rate") == {0: 0.1, 1: 0.1, 2: 0.15, 3: 0}
    assert made.of("vasopressin_rate") == {5: 0.04, 6: 0}
    assert made.of("dopamine_rate") == {47: 5}
    assert made.of("vasopressor_dose")[5] == 0.1


def test_a_rate_charted_when_it_was_changed_is_a_value_of_its_hour(tmp_path):
    made = Prepared(
        tmp_path,
        [
            given(1, _NOREPINEPHRINE, dosage=rate(0.1), effectiveDateTime=at(1.1)),
            given(2, _NOREPINEPHRINE, dosage=rate(0.3), effectiveDateTime=at(1.6)),
            given(3, _NOREPINEPHRINE, dosage=rate(0), effectiveDateTime=at(4)),
            given(4, _SALINE, dosage=rate(100, "mL/h"), effectiveDateTime=at(5)),  # until when is unknown
        ],
    )
    assert made.of("norepinephrine_rate") == {1: 0.3, 4: 0}
    assert made.of("fluids_in") == {}
    assert made.counts("fhir/rates.parquet")[0] == {"item not used": 1}


def test_a_dose_over_a_time_is_its_average_rate_once_it_has_run_in(tmp_path):
    per_kg = {"dose": quantity(0.6, "mg/kg")}
    made = Prepared(
        tmp_path,
        [
            given(1, _NOREPINEPHRINE, period(1, 3), dosage=per_kg),
            given(2, _NOREPINEPHRINE, period(46, 50), dosage=per_kg),  # ends after the prediction time
            given(3, _NOREPINEPHRINE, dosage={"dose": quantity(0.1, "mg")}, effectiveDateTime=at(6)),  # a bolus
        ],
    )
    assert made.of("norepinephrine_rate") == {1: 5, 2: 5, 3: 0}
    skipped, _ = made.counts("fhir/infusions.parquet")
    assert skipped == {
        "amount that is known only when it has run in, after the prediction time: left out": 1,
        "row without a rate": 1,
    }
    remarks = made.cohort.manifest["tables"]["fhir/infusions.parquet"]["remarks"]
    assert remarks == {"no rate: the amount over the time in which it ran in": 1}


def test_fluids_are_volumes_by_vein(tmp_path):
    nose = {"route": {"text": "nasal"}}
    made = Prepared(
        tmp_path,
        [
            given(1, _SALINE, period(1, 3), dosage={"dose": quantity(200, "mL"), "route": {"text": "Intravenous"}}),
            given(2, _SALINE, effectiveDateTime=at(5), dosage={"dose": quantity(500, "mL")}),
            given(3, _SALINE, period(47.5, 60), dosage=rate(80, "mL/h")),
            given(4, _SALINE, effectiveDateTime=at(6), dosage={"dose": quantity(2, "mL"), **nose}),
            given(5, {"medicationCodeableConcept": {"text": "sodium chloride 0.9 % flush"}}, effectiveDateTime=at(6),
                  dosage={"dose": quantity(10, "mL")}),
            # the same volume at the same time of two fluids is no repetition
            given(6, {"medicationCodeableConcept": {"text": "lactated ringers"}}, effectiveDateTime=at(5),
                  dosage={"dose": quantity(500, "mL")}),
        ],
    )  # fmt: skip
    assert made.of("fluids_in") == {1: 100, 2: 100, 5: 1000, 47: 40}
    assert made.counts("fhir/infusions.parquet")[0] == {"not given by vein": 1}


def test_what_tells_no_rate_is_left_out_or_quarantined_and_counted(tmp_path):
    one = period(1, 3)
    made = Prepared(
        tmp_path,
        [
            given(1, _NOREPINEPHRINE, one, dosage={"rateQuantity": {"value": 5}}),
            given(2, _NOREPINEPHRINE, one, dosage=rate(5, "mL/h")),
            given(3, _NOREPINEPHRINE, one, dosage=rate(5, "ug/min")),  # without a weight
            given(4, _NOREPINEPHRINE, one, dosage=rate(5, "drops/min")),
            given(5, _NOREPINEPHRINE, period(3, 1), dosage=rate(0.1)),
            given(6, _NOREPINEPHRINE, period(1, None), dosage=rate(0.1)),
            given(7, _NOREPINEPHRINE, one, dosage=rate(50)),
            given(8, _NOREPINEPHRINE, one, dosage=rate(0.1), status="entered-in-error"),
            given(9, _NOREPINEPHRINE, one, dosage=rate(0.1), status="not-done"),
            given(10, _NOREPINEPHRINE, one),
            given(11, _NOREPINEPHRINE, period(-30, -20), dosage=rate(0.1), context=None),
            given(12, {"medicationCodeableConcept": {"text": "lidocaine-epinephrine 1 %"}}, one, dosage=rate(0.1)),
        ],
    )
    assert made.values == {}
    assert made.counts("fhir/infusions.parquet") == (
        {
            "rate without a unit: left out": 1,
            "rate as a volume, of an unknown concentration: left out": 1,
            "no end, and not said to go on: how long it lasted is unknown": 1,
            "row without a rate": 1,
            "no stay_id": 1,
        },
        {
            "unit of a rate that is not known for its drug": 1,
            "ends before it starts": 1,
            "implausible norepinephrine_rate": 1,
        },
    )
    remarks = made.cohort.manifest["tables"]["fhir/infusions.parquet"]["remarks"]
    assert remarks == {"rate without the weight that its unit needs: left out": 1}
    skipped = {"entered in error": 1, "drug not given": 1, "drug of no admission": 1}
    assert made.counts("export.ndjson")[0] == skipped


def test_a_rate_that_needs_a_weight_takes_the_last_one_charted_before_it_or_the_first_after(tmp_path):
    made = Prepared(
        tmp_path,
        [
            *(given(hour, _NOREPINEPHRINE, period(hour, hour + 1), dosage=rate(8, "ug/min")) for hour in (1, 4, 7)),
            observation(2, "29463-7", 80, "kg", id="w1"),
            observation(6, "29463-7", 176.4, "[lb_av]", id="w2"),
            observation(9, "29463-7", 100, "kg", id="w3"),
            given(20, {"medicationCodeableConcept": concept("3992", _RXNORM)}, period(20, 21),
                  dosage=rate(1, "mg/min")),  # 10 mcg/kg/min
        ],
    )  # fmt: skip
    assert made.of("norepinephrine_rate") == {1: 0.1, 2: 0, 4: 0.1, 5: 0, 7: 0.1, 8: 0}
    assert made.of("epinephrine_rate") == {}
    assert made.cohort.manifest["tables"]["fhir/infusions.parquet"]["remarks"] == {
        "rate without a weight: by the weight that was charted": 3,
        "rate that is implausible by the weight that was charted: left out": 1,
    }


def test_the_newest_version_counts_and_an_error_withdraws_the_one_before(tmp_path):
    def version(number: int, day: int, value: float, **more: Any) -> Resource:
        seen = {"meta": {"lastUpdated": f"2030-01-{day:02d}T00:00:00Z"}}
        return given(number, _NOREPINEPHRINE, period(number, number + 1), seen, dosage=rate(value), **more)

    made = Prepared(
        tmp_path,
        [version(1, 10, 0.1), version(1, 12, 0.2), version(1, 11, 0.3), version(4, 10, 0.1),
         version(4, 11, 0.1, status="entered-in-error")],
    )  # fmt: skip
    assert made.of("norepinephrine_rate") == {1: 0.2, 2: 0}


def test_a_medication_resource_or_the_site_says_what_was_given(tmp_path):
    codes = tmp_path / "site.yaml"
    codes.write_text("codes:\n  - {system: 'urn:site', code: PRESSOR, variable: norepinephrine_rate}\n")
    made = Prepared(
        tmp_path,
        [
            {"resourceType": "Medication", "id": "drug", "code": concept("8163", _RXNORM, text="whatever")},
            given(1, {"medicationReference": {"reference": "Medication/drug"}}, period(1, 2), dosage=rate(0.5)),
            given(2, {"medicationReference": {"reference": "Medication/absent"}}, period(1, 2), dosage=rate(0.5)),
            given(3, {"medicationCodeableConcept": concept("PRESSOR", "urn:site")}, period(1, 2), dosage=rate(0.2)),
        ],
        codes=str(codes),
    )
    assert made.of("phenylephrine_rate") == {1: 0.5, 2: 0}
    assert made.of("norepinephrine_rate") == {1: 0.2, 2: 0}


def test_invasive_ventilation_is_a_procedure_that_lasts(tmp_path):
    codes = tmp_path / "site.yaml"
    codes.write_text("codes:\n  - {system: 'urn:site', code: TUBE, variable: invasive_ventilation}\n")
    invasive = concept("1258985005", _SNOMED)
    made = Prepared(
        tmp_path,
        [
            ventilation(1, invasive, 1, 3.5),
            ventilation(2, concept("TUBE", "urn:site"), 10, None, status="in-progress"),
            ventilation(3, concept("428311008", _SNOMED, text="Noninvasive ventilation"), 5, 6),
            ventilation(4, invasive, 5, 6, status="not-done"),
            ventilation(5, invasive, 5, 6, subject=None, encounter=None),
            # of the stay by patient and time, which begins during it
            ventilation(6, invasive, -2, 0.5, encounter=None),
        ],
        codes=str(codes),
    )
    assert made.of("invasive_ventilation") == {0: 0, 1: 1, 2: 1, 3: 0} | dict.fromkeys(range(10, 48), 1)
    skipped, bad = made.counts("export.ndjson")
    assert (skipped, bad) == (
        {"Procedure: not read": 1, "procedure that is not said to be done": 1}, {"no patient": 1},
    )  # fmt: skip


def test_nothing_after_the_prediction_time_changes_a_value(tmp_path):
    """Hour 48 of the stay."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()

    def values(folder: Path, end: float, dose: float, **more: Any) -> dict[tuple[str, float], float]:
        return Prepared(
            folder,
            [
                given(1, _NOREPINEPHRINE, period(46, end), dosage=rate(0.1, dose=quantity(dose, "mg"))),
                given(2, _SALINE, period(46, end), dosage=rate(100, "mL/h", dose=quantity(dose * 100, "mL"))),
                given(3, _NOREPINEPHRINE, period(46, end), dosage={"dose": quantity(dose, "mg/kg")}),
                given(4, _SALINE, period(46, end), dosage={"dose": quantity(dose * 100, "mL")}),
                ventilation(1, concept("1258985005", _SNOMED), 46, end),
                observation(1, "29463-7", 80, "kg", id="w"),
                *more.get("later", ()),
            ],
        ).values

    later = [given(9, _NOREPINEPHRINE, period(48, 50), dosage=rate(0.4)),
             given(10, _SALINE, effectiveDateTime=at(48), dosage={"dose": quantity(500, "mL")})]  # fmt: skip
    before = values(first, 49, 3)
    assert before == {
        (name, hour): value
        for name, value in {"norepinephrine_rate": 0.1, "fluids_in": 100, "invasive_ventilation": 1}.items()
        for hour in (46.0, 47.0)
    } | {("vasopressor_dose", hour): 0.1 for hour in (46.0, 47.0)}
    assert values(second, 59, 30, later=later) == before


def test_a_treatment_of_ones_own(tmp_path):
    page = (Path(clinragen.__file__).parents[1] / "docs" / "variables.md").read_text(encoding="utf-8")
    file = tmp_path / "propofol.yaml"
    file.write_text(page.rpartition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    raw = write(tmp_path / "raw", [
        *base(), given(1, {"medicationCodeableConcept": concept("N01AX10", _ATC)}, period(1, 2.5), dosage=rate(30))
    ])  # fmt: skip
    cohort = clinragen.prepare(raw, tmp_path / "cohort", source="fhir", variables=str(file), workers=1)
    rows = cohort.series.filter(pl.col("variable") == "propofol_rate").select("hour", "value")
    assert rows.rows() == [(1, 30), (2, 0)]


def test_without_the_option_nothing_of_them_is_read_and_the_cohort_is_the_same(tmp_path):
    plain, more = (tmp_path / name for name in ("plain", "more"))
    treatments = [
        given(1, _NOREPINEPHRINE, period(1, 3), dosage=rate(0.1)),
        ventilation(1, concept("1258985005", _SNOMED), 1, 3),
    ]
    for folder, resources in ((plain, base()), (more, [*base(), *treatments])):
        write(folder / "raw", resources)
        assert main(["fhir", "--raw", str(folder / "raw"), "--out", str(folder / "out"), "--workers", "1"]) == 0
    for name in ("stays", "series", "labels"):
        parts = [(folder / "out" / f"{name}.parquet").read_bytes() for folder in (plain, more)]
        assert parts[0] == parts[1], name
