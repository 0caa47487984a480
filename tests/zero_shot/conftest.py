"""Descriptions of labels, and their scores on the small synthetic hospital."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import clinragen
from clinragen.api.zeroshot import ZeroShot
from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker

DESCRIBED = """
described_labels:
  pneumonia: {name: pneumonia}
  high_potassium: {name: hyperkalemia, synonyms: [potassium too high]}
  chest_infection:
    name: infection of the chest
    description: Fever, productive cough and an infiltrate, treated with ceftriaxone. No hemoptysis.
"""


@pytest.fixture(scope="session")
def graph():
    return build()


@pytest.fixture(scope="session")
def linker(graph) -> Linker:
    return Linker(graph)


@pytest.fixture(scope="session")
def described(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("described") / "labels.yaml"
    path.write_text(DESCRIBED)
    return path


@pytest.fixture(scope="session")
def scored(hospital, described) -> ZeroShot:
    return clinragen.zeroshot(hospital.cohort, described)


@pytest.fixture
def changed(hospital, restamp, tmp_path) -> Callable[..., Path]:
    """``changed(notes=function)`` is a copy of the cohort with a table replaced by what the function makes of it."""

    def copy(**tables: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
        folder = tmp_path / "-".join(tables)
        shutil.copytree(hospital.cohort, folder, ignore=shutil.ignore_patterns("rationales"))
        for name, change in tables.items():
            path = folder / f"{name}.parquet"
            change(pl.read_parquet(path)).write_parquet(path)
        restamp(folder)
        return folder

    return copy
