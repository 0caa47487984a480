"""Vocabulary of answers, signs and tick boxes: "Fever: No", "-fever, +cough", "[x] fever [ ] cough".

``context`` reads prose, in which a negation precedes or follows its concept. In a form the same word may do either:
"Respiratory: no cough. Fever: no." Its position and its neighbours in the sentence decide. The words are in
``configs/knowledge/answers.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.knowledge.context import Item, Modifier, Phrase

#: Words between a mark and its answer: "Any cough? He denies.", "Fever, chills: all negative."
FILLERS = frozenset(
    ("all", "a", "answer", "he", "she", "they", "patient", "pt", "the", "is", "are", "was", "were", "\n")
)


class Answering(Phrase):
    """A phrase that answers the name before it, if there is one."""


class Signing(Answering):
    """A sign or a tick box, which may also precede the name."""


#: The minus of a line among lines with a plus.
DENIAL = Phrase(Modifier("negated", "before"))
#: Tokens between a name and its answer, including a row of dots.
_MARKS = frozenset(":=|?")
_SIGNED_LINES = re.compile(r"(?:^[ \t]*[-+][ \t]*[a-z][^\n]*\n?)+", re.MULTILINE)
MINUS = re.compile(r"-(?<![^\s,;:(|]-)-*(?![0-9-])")
_SIGN = re.compile(r"^[ \t]*([-+])[a-z]", re.MULTILINE)


def signed_lines(text: str) -> frozenset[int]:
    """Positions of minuses that open a line and negate it, because a line directly above or below opens with a plus.

    >>> signed_lines("-fever\\n+cough"), signed_lines("-fever\\n-cough")
    (frozenset({0}), frozenset())
    """
    offsets: list[int] = []
    for run in _SIGNED_LINES.finditer(text):
        signs = list(_SIGN.finditer(run.group()))
        if len({sign.group(1) for sign in signs}) == 2:
            offsets += [run.start() + sign.start(1) for sign in signs if sign.group(1) == "-"]
    return frozenset(offsets)


@cache
def answers() -> list[tuple[str, Modifier]]:
    """Every phrase of the shipped rules with its possible answer."""
    raw = load_yaml(CONFIG_ROOT / "knowledge" / "answers.yaml")
    entries = [(phrase, Modifier(kind, "answer")) for kind in ("yes", "no", "unknown", "digit") for phrase in raw[kind]]
    return entries + [
        (phrase, Modifier(kind, "box")) for kind in ("ticked", "crossed", "empty") for phrase in raw[kind]
    ]


@cache
def openings() -> frozenset[str]:
    """First words of answers, and words that may precede them: a question mark before these does not end a sentence."""
    raw = load_yaml(CONFIG_ROOT / "knowledge" / "answers.yaml")
    return frozenset(phrase.split()[0] for kind in ("yes", "no", "unknown") for phrase in raw[kind]) - {"reports"}


def phrase(modifiers: Sequence[Modifier]) -> Phrase:
    """A phrase of the class required by its modifiers."""
    sides = {modifier.side for modifier in modifiers}
    return (Signing if "box" in sides else Answering if "answer" in sides else Phrase)(*modifiers)


def signed(text: Words, sentence: tuple[int, int]) -> bool:
    """Whether a sentence contains a minus that is no hyphen: before a word, or after one."""
    return MINUS.search(text.text, *sentence) is not None


def answering(items: Sequence[Item], places: Sequence[tuple[int, int]], words: Sequence[str]) -> bool:
    """Whether a sentence may hold an answer: a box anywhere, or a word of answers after a name or a mark."""
    for index, item in enumerate(items):
        if not isinstance(item, Answering):
            continue
        if type(item) is Signing or (index and isinstance(items[index - 1], int | Answering)):
            return True
        if index == 2 == len(items) - 1 and isinstance(items[0], int) and items[1] is None:
            return True  # "Fever, no"
        previous = places[index][0] - 1
        while previous > places[index][0] - 4 and previous >= 0 and words[previous] in FILLERS:
            previous -= 1
        if previous >= 0 and is_mark(words[previous]):
            return True
    return False


def is_mark(word: str) -> bool:
    """Whether a token may separate a name from its answer."""
    return word in _MARKS or word.startswith("..")


class Words(NamedTuple):
    """The tokens of a text, their start offsets, and the text."""

    words: Sequence[str]
    starts: Sequence[int]
    text: str


def answered_next(words: Sequence[str], position: int) -> bool:
    """Whether the words after a question, or after the dots of a table, answer it."""
    for word in words[position + 1 : position + 6]:
        if word in openings() or word in ("[x]", "[ ]", "[]"):
            return True
        if word not in FILLERS and word not in ("-", ":"):
            return False
    return False
