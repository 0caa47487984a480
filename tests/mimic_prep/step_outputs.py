"""The output of each step of a preparation on small raw tables, as hashes; ``python -m tests.mimic_prep.step_outputs``.

Typed so, it writes ``step_outputs.json`` anew, to which ``test_step_versions.py`` holds the code.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from mimic_prep import shards
from mimic_prep.cache import frame_hash
from mimic_prep.prepare import prepare
from mimic_prep.reader import Reader
from mimic_prep.releases import releases
from mimic_prep.steps import VERSIONS, Step
from tests.mimic_prep.conftest import Hospital
from tests.mimic_prep.test_meds_datasets import patient, write
from tests.mimic_prep.test_prepare_eicu import _TABLES as EICU
from tests.mimic_prep.test_prepare_mimic_iii import _TABLES as MIMIC3

RECORDED = Path(__file__).with_suffix(".json")
_FILES: dict[Step, str] = {
    "stays": "stays", "series": "series", "texts": "notes", "labels": "labels", "outcomes": "outcomes",
    "sites": "sites", "orders": "orders", "quarantine": "quarantine",
}  # fmt: skip
#: the steps whose output a step reads, itself among them
_INTO: dict[Step, tuple[Step, ...]] = {
    "stays": ("stays", "events", "series"),  # stays without a series are excluded
    "events": ("stays", "events"),
    "series": ("stays", "events", "series"),
    "texts": ("stays", "events", "series", "texts", "labels"),
    "labels": ("stays", "events", "series", "labels"),
    "outcomes": ("stays", "events", "series", "outcomes"),
    "sites": ("stays", "events", "series", "sites"),
    "orders": ("stays", "events", "series", "orders"),
    "quarantine": tuple(VERSIONS),
}


def hospital() -> Hospital:
    """The small hospital of the tests with something for every step to do."""
    hospital = Hospital()
    hospital.tables["hosp/admissions"][1].update(hospital_expire_flag=1, deathtime="2151-03-09 11:30:00")
    hospital.chart(100, "2151-03-01 08:20:00", 220045, 900, "bpm")  # not plausible
    hospital.chart(100, "not a time", 220045, 90, "bpm")
    hospital.chart(100, "2151-03-01 11:00:00", 223900, 4)  # the three parts of a coma score
    hospital.chart(100, "2151-03-01 11:00:00", 223901, 6)
    hospital.chart(100, "2151-03-01 11:00:00", 220739, 4)
    hospital.lab(1, "2151-03-01 12:30:00", 50821, 80, "mm Hg", specimen_id=7)  # an oxygen pressure, over the fraction
    hospital.chart(100, "2151-03-01 12:00:00", 223835, 40, "%")
    hospital.urine(100, "2151-03-01 10:10:00", 100.5)
    hospital.urine(100, "2151-03-01 10:40:00", 50)
    hospital.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:30:00", "FINDINGS:\nClear lungs.\n")
    return hospital


def outputs() -> dict[str, dict[str, Any]]:
    """Step or reader -> the versions its output depends on, and the hash of this output."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raws = _raw_tables(root)
        steps = _of_steps(raws["mimic-iv"], root / "steps")
        return steps | {f"reader of {name}": _of_reader(name, raw, root / name) for name, raw in raws.items()}


def _raw_tables(root: Path) -> dict[str, Path]:
    raws = {name: root / f"{name}-raw" for name in ("mimic-iv", "mimic-iii", "eicu", "meds")}
    hospital().write(raws["mimic-iv"])
    for name, tables in (("mimic-iii", MIMIC3), ("eicu", {key: "\n".join(rows) for key, rows in EICU.items()})):
        raws[name].mkdir()
        for table, text in tables.items():
            (raws[name] / f"{table}.csv").write_text(text)
    write(raws["meds"], {"0.parquet": patient(1)})
    return raws


def _of_steps(raw: Path, out: Path) -> dict[str, dict[str, Any]]:
    settings = ["notes.kinds=[radiology]", "rules.max_bad_share=1"]
    prepare(raw, out, source="mimic-iv", settings=settings, workers=1)
    hashes = {step: frame_hash(pl.read_parquet(out / f"{name}.parquet")) for step, name in _FILES.items()}
    kept = sorted((out.parent / f".{out.name}.work").glob("events-*"))
    events = [shards.load(folder, 0) for folder in kept]
    sorted_events = [frame_hash(rows.sort(rows.columns)) for rows in events if rows is not None]
    hashes["events"] = hashlib.sha256(json.dumps(sorted_events).encode()).hexdigest()
    return {
        step: {"versions": {name: VERSIONS[name] for name in _INTO[step]}, "sha256": hashes[step]} for step in VERSIONS
    }


def _of_reader(name: str, raw: Path, out: Path) -> dict[str, Any]:
    prepare(raw, out, source=name, workers=1, settings=["rules.max_bad_share=1"])
    tables = ("stays", "notes", "labels", "outcomes", "sites")
    files = [frame_hash(pl.read_parquet(out / f"{table}.parquet")) for table in tables]
    return {
        "versions": {**VERSIONS, "reader": reader_version(name)},
        "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }


def reader_version(name: str) -> int:
    """The version of a release's reader."""
    if name == "meds":  # its reader is made of a dataset
        from mimic_prep.releases.meds.meds_dataset import MedsReader

        return MedsReader.version
    make = releases()[name].reader
    assert make is not None
    reader: Reader = make()
    return reader.version


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(outputs(), indent=1, sort_keys=True) + "\n")
