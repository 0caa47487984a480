"""The columns of ``predictions.parquet``: their types, and what stands in them; every mismatch is an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from clinragen.artifacts import read_table
from clinragen.errors import UserError
from clinragen.label_sets import LabelSet

AGAIN = "run clinragen predict anew"

#: Columns of ``predictions.parquet``: the expected content in words, and a check of the type.
_COLUMNS: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "stay_id": ("whole numbers", pa.types.is_integer),
    "diagnoses": ("lists of texts", lambda kind: _is_list(kind) and _is_text(kind.value_type)),
    "probabilities": ("a number for each label", lambda kind: pa.types.is_struct(kind) and all(map(_is_float, kind))),
    "note_rationale": ("texts", lambda kind: _is_text(kind)),
    "series_rationale": ("texts", lambda kind: _is_text(kind)),
    "parsed": ("true or false", pa.types.is_boolean),
    "concepts": ("lists of concepts with weights", lambda kind: _is_list(kind) and _is_weighed(kind.value_type)),
}
#: Columns that predictions of earlier releases lack.
_LATER: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "interval": ("two numbers for each label", lambda kind: pa.types.is_struct(kind) and all(map(_is_ends, kind))),
    "contributions": (
        "lists of evidence with shares",
        lambda kind: _is_list(kind) and _is_contribution(kind.value_type),
    ),
}
MOST_LETTERS = 50_000  # most characters of a rationale: a hundred times the allowed length


class Contribution(TypedDict):
    """What a piece of a stay's evidence contributes to a diagnosis.

    Attributes:
        diagnosis: key of the label.
        evidence: node of the concept graph: a variable, or a concept of the note.
        share: what the logit loses without it, as a part of all that speaks for the diagnosis; negative where it gains.
    """

    diagnosis: str
    evidence: str
    share: float


def read_columns(path: Path) -> pa.Table:
    """``predictions.parquet``, with the type of every column checked."""
    table = read_table(path)
    absent = [name for name in _COLUMNS if name not in table.column_names]
    if absent:
        raise UserError(f"{path}: columns missing: {', '.join(absent)}; {AGAIN}")
    if not table.num_rows:
        raise UserError(f"{path} holds no stay: predict a split that has some")
    later = {name: check for name, check in _LATER.items() if name in table.column_names}
    for name, (expected, holds) in (_COLUMNS | later).items():
        kind = table.schema.field(name).type
        if not holds(kind):
            raise UserError(f"{path}: column '{name}' is {str(kind)[:60]}, expected {expected}; {AGAIN}")
        if name in ("stay_id", "parsed", "probabilities") and table[name].null_count:
            raise UserError(f"{path}: column '{name}' is empty in {table[name].null_count} rows; {AGAIN}")
    return table


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_float(field: pa.Field) -> bool:
    return pa.types.is_floating(field.type)


def _is_ends(field: pa.Field) -> bool:
    return _is_list(field.type) and pa.types.is_floating(field.type.value_type)


def _is_weighed(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or {field.name for field in kind} < {"concept", "weight"}:
        return False
    return _is_text(kind.field("concept").type) and _is_float(kind.field("weight"))


def _is_contribution(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or {field.name for field in kind} < {"diagnosis", "evidence", "share"}:
        return False
    return all(_is_text(kind.field(name).type) for name in ("diagnosis", "evidence")) and _is_float(kind.field("share"))


def texts(path: Path, table: pa.Table, name: str) -> list[str]:
    """The texts of a column, each of at most ``MOST_LETTERS`` characters."""
    column = [text or "" for text in table[name].to_pylist()]
    for row, text in enumerate(column):
        if len(text) > MOST_LETTERS:
            raise UserError(f"{path}: row {row}, {name}: {len(text):,} letters, at most {MOST_LETTERS:,} are read")
    return column


def concepts(path: Path, column: pa.ChunkedArray) -> list[list[tuple[str, float]]]:
    """Of each stay the concepts that the model attended to, with their weights."""
    by_stay = []
    for row, weighed in enumerate(column.to_pylist()):
        if not all(one and isinstance(one["concept"], str) and _finite(one["weight"]) for one in weighed or []):
            raise UserError(f"{path}: row {row}, concepts: expected names with finite weights; {AGAIN}")
        pairs = [(one["concept"], float(one["weight"])) for one in weighed or []]
        by_stay.append(sorted(pairs, key=lambda pair: -pair[1]))
    return by_stay


def contributions(path: Path, table: pa.Table) -> list[list[Contribution]]:
    """What contributes to each stay's diagnoses; nothing in predictions of earlier releases."""
    if "contributions" not in table.column_names:
        return []
    rows = table["contributions"].to_pylist()
    for row, of_stay in enumerate(rows):
        if not all(one and None not in one.values() and _finite(one["share"]) for one in of_stay or []):
            raise UserError(f"{path}: row {row}, contributions: expected evidence with finite shares; {AGAIN}")
    return [of_stay or [] for of_stay in rows]


def abstains(path: Path, table: pa.Table) -> list[list[str]]:
    """Why the model abstains on each stay; nothing in predictions of earlier releases."""
    if "abstains" not in table.column_names:
        return []
    rows = table["abstains"].to_pylist()
    for row, reasons in enumerate(rows):
        if not all(isinstance(reason, str) and len(reason) <= MOST_LETTERS for reason in reasons or []):
            raise UserError(f"{path}: row {row}, abstains: expected reasons in words; {AGAIN}")
    return [reasons or [] for reasons in rows]


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def probabilities(path: Path, column: pa.ChunkedArray, labels: LabelSet) -> np.ndarray:
    """The probability of each label, [stays, labels]; refused if it is none."""
    fields = {field.name for field in column.type}
    if fields != set(labels):
        odd = [shown(name) for name in sorted(fields ^ set(labels))]
        raise UserError(f"{path}: probabilities and the manifest's labels differ in {', '.join(odd[:9])}")
    structs = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
    values = np.stack([structs.field(label).to_numpy(zero_copy_only=False).astype(float) for label in labels], axis=1)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row, label = np.argwhere(wrong)[0]
        raise UserError(
            f"{path}: row {row}, probabilities, {list(labels)[label]}: {values[row, label]} is no probability (0 to 1)"
        )
    return values


def intervals(path: Path, table: pa.Table, labels: LabelSet, probabilities: np.ndarray) -> np.ndarray | None:
    """Low and high end of each probability, [n, L, 2]; None for a model or predictions of an earlier release."""
    if "interval" not in table.column_names or table["interval"].null_count == table.num_rows:
        return None
    again = f"expected for each label a low and a high end around its probability; {AGAIN}"
    if {field.name for field in table["interval"].type} != set(labels):
        raise UserError(f"{path}: interval and the manifest's labels differ; {again}")
    rows = table["interval"].to_pylist()
    ends = np.full((len(rows), len(labels), 2), np.nan)
    for row, by_label in enumerate(rows):
        for column, label in enumerate(labels):
            given = by_label[label] if by_label else None
            if given and len(given) == 2:
                ends[row, column] = given
    low, high = ends[..., 0], ends[..., 1]
    rounded = 1e-5  # the ends have six decimals, and a column of single precision fewer
    holds = (low >= 0) & (high <= 1) & (low <= probabilities + rounded) & (high >= probabilities - rounded)
    if not holds.all():
        row, column = np.argwhere(~holds)[0]
        raise UserError(f"{path}: row {row}, interval, {list(labels)[column]}: {again}")
    return ends


def written(path: Path, table: pa.Table, labels: LabelSet) -> np.ndarray:
    """The diagnoses that the text lists, bool [stays, labels]."""
    index = {label: i for i, label in enumerate(labels)}
    written = np.zeros((table.num_rows, len(labels)), dtype=bool)
    for row, listed in enumerate(table["diagnoses"].to_pylist()):
        for label in listed or []:
            if label not in index:
                named = f"the diagnosis '{shown(label)}'" if label is not None else "no diagnosis in its diagnoses"
                raise UserError(f"{path}: row {row} names {named}, which is not among the labels")
            written[row, index[label]] = True
    return written


def shown(name: str) -> str:
    """A name from a damaged file, shortened and without terminal control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:60])
