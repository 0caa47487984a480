"""Splits by patient."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep.protocol import Splits
from mimic_prep.splits import assign, split_of


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
