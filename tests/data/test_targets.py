"""Targets of the student, for any tokenizer: diagnoses are never truncated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.catalog import phenotypes
from clinragen.data.targets import MARKERS, ORDERS, TargetFormat, sections_for
from clinragen.errors import UserError
from clinragen.inference.decode import read_list, read_report
from clinragen.model.language_model import train_tokenizer

NAMES = tuple(entry.name for entry in phenotypes().values())
#: One tokenizer that knows the labels' words, one that spells nearly every letter.
TOKENIZERS = [train_tokenizer([*NAMES, *MARKERS.values()], size) for size in (1500, 280)]
PRESENT = st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES))
TARGETS = st.sets(st.sampled_from(sorted(MARKERS)), min_size=1)
#: Words a rationale could hold, labels and list punctuation among them.
TEXT = st.lists(st.sampled_from(["creatinine", "3.2", "mg/dL;", "shock.", *NAMES]), min_size=1, max_size=30).map(
    " ".join
)


def make(tokenizer: int, targets: set[str], order: str) -> TargetFormat:
    return TargetFormat(TOKENIZERS[tokenizer], NAMES, sections_for(sorted(targets), order))


@settings(deadline=None)
@given(st.integers(0, 1), PRESENT)
def test_every_diagnosis_list_reads_back(tokenizer, present):
    target = make(tokenizer, {"diagnoses"}, "rationales_first")
    assert read_list(target, target.diagnoses(present)) == [i for i, flag in enumerate(present) if flag]


@settings(deadline=None)
@given(st.integers(0, 1), TARGETS, st.sampled_from(sorted(ORDERS)), TEXT, TEXT, PRESENT)
def test_every_target_reads_back(tokenizer, targets, order, note, series, present):
    target = make(tokenizer, targets, order)
    ids, shortened, _ = target.encode(note, series, present, budget=10_000)
    report = read_report(target, ids)
    assert report.parsed
    assert not shortened
    assert report.rationales == {k: v for k, v in (("note", note), ("series", series)) if k in targets}
    if "diagnoses" in targets:
        assert report.diagnoses == [i for i, flag in enumerate(present) if flag]


@settings(deadline=None)
@given(st.integers(0, 1), st.sampled_from(sorted(ORDERS)), TEXT, TEXT, PRESENT, st.integers(1, 400))
def test_diagnoses_are_never_cut(tokenizer, order, note, series, present, budget):
    target = make(tokenizer, set(MARKERS), order)
    whole = target.encode(note, series, present, budget=10_000).ids
    ids, shortened, places = target.encode(note, series, present, budget)
    assert shortened == (len(whole) > budget)
    assert ids[-1] == target.tokenizer.eos_token_id
    listed = target.markers["diagnoses"] + target.diagnoses(present)
    assert str(listed)[1:-1] in str(ids)
    least = sum(map(len, target.markers.values())) + len(target.diagnoses(present)) + 1
    assert len(ids) <= max(budget, least)
    for kind, text in (("note", note), ("series", series)):  # what was cut was the end of a rationale
        tokens = target.tokenizer(" " + text, add_special_tokens=False)["input_ids"]
        assert [ids[place] for place in places[kind]] == tokens[: len(places[kind])]


def test_unknown_targets_and_orders_list_the_choices():
    with pytest.raises(UserError, match="rationales_first"):
        sections_for(["note"], "backwards")
    with pytest.raises(UserError, match="diagnoses"):
        sections_for(["diagnosis"], "rationales_first")
