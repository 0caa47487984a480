"""Grammar of series rationales that the chart supports.

Every statement that the measurements of a stay support is allowed in every wording. A number that was not measured
cannot be written. A statement can point to a diagnosis only if the concept graph supports it and the model predicts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from clinragen.chart.findings import Finding
from clinragen.chart.series_statements import (
    ALL_NORMAL,
    ALSO,
    LINKS,
    MOST_STATEMENTS,
    MOST_WORDS,
    NOT_MEASURED,
    OPENING,
    WORTH,
    name,
    no_value_points_to,
    normal_values,
    pointing,
    statement,
)
from clinragen.chart.support import supported
from clinragen.chart.wording import every
from clinragen.inference.grounded import Constraints, Grounded, Piece, Size, Spelling

_ENDS = (".", ";")  # marks after a group
_MARKS = (",", " and", *_ENDS)  # marks after a statement
MOST_FINDINGS = 12  # most statements offered: those for a predicted diagnosis first, then the farthest out of range


@dataclass(frozen=True)
class _State:
    """State of the sentence; it alone determines what may come next."""

    expects: str = "opening"  # opening, statement, link or group
    findings: tuple[Finding, ...] = ()  # stated so far
    group: int = 0  # statements of the current group
    listing: bool = False  # the group has started a list that "and" must close
    last: bool = False  # "and" was written: one statement closes the group
    also: bool = False  # the group stands for itself
    closed: bool = False  # no group may follow
    unsupported: bool = False  # diagnoses without a value have been named


class GroundedSeries(Grounded[_State]):
    """Tracks one series sentence during generation.

    Args:
        spelling: token ids of texts.
        findings: findings of the stay's series as the model reads it, including normal variables; None if nothing was
            measured.
        constraints: further constraints.
    """

    def __init__(self, spelling: Spelling, findings: Sequence[Finding] | None, constraints: Constraints):
        super().__init__(spelling, Size(constraints.budget, MOST_WORDS), constraints.following)
        self.measured = findings is not None
        self.called, self.graph = called, graph = constraints.called, constraints.graph
        abnormal = [finding for finding in findings or () if finding.direction != "normal"]
        self.points = {finding: supported(finding, called, graph) for finding in abnormal}
        self.findings = sorted(abnormal, key=self._worth, reverse=True)[:MOST_FINDINGS]
        normal = {finding.variable for finding in findings or ()} - {finding.variable for finding in abnormal}
        named = [name(variable) for variable in WORTH if variable in normal]
        self.normal = [f" {normal_values(names)}." for names in _one_or_two(named)]
        self.statements = {finding: self._wordings(finding) for finding in self.findings}
        silent = [key for key in called if all(key not in self.points[finding] for finding in self.findings)]
        self.silent = [f" {no_value_points_to(keys, graph.labels)}" for keys in _one_or_two(silent)]
        links = [f" {pointing(link, [key], graph.labels)}" for link in LINKS for key in called]
        self.linking = spelling.longest(links, _ENDS)
        self.closing = spelling.longest(self.normal) if self.normal else spelling.longest(self.silent, _ENDS)
        spelling.learn(f"{text}{mark}" for texts in self.statements.values() for text in texts for mark in _MARKS)
        rooms = {
            finding: min((spelling.longest([text], _MARKS) for text in texts), key=lambda size: size.tokens)
            for finding, texts in self.statements.items()
        }
        self.shortest = sorted(rooms.items(), key=lambda pair: pair[1].tokens)
        self._needs: dict[tuple[frozenset[Finding], int], Size] = {}
        self.begin(_State())

    def least(self, state: _State) -> Size:
        """Least length in which the sentence can be completed from a state."""
        if state.expects == "opening":
            return self.spelling.longest(self._openings()) + (self._room((), 1) if self.findings else Size())
        if state.expects == "link":
            return self.linking
        if state.expects == "statement":
            return self._room(state.findings, 2 if state.listing and not state.last else 1)
        if self.normal or self._silent(state):
            return self.closing
        return self._room(state.findings, 1)

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
        left = self._left(state.findings)
        for finding in left:
            after = replace(state, findings=(*state.findings, finding), group=state.group + 1)
            others = len({other.kin for other in left} - {finding.kin})
            marks: list[tuple[str, _State | None]] = []
            if state.last or not state.listing:
                if self._links(after):
                    marks.append((",", replace(after, expects="link")))
                else:
                    marks += self._ends(replace(after, closed=True))
            if not state.last:
                if others and len(after.findings) < MOST_STATEMENTS:
                    marks.append((" and", replace(after, expects="statement", listing=True, last=True)))
                if others > 1 and len(after.findings) < MOST_STATEMENTS - 1:
                    marks.append((",", replace(after, expects="statement", listing=True)))
            pieces += [Piece(f"{text}{mark}", 1.0, then) for text in self.statements[finding] for mark, then in marks]
        return pieces

    def _linked(self, state: _State) -> list[Piece[_State]]:
        """The diagnosis that a group points to."""
        return [
            Piece(f" {pointing(link, [key], self.graph.labels)}{mark}", self.called[key], then)
            for key in self._links(state)
            for link in LINKS
            for mark, then in self._ends(state)
        ]

    def _following(self, state: _State) -> list[Piece[_State]]:
        """Continuations after a group: another group, diagnoses that no value points to, or normal values."""
        pieces: list[Piece[_State]] = []
        if self._more(state):
            fresh = _State("statement", state.findings)
            pieces += [*self._statements(fresh), Piece(f" {ALSO}", 1.0, replace(fresh, also=True))]
        closed = replace(state, closed=True)
        for silent in self._silent(closed):
            then = replace(closed, unsupported=True)
            pieces += [Piece(f"{silent}{mark}", 1.0, after) for mark, after in self._ends(then)]
        return pieces + [Piece(text, 1.0, None) for text in self.normal]

    def _ends(self, state: _State) -> list[tuple[str, _State | None]]:
        """The marks that may close a group, each with its next state."""
        marks: list[tuple[str, _State | None]] = [(".", None)]
        if self.normal or self._more(state) or self._silent(state):
            marks.append((";", replace(state, expects="group")))
        return marks

    def _more(self, state: _State) -> bool:
        """Whether another group may follow."""
        return len(state.findings) < MOST_STATEMENTS and not state.closed and bool(self._left(state.findings))

    def _left(self, stated: Sequence[Finding]) -> list[Finding]:
        spent = {variable for finding in stated for variable in finding.kin}
        return [finding for finding in self.findings if finding.variable not in spent]

    def _room(self, stated: Sequence[Finding], statements: int) -> Size:
        """Length of the shortest unused statements, and of the diagnoses they point to."""
        key = frozenset(stated), statements
        if key not in self._needs:
            spent = {variable for finding in stated for variable in finding.kin}
            room, missing = self.linking, statements
            for finding, size in self.shortest:
                if missing and finding.variable not in spent:
                    room, missing, spent = room + size, missing - 1, {*spent, *finding.kin}
            self._needs[key] = room
        return self._needs[key]

    def _links(self, state: _State) -> list[str]:
        """Predicted diagnoses that a statement of the current group supports, by the graph."""
        if state.also:
            return []
        group = state.findings[len(state.findings) - state.group :]
        return [key for key in self.called if any(key in self.points[finding] for finding in group)]

    def _silent(self, state: _State) -> list[str]:
        """Statements about predicted diagnoses without evidence in the series, one or two at a time."""
        return [] if state.unsupported else self.silent

    def _worth(self, finding: Finding) -> tuple[bool, float, str]:
        return bool(self.points[finding]), finding.weight, finding.concept

    def _wordings(self, finding: Finding) -> list[str]:
        statements = every(lambda wording: statement(finding, self.graph, wording))
        return list(dict.fromkeys(f" {each.statement}" for each in statements))


def _one_or_two(items: Sequence[str]) -> list[tuple[str, ...]]:
    """Each of the items alone, then each pair."""
    return [*combinations(items, 1), *combinations(items, 2)]
