"""The table of ICD codes is that of the packages it was made from."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

ROOT = Path(__file__).parents[1]


def test_the_table_is_that_of_the_published_files() -> None:
    program = runpy.run_path(str(ROOT / "tools" / "icd_ccs.py"))
    assert_frame_equal(pl.read_parquet(program["TABLE"]), program["table"]())
