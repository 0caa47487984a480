"""The network of many sites: a round is the loop of training, and a whole federation ends in a run that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file
from scipy.optimize import minimize
from scipy.special import expit, logit

from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import collate
from clinragen.errors import UserError
from clinragen.federation.aggregation import Rule, aggregate
from clinragen.federation.coordinator import final_model
from clinragen.federation.features import SiteRows, stays_of
from clinragen.federation.fusion import Fusion
from clinragen.federation.manifest import FederationSettings
from clinragen.federation.network import PREFIX, NetworkWork
from clinragen.federation.simulation import simulate
from clinragen.federation.update import Tensors, Update, apply, change
from clinragen.inference.predict import TrainedModel, score
from clinragen.stages.run_dir import Request
from clinragen.stages.training import Training, train
from tests.conftest import MICRO_MODEL, call

LINEAR = {"terms": 128, "buckets": 4096, "pairs": 1, "smallest_cell": 5, "fusion_rounds": 3, "threshold_rounds": 1}
EXACT = ["stage.precision=32-true"]


def settings(**changes: Any) -> dict[str, Any]:
    """Of a work so small that a round takes a second."""
    small = {"linear": {**LINEAR, "least_sites": 1}, "model": str(MICRO_MODEL), "stages": {"multimodal": 2}}
    return {**small, "overrides": EXACT} | changes


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def work() -> NetworkWork:
    return NetworkWork(settings())


@pytest.fixture(scope="module")
def counted(work: NetworkWork, cohort: Cohort) -> Tensors:
    """The model of a single site before training."""
    tensors = work.start()
    for phase in ("count", "spread", "scale"):
        tensors = work.advance(tensors, work.statistics(cohort, tensors, phase), phase)
    return tensors


def first_of(work: NetworkWork, stage: str) -> int:
    """The first round of a stage."""
    phases = list(work.phases())
    return 1 + sum(phase.rounds for phase in phases[: [phase.name for phase in phases].index(stage)])


def test_a_round_of_one_site_is_the_loop_of_training_to_the_bit(
    work: NetworkWork, counted: Tensors, cohort: Cohort, tmp_path: Path
) -> None:
    number = first_of(work, "multimodal")
    trained, stays = work.train(cohort, counted, number)
    sent = Update("ed25519:site", change(counted, trained), stays)
    federated = apply(counted, aggregate([sent], Rule("mean")).tensors)

    config, model = work.config("multimodal"), work.model(counted)
    objective, pad = work.prepared(model, config, 1.0, number), model.tokenizer.pad_token_id
    data = {split: work.data(cohort, counted, split, config) for split in ("train", "validation")}
    training = Training(objective, data, lambda rows: collate(rows, pad), 32, "plain", "plain")
    assert train(Request("multimodal", cohort.paths.root, tmp_path / "run"), config, training, Console(quiet=True))
    plain = {PREFIX + name: weight.detach().numpy() for name, weight in model.named_parameters()}
    assert trained.keys() <= plain.keys()
    assert all(federated[name].tobytes() == plain[name].tobytes() for name in trained)
    assert any(federated[name].tobytes() != counted[name].tobytes() for name in trained), "nothing was trained"


def test_a_killed_site_trains_the_same_bytes_again_whatever_it_did_between(
    work: NetworkWork, counted: Tensors, cohort: Cohort
) -> None:
    number = first_of(work, "multimodal")
    first, _ = work.train(cohort, counted, number)
    after = {**counted, **first}
    other, _ = work.train(cohort, after, number + 1)
    again, _ = NetworkWork(settings()).train(cohort, counted, number)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any(first[name].tobytes() != other[name].tobytes() for name in first)
    repeated, _ = work.train(cohort, counted, number)
    assert all(first[name].tobytes() == repeated[name].tobytes() for name in first)


def test_a_site_without_validation_stays_or_rationales_trains_and_adds_nothing_to_gains(
    work: NetworkWork, counted: Tensors, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = cohort.of_stays(stays_of(cohort, "train")[:12])
    monkeypatch.delattr(Cohort, "rationales")
    trained, stays = work.train(site, counted, first_of(work, "multimodal"))
    assert stays == 12
    assert set(trained) == set(work.phases()[-3].tensors)
    assert not work.statistics(site, counted, "fuse")["bend"].values.any()


def test_frozen_parts_of_a_stage_do_not_leave_a_site(cohort: Cohort, counted: Tensors) -> None:
    work = NetworkWork(settings(stages={"series": 1, "notes": 1}, targets=["note", "series", "diagnoses"]))
    listed = {phase.name: set(phase.tensors) for phase in work.phases()}
    language = {name for name in listed["notes"] if name.startswith(f"{PREFIX}language_model.")}
    assert work.stages == ["notes", "series"]
    assert language
    assert listed["series"] == listed["notes"] - language
    trained, _ = work.train(cohort, counted, first_of(work, "series"))
    assert set(trained) == listed["series"]


def test_the_tokenizer_is_of_shared_terms_and_has_the_shape_that_the_manifest_fixes(
    work: NetworkWork, counted: Tensors
) -> None:
    config, terms = work.config("multimodal"), work.linear.terms(counted).values()
    before, after = (work.tokenizer(tensors, config) for tensors in (work.start(), counted))
    assert len(before) == len(after) == 600
    assert terms

    def tokens(tokenizer: Any) -> int:
        return sum(len(tokenizer(f" {term}")["input_ids"]) for term in terms)

    assert tokens(after) < tokens(before)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stages": {"pretrain": 1}}, "stage of a federation"),
        ({"stages": {}}, "names no stage"),
        ({"stages": {"notes": 0}}, "at least 1 round"),
        ({"passes": 0}, "settings.passes"),
        ({"rate": float("nan")}, "settings.rate"),
    ],
)
def test_settings_that_cannot_be_used_are_told_at_once(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        NetworkWork(settings(**changes))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stage.class_weights=sqrt", "class_weights cannot be federated"),
        ("stage.similar_cases=true", "similar_cases cannot be federated"),
        ("model.head.linear_probes=false", "linear_probes must be true"),
    ],
)
def test_what_needs_all_rows_in_one_place_is_refused(override: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        NetworkWork(settings(overrides=[override])).phases()


@pytest.mark.parametrize("worth", [1.0, -1.0])
def test_gains_are_the_best_that_are_not_negative_from_sums_of_sites(worth: float) -> None:
    draw = np.random.default_rng(0)
    truth, stays = draw.normal(size=(2, 240, 3)), np.arange(240)
    network = worth * truth[0] + draw.normal(size=truth[0].shape)
    labels = draw.random(truth[0].shape) < expit(truth.sum(0) - 0.5)
    scores = np.stack([network, truth[1], truth[1] + draw.normal(size=truth[0].shape)])
    fusion = Fusion((0.0, 1.0, 1.0), 3, 12, 1)
    tensors = {**fusion.start(), "rates": labels.mean(0)}
    sites = [(stays < 60), (stays >= 60)]
    for _ in range(fusion.rounds):
        sums = [
            fusion.statistics(
                scores[:, site], SiteRows({}, labels[site], np.ones_like(labels[site]), stays[site]), tensors, "fuse"
            )
            for site in sites
        ]
        totals = {name: np.sum([one[name].values for one in sums], axis=0) for name in sums[0]}
        tensors |= fusion.advance(tensors, totals, "fuse")

    def objective(values: np.ndarray) -> float:
        logits = np.tensordot(values[:3], scores, axes=1) + values[3:]
        prior = np.concatenate([fusion.prior, logit(tensors["rates"])])
        pull = (np.square(values - prior) * [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]).sum() / 2
        return float((np.logaddexp(0, logits) - labels * logits).sum() + pull)

    bounds = [(0, None)] * 3 + [(None, None)] * 3
    best = minimize(objective, fusion.start()["fusion"], bounds=bounds).x
    np.testing.assert_allclose(tensors["fusion"], best, atol=0.01)
    assert (best[0] > 0.1) == (worth > 0)


def test_a_federation_of_the_command_ends_in_a_run_that_predicts(hospital, cohort: Cohort, tmp_path: Path) -> None:
    chosen = settings(linear=LINEAR, targets=["note", "series", "diagnoses"])
    policy = tmp_path / "policy.yaml"
    policy.write_text('smallest_cell: 5\nlargest_norm: 1.0e9\nmay_leave: ["*"]\nprivacy: null\n')
    done = simulate(
        cohort, tmp_path / "out", FederationSettings("network", chosen, least_count=1), by="sex", policy=policy
    )
    assert not done.refusals
    work, tensors = NetworkWork(chosen), load_file(final_model(done.coordinator))
    start = work.start()
    assert (tensors[f"{PREFIX}head.out_weight"] != start[f"{PREFIX}head.out_weight"]).any()
    tensors["fusion"][0] = max(tensors["fusion"][0], 0.25)  # of so few stays the network may add nothing

    run, predictions = tmp_path / "run", tmp_path / "predictions"
    assert call("clinragen", "federate", "finish", "--federation", done.coordinator.root, "--out", run) == 0
    opened = TrainedModel.load(run)
    assert opened.manifest.fusion is not None
    opened.model.head.linear_probes.gains[0] = tensors["fusion"][0]
    logits, _ = score(opened.model, opened.dataset(cohort, "validation"), opened.manifest.inputs)
    rows = work.linear.rows(cohort, tensors, "validation")
    parts = np.concatenate([work.network_logits(cohort, tensors)[None], work.linear.scores(rows, tensors)])
    expected = expit(work.fusion.logits(parts, tensors))
    np.testing.assert_allclose(opened.calibration.probabilities(logits), expected, atol=2e-3)

    assert call("clinragen", "predict", "--model", run, "--cohort", hospital.cohort, "--out", predictions) == 0
    evaluate = ("clinragen", "evaluate", "--predictions", predictions, "--cohort", hospital.cohort)
    assert call(*evaluate, "--out", tmp_path / "evaluation") == 0
