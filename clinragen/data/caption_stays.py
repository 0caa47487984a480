"""Stays whose series is to be put into words: the caption is the target, and of the rest only the series is read."""

from __future__ import annotations

from dataclasses import replace

from torch.utils.data import Dataset

from clinragen.data.dataset import Stay, StayDataset
from clinragen.data.soft_targets import NOTHING
from clinragen.data.store import Ragged


class CaptionStays(Dataset[Stay]):
    """The stays of a dataset without note or caption to read, and with the caption as target.

    Args:
        stays: the stays.
        targets: whether captions are needed; if not, the targets are empty.
    """

    def __init__(self, stays: StayDataset, *, targets: bool = True) -> None:
        self.stays = stays
        eos = stays.tokenizer.eos_token_id
        most = stays.max_target_tokens - 1
        captions = [[*ids, eos] for ids in stays.in_words(most)] if targets else [[] for _ in range(len(stays))]
        self.captions = Ragged.of(captions)

    def begin(self, epoch: int) -> None:
        """Start an epoch of training: nothing changes."""

    def length(self, index: int) -> int:
        """Tokens of a caption."""
        return 1 + self.captions.length(index)

    def __len__(self) -> int:
        return len(self.stays)

    def __getitem__(self, index: int) -> Stay:
        stay = self.stays[index]
        return replace(stay, note_ids=[], caption_ids=[], soft=NOTHING, target_ids=self.captions[index])
