"""The synthetic hospital: same bytes, real schema, true codes, clinically right directions, no diagnosis given away."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.icd import code_map
from clinragen.schema import CohortPaths
from mimic_prep.cli import main
from mimic_prep.sections import discharge_sections
from mimic_prep.synthetic.hospital import Condition, MeasuredVariable, Variant, load, parse_effect
from mimic_prep.synthetic.patients import Episode, draw_patient, identifier
from mimic_prep.synthetic.physiology import course
from mimic_prep.synthetic.raw_tables import COLUMNS
from mimic_prep.synthetic.write import synthesize

ADMISSION_SECTIONS = {
    "chief_complaint", "history_of_present_illness", "past_medical_history", "social_history", "family_history",
    "medications_on_admission", "allergies", "admission_exam",
}  # fmt: skip


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "raw"
    synthesize(300, 11, out, workers=1)
    return out


def read(hospital: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(gzip.decompress((hospital / f"{name}.csv.gz").read_bytes()), infer_schema_length=0)


def stays(hospital: Path) -> pl.DataFrame:
    times = [pl.col(name).str.to_datetime() for name in ("intime", "outtime")]
    return read(hospital, "icu/icustays").with_columns(*times, pl.col("stay_id").cast(pl.Int64))


def truth(hospital: Path) -> pl.DataFrame:
    return pl.read_parquet(hospital / "truth" / "conditions.parquet")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        synthesize(6, seed, tmp_path / name, workers=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["note/discharge.csv.gz"] != files(tmp_path / "c")["note/discharge.csv.gz"]


def test_the_number_of_processes_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimic_prep.synthetic.write.CHUNK", 3)
    synthesize(7, 1, tmp_path / "one", workers=1)
    synthesize(7, 1, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    synthesize(3, 5, tmp_path / "few", workers=1)
    synthesize(8, 5, tmp_path / "many", workers=1)
    for name in ("hosp/admissions", "icu/chartevents", "hosp/labevents", "note/discharge"):
        few, many = read(tmp_path / "few", name), read(tmp_path / "many", name)
        assert few.equals(many.head(few.height))


def test_tables_have_the_real_columns_and_keys_that_join(hospital: Path) -> None:
    for name, columns in COLUMNS.items():
        assert read(hospital, name).columns == columns
    admissions, patients = read(hospital, "hosp/admissions"), read(hospital, "hosp/patients")
    assert admissions["hadm_id"].is_unique().all()
    assert patients["subject_id"].is_unique().all()
    assert set(admissions["subject_id"]) == set(patients["subject_id"])
    for name in ("icu/icustays", "hosp/diagnoses_icd", "hosp/prescriptions", "note/discharge"):
        assert set(read(hospital, name)["hadm_id"]) <= set(admissions["hadm_id"])
    explained = set(read(hospital, "icu/d_items")["itemid"])
    for name in ("icu/chartevents", "icu/outputevents"):
        assert set(read(hospital, name)["itemid"]) <= explained
    assert set(read(hospital, "hosp/labevents")["itemid"]) <= set(read(hospital, "hosp/d_labitems")["itemid"])
    assert read(hospital, "hosp/labevents")["labevent_id"].is_unique().all()


def test_rows_lie_within_their_stay_and_admission(hospital: Path) -> None:
    for name in ("icu/chartevents", "icu/outputevents"):
        rows = read(hospital, name).select(pl.col("stay_id").cast(pl.Int64), pl.col("charttime").str.to_datetime())
        joined = rows.join(stays(hospital), on="stay_id")
        assert joined.height == rows.height
        assert joined.filter(~pl.col("charttime").is_between("intime", "outtime")).is_empty()
    admissions = read(hospital, "hosp/admissions").with_columns(pl.col("admittime", "dischtime").str.to_datetime())
    inside = stays(hospital).join(admissions, on="hadm_id")
    outside = (pl.col("intime") < pl.col("admittime")) | (pl.col("outtime") > pl.col("dischtime"))
    assert inside.filter(outside).is_empty()
    ordered = admissions.sort("subject_id", "admittime")
    gap = pl.col("admittime") >= pl.col("dischtime").shift(1).over("subject_id")
    assert ordered.select(gap.fill_null(True).all()).item()


def test_coded_diagnoses_map_to_the_true_phenotypes_and_to_nothing_else(hospital: Path) -> None:
    owner = {category: key for key, phenotype in phenotypes().items() for category in phenotype.ccs}
    found: dict[int, set[str]] = {}
    for row in read(hospital, "hosp/diagnoses_icd").iter_rows(named=True):
        known = code_map(int(row["icd_version"]))
        category = known.ccs(row["icd_code"]) if known else None
        assert category is not None, row["icd_code"]
        if category in owner:
            found.setdefault(int(row["hadm_id"]), set()).add(owner[category])
    coded = truth(hospital).filter("is_phenotype", "coded").group_by("hadm_id").agg(pl.col("condition").unique())
    expected = dict(coded.iter_rows())
    for hadm in set(truth(hospital)["hadm_id"]):
        assert found.get(hadm, set()) == set(expected.get(hadm, [])), hadm
    versions = set(read(hospital, "hosp/diagnoses_icd")["icd_version"])
    assert versions == {"9", "10"}


def test_the_prepared_labels_are_the_coded_truth_and_no_stay_is_lost(hospital: Path, tmp_path: Path) -> None:
    assert main(["mimic-iv", "--raw", str(hospital), "--out", str(tmp_path / "cohort")]) == 0
    labels = pl.read_parquet(CohortPaths(tmp_path / "cohort").labels)
    assert set(labels["stay_id"]) == set(stays(hospital)["stay_id"])
    coded = truth(hospital).filter("is_phenotype", "coded").select("stay_id", "condition")
    melted = labels.unpivot(index="stay_id", variable_name="condition", value_name="label").filter("label")
    assert set(melted.select("stay_id", "condition").iter_rows()) == set(coded.iter_rows())


def test_every_code_of_the_configuration_has_its_category() -> None:
    for condition in load().conditions.values():
        wanted = phenotypes()[condition.key].ccs if condition.is_phenotype else None
        labels = {category for phenotype in phenotypes().values() for category in phenotype.ccs}
        for form in condition.forms:
            assert set(form.codes) == {9, 10}, condition.key
            for version, codes in form.codes.items():
                known = code_map(version)
                for category in (known.ccs(code) if known else None for code in codes):
                    assert category in wanted if wanted else category not in labels, (condition.key, version)


@pytest.mark.parametrize(
    ("condition", "table", "variable", "direction"),
    [
        ("acute_renal_failure", "hosp/labevents", "creatinine", 1),
        ("chronic_kidney_disease", "hosp/labevents", "creatinine", 1),
        ("septicemia", "hosp/labevents", "lactate", 1),
        ("septicemia", "hosp/labevents", "wbc", 1),
        ("shock", "hosp/labevents", "lactate", 1),
        ("shock", "icu/chartevents", "mean_bp", -1),
        ("shock", "icu/outputevents", "urine_output", -1),
        ("respiratory_failure", "hosp/labevents", "pao2", -1),
        ("respiratory_failure", "icu/chartevents", "spo2", -1),
        ("respiratory_failure", "icu/chartevents", "respiratory_rate", 1),
        ("pneumonia", "hosp/labevents", "wbc", 1),
        ("gastrointestinal_hemorrhage", "hosp/labevents", "hemoglobin", -1),
        ("surgical_complications", "hosp/labevents", "hemoglobin", -1),
        ("acute_myocardial_infarction", "hosp/labevents", "troponin_t", 1),
        ("demand_injury", "hosp/labevents", "troponin_t", 1),
        ("congestive_heart_failure", "hosp/labevents", "bnp", 1),
        ("other_liver_diseases", "hosp/labevents", "bilirubin_total", 1),
        ("other_liver_diseases", "hosp/labevents", "platelets", -1),
        ("diabetes_with_complications", "hosp/labevents", "glucose", 1),
        ("acute_cerebrovascular_disease", "icu/chartevents", "gcs_motor", -1),
        ("cardiac_dysrhythmias", "icu/chartevents", "heart_rate", 1),
        ("copd", "hosp/labevents", "paco2", 1),
        ("lipid_disorders", "hosp/labevents", "ldl", 1),
    ],
)
def test_conditions_move_the_written_values_in_the_clinical_direction(
    hospital: Path, condition: str, table: str, variable: str, direction: int
) -> None:
    items = [str(item) for item in load().items(variable, table.split("/")[1])]
    value = "value" if table == "icu/outputevents" else "valuenum"
    rows = read(hospital, table).filter(pl.col("itemid").is_in(items)).with_columns(pl.col(value).cast(float))
    key = "hadm_id" if table == "hosp/labevents" else "stay_id"
    medians = rows.drop_nulls([value, key]).group_by(pl.col(key).cast(pl.Int64)).agg(pl.col(value).median())
    shown = truth(hospital).filter(pl.col("condition") == condition, pl.col("channel").is_in(["series", "both"]))
    known = truth(hospital).select(key).unique().join(medians, on=key)
    affected = pl.col(key).is_in(shown[key].implode())
    means = [np.mean(known.filter(chosen)[value].to_numpy()) for chosen in (affected, ~affected)]
    assert direction * (means[0] - means[1]) > 0


def test_every_effect_in_the_configuration_names_its_source_and_reads() -> None:
    hospital = load()
    assert {condition.source for condition in hospital.conditions.values()} <= set(hospital.sources)
    for condition in hospital.conditions.values():
        for form in condition.forms:
            assert (hospital.effect(form) != 0).sum() == len(form.effects)
        if condition.is_phenotype:
            assert condition.series > 0 or condition.planted == "note"
            assert condition.note > 0.5 or condition.planted in ("series", "together")


def test_sections_known_at_admission_never_name_an_acute_diagnosis(hospital: Path) -> None:
    acute = {key for key, phenotype in phenotypes().items() if phenotype.kind == "acute"}
    names = {key: [name.lower() for name in load().conditions[key].all_names()] for key in acute}
    names = {key: [*words, phenotypes()[key].name] for key, words in names.items()}
    present = dict(truth(hospital).group_by("hadm_id").agg("condition").iter_rows())
    checked = 0
    for row in read(hospital, "note/discharge").iter_rows(named=True):
        sections = discharge_sections(row["text"])
        assert {"chief_complaint", "history_of_present_illness", "admission_exam"} <= set(sections)
        before = " ".join(text for name, text in sections.items() if name in ADMISSION_SECTIONS).lower()
        for key in acute & set(present.get(int(row["hadm_id"]), [])):
            checked += 1
            for name in names[key]:
                assert not re.search(rf"\b{re.escape(name)}\b", before), (row["note_id"], key)
            assert any(name in row["text"].lower() for name in names[key])
    assert checked > 300


def test_truth_says_what_is_written_and_where(hospital: Path) -> None:
    lexicon = load().lexicon
    texts = dict(read(hospital, "note/discharge").select(pl.col("hadm_id").cast(pl.Int64), "text").iter_rows())
    written = missed = 0
    for row in truth(hospital).iter_rows(named=True):
        text = texts.get(row["hadm_id"])
        assert (row["channel"] in ("note", "both")) == bool(row["terms"])
        assert (row["channel"] in ("series", "both")) == bool(row["variables"])
        if text is None:
            assert not row["terms"]
            continue
        for term in row["terms"]:
            sign = lexicon.signs.get(term)
            wordings = lexicon.symptoms.get(term) or (sign["say"] if sign else [term])
            written += 1
            missed += not any(wording in text for wording in wordings)
    assert written > 1000
    assert missed < 0.06 * written  # typos only


def test_the_oracle_is_a_probability_that_only_hidden_conditions_and_coding_spoil(hospital: Path) -> None:
    oracle = pl.read_parquet(hospital / "truth" / "oracle.parquet")
    assert set(oracle["stay_id"]) == set(stays(hospital)["stay_id"])
    for key in phenotypes():
        rows = truth(hospital).filter(pl.col("condition") == key)
        found = oracle.select("stay_id", key).join(rows, on="stay_id", how="left")
        assert found[key].is_between(0, 1).all()
        absent = found.filter(pl.col("condition").is_null())[key]
        assert absent.n_unique() == 1
        assert absent[0] < 0.15
        assert found.filter(pl.col("channel") == "both")[key].min() > 0.9  # type: ignore[operator]


def test_orders_are_the_planted_ones_and_none_is_forbidden(hospital: Path) -> None:
    orders = pl.read_parquet(hospital / "truth" / "orders.parquet")
    forbidden = pl.read_parquet(hospital / "truth" / "contraindications.parquet")
    given_orders = orders.filter(pl.col("start").is_not_null())
    assert given_orders.filter(~pl.col("start").is_between("earliest", "latest")).is_empty()
    assert forbidden.height > 50
    # home medicines are those of the note; what must not be given is ordered for no condition
    assert given_orders.join(forbidden, on=["stay_id", "drug"]).is_empty()
    replaced = given_orders.filter(pl.col("instead_of").is_not_null())
    assert replaced.join(
        forbidden, left_on=["stay_id", "instead_of"], right_on=["stay_id", "drug"], how="anti"
    ).is_empty()
    written = read(hospital, "hosp/prescriptions").select("hadm_id", "drug").unique()
    admissions = stays(hospital).select("stay_id", "hadm_id")
    planted = given_orders.join(admissions, on="stay_id").select("hadm_id", "drug").unique()
    assert planted.join(written, on=["hadm_id", "drug"], how="anti").is_empty()
    share = orders.filter(pl.col("chance") > 0.7)["start"].is_not_null().mean()
    assert share == pytest.approx(0.8, abs=0.05)


def test_an_allergy_that_forbids_a_drug_is_stated_in_the_note(hospital: Path) -> None:
    forbidden = pl.read_parquet(hospital / "truth" / "contraindications.parquet").filter(because="allergy")
    texts = dict(read(hospital, "note/discharge").select("hadm_id", "text").iter_rows())
    admission = dict(stays(hospital).select("stay_id", "hadm_id").iter_rows())
    words = {"Piperacillin-Tazobactam": "Penicillins (anaphylaxis)", "Sulfamethoxazole-Trimethoprim": "Sulfa"}
    pairs = [(drug, admission[stay]) for stay, drug in forbidden.select("stay_id", "drug").iter_rows()]
    listed = [words[drug] in texts[hadm] for drug, hadm in pairs if hadm in texts]  # a few admissions have no note
    assert len(listed) > 10
    assert all(listed)


def test_a_rule_of_orders_that_names_nothing_known_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import mimic_prep.synthetic.hospital as module

    read_yaml = module.load_yaml

    def damaged(path: Path) -> dict[str, object]:
        content = read_yaml(path)
        if path.name == "orders.yaml":
            content["rules"][0]["conditions"] = ["recent_surgeri"]
        return content

    monkeypatch.setattr(module, "load_yaml", damaged)
    load.cache_clear()
    try:
        with pytest.raises(UserError, match="recent_surgery"):
            load()
    finally:
        load.cache_clear()


def test_channels_labels_and_lengths_are_as_planted(hospital: Path) -> None:
    manifest = json.loads((hospital / "truth" / "manifest.json").read_text())
    assert set(manifest["label_prevalence"]) == set(phenotypes())
    assert all(0.04 < share < 0.45 for share in manifest["label_prevalence"].values())
    shares = (
        truth(hospital)
        .group_by("condition")
        .agg(
            series=pl.col("channel").is_in(["series", "both"]).mean(),
            note=pl.col("channel").is_in(["note", "both"]).mean(),
        )
    )
    by_condition = {row["condition"]: row for row in shares.iter_rows(named=True)}
    for key in ("shock", "respiratory_failure", "septicemia", "fluid_electrolyte_disorders"):
        assert by_condition[key]["series"] > 0.75
        assert by_condition[key]["note"] < 0.4
    for key in ("lipid_disorders", "coronary_atherosclerosis", "copd", "other_upper_respiratory_disease"):
        assert by_condition[key]["note"] > 0.7
        assert by_condition[key]["series"] < 0.5
    for key in ("acute_myocardial_infarction", "pneumonia", "diabetes_with_complications", "surgical_complications"):
        assert min(by_condition[key]["series"], by_condition[key]["note"]) > 0.75
    words = [
        sum(len(text.split()) for name, text in discharge_sections(note).items() if name in ADMISSION_SECTIONS)
        for note in read(hospital, "note/discharge")["text"]
    ]
    assert 110 < np.median(words) < 220


def test_units_and_devices_have_the_quirks_of_the_real_tables(hospital: Path) -> None:
    charts = read(hospital, "icu/chartevents").with_columns(pl.col("valuenum").cast(float))
    items = load().items("temperature", "chartevents")
    celsius, fahrenheit = (charts.filter(pl.col("itemid") == str(item)) for item in items)
    assert 30 < celsius["valuenum"].median() < 45 < 90 < fahrenheit["valuenum"].median() < 110  # type: ignore[operator]
    assert fahrenheit.height > 3 * celsius.height
    oxygen = charts.filter(pl.col("itemid") == str(load().items("fio2", "chartevents")[0]))["valuenum"]
    assert 0 < (oxygen <= 1).sum() < oxygen.len() / 3
    rate = charts.filter(pl.col("itemid") == str(load().items("heart_rate", "chartevents")[0]))["valuenum"]
    assert 0 < rate.is_in([0.0, 999.0]).sum() < 0.01 * rate.len()
    labs = read(hospital, "hosp/labevents")
    assert 0 < labs["hadm_id"].null_count() < 0.1 * labs.height
    assert (labs.filter(pl.col("valuenum").is_null())["value"] == "___").all()
    ages = read(hospital, "hosp/patients")["anchor_age"].cast(int)
    assert not ages.is_between(90, 90).any()
    assert ages.max() == 91


def test_sicker_patients_are_measured_more(hospital: Path) -> None:
    gases = read(hospital, "hosp/labevents").filter(pl.col("itemid") == str(load().items("lactate", "labevents")[0]))
    per_stay = gases.group_by(pl.col("hadm_id").cast(pl.Int64)).len()
    ill = truth(hospital).filter(pl.col("condition") == "shock")["hadm_id"].unique()
    known = truth(hospital).select("hadm_id").unique().join(per_stay, on="hadm_id", how="left").fill_null(0)
    shocked = pl.col("hadm_id").is_in(ill.implode())
    assert known.filter(shocked)["len"].mean() > 1.5 * known.filter(~shocked)["len"].mean()  # type: ignore[operator]


@given(st.floats(-30, 30), st.floats(0.5, 20), st.floats(0, 0.95))
def test_an_acute_course_is_silent_before_onset_and_never_exceeds_its_severity(
    onset: float, rise: float, response: float
) -> None:
    condition = Condition("x", "harrison", 0.1, rise=rise)
    episode = Episode(condition, Variant(), "x", severity=1.3, response=response, series=True, note=True, coded=True)
    hours = np.arange(-40, 120, 0.5)
    shape = course(episode, onset, hours)
    assert (shape[hours <= onset] == 0).all()
    assert shape.max() <= 1.3 + 1e-9
    assert (shape >= 0).all()


def test_identifiers_do_not_collide() -> None:
    assert len({identifier(20_000_000, number) for number in range(50_000)}) == 50_000


def test_a_patient_keeps_chronic_conditions_over_admissions() -> None:
    for index in range(30):
        patient, _ = draw_patient(load(), 2, index)
        chronic = [{e.condition.key for e in a.episodes if e.condition.chronic} for a in patient.admissions]
        assert all(found == chronic[0] for found in chronic)


@pytest.mark.parametrize("text", ["2", "x0,5", "up", "+", "x2"])
def test_a_malformed_effect_is_a_clear_error(text: str) -> None:
    with pytest.raises(UserError, match="effect"):
        parse_effect(text, MeasuredVariable("heart_rate", [20, 200], 1))


@pytest.mark.parametrize("option", ["--patients 0", "--patients 99999999", "--seed -1", "--workers 0"])
def test_impossible_numbers_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main(["synthesize", "--patients", "3", *option.split(), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["synthesize", "--patients", "2", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "2 patients" in capsys.readouterr().out
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
