"""Evidence that is removed: whole, nothing else, and its worth by one pass is that of occlusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from whole_graph import GRAPH

from clinragen.attribution import occlusion
from clinragen.attribution.reasons import cited_pieces, weigh
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.data.evidence_pieces import EvidencePiece, StayEvidence
from clinragen.inference.contributions import Contributions, ModelGrounds, contributions
from clinragen.inference.predict import TrainedModel, batches
from clinragen.verification.claims import Checked, Verdict

BOTH = ["note", "series"]


@pytest.fixture(scope="module")
def dataset(trained, cohort):
    return trained.dataset(cohort, "test", limit=6)


def contributed(trained: TrainedModel, dataset, inputs) -> list[tuple[StayEvidence, Contributions]]:
    pairs = []
    with torch.inference_mode():
        for rows, batch in batches(trained.model, dataset, 4):
            output = trained.model(batch, inputs, targets=False, explain=True)
            evidence = [StayEvidence(dataset, row, inputs) for row in rows]
            pairs += zip(evidence, contributions(trained.model, batch, output, evidence), strict=True)
    return pairs


def exact(trained: TrainedModel, evidence: StayEvidence, inputs) -> np.ndarray:
    altered = [evidence.stay, *(evidence.without([piece]) for piece in evidence.pieces)]
    readings = occlusion.logits(trained.model, altered, inputs)
    return readings[:1] - readings[1:]


def test_what_a_piece_contributes_to_a_series_is_what_occlusion_says(runs, cohort):
    trained = TrainedModel.load(runs.series)
    dataset = trained.dataset(cohort, "test", limit=5)
    for evidence, found in contributed(trained, dataset, ["series"]):
        fast = np.array([found.falls[piece] for piece in evidence.pieces])
        np.testing.assert_allclose(fast, exact(trained, evidence, ["series"]), atol=1e-4)


def test_what_a_piece_contributes_to_note_and_series_is_nearly_what_occlusion_says(trained, dataset):
    for evidence, found in contributed(trained, dataset, BOTH):
        assert {piece.kind for piece in evidence.pieces} == {"variable", "concept"}
        fast = np.array([found.falls[piece] for piece in evidence.pieces])
        slow = exact(trained, evidence, BOTH)
        assert np.abs(fast - slow).max() < 0.05 + 0.2 * np.abs(slow).max()
        assert np.corrcoef(fast.ravel(), slow.ravel())[0, 1] > 0.97


def test_pieces_are_removed_whole_and_nothing_else_is(dataset):
    for index in range(3):
        evidence = StayEvidence(dataset, index, BOTH)
        for piece in evidence.pieces:
            left = evidence.without([piece])
            if piece.kind == "variable":
                column = evidence.variables.index(piece.name)
                assert not left.observed[column].any()
                others = np.arange(len(evidence.variables)) != column
                assert np.array_equal(left.observed[others], evidence.stay.observed[others])
                assert left.note_ids == evidence.stay.note_ids
            else:
                _, column = evidence.columns_of([piece.name])  # none of an age or a place of treatment
                assert not left.mentions[:, column].any()
                assert left.mentions.sum() == evidence.stay.mentions.sum() - evidence.stay.mentions[:, column].sum()
                if evidence.tokens_of([piece.name]).any():  # else it stands behind what fits into the context
                    assert left.note_ids != evidence.stay.note_ids
        assert evidence.without([]) is not None


def test_nothing_but_the_cited_is_left(dataset):
    evidence = StayEvidence(dataset, 0, BOTH)
    variable = next(piece for piece in evidence.pieces if piece.kind == "variable")
    concept = next(piece for piece in evidence.pieces if piece.name in dataset.link.column)
    left = evidence.only([variable, concept])
    assert np.flatnonzero(left.observed.any(1)).tolist() == [evidence.variables.index(variable.name)]
    assert np.flatnonzero(left.mentions.any(0)).tolist() == [dataset.link.column[concept.name]]
    words = {
        evidence.sections[section][1][start:end]
        for section, spans in evidence.spans[concept.name].items()
        for start, end in spans
    }
    read = dataset.tokenizer.decode(left.note_ids)
    assert all(" ".join(word.split()) in " ".join(read.split()) for word in words)
    assert not evidence.only([]).observed.any()


def test_the_tokens_of_a_concept_spell_its_words(dataset):
    read = 0
    for index in range(len(dataset)):
        evidence = StayEvidence(dataset, index, BOTH)
        names = [piece.name for piece in evidence.pieces if piece.kind == "concept"]
        for name, tokens in zip(names, evidence.tokens_of(names), strict=True):
            spelled = dataset.tokenizer.decode([evidence.stay.note_ids[i] for i in np.flatnonzero(tokens)])
            words = [
                "".join(evidence.sections[section][1][start:end].split())
                for section, spans in evidence.spans[name].items()
                for start, end in spans
            ]
            letters = "".join(spelled.split())
            read += len(letters) > 0
            assert not letters or any(word in letters or word.startswith(letters) for word in words)  # or cut
    assert read > len(dataset)


def test_cited_evidence_is_weighed_beside_random_evidence(trained, dataset, cohort):
    stay = int(dataset.stay_ids[0])
    evidence = StayEvidence(dataset, 0, BOTH)
    label = next(iter(trained.model.labels))
    every = [Checked(0, 1, "series", piece.name, Verdict.SUPPORTED) for piece in evidence.pieces[:2]]
    (row,) = weigh(trained, dataset, {stay: {label: every}}, {stay: 7})
    assert (row.row, row.label) == (7, label)
    altered = [evidence.stay, evidence.without(evidence.pieces[:2]), evidence.only(evidence.pieces[:2])]
    logits = occlusion.logits(trained.model, altered, BOTH)
    full, without, only = trained.calibration.probabilities(logits)[:, 0]
    assert (row.full, row.without, row.only) == pytest.approx((full, without, only), abs=1e-5)
    assert 0 <= row.salience <= 1
    assert row.without_random != row.without
    assert list(weigh(trained, dataset, {stay: {label: every}}, {stay: 7})) == [row]  # the same draws
    assert not list(weigh(trained, dataset, {stay: {label: []}}, {stay: 7}))


def test_all_evidence_holds_all_of_the_mass_and_leaves_no_other_to_draw(trained, dataset):
    evidence = StayEvidence(dataset, 1, BOTH)
    claims = [
        Checked(0, 1, "series" if piece.kind == "variable" else "finding", piece.name, Verdict.SUPPORTED)
        for piece in evidence.pieces
    ]
    assert cited_pieces(evidence, claims) == evidence.pieces
    stay = int(dataset.stay_ids[1])
    label = next(iter(trained.model.labels))
    (row,) = weigh(trained, dataset, {stay: {label: claims}}, {stay: 0})
    assert row.salience == pytest.approx(1.0)
    assert np.isnan(row.without_random)


def phrase(concept: str) -> NoteEvidence:
    return NoteEvidence(concept, "history_of_present_illness", 0, 5, concept.partition(":")[2], past=False)


def test_shares_are_of_what_speaks_for_a_label():
    falls = {EvidencePiece("concept", "symptom:chills"): 3.0, EvidencePiece("concept", "symptom:cough"): -5.0}
    found = shares(falls | {EvidencePiece("variable", "lactate"): 1.0})
    assert found.share(EvidencePiece("concept", "symptom:chills"), "septicemia") == 0.75
    assert found.share(EvidencePiece("variable", "lactate"), "septicemia") == 0.25
    assert found.share(EvidencePiece("concept", "symptom:cough"), "septicemia") == 0.0  # it speaks against
    assert found.share(EvidencePiece("concept", "symptom:rash"), "septicemia") == 0.0  # it is not there
    assert shares({}).share(EvidencePiece("variable", "lactate"), "septicemia") == 0.0


@pytest.mark.parametrize(
    ("concept", "share", "cited"),
    [("symptom:chills", 0.02, True), ("symptom:chills", 0.005, False), ("drug:statin", 0.015, False)],
)
def test_what_the_graph_does_not_tie_to_a_diagnosis_is_cited_only_where_the_model_rests_on_it(concept, share, cited):
    graph = GRAPH
    falls = {EvidencePiece("concept", concept): share, EvidencePiece("variable", "wbc"): 1 - share}
    assert bool(ModelGrounds(graph, shares(falls)).share(phrase(concept), "septicemia")) is cited
    much = {EvidencePiece("concept", concept): 0.5, EvidencePiece("variable", "wbc"): 0.5}
    assert ModelGrounds(graph, shares(much)).share(phrase(concept), "septicemia") == 0.5


def shares(falls: dict[EvidencePiece, float]) -> Contributions:
    return Contributions({piece: np.array([fall]) for piece, fall in falls.items()}, ["septicemia"])
