"""Greedy generation along a grammar, which asks the language model only where there is a choice.

Tokens that have to follow are read in one pass as far as all texts have them, the output layer scores only the texts
that choose, what remains of a text after its last choice is never read, and finished texts leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutput

#: Finished texts leave the batch when they are at least this share of it: the memory of all others is copied for it.
LEAVING = 0.1


class Guide(Protocol):
    """The grammar of B texts, which moves on with each."""

    def begin(self, texts: int) -> None:
        """Stand before the first token of so many texts."""
        ...

    def certain(self, text: int) -> list[int]:
        """Move a text on by the tokens that have to follow, up to the next choice or the end of sequence."""
        ...

    def choose(self, text: int, logits: Tensor) -> int:
        """Move a text on by the token that is best by logits [vocabulary], where there is a choice."""
        ...


@dataclass
class Cursor:
    """Where a model stands in B texts that it reads.

    Attributes:
        start: ids that it reads before their first token.
        cache: what it remembers.
        inputs: further inputs of each pass, with the batch in front.
    """

    start: list[int]
    cache: Cache
    inputs: dict[str, Any]

    def keep(self, rows: list[int]) -> None:
        """Keep these rows of the batch alone."""
        chosen = torch.tensor(rows, device=self.inputs["attention_mask"].device)
        self.cache.batch_select_indices(chosen)
        for name, value in self.inputs.items():
            if isinstance(value, BaseModelOutput):
                assert value.last_hidden_state is not None
                self.inputs[name] = BaseModelOutput(last_hidden_state=value.last_hidden_state[chosen])
            else:
                self.inputs[name] = value[chosen]


class Reader(Protocol):
    """A language model that reads texts on."""

    def read_on(self, cursor: Cursor, ids: Tensor, choosing: Tensor) -> Tensor:
        """Read ids [B, S]: the logits that follow the last of them in the rows of ``choosing`` [B], of n [n, vocab]."""
        ...


def write(reader: Reader, cursor: Cursor, guide: Guide, eos: int, pad: int) -> Tensor:
    """The texts of a batch, each the likeliest token by token.

    Args:
        reader: the language model.
        cursor: before the first token of B texts.
        guide: their grammar.
        eos: ends a text.
        pad: fills up the shorter texts.

    Returns:
        Ids [B, longest], with the end of sequence.
    """
    count, device = len(cursor.inputs["attention_mask"]), cursor.inputs["attention_mask"].device
    guide.begin(count)
    texts = [guide.certain(text) for text in range(count)]
    unread = [[*cursor.start, *text] for text in texts]
    rows = [*range(count)]  # the text of each row of the batch
    while left := [row for row, text in enumerate(rows) if texts[text][-1:] != [eos]]:
        if len(left) <= (1 - LEAVING) * len(rows):
            cursor.keep(left)
            rows, left = [rows[row] for row in left], [*range(len(left))]
        length = min(len(unread[rows[row]]) for row in left)
        choosing = [row for row in left if len(unread[rows[row]]) == length]
        ids = torch.full((len(rows), length), pad, device=device)
        ids[left] = torch.tensor([unread[rows[row]][:length] for row in left], device=device)
        scored = torch.zeros(len(rows), dtype=torch.bool, device=device)
        scored[choosing] = True
        logits = reader.read_on(cursor, ids, scored).float().cpu()
        for row in left:
            unread[rows[row]] = unread[rows[row]][length:]
        for row, scores in zip(choosing, logits, strict=True):
            text = rows[row]
            unread[text] = [guide.choose(text, scores)]
            if unread[text] != [eos]:
                unread[text] += guide.certain(text)
            texts[text] += unread[text]
    return pad_sequence([torch.tensor(text) for text in texts], batch_first=True, padding_value=pad)
