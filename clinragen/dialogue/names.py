"""What a question names: measured variables, and concepts that a note may mention.

Names come from the concept graph, ``configs/verify`` and ``wording.yaml``; the first two are those by which notes and
rationales are read. A misspelt word is read as the nearest one of a name or cue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from clinragen.catalog import variables
from clinragen.dialogue import cues
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.phrases import PhraseTrie, british
from clinragen.verification.cue_phrases import CuePhrases

#: What a name is of; the placeholders of patterns are called so.
Group = Literal["variable", "finding", "disease", "symptom", "drug", "procedure", "unlisted"]
_GROUPS: dict[str, Group] = {
    "phenotype": "disease", "disease": "disease", "finding": "finding", "symptom": "symptom", "drug": "drug",
    "procedure": "procedure", "circumstance": "symptom",
}  # fmt: skip
_TOKEN = re.compile(r"[a-z]+\d*[a-z]*(?:[+&/](?![a-z]{4})[a-z]*)*|\d+(?:\.\d+)?|[^\sa-z\d]", re.IGNORECASE)
_SIGNS = {ord("<"): " under ", ord(">"): " over "}
_NUMBERED = re.compile(r"(?:\d|\b(?:many|few|several|two|three|six|eight|twelve))\s*$", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{2,20}", re.IGNORECASE)
_SHORTEST = 4  # letters of a word that may be a misspelt name
_HOUR = re.compile(r"(?:h|hr|hrs)", re.IGNORECASE)
_AHEAD = re.compile(r"\s*[=#]?\s*\d")
_WHICH = re.compile(r"\b(?:what|which|at)\s+$", re.IGNORECASE)


class Name(NamedTuple):
    """A name in a question: ``text[start:end]``.

    Attributes:
        group: what it is a name of.
        variables: keys; of several the first that was measured is meant, or ``all`` that were.
        concept: node of the graph; empty for a variable.
        side: of a finding: ``above`` or ``below`` the reference range; empty otherwise.
        extreme: of a name such as Tmax: ``highest`` or ``lowest``; empty otherwise.
        all: whether it is a name of a panel, such as vital signs.
    """

    start: int
    end: int
    group: Group
    variables: tuple[str, ...] = ()
    concept: str = ""
    side: str = ""
    extreme: str = ""
    all: bool = False


@dataclass(frozen=True)
class _Spelling:
    """Words that may be meant by a misspelt one, by their first letter, and those that are not misspelt."""

    meant: dict[str, list[str]]
    correct: frozenset[str]


class Names:
    """Finds names in questions; made once for a graph.

    Args:
        graph: its concepts and variables.
        linker: finds its concepts; None makes one.
    """

    def __init__(self, graph: ConceptGraph, linker: Linker | None = None) -> None:
        self._graph = graph
        self._linker = linker or Linker(graph)
        self._phrases = CuePhrases(graph)
        self._short: PhraseTrie[tuple[Group, tuple[str, ...], str]] = PhraseTrie()
        for word, keys in {**cues.names(), **cues.panels()}.items():
            self._add(word, "variable", keys)
        for word, (extreme, key) in cues.ends().items():
            self._add(word, "variable", (key,), extreme)
        for word in cues.phrases("unlisted"):
            self._add(word, "unlisted", ())
        self._spelling = self._words()

    def spelt(self, text: str) -> str:
        """A question with its misspelt names and cue words mended."""

        def mended(match: re.Match[str]) -> str:
            word = match[0].lower()
            if word in cues.slips():
                return cues.slips()[word]
            if len(word) < _SHORTEST or word in self._spelling.correct:
                return match[0]
            return _nearest(word, self._spelling.meant.get(word[0], ())) or match[0]

        return _WORD.sub(mended, text)

    def find(self, text: str) -> list[Name]:
        """The names of a question in reading order; they do not overlap.

        Of two that do, the longer one counts; but of "high potassium" the variable: the other word is read by itself.
        """
        candidates = [name for name in self._candidates(text) if not _something_else(text, name)]
        plain = [name for name in candidates if name.group == "variable"]
        candidates = [
            name for name in candidates if name.group != "finding" or not any(_within(other, name) for other in plain)
        ]
        candidates.sort(key=lambda name: (name.start - name.end, name.start))
        chosen: list[Name] = []
        for name in candidates:
            if all(name.end <= other.start or other.end <= name.start for other in chosen):
                chosen.append(name)
        return sorted(name for name in chosen if not _of_hours(text, name, chosen))

    def _candidates(self, text: str) -> Iterator[Name]:
        """All that may be a name, the more telling ones first; a finding has the variables of the claim reader."""
        yield from self._shorthand(text)
        heads = {(name.start, name.end): name for name in self._heads(text)}
        for name in self._concepts(text):
            head = heads.get((name.start, name.end))
            if head is not None and head.group == name.group == "finding":
                name = name._replace(variables=head.variables)
            yield name
        yield from heads.values()

    def _add(self, word: str, group: Group, keys: tuple[str, ...], extreme: str = "") -> None:
        for form in {word, *british(word)}:
            self._short.at([token.lower() for token in _TOKEN.findall(form)]).any_case = (group, keys, extreme)

    def _shorthand(self, text: str) -> Iterator[Name]:
        matches = list(_TOKEN.finditer(text))
        tokens, starts = [match[0].lower() for match in matches], [match.start() for match in matches]
        for position in range(len(tokens)):
            match = self._short.longest(tokens, position, text, starts)
            if match is not None and text[max(0, starts[position] - 1)] not in "'’":  # the t of "don't"
                ahead, (group, keys, extreme) = match
                end = starts[ahead - 1] + len(tokens[ahead - 1])
                yield Name(starts[position], end, group, keys, extreme=extreme, all=keys in cues.panels().values())

    def _heads(self, text: str) -> Iterator[Name]:
        """Variables, and terms such as hypotension, by the names of the claim reader."""
        for cue in self._phrases.scan(text):
            if cue.kind != "head":
                continue
            head = cue.value
            if not head.variables:
                yield Name(cue.start, cue.end, "unlisted")
            elif head.sides or head.bound:
                side = head.bound[0] if head.bound else "above" if head.sides[0] == "high" else "below"
                concept = f"finding:{head.variables[0]}:{'high' if side == 'above' else 'low'}"
                yield Name(cue.start, cue.end, "finding", head.variables, self._there(concept), side)
            else:
                yield Name(cue.start, cue.end, "variable", head.variables, extreme=head.how or "")

    def _concepts(self, text: str) -> Iterator[Name]:
        for mention in self._linker.link(text):
            kind, _, named = mention.concept.partition(":")
            group = _GROUPS.get(kind, "symptom")
            variable, _, direction = named.partition(":")
            if group == "finding" and variable in variables() and direction in ("high", "low"):
                side = "above" if direction == "high" else "below"
                yield Name(mention.start, mention.end, group, (variable,), mention.concept, side)
            else:
                yield Name(mention.start, mention.end, group if group != "finding" else "symptom", (), mention.concept)

    def _there(self, concept: str) -> str:
        return concept if concept in self._graph.nodes else ""

    def _words(self) -> _Spelling:
        """The words of names and cues. Only those of variables, labels and cues are offered for a misspelt one."""
        offered: set[str] = set()
        whole: set[str] = set()
        for key, variable in variables().items():
            node = self._graph.nodes.get(f"variable:{key}")
            forms = (variable.label, *(node["synonyms"] if node else ()))
            whole.update(form.lower() for form in forms)
            offered.update(word for form in forms for word in _plain(form))
        whole |= {word.lower() for word in (*cues.names(), *cues.panels())}
        for word in whole:
            offered.update(_plain(word))
        for label in self._graph.labels.values():
            offered.update(_plain(label.name))
        offered |= cues.words("spelt")
        correct = set(offered) | cues.words("plain") | cues.words("usual") | cues.scope_words()
        for data in self._graph.nodes.values():
            correct.update(word for form in (data["name"], *data["synonyms"]) for word in _plain(form))
        offered = {spelling for word in offered for spelling in {word, *british(word)} if len(word) >= 5}
        by_letter: dict[str, list[str]] = {}
        for word in sorted(offered, key=lambda word: (word not in whole, word)):  # creatinine before creatine (kinase)
            by_letter.setdefault(word[0], []).append(word)
        return _Spelling(by_letter, frozenset(correct | offered))


def _within(inner: Name, outer: Name) -> bool:
    """Whether a name is a part of another one."""
    return outer.start <= inner.start and inner.end <= outer.end and inner[:2] != outer[:2]


def _something_else(text: str, name: Name) -> bool:
    """Whether the word is no name in a question, or a unit after a number."""
    word = text[name.start : name.end].lower()
    if word in cues.words("never_names"):
        return True
    return word in cues.words("units") and _NUMBERED.search(text, 0, name.start) is not None


def _of_hours(text: str, name: Name, names: list[Name]) -> bool:
    """Whether "hr" is the hour: before a number or after "what", in a question that names another variable."""
    if len(names) == 1 or not _HOUR.fullmatch(text, name.start, name.end):
        return False
    return bool(_AHEAD.match(text, name.end) or _WHICH.search(text, 0, name.start))


def _plain(form: str) -> Iterable[str]:
    return (word.lower() for word in re.findall(r"[A-Za-z]{3,}", form))


def _nearest(word: str, choices: Iterable[str]) -> str | None:
    """The word that is a slip or two of the keyboard away; None where there is none. A short word may lack a letter."""
    most = 1 if len(word) < 7 else 2
    near = [
        (slips, rank, choice)
        for rank, choice in enumerate(choices)
        if abs(len(choice) - len(word)) <= most and (len(word) > 4 or len(choice) == 5)
        if (slips := _slips(word, choice)) <= most
    ]
    return min(near)[2] if near else None


def _slips(word: str, other: str) -> int:
    """Letters that are left out, put in, changed or swapped between two words (optimal string alignment).

    >>> _slips("potasium", "potassium"), _slips("lcatate", "lactate"), _slips("sodium", "podium")
    (1, 1, 1)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for line, letter in enumerate(word, start=1):
        last, before, row = before, row, [line]
        for column, against in enumerate(other, start=1):
            least = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (letter != against))
            if line > 1 and column > 1 and letter == other[column - 2] and word[line - 2] == against:
                least = min(least, last[column - 2] + 1)
            row.append(least)
    return row[-1]


def replaced(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """A text with spans replaced by placeholders; signs that look like one are put in words.

    >>> replaced("was K > 5", [(4, 5, "variable")])
    'was <variable>  over  5'
    """
    pieces, position = [], 0
    for start, end, group in sorted(spans):
        pieces += [text[position:start].translate(_SIGNS), f"<{group}>"]
        position = end
    return "".join(pieces) + text[position:].translate(_SIGNS)
