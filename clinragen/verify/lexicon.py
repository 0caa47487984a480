"""The words by which statements about the series are read: a trie of phrases from the concept graph and configuration.

``configs/verify/vocabulary.yaml`` holds what the graph does not: quantifiers, trends, colloquial names. British
spelling is derived from American.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from clinragen.catalog import variables
from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.knowledge.graph import ConceptGraph
from clinragen.verify.masked import Cue
from clinragen.verify.statements import Side

_TOKEN = re.compile(r"[a-z]+\d*[a-z]*|[<>=≤≥~≈]+|\d+(?:\.\d+)?|[,;:()/]|\0+", re.I)
_BRITISH = (
    (re.compile(r"em(ia|ic)\b"), r"aem\1"),
    (re.compile(r"\bh(em[oa])"), r"ha\1"),
    (re.compile(r"leuko"), "leuco"),
    (re.compile(r"pne(a|ic)\b"), r"pnoe\1"),
    (re.compile(r"ionized"), "ionised"),
)


class Head(NamedTuple):
    """What a statement is about. A term such as hypotension carries its side; ``absent`` denies its sides.

    Without variables: something that the catalogue does not have, of which nothing is claimed.
    """

    variables: tuple[str, ...]
    sides: tuple[Side, ...] = ()
    absent: bool = False
    bound: tuple[str, float] | None = None
    how: str | None = None
    mirrored: bool = False  # a deficit: the number with its sign turned round


class Lexicon:
    """Finds heads and cue words in text by longest match."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._trie: dict[str, Any] = {}
        words = vocabulary()
        names = _names(graph, words["names"])
        for phrase, keys in names.items():
            self._add(phrase, ("head", Head(keys)))
        for _, data in graph.nodes(data=True):
            if data["kind"] != "finding" or data["direction"] not in ("high", "low"):
                continue
            for phrase in (data["name"], *data["synonyms"]):
                if not self._composed(phrase):
                    self._add(phrase, ("head", Head((data["variable"],), (data["direction"],))))
        for kind, absent in (("terms", False), ("absent", True)):
            for key, phrases in words[kind].items():
                of, *sides = key.split()
                for phrase in phrases:
                    self._add(phrase, ("head", Head(tuple(of.split(",")), tuple(sides), absent)), anew=True)
        for key, phrases in words["extremes"].items():
            of, how = key.split()
            for phrase in phrases:
                self._add(phrase, ("head", Head((of,), how=how)), anew=True)
        for key, phrases in words["mirrored"].items():
            for phrase in phrases:
                self._add(phrase, ("head", Head((key,), ("low",), mirrored=True)), anew=True)
        for phrase, found in words["bounded"].items():
            bound = (found["how"], float(found["value"]))
            self._add(phrase, ("head", Head((found["variable"],), bound=bound)), anew=True)
        for kind, group in (("state", "states"), ("trend", "trends"), ("often", "often"), ("severity", "severity")):
            for value, phrases in words[group].items():
                for phrase in phrases:
                    self._add(phrase, (kind, value))
        for value, phrases in words["numbers"].items():
            for phrase in phrases:
                self._add(phrase, ("how", value))
        for kind in ("about", "denied", "linking"):
            for phrase in words[kind]:
                self._add(phrase, (kind, True))
        for phrase in words["others"]:
            self._add(phrase, ("head", Head(())))

    def scan(self, text: str) -> Iterator[Cue]:
        """Cues in reading order."""
        tokens = [(match.group().lower(), match.start(), match.end()) for match in _TOKEN.finditer(text)]
        position = 0
        while position < len(tokens):
            node, ahead = self._trie, position
            found: tuple[int, tuple[str, Any]] | None = None
            while ahead < len(tokens) and (node := node.get(tokens[ahead][0])) is not None:
                ahead += 1
                for exact, payload in node.get("", ()):
                    span = tokens[position][1], tokens[ahead - 1][2]
                    if exact is None or text[span[0] : span[1]] == exact:
                        found = (ahead, payload)
                        break
            if found is None:
                position += 1
                continue
            position, (kind, value), start = found[0], found[1], tokens[position][1]
            yield Cue(kind, start, tokens[position - 1][2], value)

    def _composed(self, phrase: str) -> bool:
        """Whether a finding is a variable's name and other words: those are read one by one."""
        return any(cue.kind == "head" for cue in self.scan(phrase)) and len(phrase.split()) > 1

    def _add(self, phrase: str, payload: tuple[str, Any], *, anew: bool = False) -> None:
        exact = phrase[1:] if phrase.startswith("=") and len(phrase) > 1 and phrase[1].isalpha() else None
        for spelling in {exact or phrase} | set(british(exact or phrase)):
            node = self._trie
            for token in _TOKEN.findall(spelling.lower()):
                node = node.setdefault(token, {})
            held = node.setdefault("", [])
            if exact is not None:
                held.insert(0, (exact, payload))
            elif anew:
                node[""] = [entry for entry in held if entry[0] is not None] + [(None, payload)]
            elif not any(entry[0] is None for entry in held):
                held.append((None, payload))


@cache
def vocabulary() -> dict[str, Any]:
    """The shipped vocabulary."""
    return load_yaml(CONFIG_ROOT / "verify" / "vocabulary.yaml")


def british(phrase: str) -> list[str]:
    """British spellings of a phrase.

    >>> british("hyperkalemia"), british("leukocytosis"), british("low sodium")
    (['hyperkalaemia'], ['leucocytosis'], [])
    """
    found = []
    everywhere = phrase
    for pattern, british in _BRITISH:
        other = pattern.sub(british, phrase)
        if other != phrase:
            found.append(other)
            everywhere = pattern.sub(british, everywhere)
    return sorted({*found, everywhere} - {phrase})


def _names(graph: ConceptGraph, more: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for key, spec in variables().items():
        names[spec.label.partition(" (")[0]] = (key,)
        names[spec.label.partition(" (")[0].replace(",", "")] = (key,)
        node = f"variable:{key}"
        if node in graph.graph:
            names.update(
                (form, (key,)) for form in (graph.name(node).partition(" (")[0], *graph.nodes[node]["synonyms"])
            )
    for keys, forms in more.items():
        names.update((form, tuple(keys.split(","))) for form in forms)
    del names["height"], names["weight"]  # of a person, not of a series
    return {form: keys for form, keys in names.items() if form.lower() != "tmax"}  # a highest temperature, see numbers
