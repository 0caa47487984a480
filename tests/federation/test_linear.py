"""The linear probes of many sites: the optimum is that of pooled rows, and a whole federation ends in a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from clinragen.cohort.folder import Cohort
from clinragen.federation.coordinator import final_model
from clinragen.federation.linear import LinearProbesWork
from clinragen.federation.manifest import FederationSettings
from clinragen.federation.probe import SiteProbe, largest_curvature
from clinragen.federation.simulation import simulate
from clinragen.inference.predict import TrainedModel, score
from clinragen.stages.logistic import ElasticNet, Features, fit_elastic_net
from tests.conftest import call

NET = ElasticNet(0.3, 0.67)
SIZES = (20, 60, 160)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of stays of three sites that differ in both."""
    draw = np.random.default_rng(0)
    features = np.concatenate(
        [draw.normal(shift, 1, (size, 12)) for shift, size in zip((-1, 0, 0.5), SIZES, strict=True)]
    )
    truth = draw.normal(0, 1, (12, 3)) * (draw.random((12, 3)) < 0.5)
    labels = draw.random((len(features), 3)) < expit(features @ truth - 1)
    return features.astype(np.float32), labels


def probes_of(features: np.ndarray, labels: np.ndarray, penalty: float, sizes: tuple[int, ...]) -> list[SiteProbe]:
    mean, rates = features.mean(0), labels.mean(0)
    parts = zip(np.split(features, np.cumsum(sizes)[:-1]), np.split(labels, np.cumsum(sizes)[:-1]), strict=True)
    return [
        SiteProbe(
            part, gold, np.ones_like(gold), mean, NET, penalty / len(features), largest_curvature(features), rates
        )
        for part, gold in parts
    ]


def trained(sites: list[SiteProbe], pairs: int) -> np.ndarray:
    """The weights after so many pairs of rounds, by the plain mean."""
    shares = np.array([len(site.labels) for site in sites]) / sum(len(site.labels) for site in sites)
    weights = np.zeros((sites[0].mean.size + 1, sites[0].labels.shape[1]), np.float32)
    for _ in range(pairs):
        gradient = sum(share * site.gradient(weights) for share, site in zip(shares, sites, strict=True))
        steps = [site.steps(weights, np.asarray(gradient), 10) for site in sites]
        weights = np.asarray(sum(share * step for share, step in zip(shares, steps, strict=True)), np.float32)
    return weights


def test_sites_that_differ_reach_the_elastic_net_of_the_pooled_rows(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    together = trained(probes_of(features, labels, 3.0, SIZES), 60)
    central = fit_elastic_net(Features(features), labels, 3.0, NET)
    alone = fit_elastic_net(Features(features[: SIZES[0]]), labels[: SIZES[0]], 3.0, NET)

    def objective(weights: np.ndarray) -> float:
        scores = features @ weights[:-1] + weights[-1]
        penalty = NET.ridge / 2 * np.square(weights[:-1]).sum() + NET.lasso * np.abs(weights[:-1]).sum()
        return float((np.logaddexp(0, scores) - labels * scores).sum() + 3.0 * penalty)

    together[-1] -= features.mean(0) @ together[:-1]
    assert objective(together) < objective(central) + 0.05
    assert objective(alone) > objective(central) + 5, "the test could not fail: a site alone is as good"


def test_one_site_is_training_on_all_rows(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    np.testing.assert_allclose(
        trained(probes_of(features, labels, 3.0, (len(labels),)), 30),
        trained(probes_of(features, labels, 3.0, SIZES), 60),
        atol=0.02,
    )


@pytest.mark.parametrize("sparse", [False, True])
def test_a_private_gradient_is_the_sum_of_clipped_gradients_of_stays(
    rows: tuple[np.ndarray, np.ndarray], sparse: bool
) -> None:
    features, labels = rows[0][:30], rows[1][:30]
    weights = np.random.default_rng(1).normal(size=(13, 3)).astype(np.float32)
    site = probes_of(features, labels, 1.0, (30,))[0]
    one_by_one = [
        SiteProbe(features[[row]], labels[[row]], np.ones((1, 3), bool), site.mean, NET, 0.1, 1.0, site.rates)
        for row in range(30)
    ]
    gradients = np.stack([one.gradient(weights) for one in one_by_one]).astype(float)
    lengths = np.sqrt(np.square(gradients).sum((1, 2)))
    longest = float(np.median(lengths))
    clipped = (gradients * np.minimum(1, longest / lengths)[:, None, None]).sum(0)
    matrix = csr_matrix(features) if sparse else features
    whole = SiteProbe(matrix, labels, site.eligible, site.mean, NET, 0.1, 1.0, site.rates)
    np.testing.assert_allclose(whole.private_gradient(weights, longest), clipped, atol=1e-4)


def test_a_federation_of_the_command_trains_probes_that_rank_stays(hospital, tmp_path: Path) -> None:
    cohort = Cohort.load(hospital.cohort)
    small = {"terms": 256, "buckets": 4096, "pairs": 3, "smallest_cell": 5}
    policy = tmp_path / "policy.yaml"
    policy.write_text('smallest_cell: 5\nlargest_norm: 1.0e9\nmay_leave: ["*"]\nprivacy: null\n')
    done = simulate(
        cohort, tmp_path / "out", FederationSettings("linear", small, least_count=1), by="sex", policy=policy
    )
    assert not done.refusals
    work, tensors = LinearProbesWork(small), load_file(final_model(done.coordinator))
    assert work.terms(tensors), "both sites have common terms"
    test = work.rows(cohort, tensors, "test")
    gold, logits = test.labels, work.logits(test, tensors)
    many = [label for label in range(gold.shape[1]) if 1 < gold[:, label].sum() < len(gold) - 1]
    assert np.mean([roc_auc_score(gold[:, label], logits[:, label]) for label in many]) > 0.7
    assert 0.02 <= tensors["threshold"][0] <= 0.5
    run, predictions = tmp_path / "run", tmp_path / "predictions"
    public = tmp_path / "public"  # what every party has
    shutil.copytree(done.coordinator.outbox, public)
    shutil.copy(done.coordinator.root / "federation.json", public)
    assert call("clinragen", "federate", "finish", "--federation", public, "--out", run) == 0
    last = max(public.glob("round-*.safetensors"))
    last.write_bytes(last.read_bytes()[:-1] + b"\1")
    assert call("clinragen", "federate", "finish", "--federation", public, "--out", tmp_path / "altered") == 2
    last.with_suffix(".note").unlink()
    assert call("clinragen", "federate", "finish", "--federation", public, "--out", tmp_path / "early") == 2
    assert not (tmp_path / "altered").exists()
    trained_model = TrainedModel.load(run)
    dataset = trained_model.dataset(cohort, "test")
    scores, _ = score(trained_model.model, dataset, trained_model.manifest.inputs)
    probabilities = trained_model.calibration.probabilities(scores)
    np.testing.assert_allclose(probabilities, expit(logits), atol=2e-3)
    assert call("clinragen", "predict", "--model", run, "--cohort", hospital.cohort, "--out", predictions) == 0
