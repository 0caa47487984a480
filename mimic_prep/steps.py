"""The steps of a preparation and their versions, on which cached steps and cohorts depend besides the data.

Raise the version of a step when the same tables and settings give other rows. Nothing else invalidates a finished step
or cohort: neither a comment nor a change of code with the same rows. ``tests/mimic_prep`` compares the output of each
step on a small hospital with ``step_outputs.json``, and fails when it changes and the version does not. The reader of a
database has its own version, ``Reader.version``.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.catalog import added_digest, read_data_file
from clinragen.config import CONFIG_ROOT

Step = Literal["stays", "events", "series", "texts", "labels", "outcomes", "sites", "orders", "quarantine"]

VERSIONS: dict[Step, int] = {
    "stays": 1,  # who is included, the window, the split
    "events": 1,  # rows of a table of measurements as values of the catalogue's variables
    "series": 1,  # events as hourly values
    "texts": 1,  # sections of notes, and text composed from structured data
    "labels": 1,  # labels from diagnosis codes, after repair
    "outcomes": 1,  # death and discharge
    "sites": 2,  # hospital, network, period and care unit; 1: without the unit
    "orders": 1,  # drugs that were ordered, infused or taken before admission
    "quarantine": 1,  # which rows could not be used
}
#: the steps on which each cached step depends
INTO: dict[str, tuple[Step, ...]] = {
    "events": ("stays", "events"),
    "series": ("stays", "events", "series"),
    "orders": ("stays", "orders"),
    "texts": ("stays", "texts", "labels"),  # composed text names the diagnoses of earlier admissions
}


def versions_into(step: str) -> dict[str, int]:
    """The versions on which a cached step depends; for events, independent of the table."""
    return {name: VERSIONS[name] for name in INTO[step.split("-")[0]]}


@cache
def catalogue_hash() -> str:
    """Hash of the content of ``configs/concepts`` (variables, items, units, labels, codes), without its comments.

    Variables that a user adds are not in it: a cohort's manifest holds them in full. ``catalogue_key`` has both.
    """
    folder = CONFIG_ROOT / "concepts"
    contents = {path.name: read_data_file(path) for path in sorted(folder.glob("*.yaml"))}
    tables = {path.name: sha256_file(path) for path in sorted(folder.glob("*.parquet"))}
    return hashlib.sha256(f"{sha256_json(contents)} {sha256_json(tables)}".encode()).hexdigest()


def catalogue_key() -> str:
    """What cached steps depend on: the hash of the catalogue, and of the variables added to it, if there are any."""
    return f"{catalogue_hash()} {added_digest()}".rstrip()
