"""Whether a mention is affirmed, negated, family history, historical or hypothetical: compact NegEx/ConText rules.

The words are in ``configs/knowledge/context.yaml``. Rules act within one sentence; a modifier's scope ends at a
terminator, and that of a modifier after the concept also at a comma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from clinragen.config import CONFIG_ROOT, load_yaml

Context = Literal["affirmed", "negated", "family", "historical", "hypothetical"]
#: Precedence if several modifiers apply to one mention: the first of these wins.
PRIORITY: tuple[Context, ...] = ("negated", "family", "hypothetical", "historical")

_TREATMENTS = ("drug:", "procedure:", "symptom:pressor_requirement")
#: What acts on treatments alone, and up to a comma only.
_OF_TREATMENTS: dict[str, Context] = {"withheld": "negated", "weighed": "hypothetical"}


@dataclass(frozen=True)
class Modifier:
    """A word that acts on mentions.

    Attributes:
        kind: a context, "weighed" or "withheld" of treatments, "inert", "adjective", "purpose" or "terminator"; or an
            answer (``answers``).
        side: its position relative to the mention.
    """

    kind: str
    side: Literal["before", "after", "answer", "box", ""]


class Phrase:
    """The possible modifiers of a phrase, one for each reading."""

    def __init__(self, *modifiers: Modifier) -> None:
        self.modifiers = modifiers
        self.terminates = any(modifier.kind == "terminator" for modifier in modifiers)
        self.adjective = any(modifier.kind == "adjective" for modifier in modifiers)
        self.purpose = any(modifier.kind == "purpose" for modifier in modifiers)
        self.before = {modifier.kind for modifier in modifiers if modifier.side == "before"}
        self.after = {modifier.kind for modifier in modifiers if modifier.side == "after"}


#: An item of a sentence: a mention (its index), a phrase, or None for a comma.
Item = Phrase | int | None


@cache
def modifiers() -> list[tuple[str, Modifier]]:
    """Every modifier phrase of the shipped rules with its effect; a phrase may be used on both sides."""
    raw = load_yaml(CONFIG_ROOT / "knowledge" / "context.yaml")
    words = {"relative": raw["relatives"], "whose": raw["whose"], "month": raw["month"], "since": raw["since"]}
    words |= {name: raw[name] for name in ("adverb", "person", "has", "is", "might", "who")}
    words["year"] = [str(year) for year in range(1950, 2030)]
    entries: list[tuple[str, Modifier]] = []
    for kind in (*PRIORITY, *_OF_TREATMENTS):
        for side in ("before", "after"):
            phrases = dict.fromkeys(form for phrase in raw[kind][side] for form in _spelled(phrase, words))
            entries += [(phrase, Modifier(kind, side)) for phrase in phrases]
    inert = dict.fromkeys(form for phrase in raw["inert"] for form in _spelled(phrase, words))
    entries += [(phrase, Modifier("inert", "")) for phrase in inert]
    entries += [(phrase, Modifier("adjective", "")) for phrase in raw["adjectives"]]
    entries += [(phrase, Modifier("purpose", "")) for phrase in raw["purpose"]]
    entries += [(phrase, Modifier("terminator", "")) for phrase in dict.fromkeys(raw["terminators"])]
    return entries


@cache
def shorthand() -> dict[str, list[str | None]]:
    """Forms such as "w/r/r" whose parts name one concept each, in order (None: no concept)."""
    return load_yaml(CONFIG_ROOT / "knowledge" / "shorthand.yaml")["shorthand"]


def contexts(items: Sequence[Item], named: Sequence[tuple[str, int, int]] = ()) -> list[Context]:
    """Contexts of the mentions of one sentence.

    Args:
        items: items of the sentence, in order.
        named: (concept, start, end) of each mention.

    >>> no = Phrase(Modifier("negated", "before"))
    >>> contexts([no, 0, None, 1])
    ['negated', 'negated']
    """
    reached: list[set[str]] = []
    active: set[str] = set()
    idle = False  # whether an adjective has no mention yet
    # Since the last comma or terminator: mentions, which a following modifier may act on, and what such modifiers do.
    clause: list[int | set[str]] = []
    latest = -1  # the last mention of the clause
    for item in items:
        if item is None:
            clause = _acted_on(clause, reached)
            active = active - _OF_TREATMENTS.keys()
            if idle:
                active, idle = active - {"negated"}, False
        elif isinstance(item, int):
            clause.append(item)
            latest = item
            reached.append(active)
            idle = False
        elif item.terminates:
            clause = _acted_on(clause, reached)
            active, idle = set(), False
        elif item.after and clause:
            clause.append(item.after)
        elif item.before:
            idle = item.adjective and "negated" not in active
            active = active | item.before
        elif item.purpose and clause and named and named[latest][0].startswith(_TREATMENTS):
            active = active - {"negated"}
    _acted_on(clause, reached)
    return [
        _first(kinds, named[index][0] if named else "") if kinds else "affirmed" for index, kinds in enumerate(reached)
    ]


def _acted_on(clause: Sequence[int | set[str]], reached: list[set[str]]) -> list[int | set[str]]:
    """Let the modifiers of a clause act on the mentions before them, and begin the next clause, which is empty."""
    acting: set[str] = set()
    for each in reversed(clause):
        if not isinstance(each, int):
            acting = acting | each
        elif acting:
            reached[each] = reached[each] | acting
    return []


def _spelled(phrase: str, words: dict[str, list[str]]) -> list[str]:
    """The phrase with every choice of word for each placeholder."""
    for name, choices in words.items():
        if f"{{{name}}}" in phrase:
            return [form for word in choices for form in _spelled(phrase.replace(f"{{{name}}}", word), words)]
    return [phrase]


def _first(kinds: set[str], concept: str) -> Context:
    if concept.startswith(_TREATMENTS):
        kinds = {_OF_TREATMENTS.get(kind, kind) for kind in kinds}
    for kind in PRIORITY:
        if kind in kinds:
            return kind
    return "affirmed"
