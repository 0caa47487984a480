"""Classes that describe a raw release: tables, columns, keys. Each release's descriptions contain no logic.

A column has a canonical name, shared by all releases and used in the rest of ``mimic_prep``, and a raw name in its file
(case-insensitive). ``required`` columns must exist; absent optional ones are read as null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from clinragen.cohort.manifest import Clock
    from mimic_prep.accounting import RowFilter

INTEGER = pa.int64()
NUMBER = pa.float64()
TEXT = pa.string()
TIME = pa.timestamp("s")
INSTANT = pa.timestamp("s", "UTC")  # a time with an offset from UTC, read as the clock time of UTC
WORD = pa.dictionary(pa.int32(), pa.string())  # text with few distinct values, such as units


@dataclass(frozen=True)
class Column:
    """One column of a raw table."""

    raw: str
    type: pa.DataType
    required: bool = True


@dataclass(frozen=True)
class Derivation:
    """A rule that completes the rows of a table before all others: it adds canonical columns, such as ``item``.

    Rows that it leaves out are counted like those of any rule. ``key`` differs for rules with other results.
    """

    rule: Callable[[RowFilter], None]
    key: str


@dataclass(frozen=True)
class Table:
    """One raw file. ``path`` is its usual place below the release's folder, without ``.csv`` or ``.csv.gz``."""

    path: str
    columns: dict[str, Column]
    required: bool = True
    multiline: bool = False  # text columns hold line breaks inside quotes
    tabs: bool = False  # may be separated by tabs, with quotes that are not special, as Athena exports vocabularies
    part: str = ""  # part that is read, if another pass reads the rest; shown in its row counts
    derived: Derivation | None = None

    @property
    def name(self) -> str:
        """The table's name in lower case, without its folder."""
        return self.path.rsplit("/", 1)[-1].lower()

    def without(self, column: str) -> Table:
        """The same file without reading a column."""
        return replace(self, columns={name: kind for name, kind in self.columns.items() if name != column})


@dataclass(frozen=True)
class Only:
    """Rows worth parsing: ``column`` holds one of ``values``; the others are out of scope for ``reason``."""

    column: str
    values: tuple[int | str, ...]
    reason: str


@dataclass(frozen=True)
class EventTable:
    """A table of measurements, one per row: canonical columns item, time, value, and perhaps others.

    ``unit``, ``error``; ``known``, when the row was entered; ``words`` and ``comment``, whose text may hold what is no
    number; ``specimen``, the sample that several rows are of; ``rank``, added to the priority of the item among values
    of the same minute.

    ``key`` is ``stay_id``, or ``subject_id`` where rows carry no stay and belong to the stay that holds their time.
    The catalogue lists the table's item ids under ``Table.name``. ``time`` is a time, or minutes from ICU admission.
    In a ``wide`` table the items are columns, in place of item and value, and every filled cell counts as a row.
    ``unless`` names the tables in whose absence this one counts. Where the item is the word ``generic``, the canonical
    column ``label`` holds it. ``minute`` is that of all rows of a table without times. A table that is only ``beside``
    others makes no series by itself. ``items`` is the key of its items in the catalogue, if it is not the reader's.

    ``interval``: its rows last from ``time`` to ``end`` (``mimic_prep.intervals``). ``if_used``: it is read only if a
    variable has items in it: those of the catalogue have none. ``listed`` is the table under which the catalogue lists
    its items, if that is not its own name.
    """

    table: Table
    key: str
    wide: bool = False
    unless: tuple[str, ...] = ()
    generic: str | None = None
    minute: int | None = None
    beside: bool = False
    items: str = ""
    interval: bool = False
    if_used: bool = False
    listed: str = ""

    @property
    def named(self) -> str:
        """The table under which the catalogue lists its items."""
        return self.listed or self.table.name


@dataclass(frozen=True)
class NoteTable:
    """A table of notes: canonical columns note_id, subject_id, hadm_id, time, available, text.

    ``kind`` is their kind in the cohort. Only rows whose ``category`` is among ``categories`` count (all when empty).
    Those whose ``category`` is among ``addenda``, or whose ``description`` says so, were added to a note.
    """

    table: Table
    kind: str
    categories: tuple[str, ...] = ()
    addenda: tuple[str, ...] = ()


@dataclass(frozen=True)
class MimicLayout:
    """The tables of a release with the layout of MIMIC. ``items`` is its key in the catalogue of variables."""

    name: str
    items: str
    stays: Table
    patients: Table
    admissions: Table
    diagnoses: Table
    events: tuple[EventTable, ...]
    notes: tuple[NoteTable, ...] = ()
    prescriptions: Table | None = None
    more_prescriptions: tuple[Table, ...] = ()  # further tables of drugs
    order_entries: Table | None = None  # when prescriptions were entered
    infusions: Table | None = None  # drugs and fluids as given, by item
    item_names: Table | None = None  # names of these items
    diagnosis_names: Table | None = None
    clock: Clock = "none"  # what the dates are
    icd_version: int | None = None  # ICD version of all codes, if the tables do not state it
    dated_prescriptions: bool = False  # orders have a date without a time: known from the end of that day
