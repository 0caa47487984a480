"""Cue phrases in a sentence: names of variables and terms (heads), states, trends, frequencies, words before numbers.

Names and findings come from the concept graph, everything else from ``configs/verify``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from clinragen.catalog import variables
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.phrases import PhraseTrie, british, squeezed
from clinragen.verification.cues import words
from clinragen.verification.masked import Cue
from clinragen.verification.statements import Side

_TOKEN = re.compile(r"[a-z]+\d*[a-z]*|[<>=≤≥~≈]+|\d+(?:\.\d+)?|[,;:()/]|\0+", re.I)
#: Section of words.yaml -> kind of cue.
_KINDS = {
    "states": "state", "trends": "trend", "often": "often", "severity": "severity", "numbers": "how",
    "about": "about", "denied": "denied", "linking": "linking",
}  # fmt: skip


class Head(NamedTuple):
    """What a statement is about.

    Attributes:
        variables: catalogue keys. None: something outside the catalogue, about which no claim is made.
        sides: of a term such as hypotension. ``absent``: a term that denies its sides (afebrile).
        bound: of a term such as anuria: above or below, and the bound in the variable's unit.
        how: of a term for an extreme: Tmax.
        mirrored: a deficit: the sign of the number is inverted.
    """

    variables: tuple[str, ...]
    sides: tuple[Side, ...] = ()
    absent: bool = False
    bound: tuple[Literal["above", "below"], float] | None = None
    how: str | None = None
    mirrored: bool = False


class CuePhrases:
    """Finds cue phrases by longest match."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._phrases: PhraseTrie[tuple[str, Any]] = PhraseTrie()
        for phrase, keys in _names(graph).items():
            self._add(phrase, ("head", Head(keys)))
        for phrase, head in _findings(graph):
            if not self._composed(phrase):
                self._add(phrase, ("head", head))
        for phrase, head in _terms():  # these are more specific about a phrase than the graph
            self._add(phrase, ("head", head), instead=True)
        for section, kind in _KINDS.items():
            for entry in words(section):
                for phrase in entry.words:
                    self._add(phrase, (kind, entry.means))
        for entry in words("others"):
            for phrase in entry.words:
                self._add(phrase, ("head", Head(())))

    def scan(self, text: str) -> Iterator[Cue]:
        """Cues in reading order; they do not overlap."""
        tokens, starts = [], []
        for match in _TOKEN.finditer(text):
            tokens.append(match.group().lower())
            starts.append(match.start())
        position = 0
        while position < len(tokens):
            match = self._phrases.longest(tokens, position, text, starts)
            if match is None:
                position += 1
                continue
            ahead, (kind, value) = match
            yield Cue(kind, starts[position], starts[ahead - 1] + len(tokens[ahead - 1]), value)
            position = ahead

    def _composed(self, phrase: str) -> bool:
        """Whether a finding's name is a variable's name plus other words, which are then read one by one."""
        return len(phrase.split()) > 1 and any(cue.kind == "head" for cue in self.scan(phrase))

    def _add(self, phrase: str, meaning: tuple[str, Any], *, instead: bool = False) -> None:
        """Add a phrase in its spellings ("=T" in exactly that case); an existing one is kept, unless ``instead``."""
        exact = len(phrase) > 1 and phrase.startswith("=") and phrase[1].isalpha()
        form = phrase[1:] if exact else phrase
        for spelling in {form} | british(form):
            meanings = self._phrases.at([token.lower() for token in _TOKEN.findall(spelling)])
            if exact:
                meanings.exact = {squeezed(spelling): meaning} | (meanings.exact or {})
            elif instead or meanings.any_case is None:
                meanings.any_case = meaning


def _names(graph: ConceptGraph) -> dict[str, tuple[str, ...]]:
    """Names of variables: the catalogue's, the graph's, and those of names.yaml."""
    names: dict[str, tuple[str, ...]] = {}
    for key, variable in variables().items():
        label = variable.label.partition(" (")[0]
        names |= {label: (key,), label.replace(",", ""): (key,)}
        node = f"variable:{key}"
        if node in graph.graph:
            forms = (graph.name(node).partition(" (")[0], *graph.nodes[node]["synonyms"])
            names |= dict.fromkeys(forms, (key,))
    for entry in words("names"):
        names |= dict.fromkeys(entry.words, _listed(entry.means))
    for person in ("height", "weight"):  # attributes of a person, not measurements of the series
        del names[person]
    extremes = {phrase.lower() for entry in words("extremes") for phrase in entry.words}
    return {form: keys for form, keys in names.items() if form.lower() not in extremes}


def _findings(graph: ConceptGraph) -> Iterator[tuple[str, Head]]:
    for data in graph.nodes.values():
        if data["kind"] == "finding" and data["variable"] and data["direction"] in ("high", "low"):
            for phrase in (data["name"], *data["synonyms"]):
                yield phrase, Head((data["variable"],), (data["direction"],))


def _terms() -> Iterator[tuple[str, Head]]:
    """Terms that are a statement by themselves, such as hypotension."""
    for entry in words("terms"):
        keys, side = entry.means.rsplit(" ", 1)
        yield from _each(entry.words, Head(_listed(keys), _sides(side)))
    for entry in words("absent"):
        keys, _, sides = entry.means.partition(":")
        yield from _each(entry.words, Head(_listed(keys), _sides(sides), absent=True))
    for entry in words("extremes"):
        key, how = entry.means.split()
        yield from _each(entry.words, Head((key,), how=how))
    for entry in words("mirrored"):
        key, side = entry.means.split()
        yield from _each(entry.words, Head((key,), _sides(side), mirrored=True))
    for entry in words("bounded"):
        key, how, bound = entry.means.split()
        yield from _each(entry.words, Head((key,), bound=("above" if how == "above" else "below", float(bound))))


def _each(phrases: Iterable[str], head: Head) -> Iterator[tuple[str, Head]]:
    return ((phrase, head) for phrase in phrases)


def _listed(keys: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.split(","))


def _sides(written: str) -> tuple[Side, ...]:
    named = written.replace(",", " ").split()
    return tuple(side for side in ("high", "low") if side in named)
