"""The patient's age in a text, as a mention of the graph's concept for it: ``circumstance:age_80_or_more``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from clinragen.knowledge.linker import Mention

_PREFIX = "circumstance:age_"
#: "84-year-old", "84 yo", "84 y/o"; "an age of 84 years", "aged 84", "84 years of age". Ages above 89 are masked in
#: some sources: "more than 89-year-old", "an age above 89 years".
_AGE = re.compile(
    r"(?:\b(?P<above>more than|over|above|>)\s*)?"
    r"(?:\b(?P<old>\d{1,3})[\s-]{0,2}(?:years?[\s-]{0,2}old|years of age|y\.?\s?/?o\b)"
    r"|\b(?:an age|aged?)(?:\s+of)?\s+(?P<beyond>above\s+|over\s+)?(?P<age>\d{1,3})"
    r"(?:\s+years)?\b(?![./-]\d| to | or ))",
    re.IGNORECASE,
)
_STOPS = re.compile(r"[.;]\s|\n")
_OLDEST = 120


def age_mentions(text: str, concepts: Iterable[str]) -> Iterator[Mention]:
    """Every age in a text, in reading order; ``value`` is the number of years ("more than 89" is 90).

    Args:
        text: a section of a note, or a rationale.
        concepts: node ids of a graph; those of ages name the bands.

    >>> [(one.concept, one.value) for one in age_mentions("An 84-year-old man", ["circumstance:age_80_or_more"])]
    [('circumstance:age_80_or_more', 84)]
    """
    bands = [_band(concept) for concept in concepts if concept.startswith(_PREFIX)]
    for match in _AGE.finditer(text) if bands else ():
        years = int(match["old"] or match["age"]) + bool(match["above"] or match["beyond"])
        for concept, low, high in bands:
            if low <= years <= high:
                yield Mention(concept, *match.span(), False, "affirmed", _sentence(text, *match.span()), years)


def age_phrase(years: int) -> str:
    """An age in words that :func:`age_mentions` reads back; 90 stands for all above 89, which sources mask.

    >>> age_phrase(84), age_phrase(90)
    ('an age of 84 years', 'an age above 89 years')
    """
    return "an age above 89 years" if years == 90 else f"an age of {years} years"


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentence or line around ``text[start:end]`` begins and ends."""
    before = [match.end() for match in _STOPS.finditer(text, 0, start)]
    after = _STOPS.search(text, end)
    return before[-1] if before else 0, after.start() if after else len(text)


def _band(concept: str) -> tuple[str, int, int]:
    """The concept with its least and greatest number of years."""
    low, _, high = concept.removeprefix(_PREFIX).partition("_")
    return concept, int(low), _OLDEST if high == "or_more" else int(high.removeprefix("to_"))
