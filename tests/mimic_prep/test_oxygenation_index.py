"""PaO2/FiO2: each arterial oxygen pressure over the last oxygen fraction charted within the four hours before it."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from clinragen.catalog import variable
from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.pipeline import prepare
from mimic_prep.releases.eicu.reader import EicuReader


def _at(minutes: int) -> str:
    return (datetime(2151, 3, 1, 8) + timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S")


#: Minutes and values of gases, of fractions; the ratio by hour. Each case has ten hours of its own.
_CASES = [
    ([(130, 80)], [(100, 40)], {2.0: 200}),
    ([(130, 80)], [(130, 40)], {2.0: 200}),  # of the same minute
    ([(130, 80)], [(131, 40)], {}),  # set afterwards
    ([(250, 80)], [(10, 40)], {4.0: 200}),  # four hours before
    ([(251, 80)], [(10, 40)], {}),  # more than four hours before
    ([(130, 80)], [(100, 0.4)], {2.0: 200}),  # charted as a fraction
    ([(130, 80)], [(60, 100), (120, 50)], {2.0: 160}),  # the last one
    ([(130, 80), (170, 90)], [(120, 40), (165, 60)], {2.0: 150}),  # the last gas of the hour
    ([(130, 80), (190, 90)], [(120, 40)], {2.0: 200, 3.0: 225}),
    ([(130, 80)], [], {}),
    ([], [(130, 40)], {}),
    ([(130, 600)], [(120, 21)], {}),  # not plausible: 2857
]


@pytest.mark.parametrize("first", [0, 4, 8])
def test_the_last_fraction_before_the_gas(hospital, prepared, first):
    for number, (gases, fractions, _) in enumerate(_CASES[first : first + 4]):
        for minute, value in gases:
            hospital.lab(1, _at(600 * number + minute), 50821, value, "mm Hg")
        for minute, value in fractions:
            hospital.chart(100, _at(600 * number + minute), 223835, value)
    values = prepared(hospital).values(100)
    found = {hour: value for (key, hour), value in values.items() if key == "pao2_fio2"}
    cases = [expected for _, _, expected in _CASES[first : first + 4]]
    assert found == {10 * number + hour: value for number, case in enumerate(cases) for hour, value in case.items()}


def test_venous_blood_and_what_was_not_yet_known_make_no_ratio(hospital, prepared):
    hospital.chart(100, _at(60), 223835, 50)
    hospital.lab(1, _at(70), 52033, "", value="VEN.", specimen_id=4)
    hospital.lab(1, _at(70), 50821, 40, "mm Hg", specimen_id=4)
    hospital.lab(1, "2151-03-03 07:30:00", 50821, 90, "mm Hg", storetime="2151-03-03 08:20:00")
    hospital.chart(100, "2151-03-03 07:00:00", 223835, 50)
    assert not [key for key, _ in prepared(hospital).values(100) if key == "pao2_fio2"]


def test_the_fraction_of_another_stay_does_not_count(hospital, prepared):
    hospital.chart(201, "2150-06-10 00:30:00", 223835, 50)
    hospital.chart(100, _at(0), 223835, 100)
    hospital.lab(2, "2150-06-10 01:00:00", 50821, 90, "mm Hg")
    cohort = prepared(hospital)
    assert cohort.values(201)["pao2_fio2", 1.0] == 180
    assert ("pao2_fio2", 0.0) not in cohort.values(100)


def test_the_fraction_reported_with_the_gas_counts(hospital, prepared):
    hospital.lab(1, _at(70), 50816, 60, "%")
    hospital.lab(1, _at(70), 50821, 90, "mm Hg")
    values = prepared(hospital).values(100)
    assert values["fio2", 1.0] == 60
    assert values["pao2_fio2", 1.0] == 150


def test_eicu(tmp_path):
    files = {
        "patient": [
            "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
            "hospitaldischargeyear,hospitaldischargeoffset,unittype,unitadmitsource,unitstaytype,unitdischargeoffset,"
            "uniquepid",
            "1,7,Female,60,10:00:00,-60,2014,9000,MICU,Emergency Department,admit,5000,002-1039",
        ],
        "diagnosis": ["patientunitstayid,icd9code", '1,"486, J18.9"'],
        "lab": [
            "patientunitstayid,labresultoffset,labname,labresult,labmeasurenamesystem",
            "1,70,paO2,75,mm Hg", "1,70,FiO2,50,%",
        ],
    }  # fmt: skip
    for name, lines in files.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    prepare(EicuReader(), RawTables(tmp_path, "eICU", 1), tmp_path / "out", protocol.load("admission"))
    rows = pl.read_parquet(tmp_path / "out" / "series.parquet").select("variable", "hour", "value").rows()
    assert ("pao2_fio2", 1.0, 150.0) in rows


def test_it_is_described_as_the_berlin_definition_has_it():
    ratio = variable("pao2_fio2")
    assert ratio.direction(299) == -1
    assert ratio.direction(301) == 0
    assert ratio.format(182.4) == "182 mmHg"
