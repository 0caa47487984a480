"""The reader of one database: which rows are stays, diagnoses and text. All later steps are common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import polars as pl

if TYPE_CHECKING:
    from clinragen.cohort.manifest import Clock
    from mimic_prep.inclusion import Attrition, Population
    from mimic_prep.ingest import RawTables
    from mimic_prep.orders import OrderTable
    from mimic_prep.protocol import Protocol
    from mimic_prep.splits import GivenSplits
    from mimic_prep.tables import EventTable, Table


class Reader(ABC):
    """Reads one database. A reader serves one preparation.

    Attributes:
        version: raised when the same tables give other stays, diagnoses or text than before.
        name: the release's name in manifests.
        items: key of its items in ``configs/concepts/variables.yaml``; ``name`` if the release defines them itself.
        events: its tables of measurements.
        diagnosis_table: its table of diagnoses.
        label_key: the column that links diagnoses to stays: all codes of an admission label each of its stays, unless
            diagnoses are entered for the stay itself.
        warnings: collected while tables are read; shown to the user and stored in the manifest.
        account: stored in the manifest unchanged.
        inputs: SHA-256 of further input files, by name.
        splits: splits of the dataset, if any.
        clock: what the dates of its stays are, see ``sites.of_stays``.
        files: further files of the cohort's folder: name -> content.
    """

    version: int = 1
    name: str
    items: str
    events: tuple[EventTable, ...]
    diagnosis_table: Table
    label_key: Literal["hadm_id", "stay_id"] = "hadm_id"
    clock: Clock = "none"

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.account: dict[str, object] = {}
        self.inputs: dict[str, str] = {}
        self.splits: GivenSplits | None = None
        self.files: dict[str, str] = {}

    @abstractmethod
    def tables(self) -> list[Table]:
        """All tables that a preparation may read, each once."""

    @abstractmethod
    def population(self, raw: RawTables, attrition: Attrition) -> Population:
        """All stays; unusable ones are counted in ``attrition``."""

    @abstractmethod
    def diagnoses(self, raw: RawTables, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """code, version (9 or 10) and the column ``label_key`` of every coded diagnosis of the cohort's patients."""

    @abstractmethod
    def texts(self, raw: RawTables, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Text that each stay may read (columns ``note_selection.NOTES``)."""

    def orders(self, raw: RawTables, stays: pl.DataFrame) -> pl.DataFrame:
        """Drugs of the stays' admissions (columns ``orders.FRAME``), from ``order_tables``."""
        from mimic_prep import orders

        parts = [orders.read(raw, source, stays) for source in self.order_tables()]
        return pl.concat([pl.DataFrame(schema=orders.FRAME), *parts])

    def order_tables(self) -> tuple[OrderTable, ...]:
        """The tables of drugs that were ordered, infused or taken before admission; none by default."""
        return ()

    def conclude(self, raw: RawTables) -> None:  # noqa: B027 (most readers have nothing to add)
        """Called when all tables have been read; may add to ``account``, ``files`` and ``warnings``."""
