"""Message passing over the concept graph, which adds information of neighbours to a concept's embedding.

A relational graph convolution with basis decomposition (Schlichtkrull et al. 2018), short enough to need no library:
each relation and its inverse averages the neighbours by edge weight, a few shared bases transform the averages, and a
gate controls how much of them is added. The graph is fixed, so the coefficients of the averages are buffers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clinragen.model.concepts import Concepts


class RelationalLayer(nn.Module):
    """Maps concept embeddings [C, d] to the same shape, each updated from its neighbours.

    Raises:
        ValueError: concepts without edges.
    """

    source: Tensor
    target: Tensor
    kind: Tensor
    share: Tensor

    def __init__(self, concepts: Concepts, dim: int, bases: int):
        super().__init__()
        if not concepts.edges:
            raise ValueError("message passing needs edges")
        kinds = len(concepts.relations)
        edges = concepts.edges
        head, tail, relation = map(torch.from_numpy, (edges.head, edges.tail, edges.relation))
        source, target = torch.cat([head, tail]), torch.cat([tail, head])
        kind = torch.cat([relation, relation + kinds])
        weight = torch.from_numpy(edges.weight).float().repeat(2)
        group = target * 2 * kinds + kind  # the weights of a node's neighbours by one relation sum to one
        total = torch.zeros(len(concepts.ids) * 2 * kinds).index_add(0, group, weight)
        for name, tensor in (("source", source), ("target", target), ("kind", kind)):
            self.register_buffer(name, tensor)
        self.register_buffer("share", weight / total[group])
        self.mix = nn.Parameter(torch.randn(2 * kinds, bases) * bases**-0.5)
        self.bases = nn.Parameter(torch.randn(bases, dim, dim) * dim**-0.5)
        self.gate = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, concepts: Tensor) -> Tensor:
        """Refine embeddings [C, d]."""
        share = (self.share[:, None] * self.mix.index_select(0, self.kind)).to(concepts.dtype)  # [2E, bases]
        messages = concepts.index_select(0, self.source)
        update = concepts.new_zeros(concepts.shape)
        for basis, weights in enumerate(share.unbind(1)):
            mean = torch.zeros_like(concepts).index_add(0, self.target, messages * weights[:, None])
            update = update + mean @ self.bases[basis].to(concepts.dtype)
        update = torch.nn.functional.gelu(update)
        gate = torch.sigmoid(self.gate(torch.cat([concepts, update], dim=-1)))
        return self.norm(concepts + gate * update)
