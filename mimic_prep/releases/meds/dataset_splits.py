"""The splits of a MEDS dataset (``metadata/subject_splits.parquet``), with the names of a cohort's splits."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from clinragen.artifacts import read_table
from clinragen.cohort.folder import frame
from clinragen.errors import UserError
from mimic_prep.cells import converted
from mimic_prep.splits import GivenSplits
from mimic_prep.tables import INTEGER, TEXT

FILE = "metadata/subject_splits.parquet"
_NAMES = {
    "train": ("train", "training"),
    "validation": ("tuning", "validation", "valid", "val", "dev", "development"),
    "test": ("held_out", "heldout", "test", "testing"),
}
_WAY_OUT = "fix it, or pass --set splits.dataset=false to draw new splits"


def read_splits(path: Path) -> GivenSplits:
    """Subject -> split.

    Raises:
        UserError: unreadable, a patient in two splits or none, or a split with another name.
    """
    table = frame(read_table(path))
    if missing := [name for name in ("subject_id", "split") if name not in table.columns]:
        raise UserError(f"{path}: column '{missing[0]}' is missing; {_WAY_OUT}")
    try:
        subjects, wrong = converted(table["subject_id"], INTEGER)
        splits, _ = converted(table["split"], TEXT)
    except TypeError as error:
        raise UserError(f"{path}: a column is of type {error}; {_WAY_OUT}") from None
    if wrong.any() or subjects.null_count():
        raise UserError(f"{path}: subject_id of some rows is no whole number; {_WAY_OUT}")
    if splits.null_count():
        raise UserError(f"{path}: {splits.null_count():,} patients have no split; {_WAY_OUT}")
    ours = {theirs: name for name, spellings in _NAMES.items() for theirs in spellings}
    plain = splits.str.strip_chars().str.to_lowercase().str.replace_all("[- ]", "_")
    for split, name in zip(splits, plain, strict=True):
        if name not in ours:
            expected = ", ".join(names[0] for names in _NAMES.values())
            raise UserError(f"{path}: unknown split '{split[:40]}', expected {expected}; {_WAY_OUT}")
    rows = pl.DataFrame({"subject_id": subjects, "split": plain.replace_strict(ours)}).unique()
    if (twice := rows.filter(pl.col("subject_id").is_duplicated())).height:
        count = twice["subject_id"].n_unique()
        raise UserError(f"{path}: {count:,} patients lie in two splits (the first is {twice['subject_id'].min()}); "
                        f"{_WAY_OUT}")  # fmt: skip
    return GivenSplits(path, FILE, dict(rows.iter_rows()), _WAY_OUT)
