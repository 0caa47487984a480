"""Explanations: a planted cause is found, removing nothing changes nothing, and the command prints a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clinragen.attribution import occlusion
from clinragen.attribution.attention import attention_shares
from clinragen.attribution.explain import Explainer, explain_cohort
from clinragen.data.evidence_pieces import StayEvidence, without_cells
from clinragen.errors import UserError
from clinragen.inference.predict import TrainedModel


@pytest.fixture(scope="module")
def dataset(trained, cohort):
    return trained.dataset(cohort, "test")


@pytest.fixture
def planted(runs) -> TrainedModel:
    """A model in which only the knowledge prior speaks, and more evidence means a higher logit."""
    trained = TrainedModel.load(runs.multimodal)
    with torch.no_grad():
        for parameter in trained.model.head.parameters():
            parameter.zero_()
        trained.model.head.linear_probes.reset()
        trained.model.head.knowledge_prior.relation_gain.fill_(1.0)
        trained.model.head.knowledge_prior.direct[:, [0, 2, 3]] = 1.0  # affirmed, farthest value, share of hours
    return trained


def truly(model, label: str) -> set[str]:
    return {node for node in model.graph.nodes if model.graph.paths(node, f"phenotype:{label}", 2)} | {
        f"phenotype:{label}"
    }


def test_only_what_the_graph_ties_to_a_diagnosis_carries_it_where_only_the_graph_speaks(planted, dataset, cohort):
    explainer = Explainer(planted, dataset)
    seen = set()
    for index in range(6):
        for row in explainer.explain(index, ["septicemia", "coronary_atherosclerosis"])["diagnoses"]:
            causes = truly(planted.model, row["diagnosis"])
            concepts = [entry["concept"] for entry in row["occlusion"]["concepts"]]
            assert set(concepts) <= causes
            seen |= {entry["in"] for entry in row["occlusion"]["concepts"]}
            for entry in [*row["occlusion"]["variables"], *row["occlusion"]["hours"]]:
                assert {f"finding:{entry['variable']}:{side}" for side in ("high", "low")} & causes
    assert seen == {"note", "series"}


def test_taking_nothing_away_changes_nothing(trained, dataset):
    stay = dataset[0]
    same = without_cells(stay, np.zeros_like(stay.observed))
    part = occlusion.Part("hours", "none", same)
    assert np.abs(occlusion.falls(trained.model, stay, [part], ["note", "series"])).max() < 1e-5


def test_parts_are_taken_away_whole_and_nothing_else_is(trained, dataset, cohort):
    model, stay = trained.model, dataset[1]
    parts = list(occlusion.hours(model, stay, model.statistics.variables))
    assert sum(part.values for part in parts) == stay.observed.sum()
    for part in [*parts, *occlusion.variables(model, stay), *occlusion.findings(model, stay)]:
        gone = stay.observed & ~part.without.observed
        assert gone.sum() == part.values > 0
        assert (gone.any(1).nonzero()[0].size) == 1
        kept = part.without.observed
        assert np.array_equal(part.without.values[kept], stay.values[kept])
        assert not part.without.values[~kept].any()
        assert part.without.note_ids == stay.note_ids
    named = {model.concepts.ids[i] for i in stay.mentions.any(0).nonzero()[0]}
    mentions = list(occlusion.mentions(StayEvidence(dataset, 1, ["note"])))
    assert {part.name for part in mentions} == named
    for part in mentions:
        assert not part.without.mentions[:, model.concepts.ids.index(part.name)].any()
        assert np.array_equal(part.without.observed, stay.observed)


def test_attention_is_shared_out_whole_and_only_over_what_was_measured(trained, dataset):
    stay = dataset[2]
    keys, cells = attention_shares(trained.model, stay, ["note", "series"])
    np.testing.assert_allclose(keys.sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(cells.sum((1, 2)), 1, atol=1e-4)
    width = trained.model.series_encoder.patch_hours
    measured = stay.observed.reshape(len(stay.observed), -1, width).any(-1)
    assert not cells[:, ~measured].any()


def test_explanations_do_not_depend_on_the_company(trained, cohort):
    ids = cohort.split("test")[:3].tolist()
    together = list(explain_cohort(trained, cohort, "test", ids))
    assert [row["stay_id"] for row in together] == ids
    assert list(explain_cohort(trained, cohort, "test", ids[1:2])) == together[1:2]


@pytest.mark.parametrize("inputs", [["note"], ["series"]])
def test_models_of_one_modality_are_explained_by_what_they_read(runs, cohort, inputs):
    run = {"note": runs.notes, "series": runs.series}[inputs[0]]
    (found,) = explain_cohort(TrainedModel.load(run), cohort, "test", limit=1)
    for row in found["diagnoses"]:
        assert {entry["in"] for entry in row["occlusion"]["concepts"]} <= set(inputs)
        assert bool(row["occlusion"]["variables"]) <= (inputs == ["series"])
        assert bool(row["attention"]["hours"]) == (inputs == ["series"])


def test_the_command_prints_a_table_and_writes_json(command, runs, hospital, cohort, tmp_path, capsys):
    stay, out = int(cohort.split("test")[0]), tmp_path / "explained.jsonl"
    options = ("--model", runs.multimodal, "--cohort", hospital.cohort, "--stay", stay)
    assert command("clinragen", "explain", *options, "--diagnosis", "shock", "--out", out) == 0
    assert "shock" in capsys.readouterr().out
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["diagnoses"][0]["diagnosis"] == "shock"
    before = out.read_bytes()
    assert command("clinragen", "explain", *options, "--diagnosis", "Shock", "--out", out, "--overwrite") == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stay", 1), "stay 1 is not in"),
        (("--stay", "{stay}", "--diagnosis", "gout"), "gout"),
        ((), "--stay"),
        (("--limit", 0, "--out", "x"), "at least 1"),
    ],
)
def test_mistakes_are_told_in_one_line(command, runs, hospital, cohort, capsys, arguments, words):
    stay = cohort.split("test")[0]
    given = [str(argument).format(stay=stay) for argument in arguments]
    assert command("clinragen", "explain", "--model", runs.multimodal, "--cohort", hospital.cohort, *given) == 2
    assert words in capsys.readouterr().err


def test_a_stay_is_explained_only_for_known_diagnoses(trained, dataset, cohort):
    with pytest.raises(UserError, match="gout"):
        Explainer(trained, dataset).explain(0, ["gout"])


def test_predictions_carry_their_explanations(command, runs, hospital, tmp_path):
    out = tmp_path / "predicted"
    options = ("--model", runs.multimodal, "--cohort", hospital.cohort, "--out", out, "--limit", 2, "--explain")
    assert command("clinragen", "predict", *options) == 0
    lines = [json.loads(line) for line in Path(out / "attributions.jsonl").read_text().splitlines()]
    predicted = [json.loads(line) for line in Path(out / "predictions.jsonl").read_text().splitlines()]
    assert [row["stay_id"] for row in lines] == [row["stay_id"] for row in predicted]
    for explained, row in zip(lines, predicted, strict=True):
        for diagnosis in explained["diagnoses"]:
            assert diagnosis["probability"] == pytest.approx(row["probabilities"][diagnosis["diagnosis"]], abs=1e-4)
