"""Suggestions of drugs: ranked, with grounds that are in the chart, and nothing that had been ordered."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import clinragen
from clinragen import tasks
from clinragen.cohort.folder import Cohort
from clinragen.cohort.orders import already_ordered, new_starts, readable
from clinragen.cohort.sections import sections_by_stay
from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.prescription import suggest
from clinragen.prescription.history import History
from clinragen.prescription.rankers import Neighbours, Popularity
from clinragen.safety.cautions import Caution
from clinragen.safety.context import PatientContext
from clinragen.tasks import Labels
from clinragen.tasks.prescription import treatments
from tests.conftest import call

KEYS = tuple(treatments())


def test_a_suggestion_has_not_been_ordered_and_names_its_grounds(cohort):
    found = clinragen.prescribe(cohort, split="test", most=7)
    before = readable(cohort).filter(pl.col("kind") != "home")
    sections = sections_by_stay(cohort.notes, labels=cohort.label_set, layout=True)
    phrases = 0
    for stay in found:
        ordered = set(before.filter(stay_id=stay.stay_id)["drug_class"]) & set(KEYS)
        assert set(stay.in_force) == ordered
        assert len(stay.suggestions) == 7
        assert not ordered & {one.drug_class for one in (*stay.suggestions, *stay.withheld)}
        chances = [one.probability for one in stay.suggestions]
        assert chances == sorted(chances, reverse=True)
        assert all(0 < chance < 1 for chance in chances)
        measured = cohort.series.filter(stay_id=stay.stay_id)
        notes = dict(sections.get(stay.stay_id, []))
        for ground in (ground for one in stay.suggestions for ground in one.grounds):
            assert ground.source
            for place in ground.evidence:
                if "variable" in place:
                    rows = measured.filter(variable=place["variable"], hour=place["hour"])
                    assert rows["value"].item() == pytest.approx(place["value"], abs=0.5)
                else:
                    phrase = notes[str(place["section"])][place["start"] : place["end"]]
                    assert phrase.casefold().split()[0] in ground.text.casefold()
                    phrases += 1
    assert phrases > 10


def test_similar_stays_tell_who_is_started_on_a_class(cohort):
    """Half of the training stays read as one held-out stay and were started on one class, half as the other."""
    train, held = cohort.split("train")[:40], cohort.split("test")[:2]
    texts = ["fever and a positive blood culture", "swollen legs and orthopnea"]
    ids = [*train.tolist(), *held.tolist()]
    notes = cohort.notes.head(1).select(
        pl.Series("stay_id", ids).alias("stay_id"),
        *(pl.lit(value).alias(name) for name, value in (("note_id", "1"), ("kind", "discharge"))),
        pl.lit("history_of_present_illness").alias("section"),
        pl.lit(None, dtype=pl.Datetime("ms")).alias("time"),
        pl.Series("text", [texts[number % 2] for number in range(len(ids))]),
    )
    read = Cohort(cohort.paths, cohort.manifest, cohort.stays)
    read.__dict__.update(notes=notes, orders=cohort.orders.clear())
    present = np.zeros((40, len(KEYS)), dtype=bool)
    present[::2, 3], present[1::2, 5] = True, True
    labels = Labels(present, np.ones_like(present))
    ranker = Neighbours(read, History(read, train, KEYS), labels)
    chances = ranker.probabilities(History(read, held, KEYS))
    assert chances.argmax(1).tolist() == [3, 5]
    assert (chances[[0, 1], [3, 5]] > 2 * chances[[0, 1], [5, 3]]).all()


def test_without_notes_the_drugs_tell_who_is_similar(cohort):
    train, held = cohort.split("train"), cohort.split("test")
    labels = tasks.load("prescription").labels(cohort, train)
    silent = Cohort(cohort.paths, cohort.manifest, cohort.stays)
    silent.__dict__.update(notes=cohort.notes.clear(), orders=cohort.orders)
    ranker = Neighbours(silent, History(silent, train, KEYS), labels)
    assert (ranker.votes(History(silent, held, KEYS))[0] > 0).any()


def test_a_stay_of_the_same_patient_is_no_neighbour(cohort):
    train = cohort.split("train")[:30]  # fewer than the nearest that are looked for
    labels = tasks.load("prescription").labels(cohort, train)
    history = History(cohort, train, KEYS)
    ranker = Neighbours(cohort, history, labels)
    started, could = ranker.votes(history)
    assert (started <= could).all()
    nearest, weights = ranker.nearest(history)
    subjects = cohort.stays.filter(pl.col("stay_id").is_in(train.tolist()))["subject_id"].to_numpy()
    assert weights[subjects[nearest] == subjects[:, None]].sum() == 0
    assert (could <= (weights > 0).sum(1)[:, None]).all()


@given(arrays(bool, (6, 4)), arrays(bool, (6, 4)))
def test_popularity_is_a_rate_of_those_that_could(present, eligible):
    present &= eligible
    rates = Popularity.fit(Labels(present, eligible)).rates
    assert ((rates > 0) & (rates < 1)).all()
    assert (rates[~eligible.any(0)] == 0.5).all()
    always = eligible.all(0) & present.all(0)
    assert (rates[always] > 0.9).all()


@given(st.permutations(range(8)))
def test_the_order_of_training_stays_does_not_matter(order):
    labels = np.eye(8, 9, dtype=bool)
    shuffled = labels[list(order)]
    one, other = (Popularity.fit(Labels(part, np.ones_like(part))).rates for part in (labels, shuffled))
    assert (one == other).all()


def test_what_comes_after_the_prediction_time_changes_nothing(hospital, early, tmp_path):
    """Orders that were entered later are other ones: the same suggestions, byte for byte."""
    opened = Cohort.load(early)
    assert call("clinragen", "prescribe", "--cohort", early, "--out", tmp_path / "one", "--engine", "neighbours") == 0
    held = set(opened.split("test").tolist())
    later = opened.orders.join(opened.stays.select("stay_id", "prediction_time"), on="stay_id")
    later = later.with_columns(
        name=pl.when(pl.col("stay_id").is_in(held) & (pl.col("start") >= pl.col("prediction_time")))
        .then(pl.lit("Amiodarone"))
        .otherwise("name"),
        drug_class=pl.when(pl.col("stay_id").is_in(held) & (pl.col("start") >= pl.col("prediction_time")))
        .then(pl.lit("antiarrhythmic"))
        .otherwise("drug_class"),
    )
    changed = Cohort(opened.paths, opened.manifest, opened.stays)
    changed.__dict__["orders"] = later.drop("prediction_time")
    assert not new_starts(changed).equals(new_starts(opened))
    clinragen.prescribe(changed, tmp_path / "two", engine="neighbours")
    one, two = ((tmp_path / name / "prescriptions.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_class_whose_members_are_contraindicated_is_withheld(cohort, monkeypatch):
    def screen(drug, context, thesaurus):
        severity = "contraindicated" if drug.drug_class == first else "caution"
        return [Caution("allergy", severity, drug.ingredient, "a test", (), "test")]

    first = next(iter(clinragen.prescribe(cohort, limit=1))).suggestions[0].drug_class
    monkeypatch.setattr(suggest, "screen", screen)
    (stay,) = clinragen.prescribe(cohort, limit=1)
    assert [one.drug_class for one in stay.withheld] == [first]
    assert len(stay.suggestions) == 5
    assert first not in [one.drug_class for one in stay.suggestions]


def test_ingredients_to_be_avoided_come_last_and_mere_cautions_keep_the_usual_order(cohort, monkeypatch):
    severities = ["contraindicated", "avoid", "caution", None]

    def screen(drug, context, thesaurus):
        severity = severities[usual.index(drug.ingredient)]
        return [Caution("renal", severity, drug.ingredient, "a test", (), "test")] if severity else []

    usual = ["one", "two", "three", "four"]
    monkeypatch.setattr(suggest, "screen", screen)
    suggester = suggest.Suggester(build(), {}, {"loop_diuretic": usual}, 5)
    members = suggester.members("loop_diuretic", PatientContext(1, 60, "M"))
    assert [member.ingredient for member in members] == ["three", "four", "two", "one"]


def test_the_command_writes_lines_and_says_what_was_not_checked(early, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("clinragen", "prescribe", "--cohort", early, "--out", out, "--limit", 3, "--engine", "popularity") == 0
    told = capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "prescriptions.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all(one["grounds"] == [] or one["grounds"][0]["source"] for row in rows for one in row["suggestions"])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["engine"] == "popularity"
    assert all(f"not checked: {what}" in told for what in manifest["unchecked"])
    assert call("clinragen", "prescribe", "--cohort", early, "--out", out) == 2
    assert "already exists" in capsys.readouterr().err
    assert call("clinragen", "prescribe", "--cohort", early, "--out", out, "--overwrite", "--limit", 1) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--engine", "student"), "needs --model"),
        (("--most", 0), "--most 0"),
        (("--engine", "neighbour"), "did you mean"),
    ],
)
def test_a_mistake_is_told_in_one_line(early, tmp_path, capsys, options, told):
    assert call("clinragen", "prescribe", "--cohort", early, "--out", tmp_path / "out", *options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_a_cohort_without_orders_says_so(early, tmp_path):
    opened = Cohort.load(early)
    manifest = {**opened.manifest, "outputs": {}}
    bare = Cohort(type(opened.paths)(tmp_path), manifest, opened.stays)
    with pytest.raises(UserError, match="no orders of drugs"):
        clinragen.prescribe(bare)


@pytest.mark.slow
def test_a_student_ranks_too(early, tmp_path, hospital, capsys):
    run = tmp_path / "run"
    assert call("clinragen", "teach", "--cohort", early) == 0
    room = ("--set", "model.language_model.scratch.max_position_embeddings=4096")
    train = ("clinragen", "train", "multimodal", "--cohort", early, "--model", hospital.model, "--out", run, *room)
    train += ("--task", "prescription", "--set", "stage.parent=null", "--set", "stage.epochs=1")
    assert call(*train, "--set", "stage.targets=[diagnoses]") == 2
    assert "no stay is eligible for all labels" in capsys.readouterr().err
    assert call(*train, "--set", "stage.targets=[note]") == 0
    ranked = clinragen.prescribe(early, engine="student", model=run)
    assert len(ranked) == len(Cohort.load(early).split("test"))
    before = already_ordered(Cohort.load(early))
    for stay in ranked:
        assert not set(before.filter(stay_id=stay.stay_id)["drug_class"]) & {one.drug_class for one in stay.suggestions}


def test_a_model_of_another_task_is_refused(early, runs, tmp_path, capsys):
    options = ("--engine", "student", "--model", runs.multimodal)
    assert call("clinragen", "prescribe", "--cohort", early, "--out", tmp_path / "out", *options) == 2
    assert "predicts task 'diagnosis', not 'prescription'" in capsys.readouterr().err
