"""The linear probes: fitted to the optimum, a useless one gets gain zero, and the model gives the same."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from rich.console import Console
from scipy.sparse import csr_matrix
from scipy.special import expit

from clinragen.cohort.folder import Cohort
from clinragen.inference.calibrate import Calibration
from clinragen.inference.predict import TrainedModel, batches, score
from clinragen.stages.calibration import calibrated
from clinragen.stages.config import resolve, shaping
from clinragen.stages.ensemble import _Fit, features, fit_linear_probes, fuse, net_of, refit_linear_probes
from clinragen.stages.logistic import ElasticNet, Features, fit_elastic_net, fit_logistic


def draw(seed: int, stays: int = 400, width: int = 6, labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    read = chance.normal(size=(stays, width))
    truth = chance.normal(size=(width, labels))
    return read, (chance.random((stays, labels)) < expit(read @ truth - 1)).astype(float)


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_the_fit_is_at_the_optimum(penalty):
    read, labels = draw(0)
    found = fit_logistic(Features(read), labels, penalty)
    slope = expit(read @ found[:-1] + found[-1]) - labels
    assert np.abs(read.T @ slope + penalty * found[:-1]).max() < 0.05
    assert np.abs(slope.sum(0)).max() < 0.05
    assert np.allclose(found, fit_logistic(Features(csr_matrix(read)), labels, penalty), atol=1e-3)


def test_a_label_nobody_has_does_no_harm():
    read, labels = draw(1)
    labels[:, 1] = 0
    found = fit_logistic(Features(read), labels, 1.0)
    assert np.isfinite(found).all()
    assert expit(read @ found[:-1, 1] + found[-1, 1]).max() < 0.05


def test_a_probe_of_noise_falls_silent_and_no_gain_is_negative():
    read, labels = draw(2)
    good = read @ fit_logistic(Features(read), labels, 1.0)[:-1]
    noise = np.random.default_rng(3).normal(size=good.shape)
    gains = fuse(np.stack([noise, good]), labels)
    assert gains[1] > 0.5
    assert gains[0] < 0.2
    assert fuse(-good[None], labels) == pytest.approx(0, abs=1e-6)


def test_the_model_adds_what_was_fitted(runs, hospital):
    """Logits of the whole model are the gains times the network's and the linear readings of the same stays."""
    trained = TrainedModel.load(runs.multimodal)
    model, inputs = trained.model, trained.manifest.inputs
    data = trained.dataset(Cohort.load(hospital.cohort), "test")
    probes = model.head.linear_probes
    assert probes is not None
    assert trained.manifest.fusion["note_gain"] == pytest.approx(float(probes.gains[1]), abs=1e-3)
    whole, _ = score(model, data, inputs)
    gains = probes.gains.clone()
    probes.reset()
    network, _ = score(model, data, inputs)
    read = [np.asarray(features(model, data, name) @ getattr(probes, name).numpy()) for name in ("note", "series")]
    expected = np.tensordot(gains.numpy(), np.stack([network, *read]), axes=1)
    assert np.allclose(whole, expected, atol=1e-4)
    with torch.inference_mode():
        rows, batch = next(iter(batches(model, data, 2)))
        assert np.allclose(model(batch, inputs, targets=False).logits.numpy(), network[rows], atol=1e-4)


def test_the_probes_of_a_model_are_those_of_training_and_validation_stays_together(runs, hospital):
    trained = TrainedModel.load(runs.multimodal)
    model = trained.model
    stays = [trained.dataset(Cohort.load(hospital.cohort), split) for split in ("train", "validation")]
    labels = np.concatenate([part.labels for part in stays]).astype(float)
    read = np.vstack([np.asarray(features(model, part, "series")) for part in stays])
    penalty = trained.manifest.fusion["series_penalty"]
    net = net_of(model, "series")
    assert read.shape[1] == net.group * len(model.statistics.variables)
    fitted = fit_elastic_net(Features(read), labels, penalty, net)[:-1]
    alone = fit_elastic_net(Features(read[: len(stays[0])]), labels[: len(stays[0])], penalty, net)[:-1]
    found = model.head.linear_probes.series.numpy()
    assert np.abs(found - fitted).max() < 0.02
    assert np.abs(found - alone).max() > 3 * np.abs(found - fitted).max()


def test_probes_that_learn_of_a_rare_label_from_validation_stays_leave_its_mean_logit(runs, hospital):
    """Its intercept moves by several, but the calibration has seen its validation stays already."""
    trained, cohort = TrainedModel.load(runs.multimodal), Cohort.load(hospital.cohort)
    model, inputs = trained.model, trained.manifest.inputs
    data = {split: trained.dataset(cohort, split) for split in ("train", "validation")}
    data["train"].labels[:, 0] = 0
    data["train"].eligible[::3, 1] = False
    fits = fit_linear_probes(model, data, inputs, 8)
    assert fits is not None

    def means() -> np.ndarray:
        logits = np.concatenate([score(model, part, inputs)[0] for part in data.values()])
        eligible = np.concatenate([part.eligible for part in data.values()])
        return (logits * eligible).sum(0) / eligible.sum(0)

    before = means()
    shift = refit_linear_probes(model, data, fits)
    assert means() + shift == pytest.approx(before, abs=1e-3)


class Years:
    """Stays of given years with two labels: what the feature says of the first turns over in the last years."""

    def __init__(self, seed: int, years: list[float], *, drift: bool):
        chance = np.random.default_rng(seed)
        self.years = np.repeat(years, 150)
        self.read = chance.normal(size=(len(self.years), 4))
        slope = np.where(drift & (self.years >= 2015), -2.0, 2.0)
        logits = np.stack([self.read[:, 0] * slope, 2 * self.read[:, 1]], axis=1)
        self.labels = chance.random(logits.shape) < expit(logits)
        self.eligible = np.ones_like(self.labels)


@pytest.mark.parametrize("drift", [True, False])
def test_only_the_stays_of_a_label_that_drifts_weigh_by_age(drift):
    data = {
        "train": Years(0, [2009.0, 2012.0, 2015.0], drift=drift),
        "validation": Years(1, [2009.0, 2015.0], drift=drift),
    }
    matrices = {split: stays.read for split, stays in data.items()}
    fit = _Fit("note", ElasticNet(0.3, 0.67), matrices, data, lambda fit, count: None)
    alike, penalty = fit.choose()
    ages = {split: 2015 - stays.years for split, stays in data.items()}
    weights, strengths = fit.weigh(alike, penalty, ages)
    assert (strengths > 0).tolist() == [drift, False]
    assert np.array_equal(weights[:, 1], alike[:, 1])
    assert (weights[0, 0] < 0 < alike[0, 0]) == drift


def test_stays_weigh_by_age_only_when_asked_and_where_years_are_known(runs, hospital):
    trained, cohort = TrainedModel.load(runs.multimodal), Cohort.load(hospital.cohort)
    model, inputs = trained.model, trained.manifest.inputs
    data = {split: trained.dataset(cohort, split) for split in ("train", "validation")}
    alike = fit_linear_probes(model, data, inputs, 8)
    weighed = fit_linear_probes(model, data, inputs, 8, weigh=True)
    assert not [name for name in alike.described() if "freshness" in name]
    assert {"note_freshness", "series_freshness"} <= set(weighed.described())
    weighed.strengths["note"] = np.full(data["train"].labels.shape[1], 4.0)
    refit_linear_probes(model, data, alike)
    before = model.head.linear_probes.note.clone()
    refit_linear_probes(model, data, weighed)
    assert not torch.allclose(model.head.linear_probes.note, before, atol=0.01)
    cohort.__dict__["sites"] = cohort.sites.with_columns(period=pl.lit(None, dtype=pl.String))
    assert not fit_linear_probes(model, data, inputs, 8, weigh=True).strengths


def test_a_stage_that_leaves_them_out_is_its_network_alone_and_those_before_it_count_for_nothing(runs, hospital):
    """So that a stage that only another continues need not fit what is fitted anew in the next."""
    cohort = Cohort.load(hospital.cohort)
    trained = TrainedModel.load(runs.multimodal)
    data = {split: trained.dataset(cohort, split) for split in ("train", "validation")}
    trained.model.head.reset()
    network, _ = score(trained.model, data["validation"], trained.manifest.inputs)
    plain, without = (
        resolve("multimodal", "tiny", "evidence", settings) for settings in ([], ["stage.linear_probes=false"])
    )
    _, fitted = calibrated(trained.model, data, without.stage, Console(quiet=True))
    assert fitted == {}
    assert score(trained.model, data["validation"], trained.manifest.inputs)[0].tobytes() == network.tobytes()
    assert "linear_probes" not in shaping(plain)["stage"]
    assert shaping(without)["stage"]["linear_probes"] is False


def test_a_calibration_follows_a_shift_of_the_logits():
    calibration = Calibration(["a", "b"], 0.7, [-1.0, 0.5], [0.3, 0.4])
    logits, shift = np.random.default_rng(0).normal(size=(5, 2)), np.array([2.0, -1.0])
    moved = calibration.moved(shift).probabilities(logits - shift)
    assert np.allclose(moved, calibration.probabilities(logits))
