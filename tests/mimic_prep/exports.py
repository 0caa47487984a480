"""Small exports in OMOP and CLIF, and what became of a row or a file of them."""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clinragen.errors import UserError
from mimic_prep.prepare import prepare

Rows = list[dict[str, Any]]
FILES = ("stays", "series", "notes", "labels", "outcomes")


@dataclass
class Export:
    """Tables as lists of rows, and changes to the files that they are written to."""

    tables: dict[str, Rows]
    after: list[Callable[[Path], None]] = field(default_factory=list)

    def copy(self) -> Export:
        """An independent copy."""
        return Export(copy.deepcopy(self.tables), list(self.after))

    def write(self, folder: Path) -> Path:
        """Write CSV files, then change them."""
        folder.mkdir()
        for name, rows in self.tables.items():
            columns = list(dict.fromkeys(column for row in rows for column in row))
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        for change in self.after:
            change(folder)
        return folder


@dataclass(frozen=True)
class Outcome:
    """What a changed export must lead to.

    Attributes:
        same: the cohort's tables have the bytes of the good one.
        where: reasons by the part of a table's counts (quarantined, out_of_scope, remarks) or of the stays (excluded).
        warning: part of a warning.
        refused: part of the one line of error.
    """

    same: bool = True
    where: tuple[tuple[str, str, str, int], ...] = ()  # table, part, reason, rows
    warning: str = ""
    refused: str = ""


def repaired(table: str = "", remark: str = "", rows: int = 1) -> Outcome:
    """The cohort is the same; perhaps a remark says what was done."""
    return Outcome(where=((table, "remarks", remark, rows),) if table else ())


def quarantined(table: str, reason: str, rows: int = 1, *, same: bool = True) -> Outcome:
    """Rows are in quarantine."""
    return Outcome(same, ((table, "quarantined", reason, rows),))


def left_out(table: str, reason: str, rows: int = 1, *, same: bool = True) -> Outcome:
    """Rows are out of scope."""
    return Outcome(same, ((table, "out_of_scope", reason, rows),))


def excluded(reason: str, stays: int = 1, *, same: bool = True) -> Outcome:
    """Stays are excluded."""
    return Outcome(same, (("", "excluded", reason, stays),))


def refused(message: str) -> Outcome:
    """Nothing is prepared."""
    return Outcome(refused=message)


def made(source: str, folder: Path, out: Path, **options: str) -> tuple[dict, dict[str, bytes]]:
    """The manifest and the tables of the cohort of an export."""
    manifest = prepare(folder, out, source=source, workers=1, options=options)
    return dict(manifest), {
        name: (out / f"{name}.parquet").read_bytes() for name in FILES if (out / f"{name}.parquet").exists()
    }


def check(source: str, export: Export, expected: Outcome, good: dict[str, bytes], tmp_path: Path, before: dict) -> None:
    """Prepare a changed export and compare with what is expected; every row must be accounted for.

    ``before`` is the manifest of the good export: its counts are subtracted.
    """
    folder = export.write(tmp_path / "export")
    if expected.refused:
        with pytest.raises(UserError) as error:
            made(source, folder, tmp_path / "cohort")
        assert expected.refused in str(error.value)
        assert len(str(error.value).splitlines()) == 1
        return
    manifest, tables = made(source, folder, tmp_path / "cohort")
    for name, count in manifest["tables"].items():
        lost = sum(count["out_of_scope"].values()) + sum(count["quarantined"].values())
        assert count["read"] == count["kept"] + lost, name
    for table, part, reason, rows in expected.where:
        assert _rows(manifest, table, part, reason) - _rows(before, table, part, reason) == rows, manifest["tables"]
    if expected.warning:
        assert any(expected.warning in warning for warning in manifest["warnings"]), manifest["warnings"]
    if expected.same:
        assert {name for name in FILES if tables.get(name) != good.get(name)} == set()
    else:
        assert tables != good or expected.where or expected.warning


def _rows(manifest: dict, table: str, part: str, reason: str) -> int:
    """How many rows of a table, or stays, have a reason that begins with ``reason``."""
    if part == "excluded":
        return sum(step["stays"] for step in manifest["attrition"]["excluded"] if step["reason"].startswith(reason))
    counts = [count for name, count in manifest["tables"].items() if name.split(".")[0].split(" ")[0].lower() == table]
    return sum(rows for count in counts for why, rows in count.get(part, {}).items() if reason in why)
