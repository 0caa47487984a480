"""PatchTST over hourly values, plus binned summaries.

Unusual here: missingness and variable identity are part of the patch. A patch of P hours of one variable is the vector
``[P values | P observed flags | identity]``, so the stock ``PatchTSTModel``, whose weights are shared by all channels,
still knows what was measured and of which variable, without a change to the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PatchTSTConfig, PatchTSTModel

from clinragen.data.series import SUMMARIES, SeriesStatistics, summarise
from clinragen.model.config import SeriesConfig


@dataclass
class SeriesTokens:
    """Tokens of a batch of series: P of each variable, the patches in time order and then the summary.

    Attributes:
        tokens: [B, V, P, d].
        mask: bool [B, V, P]: the token holds at least one measurement.
        bins: [B, V, F] piecewise-linear encodings of the summaries, 0 where never measured.
    """

    tokens: Tensor
    mask: Tensor
    bins: Tensor


class PiecewiseLinear(nn.Module):
    """Piecewise-linear encoding of numbers (Gorishniy et al. 2022): the filled part of each bin, and a missing flag."""

    edges: Tensor

    def __init__(self, statistics: SeriesStatistics):
        super().__init__()
        self.register_buffer("edges", torch.tensor(statistics.edges))  # [V, S, K + 1]
        self.features = len(SUMMARIES) * (self.edges.shape[-1] - 1) + 1

    @property
    def missing(self) -> Tensor:
        """The features of a variable that was never measured, [F]."""
        return torch.nn.functional.one_hot(torch.tensor(self.features - 1), self.features)

    def forward(self, summaries: Tensor) -> Tensor:
        """Summaries [B, V, S] with NaN for missing to features [B, V, F]."""
        left, right = self.edges[..., :-1], self.edges[..., 1:]
        offset = summaries.nan_to_num()[..., None] - left
        width = right - left
        filled = torch.where(width > 0, offset / width.clamp_min(1e-12), (offset >= 0).to(offset.dtype)).clamp(0, 1)
        missing = summaries[..., :1].isnan()
        filled = filled.flatten(-2).masked_fill(missing, 0)
        return torch.cat([filled, missing.to(filled.dtype)], dim=-1)


class SeriesEncoder(nn.Module):
    """Hourly series of V variables to tokens: one per variable and patch, and one summary token per variable."""

    def __init__(self, config: SeriesConfig, statistics: SeriesStatistics):
        super().__init__()
        self.variables = len(statistics.variables)
        self.patch_hours = config.patch_hours
        # a window no longer than one patch is padded to two, of which nothing was observed in the second: PatchTST
        # takes no single one
        self.patches = max(2, -(-statistics.window.bins // config.patch_hours))
        width = 2 * config.patch_hours + config.identity
        self.identity = nn.Parameter(torch.randn(self.variables, config.identity) * 0.5)
        self.patch_transformer = PatchTSTModel(
            PatchTSTConfig(
                num_input_channels=self.variables,
                context_length=self.patches * width,
                patch_length=width,
                patch_stride=width,
                d_model=config.d_model,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                ffn_dim=config.ffn,
                norm_type="layernorm",  # batch statistics would tie a stay's output to its batch mates
                scaling=None,  # per-stay scaling would erase the clinical level
                attention_dropout=config.dropout,
                ff_dropout=config.dropout,
                path_dropout=0.0,
            )
        )
        self.encode = PiecewiseLinear(statistics)
        self.summary_weight = nn.Parameter(
            torch.randn(self.variables, self.encode.features, config.d_model) * self.encode.features**-0.5
        )
        self.summary_bias = nn.Parameter(torch.zeros(self.variables, config.d_model))
        self.variable_embedding = nn.Embedding(self.variables, config.d_model)
        self.norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor, observed: Tensor) -> SeriesTokens:
        """Values and observed mask, both [B, V, T]."""
        size = len(values)
        bins = self.encode(summarise(values, observed))
        summary = torch.einsum("bvf,vfd->bvd", bins.to(self.summary_weight.dtype), self.summary_weight)
        summary = torch.nn.functional.gelu(summary + self.summary_bias)

        pad = self.patches * self.patch_hours - values.shape[-1]
        values = nn.functional.pad(values, (0, pad)).unflatten(-1, (self.patches, self.patch_hours))
        in_patch = nn.functional.pad(observed, (0, pad)).unflatten(-1, (self.patches, self.patch_hours))
        identity = self.identity[None, :, None].expand(size, -1, self.patches, -1)
        patches = torch.cat(
            [values, in_patch.to(values.dtype), identity.to(values.dtype)], dim=-1
        )  # [B, V, patches, width]
        hidden = self.patch_transformer(patches.flatten(-2).transpose(1, 2)).last_hidden_state  # [B, V, patches, d]

        tokens = torch.cat([hidden, summary[:, :, None]], dim=2) + self.variable_embedding.weight[None, :, None]
        mask = torch.cat([in_patch.any(-1), in_patch.flatten(-2).any(-1, keepdim=True)], dim=2)
        return SeriesTokens(self.dropout(self.norm(tokens)), mask, bins)
