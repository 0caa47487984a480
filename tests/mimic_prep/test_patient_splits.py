"""Splits by patient, and by hospital or network."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep.protocol import Splits
from mimic_prep.splits import assign, of_stays, split_of


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


_sites = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), min_size=1, max_size=80)


@given(_sites, st.sampled_from(["a", "b", "c"]))
def test_neither_a_hospital_nor_a_patient_is_in_two_splits(rows, salt):
    stays = pl.DataFrame(rows, schema=["subject_id", "hospital"], orient="row")
    drawn = of_stays(stays, Splits(by="hospital", salt=salt), None, "X")
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
        drawn[salt] = of_stays(stays, splits, None, "X")["split"]
        assert 0.1 < (drawn[salt] == "test").mean() < 0.3
    assert drawn["a"].to_list() != drawn["b"].to_list()


@pytest.mark.parametrize(
    ("stays", "count"),
    [
        (pl.DataFrame({"subject_id": [1, 2]}), "2 of 2"),
        (pl.DataFrame({"subject_id": [1, 2], "hospital": [None, 5]}), "1 of 2"),
    ],
)
def test_a_release_that_does_not_know_the_hospital(stays, count):
    with pytest.raises(UserError, match=rf"MIMIC-IV does not say the hospital of {count} stays.*splits.by=patient"):
        of_stays(stays, Splits(by="hospital"), None, "MIMIC-IV")


def test_a_list_of_patients_and_whole_hospitals_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="give one"):
        Splits(by="hospital", test_subjects=str(tmp_path / "list.txt"))
