"""The synthetic hospital's columns are those of the real tables."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from mimic_prep.synthetic.raw_tables import COLUMNS

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in ("hosp/d_icd_diagnoses", "note/discharge")])
def test_columns_equal_the_real_header(shared: Callable[[str], Path], name: str) -> None:
    with gzip.open(shared("mimic-iv-demo") / f"{name}.csv.gz", "rt") as handle:
        assert handle.readline().strip().split(",") == COLUMNS[name]
