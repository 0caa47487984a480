"""Codes of an export that no variable has: a YAML file that lists them, for the site to fill in, and a line about them.

Codes and names are shortened and printable, since cells of an export may hold anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from clinragen.catalog import variables

MOST_LISTED = 2_000
_MOST_NAMED = 5  # in the line that the summary prints


@dataclass(frozen=True)
class Unmapped:
    """Codes of one kind, such as concepts.

    Attributes:
        key: of the settings that take them.
        rows: by code and the table that it is in.
        names: code -> what it means, as far as the export says.
        numeric: whether the codes are numbers, which YAML needs no quotes for.
    """

    key: str
    rows: Counter[tuple[str, str]]
    names: Mapping[str, str] = field(default_factory=dict)
    numeric: bool = False

    def most_frequent(self, most: int) -> list[list[str | int | None]]:
        """Code, name, table and rows of the most frequent ones."""
        return [[code, self.names.get(code), table, rows] for (code, table), rows in _ordered(self.rows)[:most]]


def template(head: str, kinds: list[Unmapped]) -> str:
    """The file: ``head`` as a comment, then a mapping of each kind from codes to variables that are still null."""
    lines = [*(f"# {line}" for line in head.splitlines()), f"# Variables: {', '.join(variables())}."]
    for kind in kinds:
        tables: dict[str, list[tuple[str, int]]] = {}
        for (code, table), rows in _ordered(kind.rows):
            tables.setdefault(code, []).append((table, rows))  # a code of several tables is one key
        lines.append(f"{kind.key}:" if tables else f"{kind.key}: {{}}")
        for code, where in list(tables.items())[:MOST_LISTED]:
            counts = ", ".join(f"{rows:,} rows of {table}" for table, rows in where)
            name = f": {plain(kind.names[code])}" if code in kind.names else ""
            lines.append(f"  {code if kind.numeric else quoted(code)}: {{variable: null}} # {counts}{name}")
    return "\n".join(lines) + "\n"


def told(what: str, kind: Unmapped, file: str, option: str) -> list[str]:
    """A line for the summary, with the most frequent codes; none if there are none.

    Args:
        what: the codes in words, in the plural.
        kind: the codes.
        file: of the cohort, that lists all of them.
        option: takes that file.
    """
    if not kind.rows:
        return []
    shown = [
        f"{plain(str(code))}{f' ({plain(str(name))})' if name else ''} {rows:,}"
        for code, name, _, rows in kind.most_frequent(_MOST_NAMED)
    ]
    codes = len({code for code, _ in kind.rows})
    return [
        f"{codes:,} {what} of {kind.rows.total():,} rows are no variable here, most often {', '.join(shown)}: {file} "
        f"of the cohort lists them; most need none, name the variables of those that do, and pass it with {option}"
    ]


def quoted(text: str) -> str:
    """A text as a YAML scalar on one line, of at most 200 characters."""
    literal = text.replace("${", "$ {")
    return "'" + "".join(letter for letter in literal if letter.isprintable()).replace("'", "''")[:200] + "'"


def plain(text: str) -> str:
    """The first 60 printable characters of a text, for a comment or a message."""
    return "".join(letter for letter in text if letter.isprintable())[:60]


def _ordered(rows: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    return sorted(rows.items(), key=lambda entry: (-entry[1], entry[0]))
