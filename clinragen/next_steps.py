"""What to type after a command that ended well, of ``configs/next_steps.yaml``: one line for every command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from typing import Any

from clinragen.config import CONFIG_ROOT, load_yaml

_OPTION = re.compile(r"\{(\w+)\}")


@cache
def table() -> dict[str, list[str | dict[str, str]]]:
    """The lines of each command: plain, or under the name of an option that must have been given."""
    return load_yaml(CONFIG_ROOT / "next_steps.yaml")


def next_step(command: str, values: Mapping[str, Any]) -> str | None:
    """The line for a command line: the first whose options were all given.

    Args:
        command: program, command and action, such as ``clinragen graph build``; its first argument may follow.
        values: what was given for each option and argument, defaults included.

    >>> next_step("clinragen graph build", {"out": "my graph"})
    "clinragen teach --cohort COHORT --graph 'my graph'"
    """
    patterns = (pattern for pattern in table() if fnmatch(command, pattern) or fnmatch(command, f"{pattern} *"))
    exact = max(patterns, key=lambda pattern: (len(pattern.split()), "*" not in pattern), default=None)
    for needs, line in _lines(exact) if exact else ():
        if all(values.get(name) for name in needs):
            return " ".join(_filled(word, values) for word in line.split(" "))
    return None


def _lines(command: str) -> Iterator[tuple[list[str], str]]:
    """The options that each line needs, and the line."""
    for entry in table()[command]:
        guarded = entry.items() if isinstance(entry, dict) else [("", entry)]
        for option, line in guarded:
            yield [*([option] if option else []), *_OPTION.findall(line)], line


def _filled(word: str, values: Mapping[str, Any]) -> str:
    """A word of a line with what was given, quoted for the shell where it must be."""
    filled = _OPTION.sub(lambda matched: _text(values[matched[1]]), word)
    return word if filled == word else shlex.quote(filled)


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
