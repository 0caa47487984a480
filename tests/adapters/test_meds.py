"""A cohort goes to MEDS and comes back the same, byte for byte; MEDS's own schemas accept every table."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from clinragen.artifacts import sha256_file, write_json, write_table
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths, labels_schema

meds = pytest.importorskip("meds")


def _cohort(root: Path) -> Cohort:
    start = datetime(2150, 1, 1, 8, 13)
    stays = [
        (n, n // 2, n, start + timedelta(days=9 * n), start + timedelta(days=9 * n, hours=50),
         start + timedelta(days=9 * n, hours=48), 60.5, None if n == 5 else "F",
         ("train", "validation", "test")[n // 2 % 3])
        for n in range(4, 16)
    ]  # fmt: skip
    series = [
        (stay[0], hour, key, 1.1 * stay[0]) for stay in stays for hour in (0.0, 7.0) for key in ("heart_rate", "ph")
    ]
    notes = [(stay[0], f"n{stay[0]}", "digest", "chief_complaint", stay[3], "Fever, “high”.") for stay in stays]
    keys = list(phenotypes())
    labels = [(stay[0], *((stay[0] + k) % 4 == 0 for k in range(len(keys)))) for stay in stays]
    paths = CohortPaths(root)
    tables = ((paths.stays, stays, STAYS), (paths.series, series, SERIES), (paths.notes, notes, NOTES))
    for path, rows, schema in (*tables, (paths.labels, labels, labels_schema(keys))):
        write_table(path, pl.DataFrame(rows, schema=schema.names, orient="row").to_arrow().cast(schema))
    write_json(paths.manifest, {"schema_version": 1, "source": "synthetic"})
    return Cohort.load(paths.root)


def test_there_and_back_is_the_same(tmp_path: Path) -> None:
    from clinragen.adapters.meds import export_cohort, import_cohort

    cohort = _cohort(tmp_path / "cohort")
    export_cohort(cohort, tmp_path / "meds")
    import_cohort(tmp_path / "meds", tmp_path / "back")
    back = Cohort.load(tmp_path / "back")
    for name in ("stays", "series", "notes", "labels"):
        assert sha256_file(getattr(cohort.paths, name)) == sha256_file(getattr(back.paths, name)), name
    with pytest.raises(UserError, match="already exists"):
        export_cohort(cohort, tmp_path / "meds")


def test_the_schemas_of_meds_accept_it(tmp_path: Path) -> None:
    from clinragen.adapters.meds import export_cohort

    root = tmp_path / "meds"
    export_cohort(_cohort(tmp_path / "cohort"), root)
    shards = sorted((root / meds.data_subdirectory).glob("**/*.parquet"))
    assert [path.parent.name for path in shards] == ["held_out", "train", "tuning"]
    codes: set[str] = set()
    for path in shards:
        table = pq.read_table(path)
        meds.DataSchema.validate(table)
        rows = pl.read_parquet(path)
        assert rows["subject_id"].is_sorted()
        assert all(part["time"].is_sorted() for part in rows.partition_by("subject_id"))
        codes |= set(rows["code"])
    meds.SubjectSplitSchema.validate(pq.read_table(root / meds.subject_splits_filepath))
    described = pq.read_table(root / meds.code_metadata_filepath)
    meds.CodeMetadataSchema.validate(described)
    assert codes == set(described["code"].to_pylist())
    for key in phenotypes():
        meds.LabelSchema.validate(pq.read_table(root / "labels" / f"{key}.parquet"))
    meds.DatasetMetadataSchema.validate(json.loads((root / meds.dataset_metadata_filepath).read_text()))


def test_what_others_made_is_refused(tmp_path: Path) -> None:
    from clinragen.adapters.meds import export_cohort, import_cohort

    root = tmp_path / "meds"
    export_cohort(_cohort(tmp_path / "cohort"), root)
    shard = root / "data" / "train" / "0.parquet"
    whole = pl.read_parquet(shard)
    whole.drop("code").write_parquet(shard)
    with pytest.raises(UserError, match="breaks the MEDS schema"):
        import_cohort(root, tmp_path / "back")
    (root / "metadata" / "dataset.json").write_text('{"etl_name": "other"}')
    with pytest.raises(UserError, match="mimic-prep meds"):
        import_cohort(root, tmp_path / "back")
    assert not (tmp_path / "back").exists()
