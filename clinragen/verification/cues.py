"""The cues of ``configs/verify``: words or patterns, their meaning, and examples with the expected reading.

A file of words holds sections of entries with ``means``, ``words`` and ``examples``. A file of patterns holds
``parts``, named pieces of pattern, and sections of entries with ``means``, ``pattern`` and ``examples``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.errors import UserError

_FOLDER = CONFIG_ROOT / "verify"
WORD_FILES = ("names", "words")
PATTERN_FILES = ("times", "amounts", "numbers")
_PART = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class WordEntry:
    """Words with one meaning, and sentences with their reading."""

    means: str
    words: tuple[str, ...]
    examples: Mapping[str, str]


@dataclass(frozen=True)
class PatternEntry:
    """A pattern over a sentence, and sentences with their reading. ``reads``: the group that it consumes, 0 for all."""

    means: str
    pattern: re.Pattern[str]
    reads: str | int
    examples: Mapping[str, str]


@cache
def words(section: str) -> tuple[WordEntry, ...]:
    """The entries of a section of the files of words.

    Raises:
        UserError: an entry has unexpected keys.
    """
    for file in WORD_FILES:
        entries = _file(file).get(section)
        if entries is not None:
            return tuple(
                WordEntry(entry["means"], tuple(map(str, entry["words"])), entry["examples"])
                for entry in _checked(file, section, entries, {"means", "words", "examples"})
            )
    raise UserError(f"{_FOLDER}: no section {section!r} in {' or '.join(f'{file}.yaml' for file in WORD_FILES)}")


def patterns(file: str, section: str, **parts: str) -> tuple[PatternEntry, ...]:
    """The entries of a section of a file of patterns, in order.

    Args:
        file: name of a file of ``configs/verify``, without its suffix.
        section: key of the entries in it.
        parts: pieces of pattern beside those of the file, which may use them.

    Raises:
        UserError: an entry has other keys than it should, or its pattern cannot be compiled.
    """
    pieces = dict(parts)
    for name, piece in _file(file)["parts"].items():
        pieces[name] = _filled(file, piece, pieces)
    entries = []
    for entry in _checked(file, section, _file(file)[section], {"means", "pattern", "examples"}, frozenset(("reads",))):
        try:
            pattern = re.compile(_filled(file, entry["pattern"], pieces), re.I)
        except re.error as error:
            raise UserError(f"{_FOLDER / file}.yaml: {section}: {entry['pattern']!r} is no pattern: {error}") from None
        entries.append(PatternEntry(entry["means"], pattern, entry.get("reads", 0), entry["examples"]))
    return tuple(entries)


def examples() -> Iterator[tuple[str, str, str]]:
    """(location, sentence, reading) of every example of every file."""
    for file in (*WORD_FILES, *PATTERN_FILES):
        for section, entries in _file(file).items():
            for entry in entries if section != "parts" else ():
                for sentence, reading in entry["examples"].items():
                    yield f"{file}.{section}: {entry['means']}", sentence, reading


@cache
def _file(name: str) -> dict[str, Any]:
    return load_yaml(_FOLDER / f"{name}.yaml")


def _checked(
    file: str, section: str, entries: list[dict[str, Any]], needed: set[str], optional: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    for entry in entries:
        wrong = needed - set(entry) or set(entry) - needed - optional
        if wrong:
            expected = ", ".join(sorted(needed))
            raise UserError(f"{_FOLDER / file}.yaml: {section}: an entry has {', '.join(entry)}: expected {expected}")
    return entries


def _filled(file: str, piece: str, parts: Mapping[str, str]) -> str:
    """A piece of pattern with its {parts} expanded."""

    def part(match: re.Match[str]) -> str:
        if match[1] not in parts:
            raise UserError(f"{_FOLDER / file}.yaml: no part {match[1]!r} for {piece!r}")
        return parts[match[1]]

    return _PART.sub(part, piece)
