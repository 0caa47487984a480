"""Text that the chart bears out, as a grammar: the model chooses what to say, the chart what may be said.

A grammar is a state machine whose steps are pieces of text. Each piece is tokenised alone; the language model's own
scores choose among the pieces that may come next, token by token. A piece is offered only where what it promises still
fits, so that no text is cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from clinragen.chart.wording import words
from clinragen.knowledge.graph import ConceptGraph


@dataclass(frozen=True, slots=True)
class Size:
    """How long a text is."""

    tokens: int = 0
    words: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.tokens + other.tokens, self.words + other.words)

    def __sub__(self, other: Size) -> Size:
        return Size(self.tokens - other.tokens, self.words - other.words)

    def within(self, other: Size) -> bool:
        """Whether it is longer in neither measure."""
        return self.tokens <= other.tokens and self.words <= other.words

    def or_more(self, other: Size) -> Size:
        """Room for either."""
        return Size(max(self.tokens, other.tokens), max(self.words, other.words))


class Spelling:
    """Texts as token ids, remembered."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        self._sizes: dict[str, Size] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenise texts at once, which is much faster than one by one."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if fresh:
            encoded = self._tokenizer(fresh, add_special_tokens=False)["input_ids"]
            self._ids |= zip(fresh, encoded, strict=True)
            self._sizes |= {text: Size(len(ids), words(text)) for text, ids in zip(fresh, encoded, strict=True)}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        if text not in self._ids:
            self.learn([text])
        return self._ids[text]

    def size(self, text: str) -> Size:
        """Length of a text."""
        if text not in self._sizes:
            self.learn([text])
        return self._sizes[text]

    def longest(self, texts: Iterable[str], marks: Sequence[str] = ("",)) -> Size:
        """Room for any of the texts with any of the marks behind it; none where there are no texts."""
        marked = [f"{text}{mark}" for text in texts for mark in marks]
        self.learn(marked)
        return reduce(Size.or_more, map(self.size, marked), Size())


@dataclass(frozen=True)
class Constraints:
    """What a text must keep to besides the chart.

    Attributes:
        called: phenotype keys that the model calls, each with how sure it is: the text may name no other.
        graph: says which findings and phrases speak for which phenotype.
        budget: most tokens of the text.
        following: ids that open the next section, or end the sequence.
    """

    called: Mapping[str, float]
    graph: ConceptGraph
    budget: int
    following: list[int]


@dataclass(frozen=True, slots=True)
class Piece[State]:
    """A text that begins with a blank, the belief in it, and the state it leads to; None ends the whole."""

    text: str
    belief: float
    then: State | None


@dataclass(frozen=True, slots=True)
class _Thread[State]:
    """A piece that is being written: its tokens, the next of them, and where it leads."""

    tokens: list[int]
    at: int
    belief: float
    then: State | None
    words: int  # of the whole text once the piece is written


class Grounded[State](ABC):
    """Follows one text as it is written.

    Args:
        spelling: by the tokenizer of the language model.
        limit: longest text; where nothing whole fits, the shortest is written nevertheless.
        following: ids that open the next section, or end the sequence.
    """

    def __init__(self, spelling: Spelling, limit: Size, following: list[int]) -> None:
        self.spelling = spelling
        self.limit = limit
        self._end: list[_Thread[State]] = [_Thread(following, 0, 1.0, None, 0)]
        self._tokens = 0
        self._threads: list[_Thread[State]] = []

    @abstractmethod
    def pieces(self, state: State, left: Size) -> list[Piece[State]]:
        """Everything that may be said from a state; what does not fit into what is left is dropped by the caller."""

    @abstractmethod
    def least(self, state: State) -> Size:
        """Room in which the text can be ended from a state.

        It must keep its word: some piece of the state must be no longer than this together with the least of where it
        leads.
        """

    def begin(self, state: State) -> None:
        """Start to write: to be called once everything that the grammar goes by is known."""
        self.limit = self.limit.or_more(self.least(state))
        self._threads = self._from(state, 0)

    def allowed(self) -> dict[int, float]:
        """Token ids that may come next, each with the belief in the best of what it leads to."""
        beliefs: dict[int, float] = {}
        for thread in self._threads:
            token = thread.tokens[thread.at]
            beliefs[token] = max(beliefs.get(token, 0.0), thread.belief)
        return beliefs

    def advance(self, token: int) -> None:
        """Tell which token was written."""
        self._tokens += 1
        threads: list[_Thread[State]] = []
        for thread in self._threads:
            if thread.tokens[thread.at] != token:
                continue
            if thread.at + 1 < len(thread.tokens):
                threads.append(replace(thread, at=thread.at + 1))
            else:
                threads += self._end if thread.then is None else self._from(thread.then, thread.words)
        self._threads = threads

    def fits(self, text: str, then: State | None, left: Size) -> bool:
        """Whether a piece fits into what is left, together with what it promises."""
        size = self.spelling.size(text)
        return (size if then is None else size + self.least(then)).within(left)

    def _from(self, state: State, count: int) -> list[_Thread[State]]:
        """Everything that may be written from a state, before which stand so many words."""
        left = self.limit - Size(self._tokens, count)
        pieces = self.pieces(state, left)
        self.spelling.learn(piece.text for piece in pieces)
        return [self._thread(piece, count) for piece in pieces if self.fits(piece.text, piece.then, left)]

    def _thread(self, piece: Piece[State], count: int) -> _Thread[State]:
        ids, size = self.spelling.ids(piece.text), self.spelling.size(piece.text)
        return _Thread(ids, 0, piece.belief, piece.then, count + size.words)
