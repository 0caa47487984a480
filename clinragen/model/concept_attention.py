"""Knowledge-augmented attention (eq. 6): series tokens ask, concepts of the medical graph answer.

Keys and values are the language model's own embeddings of each concept's name and definition (the mean over every
subword), so the answer lies where the language model can read it. The graph enters twice: a variable's tokens see only
the concepts nearest to it, and nearness is a learned bias. Attention is batched over variables, which share neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinragen.model.concepts import Concepts
from clinragen.model.config import AttentionConfig
from clinragen.model.series_encoder import SeriesTokens


@dataclass
class Knowledge:
    """What the attention gives.

    Attributes:
        hidden: H, [B, N, d_lm] with N = variables * tokens per variable.
        mask: bool [B, N].
        prompts: prefix prompts for the language model, [B, n, d_lm].
        weights: attention each concept received, averaged over a stay's measured tokens, [B, concepts]; or None.
    """

    hidden: Tensor
    mask: Tensor
    prompts: Tensor
    weights: Tensor | None


class ConceptAttention(nn.Module):
    """Series tokens [B, V, P, d_series] to n prefix prompts [B, n, d_lm]."""

    token_ids: Tensor
    offsets: Tensor
    neighbours: Tensor
    nearness: Tensor
    absent: Tensor

    def __init__(self, config: AttentionConfig, concepts: Concepts, d_series: int, d_lm: int):
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.concepts = len(concepts.ids)
        lengths = torch.tensor([len(ids) for ids in concepts.token_ids])
        self.register_buffer("token_ids", torch.tensor([token for ids in concepts.token_ids for token in ids]))
        self.register_buffer("offsets", lengths.cumsum(0) - lengths)
        neighbours, nearness, absent = _neighbourhoods(concepts, config.neighbours)
        self.register_buffer("neighbours", neighbours)  # [V, K]
        self.register_buffer("nearness", nearness)
        self.register_buffer("absent", absent)
        self.query = nn.Linear(d_series, d_lm)
        self.concept_norm = nn.LayerNorm(d_lm)
        self.key = nn.Linear(d_lm, d_lm)
        self.value = nn.Linear(d_lm, d_lm)
        self.prior = nn.Parameter(torch.full((config.heads,), 2.0)) if config.prior else None
        self.residual = nn.Linear(d_series, d_lm) if config.residual else None
        self.token_norm = nn.LayerNorm(d_lm)
        self.latents = nn.Parameter(torch.randn(config.prompts, d_lm) * d_lm**-0.5)
        self.resample_key = nn.Linear(d_lm, d_lm)
        self.resample_value = nn.Linear(d_lm, d_lm)
        self.prompt_norm = nn.LayerNorm(d_lm)
        self.gain = nn.Parameter(torch.ones(()))  # set to the scale of the language model's embeddings

    def concept_embeddings(self, embedding_weight: Tensor) -> Tensor:
        """Mean language-model embedding of every subword of each concept, [concepts, d_lm]."""
        return F.embedding_bag(self.token_ids, embedding_weight, self.offsets, mode="mean")

    def forward(self, series: SeriesTokens, embedding_weight: Tensor, *, explain: bool = False) -> Knowledge:
        """Attend and resample.

        Args:
            embedding_weight: the language model's input embeddings, [vocabulary, d_lm].
            explain: also return the attention each concept received.
        """
        size, _variables, patches, _ = series.tokens.shape
        concepts = self.concept_norm(self.concept_embeddings(embedding_weight))
        query = self.query(series.tokens).transpose(0, 1).flatten(1, 2)  # [V, B * P, d_lm]
        query = self._split(query)  # [V, heads, B * P, d]
        key = self._split(self.key(concepts)[self.neighbours])  # [V, heads, K, d]
        value = self._split(self.value(concepts)[self.neighbours])
        bias = self.absent[:, None, None]  # [V, 1, 1, K]
        if self.prior is not None:
            bias = bias + self.nearness[:, None, None] * self.prior[:, None, None]
        bias = bias.to(query.dtype).expand(-1, self.heads, query.shape[2], -1)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=self.dropout if self.training else 0.0
        )
        weights = self._weights(query, key, bias, series.mask) if explain else None
        hidden = attended.transpose(1, 2).flatten(2).unflatten(1, (size, patches)).transpose(0, 1)  # [B, V, P, d_lm]
        if self.residual is not None:
            hidden = hidden + self.residual(series.tokens)
        hidden = self.token_norm(hidden).flatten(1, 2)
        mask = series.mask.flatten(1)
        prompts = F.scaled_dot_product_attention(
            self._split(self.latents[None]).expand(size, -1, -1, -1).to(hidden.dtype),
            self._split(self.resample_key(hidden)),
            self._split(self.resample_value(hidden)),
            attn_mask=_attendable(mask)[:, None, None],
        )
        prompts = prompts.transpose(1, 2).flatten(2)
        return Knowledge(hidden, mask, self.prompt_norm(prompts) * self.gain, weights)

    def _split(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def _weights(self, query: Tensor, key: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """Scatter the attention of measured tokens back to concepts."""
        scores = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5 + bias.float()
        attention = scores.softmax(-1).mean(1).unflatten(1, (len(mask), -1))  # [V, B, P, K]
        received = (attention * mask.transpose(0, 1)[..., None]).sum(2).transpose(0, 1)  # [B, V, K]
        found = received.new_zeros(len(mask), self.concepts)
        found.index_add_(1, self.neighbours.flatten(), received.flatten(1))
        return found / mask.flatten(1).sum(1, keepdim=True).clamp_min(1)


def _neighbourhoods(concepts: Concepts, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices, nearness and a bias that shuts out padding, all [V, K]; every variable sees at least one concept."""
    rows = [near[:limit] or [[0, 0.0]] for near in concepts.near]
    width = max(map(len, rows))
    padded = [row + [[0, 0.0]] * (width - len(row)) for row in rows]
    absent = torch.tensor([[0.0] * len(row) + [float("-inf")] * (width - len(row)) for row in rows])
    return (
        torch.tensor([[int(index) for index, _ in row] for row in padded]),
        torch.tensor([[nearness for _, nearness in row] for row in padded]),
        absent,
    )


def _attendable(mask: Tensor) -> Tensor:
    """The mask, with the first token let through where a stay has none: softmax over nothing is not a number."""
    first = torch.zeros_like(mask)
    first[:, 0] = True
    return mask | (first & ~mask.any(1, keepdim=True))
