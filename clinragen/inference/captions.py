"""The series in words, as a student of several tasks writes it from the prompts of the series alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from clinragen.chart.captions import TITLE
from clinragen.choices import CAPTIONS
from clinragen.data.caption_stays import CaptionStays
from clinragen.data.dataset import StayDataset
from clinragen.inference.chart_claims import ChartClaims
from clinragen.inference.predict import TrainedModel, batches
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.task_heads import read_instruction
from clinragen.tasks import FOLDER


def caption_writer(trained: TrainedModel) -> ClinRaGen:
    """The student, instructed to write captions, on its device.

    Raises:
        UserError: it did not learn to.
    """
    instruction = read_instruction(trained.run.model / FOLDER / CAPTIONS)
    return trained.model.instructed(instruction).to(trained.device).eval()


@torch.inference_mode()
def write_captions(writer: ClinRaGen, stays: StayDataset, size: int = 64) -> list[str]:
    """What a student writes of the series of each stay: greedily, behind the title, as reports behind their markers.

    Args:
        writer: the student, instructed to write captions, in evaluation mode.
        stays: the stays.
        size: stays per batch.
    """
    texts = [""] * len(stays)
    where = writer.language_model.embedding_weight.device
    titled = LogitsProcessorList([_Titled(writer)])
    for rows, batch in batches(writer, CaptionStays(stays, targets=False), size):
        ids = writer.generate(batch.to(where), ["series"], titled, writer.config.max_target_tokens)
        for row, text in zip(rows, writer.tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            texts[row] = text.strip().removeprefix(TITLE).strip()
    return texts


class _Titled(LogitsProcessor):
    """Opens each text with the title of captions."""

    def __init__(self, writer: ClinRaGen) -> None:
        self._ids = writer.tokenizer(f" {TITLE}", add_special_tokens=False)["input_ids"]
        self._skip = writer.language_model.decoder_start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        position = input_ids.shape[1] - self._skip
        if position < len(self._ids):
            scores = torch.full_like(scores, -torch.inf)
            scores[:, self._ids[position]] = 0.0
        return scores


def supported_shares(stays: StayDataset, texts: Sequence[str], writer: ClinRaGen) -> np.ndarray:
    """The share of the claims of each caption that the measurements of the stay support, [n]; 0 without any claim."""
    claims = ChartClaims(stays, writer.graph, stays.measurements())
    pairs = zip(stays.stay_ids.tolist(), texts, strict=True)
    return np.array([claims.supported_share({"series": text}, stay, []) for stay, text in pairs])
