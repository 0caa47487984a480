"""Stays as model inputs, on the synthetic hospital."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen import versions
from clinragen.artifacts import sha256_file, write_table
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import SECTIONS, sections_by_stay
from clinragen.data.dataset import StayDataset, collate
from clinragen.errors import UserError
from clinragen.inference.predict import TrainedModel
from clinragen.schema import SITES, CohortPaths


@pytest.fixture(scope="module")
def trained(runs) -> TrainedModel:
    return TrainedModel.load(runs.multimodal)


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


def dataset(trained: TrainedModel, cohort: Cohort, split: str = "test", **changes: Any) -> StayDataset:
    return replace(trained.dataset(cohort, split), **changes)


def test_permuted_hands_nobody_a_series_of_his_own(trained, cohort):
    subjects = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
    observed = dataset(trained, cohort, "train")
    permuted = dataset(trained, cohort, "train", series_input="permuted")
    moved = 0
    for row in range(len(observed)):
        donors = np.flatnonzero((observed.values == permuted.values[row]).all(axis=(1, 2)))
        assert len(donors)
        own = {subjects[int(observed.stay_ids[donor])] for donor in donors}
        assert own != {subjects[int(observed.stay_ids[row])]}
        moved += 1
    assert moved == len(observed)
    assert all(one == other for one, other in zip(observed.notes, permuted.notes, strict=True))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda patients: len(set(patients)) > 1))
def test_strangers_are_of_other_patients(patients):
    class Fake:
        stays = pl.DataFrame({"stay_id": range(len(patients)), "subject_id": patients})

    data = StayDataset.__new__(StayDataset)
    data.cohort, data.stay_ids = Fake(), np.arange(len(patients))  # type: ignore[assignment]
    rows = data._strangers()
    assert all(patients[row] != patients[stranger] for row, stranger in enumerate(rows))


def test_permuting_one_patient_is_refused(trained, cohort):
    with pytest.raises(UserError, match="two patients"):
        trained.dataset(cohort, "test", "permuted", limit=1)


def test_zeroed_removes_every_measurement(trained, cohort):
    zeroed = dataset(trained, cohort, series_input="zeroed")
    assert not zeroed.observed.any()
    assert not zeroed.values.any()


def test_unknown_series_input_lists_the_choices(trained, cohort):
    with pytest.raises(UserError, match="observed, permuted, reversed, zeroed"):
        trained.dataset(cohort, "test", "noised")


def test_notes_fit_and_start_with_the_first_sections(trained, cohort):
    data = dataset(trained, cohort, max_note_tokens=40, note_passages="first")
    assert all(1 <= len(note) <= 40 for note in data.notes)
    assert data.cuts.notes > 0
    text = trained.model.tokenizer.decode(data.notes[0])
    assert text.startswith("Chief complaint:")


def test_a_stay_without_a_note_still_reads_something(trained, hospital, cohort, restamp, tmp_path):
    victim = int(cohort.split("test")[0])
    for path in hospital.cohort.iterdir():
        if path.name != "notes.parquet":
            (tmp_path / path.name).symlink_to(path)
    notes = pl.read_parquet(CohortPaths(hospital.cohort).notes)
    notes.filter(pl.col("stay_id") != victim).write_parquet(tmp_path / "notes.parquet")
    restamp(tmp_path)
    data = dataset(trained, Cohort.load(tmp_path))
    assert data.notes[0] == [trained.model.tokenizer.eos_token_id]


def test_a_stay_without_a_rationale_is_named(trained, hospital, cohort, tmp_path):
    victim = int(cohort.split("test")[2])
    for path in hospital.cohort.iterdir():
        if path.name != "rationales":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "rationales").mkdir()
    path = CohortPaths(hospital.cohort).rationales("evidence")
    pl.read_parquet(path).filter(~((pl.col("stay_id") == victim) & (pl.col("kind") == "series"))).write_parquet(
        CohortPaths(tmp_path).rationales("evidence")
    )
    with pytest.raises(UserError, match=f"stay {victim} has no series rationale"):
        dataset(trained, Cohort.load(tmp_path), teacher="evidence")


def test_sections_come_in_reading_order_whatever_the_rows(cohort):
    rows = cohort.notes.sample(fraction=1.0, shuffle=True, seed=3)
    ordered = sections_by_stay(rows)
    assert ordered == sections_by_stay(cohort.notes)
    for sections in ordered.values():
        known = [SECTIONS.index(name) for name, _ in sections if name in SECTIONS]
        assert known == sorted(known)


def test_several_rationales_of_a_stay_are_taken_in_turn(trained, hospital, cohort, tmp_path):
    for path in hospital.cohort.iterdir():
        if path.name != "rationales":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "rationales").mkdir()
    table = pl.read_parquet(CohortPaths(hospital.cohort).rationales("evidence"))
    more = table.filter(pl.col("kind") == "series").with_columns(text=pl.lit("Lab test shows nothing else."))
    pl.concat([table, more]).write_parquet(CohortPaths(tmp_path).rationales("evidence"))
    data = dataset(trained, Cohort.load(tmp_path), teacher="evidence")
    texts = []
    for epoch in range(4):
        data.begin(epoch)
        texts.append(trained.model.tokenizer.decode(data[0].target_ids))
    assert texts[:2] == texts[2:]
    assert sum("nothing else" in text for text in texts) == 2


def test_separate_tasks_begin_with_their_marker_and_share_nothing(trained, cohort):
    data = dataset(trained, cohort, teacher="evidence", separate=True)
    texts = []
    for epoch in (0, 1):
        data.begin(epoch)
        texts.append(trained.model.tokenizer.decode(data[0].target_ids))
    assert ["Diagnoses:" in text for text in texts] == [False, True]
    assert ["rationale:" in text for text in texts] == [True, False]


def test_stored_tokens_are_those_made_anew_and_other_notes_are_not_mistaken_for_them(
    trained, hospital, cohort, tmp_path, restamp
):
    fresh = dataset(trained, cohort, teacher="evidence")
    for _ in range(2):  # made, then mapped
        kept = dataset(trained, cohort, teacher="evidence", store=tmp_path / "store")
        for row in range(len(fresh)):
            assert kept[row].note_ids == fresh[row].note_ids
            assert kept[row].target_ids == fresh[row].target_ids
            assert np.array_equal(kept[row].mentions, fresh[row].mentions)
        assert kept.cuts == fresh.cuts
    assert len(list((tmp_path / "store").iterdir())) == 1
    next((tmp_path / "store").glob("*/notes.npy")).write_bytes(b"cut")  # damaged: made anew
    again = dataset(trained, cohort, teacher="evidence", store=tmp_path / "store")
    assert again[0].note_ids == fresh[0].note_ids
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in hospital.cohort.iterdir():
        if path.name != "notes.parquet":
            (changed / path.name).symlink_to(path)
    notes = pl.read_parquet(CohortPaths(hospital.cohort).notes).with_columns(text=pl.lit("Sepsis."))
    notes.write_parquet(changed / "notes.parquet")
    restamp(changed)
    other = dataset(trained, Cohort.load(changed), teacher="evidence", store=tmp_path / "store")
    assert other[0].note_ids != fresh[0].note_ids


def test_other_tokens_of_the_same_stays_need_another_version(trained, cohort):
    """The stays that a resumed run takes up must be those that the same code would encode."""
    data = replace(trained.dataset(cohort, "test"), teacher="evidence")
    arrays = data._encode()
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    recorded = json.loads((Path(__file__).parent / "encoding_version.json").read_text(encoding="utf-8"))
    found = {"version": versions.ENCODING, "sha256": digest.hexdigest()}
    assert found == recorded, (
        "tokens, mentions or targets changed: raise ENCODING in clinragen/versions.py, and record what was found"
    )


def test_where_and_when_a_stay_was_changes_no_input(trained, cohort, hospital, tmp_path):
    folder = tmp_path / "cohort"
    shutil.copytree(hospital.cohort, folder)
    paths = CohortPaths(folder)
    moved = cohort.sites.with_columns(hospital=pl.col("stay_id").cast(pl.String), period=pl.lit("2001"))
    write_table(paths.sites, moved.to_arrow().cast(SITES))
    manifest = json.loads(paths.manifest.read_text())
    manifest.update(outputs=manifest["outputs"] | {"sites.parquet": sha256_file(paths.sites)}, clock="year")
    del manifest["sizes"]
    paths.manifest.write_text(json.dumps(manifest))
    elsewhere = Cohort.load(folder)
    assert elsewhere.sites["hospital"].n_unique() == len(elsewhere.stays)
    first, second = (dataset(trained, which) for which in (cohort, elsewhere))
    for row in range(len(first)):
        one, other = collate([first[row]], 0), collate([second[row]], 0)
        for name, values in vars(one).items():
            same = torch.equal(values, getattr(other, name)) if isinstance(values, torch.Tensor) else True
            assert same, name
