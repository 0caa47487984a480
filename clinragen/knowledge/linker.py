"""Link note text to concepts by longest match in a trie of tokens; several megabytes per second on one core.

Synonyms come from the graph, contexts from ``context``. A hyphen equals a space; plurals, British spelling, body sides
and determiners ("his", "the") are matched, too; a synonym that starts with "=" matches only in exactly that case.
Shorthand such as "w/r/r" gives one mention for each part. Offsets refer to the original text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from clinragen.knowledge.answer_sheet import Sheet
from clinragen.knowledge.answers import (
    DENIAL,
    Words,
    answered_next,
    answering,
    answers,
    phrase,
    signed,
    signed_lines,
)
from clinragen.knowledge.concepts import NodeEntry
from clinragen.knowledge.context import Context, Item, contexts, modifiers, shorthand
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.phrases import PhraseTrie, british, squeezed

#: Node kinds that a note may mention.
LINKED_KINDS = ("phenotype", "disease", "finding", "symptom", "drug", "procedure", "circumstance")
#: The word before or after a variable's name that makes it a finding ("elevated creatinine", "creatinine is high").
_ADJECTIVES = {"high": ("elevated", "high", "raised", "increased"), "low": ("low", "decreased", "reduced")}
_COPULAS = tuple(
    f"{verb}{adverb}"
    for verb in ("", "is ", "are ", "was ", "were ", "remained ", "remains ", "came back ", "noted to be ")
    for adverb in ("", "markedly ", "significantly ", "mildly ", "slightly ", "very ", "persistently ")
)

#: Interchangeable words: a form that contains one of them also matches with each of the others.
_WHOSE = ("his", "her", "my", "your", "their", "the", "both")
_POSSESSIVE = re.compile(r" (?:his|her|my|the) (?!time)")
_SIDES = ("left", "right", "L", "R")
_SIDE = re.compile(
    r"\b(left|right|l|r)([ -](?:sided?|arms?|legs?|hands?|foot|face|facial|hemi\w+|mca|pca|upper extremity"
    r"|lower extremity|lung|lower lobe|upper lobe|pleural|effusion|basilar|base)\b)",
    re.IGNORECASE,
)

#: Default context of a mention in these sections.
SECTION_CONTEXTS: dict[str, Context] = {"past_medical_history": "historical", "family_history": "family"}

_TOKEN = re.compile(
    r"[0-9]+\.[0-9]+|[a-z0-9]+(?:'[a-z]+)?|\n[ \t]*(?:\n|[-*•#]|[0-9]+[.)]\s)"
    r"|\([-+]\)|\[[ x]?\]|\([ x]\)|[☐☑☒✓✔✅✗✘❌✖□■▣]"
    r"|\.{2,}|[.;:,!?/%+()=|]"
)
#: Lower case that keeps the length, unlike str.lower; typographic dashes and apostrophes become ASCII.
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)} | {ord(dash): "-" for dash in "‐‑‒–—−"}
_LOWER |= {ord(apostrophe): "'" for apostrophe in "’ʼ"}
_ABBREVIATIONS = frozenset(("dr", "mr", "mrs", "ms", "vs", "approx", "pt", "st", "e.g"))
_TICKS = frozenset(("[x]", "(x)", "☑", "☒", "✓", "✔", "✅", "■", "▣"))
_BREAKS = frozenset(".;!?")


class Mention(NamedTuple):
    """A concept mentioned in a text: ``text[start:end]``, within the sentence ``text[sentence[0]:sentence[1]]``.

    Attributes:
        value: the number of years, of an age.
    """

    concept: str
    start: int
    end: int
    negated: bool
    context: Context
    sentence: tuple[int, int]
    value: int | None = None


class Linker:
    """Finds the concepts of a graph in text. The first one of a graph takes about a second; the next share its phrases.

    Attributes:
        circumstances: concepts of ages and places of treatment; ages are read by ``ages.age_mentions``.
    """

    def __init__(self, graph: ConceptGraph, kinds: tuple[str, ...] = LINKED_KINDS) -> None:
        named = tuple(
            _Named(node, (data["name"], *data["synonyms"]), *_measured(graph, data))
            for node, data in graph.nodes.items()
            if data["kind"] in kinds and not _trend(data)
        )
        self.circumstances = frozenset(node for node in graph.of_kind("circumstance") if "circumstance" in kinds)
        self._phrases = _phrases(named)

    def link(self, text: str, section: str | None = None) -> list[Mention]:
        """All mentions in a text, in order; they do not overlap.

        The section sets the default context: in a past medical history it is historical.
        """
        mentions = self._scan(text)
        plain = SECTION_CONTEXTS.get(section or "")
        if plain is None:
            return mentions
        return [mention._replace(context=plain) if mention.context == "affirmed" else mention for mention in mentions]

    def _scan(self, text: str) -> list[Mention]:
        """Mentions with the context from their own sentence; one pass over the tokens."""
        words = _words(text)
        denials = signed_lines(words.text) if "+" in words.text else frozenset[int]()
        ticked = not _TICKS.isdisjoint(words.words)  # an empty box negates only in a form with a ticked one
        sentence = _Sentence(words, 0, ticked)
        mentions: list[Mention] = []
        position, count, longest = 0, len(words.words), self._phrases.longest
        while position < count:
            match = longest(words.words, position, text, words.starts)
            if match is not None:
                end, meaning = match
                # a minus that opens a line of a signed list negates, even if the phrase has other meanings
                denies = bool(denials) and words.starts[position] in denials and not isinstance(meaning, (str, list))
                sentence.add(DENIAL if denies else meaning, position, end)
                position = end
                continue
            word = words.words[position]
            if word == ",":
                sentence.add(None, position, position + 1)
            elif word[0] == "\n" or (word in _BREAKS and _is_stop(words, position)):
                mentions += sentence.mentions(words.starts[position])
                begin = words.starts[position] + len(word)
                sentence = _Sentence(words, begin, ticked)
                if begin - 1 in denials:  # the line break and its minus are one token
                    sentence.add(DENIAL, position, position + 1)
            position += 1
        return mentions + sentence.mentions(len(text))


class _Sentence:
    """Content of one sentence: its concepts, and the phrases that set their contexts."""

    __slots__ = ("_begin", "_concepts", "_items", "_spans", "_ticked", "_words")

    def __init__(self, words: Words, begin: int, ticked: bool) -> None:
        self._words, self._begin, self._ticked = words, begin, ticked
        self._concepts: list[tuple[str, int, int]] = []  # concept, start, end
        self._items: list[Item] = []  # in reading order: indices of concepts, modifiers, None for a comma
        self._spans: list[tuple[int, int]] = []  # first token and the one after the last of each item

    def add(self, meaning: Any, first: int, end: int) -> None:
        """Add the meaning of tokens ``first`` to ``end``: a concept, parts of a shorthand, a modifier or a comma."""
        if isinstance(meaning, str):
            self._name(meaning, first, end)
        elif isinstance(meaning, list):  # "w/r/r": a concept, or None, for each letter
            letters = [token for token in range(first, end) if self._words.words[token].isalnum()]
            for token, concept in zip(letters, meaning, strict=True):
                if concept is not None:
                    self._name(concept, token, token + 1)
        else:
            self._items.append(meaning)
            self._spans.append((first, end))

    def _name(self, concept: str, first: int, end: int) -> None:
        words, starts = self._words.words, self._words.starts
        self._items.append(len(self._concepts))
        self._spans.append((first, end))
        self._concepts.append((concept, starts[first], starts[end - 1] + len(words[end - 1])))

    def mentions(self, end: int) -> list[Mention]:
        """The mentions with their contexts; ``end``: end of the sentence in the text."""
        if not self._concepts:
            return []
        sentence = (self._begin, end)
        return [
            Mention(concept, start, stop, context == "negated", context, sentence)
            for (concept, start, stop), context in zip(self._concepts, self._contexts(sentence), strict=True)
        ]

    def _contexts(self, sentence: tuple[int, int]) -> list[Context]:
        """Contexts by the answers of a form if the sentence is one, otherwise by modifiers."""
        has_modifiers = len(self._items) > len(self._concepts)
        has_signs = self._words.text.find("-", *sentence) >= 0 and signed(self._words, sentence)
        if has_signs or (has_modifiers and answering(self._items, self._spans, self._words.words)):
            names = [concept for concept, _, _ in self._concepts]
            sheet = Sheet(self._items, self._spans, self._words, names, sentence=sentence, ticks=self._ticked)
            prose = [item for index, item in enumerate(self._items) if index not in sheet.used]
            return sheet.read(contexts(prose, self._concepts))
        return contexts(self._items, self._concepts) if has_modifiers else ["affirmed"] * len(self._concepts)


def _words(text: str) -> Words:
    lowered = text.translate(_LOWER)
    matches = list(_TOKEN.finditer(lowered))
    return Words([match.group() for match in matches], [match.start() for match in matches], lowered)


def tokens(text: str) -> list[str]:
    """The tokens of the linker.

    >>> tokens("S/P ST-elevation MI, Cr 3.2")
    ['s', '/', 'p', 'st', 'elevation', 'mi', ',', 'cr', '3.2']
    """
    return _TOKEN.findall(text.translate(_LOWER))


def _trend(data: NodeEntry) -> bool:
    """Whether a finding is a trend. Trends are not linked in notes; "rising creatinine" is left to the claim reader."""
    return data["direction"] in ("rising", "falling")


def _measured(graph: ConceptGraph, data: NodeEntry) -> tuple[str, tuple[str, ...]]:
    """The direction of a finding, and the names of its variable; both empty for another concept."""
    variable = graph.nodes.get(f"variable:{data['variable']}") if data["kind"] == "finding" else None
    return ("", ()) if variable is None else (data["direction"] or "", (variable["name"], *variable["synonyms"]))


class _Named(NamedTuple):
    """All that the phrases of a concept depend on.

    Attributes:
        forms: its name and synonyms.
        direction, variable: of a finding: ``high`` or ``low``, and the names of what is measured.
    """

    concept: str
    forms: tuple[str, ...]
    direction: str
    variable: tuple[str, ...]


@lru_cache(maxsize=2)  # most programs link with one graph, but open it several times
def _phrases(named: tuple[_Named, ...]) -> PhraseTrie[Any]:
    """All that can be found in a text: concepts, modifiers, and shorthand."""
    phrases: PhraseTrie[Any] = PhraseTrie()
    _add_modifiers(phrases)
    for each in named:
        _add(phrases, each.concept, each.forms)
    for each in named:
        _add(phrases, each.concept, _compared(each))
    for each in named:  # last, so that a derived variant never replaces a listed form
        listed = [form for form in each.forms if not form.startswith("=")]
        _add(phrases, each.concept, [variant for form in listed for variant in _variants(form)])
    _add_shorthand(phrases, frozenset(each.concept for each in named))
    return phrases


def _add(phrases: PhraseTrie[Any], concept: str, forms: Iterable[str]) -> None:
    """Add the forms that have no meaning yet."""
    for form in forms:
        meanings = phrases.at(tokens(form.lstrip("=")))
        if meanings.any_case is not None:
            continue
        if form.startswith("="):
            meanings.exact = meanings.exact or {}
            meanings.exact.setdefault(squeezed(form.lstrip("=")), concept)
        else:
            meanings.any_case = concept


def _add_modifiers(phrases: PhraseTrie[Any]) -> None:
    """Add words that negate, date, answer or make hypothetical; one word may have several roles."""
    for form, modifier in (*modifiers(), *answers()):
        meanings = phrases.at(tokens(form))
        before = meanings.any_case.modifiers if meanings.any_case is not None else ()
        meanings.any_case = phrase((*before, modifier))


def _add_shorthand(phrases: PhraseTrie[Any], concepts: frozenset[str]) -> None:
    """Add shorthand whose parts are all concepts of the graph, or intentionally none."""
    for form, parts in shorthand().items():
        if all(part is None or part in concepts for part in parts):
            meanings = phrases.at(tokens(form))
            if meanings.any_case is None and not meanings.exact:
                meanings.any_case = parts


def _compared(finding: _Named) -> list[str]:
    """Phrases that make a finding of the name of its variable: "elevated creatinine", "creatinine is high"."""
    names = [name for name in finding.variable if not name.startswith("=")]
    words = _ADJECTIVES[finding.direction] if names else ()
    before = [f"{word} {name}" for name in names for word in words]
    after = [f"{name} {copula}{word}" for name in names for word in words for copula in _COPULAS]
    return before + after


def _variants(form: str) -> set[str]:
    """Variants of a form: determiners, body side, British spelling, plural."""
    spellings = {form}
    spellings |= {_POSSESSIVE.sub(f" {word} ", form) for word in _WHOSE}
    spellings |= {_SIDE.sub(lambda match, word=word: f"{word}{match.group(2)}", form) for word in _SIDES}
    for each in list(spellings):
        spellings |= british(each)
    for each in list(spellings):
        last = tokens(each)[-1]
        if last.isalpha() and len(last) > 3 and not last.endswith("s"):
            spellings.add(f"{each}s")
    return spellings - {form}


def _is_stop(words: Words, position: int) -> bool:
    """Whether a full stop, exclamation or question mark, or semicolon ends the sentence."""
    word, starts, text = words.words[position], words.starts, words.text
    if word != ".":
        return word != "?" or not answered_next(words.words, position)
    following = starts[position] + 1
    if following < len(text) and not text[following].isspace():
        return False  # "q.d.", "e.g."
    previous = words.words[position - 1] if position else ""
    if previous == "no":  # an answer, or a number
        return position + 1 == len(words.words) or not words.words[position + 1][0].isdigit()
    if previous in ("n", "y"):  # an answer, or an initial
        return position > 1 and words.words[position - 2] in (":", "=", "?", "|")
    return (len(previous) > 1 or previous.isdigit()) and previous not in _ABBREVIATIONS
