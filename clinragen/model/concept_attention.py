"""Knowledge-augmented attention (eq. 6): series tokens are queries, concepts of the graph are keys and values.

Keys and values are the language model's own embeddings of each concept's name and definition (the mean over every
subword), refined by message passing over the graph, so the output lies in the language model's embedding space. The
graph enters in two more ways: a variable's tokens attend only to the concepts nearest to it, and nearness and kind of
concept give a learned bias. Concepts that the note affirms or denies get another bias. Attention is batched over
variables, which have different keys; if all have the same keys (the paper's vocabulary), it is a single attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinragen.knowledge.concepts import MODEL_KINDS
from clinragen.model.concepts import Concepts
from clinragen.model.config import AttentionConfig
from clinragen.model.relational import RelationalLayer
from clinragen.model.series_encoder import SeriesTokens


@dataclass
class Knowledge:
    """Output of the attention.

    Attributes:
        hidden: H, [B, N, d_lm] with N = variables * tokens per variable.
        mask: bool [B, N].
        prompts: prefix prompts for the language model, [B, n, d_lm].
        attention: attention of each token, mean over heads, [B, N, keys]; or None.
    """

    hidden: Tensor
    mask: Tensor
    prompts: Tensor
    attention: Tensor | None


class ConceptAttention(nn.Module):
    """Maps series tokens [B, V, P, d_series] to n prefix prompts [B, n, d_lm]."""

    token_ids: Tensor
    offsets: Tensor
    neighbours: Tensor
    nearness: Tensor
    absent: Tensor
    kind: Tensor

    def __init__(self, config: AttentionConfig, concepts: Concepts, d_series: int, d_lm: int):
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.keys = len(concepts.keys)
        self.query = self.key = self.value = self.prior = self.boost = None
        self.refine = nn.ModuleList()
        if self.keys:
            lengths = torch.tensor([len(ids) for ids in concepts.token_ids])
            self.register_buffer("token_ids", torch.tensor([token for ids in concepts.token_ids for token in ids]))
            self.register_buffer("offsets", lengths.cumsum(0) - lengths)
            neighbours, nearness, absent = _neighbourhoods(concepts, config.neighbours)
            self.register_buffer("neighbours", neighbours)  # [groups, K]; a group is one variable, or all of them
            self.register_buffer("nearness", nearness)
            self.register_buffer("absent", absent)
            self.query = nn.Linear(d_series, d_lm)
            self.concept_norm = nn.LayerNorm(d_lm)
            self.key = nn.Linear(d_lm, d_lm)
            self.value = nn.Linear(d_lm, d_lm)
        if concepts.edges:
            self.refine.extend(RelationalLayer(concepts, d_lm, config.bases) for _ in range(config.layers))
            kinds = [MODEL_KINDS.index(key.partition(":")[0]) for key in concepts.keys]
            self.register_buffer("kind", torch.tensor(kinds)[self.neighbours])
            if config.graph_bias:
                self.prior = nn.Parameter(torch.full((config.heads,), 2.0))
                self.kind_prior = nn.Parameter(torch.zeros(config.heads, len(MODEL_KINDS)))
            if config.mentions:  # initial bias: positive for affirmed concepts, zero for denied ones
                self.boost = nn.Parameter(torch.tensor([[1.0, 0.0]]).repeat(config.heads, 1))
        self.residual = nn.Linear(d_series, d_lm) if config.residual or not self.keys else None
        self.token_norm = nn.LayerNorm(d_lm)
        self.latents = nn.Parameter(torch.randn(config.prompts, d_lm) * d_lm**-0.5)
        self.resample_key = nn.Linear(d_lm, d_lm)
        self.resample_value = nn.Linear(d_lm, d_lm)
        self.prompt_norm = nn.LayerNorm(d_lm)
        self.gain = nn.Parameter(torch.ones(1))  # set to the scale of the language model's embeddings
        self._pooled: tuple[tuple[int, int], Tensor] | None = None

    def train(self, mode: bool = True) -> ConceptAttention:
        """Switch training mode, and drop the cached concept embeddings, since weights may have changed."""
        self._pooled = None  # sharded weights change without a new address or version counter
        return super().train(mode)

    def concept_embeddings(self, embedding_weight: Tensor) -> Tensor:
        """Mean language-model embedding of every subword of each key, refined over the graph, [keys, d_lm]."""
        concepts = self.concept_norm(self._pool(embedding_weight))
        for layer in self.refine:
            concepts = layer(concepts)
        return concepts

    def _pool(self, weight: Tensor) -> Tensor:
        """Means of subword embeddings; cached while the language model is frozen and its embeddings are unchanged."""
        if weight.requires_grad and torch.is_grad_enabled():
            return F.embedding_bag(self.token_ids, weight, self.offsets, mode="mean")
        now = (weight.data_ptr(), weight._version)
        if self._pooled is None or self._pooled[0] != now:
            with torch.inference_mode(False), torch.no_grad():
                weight = weight.to(self.gain.dtype)  # the language model alone may compute in shorter numbers
                self._pooled = now, F.embedding_bag(self.token_ids, weight, self.offsets, mode="mean")
        return self._pooled[1]

    def forward(
        self, series: SeriesTokens, embedding_weight: Tensor, mentions: Tensor | None = None, *, explain: bool = False
    ) -> Knowledge:
        """Attend and resample.

        Args:
            series: tokens of the series encoder, [B, V, P, d], with their mask.
            embedding_weight: the language model's input embeddings, [vocabulary, d_lm].
            mentions: bool [B, 2, C], concepts the note affirms and denies, or None when no note is read.
            explain: also return the attention of each token.
        """
        hidden, attention = self.residual(series.tokens) if self.residual is not None else 0.0, None
        if self.keys:
            attended, attention = self._attend(series, embedding_weight, mentions, explain)
            hidden = attended + hidden
        hidden = self.token_norm(hidden).flatten(1, 2)
        mask = series.mask.flatten(1)
        prompts = F.scaled_dot_product_attention(
            self._split(self.latents[None]).expand(len(hidden), -1, -1, -1).to(hidden.dtype),
            self._split(self.resample_key(hidden)),
            self._split(self.resample_value(hidden)),
            attn_mask=_attendable(mask)[:, None, None],
        )
        prompts = prompts.transpose(1, 2).flatten(2)
        return Knowledge(hidden, mask, self.prompt_norm(prompts) * self.gain, attention)

    def _attend(
        self, series: SeriesTokens, embedding_weight: Tensor, mentions: Tensor | None, explain: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Concept values for each token, [B, V, P, d_lm], and the attention [B, V * P, K] if requested.

        With one group for all variables, the tokens of all variables form one sequence of queries.
        """
        assert self.query is not None
        assert self.key is not None
        assert self.value is not None
        size, variables, patches, _ = series.tokens.shape
        groups = len(self.neighbours)
        tokens = series.tokens.transpose(0, 1).reshape(groups, -1, series.tokens.shape[-1])  # [G, (V) * B * P, d]
        query = self._split(self.query(tokens))  # [G, heads, queries, d]
        concepts = self.concept_embeddings(embedding_weight)
        # `F.embedding` rather than indexing: its gradient is several times as fast.
        key = self._split(F.embedding(self.neighbours, self.key(concepts)))  # [G, heads, K, d]
        value = self._split(F.embedding(self.neighbours, self.value(concepts)))
        if groups == 1 and self.prior is None and self.boost is None:
            # Many keys and no bias: the fused kernel, unless attention weights are requested, which it does not return.
            attended = F.scaled_dot_product_attention(query, key, value)
            weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) if explain else None
        else:
            # Few keys: explicit, since the fused kernel has no learned bias, and its fallback is twice as slow.
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
            scores = scores.unflatten(2, (-1, patches)) + self._bias(mentions).to(scores.dtype)
            weights = scores.softmax(-1).flatten(2, 3)
            attended = F.dropout(weights, self.dropout, self.training) @ value
        attended = attended.transpose(1, 2).reshape(variables, size, patches, -1).transpose(0, 1)
        if not explain:
            return attended, None
        assert weights is not None
        attention = weights.float().mean(1).reshape(variables, size, patches, -1)
        return attended, attention.transpose(0, 1).flatten(1, 2)

    def _bias(self, mentions: Tensor | None) -> Tensor:
        """The attention bias of a stay's tokens: [G, heads, B, 1, K], or 1 in place of heads or B."""
        bias = self.absent[:, None]  # [G, 1, K]
        if self.prior is not None:
            bias = bias + self.nearness[:, None] * self.prior[:, None]
            bias = bias + F.embedding(self.kind, self.kind_prior.t()).transpose(1, 2)  # [G, heads, K]
        bias = bias[:, :, None, None]
        if self.boost is not None and mentions is not None:
            mentioned = mentions.to(bias.dtype)[..., self.neighbours]  # [B, 2, G, K]
            bias = bias + torch.einsum("bsgk,hs->ghbk", mentioned, self.boost)[:, :, :, None]
        return bias

    def received(self, attention: Tensor, importance: Tensor) -> Tensor:
        """Attention that each key received, [B, keys].

        Args:
            attention: [B, N, K] of :class:`Knowledge`.
            importance: weight of each token, [B, N]; sums to one if anything was measured.
        """
        groups, width = self.neighbours.shape
        weighed = (attention * importance[..., None]).unflatten(1, (groups, -1)).sum(2)  # [B, G, K]
        totals = weighed.new_zeros(len(weighed), self.keys)
        return totals.index_add(1, self.neighbours.flatten(), weighed.reshape(-1, groups * width))

    def _split(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


def uniform(mask: Tensor) -> Tensor:
    """Equal weights of all measured tokens, [B, N]; zeros if a stay has none."""
    return mask / mask.sum(1, keepdim=True).clamp_min(1)


def _neighbourhoods(concepts: Concepts, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices, nearness and a bias that masks padding, all [groups, K]; every variable has at least one key.

    ``limit`` applies if variables have their own neighbourhoods; a shared row is used completely.
    """
    near_rows = [near.rows() for near in concepts.near]
    rows = near_rows if len(near_rows) == 1 else [row[:limit] or [(0, 0.0)] for row in near_rows]
    width = max(map(len, rows))
    padded = [row + [(0, 0.0)] * (width - len(row)) for row in rows]
    absent = torch.tensor([[0.0] * len(row) + [float("-inf")] * (width - len(row)) for row in rows])
    return (
        torch.tensor([[key for key, _ in row] for row in padded]),
        torch.tensor([[nearness for _, nearness in row] for row in padded]),
        absent,
    )


def _attendable(mask: Tensor) -> Tensor:
    """The mask, with the first token enabled if a stay has none, since a softmax over no tokens is NaN."""
    first = torch.zeros_like(mask)
    first[:, 0] = True
    return mask | (first & ~mask.any(1, keepdim=True))
