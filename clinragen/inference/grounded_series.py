"""Series sentences that the chart bears out, as a grammar.

Every statement that the measurements of a stay support is offered in every wording. A number that was not measured
cannot be written. Which diagnosis a statement is said to point to is held to the concept graph and to the diagnoses
that the model calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from clinragen.catalog import phenotypes
from clinragen.inference.grounded import Grounded, Piece, Size, Spelling
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.facts import Fact
from clinragen.teacher.series_rationale import (
    ALL_NORMAL,
    LINKS,
    MOST_CLAIMS,
    MOST_WORDS,
    NOT_MEASURED,
    OPENING,
    POINTS_TO,
    WORTH,
    claim,
    kin,
    name,
    reliability,
)
from clinragen.teacher.wording import every, listed

_ENDS = (".", ";")  # marks behind a group
_MARKS = (",", " and", *_ENDS)  # marks behind a statement
MOST_FACTS = 12  # offered to the model: the farthest out of range, those that speak for a called diagnosis first


@dataclass(frozen=True)
class _Place:
    """Where the sentence stands: what may come next depends on this alone."""

    expects: str = "opening"  # opening, statement, link or group
    told: tuple[Fact, ...] = ()
    group: int = 0  # statements of the group that is being written
    listing: bool = False  # the group has begun a list that "and" must close
    last: bool = False  # "and" was written: one statement closes the group
    also: bool = False  # the group stands for itself
    closed: bool = False  # no group may follow
    unsupported: bool = False  # diagnoses without a value have been named


class GroundedSeries(Grounded[_Place]):
    """Follows one series sentence as it is written.

    Args:
        spelling: by the tokenizer of the language model.
        facts: what the series of the stay shows, as the model reads it, normal variables too; None when nothing was
            measured.
        called: phenotype keys that the model calls, each with how sure it is.
        graph: says which findings speak for which phenotype.
        budget: most tokens of the sentence.
        following: ids that open the next section, or end the sequence.
    """

    def __init__(
        self,
        spelling: Spelling,
        facts: Sequence[Fact] | None,
        called: Mapping[str, float],
        graph: ConceptGraph,
        budget: int,
        following: list[int],
    ):
        super().__init__(spelling, Size(budget, MOST_WORDS), following)
        self.measured = facts is not None
        self.called = called
        self.graph = graph
        abnormal = [fact for fact in facts or () if fact.direction != "normal"]
        self.points = {
            fact: [key for key in called if graph.strength(fact.finding, key) >= POINTS_TO] for fact in abnormal
        }
        self.facts = sorted(abnormal, key=self._worth, reverse=True)[:MOST_FACTS]
        normal = {fact.variable for fact in facts or ()} - {fact.variable for fact in abnormal}
        named = [name(variable) for variable in WORTH if variable in normal]
        self.normal = [f" normal {words}." for words in (*named, *(listed(pair) for pair in combinations(named, 2)))]
        self.statements = {fact: self._wordings(fact) for fact in self.facts}
        names = [phenotypes()[key].name for key in called if all(key not in self.points[fact] for fact in self.facts)]
        silent = [*names, *(listed(pair, "or") for pair in combinations(names, 2))]
        self.silent = [f" no value points to {words}" for words in silent]
        links = [f" {link} {phenotypes()[key].name}" for link in LINKS for key in called]
        self.linking = spelling.longest(links, _ENDS)
        self.closing = spelling.longest(self.normal) if self.normal else spelling.longest(self.silent, _ENDS)
        spelling.learn(f"{text}{mark}" for texts in self.statements.values() for text in texts for mark in _MARKS)
        rooms = {
            fact: min((spelling.longest([text], _MARKS) for text in texts), key=lambda size: size.tokens)
            for fact, texts in self.statements.items()
        }
        self.shortest = sorted(rooms.items(), key=lambda pair: pair[1].tokens)
        self._needs: dict[tuple[frozenset[Fact], int], Size] = {}
        self.begin(_Place())

    def least(self, place: _Place) -> Size:
        """Room in which the sentence can be ended from a place."""
        if place.expects == "opening":
            return self.spelling.longest(self._openings()) + (self._room((), 1) if self.facts else Size())
        if place.expects == "link":
            return self.linking
        if place.expects == "statement":
            return self._room(place.told, 2 if place.listing and not place.last else 1)
        if self.normal or self._silent(place):
            return self.closing
        return self._room(place.told, 1)

    def pieces(self, place: _Place, left: Size) -> list[Piece[_Place]]:
        """Everything that may be said at a place."""
        if place.expects == "opening":
            then = replace(place, expects="statement") if self.facts else None
            return [Piece(text, 1.0, then) for text in self._openings()]
        if place.expects == "statement":
            return self._told(place)
        return self._linked(place) if place.expects == "link" else self._following(place)

    def _openings(self) -> list[str]:
        if self.facts:
            return [f" {OPENING}"]
        return [f" {OPENING} {words}." for words in (ALL_NORMAL if self.measured else NOT_MEASURED)]

    def _told(self, place: _Place) -> list[Piece[_Place]]:
        """Each statement not yet made, with the mark behind it."""
        pieces: list[Piece[_Place]] = []
        left = self._left(place.told)
        for fact in left:
            after = replace(place, told=(*place.told, fact), group=place.group + 1)
            others = len({kin(other) for other in left} - {kin(fact)})
            marks: list[tuple[str, _Place | None]] = []
            if place.last or not place.listing:
                if self._links(after):
                    marks.append((",", replace(after, expects="link")))
                else:
                    marks += self._ends(replace(after, closed=True))
            if not place.last:
                if others and len(after.told) < MOST_CLAIMS:
                    marks.append((" and", replace(after, expects="statement", listing=True, last=True)))
                if others > 1 and len(after.told) < MOST_CLAIMS - 1:
                    marks.append((",", replace(after, expects="statement", listing=True)))
            pieces += [Piece(f"{text}{mark}", 1.0, then) for text in self.statements[fact] for mark, then in marks]
        return pieces

    def _linked(self, place: _Place) -> list[Piece[_Place]]:
        """The diagnosis that a group points to."""
        names = phenotypes()
        return [
            Piece(f" {link} {names[key].name}{mark}", self.called[key], then)
            for key in self._links(place)
            for link in LINKS
            for mark, then in self._ends(place)
        ]

    def _following(self, place: _Place) -> list[Piece[_Place]]:
        """What may follow a group: another group, diagnoses that no value points to, or values that are normal."""
        pieces: list[Piece[_Place]] = []
        if self._more(place):
            fresh = _Place("statement", place.told)
            pieces += [*self._told(fresh), Piece(" also", 1.0, replace(fresh, also=True))]
        closed = replace(place, closed=True)
        for silent in self._silent(closed):
            then = replace(closed, unsupported=True)
            pieces += [Piece(f"{silent}{mark}", 1.0, after) for mark, after in self._ends(then)]
        return pieces + [Piece(text, 1.0, None) for text in self.normal]

    def _ends(self, place: _Place) -> list[tuple[str, _Place | None]]:
        """The marks that may close a group, each with where it leads."""
        marks: list[tuple[str, _Place | None]] = [(".", None)]
        if self.normal or self._more(place) or self._silent(place):
            marks.append((";", replace(place, expects="group")))
        return marks

    def _more(self, place: _Place) -> bool:
        """Whether another group may follow."""
        return len(place.told) < MOST_CLAIMS and not place.closed and bool(self._left(place.told))

    def _left(self, told: Sequence[Fact]) -> list[Fact]:
        spent = {variable for fact in told for variable in kin(fact)}
        return [fact for fact in self.facts if fact.variable not in spent]

    def _room(self, told: Sequence[Fact], statements: int) -> Size:
        """Room for the shortest statements of those not yet made, and for what they point to."""
        key = frozenset(told), statements
        if key not in self._needs:
            spent = {variable for fact in told for variable in kin(fact)}
            room, wanted = self.linking, statements
            for fact, size in self.shortest:
                if wanted and fact.variable not in spent:
                    room, wanted, spent = room + size, wanted - 1, {*spent, *kin(fact)}
            self._needs[key] = room
        return self._needs[key]

    def _links(self, place: _Place) -> list[str]:
        """Called diagnoses that a statement of the present group speaks for, by the graph."""
        if place.also:
            return []
        group = place.told[len(place.told) - place.group :]
        return [key for key in self.called if any(key in self.points[fact] for fact in group)]

    def _silent(self, place: _Place) -> list[str]:
        """What may be said of called diagnoses that nothing in the series speaks for, one or two at a time."""
        return [] if place.unsupported else self.silent

    def _worth(self, fact: Fact) -> tuple[bool, float, str]:
        return bool(self.points[fact]), (0.35 + 0.65 * fact.severity) * reliability(fact), fact.finding

    def _wordings(self, fact: Fact) -> list[str]:
        return list(dict.fromkeys(f" {made.statement}" for made in every(lambda by: claim(fact, self.graph, by))))
