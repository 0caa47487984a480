"""What stands in the manifest of a cohort: what it was made from, the hashes of its files, and what was counted.

Types of JSON objects, for those who write and those who read them. A cohort of an older version, or one that another
tool filled, may lack any key but the version: it is asked for with ``get``.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

WindowKind = Literal["first", "last", "whole"]


class WindowRecord(TypedDict):
    """Which hours of a stay may be read."""

    kind: WindowKind
    hours: float | None


class ProtocolRecord(TypedDict):
    """The settings of ``mimic_prep.protocol.Protocol``, with the name of the label set where it was a path."""

    name: str
    retrospective: bool
    labels: str
    window: WindowRecord
    known_at: str
    rules: dict[str, float | bool | str | None]
    notes: dict[str, list[str] | str]
    splits: dict[str, float | bool | str | None]


class Origin(TypedDict, total=False):
    """All that a cohort depends on: one that would be made from the same need not be made again."""

    schema_version: int
    created_by: str
    source: str
    protocol: ProtocolRecord
    label_set: dict[str, object]  # as label_sets.LabelSet.to_json gives it
    config_hash: str  # of the protocol
    steps: dict[str, int]  # versions of the steps, and of the reader
    catalogue: str  # hash of configs/concepts
    inputs: dict[str, str]  # SHA-256 by file


class Exclusion(TypedDict):
    """How many stays a rule excluded."""

    reason: str
    stays: int


class AttritionRecord(TypedDict):
    """Stays of the raw table, those that each rule excluded in turn, and those kept."""

    entered: int
    excluded: list[Exclusion]
    kept: int


class RowCounts(TypedDict):
    """The account of one raw table: ``read`` is the sum of the rows kept, out of scope and quarantined, by reason."""

    read: int
    kept: int
    out_of_scope: dict[str, int]
    quarantined: dict[str, int]
    remarks: NotRequired[dict[str, int]]  # on rows kept


class CohortCounts(TypedDict):
    """What is in a cohort. Those of labels stand only where any stay is coded."""

    stays: int
    patients: int
    splits: dict[str, int]
    series_rows: int
    variables: int
    stays_with_note: int
    stays_with_digest: int
    stays_with_phenotype: NotRequired[int]
    phenotypes: NotRequired[dict[str, int]]
    splits_from: NotRequired[str]
    stays_without_codes: NotRequired[int]


class Account(TypedDict, total=False):
    """What was counted while a cohort was prepared, and what its user should know."""

    attrition: AttritionRecord
    tables: dict[str, RowCounts]
    cohort: CohortCounts
    warnings: list[str]
    rows: dict[str, int]  # of sources that are no tables of a hospital


class CohortManifest(Origin, Account, total=False):
    """``manifest.json`` of a cohort."""

    kind: str
    outputs: dict[str, str]  # SHA-256 by file
    sizes: dict[str, int]  # bytes by file
