"""The order of rows leaves no trace, also where rows contradict each other: a database may give them in any order."""

from __future__ import annotations

import csv
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep.prepare import prepare
from tests.mimic_prep.exports import Export
from tests.mimic_prep.test_clif import _GOOD as CLIF
from tests.mimic_prep.test_omop import _GOOD as OMOP
from tests.mimic_prep.test_prepare_eicu import _TABLES as EICU

pytestmark = pytest.mark.slow
_QUICK = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


_CODES = [("4019", 9, "Hypertension"), ("J189", 10, "Pneumonia"), ("5849", 9, "Kidney failure")]


def _of_mimic(release) -> dict[str, list[dict[str, Any]]]:
    release.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:30:00", "FINDINGS:\nClear lungs.\n")
    names = ("icd_code", "icd_version", "long_title")
    release.tables["hosp/d_icd_diagnoses"] = [dict(zip(names, row, strict=True)) for row in _CODES]
    return {path.rpartition("/")[2]: rows for path, rows in release.tables.items()}


def _of_eicu() -> dict[str, list[dict[str, Any]]]:
    return {name: list(csv.DictReader(lines)) for name, lines in EICU.items()}


def _with_conflicts(tables: dict[str, list[dict[str, Any]]], chance: random.Random) -> dict[str, list[dict[str, Any]]]:
    """The tables with rows that are in them already, but for a cell, which is that of another row."""
    for rows in tables.values():
        for _ in range(chance.randint(0, 4) if rows else 0):
            row = dict(chance.choice(rows))
            column = chance.choice(list(row))
            rows.append({**row, column: chance.choice(rows).get(column, "")})
    return tables


def _bytes_of(source: str, tables: dict[str, list[dict[str, Any]]], protocol: str) -> dict[str, bytes] | str:
    """The files of a cohort, or the kind of error that there is none."""
    settings = ["notes.kinds=[radiology]", "notes.digest=always"] if source == "mimic-iv" else []
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Export(tables).write(Path(folder) / "raw"), Path(folder) / "cohort"
        try:
            prepare(raw, out, source=source, workers=1, protocol=protocol, settings=settings)
        except UserError as error:
            return str(error).partition(": ")[2]
        return {path.name: path.read_bytes() for path in out.glob("*.parquet") if path.stem != "quarantine"}


@_QUICK
@given(seed=st.integers(0, 1 << 30), protocol=st.sampled_from(["admission", "paper"]))
@pytest.mark.parametrize("source", ["mimic-iv", "eicu", "omop", "clif"])
def test_which_of_two_rows_counts_depends_on_what_they_say(hospital, source, seed, protocol):
    chance = random.Random(seed)
    base = {"mimic-iv": lambda: _of_mimic(hospital.copy()), "eicu": _of_eicu, "omop": OMOP.copy, "clif": CLIF.copy}
    made = base[source]()
    tables = _with_conflicts(made.tables if isinstance(made, Export) else made, chance)
    first = _bytes_of(source, tables, protocol)
    for rows in tables.values():
        chance.shuffle(rows)
    assert _bytes_of(source, tables, protocol) == first
