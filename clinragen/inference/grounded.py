"""Grounded text as a grammar: the chart determines the allowed statements, and the model chooses among them.

A grammar is a state machine whose steps are pieces of text. Each piece is tokenised separately; the language model's
scores choose among the possible next pieces, token by token. A piece is allowed only if the text can still be completed
within the limit, so that no text is truncated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Protocol

from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.rebuttals import rebuttals
from clinragen.chart.support import SUPPORTS, tie
from clinragen.chart.wording import words
from clinragen.knowledge.graph import ConceptGraph

#: By how much the worth of what is said counts beside the language model's preference.
SHARPNESS = 8.0
#: Belief in a step that leaves out what is worth saying, or says what is not.
UNLIKELY = 1e-3
#: The language model chooses among steps that are believed in at least this much beside the best.
NEARLY = 0.2
#: From this share of what speaks for a diagnosis on, a ground is worth saying.
WORTH_SAYING = 0.02
#: Rebuttals that are offered to the language model, of which it states one at most.
MOST_REBUTTALS = 2
#: Belief in an end without the rebuttal that could be stated.
UNREBUTTED = 0.25


def preferred(share: float, best: float) -> float:
    """Belief in a ground, beside the best of those that may be cited.

    >>> preferred(0.2, 0.4), preferred(0.0, 0.0)
    (0.00390625, 1.0)
    """
    return max(UNLIKELY, (share / best) ** SHARPNESS) if best > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Size:
    """Length of a text, in words and tokens."""

    tokens: int = 0
    words: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.tokens + other.tokens, self.words + other.words)

    def __sub__(self, other: Size) -> Size:
        return Size(self.tokens - other.tokens, self.words - other.words)

    def within(self, other: Size) -> bool:
        """Whether it is at most as long in both measures."""
        return self.tokens <= other.tokens and self.words <= other.words

    def or_more(self, other: Size) -> Size:
        """The larger length in each measure."""
        return Size(max(self.tokens, other.tokens), max(self.words, other.words))


class Spelling:
    """Texts as token ids, cached."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        self._sizes: dict[str, Size] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenise texts in one batch, which is much faster than one by one."""
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
        """The largest length of any text followed by any mark; zero without texts."""
        marked = [f"{text}{mark}" for text in texts for mark in marks]
        self.learn(marked)
        return reduce(Size.or_more, map(self.size, marked), Size())


class Grounds(Protocol):
    """Which findings and phrases may be cited for which diagnosis, and what each is worth."""

    def share(self, item: Finding | NoteEvidence, key: str) -> float:
        """What an item is worth among all that speaks for the diagnosis, 0..1; 0 where it is not to be cited."""
        ...

    def tied(self, item: Finding | NoteEvidence, key: str) -> bool:
        """Whether an item that may be cited is known as a sign of the diagnosis; else it only adds to the estimate."""
        ...

    def least_share(self, item: Finding | NoteEvidence, key: str) -> float:
        """What an item is worth where nothing has a share, however little; 0 where it is not to be cited even then."""
        ...

    def against(self, item: Finding | NoteEvidence, key: str) -> float:
        """How much an item speaks against the diagnosis, beside all that speaks for it; 0 where it does not."""
        ...


def shares_of[Item: (Finding, NoteEvidence)](items: Iterable[Item], key: str, grounds: Grounds) -> dict[Item, float]:
    """The items that may be cited for a diagnosis, each with its share; those with little only where no known sign of
    it has more, for else it would be said that nothing shows it."""
    items = list(items)
    shares = {item: share for item in items if (share := grounds.share(item, key)) > 0}
    if any(grounds.tied(item, key) for item in shares):
        return shares
    return shares | {
        item: share for item in items if item not in shares and (share := grounds.least_share(item, key)) > 0
    }


@dataclass(frozen=True)
class GraphGrounds:
    """By the concept graph alone: a tie counts as what it is worth."""

    graph: ConceptGraph

    def share(self, item: Finding | NoteEvidence, key: str) -> float:
        """The strength of the tie, from ``SUPPORTS`` on."""
        strength = tie(item, key, self.graph)
        return strength if strength >= SUPPORTS else 0.0

    def tied(self, item: Finding | NoteEvidence, key: str) -> bool:
        """Always: nothing else is cited."""
        return True

    def least_share(self, item: Finding | NoteEvidence, key: str) -> float:
        """Nothing more."""
        return 0.0

    def against(self, item: Finding | NoteEvidence, key: str) -> float:
        """Nothing: the graph alone does not say how much a missing sign counts."""
        return 0.0


@dataclass(frozen=True)
class Constraints:
    """Constraints on a text besides the chart.

    Attributes:
        called: phenotype keys that the model calls, each with how sure it is: the text may name no other.
        graph: of the concepts.
        budget: most tokens of the text.
        following: ids that open the next section, or end the sequence.
        grounds: which findings and phrases speak for which phenotype, and how much.
        rebuttable: phenotype keys that a rebuttal matters for, first those that it matters most for, each with the
            least that is to speak against it (``Grounds.against``).
    """

    called: Mapping[str, float]
    graph: ConceptGraph
    budget: int
    following: list[int]
    grounds: Grounds
    rebuttable: Mapping[str, float] = field(default_factory=dict)

    def rebuttals[Item: (Finding, NoteEvidence)](self, items: Iterable[Item]) -> list[str]:
        """What may be said against diagnoses by items that are normal or denied, as ends of the text."""
        stated = rebuttals(items, [*self.rebuttable], self.graph, self.grounds.against, self.rebuttable)
        return [f" {rebuttal.text(self.graph.labels)}." for rebuttal in stated[:MOST_REBUTTALS]]


@dataclass(frozen=True, slots=True)
class Piece[State]:
    """A text that begins with a blank, its probability, and the state it leads to; None ends the whole text."""

    text: str
    belief: float
    then: State | None


@dataclass(frozen=True, slots=True)
class _Thread[State]:
    """A piece being written: its tokens, how many were written before it, and the following state."""

    tokens: list[int]
    begun: int
    belief: float
    then: State | None
    words: int  # length of the whole text after this piece


class Grounded[State](ABC):
    """Tracks one text during generation.

    Args:
        spelling: token ids of texts.
        limit: longest text; if no complete text fits, the shortest is written.
        following: ids that open the next section, or end the sequence.

    Attributes:
        reached: the last state that a written piece led to; None before ``begin``.
    """

    def __init__(self, spelling: Spelling, limit: Size, following: list[int]) -> None:
        self.spelling = spelling
        self.limit = limit
        self.reached: State | None = None
        self._behind = following
        self._tokens = 0
        self._threads: list[_Thread[State]] = []

    @abstractmethod
    def pieces(self, state: State, left: Size) -> list[Piece[State]]:
        """All pieces allowed in a state; the caller drops those that do not fit."""

    @abstractmethod
    def least(self, state: State) -> Size:
        """Least length in which the text can be completed from a state.

        Invariant: for some piece of the state, its length plus the least length of its next state is at most this.
        """

    def begin(self, state: State) -> None:
        """Start generation; to be called when the subclass is fully initialised."""
        self.limit = self.limit.or_more(self.least(state))
        self.reached = state
        self._threads = self._from(state, 0)

    def allowed(self) -> dict[int, float]:
        """Allowed next token ids, each with the probability of its best piece."""
        beliefs: dict[int, float] = {}
        for thread in self._threads:
            token = thread.tokens[self._tokens - thread.begun]
            beliefs[token] = max(beliefs.get(token, 0.0), thread.belief)
        return beliefs

    def advance(self, token: int) -> None:
        """Advance by the generated token."""
        at = self._tokens
        self._tokens += 1
        threads: list[_Thread[State]] = []
        for thread in self._threads:
            if thread.tokens[at - thread.begun] != token:
                continue
            if self._tokens - thread.begun < len(thread.tokens):
                threads.append(thread)
            elif thread.then is None:
                threads.append(_Thread(self._behind, self._tokens, 1.0, None, 0))
            else:
                self.reached = thread.then
                threads += self._from(thread.then, thread.words)
        self._threads = threads

    def _from(self, state: State, count: int) -> list[_Thread[State]]:
        """All pieces that can be written from a state after this many words."""
        left = self.limit - Size(self._tokens, count)
        pieces = self.pieces(state, left)
        self.spelling.learn(piece.text for piece in pieces)
        rooms: dict[int, Size] = {}  # by state, of which many pieces that differ in wording share one
        fitting: list[Piece[State]] = []
        for piece in pieces:
            size, then = self.spelling.size(piece.text), piece.then
            if then is not None:
                if id(then) not in rooms:
                    rooms[id(then)] = self.least(then)
                size = size + rooms[id(then)]
            if size.within(left):
                fitting.append(piece)
        likely = NEARLY * max((piece.belief for piece in fitting), default=0.0)
        return [self._thread(piece, count) for piece in fitting if piece.belief >= likely]

    def _thread(self, piece: Piece[State], count: int) -> _Thread[State]:
        ids, size = self.spelling.ids(piece.text), self.spelling.size(piece.text)
        return _Thread(ids, self._tokens, piece.belief, piece.then, count + size.words)
