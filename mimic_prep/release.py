"""What a database is to ``mimic-prep``: one value that says how it is recognised, read, checked and prepared.

Each package of ``mimic_prep.releases`` holds one such value under the name ``RELEASE``; nothing else needs to know that
the database exists. The value is light: it imports what reads the database only when it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimic_prep.prepare import PreparationRequest
    from mimic_prep.reader import Reader
    from mimic_prep.release_check import ReleaseCheck
    from mimic_prep.tables import Table

#: table -> variable of the catalogue -> item id or column: its unit there, None for the catalogue's own
Items = Mapping[str, Mapping[str, Mapping[int | str, str | None]]]


@dataclass(frozen=True)
class Published:
    """The row counts that the makers of a database publish for one version of it.

    Attributes:
        version: what they call it.
        marker: the table (lower case) whose row count tells this version from the others.
        rows: table (lower case) -> rows.
    """

    version: str
    marker: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Option:
    """An option that only the preparation of one database has: ``--name VALUE``."""

    name: str
    help: str
    default: str = "default"


@dataclass(frozen=True)
class Release:
    """A database that can be prepared.

    Attributes:
        name: what manifests and messages call it.
        command: its subcommand of ``mimic-prep``, and its name as ``source`` in Python.
        about: what the command does, in one line.
        raw_help: what ``--raw`` expects.
        recognise: whether the files below a folder are this database; ``has_column`` makes one of a table's name. It
            may raise a UserError for a folder without tables, which then is none of this database.
        reader: makes the reader of its tables (``mimic_prep.reader.Reader``), which knows their columns; None where
            ``prepare`` does all.
        versions: published row counts, newest first; may be left out.
        items: which items are which variables, where ``configs/concepts/variables.yaml`` does not say so.
        note_kinds: notes with a time of their own that ``notes.kinds`` of a protocol may name.
        sections: sections of text, beyond those of discharge summaries, that ``notes.sections`` may name: name ->
            whether it is known at admission.
        options: options of its command alone.
        prepare: what its preparation does, where it is more than to read tables.
        check: what ``mimic-prep check-release`` does, where it is more than to count rows of tables.
        laid_out: the tables that a preparation may read, where no reader says so.
        protocol: whether a protocol applies to it.
    """

    name: str
    command: str
    about: str
    raw_help: str
    recognise: Callable[[Path], bool]
    reader: Callable[[], Reader] | None = None
    versions: tuple[Published, ...] = ()
    items: Items = field(default_factory=dict)
    note_kinds: tuple[str, ...] = ()
    sections: Mapping[str, bool] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    prepare: Callable[[PreparationRequest], dict[str, Any]] | None = None
    check: Callable[[Path], ReleaseCheck] | None = None
    laid_out: Callable[[], Iterable[Table]] | None = None
    protocol: bool = True

    def tables(self) -> list[Table]:
        """The tables that a preparation may read, with their columns."""
        if self.laid_out is not None:
            return list(self.laid_out())
        return self.reader().tables() if self.reader is not None else []


def has_column(table: str, column: str) -> Callable[[Path], bool]:
    """A test of a folder: whether the table at its usual place, such as ``icu/icustays``, has this column."""

    def recognise(root: Path) -> bool:
        from mimic_prep.ingest import RawFolder
        from mimic_prep.release_check import columns_of
        from mimic_prep.tables import Table

        raw, looked_for = RawFolder(root, "a known release"), Table(table, {}, required=False)
        parts = raw.parts(looked_for) if raw.has(looked_for.name) else ()
        return bool(parts) and column in columns_of(parts[0])

    return recognise
