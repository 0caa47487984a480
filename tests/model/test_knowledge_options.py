"""Every kind of knowledge uses the same model; the graph enters only where it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clinragen.catalog import variable
from clinragen.config import build as build_settings
from clinragen.config import load
from clinragen.data.series import SeriesStatistics
from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.concepts import export_concepts
from clinragen.model.config import KNOWLEDGE, ModelConfig
from clinragen.model.knowledge_prior import KnowledgePrior
from clinragen.model.language_model import train_tokenizer
from clinragen.model.relational import RelationalLayer

from .conftest import HOURS, MICRO_MODEL, VARIABLES, make_grid


def made(knowledge: str, seed: int = 0) -> ClinRaGen:
    config = load("model", str(MICRO_MODEL), ModelConfig)
    config.hours = HOURS
    config.attention = replace(config.attention, knowledge=knowledge, seed=seed)
    statistics = SeriesStatistics.fit(make_grid(40, seed=1), VARIABLES, config.series.bins)
    torch.manual_seed(0)
    return assemble(config, statistics, build(), train_tokenizer(["Creatinine 3.2 shows renal failure"] * 3, 400))


@pytest.fixture(scope="module")
def micro() -> ClinRaGen:
    return made("graph").eval()


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
def test_every_kind_of_knowledge_trains_saves_and_loads(knowledge, make_stay, batch_of, tmp_path):
    model = made(knowledge)
    batch = batch_of(model, *(make_stay(model, 6, 4, seed) for seed in range(4)))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        output = model(batch, ["note", "series"])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, batch.labels) + output.nll.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.eval().save_pretrained(tmp_path / "model")
    loaded = ClinRaGen.from_pretrained(tmp_path / "model")
    with torch.inference_mode():
        expected, got = (m(batch, ["note", "series"], explain=True) for m in (model, loaded))
    assert torch.equal(expected.logits, got.logits)
    assert (got.concept_weights is None) == (knowledge == "none")
    if got.concept_weights is not None:
        assert got.concept_weights.shape == (4, len(loaded.concepts.keys))
        torch.testing.assert_close(got.concept_weights.sum(1), torch.ones(4))


def test_an_unknown_kind_is_refused_with_the_valid_ones():
    with pytest.raises(UserError, match=r"umls.*choose from: graph, random_graph, vocabulary, plain_vocabulary, none"):
        build_settings(ModelConfig, {"attention": {"knowledge": "umls"}}, "model.yaml")


def test_the_vocabulary_spells_the_terms_and_the_plain_one_is_as_large_and_seeded(micro):
    def exported(kind, seed=0, vocabulary=5000):
        return export_concepts(micro.graph, VARIABLES, micro.tokenizer, kind, seed, vocabulary)

    spelled = exported("vocabulary")
    known = {token for (token,) in spelled.token_ids}
    for name in spelled.names:
        assert set(micro.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) <= known
    plain = exported("plain_vocabulary")
    assert len(plain.keys) == len(spelled.keys)
    assert plain.to_json() == exported("plain_vocabulary").to_json()
    assert not known & set(micro.tokenizer.all_special_ids)
    assert len(spelled.edges) == len(plain.edges) == 0
    assert set(exported("vocabulary", vocabulary=9).keys) < set(spelled.keys)


def test_the_linker_sees_the_same_concepts_whatever_the_knowledge(micro):
    kinds = [export_concepts(micro.graph, VARIABLES, micro.tokenizer, kind) for kind in KNOWLEDGE]
    assert all(found.ids == kinds[0].ids for found in kinds)


def test_message_passing_follows_the_nodes_not_their_order(micro):
    """Numbering the concepts otherwise gives the same embeddings, numbered otherwise."""
    concepts, dim = micro.concepts, 16
    order = np.random.default_rng(0).permutation(len(concepts.ids))
    place = np.argsort(order)
    renamed = replace(
        concepts,
        ids=[concepts.ids[i] for i in order],
        edges=replace(concepts.edges, head=place[concepts.edges.head], tail=place[concepts.edges.tail]),
    )
    torch.manual_seed(0)
    layer, other = RelationalLayer(concepts, dim, 3), RelationalLayer(renamed, dim, 3)
    other.load_state_dict(
        {n: v for n, v in layer.state_dict().items() if n in dict(layer.named_parameters())}, strict=False
    )
    embeddings = torch.randn(len(concepts.ids), dim)
    torch.testing.assert_close(other(embeddings[order]), layer(embeddings)[order], atol=1e-5, rtol=1e-4)


def test_a_concept_hears_its_neighbours_and_no_others(micro):
    concepts = micro.concepts
    layer = RelationalLayer(concepts, 8, 2)
    node = concepts.ids.index("finding:creatinine:high")
    edges = concepts.edges
    near = {*edges.tail[edges.head == node].tolist(), *edges.head[edges.tail == node].tolist()}
    embeddings = torch.randn(len(concepts.ids), 8)
    moved = embeddings.clone()
    moved[node] += 1
    changed = set((layer(embeddings) - layer(moved)).abs().amax(1).gt(1e-6).nonzero()[:, 0].tolist())
    assert changed == near | {node}


def test_embeddings_are_pooled_again_when_the_language_model_moves_and_once_while_it_rests(monkeypatch):
    attention, weight = (model := made("graph")).concept_attention, model.language_model.embedding_weight
    calls = []
    pool = torch.nn.functional.embedding_bag
    monkeypatch.setattr(
        "clinragen.model.concept_attention.F.embedding_bag", lambda *a, **k: calls.append(1) or pool(*a, **k)
    )
    weight.requires_grad_(False)
    first = attention.concept_embeddings(weight)
    assert torch.equal(first, attention.concept_embeddings(weight))
    assert len(calls) == 1
    with torch.no_grad():
        weight += 0.1 * torch.randn_like(weight)
    assert not torch.equal(first, attention.concept_embeddings(weight))
    assert len(calls) == 2
    weight.requires_grad_(True)
    attention.concept_embeddings(weight).sum().backward()
    assert weight.grad is not None
    assert len(calls) == 3


def test_mentions_move_attention_only_where_the_note_is_read(micro, make_stay, batch_of):
    stay = make_stay(micro, 6, 4, 0)
    node = micro.concepts.ids.index("finding:creatinine:high")
    bare = replace(stay, mentions=np.zeros_like(stay.mentions))
    affirmed, denied = (replace(bare, mentions=bare.mentions.copy()) for _ in range(2))
    affirmed.mentions[0, node], denied.mentions[1, node] = True, True
    batch = batch_of(micro, bare, affirmed, denied)
    with torch.inference_mode():
        read = micro(batch, ["note", "series"], explain=True).concept_weights[:, node]
        blind = micro(batch, ["series"], explain=True).concept_weights[:, node]
    assert read[1] > read[0]
    torch.testing.assert_close(read[2], read[0])  # before training a denial does not attract
    torch.testing.assert_close(blind, blind[:1].expand(3))


def prior_of(model: ClinRaGen) -> KnowledgePrior:
    prior = KnowledgePrior(model.concepts, model.statistics, list(model.labels), 8)
    with torch.no_grad():  # so that more evidence means a larger logit
        prior.out.zero_()
        prior.direct.fill_(1.0)
    return prior


def raw(model: ClinRaGen, **levels: float) -> tuple[torch.Tensor, torch.Tensor]:
    values = np.full((1, len(VARIABLES), HOURS), np.nan, dtype=np.float32)
    for name, level in levels.items():
        values[0, VARIABLES.index(name), 3:9] = level
    return tuple(torch.from_numpy(part) for part in model.statistics.standardise(values))


def reached(model: ClinRaGen, node: str) -> set[str]:
    return {label for label in model.labels if model.graph.paths(node, f"phenotype:{label}", 2)}


def test_a_finding_reaches_the_phenotypes_within_two_edges_and_no_others(micro):
    prior = prior_of(micro)
    usual, high = (prior(None, *raw(micro, creatinine=level))[0] for level in (1.0, 6.0))
    gained = {label for label, size in zip(micro.labels, (high - usual).tolist(), strict=True) if size > 0}
    assert gained == reached(micro, "finding:creatinine:high")
    assert "acute_renal_failure" in gained
    assert len(gained) < len(micro.labels)


def test_a_value_on_its_reference_bound_is_no_finding(micro):
    bound = variable("creatinine").high
    prior = prior_of(micro)
    shown = prior.findings(*raw(micro, creatinine=bound - 0.05))
    assert shown[..., :3].max() == 0
    assert prior.findings(*raw(micro, creatinine=bound + 1))[..., :3].max() > 0.1


@pytest.mark.parametrize("node", ["drug:furosemide", "symptom:dyspnea", "phenotype:copd"])
def test_a_mention_reaches_the_phenotypes_within_two_edges_and_no_others(micro, node):
    prior = prior_of(micro)
    mentions = torch.zeros(2, 2, len(micro.concepts.ids), dtype=torch.bool)
    mentions[1, 0, micro.concepts.ids.index(node)] = True
    none, said = prior(mentions, None, None)
    gained = {label for label, size in zip(micro.labels, (said - none).tolist(), strict=True) if size > 0}
    assert gained == reached(micro, node) | {node.partition(":")[2]} & set(micro.labels)
