"""Grammar of series rationales that the chart supports.

Every statement that the measurements of a stay support is offered in every wording. A number that was not measured
cannot be written. A statement is said to point to diagnoses that the model calls and that it speaks for. What is worth
most to the diagnoses for which note and series have cited little yet is preferred, before what reads likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import log

from clinragen.chart.findings import Finding, normal
from clinragen.chart.limits import most_words
from clinragen.chart.series_statements import (
    ADDING,
    ALL_NORMAL,
    ALSO,
    LINKS,
    NOT_MEASURED,
    OPENING,
    WORTH,
    name,
    no_value_points_to,
    normal_values,
    pointing,
    statement,
)
from clinragen.chart.wording import every
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
from clinragen.inference.grounded_notes import GroundedNote

_ENDS = (".", ";")  # marks behind a group
_MARKS = (",", " and", *_ENDS)  # marks behind a statement
MOST_SAID = 8  # statements: what an estimate rests on takes more of them than a teacher makes
MOST_FINDINGS = 16  # offered to the model: those worth most to called diagnoses first, then the farthest out of range
MOST_GROUPED = 4  # statements of one group
TOGETHER = 0.1  # belief in an end of a group where another statement for the same diagnoses could be joined to it
MOST_LINKED = 3  # diagnoses that a group of statements may point to
BESIDE = 0.15  # what counts, in the order of statements, that only adds to an estimate: the reasons come first


@dataclass(frozen=True)
class _State:
    """State of the sentence; it alone determines what may come next."""

    expects: str = "opening"  # opening, statement, link or group
    findings: tuple[Finding, ...] = ()  # stated so far
    cited: Mapping[str, float] = field(default_factory=dict)  # by finished groups: shares by diagnosis
    group: int = 0  # statements of the group that is being written
    last: bool = False  # "and" was written: one statement closes the group
    listing: bool = False  # the group was begun as a list: "and" closes it
    also: bool = False  # the group stands for itself
    closed: bool = False  # no group may follow
    unsupported: bool = False  # diagnoses without a value have been named

    @property
    def grouped(self) -> tuple[Finding, ...]:
        """The findings of the group that is being written."""
        return self.findings[len(self.findings) - self.group :]


@dataclass(frozen=True, slots=True)
class _Offer:
    """A finding that may be stated: the called diagnoses that it speaks for, and those that it is a known sign of."""

    finding: Finding
    keys: frozenset[str]
    tied: frozenset[str]


class GroundedSeries(Grounded[_State]):
    """Tracks one series sentence during generation.

    Args:
        spelling: token ids of texts.
        findings: findings of the stay's series as the model reads it, including normal variables; None if nothing was
            measured.
        constraints: further constraints.
        note: the text about the note that is written before: what it cites counts as cited.
    """

    def __init__(
        self,
        spelling: Spelling,
        findings: Sequence[Finding] | None,
        constraints: Constraints,
        note: GroundedNote | None = None,
    ):
        super().__init__(
            spelling, Size(constraints.budget, most_words("series", len(constraints.called))), constraints.following
        )
        self.note = note
        self.measured = findings is not None
        self.called, self.graph = called, graph = constraints.called, constraints.graph
        shares = {key: shares_of(findings or (), key, constraints.grounds) for key in called}
        self.points = {
            finding: {key: by_finding[finding] for key, by_finding in shares.items() if finding in by_finding}
            for finding in findings or ()
        }
        # a normal value is stated only where it speaks for a diagnosis, or at the end
        stated = [finding for finding in self.points if finding.direction != "normal" or self.points[finding]]
        self.findings = sorted(stated, key=self._worth, reverse=True)[:MOST_FINDINGS]
        unstated = {finding.variable for finding in normal(findings or ()) if finding not in self.findings}
        named = [name(variable) for variable in WORTH if variable in unstated]
        self.normal = [f" {normal_values(names)}." for names in _some(named, 2)]
        self.statements = {finding: self._wordings(finding) for finding in self.findings}
        silent = [key for key in called if all(key not in self.points[finding] for finding in self.findings)]
        self.silent = [f" {no_value_points_to(keys, graph.labels)}" for keys in _some(silent, 2)]
        tied = constraints.grounds.tied
        self.tied = {
            finding: frozenset(key for key in keys if tied(finding, key)) for finding, keys in self.points.items()
        }
        self.offers = [
            _Offer(finding, frozenset(self.points[finding]), self.tied[finding]) for finding in self.findings
        ]
        links = [f" {pointing(link, [key], graph.labels)}" for link in (*LINKS, *ADDING) for key in called]
        self.linking = spelling.longest(links, _ENDS)
        self.closing = spelling.longest(self.normal) if self.normal else spelling.longest(self.silent, _ENDS)
        spelling.learn(f"{text}{mark}" for texts in self.statements.values() for text in texts for mark in _MARKS)
        self.rooms = {
            finding: min((spelling.longest([text], _MARKS) for text in texts), key=lambda size: size.tokens)
            for finding, texts in self.statements.items()
        }
        self.rebuttals = constraints.rebuttals(
            finding for finding in normal(findings or ()) if finding not in self.findings
        )
        self.begin(_State())

    def least(self, state: _State) -> Size:
        """Least length in which the sentence can be completed from a state."""
        if state.expects == "opening":
            return self.spelling.longest(self._openings()) + (
                self._shortest(self.findings) if self.findings else Size()
            )
        if state.expects == "link":
            return self.linking
        if state.expects == "statement" and state.listing and not state.last:
            rooms = [self.rooms[finding] + self._shortest(self._joining(then)) for finding, then in self._listed(state)]
            return min(rooms, key=lambda size: size.tokens)
        if state.expects == "statement":
            return self._shortest(self._joining(state))
        if self.normal or self._silent(state):
            return self.closing
        if not self._more(state) and self.rebuttals:
            return self.spelling.longest(self.rebuttals)
        return self._shortest(self._left(state.findings))

    def pieces(self, state: _State, left: Size) -> list[Piece[_State]]:
        """All pieces allowed in a state."""
        if state.expects == "opening":
            then = replace(state, expects="statement") if self.findings else None
            return [Piece(text, 1.0, then) for text in self._openings()]
        if state.expects == "statement":
            return self._statements(state)
        return self._linked(state) if state.expects == "link" else self._following(state)

    def _openings(self) -> list[str]:
        if self.findings:
            return [f" {OPENING}"]
        return [f" {OPENING} {words}." for words in (ALL_NORMAL if self.measured else NOT_MEASURED)]

    def _statements(self, state: _State) -> list[Piece[_State]]:
        """Each unused statement with the mark after it."""
        pieces: list[Piece[_State]] = []
        gains = {finding: self._gain(finding, state) for finding in self._joining(state)}
        best = max(gains.values(), default=0.0)
        for finding, gain in gains.items():
            texts, belief = self.statements[finding], preferred(gain, best)
            if state.group and finding.direction == "normal":
                texts = [f" {name(finding.variable)}"]  # "normal sodium and potassium"
            pieces += [
                Piece(f"{text}{mark}", belief * likely, then)
                for mark, then, likely in self._marks(_with(state, finding))
                for text in texts
            ]
        return pieces

    def _marks(self, state: _State) -> list[tuple[str, _State | None, float]]:
        """The marks that may stand behind a statement, each with its next state and the belief in it."""
        marks: list[tuple[str, _State | None, float]] = []
        links = self._links(state)
        others = (
            []
            if state.last or state.group == MOST_GROUPED or len(state.findings) == MOST_SAID
            else self._joining(state)
        )
        worth = any(self.points[other].get(key, 0.0) >= WORTH_SAYING for other in others for key in links)
        if others:
            more = replace(state, expects="statement", listing=True)
            marks.append((" and", replace(more, last=True), 1.0))
            room = state.group < MOST_GROUPED - 1 and len(state.findings) < MOST_SAID - 1
            if room and any(self._joining(then) for _, then in self._after(more)):
                marks.append((",", more, 1.0))
        if state.listing and not state.last:
            return marks
        if links:
            early = TOGETHER if worth else 1.0
            return [*marks, (",", replace(state, expects="link", listing=False), early)]
        return [*marks, *((mark, then, 1.0) for mark, then in self._ends(replace(state, closed=True)))]

    def _listed(self, state: _State) -> list[tuple[Finding, _State]]:
        """The findings that may be stated next if another is to follow them, each with the state it leads to."""
        return [(finding, then) for finding, then in self._after(state) if self._joining(then)]

    def _after(self, state: _State) -> Iterator[tuple[Finding, _State]]:
        """The findings that may be stated next, each with the state it leads to."""
        return ((finding, _with(state, finding)) for finding in self._joining(state))

    def _joining(self, state: _State) -> list[Finding]:
        """The findings that may be stated after those of the group that is being written: they speak for the same
        diagnoses, in the same way, and are normal where those are."""
        spent = _spent(state.findings)
        if not state.group:
            return [offer.finding for offer in self.offers if offer.finding.variable not in spent]
        usual, links = state.grouped[-1].direction == "normal", self._links(state)
        pointed = self._pointed(state, links)
        return [
            offer.finding
            for offer in self.offers
            if offer.finding.variable not in spent
            and (offer.finding.direction == "normal") == usual
            and offer.keys.issuperset(links)
            and offer.tied.issuperset(pointed)
        ]

    def _gain(self, finding: Finding, state: _State) -> float:
        """What a statement adds to the case for the diagnoses: the more of a case is made, the less a share counts."""
        noted = self.note.cited if self.note else {}
        gain = 0.0
        for key in self._links(_with(state, finding)):
            share = self.points[finding][key]
            cited = WORTH_SAYING + state.cited.get(key, 0.0) + noted.get(key, 0.0)
            gain += (1.0 if key in self.tied[finding] else BESIDE) * log(1 + share / cited)
        return gain

    def _worthwhile(self, state: _State) -> bool:
        """Whether something is left to state that is worth it, whatever has been spoken for."""
        return any(
            share >= WORTH_SAYING for other in self._left(state.findings) for share in self.points[other].values()
        )

    def _linked(self, state: _State) -> list[Piece[_State]]:
        """The diagnoses that a group points to, or adds to the estimate of: rather all of them than some."""
        shared = self._links(state)
        shares = {key: sum(self.points[finding][key] for finding in state.grouped) for key in shared}
        pointed = self._pointed(state, shared)
        ranked = sorted(shares, key=lambda key: -shares[key])  # where two are equal, in the order of the labels
        endings = [
            (links, keys) for links, points in ((LINKS, True), (ADDING, False))
            for keys in _some([key for key in ranked if (key in pointed) == points][:MOST_LINKED], MOST_LINKED)
        ]  # fmt: skip
        most = max(sum(shares[key] for key in keys) for _, keys in endings)
        more = self._more(state) and self._worthwhile(state)
        pieces: list[Piece[_State]] = []
        for links, keys in endings:
            belief = preferred(sum(shares[key] for key in keys), most) * min(self.called[key] for key in keys)
            after = replace(
                state, cited={**state.cited, **{key: state.cited.get(key, 0.0) + shares[key] for key in keys}}
            )
            for mark, then in self._ends(after):
                ends_early = mark == "." and more
                unrebutted = UNREBUTTED if mark == "." and self.rebuttals else 1.0
                weighed = belief * (UNLIKELY if ends_early else unrebutted)
                pieces += [Piece(f" {pointing(link, keys, self.graph.labels)}{mark}", weighed, then) for link in links]
        return pieces

    def _following(self, state: _State) -> list[Piece[_State]]:
        """Continuations after a group: another group, diagnoses that no value points to, what speaks against one, or
        normal values."""
        pieces: list[Piece[_State]] = []
        belief = 1.0
        if self._more(state):
            fresh = _State("statement", state.findings, state.cited)
            pieces += self._statements(fresh)
            belief = UNLIKELY if self._worthwhile(state) else 1.0
            pieces.append(Piece(f" {ALSO}", belief, replace(fresh, also=True)))
        closed = replace(state, closed=True)
        for silent in self._silent(closed):
            then = replace(closed, unsupported=True)
            pieces += [Piece(f"{silent}{mark}", belief, after) for mark, after in self._ends(then)]
        pieces += [Piece(text, belief, None) for text in self.rebuttals]
        plain = belief * (UNREBUTTED if self.rebuttals else 1.0)
        return pieces + [Piece(text, plain, None) for text in self.normal]

    def _ends(self, state: _State) -> list[tuple[str, _State | None]]:
        """The marks that may close a group, each with its next state."""
        marks: list[tuple[str, _State | None]] = [(".", None)]
        if self.normal or self.rebuttals or self._more(state) or self._silent(state):
            marks.append((";", replace(state, expects="group")))
        return marks

    def _more(self, state: _State) -> bool:
        """Whether another group may follow."""
        return len(state.findings) < MOST_SAID and not state.closed and bool(self._left(state.findings))

    def _left(self, stated: Sequence[Finding]) -> list[Finding]:
        spent = _spent(stated)
        return [finding for finding in self.findings if finding.variable not in spent]

    def _shortest(self, findings: Iterable[Finding]) -> Size:
        """Room for the shortest of the statements that may be made, and for what it points to."""
        return min((self.rooms[finding] for finding in findings), key=lambda size: size.tokens, default=Size()) + (
            self.linking
        )

    def _links(self, state: _State) -> list[str]:
        """Called diagnoses that every statement of the present group speaks for."""
        if state.also or not state.group:
            return []
        shares = [self.points[finding] for finding in state.grouped]
        return [key for key in self.called if all(key in each for each in shares)]

    def _pointed(self, state: _State, links: Iterable[str]) -> set[str]:
        """Those of the linked diagnoses that every statement of the present group is a known sign of."""
        return set(links).intersection(*(self.tied[finding] for finding in state.grouped))

    def _silent(self, state: _State) -> list[str]:
        """Statements about predicted diagnoses without evidence in the series, one or two at a time."""
        return [] if state.unsupported else self.silent

    def _worth(self, finding: Finding) -> tuple[float, float, str]:
        return sum(self.points[finding].values()), finding.weight, finding.concept

    def _wordings(self, finding: Finding) -> list[str]:
        statements = every(lambda wording: statement(finding, self.graph, wording))
        return list(dict.fromkeys(f" {each.statement}" for each in statements))


def _spent(stated: Iterable[Finding]) -> set[str]:
    """The variables of which nothing more is stated."""
    return {variable for finding in stated for variable in finding.kin}


def _with(state: _State, finding: Finding) -> _State:
    """The state with one more finding stated, in the group that is being written."""
    return replace(state, findings=(*state.findings, finding), group=state.group + 1)


def _some(items: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Every choice of one to so many of the items, the small ones first."""
    return [chosen for count in range(1, most + 1) for chosen in combinations(items, count)]
