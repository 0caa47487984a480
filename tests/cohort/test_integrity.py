"""A cohort whose files were changed since it was prepared is refused, by every reader, with the file's name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from clinragen import integrity
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.schema import CohortPaths
from clinragen.teacher.stays import Stays

TABLES = ("stays", "series", "notes", "labels")


@pytest.fixture
def cohort(hospital, tmp_path) -> Path:
    return Path(shutil.copytree(hospital.cohort, tmp_path / "cohort"))


def read_all(root: Path) -> None:
    opened = Cohort.load(root)
    _ = opened.series, opened.notes, opened.labels


def _flip_labels(path: Path) -> None:
    table = pl.read_parquet(path)
    table.with_columns(shock=~pl.col("shock")).write_parquet(path)


def _one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a careful editor would


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", [_one_byte, _longer])
def test_a_changed_table_is_named(cohort, table, change):
    path = getattr(CohortPaths(cohort), table)
    change(path)
    for reader in (read_all, lambda root: Stays(CohortPaths(root))):
        with pytest.raises(UserError, match="changed since") as refused:
            reader(cohort)
        assert str(path) in str(refused.value)


def test_edited_labels_are_an_error_in_every_command(cohort, command, runs, tmp_path, capsys):
    read_all(cohort)  # the same process has seen the true file
    _flip_labels(CohortPaths(cohort).labels)
    for given in (
        ("clinragen", "teach", "--cohort", cohort, "--overwrite"),
        ("clinragen", "evaluate", "--predictions", runs.predictions, "--cohort", cohort, "--out", tmp_path / "e"),
    ):
        assert command(*given) == 2
        assert "labels.parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "outputs", [[], "none", {"stays.parquet": 7}, {"labels.parquet": ["0"]}, {"labels.parquet": ""}]
)
def test_a_manifest_whose_hashes_are_none_is_refused(cohort, outputs):
    path = CohortPaths(cohort).manifest
    path.write_text(json.dumps(json.loads(path.read_text()) | {"outputs": outputs}))
    with pytest.raises(UserError):
        read_all(cohort)


def test_a_cohort_made_elsewhere_needs_no_hashes(cohort):
    path = CohortPaths(cohort).manifest
    manifest = json.loads(path.read_text())
    del manifest["outputs"], manifest["sizes"]
    path.write_text(json.dumps(manifest))
    _flip_labels(CohortPaths(cohort).labels)
    read_all(cohort)


def test_a_large_file_is_held_to_its_size_and_hashed_when_asked(cohort, monkeypatch):
    monkeypatch.setattr(integrity, "CHEAP", 0)
    series = CohortPaths(cohort).series
    _one_byte(series)
    integrity.hold_output(series, json.loads(CohortPaths(cohort).manifest.read_text()), remedy="prepare it anew")
    with integrity.thorough(), pytest.raises(UserError, match="changed since"):
        read_all(cohort)
    _longer(series)
    with pytest.raises(UserError, match="changed since"):
        read_all(cohort)
