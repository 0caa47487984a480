"""Programs that `prepare_scale.py` compares a preparation with. Each runs in its own process and imports none of our
code.

python benchmarks/prepare_rivals.py decompress|duckdb|pyhealth RAW COLUMN < {"table": [item ids], ...}
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from pathlib import Path


def decompress(raw: Path, items: dict[str, list[int]], _: str) -> None:
    """Decompress and forget, with the standard library's zlib."""
    for name in items:
        with gzip.open(raw / f"{name}.csv.gz") as file:
            while file.read(1 << 20):
                pass


def duckdb(raw: Path, items: dict[str, list[int]], column: str) -> None:
    """Read the files with all of DuckDB's threads and count the rows of used items."""
    import duckdb

    for name, used in items.items():
        query = f"select count(*) from read_csv('{raw / name}.csv.gz') where {column} in ({', '.join(map(str, used))})"
        print(name, duckdb.connect().execute(query).fetchall())


def pyhealth(raw: Path, *_: object) -> None:
    """PyHealth's event table of the same files: its shipped configuration, chart and output events added."""
    import pyhealth.datasets as datasets
    import yaml

    config = yaml.safe_load((Path(datasets.__file__).parent / "configs" / "mimic4_ehr.yaml").read_text())
    for name, columns in {
        "chartevents": ["hadm_id", "stay_id", "itemid", "value", "valuenum", "valueuom"],
        "outputevents": ["hadm_id", "stay_id", "itemid", "value", "valueuom"],
    }.items():
        config["tables"][name] = {
            "file_path": f"icu/{name}.csv.gz",
            "patient_id": "subject_id",
            "timestamp": "charttime",
            "attributes": columns,
        }
    cache = raw.with_suffix(".pyhealth")
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    path = cache / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    dataset = datasets.MIMIC4EHRDataset(
        root=str(raw),
        tables=["diagnoses_icd", "labevents", "chartevents", "outputevents"],
        config_path=str(path),
        cache_dir=str(cache),
        num_workers=os.cpu_count() or 1,
    )
    _events = dataset.global_event_df  # builds the event table on disk, which every use of the data set starts from
    shutil.rmtree(cache)


if __name__ == "__main__":
    rivals = {"decompress": decompress, "duckdb": duckdb, "pyhealth": pyhealth}
    rivals[sys.argv[1]](Path(sys.argv[2]), json.load(sys.stdin), sys.argv[3])
