"""The steps of a preparation and their versions: what a finished step, and a finished cohort, depend on beside data.

Raise the version of a step when the same tables and settings give other rows. Nothing else makes a finished step or
cohort out of date: neither a comment nor a change of code that gives the same rows. ``tests/mimic_prep`` holds the
output of each step on a small hospital against ``step_outputs.json``, and fails when it changes and the version does
not. The reader of a database has a version of its own, ``Reader.version``.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.config import CONFIG_ROOT, load_yaml

Step = Literal["stays", "events", "series", "texts", "labels", "outcomes", "quarantine"]

VERSIONS: dict[Step, int] = {
    "stays": 1,  # who is included, the window, the split
    "events": 1,  # rows of a table of measurements as values of the catalogue's variables
    "series": 1,  # events as hourly values
    "texts": 1,  # sections of notes, and text made of structured data
    "labels": 1,  # diagnosis codes as labels, repaired where they were damaged
    "outcomes": 1,  # death and discharge
    "quarantine": 1,  # which rows could not be used
}
#: the steps whose output goes into a step that is kept beside the cohort
INTO: dict[str, tuple[Step, ...]] = {
    "events": ("stays", "events"),
    "series": ("stays", "events", "series"),
    "texts": ("stays", "texts", "labels"),  # structured text names the diagnoses of earlier admissions
}


def versions_into(step: str) -> dict[str, int]:
    """The versions that the output of a kept step depends on; of a table's events, whatever the table."""
    return {name: VERSIONS[name] for name in INTO[step.split("-")[0]]}


@cache
def catalogue_hash() -> str:
    """Hash of what ``configs/concepts`` says: variables, items, units, labels and codes, but not of its comments."""
    folder = CONFIG_ROOT / "concepts"
    contents = {path.name: load_yaml(path) for path in sorted(folder.glob("*.yaml"))}
    tables = {path.name: sha256_file(path) for path in sorted(folder.glob("*.parquet"))}
    return hashlib.sha256(f"{sha256_json(contents)} {sha256_json(tables)}".encode()).hexdigest()
