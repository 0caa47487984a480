"""Captions: what a stay's chart shows, in statements that its rationale could make, cut only between statements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clinragen.chart.captions import caption
from clinragen.chart.measurements import cells_by_stay, measurements
from clinragen.cohort.folder import Cohort
from clinragen.data.evidence_pieces import without_cells
from clinragen.inference.predict import TrainedModel
from clinragen.knowledge.graph import build
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier


@pytest.fixture(scope="module")
def dataset(runs, hospital):
    trained = TrainedModel.load(runs.multimodal)
    return replace(trained.dataset(Cohort.load(hospital.cohort), "train"), max_caption_tokens=120)


def test_every_statement_is_true_to_the_chart(dataset, hospital):
    graph, cells = build(), cells_by_stay(Cohort.load(hospital.cohort).series)
    verifier, shown, claims = Verifier(graph), dataset.findings(), 0
    for stay in dataset.stay_ids.tolist():
        for text in caption(shown.get(stay), graph):
            chart = measurements(cells.get(stay, {}))
            found = verifier.check(f"Lab test shows {text}.", "series", [], chart, [])
            assert {claim.verdict for claim in found} <= {Verdict.SUPPORTED}, (stay, text)
            claims += len(found)
    assert claims > 3 * len(dataset)


def test_whole_statements_that_fit_the_most_important_first(dataset):
    graph, shown = build(), dataset.findings()
    for index, stay in enumerate(dataset.stay_ids.tolist()):
        ids = dataset[index].caption_ids
        assert 0 < len(ids) <= 120
        told = dataset.tokenizer.decode(ids).strip()
        whole = ["Measurements:", *(f"{text};" for text in caption(shown.get(stay), graph))]
        assert any(told == " ".join(whole[:count]) for count in range(1, len(whole) + 1))


def test_controls_are_told_of_the_series_that_the_model_reads(dataset):
    zeroed = replace(dataset, series_input="zeroed")
    assert {dataset.tokenizer.decode(zeroed[i].caption_ids).strip() for i in range(len(zeroed))} == {
        "Measurements: no measurements;"
    }
    permuted = replace(dataset, series_input="permuted")
    own = [dataset[i].caption_ids == permuted[i].caption_ids for i in range(len(dataset))]
    assert sum(own) < len(own) / 4


def test_a_stay_without_measurements_keeps_no_caption_of_them(dataset):
    stay = dataset[0]
    assert without_cells(stay, stay.observed).caption_ids == []


def test_models_without_captions_are_given_none(dataset):
    assert replace(dataset, max_caption_tokens=0)[0].caption_ids == []
