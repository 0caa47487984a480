"""Note text -> concept mentions, by longest match in a trie of tokens; several megabytes per second on one core.

Synonyms come from the graph, contexts from ``context``. A hyphen equals a space; plurals, British spelling, the other
side and another's possession are matched too; a synonym that starts with "=" matches only in exactly that case.
Shorthand such as "w/r/r" is one mention for each part. Offsets are those of the text as given.
"""

from __future__ import annotations

import re
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
from clinragen.knowledge.context import Context, Item, contexts, modifiers, shorthand
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.phrases import Phrases, british, squeezed

#: Node kinds that a note may mention.
LINKED_KINDS = ("phenotype", "disease", "finding", "symptom", "drug", "procedure")
#: The word before or after a variable's name that makes it a finding ("elevated creatinine", "creatinine is high").
_ADJECTIVES = {"high": ("elevated", "high", "raised", "increased"), "low": ("low", "decreased", "reduced")}
_COPULAS = tuple(
    f"{verb}{adverb}"
    for verb in ("", "is ", "are ", "was ", "were ", "remained ", "remains ", "came back ", "noted to be ")
    for adverb in ("", "markedly ", "significantly ", "mildly ", "slightly ", "very ", "persistently ")
)

#: A concept's written forms are matched with each of these in the place of the others.
_WHOSE = ("his", "her", "my", "your", "their", "the", "both")
_POSSESSIVE = re.compile(r" (?:his|her|my|the) (?!time)")
_SIDES = ("left", "right", "L", "R")
_SIDE = re.compile(
    r"\b(left|right|l|r)([ -](?:sided?|arms?|legs?|hands?|foot|face|facial|hemi\w+|mca|pca|upper extremity"
    r"|lower extremity|lung|lower lobe|upper lobe|pleural|effusion|basilar|base)\b)",
    re.IGNORECASE,
)

#: What a mention is when no word of its sentence says otherwise.
SECTION_CONTEXTS: dict[str, Context] = {"past_medical_history": "historical", "family_history": "family"}

_TOKEN = re.compile(
    r"[0-9]+\.[0-9]+|[a-z0-9]+(?:'[a-z]+)?|\n[ \t]*(?:\n|[-*•#]|[0-9]+[.)]\s)"
    r"|\([-+]\)|\[[ x]?\]|\([ x]\)|[☐☑☒✓✔✅✗✘❌✖□■▣]"
    r"|\.{2,}|[.;:,!?/%+()=|]"
)
#: Keeps the length, unlike str.lower. Dashes and apostrophes of word processors are those of the keyboard.
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)} | {ord(dash): "-" for dash in "‐‑‒–—−"}
_LOWER |= {ord(apostrophe): "'" for apostrophe in "’ʼ"}
_ABBREVIATIONS = frozenset(("dr", "mr", "mrs", "ms", "vs", "approx", "pt", "st", "e.g"))
_TICKS = frozenset(("[x]", "(x)", "☑", "☒", "✓", "✔", "✅", "■", "▣"))
_BREAKS = frozenset(".;!?")


class Mention(NamedTuple):
    """A concept named in a text: ``text[start:end]``, within the sentence ``text[sentence[0]:sentence[1]]``."""

    concept: str
    start: int
    end: int
    negated: bool
    context: Context
    sentence: tuple[int, int]


class Linker:
    """Finds the concepts of a graph in text. Building one takes about a second; reuse it."""

    def __init__(self, graph: ConceptGraph, kinds: tuple[str, ...] = LINKED_KINDS) -> None:
        self._phrases: Phrases[Any] = Phrases()
        for form, modifier in (*modifiers(), *answers()):
            meanings = self._phrases.at(tokens(form))
            before = meanings.any_case.modifiers if meanings.any_case is not None else ()
            meanings.any_case = phrase((*before, modifier))
        named = [(node, data) for node, data in graph.nodes(data=True) if data["kind"] in kinds and not _trend(data)]
        for node, data in named:
            for form in (data["name"], *data["synonyms"]):
                self._add(form, node)
        for node, data in named:
            if data["kind"] == "finding":
                for form in _measured(graph, data):
                    self._add(form, node)
        for node, data in named:  # last: a variant never takes the place of a form that was written down
            for form in (data["name"], *data["synonyms"]):
                if form.startswith("="):
                    continue
                for variant in _variants(form):
                    self._add(variant, node)
        kept = {node for node, _ in named} | {None}
        for form, concepts in shorthand().items():
            if kept.issuperset(concepts):
                meanings = self._phrases.at(tokens(form))
                if meanings.any_case is None and not meanings.exact:
                    meanings.any_case = concepts

    def link(self, text: str, section: str | None = None) -> list[Mention]:
        """All mentions in a text, in order; they do not overlap.

        The section says what an unmarked mention is: in a past medical history it is historical.
        """
        mentions = self._scan(text)
        plain = SECTION_CONTEXTS.get(section or "")
        if plain is None:
            return mentions
        return [mention._replace(context=plain) if mention.context == "affirmed" else mention for mention in mentions]

    def _scan(self, text: str) -> list[Mention]:
        lowered = text.translate(_LOWER)
        words: list[str] = []
        starts: list[int] = []
        for match in _TOKEN.finditer(lowered):
            words.append(match.group())
            starts.append(match.start())
        denials = signed_lines(lowered) if "+" in lowered else frozenset()
        read = Words(words, starts, lowered)
        ticks = not _TICKS.isdisjoint(words)
        mentions: list[Mention] = []
        pending: list[tuple[str, int, int]] = []
        items: list[Item] = []
        places: list[tuple[int, int]] = []
        position, count, begin = 0, len(words), 0
        longest = self._phrases.longest
        while position < count:
            word = words[position]
            match = longest(words, position, text, starts)
            if match is not None:
                end, payload = match
                if isinstance(payload, str):
                    items.append(len(pending))
                    places.append((position, end))
                    pending.append((payload, starts[position], starts[end - 1] + len(words[end - 1])))
                elif isinstance(payload, list):
                    parts = [place for place in range(position, end) if words[place].isalnum()]
                    for place, concept in zip(parts, payload, strict=True):
                        if concept is not None:
                            items.append(len(pending))
                            places.append((place, place + 1))
                            pending.append((concept, starts[place], starts[place] + len(words[place])))
                else:
                    items.append(DENIAL if denials and starts[position] in denials else payload)
                    places.append((position, end))
                position = end
                continue
            if word == ",":
                items.append(None)
                places.append((position, position + 1))
            elif word[0] == "\n" or (word in _BREAKS and _ends(word, words, starts, position, lowered)):
                if pending:
                    _flush(mentions, pending, items, places, read, (begin, starts[position]), ticks)
                    pending = []
                items, places = [], []
                begin = starts[position] + len(word)
                if denials and begin - 1 in denials:
                    items, places = [DENIAL], [(position, position + 1)]
            position += 1
        if pending:
            _flush(mentions, pending, items, places, read, (begin, len(text)), ticks)
        return mentions

    def _add(self, form: str, concept: str) -> None:
        """Add a form that nothing else is written like."""
        meanings = self._phrases.at(tokens(form.lstrip("=")))
        if meanings.any_case is not None:
            return
        if form.startswith("="):
            meanings.exact = meanings.exact or {}
            meanings.exact.setdefault(squeezed(form.lstrip("=")), concept)
        else:
            meanings.any_case = concept


def tokens(text: str) -> list[str]:
    """The tokens the linker sees.

    >>> tokens("S/P ST-elevation MI, Cr 3.2")
    ['s', '/', 'p', 'st', 'elevation', 'mi', ',', 'cr', '3.2']
    """
    return _TOKEN.findall(text.translate(_LOWER))


def _trend(data: dict[str, Any]) -> bool:
    """Trends are read off the series; what a note calls "rising creatinine" is left to whoever reads claims."""
    return data["direction"] in ("rising", "falling")


def _measured(graph: ConceptGraph, finding: dict[str, Any]) -> list[str]:
    variable = graph.nodes.get(f"variable:{finding['variable']}")
    if variable is None:
        return []
    names = [name for name in (variable["name"], *variable["synonyms"]) if not name.startswith("=")]
    words = _ADJECTIVES[finding["direction"]]
    before = [f"{word} {name}" for name in names for word in words]
    after = [f"{name} {copula}{word}" for name in names for word in words for copula in _COPULAS]
    return before + after


def _variants(form: str) -> set[str]:
    """Other ways to write a form: whose it is, on which side, British spelling, the plural."""
    found = {form}
    found |= {_POSSESSIVE.sub(f" {word} ", form) for word in _WHOSE}
    found |= {_SIDE.sub(lambda match, word=word: f"{word}{match.group(2)}", form) for word in _SIDES}
    for each in list(found):
        found |= british(each)
    for each in list(found):
        last = tokens(each)[-1]
        if last.isalpha() and len(last) > 3 and not last.endswith("s"):
            found.add(f"{each}s")
    return found - {form}


def _ends(word: str, words: list[str], starts: list[int], position: int, text: str) -> bool:
    if word != ".":
        return word != "?" or not answered_next(words, position)
    following = starts[position] + 1
    if following < len(text) and not text[following].isspace():
        return False  # "q.d.", "e.g."
    previous = words[position - 1] if position else ""
    if previous == "no":  # an answer, or the number of something
        return position + 1 == len(words) or not words[position + 1][0].isdigit()
    if previous in ("n", "y"):  # an answer, or an initial
        return position > 1 and words[position - 2] in (":", "=", "?", "|")
    return (len(previous) > 1 or previous.isdigit()) and previous not in _ABBREVIATIONS


def _flush(
    mentions: list[Mention],
    pending: list[tuple[str, int, int]],
    items: list[Item],
    places: list[tuple[int, int]],
    words: Words,
    sentence: tuple[int, int],
    ticks: bool,
) -> None:
    read: list[Context] = ["affirmed"] * len(pending)
    dashed = words.text.find("-", *sentence) >= 0
    phrases = len(items) > len(pending)
    if (dashed and signed(words, sentence)) or (phrases and answering(items, places, words.words)):
        sheet = Sheet(items, places, words, [row[0] for row in pending], sentence=sentence, ticks=ticks)
        read = sheet.read(contexts([item for index, item in enumerate(items) if index not in sheet.used], pending))
    elif phrases:
        read = contexts(items, pending)
    for (concept, start, end), context in zip(pending, read, strict=True):
        mentions.append(Mention(concept, start, end, context == "negated", context, sentence))
