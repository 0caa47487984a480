"""The PhysioNet Challenge 2012: its text files become a cohort with series only, in the catalogue's units."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from clinragen.cohort.folder import Cohort

STAY = """Time,Parameter,Value
00:00,RecordID,{stay}
00:00,Age,{age}
00:00,Gender,1
00:00,Weight,-1
00:07,NISysABP,120
00:07,SysABP,111
00:40,HR,80
00:50,HR,90
01:10,FiO2,0.5
01:20,Urine,40
01:50,Urine,60
47:59,Temp,37
48:00,Temp,38
02:00,HR,4000
"""


def test_text_files_become_hours_in_canonical_units(command, tmp_path):
    raw = tmp_path / "raw" / "set-a"
    raw.mkdir(parents=True)
    for stay, age in ((132539, 54), (132540, 70), (132541, 12)):
        Path(raw / f"{stay}.txt").write_text(STAY.format(stay=stay, age=age))
    out = tmp_path / "cohort"
    assert command("mimic-prep", "physionet-2012", "--raw", raw.parent, "--out", out) == 0
    cohort = Cohort.load(out)
    assert cohort.stays["stay_id"].to_list() == [132539, 132540]  # no children
    mine = cohort.series.filter(pl.col("stay_id") == 132539)
    found = {(hour, name): value for hour, name, value in mine.select("hour", "variable", "value").iter_rows()}
    assert found == {
        (0.0, "systolic_bp"): 111.0,
        (0.0, "heart_rate"): 90.0,
        (1.0, "fio2"): 50.0,
        (1.0, "urine_output"): 100.0,
        (47.0, "temperature"): 37.0,
    }


def test_a_folder_of_something_else_is_refused(command, capsys, tmp_path):
    assert command("mimic-prep", "physionet-2012", "--raw", tmp_path, "--out", tmp_path / "out") == 2
    assert "set-a" in capsys.readouterr().err
