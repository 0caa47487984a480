"""A synthetic hospital group: the first hospital is the usual one; audit and evaluation find what is planted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation import sites as by_site
from clinragen.evaluation.diagnosis import System
from clinragen.evaluation.inputs import Truth
from mimic_prep.audit import site_checks
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.prepare import prepare
from mimic_prep.synthetic.hospital import load
from mimic_prep.synthetic.sites import YEAR_GROUPS, Group, read_recoding, read_sites
from mimic_prep.synthetic.write import synthesize
from tests.mimic_prep.test_synthetic_hospital import files, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hospitals whose years change."""
    out = tmp_path_factory.mktemp("group") / "raw"
    synthesize(700, 5, out, sites=4, drift=1.5, workers=1)
    return out


@pytest.fixture(scope="module")
def cohort(group: Path) -> Cohort:
    prepare(group, group.parent / "cohort", source="mimic-iv", workers=1)
    return Cohort.load(group.parent / "cohort")


def test_the_first_hospital_of_a_group_is_the_single_hospital(tmp_path: Path) -> None:
    synthesize(12, 3, tmp_path / "one", workers=1)
    synthesize(12, 3, tmp_path / "several", sites=3, workers=1)
    assert "truth/sites.json" not in files(tmp_path / "one")
    placed = read(tmp_path / "several", "hosp/admissions")
    there = placed.filter(pl.col("hospital_id") == "hospital-1")["subject_id"].unique().implode()
    assert 0 < len(there[0]) < 12
    for name in ("hosp/patients", "hosp/admissions", "hosp/labevents", "icu/chartevents", "note/discharge"):
        one, several = (read(tmp_path / folder, name) for folder in ("one", "several"))
        columns = [column for column in one.columns if column != "labevent_id"]  # numbers the rows of all patients
        same = [table.filter(pl.col("subject_id").is_in(there)).select(columns) for table in (one, several)]
        assert same[0].equals(same[1]), name
        assert not one.select(columns).equals(several.select(columns)) or name == "hosp/patients"


def test_the_truth_says_where_each_stay_was(group: Path, cohort: Cohort) -> None:
    truth = pl.read_parquet(group / "truth" / "sites.parquet").sort("stay_id")
    assert cohort.sites.equals(truth.filter(pl.col("stay_id").is_in(cohort.sites["stay_id"].implode())))
    planted = json.loads((group / "truth" / "sites.json").read_text())
    assert [site["hospital"] for site in planted["sites"]] == sorted(truth["hospital"].unique())
    assert list(planted["years"]) == sorted(truth["period"].unique()) == list(YEAR_GROUPS)


def test_the_audit_finds_what_is_planted_and_nothing_else(group: Path, cohort: Cohort) -> None:
    planted = json.loads((group / "truth" / "sites.json").read_text())
    checks = {check.key: check for check in site_checks.sites(CohortTables.of(cohort))}
    rows = {str(row["name"]): row for row in checks["hospitals"].rows}
    assert (planted["sites"][1]["habits"]["rarely"], planted["sites"][2]["habits"]["unit"]) == (
        {"albumin": 0, "phosphate": 0.3},
        {"bun": "mmol/L"},
    )
    assert "albumin: never" in rows["hospital-2"]["charting"]
    assert "phosphate" in rows["hospital-2"]["charting"]
    assert "gastrointestinal hemorrhage" in rows["hospital-2"]["labels"]
    assert rows["hospital-3"]["units"].startswith("blood urea nitrogen")
    assert rows["hospital-3"]["words"] < min(rows["hospital-1"]["words"], rows["hospital-2"]["words"])
    assert not rows["hospital-1"]["flagged"]
    years = {str(row["name"]): row for row in checks["periods"].rows}
    assert "pneumonia" in years[YEAR_GROUPS[-1]]["labels"]
    assert "total bilirubin" in years[YEAR_GROUPS[-1]]["charting"]
    assert not any(row["units"] for row in years.values())


def test_the_evaluation_finds_where_a_rule_in_milligrams_fails(cohort: Cohort) -> None:
    """Kidney failure by blood urea nitrogen above 30 mg/dL, where one hospital writes millimoles."""
    highest = cohort.series.filter(pl.col("variable") == "bun").group_by("stay_id").agg(pl.col("value").max())
    urea = cohort.stays.select("stay_id").join(highest, on="stay_id", how="left", maintain_order="left")["value"]
    system = System((urea.fill_null(0) / 300).to_numpy()[:, None], np.array([30 / 300]))
    gold = cohort.labels.select("acute_renal_failure").to_numpy()
    truth = Truth(cohort, cohort.stays, gold, gold, np.ones_like(gold), np.ones_like(gold))
    table = by_site._table("hospital", cohort.sites["hospital"], system, truth, 100, 0)
    f1 = {row["name"]: (row["scores"] or {})["thresholded_micro_f1"] for row in table["rows"]}
    assert set(f1) == {f"hospital-{n}" for n in range(1, 5)}
    here, others = f1["hospital-3"], [f1[f"hospital-{n}"] for n in (1, 2, 4)]
    assert here["value"] < min(other["low"] for other in others)
    assert here["high"] < min(other["value"] for other in others)


def test_drift_grows_evenly_and_the_first_years_chart_everything() -> None:
    group, (_, changed) = Group(0, drift=1), read_sites()
    habits = [group.habits(0, years) for years in YEAR_GROUPS]
    for name, odds in changed.case_mix.items():
        assert [one.case_mix[name] for one in habits] == pytest.approx([odds * (n / 3 - 0.5) for n in range(4)])
    for name, share in changed.rarely.items():
        assert [one.rarely[name] for one in habits] == pytest.approx([1 - (1 - share) * n / 3 for n in range(4)])
    assert Group(0).habits(0, YEAR_GROUPS[0]) == Group(0, sites=2).habits(0, YEAR_GROUPS[3])


def test_a_new_rule_of_coding_changes_only_the_codes_of_later_years(tmp_path: Path) -> None:
    synthesize(60, 3, tmp_path / "one", workers=1)
    synthesize(60, 3, tmp_path / "recoded", recoding=1, workers=1)
    one, recoded = files(tmp_path / "one"), files(tmp_path / "recoded")
    assert [name for name in one if name.endswith(".csv.gz") and one[name] != recoded[name]] == [
        "hosp/diagnoses_icd.csv.gz"
    ]
    assert one["truth/conditions.parquet"] == recoded["truth/conditions.parquet"]
    truth = tmp_path / "recoded" / "truth"
    planted = json.loads((truth / "sites.json").read_text())["recoding"]
    assert (planted["begins"], planted["share"]) == (read_recoding().begins, 1.0)
    rows = pl.read_parquet(truth / "recoded.parquet").join(
        pl.read_parquet(truth / "conditions.parquet"), on=("stay_id", "condition")
    )
    codes = read(tmp_path / "recoded", "hosp/diagnoses_icd")
    pairs = [set(pair) for pair in planted["pairs"]]
    years = dict(pl.read_parquet(truth / "sites.parquet").select("stay_id", "period").iter_rows())
    assert rows.height > 20
    for row in rows.rows(named=True):
        assert {row["condition"], row["written_as"]} in pairs
        assert years[row["stay_id"]] >= planted["begins"]
        written = set(codes.filter(pl.col("hadm_id").cast(pl.Int64) == row["hadm_id"])["icd_code"].str.strip_chars())
        possible = load().conditions[row["written_as"]].forms[0].codes
        assert bool(written & {code for version in possible.values() for code in version}) == row["coded"]


def test_a_share_of_admissions_is_recoded() -> None:
    group, (first, second) = Group(0, recoding=0.25), read_recoding().pairs[0]
    recoded = [group.recoded(hadm, {first}, YEAR_GROUPS[-1]) for hadm in range(2000)]
    assert sum(map(bool, recoded)) / 2000 == pytest.approx(0.25, abs=0.03)
    assert {first: second} in recoded
    assert not any(group.recoded(hadm, {first, second}, YEAR_GROUPS[-1]) for hadm in range(50))
    assert not any(group.recoded(hadm, {first}, YEAR_GROUPS[0]) for hadm in range(50))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sites": 0}, "--sites 0: expected 1"),
        ({"drift": -1}, "--drift -1"),
        ({"recoding": 1.5}, "--recoding 1.5: expected"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        synthesize(3, 0, tmp_path / "raw", **options)
