"""Only some variables of the catalogue: the same values of these, none of others, and no stay without one of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from clinragen.errors import UserError
from mimic_prep import protocol
from mimic_prep.canonical import made_from
from mimic_prep.labels import load


def test_chosen_variables_have_the_values_they_have_among_all(hospital, command, tmp_path: Path) -> None:
    out = tmp_path / "some"
    chosen = ("--set", "variables=[heart_rate,weight,lactate]")
    assert command("mimic-prep", "mimic-iv", "--raw", hospital.raw, "--out", out, *chosen) == 0
    every, some = (pl.read_parquet(root / "series.parquet") for root in (hospital.cohort, out))
    stays = pl.read_parquet(out / "stays.parquet")["stay_id"]
    expected = every.filter(pl.col("variable").is_in(["heart_rate", "weight", "lactate"]))
    assert some.equals(expected.filter(pl.col("stay_id").is_in(stays.implode())))
    # a weight alone is no series, with these variables as with all
    measured = some.filter(pl.col("variable") != "weight")["stay_id"].unique()
    assert set(stays) == set(measured)


def test_an_unknown_variable_is_told() -> None:
    with pytest.raises(UserError, match=r"heart_rat.*did you mean 'heart_rate'"):
        protocol.load("paper", ["variables=[heart_rat]"])


def test_a_protocol_of_all_variables_keeps_its_identity() -> None:
    every, some = protocol.load("admission"), protocol.load("admission", ["variables=[ph]"])
    origins = [made_from("s", one, load(one.labels), {}, {}) for one in (every, some)]
    assert "variables" not in origins[0]["protocol"]
    assert origins[1]["protocol"]["variables"] == ["ph"]
    assert origins[0]["config_hash"] != origins[1]["config_hash"]
