"""Fluids of eICU: the path of a cell of ``intakeOutput`` tells what it is: ``Intake (ml)|Crystalloids (ml)|NS``.

A row holds the volume of its cell, and beside it running totals of intake and output, which are not read. Cells that
are totals themselves are left out, too.
"""

from __future__ import annotations

import re
import zlib

import polars as pl

from mimic_prep.accounting import RowFilter
from mimic_prep.unit_screen import variable_of

_INTAKE = r"(?i)\|\s*(Intake \(ml\)\|.*)$"
_TOTAL = r"\b(total|totals|cumulative|balance|24 ?h(ou)?rs?|12 ?h(ou)?rs?|8 ?h(ou)?rs?|shift)\b"
#: labels of food, and of what runs into the gut; they stand in sections of intravenous fluids, too
_NOT_BY_VEIN = (
    r"\b(p\.?o|oral|enteral|tube feed\w*|feed\w*|nutrition|ngt?|ogt?|peg|g-?tube|j-?tube|dobhoff|panda|gastric|"
    r"free water|tpn|ppn|tna|lipids?|intralipid|fat emulsion|irrigat\w*|meal|ice)\b"
)
_RANKS = 200  # labels are told apart by a number below it, so that cells of one minute are no corrections of each other


def paths() -> dict[str, str]:
    """The paths below ``I&O`` that the variables in use are read from, in small letters -> as the catalogue has them.

    A path is a section, or a section and words that the label of a cell holds.
    """
    return {str(item).casefold(): str(item) for item in variable_of("eicu", "intakeoutput") if "|" in str(item)}


def read_intake(row_filter: RowFilter) -> None:
    """Add ``item``, the path in the catalogue that a cell belongs to, and ``rank``, which tells its label."""
    cells = row_filter.frame["path"].unique().drop_nulls().to_list()
    listed = paths()
    meant = {cell: _item(cell, listed) for cell in cells}
    ranks = {cell: zlib.crc32(cell.casefold().encode()) % _RANKS for cell in cells}
    reasons = {cell: why for cell, (_, why) in meant.items() if why}
    items = {cell: item for cell, (item, _) in meant.items() if item}
    path = pl.col("path")
    row_filter.frame = row_filter.frame.with_columns(
        item=path.replace_strict(items, default=None, return_dtype=pl.String),
        reason=path.replace_strict(reasons, default=None, return_dtype=pl.String),
        rank=path.replace_strict(ranks, default=0, return_dtype=pl.Int64),
    )
    for why in sorted(set(reasons.values())):
        row_filter.skip(pl.col("reason") == why, why)
    row_filter.skip(pl.col("item").is_null(), "no intake of a variable in use")


def _item(cell: str, listed: dict[str, str]) -> tuple[str | None, str | None]:
    """The path in the catalogue that a cell belongs to, or why it belongs to none although it is intake."""
    match = re.search(_INTAKE, cell)
    if match is None:
        return None, None
    steps = [step.strip() for step in match[1].casefold().split("|")]
    label = steps[-1]
    if re.search(_TOTAL, label):
        return None, "total of other cells"
    if re.search(_NOT_BY_VEIN, label):
        return None, "intake that is not by vein, or food"
    for path, item in listed.items():
        *section, words = path.split("|")
        if steps[: len(section) + 1] == [*section, words] and len(steps) > len(section) + 1:
            return item, None
        if steps[: len(section)] == section and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", label):
            return item, None
    return None, None
