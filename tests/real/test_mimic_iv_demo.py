"""The MIMIC-IV demo: 100 patients, 140 intensive care stays, straight from the raw tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import raw_databases

from clinragen.catalog import phenotypes, variables
from clinragen.icd import code_map
from mimic_prep.cli import main

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def raw(shared) -> Path:
    return shared("mimic-iv-demo")


@pytest.fixture(scope="module")
def cohort(raw, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("mimic-iv") / "cohort"
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def manifest(cohort) -> dict:
    return json.loads((cohort / "manifest.json").read_text())


def test_all_140_stays_are_accounted_for(manifest):
    attrition = manifest["attrition"]
    assert attrition["entered"] == 140
    assert attrition["kept"] + sum(step["stays"] for step in attrition["excluded"]) == 140
    assert manifest["cohort"]["stays"] == attrition["kept"] == 140


def test_133_stays_carry_a_phenotype(cohort, manifest):
    labels = pl.read_parquet(cohort / "labels.parquet").select(list(phenotypes()))
    assert labels.select(pl.any_horizontal(pl.all())).to_series().sum() == 133
    assert manifest["cohort"]["stays_with_phenotype"] == 133


def test_a_second_run_gives_the_same_bytes(raw, cohort, tmp_path):
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "again"), "--workers", "1"]) == 0
    first = {path.name: path.read_bytes() for path in cohort.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


def test_row_accounts_balance(manifest):
    for table, account in manifest["tables"].items():
        lost = sum(account["out_of_scope"].values()) + sum(account["quarantined"].values())
        assert account["read"] == account["kept"] + lost, table


def test_every_stay_has_text_and_no_patient_is_in_two_splits(cohort):
    stays, notes = pl.read_parquet(cohort / "stays.parquet"), pl.read_parquet(cohort / "notes.parquet")
    assert set(notes["stay_id"]) == set(stays["stay_id"])
    assert stays.group_by("subject_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_values_agree_with_a_direct_recomputation(raw, cohort):
    """Written on its own, one item at a time over the raw rows: the last charted value of each hour."""
    stays = pl.read_csv(raw / "icu/icustays.csv.gz", try_parse_dates=True)
    chart = pl.read_csv(raw / "icu/chartevents.csv.gz", try_parse_dates=True, schema_overrides={"value": pl.String})
    lab = pl.read_csv(
        raw / "hosp/labevents.csv.gz",
        try_parse_dates=True,
        infer_schema_length=None,
        schema_overrides={"value": pl.String, "comments": pl.String},
    )
    limit = r"^(?:<|>|LESS THAN |GREATER THAN )(\d+\.?\d*)\*?\.?(?: |$)"
    text = pl.col("comments").str.extract(limit).str.strip_suffix(".").cast(pl.Float64)
    lab = lab.with_columns(valuenum=pl.coalesce("valuenum", text))
    other = lab.filter((pl.col("itemid") == 52033) & (pl.col("value") != "ART."))["specimen_id"]
    venous = pl.col("itemid").is_in([50821, 50818]) & pl.col("specimen_id").is_in(other.implode())
    lab = lab.filter(~venous)
    series = pl.read_parquet(cohort / "series.parquet")
    chart = chart.select("stay_id", "itemid", "charttime", "storetime", "valuenum").join(
        stays.select("stay_id", "intime", "outtime"), on="stay_id"
    )
    lab = lab.select("subject_id", "itemid", "charttime", "storetime", "valuenum").join(
        stays.select("subject_id", "stay_id", "intime", "outtime"), on="subject_id"
    )
    inside = (pl.col("charttime") >= pl.col("intime")) & (pl.col("charttime") < pl.col("outtime"))
    end = pl.min_horizontal(pl.col("intime") + pl.duration(hours=48), "outtime")
    inside &= pl.max_horizontal("charttime", "storetime") < end
    chart, lab = chart.filter(inside), lab.filter(inside)
    compared = 0
    for key, variable in variables().items():
        tables = variable.items.get("mimic4", {})
        if variable.bin != "last" or set(tables) - {"chartevents", "labevents"}:
            continue
        rows = []
        for table, frame in (("chartevents", chart), ("labevents", lab)):
            for item, unit in tables.get(table, {}).items():
                scale, offset = variable.accepts[unit] if unit else (1.0, 0.0)
                part = frame.filter(pl.col("itemid") == item).select(
                    "stay_id", "charttime", "intime", "outtime", value=pl.col("valuenum") * scale + offset
                )
                rows.append(part)
        if not rows:
            continue
        events = pl.concat(rows).drop_nulls("value")
        low, high = variable.plausible
        if key == "fio2":
            events = events.with_columns(pl.when(pl.col("value") <= 1).then(pl.col("value") * 100).otherwise("value"))
        hour = ((pl.col("charttime") - pl.col("intime")).dt.total_seconds() / 3600).floor()
        events = events.with_columns(hour=hour).filter(
            (pl.col("hour") >= 0)
            & (pl.col("hour") < 48)
            & (pl.col("charttime") < pl.col("outtime"))
            & pl.col("value").round(variable.decimals + 3).is_between(low, high)
        )
        # values of the last minute: ours must be one of them
        last = events.filter(pl.col("charttime") == pl.col("charttime").max().over("stay_id", "hour"))
        expected = last.group_by("stay_id", "hour").agg("value")
        ours = series.filter(pl.col("variable") == key).select("stay_id", pl.col("hour").cast(pl.Float64), mine="value")
        both = expected.join(ours, on=["stay_id", "hour"], how="full")
        assert both.height == expected.height == ours.height, key
        choices = both.explode("value")
        near = pl.Series(np.isclose(choices["mine"], choices["value"], rtol=1e-5, atol=1e-4))
        agrees = choices.select("stay_id", "hour", near=near).group_by("stay_id", "hour").agg(pl.col("near").any())
        assert agrees["near"].all(), key
        compared += both.height > 0
    assert compared >= 40


def test_urine_agrees_with_a_direct_sum(raw, cohort):
    stays = pl.read_csv(raw / "icu/icustays.csv.gz", try_parse_dates=True)
    rows = pl.read_csv(raw / "icu/outputevents.csv.gz", try_parse_dates=True)
    items = [*variables()["urine_output"].items["mimic4"]["outputevents"], 227488, 227489]
    joined = rows.filter(pl.col("itemid").is_in(items)).join(stays.select("stay_id", "intime", "outtime"), on="stay_id")
    end = pl.min_horizontal(pl.col("intime") + pl.duration(hours=48), "outtime")
    known = pl.max_horizontal("charttime", "storetime") < end
    kept = joined.filter((pl.col("charttime") >= pl.col("intime")) & (pl.col("charttime") < end) & known)
    hour = ((pl.col("charttime") - pl.col("intime")).dt.total_seconds() // 3600).alias("hour")
    rinsed = kept.filter(pl.col("itemid") >= 227488).group_by("stay_id", hour).agg(
        into=pl.col("value").filter(pl.col("itemid") == 227488).sum(),
        out=pl.col("value").filter(pl.col("itemid") == 227489).sum(),
    )  # fmt: skip
    net = rinsed.filter((pl.col("into") > 0) & (pl.col("out") >= pl.col("into"))).select(pl.col("out") - pl.col("into"))
    expected = kept.filter(pl.col("itemid") < 227488)["value"].sum() + net["out"].sum()
    series = pl.read_parquet(cohort / "series.parquet").filter(pl.col("variable") == "urine_output")
    assert series["value"].sum() == pytest.approx(expected, rel=1e-6)


def test_phenotypes_agree_with_another_copy_of_ccs(shared, raw, cohort):
    folder = shared("knowledge") / "icd_ccs"
    ccs: dict[tuple[str, int], int] = {}
    for version, name, column in ((9, "ICD9CM", "ICD9CM"), (10, "ICD10CM", "ICD10CM")):
        table = pl.read_csv(folder / f"{name}_to_CCSCM.csv.gz", infer_schema=False)
        for code, category in table.select(column, "CCSCM").iter_rows():
            ccs[code.replace(".", "").strip(), version] = int(category)
    diagnoses = pl.read_csv(raw / "hosp/diagnoses_icd.csv.gz", infer_schema=False).select(
        "hadm_id", "icd_code", "icd_version"
    )
    carried: dict[int, set[int]] = {}
    for hadm, code, version in diagnoses.iter_rows():
        category = ccs.get((code.strip(), int(version)))
        if category is not None:
            carried.setdefault(int(hadm), set()).add(category)
    stays, labels = pl.read_parquet(cohort / "stays.parquet"), pl.read_parquet(cohort / "labels.parquet")
    differences: dict[str, int] = {}
    for row in labels.join(stays, on="stay_id").iter_rows(named=True):
        for key, phenotype in phenotypes().items():
            if row[key] != bool(carried.get(row["hadm_id"], set()) & set(phenotype.ccs)):
                differences[key] = differences.get(key, 0) + 1
    # codes younger than the maps are placed by their prefix here and lost there: never the other way round
    assert sum(differences.values()) <= 5, differences


def test_the_maps_agree_on_every_code_of_the_25_phenotypes(shared):
    folder = shared("knowledge") / "icd_ccs"
    wanted = {category for phenotype in phenotypes().values() for category in phenotype.ccs}
    for version, name in ((9, "ICD9CM"), (10, "ICD10CM")):
        table = pl.read_csv(folder / f"{name}_to_CCSCM.csv.gz", infer_schema=False)
        theirs = {(code.replace(".", "").strip(), int(ccs)) for code, ccs in table.iter_rows() if int(ccs) in wanted}
        mapping = code_map(version)
        assert mapping is not None
        assert {(code, category) for code, category in mapping.items() if category in wanted} == theirs


@pytest.mark.parametrize("form", ["duckdb", "postgresql"])
def test_a_database_of_the_tables_gives_the_same_cohort(request, raw, cohort, manifest, tmp_path, form):
    tables = tmp_path / "raw"
    for name in manifest["inputs"]:  # only what is read
        (tables / name).parent.mkdir(parents=True, exist_ok=True)
        (tables / name).symlink_to((raw / name).resolve())
    if form == "duckdb":
        database = str(raw_databases.to_duckdb(tables, tmp_path / "mimic4.db", "mimiciv_"))
    else:
        database = request.getfixturevalue("postgresql").load(tables, "demo", "mimiciv_")
    assert main(["mimic-iv", "--raw", database, "--out", str(tmp_path / "cohort")]) == 0
    assert raw_databases.same(cohort, tmp_path / "cohort", lines=form == "duckdb")
