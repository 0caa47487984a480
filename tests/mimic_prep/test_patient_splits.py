"""Splits by patient, and by hospital or network."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep.inclusion import Attrition
from mimic_prep.protocol import Splits
from mimic_prep.splits import assign, held_out, of_stays, split_of, without_elsewhere


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), max_size=5))
def test_a_patient_s_split_depends_on_nobody_else(subject, others):
    alone = assign(pl.Series([subject]), Splits()).row(0)
    assert alone in assign(pl.Series([subject, *others]), Splits()).rows()


def test_shares_are_about_right():
    drawn = [split_of(subject, Splits()) for subject in range(20_000)]
    assert drawn.count("train") == pytest.approx(14_000, rel=0.03)
    assert drawn.count("validation") == pytest.approx(2_000, rel=0.1)


def test_another_salt_draws_anew():
    first, second = ([split_of(subject, Splits(salt=salt)) for subject in range(1000)] for salt in ("a", "b"))
    assert first != second


def test_a_published_test_list(tmp_path):
    path = tmp_path / "testset.csv"
    path.write_text("subject_id,test\n3,1\n4,0\n5,1\n")
    rows = dict(assign(pl.Series(range(10)), Splits(test_subjects=str(path))).rows())
    assert [subject for subject, split in rows.items() if split == "test"] == [3, 5]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "not found"), ("1\nx\n", "line 2"), ("7\n8\n", "none of the 2")]
)
def test_a_broken_test_list(tmp_path, content, message):
    path = tmp_path / "list.txt"
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        assign(pl.Series([1]), Splits(test_subjects=str(path)))


_sites = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12).map(str)), min_size=1, max_size=80)


@given(_sites, st.sampled_from(["a", "b", "c"]))
def test_neither_a_hospital_nor_a_patient_is_in_two_splits(rows, salt):
    stays = pl.DataFrame(rows, schema=["subject_id", "hospital"], orient="row")
    drawn = of_stays(stays, Splits(by="hospital", salt=salt), [], None)
    assert drawn["subject_id"].to_list() == sorted(set(stays["subject_id"]))
    joined = stays.join(drawn, on="subject_id")
    assert joined.group_by("hospital").agg(pl.col("split").n_unique())["split"].max() == 1


def test_networks_fill_the_shares_whichever_are_large():
    sizes = [250, 240, 139, 126, 119, 108, 86, 78, 78, 74, 72, 71, 61, 60, 59, 56, 47, 46, 41, 41, 41, 32, 31]
    rows = [(1000 * network + patient, network) for network, size in enumerate(sizes) for patient in range(size)]
    stays = pl.DataFrame(rows, schema=["subject_id", "network"], orient="row")
    drawn = {}
    for salt in "abcde":
        splits = Splits(0.64, 0.16, 0.2, by="network", salt=salt)
        drawn[salt] = of_stays(stays, splits, [], None)["split"]
        assert 0.1 < (drawn[salt] == "test").mean() < 0.3
    assert drawn["a"].to_list() != drawn["b"].to_list()


@pytest.mark.parametrize(
    ("stays", "count"),
    [
        (pl.DataFrame({"subject_id": [1, 2], "hospital": [None, None]}), "2 of 2"),
        (pl.DataFrame({"subject_id": [1, 2], "hospital": [None, "5"]}), "1 of 2"),
    ],
)
def test_a_release_that_does_not_know_the_hospital(stays, count):
    with pytest.raises(UserError, match=rf"MIMIC-IV does not say the hospital of {count} stays.*splits.by=patient"):
        held_out(stays, Splits(by="hospital"), "MIMIC-IV")


def test_a_list_of_patients_and_whole_hospitals_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="give one"):
        Splits(by="hospital", test_subjects=str(tmp_path / "list.txt"))


_NAMES = ["002", "016", "27"]
_stays = st.lists(st.tuples(st.integers(0, 15), st.sampled_from(_NAMES)), min_size=1, max_size=60).map(
    lambda rows: pl.DataFrame(rows, schema=["subject_id", "network"], orient="row").with_row_index("stay_id")
)
_TEST = pl.col("split") == "test"


@given(_stays, st.sampled_from(_NAMES))
def test_a_held_out_network_is_the_test_split_and_shares_no_patient_with_the_others(stays, name):
    settings = Splits(by="network", held_out=[name])
    names = sorted(set(stays["network"]), key=int)
    if name not in names or len(names) == 1:
        absent = f"no network is called '{name}'.*has {', '.join(names)}$"
        wrong = "nothing is left to train on" if name in names else absent
        with pytest.raises(UserError, match=wrong):
            held_out(stays, settings, "X")
        return
    held = held_out(stays, settings, "X")
    attrition = Attrition(entered=stays.height)
    remaining = without_elsewhere(stays, stays, settings, held, attrition)
    assert attrition.kept == remaining.height
    drawn = remaining.join(of_stays(remaining, settings, held, None), on="subject_id")
    assert drawn.filter(pl.col("network") == name).equals(drawn.filter(_TEST))
    left_out = stays.join(remaining, on="stay_id", how="anti")
    assert name not in left_out["network"].to_list()  # only stays elsewhere, of patients of the held-out network
    inside = stays.filter(pl.col("network") == name)["subject_id"]
    assert left_out["subject_id"].is_in(inside.implode()).all()


@given(_stays, st.floats(0, 0.9))
def test_the_latest_periods_are_the_test_split(stays, share):
    stays = stays.with_columns(
        period=pl.col("network").replace_strict(_NAMES, ["2008 - 2010", "2011 - 2013", "2014 - 2016"])
    )
    settings = Splits(train=1 - share, validation=0, test=share, by="period")
    periods = sorted(set(stays["period"]))
    try:
        held = held_out(stays, settings, "X")
    except UserError:  # the last stays of so few patients lie in the first period that all are needed
        latest = stays.group_by("subject_id").agg(pl.col("period").max())["period"]
        assert len(periods) == 1 or (latest != periods[0]).mean() < share
        return
    assert held == periods[: -len(held) - 1 : -1]
    remaining = without_elsewhere(stays, stays, settings, held, Attrition(entered=stays.height))
    drawn = remaining.join(of_stays(remaining, settings, held, None), on="subject_id")
    test, others = drawn.filter(_TEST)["period"], drawn.filter(~_TEST)["period"]
    assert not len(others) or others.max() < test.min()


def test_a_name_of_digits_that_yaml_made_a_number_of_is_explained():
    stays = pl.DataFrame({"subject_id": [1, 2], "network": ["014", "016"]})
    with pytest.raises(UserError, match=r"no network is called '14' \(a name of digits in quotes"):
        held_out(stays, Splits(by="network", held_out=["14"]), "eICU")


def test_what_is_held_out_needs_to_know_by_what():
    with pytest.raises(ValueError, match=r"splits\.held_out needs splits\.by"):
        Splits(held_out=["2015"])
