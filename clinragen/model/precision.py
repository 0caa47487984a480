"""The numbers in which a language model computes when it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clinragen.choices import NumberFormat
from clinragen.model.clinragen import ClinRaGen

#: Hidden size of a language model below which the conversions cost more than shorter numbers save.
LEAST_WIDTH = 256


def number_format(choice: NumberFormat, where: torch.device, width: int) -> torch.dtype:
    """The type of a language model's numbers.

    Args:
        choice: the user's; ``auto`` is bf16 on a GPU that computes in it, and fp32 elsewhere.
        where: device of the model.
        width: hidden size of the language model.
    """
    if choice == "auto":
        able = where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if able and width >= LEAST_WIDTH else torch.float32
    return torch.bfloat16 if choice == "bf16" else torch.float32


@contextmanager
def numbers_of(model: ClinRaGen, kind: torch.dtype) -> Iterator[None]:
    """Compute with a language model in numbers of this type for a while; its own weights return unchanged.

    Args:
        model: in evaluation mode, on its device. Its series encoder, attention and label head remain as they are.
        kind: float32 or bfloat16.
    """
    weights = [weight for weight in model.language_model.parameters() if weight.dtype != kind]
    whole = [weight.data for weight in weights]
    try:
        for weight in weights:
            weight.data = weight.data.to(kind)
        model.eval()  # it drops what was computed from the weights as they were
        yield
    finally:
        for weight, data in zip(weights, whole, strict=True):
            weight.data = data
        if weights:
            model.eval()
