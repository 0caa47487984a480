"""Attention attribution: the label head's attention over series tokens, propagated to concepts and hours.

Attention costs nothing beyond the forward pass; `benchmarks/attribution.py` measures whether it is faithful.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from clinragen.choices import Modality
from clinragen.data.dataset import Stay, collate
from clinragen.model.clinragen import ClinRaGen


@torch.inference_mode()
def attention_shares(model: ClinRaGen, stay: Stay, inputs: Sequence[Modality]) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the attention of each phenotype.

    Returns:
        Over the keys of the knowledge [L, keys] and over (variable, block of hours) [L, V, blocks]; the rows of the
        second sum to one, those of the first too where there is knowledge. Zeros when no series is read. A variable's
        summary token is spread evenly over its measured hours.
    """
    where = next(model.parameters()).device
    batch = collate([stay], model.tokenizer.pad_token_id).to(where)
    knowledge = model(batch, list(inputs), targets=False, explain=True).knowledge
    width, count = model.series_encoder.patch_hours, model.series_encoder.patches
    labels, columns = len(model.labels), len(model.statistics.variables)
    keys = np.zeros((labels, len(model.concepts.keys)), dtype=np.float32)
    if knowledge is None or not stay.observed.any():
        return keys, np.zeros((labels, columns, count), dtype=np.float32)
    weights = model.head.attention("series", knowledge.hidden, knowledge.mask)[0]  # [L, N]
    if knowledge.attention is not None:
        shared = knowledge.attention.expand(labels, -1, -1)
        keys = model.concept_attention.received(shared, weights).cpu().numpy()
    tokens = weights.unflatten(1, (columns, count + 1)).cpu().numpy()
    pad = count * width - stay.observed.shape[1]
    measured = np.pad(stay.observed, ((0, 0), (0, pad))).reshape(columns, count, width).sum(-1)
    share = measured / measured.sum(1, keepdims=True).clip(1)
    return keys, tokens[..., :-1] + tokens[..., -1:] * share
