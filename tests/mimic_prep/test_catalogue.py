"""The catalogue of variables is complete: ids for each release with the variable, convertible units, sane ranges."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from clinragen.catalog import Bin, Variable, VariableKind, variables
from mimic_prep.releases.eicu import tables as eicu
from mimic_prep.releases.mimic_iii import tables as mimic3
from mimic_prep.releases.mimic_iv import tables as mimic4
from mimic_prep.unit_conversion import conversion, foreign

#: The 17 of the MIMIC-III benchmark; the paper's 11 are among them.
BENCHMARK = (
    "capillary_refill", "diastolic_bp", "fio2", "gcs_eye", "gcs_motor", "gcs_total", "gcs_verbal", "glucose",
    "heart_rate", "height", "mean_bp", "spo2", "respiratory_rate", "systolic_bp", "temperature", "weight", "ph",
)  # fmt: skip
#: What a release does not chart. The total of the coma scale is summed up in MIMIC-IV; the ratio is always derived.
ABSENT = {
    "mimic4": {"gcs_total", "bnp_plain", "pao2_fio2"},
    "mimic3": {"bnp_plain", "pao2_fio2"},
    "eicu": {"capillary_refill", "bnp", "ddimer", "hba1c", "pao2_fio2"},
}
_TABLES = {
    "mimic4": mimic4.MIMIC4.events, "mimic3": mimic3.MIMIC3.events, "eicu": eicu.events(),
}  # fmt: skip


def _each() -> list[Variable]:
    return list(variables().values())


def test_there_are_the_17_of_the_benchmark_and_at_least_45_others():
    assert set(BENCHMARK) <= set(variables())
    assert len(variables()) >= len(BENCHMARK) + 45
    kinds = {variable.kind for variable in _each()}
    assert kinds | {"treatment"} == set(get_args(VariableKind))  # treatments are added: configs/variables
    assert {variable.bin for variable in _each()} <= set(get_args(Bin))


@pytest.mark.parametrize("release", ABSENT)
def test_every_variable_has_ids_in_every_release_that_charts_it(release):
    without = {variable.key for variable in _each() if not any(variable.items.get(release, {}).values())}
    assert without == ABSENT[release]


@pytest.mark.parametrize("release", ABSENT)
def test_every_id_stands_in_a_table_that_is_read_and_means_one_thing(release):
    known = {source.table.name for source in _TABLES[release]}
    seen: dict[tuple[str, int | str], str] = {}
    for variable in _each():
        for table, items in variable.items.get(release, {}).items():
            assert table in known, variable.key
            for item in items:
                assert isinstance(item, str) == (release == "eicu"), (variable.key, item)
                assert seen.setdefault((table, item), variable.key) == variable.key


@pytest.mark.parametrize("variable", _each(), ids=lambda variable: variable.key)
def test_a_variable_is_well_described(variable: Variable):
    assert re.fullmatch(r"\d{3,5}-\d", variable.loinc)
    assert variable.label
    assert variable.source
    least, most = variable.plausible
    assert least < most
    for bound in (variable.low, variable.high):
        assert bound in (None, 0) or least <= bound <= most  # 0: no bound on that side of a concentration
    if variable.low is not None and variable.high is not None:
        assert variable.low <= variable.high
    assert variable.kind == "body" or (variable.low, variable.high) != (None, None)
    for unit, (scale, offset) in variable.accepts.items():
        assert conversion(variable, unit) == (scale, offset)
        assert scale > 0
    for items in (items for tables in variable.items.values() for items in tables.values()):
        assert all(unit is None or conversion(variable, unit) for unit in items.values())
    assert all(conversion(variable, rule["unit"]) and rule["min"] < rule["max"] for rule in variable.rescale)


def test_loinc_codes_are_each_of_one_variable():
    codes = [variable.loinc for variable in _each()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("key", "given", "unit", "expected"),
    [
        ("temperature", 98.6, "Deg. F", 37), ("weight", 220.462, "lbs", 100), ("height", 70, "inches", 177.8),
        ("fio2", 0.4, "fraction", 40), ("fio2", 304, "torr", 40), ("creatinine", 88.4, "µmol/L", 1.0),
        ("glucose", 5.55, "mmol/L", 100), ("bun", 7.14, "mmol/L", 20), ("bilirubin_total", 17.1, "umol/L", 1.0),
        ("calcium", 2.5, "mmol/L", 10.0), ("magnesium", 0.82, "mmol/L", 2.0), ("hemoglobin", 120, "g/L", 12),
        ("pao2", 13.33, "kPa", 100), ("ionized_calcium", 4.8, "mg/dL", 1.2), ("lactate", 18, "mg/dL", 2.0),
        ("troponin_t", 40, "ng/L", 0.04), ("crp", 1, "mg/dL", 10), ("ammonia", 85, "mcg/dL", 50),
        ("cholesterol_total", 5.17, "mmol/L", 200), ("triglycerides", 1.7, "mmol/L", 150),
        ("uric_acid", 357, "umol/L", 6.0), ("sodium", 140, "mmol/L", 140), ("phosphate", 1.13, "mmol/L", 3.5),
    ],
)  # fmt: skip
def test_conversions_are_those_of_the_textbooks(key, given, unit, expected):
    factors = conversion(variables()[key], unit)
    assert factors is not None
    assert given * factors[0] + factors[1] == pytest.approx(expected, rel=0.01)


def test_a_unit_of_other_variables_is_told_from_one_that_says_nothing():
    assert foreign(variables()["creatinine"], "mmHg")
    assert not foreign(variables()["creatinine"], "N/A")
    assert not foreign(variables()["creatinine"], "µmol/L")
