"""Grammar of note rationales that the note supports.

It has the clauses of the evidence teacher. Their blanks are filled with phrases that the linker finds affirmed or
historical in the note of the stay, and only with those that speak for the diagnosis of the clause, which the model must
call. What the model rests on and the graph does not tie to the diagnosis is said, later, to add to the estimate of it.
Of called diagnoses that nothing in the note speaks for, it says so; it may end with what speaks against one. The
language model chooses the words between, the order, and among the phrases: what a phrase is worth to the diagnosis
counts more than how likely it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

from clinragen.chart.limits import most_words
from clinragen.chart.note_evidence import KINDS, Kind, NoteEvidence, signs
from clinragen.chart.note_statements import (
    ADDS,
    ALTHOUGH,
    CLOSINGS,
    LINKS,
    MOST_SIGNS,
    OPENING,
    clause,
    only_unsupported,
    undiagnosed,
    unsupported,
    without_note,
)
from clinragen.chart.support import citable
from clinragen.inference.grounded import (
    UNLIKELY,
    UNREBUTTED,
    WORTH_SAYING,
    Constraints,
    Grounded,
    Piece,
    Size,
    Spelling,
    preferred,
    shares_of,
)

MOST_PHRASES = 10  # phrases offered per diagnosis, strongest first
MOST_CITED = 6  # phrases of one clause
_BLANK = "\0"


@dataclass(frozen=True)
class _Form:
    """A clause with slots: the text before each and after the last, and the kind of phrase that fills it."""

    texts: tuple[str, ...]
    kinds: tuple[Kind, ...]

    @classmethod
    def of(cls, text: str, kinds: tuple[Kind, ...] = ()) -> _Form:
        """Parse a text in which slots are marked."""
        return cls(tuple(text.split(_BLANK)), kinds)

    def before(self, blank: int) -> str:
        """The text before a slot; a comma belongs to the phrase before it."""
        return f" {self.texts[blank].lstrip(', ')}"

    def behind(self, blank: int) -> str:
        """The mark after a phrase: a comma, or the full stop if nothing follows."""
        text = self.texts[blank + 1]
        return text[:1].strip() if text else "."

    def ends(self, marks: str) -> list[str]:
        """The text after the last slot, with each possible mark."""
        return [f" {self.texts[-1].strip()}{mark}" for mark in marks] if self.texts[-1] else []


class _Topic(NamedTuple):
    """What a clause is about: a diagnosis, by what the graph ties to it, or by what only adds to the estimate of it."""

    key: str
    tied: bool = True


_UNDIAGNOSED = _Topic("")


@dataclass(frozen=True)
class _State:
    """State of the rationale; it alone determines what may come next."""

    remaining: tuple[_Topic, ...] = ()  # what there are phrases for, and no clause yet
    topic: _Topic = _UNDIAGNOSED  # of the clause that is being written
    phrases: tuple[NoteEvidence, ...] = ()  # phrases of that clause
    forms: tuple[_Form, ...] = ()  # how that clause may go on; none between clauses
    opened: bool = True
    cited: Mapping[str, float] = field(default_factory=dict)  # by finished clauses: shares by diagnosis


class GroundedNote(Grounded[_State]):
    """Tracks one note rationale during generation.

    Args:
        spelling: token ids of texts.
        evidence: evidence of the stay's note (``chart.note_evidence.read_note``); None without a note.
        constraints: further constraints.
        denials: what the note denies.
    """

    def __init__(
        self,
        spelling: Spelling,
        evidence: list[NoteEvidence] | None,
        constraints: Constraints,
        denials: Sequence[NoteEvidence] = (),
    ):
        super().__init__(
            spelling, Size(constraints.budget, most_words("note", len(constraints.called))), constraints.following
        )
        self.called = called = constraints.called
        self.labels = constraints.graph.labels
        self.grounds = constraints.grounds
        self.shares: dict[str, dict[NoteEvidence, float]] = {}
        self.phrases = self._ranked(citable(evidence or [], called, constraints.graph))
        self.closings: list[str] = []
        self.closing = Size()
        self.rebuttals = constraints.rebuttals(denials)
        self.rebuttal = spelling.longest(self.rebuttals)
        self.room = {topic: self._room(self._forms(topic, 1), topic) for topic in self.phrases}
        self.further = {topic: self._further(self._forms(topic, MOST_CITED), topic) for topic in self.phrases}
        if evidence is None:
            self.begin(_State(forms=(self._whole(without_note(list(called), self.labels)),)))
        elif not called:
            self.phrases[_UNDIAGNOSED] = signs(evidence)[:MOST_PHRASES]
            forms = _undiagnosed(min(MOST_SIGNS, len(self.phrases[_UNDIAGNOSED])))
            self.further[_UNDIAGNOSED] = self._further(forms, _UNDIAGNOSED)
            self.begin(_State(forms=forms))
        elif not self.phrases:
            self.begin(_State(forms=(self._whole(only_unsupported(list(called), self.labels)),)))
        else:
            argued = {topic.key for topic in self.phrases if topic.tied}
            self.closings = self._closings([key for key in called if key not in argued])
            self.closing = spelling.longest(self.closings)
            self.begin(_State(tuple(self.phrases), opened=False))

    @property
    def cited(self) -> dict[str, float]:
        """What the text cites so far: the diagnoses that it argues for, each with the shares of its grounds."""
        state = self.reached
        assert state is not None
        return self._cited(state) if state.phrases and state.topic.key else dict(state.cited)

    def least(self, state: _State) -> Size:
        """Least length in which the rationale can be completed from a state."""
        if state.forms:
            blanks = min(len(form.kinds) for form in state.forms)
            ends = [text for form in state.forms if len(form.kinds) == blanks for text in form.ends(".;")]
            room = self.spelling.longest(ends) + self.closing
            for _ in range(blanks - len(state.phrases)):
                room = room + self.further[state.topic]
            return room
        room = self.closing if self.closings else self._shortest(state.remaining) if state.remaining else self.rebuttal
        return room if state.opened else self.spelling.size(f" {OPENING},") + room

    def pieces(self, state: _State, left: Size) -> list[Piece[_State]]:
        """All pieces allowed in a state."""
        if state.forms:
            return self._continued(state, left)
        if not state.opened:
            return [Piece(f" {OPENING},", 1.0, replace(state, opened=True))]
        left = left - self.closing
        fitting = [topic for topic in state.remaining if self.room[topic].within(left)]
        if not fitting:
            return self._last()
        fitting = [topic for topic in fitting if topic.tied] or fitting  # the reasons first
        spare = left
        for topic in state.remaining:  # each diagnosis gets a clause before any gets a long one
            if topic.tied == fitting[0].tied:
                spare = spare - self.room[topic]
        pieces: list[Piece[_State]] = []
        for topic in fitting:
            most, more = 1, self.further[topic]
            while most < MOST_CITED and more.within(spare):
                most, more = most + 1, more + self.further[topic]
            pieces += self._continued(replace(state, topic=topic, forms=self._forms(topic, most)), left)
        return pieces

    def _last(self) -> list[Piece[_State]]:
        """What stands behind the clauses: diagnoses without evidence, what speaks against another one, or both."""
        if not self.closings:
            return [Piece(text, 1.0, None) for text in self.rebuttals]
        both = [f"{closing.removesuffix('.')};{text}" for closing in self.closings for text in self.rebuttals]
        plain = UNREBUTTED if both else 1.0
        return [*(Piece(text, plain, None) for text in self.closings), *(Piece(text, 1.0, None) for text in both)]

    def _ranked(self, evidence: Sequence[NoteEvidence]) -> dict[_Topic, list[NoteEvidence]]:
        """The phrases that may be cited for each called diagnosis, each once, what is worth most first."""
        phrases: dict[_Topic, list[NoteEvidence]] = {}
        for key in self.called:
            self.shares[key] = shares = shares_of(evidence, key, self.grounds)
            ranked = sorted(shares, key=lambda item: -shares[item])
            ranked = list({item.phrase: item for item in reversed(ranked)}.values())[::-1]
            for topic in (_Topic(key), _Topic(key, tied=False)):
                if mine := [item for item in ranked if self.grounds.tied(item, key) == topic.tied]:
                    phrases[topic] = mine[:MOST_PHRASES]
        return phrases

    def _continued(self, state: _State, left: Size) -> list[Piece[_State]]:
        """Continuations of a clause: another phrase, or its end."""
        pieces: list[Piece[_State]] = []
        blank = len(state.phrases)
        waiting: dict[tuple[str, Kind, str], list[_Form]] = {}
        for form in state.forms:
            if len(form.kinds) == blank:
                pieces += self._ended(state, form, left)
            else:
                waiting.setdefault((form.before(blank), form.kinds[blank], form.behind(blank)), []).append(form)
        fresh = self._unsaid(state)
        shares = {item: self._share(item, state.topic) for item in fresh}
        choices: list[tuple[float, str, NoteEvidence, _State | None]] = []
        for (before, kind, behind), forms in waiting.items():
            then = replace(state, forms=tuple(forms))
            for item in fresh:
                if item.kind == kind:
                    after = None if behind == "." else replace(then, phrases=(*state.phrases, item))
                    attainable = shares[item] + self._attainable(item, shares, forms, blank + 1)
                    choices.append((attainable, f"{before}{item.phrase}{behind}", item, after))
        best = max((attainable for attainable, *_ in choices), default=0.0)
        for attainable, text, item, after in choices:
            worthless = bool(state.phrases) and bool(state.topic.key) and shares[item] < WORTH_SAYING
            pieces.append(Piece(text, preferred(attainable, best) * (UNLIKELY if worthless else 1.0), after))
        return pieces

    def _attainable(
        self, item: NoteEvidence, shares: Mapping[NoteEvidence, float], forms: Sequence[_Form], blank: int
    ) -> float:
        """The most that the phrases after this one can be worth: each kind is told before the next."""
        left = max(len(form.kinds) for form in forms) - blank
        later = KINDS[KINDS.index(item.kind) :]
        others = sorted(
            (share for other, share in shares.items() if other != item and other.kind in later), reverse=True
        )
        return sum(others[:left])

    def _unsaid(self, state: _State) -> list[NoteEvidence]:
        """Phrases that the clause may yet take."""
        name, phrases = self._name(state.topic), self.phrases.get(state.topic, ())
        return [item for item in phrases if item not in state.phrases and item.phrase != name]

    def _share(self, item: NoteEvidence, topic: _Topic) -> float:
        return self.shares[topic.key][item] if topic.key else 0.0

    def _ended(self, state: _State, form: _Form, left: Size) -> list[Piece[_State]]:
        """The end of a clause: a full stop only if nothing more must or can follow."""
        if not state.topic.key:
            return [Piece(text, 1.0, None) for text in form.ends(".")]
        remaining = tuple(topic for topic in state.remaining if topic != state.topic)
        cited = self._cited(state)
        then = _State(remaining, cited=cited)
        (stopped,), (going_on,) = form.ends("."), form.ends(";")
        room = self.spelling.size(going_on) + self._shortest(remaining)
        belief = self.called[state.topic.key]
        if len(state.phrases) < MOST_CITED and any(
            self._share(item, state.topic) >= WORTH_SAYING for item in self._unsaid(state)
        ):
            belief *= UNLIKELY
        if self.closings or (remaining and room.within(left)):
            return [Piece(going_on, belief, then)]
        if self.rebuttals and (self.spelling.size(going_on) + self.rebuttal).within(left):
            return [Piece(going_on, belief, _State(cited=cited)), Piece(stopped, belief * UNREBUTTED, None)]
        return [Piece(stopped, belief, None)]

    def _cited(self, state: _State) -> dict[str, float]:
        """What is cited when the clause that is being written ends."""
        key, grounds = state.topic.key, list(state.phrases)
        if (record := self._record(state.topic)) is not None and self._share(record, state.topic) >= WORTH_SAYING:
            grounds.append(record)  # no clause leaves it out
        share = sum(self._share(item, state.topic) for item in grounds)
        return {**state.cited, key: state.cited.get(key, 0.0) + share}

    def _record(self, topic: _Topic) -> NoteEvidence | None:
        """The note's own record of the diagnosis."""
        name = self._name(topic)
        return next((item for item in self.phrases[topic] if item.phrase == name), None)

    def _forms(self, topic: _Topic, most: int) -> tuple[_Form, ...]:
        """Every clause on a topic that its phrases can fill, of so many grounds at most."""
        name = self._name(topic)
        record = self._record(topic)
        kinds = Counter(item.kind for item in self.phrases[topic] if item.phrase != name)
        always = record is not None and self._share(record, topic) >= WORTH_SAYING
        past = record.past if record else None
        have = tuple(min(kinds[each], 1 if each == "circumstance" else most) for each in KINDS)
        return _clauses(name, past, have, most, always, LINKS if topic.tied else ADDS)

    def _room(self, forms: tuple[_Form, ...], topic: _Topic) -> Size:
        """Largest length of a clause with one phrase."""
        return self._further(forms, topic) + self.spelling.longest([text for form in forms for text in form.ends(".;")])

    def _further(self, forms: tuple[_Form, ...], topic: _Topic) -> Size:
        """Largest length of a phrase with its surrounding text."""
        blanks = {
            (form.before(blank), kind, form.behind(blank)) for form in forms for blank, kind in enumerate(form.kinds)
        }
        return self.spelling.longest(
            f"{before}{item.phrase}{behind}"
            for before, kind, behind in blanks
            for item in self.phrases[topic]
            if item.kind == kind
        )

    def _shortest(self, topics: tuple[_Topic, ...]) -> Size:
        return min((self.room[topic] for topic in topics), key=lambda size: size.tokens, default=Size())

    def _closings(self, silent: list[str]) -> list[str]:
        """Closings for the diagnoses without evidence: all of them, if a clause still fits."""
        closings: list[str] = []
        for texts in (
            zip(*(unsupported(silent, closing, self.labels) for closing in CLOSINGS), strict=True) if silent else ()
        ):
            closings = [f" {text}." for text in texts]
            room = self.spelling.size(f" {OPENING},") + self._shortest(tuple(self.phrases))
            if (room + self.spelling.longest(closings)).within(self.limit):
                break
        return closings

    def _whole(self, texts: list[str]) -> _Form:
        """The first text that fits, or the last one."""
        fitting = [text for text in texts if self.spelling.size(f" {text}").within(self.limit)]
        return _Form.of((fitting or texts[-1:])[0].removesuffix("."))

    def _name(self, topic: _Topic) -> str:
        return self.labels[topic.key].name if topic.key else ""


@cache
def _clauses(
    name: str,
    record: bool | None,
    have: tuple[int, ...],
    most: int,
    always_recorded: bool,
    links: tuple[tuple[str, str], ...],
) -> tuple[_Form, ...]:
    """Clauses for a diagnosis, with at most this many grounds.

    Args:
        name: name of the diagnosis.
        record: the note names the diagnosis itself, as past (true) or present.
        have: number of phrases of each kind in ``KINDS``.
        most: most grounds of one clause.
        always_recorded: no clause leaves the record out.
        links: what the grounds do for the diagnosis, ``LINKS`` or ``ADDS``.
    """
    forms: dict[_Form, None] = {}
    records = [] if record is None else [[NoteEvidence("", "", 0, 0, name, record)]]
    for recorded in records if always_recorded else [[], *records]:
        for count in range(1 - len(recorded), most + 1 - len(recorded)):
            for kinds in combinations_with_replacement(KINDS, count):
                if all(kinds.count(each) <= there for each, there in zip(KINDS, have, strict=True)):
                    blanks = [_blank(each) for each in kinds]
                    forms |= {_Form.of(clause([*blanks, *recorded], [name], link), kinds): None for link in links}
    return tuple(forms)


@cache
def _undiagnosed(most: int) -> tuple[_Form, ...]:
    """Texts for no diagnosis, with up to this many signs."""
    forms = {_Form.of(undiagnosed([], "").removesuffix(".")): None}
    for count in range(1, most + 1):
        blanks = [_blank("sign")] * count
        forms |= {_Form.of(undiagnosed(blanks, link).removesuffix("."), ("sign",) * count): None for link in ALTHOUGH}
    return tuple(forms)


def _blank(kind: Kind) -> NoteEvidence:
    return NoteEvidence(f"{kind}:" if kind in ("drug", "circumstance") else "", "", 0, 0, _BLANK, kind == "past")
