"""Series sentences that the chart bears out, as a grammar: the model chooses what to say, the chart what may be said.

Every statement that the measurements of a stay support is offered in every wording; the language model's own scores
choose among them, token by token. A number that was not measured cannot be written. Which diagnosis a statement is said
to point to is held to the concept graph and to the diagnoses that the model calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from clinragen.catalog import phenotypes
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.facts import Fact
from clinragen.teacher.series_rationale import (
    ALL_NORMAL,
    LINKS,
    MOST_CLAIMS,
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

MOST_FACTS = 12  # offered to the model: the farthest out of range, those that speak for a called diagnosis first


@dataclass(frozen=True)
class _Place:
    """Where the sentence stands: what may come next depends on this alone."""

    expects: str = "opening"  # opening, statement, link, group or end
    told: tuple[Fact, ...] = ()
    group: int = 0  # statements of the group that is being written
    listing: bool = False  # the group has begun a list that "and" must close
    last: bool = False  # "and" was written: one statement closes the group
    also: bool = False  # the group stands for itself
    closed: bool = False  # no group may follow
    unsupported: bool = False  # diagnoses without a value have been named


@dataclass(frozen=True)
class _Thread:
    """A piece of text that is being written, as tokens, and where it leads."""

    tokens: list[int]
    at: int
    mass: float
    place: _Place


_Piece = tuple[str, float, _Place]  # a text, the belief in it, and where it leads


class Charted:
    """Follows one series sentence as it is written.

    Args:
        tokenizer: of the language model.
        facts: what the series of the stay shows, as the model reads it, normal variables too; None when nothing was
            measured.
        beliefs: of each phenotype, [L], above 0.5 where it is called.
        graph: says which findings speak for which phenotype.
        budget: most tokens of the sentence.
        following: ids that open the next section, or end the sequence.
    """

    def __init__(
        self,
        tokenizer: Any,
        facts: Sequence[Fact] | None,
        beliefs: np.ndarray,
        graph: ConceptGraph,
        budget: int,
        following: list[int],
    ):
        self.tokenizer = tokenizer
        self.measured = facts is not None
        self.graph = graph
        self.following = following
        self.called = {
            key: float(belief) for key, belief in zip(phenotypes(), beliefs, strict=True) if belief > 0.5
        }  # each with how sure the head is
        abnormal = [fact for fact in facts or () if fact.direction != "normal"]
        self.facts = sorted(abnormal, key=self._worth, reverse=True)[:MOST_FACTS]
        normal = {fact.variable for fact in facts or ()} - {fact.variable for fact in abnormal}
        named = [name(variable) for variable in WORTH if variable in normal]
        self.normal = [*named, *(listed(pair) for pair in combinations(named, 2))]
        self.statements = {fact: self._wordings(fact) for fact in self.facts}
        self.ids: dict[str, list[int]] = {}
        told = [text for texts in self.statements.values() for text in texts]
        self.statement = self._longest([f"{text}{mark}" for text in told for mark in (",", " and", ".", ";")])
        links = self._longest([f" {link} {phenotypes()[key].name};" for link in LINKS for key in self.called])
        silent = self._longest([f" no value points to {words};" for words in self._silent(_Place())])
        self.room = budget - links - silent - self._longest([f" normal {words}." for words in self.normal])
        self.ahead = max(self.statement, links)  # tokens of the piece behind which a group may be promised
        self.written = 0
        self.threads = self._next(_Place())

    def allowed(self) -> dict[int, float]:
        """Token ids that may come next, each with the belief in the best of what it leads to."""
        found: dict[int, float] = {}
        for thread in self.threads:
            token = thread.tokens[thread.at]
            found[token] = max(found.get(token, 0.0), thread.mass)
        return found

    def advance(self, token: int) -> None:
        """Tell which token was written."""
        self.written += 1
        kept: list[_Thread] = []
        for thread in self.threads:
            if thread.tokens[thread.at] != token:
                continue
            if thread.at + 1 < len(thread.tokens):
                kept.append(replace(thread, at=thread.at + 1))
            else:
                kept += self._next(thread.place)
        self.threads = kept

    def _next(self, place: _Place) -> list[_Thread]:
        """Everything that may be written from here."""
        if place.expects == "end":
            return [_Thread(self.following, 0, 1.0, place)]
        pieces = {
            "opening": self._openings,
            "statement": self._told,
            "link": self._linked,
            "group": self._following,
        }[place.expects](place)
        self._tokenise([text for text, _, _ in pieces])
        return [_Thread(self.ids[text], 0, mass, after) for text, mass, after in pieces]

    def _openings(self, place: _Place) -> list[_Piece]:
        if not self.facts:
            said = ALL_NORMAL if self.measured else NOT_MEASURED
            return [(f" {OPENING} {words}.", 1.0, replace(place, expects="end")) for words in said]
        return [(f" {OPENING}", 1.0, replace(place, expects="statement"))]

    def _told(self, place: _Place) -> list[_Piece]:
        """Each statement not yet made, with the mark behind it."""
        pieces: list[_Piece] = []
        left = self._left(place)
        for fact in left:
            after = replace(place, told=(*place.told, fact), group=place.group + 1)
            others = len({kin(other) for other in left} - {kin(fact)})
            marks: list[tuple[str, _Place]] = []
            if place.last or not place.listing:
                if self._links(after):
                    marks.append((",", replace(after, expects="link")))
                else:
                    marks += self._ends(replace(after, closed=True))
            if not place.last:
                if others and len(after.told) < MOST_CLAIMS and (place.listing or self._fits(2)):
                    marks.append((" and", replace(after, expects="statement", listing=True, last=True)))
                if others > 1 and len(after.told) < MOST_CLAIMS - 1 and self._fits(3):
                    marks.append((",", replace(after, expects="statement", listing=True)))
            pieces += [(f"{text}{mark}", 1.0, then) for text in self.statements[fact] for mark, then in marks]
        return pieces

    def _linked(self, place: _Place) -> list[_Piece]:
        """The diagnosis that a group points to."""
        names = phenotypes()
        return [
            (f" {link} {names[key].name}{mark}", self.called[key], then)
            for key in self._links(place)
            for link in LINKS
            for mark, then in self._ends(place)
        ]

    def _following(self, place: _Place) -> list[_Piece]:
        """What may follow a group: another group, diagnoses that no value points to, or values that are normal."""
        pieces: list[_Piece] = []
        if self._more(place):
            fresh = _Place("statement", place.told)
            pieces += [*self._told(fresh), (" also", 1.0, replace(fresh, also=True))]
        closed = replace(place, closed=True)
        for silent in self._silent(closed):
            then = replace(closed, unsupported=True)
            pieces += [(f" no value points to {silent}{mark}", 1.0, after) for mark, after in self._ends(then)]
        pieces += [(f" normal {words}.", 1.0, replace(place, expects="end")) for words in self.normal]
        return pieces

    def _ends(self, place: _Place) -> list[tuple[str, _Place]]:
        """The marks that may close a group, each with where it leads."""
        marks = [(".", replace(place, expects="end"))]
        if self.normal or self._more(place, self.ahead) or self._silent(place):
            marks.append((";", replace(place, expects="group")))
        return marks

    def _more(self, place: _Place, ahead: int = 0) -> bool:
        """Whether another group may follow ``ahead`` tokens from here, when what was promised must hold."""
        fits = self._fits(1, ahead) and len(place.told) < MOST_CLAIMS
        return fits and not place.closed and bool(self._left(place))

    def _fits(self, statements: int, ahead: int = 0) -> bool:
        """Whether so many statements and what may close the sentence fit behind ``ahead`` further tokens."""
        return self.written + ahead + statements * self.statement <= self.room

    def _left(self, place: _Place) -> list[Fact]:
        spent = {variable for fact in place.told for variable in kin(fact)}
        return [fact for fact in self.facts if fact.variable not in spent]

    def _links(self, place: _Place) -> list[str]:
        """Called diagnoses that a statement of the present group speaks for, by the graph."""
        if place.also:
            return []
        group = place.told[len(place.told) - place.group :]
        return [key for key in self.called if any(self._ties(fact, key) >= POINTS_TO for fact in group)]

    def _silent(self, place: _Place) -> list[str]:
        """Called diagnoses that nothing in the series speaks for, one or two at a time, in words."""
        if place.unsupported:
            return []
        silent = [key for key in self.called if all(self._ties(fact, key) < POINTS_TO for fact in self.facts)]
        named = [phenotypes()[key].name for key in silent]
        return [*named, *(listed(pair, "or") for pair in combinations(named, 2))]

    def _ties(self, fact: Fact, key: str) -> float:
        return self.graph.evidence[key].get(fact.finding, (0.0, ""))[0]

    def _worth(self, fact: Fact) -> tuple[bool, float, str]:
        speaks = any(self._ties(fact, key) >= POINTS_TO for key in self.called)
        return speaks, (0.35 + 0.65 * fact.severity) * reliability(fact), fact.finding

    def _wordings(self, fact: Fact) -> list[str]:
        return list(dict.fromkeys(f" {made.statement}" for made in every(lambda by: claim(fact, self.graph, by))))

    def _longest(self, texts: list[str]) -> int:
        self._tokenise(texts)
        return max((len(self.ids[text]) for text in texts), default=0)

    def _tokenise(self, texts: list[str]) -> None:
        fresh = [text for text in dict.fromkeys(texts) if text not in self.ids]
        if fresh:
            self.ids |= zip(fresh, self.tokenizer(fresh, add_special_tokens=False)["input_ids"], strict=True)
