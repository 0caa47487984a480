"""Components of the series encoder and the knowledge-augmented attention."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.data.series import SUMMARIES
from clinragen.model.concept_attention import _neighbourhoods
from clinragen.model.concepts import Concepts, export_concepts
from clinragen.model.series_encoder import SeriesEncoder


def test_a_variable_sees_itself_and_its_own_findings_first(model):
    concepts = model.concepts
    for variable, near in zip(model.statistics.variables, concepts.near, strict=True):
        ids = [concepts.ids[index] for index in near.keys]
        assert ids[0] == f"variable:{variable}"
        for direction in ("high", "low"):
            finding = f"finding:{variable}:{direction}"
            if finding in concepts.ids:
                assert finding in ids[: model.config.attention.neighbours]
        assert near.nearness == sorted(near.nearness, reverse=True)
        assert all(0 < value <= 1 for value in near.nearness)


def test_concepts_are_written_and_read_back_without_loss(model):
    """Edges and neighbourhoods keep whole numbers whole, and every digit of a weight."""
    written = model.concepts.to_json()
    assert Concepts.from_json(json.loads(json.dumps(written))).to_json() == written
    for head, tail, relation, weight in written["edges"]:
        assert type(head) is type(tail) is type(relation) is int
        assert 0 < weight <= 1
    assert len(written["edges"]) == len(model.concepts.edges) > 0


def test_every_concept_is_spelled_in_full(model):
    """No concept is cut to its first subword: the name can be read back from its tokens."""
    for name, tokens in zip(model.concepts.names, model.concepts.token_ids, strict=True):
        assert model.tokenizer.decode(tokens).strip().startswith(name[:60])


def test_a_variable_unknown_to_the_graph_still_has_something_to_attend_to(model):
    concepts = export_concepts(model.graph, ["creatinine", "not_in_the_graph"], model.tokenizer)
    neighbours, _, absent = _neighbourhoods(concepts, 16)
    assert neighbours.shape == absent.shape
    assert (absent == 0).any(dim=1).all()


def test_attention_received_sums_to_one_over_concepts(model, make_stay, batch_of):
    with torch.inference_mode():
        weights = model(batch_of(model, make_stay(model, 4, 4, 0)), ["series"], explain=True).concept_weights
    torch.testing.assert_close(weights.sum(1), torch.ones(1))


@settings(max_examples=25, deadline=None)
@given(low=st.floats(-9, 9), step=st.floats(0, 5))
def test_piecewise_linear_encoding_never_falls_as_the_value_rises(model, low, step):
    encode = model.series_encoder.encode
    shape = (1, len(model.statistics.variables), len(SUMMARIES))
    below, above = (encode(torch.full(shape, value))[..., :-1] for value in (low, low + step))
    assert (above >= below).all()
    assert ((below >= 0) & (below <= 1)).all()


def test_bin_edges_ascend(model):
    edges = torch.tensor(model.statistics.edges)
    assert (edges.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("bins", [1, 5, 6, 7, 12, 13])
def test_a_window_of_any_length_is_encoded(model, bins):
    """Also one that is no longer than a patch; of a patch beyond the window nothing is observed."""
    config = replace(model.config.series, patch_hours=6)
    encoder = SeriesEncoder(config, replace(model.statistics, hours=bins, kind="first")).eval()
    variables = len(model.statistics.variables)
    with torch.inference_mode():
        tokens = encoder(torch.randn(2, variables, bins), torch.ones(2, variables, bins, dtype=torch.bool))
    assert torch.isfinite(tokens.tokens).all()
    assert tokens.mask[:, :, :-1].sum(-1).unique().tolist() == [-(-bins // 6)]
