"""The knowledge prior: evidence propagates along the edges of the concept graph to the phenotypes.

Findings of the series (a variable beyond its reference bound) and mentions of the note (a concept affirmed or denied)
activate nodes. Their evidence propagates along at most ``HOPS`` edges to the phenotypes, where one small network,
shared by all of them, reads it. The graph alone decides which concept is evidence for which phenotype (an inductive
bias), so only the weights are learned, and few stays are enough.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinragen.catalog import variable
from clinragen.data.series import SeriesStatistics
from clinragen.model.concepts import ConceptEdges, Concepts

HOPS = 2  # a drug -> its class -> the phenotype that the class treats; a finding -> a phenotype -> one it leads to
NOTE = ("affirmed", "denied")
SERIES = ("extreme", "share", "last", "measured")
CHANNELS = len(NOTE) + len(SERIES)
GAIN_SCALE = 3.0  # AdamW's steps are small compared with the range of edge gains


class KnowledgePrior(nn.Module):
    """Adds the evidence of findings and mentions, propagated along the graph, to the logits [B, L].

    Args:
        concepts: concepts with edges.
        statistics: standardise the series and the reference bounds.
        labels: keys of the phenotypes, the order of the logits.
        dim: width of the shared network.
    """

    in_graph: Tensor | None
    head: Tensor
    tail: Tensor
    relation: Tensor
    weight: Tensor
    label_node: Tensor
    node: Tensor
    column: Tensor
    sign: Tensor
    bound: Tensor

    def __init__(self, concepts: Concepts, statistics: SeriesStatistics, labels: list[str], dim: int):
        super().__init__()
        node_row = {node: position for position, node in enumerate(concepts.ids)}
        self.concepts = len(concepts.ids)
        present = [f"phenotype:{label}" in node_row for label in labels]
        targets = [node_row.get(f"phenotype:{label}", 0) for label in labels]
        edges = _towards(concepts.edges, {node for node, exists in zip(targets, present, strict=True) if exists})
        for name in ("head", "tail", "relation"):
            self.register_buffer(name, torch.from_numpy(getattr(edges, name)))
        weight = torch.from_numpy(edges.weight).float()
        degree = torch.zeros(self.concepts).index_add(0, self.tail, weight)
        self.register_buffer("label_node", torch.tensor(targets))
        # masks labels that the graph does not have; not saved, since the labels are
        self.register_buffer("in_graph", None if all(present) else torch.tensor(present), persistent=False)
        self.register_buffer("weight", weight / degree[self.tail].clamp_min(1).sqrt())
        findings = _findings(concepts.ids, statistics)
        for name, column, kind in (
            ("node", [row[0] for row in findings], torch.long),
            ("column", [row[1] for row in findings], torch.long),
            ("sign", [row[2] for row in findings], torch.float32),
            ("bound", [row[3] for row in findings], torch.float32),
        ):
            self.register_buffer(name, torch.tensor(column, dtype=kind))
        self.relation_gain = nn.Parameter(torch.ones(len(concepts.relations), CHANNELS))
        self.edge_gain = nn.Parameter(torch.zeros(len(edges), 2))  # gains of the note's and the series' channels
        self.note = nn.Linear(len(NOTE), dim)
        self.series = nn.Linear(len(SERIES), dim)
        self.join = nn.Linear(3 * dim, dim)
        self.out = nn.Parameter(torch.randn(len(labels), dim) * dim**-0.5)
        self.direct = nn.Parameter(torch.zeros(len(labels), CHANNELS))

    def forward(self, mentions: Tensor | None, values: Tensor | None, observed: Tensor | None) -> Tensor:
        """Logits to add, [B, L].

        Args:
            mentions: bool [B, 2, C], or None when no note is read.
            values: standardised values [B, V, T], or None when no series is read.
            observed: bool [B, V, T], where a value was measured, or None when no series is read.
        """
        modality = values if mentions is None else mentions
        assert modality is not None, "the knowledge prior needs mentions or a series"
        lit = torch.zeros(self.concepts, len(modality), CHANNELS, device=modality.device)
        if mentions is not None:
            lit[..., : len(NOTE)] = mentions.permute(2, 0, 1).float()
        if values is not None and observed is not None:
            findings = self.findings(values.float(), observed).transpose(0, 1)
            lit[..., len(NOTE) :] = lit[..., len(NOTE) :].index_add(0, self.node, findings)
        gain = torch.exp(GAIN_SCALE * self.edge_gain).repeat_interleave(
            torch.tensor([len(NOTE), len(SERIES)], device=self.weight.device), dim=1
        )
        coefficient = self.weight[:, None] * gain * self.relation_gain.index_select(0, self.relation)  # [E, channels]
        state = lit
        for _ in range(HOPS):
            state = lit.index_add(0, self.tail, state.index_select(0, self.head) * coefficient[:, None])
        evidence = state.index_select(0, self.label_node).transpose(0, 1)  # [B, L, channels]
        note, series = self.note(evidence[..., : len(NOTE)]), self.series(evidence[..., len(NOTE) :])
        joined = F.gelu(self.join(torch.cat([note, series, note * series], dim=-1)))
        logits = ((joined * self.out).sum(-1) + (evidence * self.direct).sum(-1)).float()
        return logits if self.in_graph is None else logits * self.in_graph

    def findings(self, values: Tensor, observed: Tensor) -> Tensor:
        """Evidence of each finding in the series, [B, findings, 4]: the farthest value beyond its bound, the share of
        measured hours beyond it, the last value beyond it, each from 0 to 1, and whether its variable was measured."""
        measured = observed[:, self.column]
        beyond = (self.sign[:, None] * (values[:, self.column] - self.bound[:, None])).relu() * measured
        hours = measured.sum(-1)
        hour = torch.arange(measured.shape[-1], device=measured.device)
        last = torch.where(measured, hour, 0).amax(-1, keepdim=True)
        return torch.stack(
            [
                torch.tanh(beyond.amax(-1)),
                (beyond > 0).sum(-1) / hours.clamp_min(1),
                torch.tanh(beyond.gather(-1, last)[..., 0]),
                (hours > 0).float(),
            ],
            dim=-1,
        )


def _towards(edges: ConceptEdges, targets: set[int]) -> ConceptEdges:
    """Edges on a path of at most ``HOPS`` edges to one of the targets; if there are none, one edge of weight 0."""
    nodes = set(targets)
    for _ in range(HOPS - 1):
        nodes |= set(edges.head[np.isin(edges.tail, [*nodes])].tolist())
    subset = edges.where(np.isin(edges.tail, [*nodes]))
    return subset if len(subset) else ConceptEdges.of([(0, 0, 0, 0.0)])


def _findings(ids: list[str], statistics: SeriesStatistics) -> list[tuple[int, int, float, float]]:
    """(node, variable column, side, standardised bound) of the findings of the model's variables."""
    column = {name: position for position, name in enumerate(statistics.variables)}
    rows = []
    for position, node in enumerate(ids):
        kind, _, key = node.partition(":")
        name, _, direction = key.partition(":")
        if kind != "finding" or name not in column or direction not in ("high", "low"):
            continue
        bound = variable(name).high if direction == "high" else variable(name).low
        if bound is not None:
            at = column[name]
            scaled = (bound - statistics.centre[at]) / statistics.scale[at]
            rows.append((position, at, 1.0 if direction == "high" else -1.0, scaled))
    return rows
