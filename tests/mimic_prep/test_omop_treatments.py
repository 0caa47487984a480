"""Administrations and ventilation of an OMOP CDM as hourly values, and what becomes of rows that tell no rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import clinragen
from mimic_prep.releases.omop.settings import load_settings
from tests.mimic_prep import test_omop

pytestmark = pytest.mark.slow
_STAY = "2150-03-01"  # of the first person, from 08:00
_GIVEN, _ORDERED = 32818, 32838
_NOREPINEPHRINE, _PRODUCT, _SALINE, _VENTILATION = 1321341, 1321364, 967823, 4097246
_WEIGHT = 3025315


def drug(
    start: str, end: str | None, quantity: object, unit: str, concept: int = _NOREPINEPHRINE, **cells: Any
) -> dict:
    """A row of drug_exposure; times are hours and minutes of the day, or whole times."""
    moment, last = (time if time is None or len(time) > 5 else f"{_STAY} {time}:00" for time in (start, end))
    return {
        "drug_exposure_id": 1, "person_id": test_omop._A, "drug_concept_id": concept, "drug_type_concept_id": _GIVEN,
        "drug_exposure_start_date": _STAY, "drug_exposure_start_datetime": moment or "",
        "drug_exposure_end_date": _STAY, "drug_exposure_end_datetime": last or "", "quantity": quantity,
        "dose_unit_source_value": unit, "sig": "",
        "route_concept_id": 0, "route_source_value": "", "drug_source_value": "x", "drug_source_concept_id": 0,
        "visit_occurrence_id": test_omop._V, **cells,
    }  # fmt: skip


def procedure(start: str, end: str, concept: int = _VENTILATION, **cells: Any) -> dict:
    return {
        "procedure_occurrence_id": 1, "person_id": test_omop._A, "procedure_concept_id": concept,
        "procedure_date": _STAY, "procedure_datetime": f"{_STAY} {start}:00",
        "procedure_end_datetime": end and f"{_STAY} {end}:00",
        "quantity": "", "procedure_source_value": "x", "procedure_source_concept_id": 0, **cells,
    }  # fmt: skip


class Prepared:
    """A cohort with treatments; the values of its first person by variable and hour."""

    def __init__(
        self, folder: Path, variables: str | tuple[str, ...] = "treatments", settings: str = "", **tables: Any
    ):
        export = test_omop._GOOD.copy()
        for name, rows in tables.items():
            export.tables[name] = [*(export.tables.get(name, []) if name == "measurement" else []), *rows]
        options: dict[str, str | Path] = {}
        if settings:
            (folder / "site.yaml").write_text(settings)
            options["concepts"] = folder / "site.yaml"
        raw = export.write(folder / "raw")
        self.cohort = clinragen.prepare(
            raw, folder / "cohort", source="omop", variables=variables, options=options, workers=1
        )
        rows = self.cohort.series.filter(pl.col("variable").is_in(list(self.cohort.added.rows)))
        self.values: dict[str, dict[float, float]] = {}
        for name, hour, value in rows.select("variable", "hour", "value").iter_rows():
            self.values.setdefault(name, {})[hour] = round(value, 3)

    def counts(self, table: str) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Rows of a table that are out of scope, in quarantine, and remarks."""
        counts = self.cohort.manifest["tables"][table]
        return counts["out_of_scope"], counts["quarantined"], counts.get("remarks", {})


def test_a_rate_is_that_of_the_unit_of_sig_or_of_an_amount_over_its_time(tmp_path):
    made = Prepared(
        tmp_path,
        drug_exposure=[
            drug("08:30", "11:00", 0.1, "mcg/kg/min"),
            drug("10:00", "12:30", 4, "mL", sig="0.05 mcg/kg/min, titrate"),  # a second pump
            drug("13:00", "15:00", 0.6, "mg/kg", concept=_PRODUCT),
            drug("16:00", "18:00", 4.8, "units", concept=1507835),
        ],
        concept_ancestor=[{"ancestor_concept_id": _NOREPINEPHRINE, "descendant_concept_id": _PRODUCT}],
    )
    assert made.values["norepinephrine_rate"] == {0: 0.1, 1: 0.1, 2: 0.15, 3: 0.05, 4: 0, 5: 5, 6: 5, 7: 0}
    assert made.values["vasopressin_rate"] == {8: 0.04, 9: 0.04, 10: 0}
    assert made.counts("drug_exposure.csv (infusions)")[2] == {
        "no rate: the amount over the time in which it ran in": 2, "rate read from sig": 1,
    }  # fmt: skip


def test_a_rate_that_needs_a_weight_takes_the_last_one_charted_before_it_or_the_first_after(tmp_path):
    def weight(time: str, value: float) -> dict:
        return test_omop._value(_WEIGHT, f"{_STAY} {time}:00", value, 9529)

    rows = [
        drug("09:00", "10:00", 8, "mcg/min"),
        drug("12:00", "13:00", 8, "mcg/min"),
        drug("15:00", "16:00", 8, "mcg/min"),
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    made = Prepared(one, drug_exposure=rows, measurement=[weight("10:00", 80), weight("14:00", 100)])
    assert made.values["norepinephrine_rate"] == {1: 0.1, 2: 0, 4: 0.1, 5: 0, 7: 0.08, 8: 0}
    assert made.counts("drug_exposure.csv (infusions)")[2] == {
        "rate without a weight: by the weight that was charted": 3
    }
    made = Prepared(two, drug_exposure=rows)
    assert made.values == {}
    assert made.counts("drug_exposure.csv (infusions)")[2] == {
        "rate without the weight that its unit needs: left out": 3
    }


def test_rates_that_were_charted_when_they_were_changed(tmp_path):
    made = Prepared(
        tmp_path,
        drug_exposure=[drug("09:10", "09:10", 0.1, "mcg/kg/min"), drug("09:40", "09:40", 0.3, "mcg/kg/min"),
                       drug("12:00", "12:00", 0, "mcg/kg/min")],
    )  # fmt: skip
    assert made.values["norepinephrine_rate"] == {1: 0.3, 4: 0}


def test_volumes_of_fluids_by_vein_and_nothing_of_what_ends_after_the_prediction_time(tmp_path):
    made = Prepared(
        tmp_path,
        drug_exposure=[
            drug("09:00", "11:00", 200, "mL", _SALINE, route_concept_id=4171047),
            drug("12:00", "12:00", 500, "mL", _SALINE),
            drug("13:00", "14:00", 500, "mL", _SALINE, route_source_value="NG"),
            drug("2150-03-03 07:00:00", "2150-03-03 12:00:00", 1000, "mL", _SALINE),
            drug("2150-03-03 07:00:00", "2150-03-03 12:00:00", 0.6, "mg/kg"),
            drug("2150-03-03 07:00:00", "2150-03-03 12:00:00", 50, "mL/h", _SALINE),
        ],
    )
    assert made.values == {"fluids_in": {1: 100, 2: 100, 4: 500, 47: 50}}
    skipped, bad, _ = made.counts("drug_exposure.csv (infusions)")
    assert skipped == {
        "not given by vein": 1,
        "volume that is known only when it has run in, after the prediction time: left out": 1,
        "amount that is known only when it has run in, after the prediction time: left out": 1,
    }
    assert bad == {}


def test_what_tells_no_rate_is_left_out_or_quarantined_and_counted(tmp_path):
    made = Prepared(
        tmp_path,
        drug_exposure=[
            drug("09:00", "10:00", 0.1, "mcg/kg/min", drug_type_concept_id=_ORDERED),
            drug("09:00", "10:00", 1, "BAG"),
            drug("09:00", "10:00", 5, "mL"),  # of an unknown concentration
            drug("09:00", "10:00", 5, "mL/h"),
            drug("09:00", "10:00", "", "mcg/kg/min"),
            drug("09:00", "09:00", 0.1, "mg"),  # a bolus
            drug("10:00", "09:00", 0.1, "mcg/kg/min"),
            drug("09:00", None, 0.1, "mcg/kg/min"),
            drug(None, "10:00", 0.1, "mcg/kg/min"),
            drug("09:00", "10:00", 50, "mcg/kg/min"),
            drug("09:00", "10:00", 5, "units/min"),
            drug("09:00", "10:00", 5, "mg", concept=1125315),
            drug("2151-03-01 09:00:00", "2151-03-01 10:00:00", 0.1, "mcg/kg/min"),
        ],
    )
    assert made.values == {}
    skipped, bad, _ = made.counts("drug_exposure.csv (infusions)")
    assert skipped == {
        "an order, a prescription or a dispensing, not an administration": 1,
        "row without a rate": 4,
        "rate as a volume, of an unknown concentration: left out": 1,
        "no time of its end: how long it lasted is unknown": 1,
        "date without a time of day: when it ran is unknown": 1,
        "drug not used": 1,
        "outside the window": 1,
    }
    assert bad == {
        "ends before it starts": 1,
        "implausible norepinephrine_rate": 1,
        "unit of a rate that is not known for its drug": 1,
    }


def test_a_drug_is_known_by_the_name_of_its_concept_or_its_source_value(tmp_path):
    concept = {"concept_id": 777, "concept_name": "norepinephrine 1 MG/ML Injectable Solution", "domain_id": "Drug",
               "vocabulary_id": "RxNorm", "concept_class_id": "Clinical Drug", "concept_code": "1"}  # fmt: skip
    made = Prepared(
        tmp_path,
        drug_exposure=[
            drug("09:00", "10:00", 0.1, "mcg/kg/min", concept=777),
            drug("12:00", "13:00", 0.2, "mcg/kg/min", concept=0, drug_source_value="NORepinephrine 8 mg/250 mL"),
            drug("15:00", "16:00", 0.2, "mcg/kg/min", concept=0, drug_source_value="lidocaine-epinephrine"),
            drug("18:00", "19:00", 0.3, "mcg/kg/min", concept=0, drug_source_value="NE"),
        ],
        concept=[concept],
        settings="source_values:\n  NE: {variable: norepinephrine_rate}\n",
    )
    assert made.values["norepinephrine_rate"] == {1: 0.1, 2: 0, 4: 0.2, 5: 0, 10: 0.3, 11: 0}
    assert "epinephrine_rate" not in made.values


def test_invasive_ventilation_lasts_to_the_end_that_a_row_has(tmp_path):
    rows = [procedure("09:00", "11:30"), procedure("14:00", "", quantity=90), procedure("09:00", "10:00", concept=1)]
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    device = {"device_exposure_id": 1, "person_id": test_omop._A, "device_concept_id": 55,
              "device_exposure_start_datetime": f"{_STAY} 20:00:00", "device_source_value": "vent",
              "device_exposure_end_datetime": f"{_STAY} 21:30:00"}  # fmt: skip
    made = Prepared(one, procedure_occurrence=rows, device_exposure=[device])
    assert made.values == {"invasive_ventilation": {1: 1, 2: 1, 3: 0}}
    skipped, bad, _ = made.counts("procedure_occurrence.csv (treatments)")
    assert (skipped, bad) == ({"concept not used": 1, "no time of its end: how long it lasted is unknown": 1}, {})
    settings = "procedure_minutes: true\nconcepts:\n  55: {variable: invasive_ventilation}\n"
    made = Prepared(two, procedure_occurrence=rows, device_exposure=[device], settings=settings)
    assert made.values == {"invasive_ventilation": {1: 1, 2: 1, 3: 0, 6: 1, 7: 0, 12: 1, 13: 0}}


def test_without_the_option_nothing_of_them_is_read_and_settings_have_the_same_digest(tmp_path):
    made = Prepared(tmp_path, (), drug_exposure=[drug("09:00", "10:00", 0.1, "mcg/kg/min")],
                    procedure_occurrence=[procedure("09:00", "11:30")])  # fmt: skip
    assert made.values == {}
    tables = made.cohort.manifest["tables"]
    assert not [name for name in tables if "procedure" in name or "infusions" in name]
    # as it was before there were settings of treatments
    assert load_settings().digest() == "96b8f99ba0ba3ed4315ecb1e9b15bb38b3985cd18ae5cad540c40e03d078aab5"
