"""The definition of a database for ``mimic-prep``: how it is recognised, read, checked and prepared.

Each package of ``mimic_prep.releases`` defines one under the name ``RELEASE``; nothing else needs to know the database.
It is cheap to import: the reader is imported only when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.raw_place import RawPlace
    from mimic_prep.reader import Reader
    from mimic_prep.release_check import ReleaseCheck
    from mimic_prep.tables import Table

#: table -> variable of the catalogue -> item id or column: its unit there, None for the catalogue's own
Items = Mapping[str, Mapping[str, Mapping[int | str, str | None]]]


@dataclass(frozen=True)
class Published:
    """Published row counts of one version of a database.

    Attributes:
        version: its published name.
        marker: the table (lower case) whose row count identifies this version.
        rows: table (lower case) -> rows.
    """

    version: str
    marker: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Option:
    """An option of one database's preparation only: ``--name VALUE``."""

    name: str
    help: str
    default: str = "default"


@dataclass(frozen=True)
class Release:
    """A database that can be prepared.

    Attributes:
        name: its name in manifests and messages.
        command: its subcommand of ``mimic-prep``, and its name as ``source`` in Python.
        about: one line about the command.
        raw_help: help of ``--raw``.
        recognise: whether the tables below a folder or in a DuckDB or PostgreSQL database are this release;
            ``has_column`` makes such a test, ``in_folder`` one that no DuckDB or PostgreSQL database passes. It may
            raise a UserError for a folder without tables, which then does not match.
        reader: creates the reader of its tables (``mimic_prep.reader.Reader``), which knows their columns; None if
            ``prepare`` does everything.
        versions: published row counts, newest first; optional.
        items: its items by variable, if ``configs/concepts/variables.yaml`` does not list them.
        note_kinds: kinds of notes with their own time that ``notes.kinds`` of a protocol may name.
        sections: sections of text, besides those of discharge summaries, that ``notes.sections`` may name: name ->
            whether it is known at admission.
        options: options of its command only.
        prepare: its preparation, if it is more than reading tables.
        check: its ``mimic-prep check-release``, if it is more than counting rows of tables.
        laid_out: the tables that a preparation may read, if there is no reader.
        protocol: whether a protocol applies to it.
    """

    name: str
    command: str
    about: str
    raw_help: str
    recognise: Callable[[RawPlace], bool]
    reader: Callable[[], Reader] | None = None
    versions: tuple[Published, ...] = ()
    items: Items = field(default_factory=dict)
    note_kinds: tuple[str, ...] = ()
    sections: Mapping[str, bool] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    prepare: Callable[[PreparationRequest], CohortManifest] | None = None
    check: Callable[[Path], ReleaseCheck] | None = None
    laid_out: Callable[[], Iterable[Table]] | None = None
    protocol: bool = True

    def tables(self) -> list[Table]:
        """The tables that a preparation may read, with their columns."""
        if self.laid_out is not None:
            return list(self.laid_out())
        return self.reader().tables() if self.reader is not None else []


def in_folder(test: Callable[[Path], bool]) -> Callable[[RawPlace], bool]:
    """A test of a folder of files, which no database passes."""
    return lambda raw: isinstance(raw, Path) and test(raw)


def has_table(*tables: str) -> Callable[[RawPlace], bool]:
    """A test whether any of these tables is there, so that ``check-release`` can name those that are not."""

    def recognise(raw_place: RawPlace) -> bool:
        from mimic_prep.ingest import RawTables

        raw = RawTables(raw_place, "a known release")
        return any(raw.has(table) for table in tables)

    return recognise


def has_column(table: str, column: str) -> Callable[[RawPlace], bool]:
    """A test whether the table at its usual path, such as ``icu/icustays``, has this column."""

    def recognise(raw_place: RawPlace) -> bool:
        from mimic_prep.ingest import RawTables
        from mimic_prep.tables import Table

        raw, looked_for = RawTables(raw_place, "a known release"), Table(table, {}, required=False)
        parts = raw.parts(looked_for) if raw.has(looked_for.name) else ()
        return bool(parts) and column in parts[0].columns()

    return recognise
