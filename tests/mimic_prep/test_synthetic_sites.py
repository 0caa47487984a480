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
from mimic_prep.synthetic import site_drift
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


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same five hospitals without and with drift between them."""
    out = tmp_path_factory.mktemp("apart")
    for name, strength in (("alike", 0.0), ("apart", 1.0)):
        synthesize(200, 3, out / name, sites=5, site_drift=strength, workers=1)
    return out / "alike", out / "apart"


def test_drift_between_hospitals_changes_codes_and_store_times_alone(apart: tuple[Path, Path]) -> None:
    alike, drifted = apart
    one, other = files(alike), files(drifted)
    changed = {name for name in one if name.endswith(".csv.gz") and one[name] != other[name]}
    tables = {"hosp/diagnoses_icd", "hosp/labevents", "icu/chartevents", "icu/outputevents"}
    assert changed == {f"{name}.csv.gz" for name in tables}
    assert one["truth/conditions.parquet"] == other["truth/conditions.parquet"]
    admissions = read(alike, "hosp/admissions").select("subject_id", hospital="hospital_id").unique()
    planted = {site["hospital"]: site["drift"] for site in json.loads(other["truth/sites.json"])["sites"]}
    for name, tables_late in (("hosp/labevents", "laboratory"), ("icu/chartevents", "bedside")):
        before, after = read(alike, name), read(drifted, name)
        assert before.drop("storetime").equals(after.drop("storetime"))
        hours = (after["storetime"].str.to_datetime() - before["storetime"].str.to_datetime()).dt.total_seconds() / 3600
        late = before.select("subject_id").with_columns(late=hours).join(admissions, on="subject_id")
        for hospital, rows in late.group_by("hospital"):
            assert set(rows["late"]) == {planted[str(hospital[0])]["late"].get(tables_late, 0.0)}


def test_a_code_that_a_hospital_does_not_write_is_in_the_truth_and_not_in_the_table(apart: tuple[Path, Path]) -> None:
    alike, drifted = apart
    uncoded = pl.read_parquet(drifted / "truth" / "uncoded.parquet")
    rows = pl.read_parquet(drifted / "truth" / "conditions.parquet").join(
        pl.read_parquet(drifted / "truth" / "sites.parquet"), on="stay_id"
    )
    planted = {
        site["hospital"]: site["drift"] for site in json.loads((drifted / "truth/sites.json").read_text())["sites"]
    }
    lost = rows.join(uncoded, on=("stay_id", "condition"))
    assert lost.height == uncoded.height > 30
    assert lost["coded"].all()
    for row in lost.rows(named=True):
        assert row["condition"] in planted[row["hospital"]]["uncoded"]
    codes = [
        read(folder, "hosp/diagnoses_icd").with_columns(pl.col("hadm_id").cast(pl.Int64)) for folder in (alike, drifted)
    ]
    of = {
        folder: dict(table.group_by("hadm_id").agg("icd_code").iter_rows())
        for folder, table in zip(apart, codes, strict=True)
    }
    for row in lost.rows(named=True):
        possible = {
            code
            for form in load().conditions[row["condition"]].forms
            for version in form.codes.values()
            for code in version
        }
        assert possible & set(of[alike][row["hadm_id"]])
        assert not possible & set(of[drifted].get(row["hadm_id"], []))
    admissions = read(drifted, "hosp/admissions").select(pl.col("hadm_id").cast(pl.Int64), hospital="hospital_id")
    versions = codes[1].join(admissions, on="hadm_id").group_by("hospital").agg(pl.col("icd_version").unique())
    written = {hospital: sorted(map(int, several)) for hospital, several in versions.iter_rows()}
    assert written == {
        name: [drift["icd_version"]] if drift["icd_version"] else [9, 10] for name, drift in planted.items()
    }


def test_what_is_not_coded_is_a_false_label_and_what_is_stored_late_is_unknown(apart: tuple[Path, Path]) -> None:
    cohorts = []
    for folder in apart:
        prepare(folder, folder.parent / f"{folder.name}-cohort", source="mimic-iv", workers=1)
        cohorts.append(Cohort.load(folder.parent / f"{folder.name}-cohort"))
    both = cohorts[0].stays.join(cohorts[1].stays, on="stay_id")["stay_id"].to_numpy()
    before, after = (cohort.of_stays(both) for cohort in cohorts)
    uncoded = pl.read_parquet(apart[1] / "truth" / "uncoded.parquet")
    lost = {(stay, name) for stay, name in uncoded.iter_rows() if name in before.label_set}
    names, stays = list(before.label_set), before.stays["stay_id"].to_list()
    changed = before.label_matrix(before.stays["stay_id"].to_numpy()) != after.label_matrix(
        after.stays["stay_id"].to_numpy()
    )
    assert {(stays[row], names[column]) for row, column in zip(*np.nonzero(changed), strict=True)} == {
        (stay, name) for stay, name in lost if stay in set(stays)
    }
    hospital = dict(before.sites.select("stay_id", "hospital").iter_rows())
    rows = [
        {name: cohort.series["stay_id"].replace_strict(hospital).eq(name).sum() for name in set(hospital.values())}
        for cohort in (before, after)
    ]
    shares = {name: rows[1][name] / rows[0][name] for name in rows[0]}
    assert shares["hospital-1"] == shares["hospital-2"] == shares["hospital-4"] == 1
    assert max(shares["hospital-3"], shares["hospital-5"]) < 1


def test_drift_between_hospitals_grows_with_its_strength() -> None:
    at = [Group(0, sites=5, site_drift=strength)._drift_at(1).uncoded["septicemia"] for strength in (0.5, 1, 3)]
    assert at == [0.35, 0.7, 1.0]
    drift = Group(0, sites=5, site_drift=0.5)._drift_at(1)
    share = sum("septicemia" in drift.left_uncoded(0, hadm, {"septicemia"}) for hadm in range(2000)) / 2000
    assert share == pytest.approx(0.35, abs=0.03)
    assert not drift.left_uncoded(0, 1, {"pneumonia"})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"uncoded": {"sepsis": 0.5}}, "condition 'sepsis'"),
        ({"uncoded": {"septicemia": 1.5}}, "uncoded.septicemia 1.5: expected a share"),
        ({"icd_version": 11}, "icd_version 11: expected 9 or 10"),
        ({"late": {"laboratory": -1}}, "late.laboratory -1: expected 0 hours"),
        ({"late": {"notes": 1}}, "tables 'notes'"),
        ({"codes": {}}, "key 'codes'"),
    ],
)
def test_a_wrong_drift_of_a_hospital_is_named(row: dict, says: str) -> None:
    with pytest.raises(UserError, match=f"sites.yaml: site_drift.2: .*{says}"):
        site_drift._checked(row, f"{site_drift.SITES_FILE}: site_drift.2")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sites": 0}, "--sites 0: expected 1"),
        ({"drift": -1}, "--drift -1"),
        ({"recoding": 1.5}, "--recoding 1.5: expected"),
        ({"site_drift": 4, "sites": 3}, "--site-drift 4: expected"),
        ({"site_drift": 1}, "--site-drift 1 .* --sites 2"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        synthesize(3, 0, tmp_path / "raw", **options)
