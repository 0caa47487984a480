"""Soft targets: a teacher's next-token probabilities, mapped to the tokenizer of the student.

Hinton, Vinyals and Dean (2015, arXiv 1503.02531) train a student on the teacher's probabilities in addition to the
labels; Kim and Rush (2016, arXiv 1606.07947) do so at each word of a text. Both need a common vocabulary. With
different tokenizers, probabilities are compared only where both models are at the same character, by the text that
follows: a student token that spans several of the teacher's gets the product of their probabilities, like the chunks of
Minixhofer, Ponti and Vulić (2025, arXiv 2503.20083). Tokens are not matched by rank, as in universal logit distillation
(Boizard et al. 2024, arXiv 2402.12030), or by similar spelling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from clinragen.data.store import Ragged

#: The part of an alternative that belongs to the rationale: a token like ``<|im_end|>``, the quotation mark or escape
#: of a JSON answer and a line break do not.
_SPOKEN = re.compile(r"(?!<\S+>$)[^\"\\\n]*")
_LEAST = 1e-30  # least log-probability that is kept: smaller probabilities are 0 in float32

#: A position in a target with the probabilities of student tokens there, by id; they sum to at most 1.
Place = tuple[int, dict[int, float]]


class Soft(NamedTuple):
    """Soft targets of one stay at A positions of its target, with at most K tokens each.

    Attributes:
        places: int64 [A], ascending places in the target.
        ids: int64 [A, K], student tokens.
        probs: float32 [A, K]; 0 pads. The rest to 1 belongs to all other tokens.
    """

    places: np.ndarray
    ids: np.ndarray
    probs: np.ndarray


NOTHING = Soft(np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32))


@dataclass
class Alignment:
    """How many rationales and tokens have soft targets, over the targets of a dataset.

    Attributes:
        rationales: rationales in the targets, and how many of them are ``spelt`` by tokens with log-probabilities.
        tokens: student tokens of these rationales, and how many of them are ``aligned``.
    """

    rationales: int = 0
    spelt: int = 0
    tokens: int = 0
    aligned: int = 0


class SoftTargets(Sequence[Soft]):
    """The soft targets of many targets as flat arrays (``arrays``, to be stored)."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self._places = Ragged(arrays["soft_places"], arrays["soft_ends"])
        self._ids = Ragged(arrays["soft_ids"], arrays["soft_id_ends"])

    @classmethod
    def of(cls, targets: Sequence[Sequence[Place]]) -> SoftTargets:
        """Build from the positions of each target."""
        places = Ragged.of([[position for position, _ in target] for target in targets])
        distributions = [probs for target in targets for _, probs in target]
        ids = Ragged.of([[*probs] for probs in distributions])
        flat = np.array([prob for probs in distributions for prob in probs.values()], dtype=np.float32)
        return cls(
            {
                "soft_places": places.flat,
                "soft_ends": places.ends,
                "soft_ids": ids.flat,
                "soft_id_ends": ids.ends,
                "soft_probs": flat,
            }
        )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, target: int) -> Soft:  # type: ignore[override]
        places = np.array(self._places[target], dtype=np.int64)
        last = int(self._places.ends[target])
        first = last - len(places)
        begin = int(self._ids.ends[first - 1]) if first else 0
        counts = np.diff(self._ids.ends[first:last], prepend=begin)
        slots = np.arange(counts.max(initial=0)) < counts[:, None]
        ids, probs = np.zeros(slots.shape, np.int64), np.zeros(slots.shape, np.float32)
        ids[slots] = self._ids.flat[begin : begin + counts.sum()]
        probs[slots] = self.arrays["soft_probs"][begin : begin + counts.sum()]
        return Soft(places, ids, probs)


class Step(NamedTuple):
    """One token of a teacher in a text: its characters from ``begin`` to ``end``, and its alternatives."""

    begin: int
    end: int
    prob: float
    others: list[tuple[str, float]]


def steps_of(text: str, row: dict[str, Any]) -> list[Step] | None:
    """The teacher's tokens in ``" " + text``, the form a student writes; None if they do not spell the text.

    A token that begins before the text has a negative position, unless it begins with the student's space.

    Args:
        text: the rationale, which begins without a space.
        row: of ``schema.LOGPROBS``.
    """
    spelling = "".join(row["tokens"])
    start = spelling.find(text)
    if start < 0:
        return None
    steps, begin = [], 1 - start
    columns = (row["tokens"], row["logprobs"], row["top_tokens"], row["top_logprobs"])
    for token, logprob, words, scores in zip(*columns, strict=True):
        end = begin + len(token)
        others = [(word, math.exp(score)) for word, score in zip(words, scores, strict=True) if word != token]
        real = begin > 0 or (begin == 0 and token.startswith(" "))
        steps.append(Step(begin if real else -1, end, math.exp(logprob), others))
        begin = end
    return steps


class Aligner:
    """Maps a teacher's probabilities to the tokens of a student.

    Args:
        tokenizer: the student's, a fast one of Hugging Face.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._first = lru_cache(1 << 18)(self._first_after)
        backend, special = tokenizer.backend_tokenizer, set(tokenizer.all_special_ids)
        anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1]  # some decoders drop a leading blank
        before = len(backend.decode([anchor], skip_special_tokens=False))
        pairs = [[anchor, token] for token in range(len(tokenizer)) if token not in special]
        texts = backend.decode_batch(pairs, skip_special_tokens=False)
        self._spelt = {text[before:]: pair[1] for text, pair in zip(texts, pairs, strict=True) if "�" not in text}

    def __call__(self, text: str, steps: Sequence[Step]) -> list[Place]:
        """Positions among the tokens of ``" " + text`` at which the teacher also began a token.

        From there the teacher could continue in several ways: by the tokens that it wrote up to the end of the
        student's token, or by an alternative at any of them. Each counts for the student token with which its text
        begins. Text beyond the rationale, and alternatives that are not reported, count for no token.
        """
        piece = " " + text
        at = {step.begin: number for number, step in reversed([*enumerate(steps)])}
        aligned = []
        for position, (token, begin, end) in enumerate(self._tokens(piece)):
            if begin is None or begin not in at:
                continue
            probs: dict[int, float] = {}
            share = 1.0
            for step in steps[at[begin] :]:
                written = piece[begin : step.begin]
                for other, prob in step.others:
                    spoken = _SPOKEN.match(other)
                    first = self._token(piece, begin, written + spoken[0] if spoken else written)
                    if first is not None:
                        probs[first] = probs.get(first, 0.0) + share * prob
                share *= step.prob
                if step.end >= end:
                    break
            probs[token] = probs.get(token, 0.0) + share
            scale = max(1.0, sum(probs.values()))  # tolerance for a server's rounding
            probs = {token: prob / scale for token, prob in probs.items() if prob > _LEAST}
            if probs:
                aligned.append((position, probs))
        return aligned

    def _token(self, piece: str, begin: int, text: str) -> int | None:
        """The student token with which ``text`` begins after ``piece[:begin]``."""
        if not text or text in self._spelt:
            return self._spelt.get(text)
        return self._first(piece[piece.rfind(" ", 0, begin) : begin] if begin else "", text)

    def _first_after(self, word: str, text: str) -> int | None:
        """The first token of ``text`` after a word; None if the tokenizer joins the two."""
        return next((token for token, begin, _ in self._tokens(word + text) if begin == len(word)), None)

    def _tokens(self, text: str) -> Iterator[tuple[int, int | None, int]]:
        """Ids with their first and last character; None as the first if a token begins within a character.

        Some tokenizers leave blanks out of a token's span: it begins where the previous one ended.
        """
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        reach = 0
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            yield token, reach if reach <= start < end else None, end
            reach = max(reach, end)


class TeacherTokens:
    """Finds the soft targets of targets in a teacher's log-probabilities.

    Args:
        table: ``Cohort.logprobs``.
        tokenizer: the student's.

    Attributes:
        alignment: counts over the targets so far.
    """

    def __init__(self, table: pl.DataFrame, tokenizer: Any):
        self.alignment = Alignment()
        self._table = table
        self._align = Aligner(tokenizer)
        self._rows: dict[tuple[int, str], list[int]] = {}
        for number, key in enumerate(table.select("stay_id", "kind").iter_rows()):
            self._rows.setdefault(key, []).append(number)

    def places(self, stay: int, texts: dict[str, str], rationales: dict[str, range]) -> list[Place]:
        """The soft targets of a target, by position.

        Args:
            stay: id of the stay.
            texts: by kind.
            rationales: position of the first token of each rationale in the target.
        """
        places: list[Place] = []
        for kind, positions in rationales.items():
            steps = self._steps(stay, kind, texts[kind])
            aligned = self._align(texts[kind], steps) if steps else []
            places += [(positions[index], probs) for index, probs in aligned if index < len(positions)]
            self.alignment.rationales += 1
            self.alignment.spelt += steps is not None
            self.alignment.tokens += len(positions)
        self.alignment.aligned += len(places)
        return places

    def _steps(self, stay: int, kind: str, text: str) -> list[Step] | None:
        """The tokens that spell a text, if any: a stay may have several rationales of a kind, and some are edited."""
        rows = (self._table.row(number, named=True) for number in self._rows.get((stay, kind), ()))
        return next((steps for row in rows if (steps := steps_of(text, row)) is not None), None)
