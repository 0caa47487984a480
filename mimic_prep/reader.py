"""What reads the tables of one database: which rows are stays, diagnoses and text. All that follows is common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

if TYPE_CHECKING:
    from mimic_prep.inclusion import Attrition, Population
    from mimic_prep.ingest import RawFolder
    from mimic_prep.protocol import Protocol
    from mimic_prep.splits import GivenSplits
    from mimic_prep.tables import EventTable, Table


class Reader(ABC):
    """Reads one database. A reader serves one preparation.

    Attributes:
        version: raised when the same tables give other stays, diagnoses or text than before.
        name: the release's, as manifests call it.
        items: under which its items stand in ``configs/concepts/variables.yaml``; ``name`` where the release brings
            them itself.
        events: its tables of measurements.
        diagnosis_table: its table of diagnoses.
        label_key: the column by which diagnoses belong to stays: all codes of an admission label each of its stays,
            unless diagnoses are entered for the stay itself.
        warnings: grow as tables are read; shown to the user and kept in the manifest.
        account: goes into the manifest as it is.
        inputs: SHA-256 of files beside the tables, by name.
        splits: those that the dataset brings.
    """

    version: int = 1
    name: str
    items: str
    events: tuple[EventTable, ...]
    diagnosis_table: Table
    label_key: Literal["hadm_id", "stay_id"] = "hadm_id"

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.account: dict[str, Any] = {}
        self.inputs: dict[str, str] = {}
        self.splits: GivenSplits | None = None

    @abstractmethod
    def tables(self) -> list[Table]:
        """All tables that a preparation may read, each once."""

    @abstractmethod
    def population(self, raw: RawFolder, attrition: Attrition) -> Population:
        """All stays; those that cannot be used at all are counted in ``attrition``."""

    @abstractmethod
    def diagnoses(self, raw: RawFolder, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """code, version (9 or 10) and the column ``label_key`` of every coded diagnosis of the cohort's patients."""

    @abstractmethod
    def texts(self, raw: RawFolder, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Text that each stay may read (columns ``note_selection.NOTES``)."""
