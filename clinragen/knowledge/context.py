"""Whether a mention is affirmed, negated, family history, historical or hypothetical: compact NegEx/ConText rules.

The words live in ``configs/knowledge/context.yaml``. Rules act within one sentence; a modifier's scope ends at a
terminator, and a modifier that follows the concept also stops at a comma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from clinragen.config import CONFIG_ROOT, load_yaml

Context = Literal["affirmed", "negated", "family", "historical", "hypothetical"]
#: When several modifiers reach one mention the first of these wins.
PRIORITY: tuple[Context, ...] = ("negated", "family", "hypothetical", "historical")


@dataclass(frozen=True)
class Modifier:
    """A word that acts on mentions. ``kind`` is a context, "inert" or "terminator"; ``side`` is where it stands."""

    kind: str
    side: Literal["before", "after", ""]


@cache
def modifiers() -> list[tuple[str, Modifier]]:
    """Every modifier phrase of the shipped rules with its effect; a phrase may stand on both sides."""
    raw = load_yaml(CONFIG_ROOT / "knowledge" / "context.yaml")
    words = {"relative": raw["relatives"], "whose": raw["whose"], "month": raw["month"], "since": raw["since"]}
    words["year"] = [str(year) for year in range(1950, 2030)]
    found: list[tuple[str, Modifier]] = []
    for kind in PRIORITY:
        for side in ("before", "after"):
            phrases = dict.fromkeys(form for phrase in raw[kind][side] for form in _spelled(phrase, words))
            found += [(phrase, Modifier(kind, side)) for phrase in phrases]
    inert = dict.fromkeys(form for phrase in raw["inert"] for form in _spelled(phrase, words))
    found += [(phrase, Modifier("inert", "")) for phrase in inert]
    found += [(phrase, Modifier("terminator", "")) for phrase in dict.fromkeys(raw["terminators"])]
    return found


@cache
def shorthand() -> dict[str, list[str | None]]:
    """Forms such as "w/r/r" whose parts name one concept each, in order (None: no concept)."""
    return load_yaml(CONFIG_ROOT / "knowledge" / "shorthand.yaml")["shorthand"]


def contexts(items: Sequence[tuple[Modifier, ...] | int | None]) -> list[Context]:
    """Contexts of the mentions of one sentence.

    Args:
        items: what the sentence holds, in order: a mention (its index), what a phrase may modify, None for a comma.

    >>> no = (Modifier("negated", "before"),)
    >>> contexts([no, 0, None, 1])
    ['negated', 'negated']
    """
    count = sum(isinstance(item, int) for item in items)
    reached: list[set[str]] = [set() for _ in range(count)]
    active: set[str] = set()
    clause: list[int] = []  # mentions since the last comma or terminator, which a following modifier may act on
    for item in items:
        if item is None:
            clause = []
        elif isinstance(item, int):
            reached[item] |= active
            clause.append(item)
        else:
            if any(modifier.kind == "terminator" for modifier in item):
                active, clause = set(), []
                continue
            after = {modifier.kind for modifier in item if modifier.side == "after"}
            if after and clause:
                for mention in clause:
                    reached[mention] |= after
                continue
            active |= {modifier.kind for modifier in item if modifier.side == "before"}
    return [_first(kinds) for kinds in reached]


def _spelled(phrase: str, words: dict[str, list[str]]) -> list[str]:
    """The phrase with every choice of word for each placeholder."""
    for name, choices in words.items():
        if f"{{{name}}}" in phrase:
            return [form for word in choices for form in _spelled(phrase.replace(f"{{{name}}}", word), words)]
    return [phrase]


def _first(kinds: set[str]) -> Context:
    for kind in PRIORITY:
        if kind in kinds:
            return kind
    return "affirmed"
