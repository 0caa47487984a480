"""The cues of ``configs/questions``: patterns over a question, what they mean, and questions that a test asks.

Names and times of a question are replaced by placeholders (``<variable>``, ``<time>``) before a pattern is tried, so
one pattern holds of every name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clinragen.catalog import read_data_file
from clinragen.config import CONFIG_ROOT
from clinragen.errors import UserError

_FOLDER = CONFIG_ROOT / "questions"
_PART = re.compile(r"\{([a-z_]+)\}")
_PLAIN = re.compile(r"(?<![\\A-Za-z])[a-z]{3,}")
_BREAK = re.compile(r"\n\s*")
_WORDING_KEYS = frozenset(("means", "pattern", "examples"))
_SCOPE_KEYS = frozenset(("class", "reason", "pattern", "unless", "exactly", "examples", "spares"))


@dataclass(frozen=True)
class Cue:
    """A pattern of ``wording.yaml``, its meaning, and questions with the query that each gives."""

    means: str
    pattern: re.Pattern[str]
    examples: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class Bound:
    """A pattern of ``scope.yaml``.

    Attributes:
        name: the class of the questions that it matches.
        reason: why they are not answered, for readers of the file.
        pattern: over the question.
        unless: another pattern with which it does not hold.
        examples: questions that it must match.
        spares: questions near to them that stay answerable.
    """

    name: str
    reason: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    examples: tuple[str, ...]
    spares: tuple[str, ...]

    def matches(self, text: str) -> list[re.Match[str]]:
        """Where the pattern matches; nowhere in a text in which ``unless`` does."""
        if self.unless is not None and self.unless.search(text):
            return []
        return list(self.pattern.finditer(text))


@cache
def wording(section: str) -> tuple[Cue, ...]:
    """The cues of a section of ``wording.yaml``, in order.

    Raises:
        UserError: an entry has other keys than it should, or its pattern cannot be compiled.
    """
    return tuple(
        Cue(entry["means"], _compiled("wording", entry["pattern"]), entry["examples"] or {})
        for entry in _checked("wording", section, _WORDING_KEYS, needed=_WORDING_KEYS)
    )


@cache
def bounds() -> tuple[Bound, ...]:
    """The bounds of the field in ``scope.yaml``, in order.

    Raises:
        UserError: an entry has other keys than it should, or its pattern cannot be compiled.
    """
    return tuple(
        Bound(
            entry["class"],
            entry["reason"],
            _compiled("scope", entry["pattern"], exactly=entry.get("exactly", False)),
            _compiled("scope", entry["unless"]) if "unless" in entry else None,
            tuple(entry["examples"]),
            tuple(entry.get("spares", ())),
        )
        for entry in _checked("scope", "scope", _SCOPE_KEYS, needed={"class", "reason", "pattern", "examples"})
    )


@cache
def hints() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """(class, pattern) pairs that tell what a question seems to be about that is not wholly understood."""
    keys = frozenset(("class", "pattern"))
    entries = _checked("scope", "hints", keys, needed=keys)
    return tuple((entry["class"], _compiled("scope", entry["pattern"])) for entry in entries)


@cache
def scope_words() -> frozenset[str]:
    """The words in the patterns of ``scope.yaml``: none of them is a misspelt name."""
    patterns = [*(bound.pattern for bound in bounds()), *(pattern for _, pattern in hints())]
    return frozenset(word for pattern in patterns for word in _PLAIN.findall(pattern.pattern))


@cache
def refusals() -> Mapping[str, str]:
    """What is said to a question of each class."""
    return {name: " ".join(text.split()) for name, text in _file("scope")["refusals"].items()}


@cache
def names() -> Mapping[str, tuple[str, ...]]:
    """Further name of variables -> their keys."""
    listed = _file("wording")["names"]
    return {str(word): tuple(re.split(r", *", entry["means"])) for entry in listed for word in entry["words"]}


@cache
def panels() -> Mapping[str, tuple[str, ...]]:
    """Name of several variables, all of which are meant -> their keys."""
    listed = _file("wording")["panels"]
    return {str(word): tuple(re.split(r", *", entry["means"])) for entry in listed for word in entry["words"]}


@cache
def ends() -> Mapping[str, tuple[str, str]]:
    """Word that names a variable and an end of its course -> ``highest`` or ``lowest``, and the variable's key."""
    listed = _file("wording")["ends"]
    return {str(word): tuple(entry["means"].split()) for entry in listed for word in entry["words"]}


@cache
def slips() -> Mapping[str, str]:
    """Short word that is often mistyped -> the word that is meant."""
    return _file("wording")["slips"]


@cache
def words(section: str) -> frozenset[str]:
    """A list of words of ``wording.yaml``; an entry of it may be several words."""
    return frozenset(word for line in _file("wording")[section] for word in str(line).split())


@cache
def phrases(section: str) -> frozenset[str]:
    """A list of phrases of ``wording.yaml``."""
    return frozenset(str(phrase) for phrase in _file("wording")[section])


@cache
def _file(name: str) -> dict[str, Any]:
    return read_data_file(_FOLDER / f"{name}.yaml")


def _checked(
    file: str, section: str, allowed: frozenset[str], needed: set[str] | frozenset[str]
) -> list[dict[str, Any]]:
    entries = _file(file)[section]
    for entry in entries:
        if needed - set(entry) or set(entry) - allowed:
            expected = ", ".join(sorted(needed))
            raise UserError(f"{_path(file)}: {section}: an entry has {', '.join(entry)}: expected {expected}")
    return entries


def _compiled(file: str, pattern: str, *, exactly: bool = False) -> re.Pattern[str]:
    """A pattern with its parts expanded; its line breaks mean nothing, and a blank stands for any blanks."""
    text = _joined(pattern)
    for _ in range(3):  # parts have parts
        text = _PART.sub(lambda match: _part(file, match[1]), text)
    try:
        return re.compile(text.replace(" ?", r"\s*").replace(" ", r"\s+"), 0 if exactly else re.IGNORECASE)
    except re.error as error:
        raise UserError(f"{_path(file)}: '{_joined(pattern)[:80]}' is no pattern: {error}") from None


def _part(file: str, name: str) -> str:
    parts = {**_file("wording")["parts"], **_file(file)["parts"]}
    if name not in parts:
        raise UserError(f"{_path(file)}: no part '{name}' among {', '.join(parts)}")
    return _joined(parts[name])


def _joined(pattern: str) -> str:
    return _BREAK.sub("", str(pattern))


def _path(file: str) -> Path:
    return _FOLDER / f"{file}.yaml"
