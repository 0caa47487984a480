"""The manifest of a cohort: its inputs and settings, the hashes of its files, and counts.

Types of JSON objects, for writers and readers. A cohort of an older version, or from another tool, may lack any key
except
the version: use ``get``.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

WindowKind = Literal["first", "last", "whole"]
#: What the periods of stays are: calendar years of true dates, years of a source without dates, spans of years, none.
Clock = Literal["absolute", "year", "year_group", "none"]


class WindowRecord(TypedDict):
    """The hours of a stay that may be read."""

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
    splits: dict[str, float | bool | str | list[str] | None]
    variables: NotRequired[list[str]]  # the only ones that were read


class Origin(TypedDict, total=False):
    """All that a cohort depends on: a cohort with the same origin need not be prepared again."""

    schema_version: int
    created_by: str
    source: str
    protocol: ProtocolRecord
    added_variables: dict[str, object]  # as added_variables.AddedVariables.to_json gives it, if there are any
    label_set: dict[str, object]  # as label_sets.LabelSet.to_json gives it
    config_hash: str  # version of the protocol
    steps: dict[str, int]  # versions of the steps, and of the reader
    catalogue: str  # hash of configs/concepts
    drugs: str  # hash of the names and classes of drugs
    inputs: dict[str, str]  # SHA-256 by file


class Exclusion(TypedDict):
    """Number of stays that a rule excluded."""

    reason: str
    stays: int


class AttritionRecord(TypedDict):
    """Stays of the raw table, those that each rule excluded in turn, and those kept."""

    entered: int
    excluded: list[Exclusion]
    kept: int


class RowCounts(TypedDict):
    """Row counts of one raw table: ``read`` is the sum of kept, out of scope and quarantined rows, by reason."""

    read: int
    kept: int
    out_of_scope: dict[str, int]
    quarantined: dict[str, int]
    remarks: NotRequired[dict[str, int]]  # on rows kept


class OrderCounts(TypedDict):
    """Counts of ``orders.parquet``."""

    rows: int
    with_class: int  # whose name, or whose code by other rows, is known
    without_name: int  # with neither a name nor a class, only a code
    names_without_class: int  # distinct names


class CohortCounts(TypedDict):
    """Counts of a cohort's content; those of labels only if any stay is coded."""

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
    hospitals: NotRequired[int]  # distinct ones, where they are known
    networks: NotRequired[int]
    periods: NotRequired[dict[str, int]]  # stays of each
    orders: NotRequired[OrderCounts]


class Account(TypedDict, total=False):
    """Counts and warnings of a preparation."""

    attrition: AttritionRecord
    tables: dict[str, RowCounts]
    cohort: CohortCounts
    warnings: list[str]
    clock: Clock
    rows: dict[str, int]  # for sources that are no tables of a hospital


class CohortManifest(Origin, Account, total=False):
    """``manifest.json`` of a cohort."""

    kind: str
    outputs: dict[str, str]  # SHA-256 by file
    sizes: dict[str, int]  # bytes by file
