"""Content of a cohort from MIMIC-IV."""

from __future__ import annotations

import pytest

from clinragen.artifacts import read_table
from clinragen.catalog import phenotypes
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths, labels_schema


def test_every_stay_is_kept_or_excluded_under_a_reason(hospital, prepared):
    attrition = prepared(hospital).manifest["attrition"]
    assert attrition["entered"] == 4
    assert {step["reason"]: step["stays"] for step in attrition["excluded"] if step["stays"]} == {
        "younger than 18 years": 1
    }
    assert attrition["kept"] == 3


def test_files_follow_the_schema(hospital, prepared):
    paths = CohortPaths(prepared(hospital).root)
    read_table(paths.stays, STAYS)
    read_table(paths.series, SERIES)
    read_table(paths.notes, NOTES)
    read_table(paths.labels, labels_schema(list(phenotypes())))


def test_an_hour_holds_its_last_measurement_in_the_canonical_unit(hospital, prepared):
    values = prepared(hospital).values(100)
    assert values["heart_rate", 0.0] == 95
    assert values["temperature", 1.0] == 38.0
    assert values["creatinine", 0.0] == 1.4


def test_volumes_of_an_hour_add_up(hospital, prepared):
    hospital.urine(100, "2151-03-01 10:40:00", 50, item=226560)
    assert prepared(hospital).values(100)["urine_output", 2.0] == 150.5


def test_measurements_of_one_minute_follow_item_order_then_size(hospital, prepared):
    for item, value in [(220179, 150), (220050, 120), (220050, 125), (220050, 122)]:
        hospital.chart(100, "2151-03-01 12:00:00", item, value)
    assert prepared(hospital).values(100)["systolic_bp", 4.0] == 125


def test_glasgow_total_needs_all_parts_within_the_hour(hospital, prepared):
    for time, item, value in [("13:00", 220739, 3), ("13:10", 223900, 4), ("13:20", 223901, 5), ("14:00", 220739, 4)]:
        hospital.chart(100, f"2151-03-01 {time}:00", item, value)
    values = prepared(hospital).values(100)
    assert values["gcs_total", 5.0] == 12
    assert ("gcs_total", 6.0) not in values


@pytest.mark.parametrize(
    ("item", "value", "unit", "variable", "expected"),
    [
        (223835, 0.5, "", "fio2", 50),
        (223835, 50, "", "fio2", 50),
        (226531, 220, "", "weight", 99.79),
        (226512, 220, "lbs", "weight", 99.79),
        (223762, 98.6, "°F", "temperature", 37.0),
        (226707, 70, "Inch", "height", 177.8),
    ],
)
def test_units_are_those_of_the_row_or_else_of_the_item(hospital, prepared, item, value, unit, variable, expected):
    hospital.chart(100, "2151-03-01 12:30:00", item, value, unit)
    assert prepared(hospital).values(100)[variable, 4.0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("item", "words", "flag"),
    [(223951, "Normal <3 Seconds", 0), (224308, "Abnormal >3 Seconds", 1), (223951, " brisk", 0)],
)
def test_capillary_refill_is_charted_in_words(hospital, prepared, item, words, flag):
    hospital.chart(100, "2151-03-01 13:00:00", item, "")
    hospital.tables["icu/chartevents"][-1]["value"] = words
    assert prepared(hospital).values(100)["capillary_refill", 5.0] == flag


def test_laboratory_values_go_to_the_stay_that_holds_their_time(hospital, prepared):
    hospital.lab(2, "2150-06-05 00:00:00", 50912, 9.9, "mg/dL")  # between two stays
    hospital.lab(2, "2150-06-01 02:29:59", 50912, 9.8, "mg/dL")  # a second too early
    cohort = prepared(hospital)
    assert ("creatinine", 5.0) in cohort.values(201)
    assert not any(variable == "creatinine" for variable, _ in cohort.values(200))


def test_nothing_from_the_prediction_time_on(hospital, prepared):
    hospital.chart(100, "2151-03-03 07:59:59", 220210, 18)
    hospital.chart(100, "2151-03-03 08:00:00", 220210, 40)
    hospital.chart(200, "2150-06-01 22:30:00", 220210, 41)  # the minute of discharge
    cohort = prepared(hospital)
    assert cohort.values(100)["respiratory_rate", 47.0] == 18
    assert ("respiratory_rate", 48.0) not in cohort.values(100)
    assert not any(variable == "respiratory_rate" for variable, _ in cohort.values(200))


def test_a_window_of_the_last_hours(hospital, prepared):
    hospital.chart(100, "2151-03-05 07:00:00", 220210, 22)
    cohort = prepared(hospital, window__kind="last", window__hours=24, rules__require_series="false")
    assert cohort.values(100) == {("respiratory_rate", 95.0): 22}


def test_implausible_and_missing_values_are_quarantined_with_line_and_reason(hospital, prepared):
    hospital.chart(100, "2151-03-01 12:00:00", 220045, 900)
    hospital.chart(100, "2151-03-01 12:00:00", 220045, "")
    cohort = prepared(hospital)
    assert [row[1:] for row in cohort.quarantine.rows()] == [(8, "implausible heart_rate"), (9, "no numeric value")]
    assert ("heart_rate", 4.0) not in cohort.values(100)


def test_row_accounts_balance(hospital, prepared):
    hospital.chart(100, "2151-03-01 12:00:00", 220045, 900)
    hospital.chart(100, "2151-03-01 12:00:00", 1, 900)
    for account in prepared(hospital).manifest["tables"].values():
        lost = sum(account["out_of_scope"].values()) + sum(account["quarantined"].values())
        assert account["read"] == account["kept"] + lost


def test_labels_are_the_codes_of_the_whole_admission(hospital, prepared):
    labels = {row["stay_id"]: row for row in prepared(hospital).labels.rows(named=True)}
    assert [key for key, value in labels[100].items() if value is True] == ["pneumonia"]
    assert [key for key, value in labels[200].items() if value is True] == ["acute_renal_failure"]
    assert labels[201]["acute_renal_failure"]


def test_admission_sections_only_under_the_default_protocol(hospital, prepared):
    cohort = prepared(hospital)
    sections = set(cohort.notes.filter(stay_id=100)["section"])
    assert sections == {
        "chief_complaint", "history_of_present_illness", "past_medical_history", "family_history", "allergies",
        "medications_on_admission", "admission_exam",
    }  # fmt: skip
    assert "pneumonia" not in " ".join(cohort.notes.filter(stay_id=100)["text"]).lower()
    assert cohort.text(100, "admission_exam") == "Lungs: crackles at both bases"
    assert (cohort.notes["time"] <= cohort.stays["prediction_time"].min()).any()


def test_the_paper_protocol_reads_the_hospital_course_and_the_whole_stay(hospital, prepared):
    hospital.chart(100, "2151-03-05 07:00:00", 220210, 22)
    cohort = prepared(hospital, "paper")
    assert cohort.text(100, "brief_hospital_course") == "She had pneumonia."
    assert cohort.text(100, "discharge_diagnosis") is None
    assert cohort.values(100)["respiratory_rate", 95.0] == 22


def test_radiology_counts_once_it_is_filed_before_the_prediction(hospital, prepared):
    hospital.radiology(1, "2151-03-01 07:00:00", "2151-03-01 09:00:00", "FINDINGS: Clear.\nIMPRESSION: Normal chest.")
    hospital.radiology(1, "2151-03-03 07:00:00", "2151-03-03 09:00:00", "IMPRESSION: Filed too late.")
    hospital.radiology(2, "2150-06-01 03:00:00", "2150-06-01 04:00:00", "IMPRESSION: Of another patient.")
    radiology = prepared(hospital).notes.filter(kind="radiology")
    assert radiology.select("stay_id", "section", "text").rows() == [
        (100, "radiology_findings", "Clear."),
        (100, "radiology_impression", "Normal chest."),
        (200, "radiology_impression", "Of another patient."),
        (201, "radiology_impression", "Of another patient."),  # a later stay of the same admission
    ]


def test_a_digest_where_there_is_no_note(hospital, prepared):
    del hospital.tables["note/discharge"]
    cohort = prepared(hospital)
    digest = cohort.text(100, "admission_digest")
    assert digest is not None
    assert digest.startswith("A 71-year-old woman with an emergency admission from the emergency room.")
    assert "Unspecified essential hypertension" in digest
    assert "Drugs ordered before intensive care: Furosemide." in digest
    assert "Drugs of earlier admissions: Aspirin." in digest
    for hidden in ("neumonia", "Levofloxacin", "Sodium Chloride"):
        assert hidden not in digest
    assert "more than 89-year-old man" in (cohort.text(200, "admission_digest") or "")


def test_the_hospital_s_own_names_of_diagnoses_come_first(hospital, prepared):
    del hospital.tables["note/discharge"]
    hospital.tables["hosp/d_icd_diagnoses"] = [{"icd_code": "4019", "icd_version": 9, "long_title": "High pressure"}]
    assert "High pressure" in (prepared(hospital).text(100, "admission_digest") or "")


def test_a_second_run_gives_the_same_bytes(hospital, prepared):
    first, second = prepared(hospital), prepared(hospital, workers=3, stays_per_shard=1)
    assert {path.name: path.read_bytes() for path in first.root.iterdir()} == {
        path.name: path.read_bytes() for path in second.root.iterdir()
    }


def test_plain_and_packed_tables_under_any_name_case_are_the_same(hospital, prepared, tmp_path):
    packed = prepared(hospital)
    folder = hospital.write(tmp_path / "plain", packed=False)
    for path in list(folder.rglob("*.csv")):
        header, _, rows = path.read_text().partition("\n")
        path.unlink()
        (folder / path.name.upper()).write_text(header.upper() + "\n" + rows)
    plain = prepared(folder)
    assert plain.manifest["outputs"]["series.parquet"] == packed.manifest["outputs"]["series.parquet"]
    assert plain.manifest["outputs"]["notes.parquet"] == packed.manifest["outputs"]["notes.parquet"]


def test_rules_exclude_with_a_count(hospital, prepared):
    cohort = prepared(hospital, rules__first_stay_only="true", rules__min_stay_hours=24)
    excluded = {step["reason"]: step["stays"] for step in cohort.manifest["attrition"]["excluded"]}
    assert excluded["not the patient's first stay"] == 1
    assert excluded["stay shorter than 24 hours"] == 1
    assert cohort.stays["stay_id"].to_list() == [100]
