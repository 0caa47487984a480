"""Reading plain or gzipped text: rows of delimited files, and terms of OBO ontologies."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)" EXACT')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, gzipped if its name ends in .gz."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as handle:
        yield handle


def rows(path: Path, delimiter: str, needed: tuple[str, ...], comment: str = "") -> Iterator[dict[str, str]]:
    """Rows of a delimited file by column name; lines before the header that begin with ``comment`` are skipped.

    Raises:
        ValueError: a needed column is missing, or a row is shorter than the header.
    """
    with opened(path) as handle:
        lines = (line for line in handle if not comment or not line.startswith(comment))
        reader = csv.DictReader(lines, delimiter=delimiter)
        missing = [column for column in needed if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path.name}: column {missing[0]} is missing")
        for row in reader:
            if any(row[column] is None for column in needed):
                raise ValueError(f"{path.name} line {reader.line_num}: fewer values than columns")
            yield row


@dataclass
class Term:
    """A term of an OBO ontology. ``synonyms`` are the exact ones, lower case."""

    id: str
    name: str = ""
    definition: str = ""
    synonyms: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    xrefs: list[str] = field(default_factory=list)
    obsolete: bool = False


def obo(path: Path) -> tuple[str, dict[str, Term]]:
    """(data version, current terms by id) of an OBO file.

    Raises:
        ValueError: no data-version in the header, or no term.
    """
    version = ""
    terms: dict[str, Term] = {}
    term: Term | None = None
    with opened(path) as handle:
        for line in handle:
            tag, _, value = line.rstrip("\n").partition(": ")
            if line.startswith("["):
                term = None
            elif tag == "data-version":
                version = value
            elif tag == "id":
                term = terms.setdefault(value, Term(value))
            elif term is not None:
                _set(term, tag, value)
    if not version:
        raise ValueError(f"{path.name} has no data-version")
    current = {key: entry for key, entry in terms.items() if entry.name and not entry.obsolete}
    if not current:
        raise ValueError(f"{path.name} holds no term")
    return version, current


def _set(term: Term, tag: str, value: str) -> None:
    if tag == "name":
        term.name = value
    elif tag == "def" and (match := _QUOTED.match(value)):
        term.definition = match[1]
    elif tag == "synonym" and (match := _SYNONYM.match(value)):
        term.synonyms.append(match[1].strip().casefold())
    elif tag == "is_a":
        term.parents.append(value.split(" ")[0])
    elif tag == "xref":
        term.xrefs.append(value.split(" ")[0])
    elif tag == "is_obsolete":
        term.obsolete = value.startswith("true")


def ancestors(term: str, terms: dict[str, Term]) -> set[str]:
    """A term and all its ancestors."""
    above: set[str] = set()
    waiting = [term]
    while waiting:
        here = waiting.pop()
        if here in terms and here not in above:
            above.add(here)
            waiting += terms[here].parents
    return above


def spare(forms: list[str], in_use: set[str], least: int = 4) -> tuple[str, ...]:
    """Lower-case forms not yet used, which are then marked as used; shorter than ``least`` is too ambiguous."""
    free = []
    for form in forms:
        form = form.strip().casefold()
        if len(form) >= least and form not in in_use:
            in_use.add(form)
            free.append(form)
    return tuple(free)
