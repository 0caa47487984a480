"""The vote of similar training stays: who may vote, where it helps, and that a model with it is whole everywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from clinragen.attribution import occlusion
from clinragen.attribution.explain import Explainer
from clinragen.cohort.folder import Cohort
from clinragen.data.evidence_pieces import SIMILAR_CASES, StayEvidence
from clinragen.errors import UserError
from clinragen.inference.contributions import contributions
from clinragen.inference.export import export
from clinragen.inference.predict import TrainedModel, batches, score
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.linear_probes import PROBES
from clinragen.model.similar_cases import NULL, SimilarCases
from clinragen.model.task_heads import save_head, with_head
from clinragen.stages import similar_cases
from clinragen.stages.config import resolve, shaping
from clinragen.stages.similar_cases import fit_similar_cases

LABELS = 3


@dataclass
class Group:
    """Stays of a made-up hospital: patients come in clusters, and a label goes with clusters in no linear way."""

    series: np.ndarray
    labels: np.ndarray
    rest: np.ndarray
    patients: np.ndarray
    eligible: np.ndarray = field(init=False)
    observed: np.ndarray = field(init=False)

    def __post_init__(self):
        self.eligible = np.ones_like(self.labels)
        self.observed = np.ones((len(self.labels), 1, 1), dtype=bool)

    def __len__(self) -> int:
        return len(self.labels)


def groups(*, informative: bool = True) -> dict[str, Group]:
    """Training and validation stays; without ``informative``, labels have nothing to do with where stays are."""
    chance = np.random.default_rng(0)
    centres = 3 * chance.normal(size=(12, 6))
    rates = np.where(chance.random((12, LABELS)) < 0.4, 2.0, -3.0)
    made, first = {}, 0
    for split, count in (("train", 600), ("validation", 300)):
        cluster = chance.integers(0, len(centres), count)
        rest = chance.normal(size=(count, LABELS))
        said = rest + (rates[cluster] if informative else rates[chance.permutation(cluster)])
        labels = chance.random((count, LABELS)) < expit(said)
        where = centres[cluster] + chance.normal(size=(count, 6))
        made[split] = Group(where.astype(np.float32), labels, rest, first + np.arange(count) // 2)
        first += count
    return made


@pytest.fixture
def fit(monkeypatch):
    """``fit(groups)``: what was chosen, and the similar cases, of a model whose other logits are known."""
    monkeypatch.setattr(similar_cases, "features", lambda model, stays, name: stays.series)
    monkeypatch.setattr(similar_cases, "score", lambda model, stays, *_: (stays.rest, stays.labels.astype(float)))

    def run(data: dict[str, Group]) -> tuple[dict[str, float], SimilarCases | None]:
        model: Any = SimpleNamespace(head=SimpleNamespace(similar_cases=None))
        stays: Any = data
        return fit_similar_cases(model, stays, ["series"], 8), model.head.similar_cases

    return run


def test_similar_cases_vote_where_they_know_more_than_the_rest_of_the_model(fit):
    chosen, cases = fit(groups())
    assert chosen["similar_series_gain"] > 0.3
    assert cases.gains[2] == pytest.approx(chosen["similar_series_gain"], abs=1e-3)
    assert cases.gains[1] == 0


def test_shuffled_labels_and_random_neighbours_gain_nothing_and_no_stay_is_held(fit, monkeypatch):
    nothing = ({"similar_series_gain": 0.0}, None)
    assert fit(groups(informative=False)) == nothing
    data = groups()
    order = np.random.default_rng(1).permutation(len(data["train"]))
    assert fit({**data, "train": replace(data["train"], labels=data["train"].labels[order])}) == nothing
    chance = torch.Generator().manual_seed(0)
    monkeypatch.setattr(
        SimilarCases,
        "similarities",
        lambda cases, name, vectors, hashes: torch.rand(len(vectors), 600, generator=chance),
    )
    assert fit(data) == nothing


def test_what_a_patient_had_never_votes_on_that_patient(fit):
    """Validation stays are planted in training, with labels turned over: same patient, no trace; another's, a vote."""
    data = groups()
    train, validation = data["train"], data["validation"]
    said = {}
    for others in (0, 10_000):
        planted = Group(
            np.concatenate([train.series, validation.series]),
            np.concatenate([train.labels, ~validation.labels]),
            np.concatenate([train.rest, validation.rest]),
            np.concatenate([train.patients, validation.patients + others]),
        )
        _, cases = fit({"train": planted, "validation": validation})
        similar = cases.similarities("series", cases.series_stays[600:], cases.hashed(validation.patients.tolist()))
        own = validation.patients[:, None] == planted.patients
        assert np.array_equal(similar.isinf().numpy(), own)
        nearest = similar.argmax(dim=1).numpy()
        assert bool((nearest == 600 + np.arange(300)).all()) == bool(others)
        said[others] = (cases.votes(similar, 1, 0.15).numpy() > 0) == validation.labels
    assert said[10_000].sum() == 0
    assert said[0].mean() > 0.6


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from([0.05, 0.15, 10.0]))
def test_a_null_label_has_no_vote_and_every_vote_is_finite(seed, nearest, softness):
    chance = np.random.default_rng(seed)
    cases = SimilarCases(12, LABELS, {"series": (4, 2)})
    cases.labels.copy_(torch.from_numpy(chance.integers(-1, 2, (12, LABELS))))
    cases.labels[:, 0] = NULL
    similar = torch.from_numpy(chance.uniform(-1, 1, (3, 12)).astype(np.float32))
    similar[torch.from_numpy(chance.random((3, 12)) < 0.5)] = -torch.inf
    similar[0] = -torch.inf  # nobody may vote
    votes = cases.votes(similar, nearest, softness)
    assert votes.isfinite().all()
    assert votes[:, 0].abs().max() < 1e-5
    assert votes[0].abs().max() < 1e-5
    # a stay that does not count for a label has no say on it, for or against
    pair = SimilarCases(2, 1, {"series": (4, 2)})
    pair.labels.copy_(torch.tensor([[1], [NULL]]))
    alike = torch.tensor([[0.5, 0.5], [0.5, -torch.inf]])
    both, alone = pair.votes(alike, nearest + 1, softness)[:, 0].tolist()
    assert both == pytest.approx(alone)
    assert both > 0


def voting(run: Path, cohort: Cohort) -> TrainedModel:
    """A trained model to which similar cases are added, as a stage adds them, with gains that are given."""
    trained = TrainedModel.load(run)
    model, inputs = trained.model, trained.manifest.inputs
    train = trained.dataset(cohort, "train")
    spaces = {name: similar_cases._Space.fit(similar_cases._Read.of(model, train, name)) for name in inputs}
    cases = similar_cases._cases({name: space for name, space in spaces.items() if space is not None}, train)
    cases.gains.copy_(torch.tensor([0.9, 0.7, 0.4]))
    cases.nearest[:], cases.softness[:] = 10, 0.15
    model.head.similar_cases = cases
    return trained


@pytest.fixture
def trained(runs, hospital) -> TrainedModel:
    return voting(runs.multimodal, Cohort.load(hospital.cohort))


def test_a_saved_model_votes_as_before_and_one_without_votes_says_nothing_of_them(trained, runs, hospital, tmp_path):
    model, inputs = trained.model, trained.manifest.inputs
    data = trained.dataset(Cohort.load(hospital.cohort), "test")
    before, _ = score(model, data, inputs)
    model.save_pretrained(tmp_path / "with")
    again, _ = score(ClinRaGen.from_pretrained(tmp_path / "with"), data, inputs)
    assert np.array_equal(before, again)
    asked = model.instructed("Which diagnoses?")
    save_head(asked, tmp_path / "task")
    of_task = with_head(ClinRaGen.from_pretrained(runs.multimodal / "model"), tmp_path / "task")
    assert np.array_equal(score(asked, data, inputs)[0], score(of_task, data, inputs)[0])
    plain = TrainedModel.load(runs.multimodal)
    assert not np.allclose(score(plain.model, data, inputs)[0], before, atol=0.01)
    plain.model.save_pretrained(tmp_path / "without")
    assert "similar_cases" not in (tmp_path / "without" / "clinragen.json").read_text()
    described = json.loads((tmp_path / "with" / "clinragen.json").read_text())
    described["config"]["similar_cases"]["axes"]["note"] = ["?", 1]
    (tmp_path / "with" / "clinragen.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="describes no model"):
        ClinRaGen.from_pretrained(tmp_path / "with")


def test_no_text_and_no_id_is_in_a_model_that_votes(trained, tmp_path):
    model = trained.model
    held = {name: tensor for name, tensor in model.weights().items() if name.startswith("head.similar_cases.")}
    assert {tensor.dtype for tensor in held.values()} == {torch.float32, torch.int8, torch.int64, torch.uint8}
    patients = Cohort.load(trained.manifest.cohort).stays["subject_id"].to_list()
    assert not set(held["head.similar_cases.patients"].tolist()) & set(patients)


def test_test_labels_and_rows_of_the_future_change_no_byte(trained, hospital):
    """Nor do they change a vote on a test stay."""
    cohort, changed = Cohort.load(hospital.cohort), Cohort.load(hospital.cohort)
    is_test = pl.col("stay_id").is_in(cohort.stays.filter(pl.col("split") == "test")["stay_id"].implode())
    names = [name for name in cohort.labels.columns if name != "stay_id"]
    turned = [pl.when(is_test).then(~pl.col(name)).otherwise(pl.col(name)).alias(name) for name in names]
    changed.__dict__["labels"] = cohort.labels.with_columns(turned)
    later = cohort.series.with_columns(hour=pl.col("hour") + 1000, value=pl.col("value") * 2)
    changed.__dict__["series"] = pl.concat([cohort.series, later]).sort("stay_id", "hour", "variable")
    other = voting(trained.folder, changed)
    mine, theirs = trained.model.head.state_dict(), other.model.head.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    read = [trained.dataset(cohort, "test"), other.dataset(changed, "test")]
    assert not np.array_equal(read[0].labels, read[1].labels)
    inputs = trained.manifest.inputs
    assert np.array_equal(score(trained.model, read[0], inputs)[0], score(other.model, read[1], inputs)[0])


def test_a_logit_is_the_rest_of_the_model_plus_similar_cases_and_they_are_a_piece_of_their_own(trained, hospital, runs):
    model, inputs = trained.model.eval(), trained.manifest.inputs
    data = trained.dataset(Cohort.load(hospital.cohort), "test")
    rows, batch = next(iter(batches(model, data, 4)))
    with torch.inference_mode():
        output = model(batch, inputs, targets=False, explain=True)
        rest = model.head(output.note, output.series)
    assert output.votes.abs().max() > 0.01
    assert torch.allclose(output.logits, rest + output.votes, atol=1e-5)
    evidence = [StayEvidence(data, row, inputs) for row in rows]
    shown = contributions(model, batch, output, evidence)
    gain = float(model.head.similar_cases.gains[0])
    plain = TrainedModel.load(runs.multimodal).model
    with torch.inference_mode():
        plain_output = plain(batch, inputs, targets=False, explain=True)
    for position, (mine, theirs) in enumerate(
        zip(shown, contributions(plain, batch, plain_output, evidence), strict=True)
    ):
        assert mine.falls[SIMILAR_CASES] == pytest.approx(output.votes[position].numpy())
        assert set(mine.falls) - set(theirs.falls) == {SIMILAR_CASES}
        for piece, fall in theirs.falls.items():
            assert mine.falls[piece] == pytest.approx(gain * fall, abs=1e-3)
    explained = Explainer(trained, data).explain(rows[0])["diagnoses"]
    column = list(model.labels).index(explained[0]["diagnosis"])
    assert explained[0]["similar_cases"] == pytest.approx(float(output.votes[0, column]), abs=1e-3)
    part = next(iter(occlusion.variables(model, data[rows[0]])))
    falls = [occlusion.falls(one, data[rows[0]], [part], inputs) for one in (model, plain)]
    assert falls[0] == pytest.approx(gain * falls[1], abs=1e-3)


def test_an_export_refuses_to_give_stays_away(trained, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainedModel, "load", classmethod(lambda cls, run: trained))
    with pytest.raises(UserError, match="data of patients"):
        export(runs.multimodal, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stage_without_the_setting_is_as_it_was_and_one_that_fits_no_head_refuses_it():
    plain, asked = (resolve("notes", "tiny", "evidence", settings) for settings in ([], ["stage.similar_cases=true"]))
    assert "similar_cases" not in shaping(plain)["stage"]
    assert shaping(asked)["stage"]["similar_cases"] is True
    with pytest.raises(UserError, match="similar_cases"):
        resolve("refine", "tiny", "evidence", ["stage.similar_cases=true"])


def test_the_paths_of_the_vote_are_those_of_the_probes():
    assert SimilarCases(1, 1, {"series": (2, 1), "note": (3, 1)}).modalities == list(PROBES)
