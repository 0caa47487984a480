"""The evidence teacher states only what is in the chart: checked by an independent recomputation."""

import datetime as dt
import json
import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_graph import GRAPH

from clinragen.artifacts import write_table
from clinragen.catalog import phenotypes, variables
from clinragen.chart.findings import findings
from clinragen.chart.reference_range import tolerance
from clinragen.errors import UserError
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths, labels_schema
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.evidence_run import generate
from clinragen.teacher.stays import StayRecord
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier

TEACHER = EvidenceTeacher(GRAPH)
KEYS = list(phenotypes())
NOTE = [
    ("chief_complaint", "SOB"),
    (
        "history_of_present_illness",
        "72F with dyspnea, orthopnea and leg swelling. Denies chest pain, fever or melena. No h/o stroke.",
    ),
    ("past_medical_history", "CHF\nCOPD on home oxygen\nprior stroke"),
    ("family_history", "Father with diabetes and MI."),
    ("medications_on_admission", "1. Furosemide 40 mg PO daily\n2. Tiotropium inhaler daily"),
    ("allergies", "Metformin"),
]


def series(*rows: tuple[float, str, float], stay: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        [(stay, hour, variable, value) for hour, variable, value in rows],
        schema={"stay_id": pl.Int64, "hour": pl.Float32, "variable": pl.String, "value": pl.Float32},
        orient="row",
    )


def told(rationale) -> list[dict]:
    return json.loads(rationale.verdicts)["claims"]


def test_note_rationale_names_the_evidence_and_only_affirmed_evidence():
    text = TEACHER.note(1, NOTE, ["congestive_heart_failure", "copd"]).text
    assert text.startswith("Based on the medical notes")
    assert "orthopnea" in text
    assert "a history of CHF" in text
    assert "treatment with furosemide" in text
    assert "treatment with tiotropium" in text
    assert "congestive heart failure" in text
    assert not re.search("chest pain|fever|melena|metformin|father|MI", text)


def test_note_rationale_says_when_the_note_does_not_support_a_diagnosis():
    text = TEACHER.note(1, NOTE, ["copd", "gastrointestinal_hemorrhage", "septicemia"]).text
    assert re.search(r"(do not show|do not support|nothing in the notes points to) gastrointestinal hemorrhage", text)
    alone = TEACHER.note(2, NOTE, ["gastrointestinal_hemorrhage"]).text
    assert alone == "Based on the medical notes, no finding supports gastrointestinal hemorrhage."


def test_denied_and_family_concepts_are_no_evidence():
    text = TEACHER.note(1, NOTE, ["diabetes_without_complication", "acute_myocardial_infarction"]).text
    assert "no finding supports" in text


def test_an_old_acute_disease_is_no_evidence_of_a_new_one():
    text = TEACHER.note(1, [("past_medical_history", "stroke in 2010")], ["acute_cerebrovascular_disease"]).text
    assert "no finding supports acute cerebrovascular disease" in text


HPI = "history_of_present_illness"


def test_a_letter_of_shorthand_is_told_by_the_name_of_what_it_stands_for():
    note = [(HPI, "Two days of n/v/d.")]
    text = TEACHER.note(1, note, []).text
    assert re.search("nausea and vomiting", text)
    checked = Verifier(GRAPH).check(text, "note", note, {}, [])
    assert {claim.verdict for claim in checked} == {Verdict.SUPPORTED}


def test_no_diagnosis_and_no_note():
    assert "no disease was diagnosed" in TEACHER.note(1, NOTE, []).text
    assert "no disease was diagnosed" in TEACHER.note(1, [], []).text
    assert "no note is available" in TEACHER.note(1, [("chief_complaint", "  ")], ["shock"]).text


def test_note_evidence_points_into_the_section():
    rationale = TEACHER.note(1, NOTE, ["congestive_heart_failure", "copd"])
    sections = dict(NOTE)
    evidence = json.loads(rationale.verdicts)["evidence"]
    assert evidence
    for item in evidence:
        phrase = sections[item["section"]][item["start"] : item["end"]]
        assert phrase.lower() in rationale.text.lower()
        assert item["concept"] in GRAPH.graph


def test_series_rationale_tells_trend_with_numbers_and_unit():
    found = findings(series((0, "creatinine", 1.1), (12, "creatinine", 2.0), (30, "creatinine", 3.2)))[1]
    rationale = TEACHER.series(1, found, ["acute_renal_failure"])
    assert re.fullmatch(
        r"Lab test shows high creatinine rising from about 1\.1 to 3\.2 mg/dL, [a-z ]+ acute renal failure\.",
        rationale.text,
    )
    (claim,) = told(rationale)
    assert claim["form"] == "trend"
    assert (claim["first"], claim["value"]) == pytest.approx((1.1, 3.2))


def test_series_rationale_prefers_what_speaks_for_the_diagnosis():
    found = findings(series((0, "lactate", 4.0), (0, "ldl", 400.0), (0, "mean_bp", 50.0)))[1]
    first = told(TEACHER.series(1, found, ["shock"]))[0]["variable"]
    assert first in ("lactate", "mean_bp")
    assert told(TEACHER.series(1, found, ["lipid_disorders"]))[0]["variable"] == "ldl"


def test_series_rationale_is_honest_about_normal_missing_and_unrelated_values():
    assert "pointing to" not in TEACHER.series(1, [], ["shock"]).text
    assert re.search("no abnormal values|within the reference ranges", TEACHER.series(1, [], ["shock"]).text)
    assert re.search("no measurements|no values were charted", TEACHER.series(1, None, ["shock"]).text)
    found = findings(series((0, "tsh", 20.0)))[1]
    assert "no value points to" not in TEACHER.series(1, found, []).text
    assert "no value points to shock" in TEACHER.series(1, found, ["shock"]).text


def test_a_statement_may_speak_for_several_diagnoses():
    found = findings(series((0, "lactate", 3.0), (9, "lactate", 7.0)))[1]
    text = TEACHER.series(1, found, ["septicemia", "shock"]).text
    assert re.fullmatch(
        r"Lab test shows high lactate rising from about 3\.0 to 7\.0 mmol/L, [a-z ]+ (septicemia and shock)\.", text
    )
    note = [(HPI, "Found confused, with cool extremities and low urine output.")]
    text = TEACHER.note(1, note, ["acute_renal_failure", "shock"]).text
    assert text.count("low urine output") == 1 or "low urine output" in text.split(";")[1]


def test_each_diagnosis_is_argued_for_before_any_is_argued_for_at_length():
    rows = {"lactate": 7.0, "mean_bp": 45.0, "bilirubin_total": 9.0, "creatinine": 4.0, "bun": 90.0, "sodium": 120.0}
    found = findings(series(*[(0, variable, value) for variable, value in rows.items()]))[1]
    gold = ["acute_renal_failure", "fluid_electrolyte_disorders", "other_liver_diseases", "shock"]
    text = TEACHER.series(1, found, gold).text
    assert all(phenotypes()[key].name in text for key in gold), text


def test_series_and_note_share_the_work():
    """What the note shows well leaves the room of the series to what the note cannot show."""
    rows = {"lactate": 7.0, "bilirubin_total": 9.0, "creatinine": 4.0, "sodium": 120.0, "troponin_t": 2.0, "wbc": 25.0}
    found = findings(series(*[(0, variable, value) for variable, value in rows.items()]))[1]
    strong = ["acute_renal_failure", "acute_myocardial_infarction", "pneumonia", "other_liver_diseases", "shock"]
    gold = [*strong, "fluid_electrolyte_disorders"]
    note = [(HPI, "Cough and sputum production. Crushing chest pain. Jaundice and ascites.")]
    texts = [one.text for one in TEACHER.rationales(1, note, found, gold)]
    assert all(any(phenotypes()[key].name in text for text in texts) for key in gold), texts
    alone = TEACHER.rationales(1, [], found, gold)[1].text
    assert alone == TEACHER.series(1, found, gold).text


def test_what_training_stays_show_counts_beside_the_graph():
    note = [(HPI, "Nosebleeds.")]
    teacher = EvidenceTeacher(GRAPH)
    assert "no finding supports shock" in teacher.note(1, note, ["shock"]).text
    stays = [StayRecord(i, ["shock"] if i < 50 else [], note if i < 40 else [(HPI, "Well.")]) for i in range(500)]
    teacher.learn(stays, {})
    assert re.search("nosebleeds (points to|supports|suggests|indicates) shock", teacher.note(1, note, ["shock"]).text)


def test_wording_varies_between_stays_and_never_between_runs():
    found = findings(series((0, "lactate", 2.5), (9, "lactate", 6.0), (3, "heart_rate", 130.0)))[1]
    texts = {TEACHER.series(stay, found, ["shock"]).text for stay in range(40)}
    assert len(texts) > 5
    assert TEACHER.series(7, found, ["shock"]) == TEACHER.series(7, found, ["shock"])


values = st.floats(0.0, 1.0)
measurements = st.lists(st.tuples(st.integers(0, 47), st.sampled_from(sorted(variables())), values), max_size=60)


@settings(max_examples=150, deadline=None)
@given(measurements, st.sets(st.sampled_from(KEYS), max_size=14), st.integers(0, 10**9))
def test_every_series_claim_is_in_the_chart(rows, gold, stay):
    chart: dict[str, dict[int, float]] = {}
    for hour, variable, share in rows:
        low, high = variables()[variable].plausible
        chart.setdefault(variable, {})[hour] = low + share**3 * (high - low)
    table = series(*[(hour, key, value) for key, cells in chart.items() for hour, value in cells.items()], stay=stay)
    found = findings(table, normal=True).get(stay) if chart else None
    diagnoses = [key for key in KEYS if key in gold]
    rationale = TEACHER.series(stay, found or ([] if chart else None), diagnoses)
    assert rationale.text.startswith("Lab test shows ")
    assert rationale.text.endswith(".")
    assert len(rationale.text.split()) <= 50
    for claim in told(rationale):
        spec = variables()[claim["variable"]]
        cells = {hour: float(np.float32(value)) for hour, value in chart[claim["variable"]].items()}
        assert claim["statement"] in rationale.text
        assert any(value == pytest.approx(claim["value"], rel=1e-5) for value in cells.values())
        if claim["form"] == "normal":
            assert all(spec.direction(round(value, spec.decimals)) == 0 for value in cells.values())
            continue
        for said, real in zip(claim.get("stated", [])[::-1], (claim["value"], claim.get("first")), strict=False):
            assert said in claim["statement"]
            assert abs(float(said) - real) <= 0.5 * tolerance(real, spec) + 0.51 * 10**-spec.decimals
        bound = spec.high if claim["direction"] == "high" else spec.low
        assert bound is not None
        assert claim["value"] > bound if claim["direction"] == "high" else claim["value"] < bound
        if claim["form"] == "trend":
            assert cells[min(cells)] == pytest.approx(claim["first"], rel=1e-5)
            assert cells[max(cells)] == pytest.approx(claim["value"], rel=1e-5)
        else:
            extreme = max(cells.values()) if claim["direction"] == "high" else min(cells.values())
            assert claim["value"] == pytest.approx(extreme, rel=1e-5)
        if "hour" in claim:
            assert cells[int(claim["hour"])] == pytest.approx(claim["value"], rel=1e-5)
            placed = re.search(r"(first|after|around) (?:hour )?(\d+)", claim["statement"])
            relation, hour = placed[1], float(placed[2])
            near = (
                abs(claim["hour"] - hour) <= 3
                if relation == "around"
                else (claim["hour"] < hour) == (relation == "first")
            )
            assert near
    # a diagnosis outside the gold ones is never named
    for key in set(KEYS) - set(diagnoses):
        name = phenotypes()[key].name
        assert name not in rationale.text or any(name in phenotypes()[other].name for other in diagnoses)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(KEYS)), st.integers(0, 10**6))
def test_note_rationale_keeps_its_length_and_names_only_gold_diagnoses(gold, stay):
    diagnoses = [key for key in KEYS if key in gold]
    text = TEACHER.note(stay, NOTE, diagnoses).text
    assert len(text.split()) <= 100
    clauses = re.split(r"[;,] ", text)
    assert clauses
    for match in re.finditer(r"(?:supports?|suggests?|indicates?|points? to) ([a-z ,]+?)(?:;|\.|$)", text):
        named = match.group(1)
        assert any(phenotypes()[key].name in named or named in phenotypes()[key].name for key in diagnoses)


@pytest.fixture
def cohort(tmp_path) -> CohortPaths:
    paths = CohortPaths(tmp_path / "cohort")
    now = dt.datetime(2150, 1, 1)
    stays = [{"stay_id": i, "subject_id": i, "hadm_id": i, "split": "train", "intime": now} for i in (3, 1, 2)]
    write_table(paths.stays, pa.Table.from_pylist(stays, STAYS))
    labels = [{"stay_id": i, **{key: key == "shock" and i != 2 for key in KEYS}} for i in (1, 2, 3)]
    write_table(paths.labels, pa.Table.from_pylist(labels, labels_schema(KEYS)))
    notes = [{"stay_id": 1, "note_id": "a", "kind": "discharge", "section": s, "time": now, "text": t} for s, t in NOTE]
    write_table(paths.notes, pa.Table.from_pylist(notes, NOTES))
    rows = [{"stay_id": i, "hour": 0.0, "variable": "mean_bp", "value": 48.0} for i in (1, 2)]
    write_table(paths.series, pa.Table.from_pylist(rows, SERIES))
    return paths


def test_generate_writes_two_rows_per_stay_in_order_and_the_same_bytes_again(cohort):
    table = generate(cohort.root)
    assert table.column("stay_id").to_pylist() == [1, 1, 2, 2, 3, 3]
    assert table.column("kind").to_pylist() == ["note", "series"] * 3
    texts = table.column("text").to_pylist()
    assert "no disease was diagnosed" in texts[2]
    assert "no measurements" in texts[5] or "no values were charted" in texts[5]
    before = cohort.rationales("evidence").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        generate(cohort.root)
    generate(cohort.root, overwrite=True)
    assert cohort.rationales("evidence").read_bytes() == before


def test_the_card_holds_counts_and_verdicts_but_no_text(cohort):
    table = generate(cohort.root)
    folder = cohort.rationales("evidence").parent
    card, manifest = (folder / "evidence.card.md").read_text(), json.loads((folder / "evidence.json").read_text())
    assert manifest["taught_claims"]["series"].keys() - {"absence"} == {"supported"}
    covered = manifest["coverage"]
    gold = pl.read_parquet(cohort.labels).select(KEYS).to_numpy()
    assert covered["listed"] == gold.sum() >= covered["grounded"] > 0
    assert f"Coverage: {covered['grounded']} of {covered['listed']} diagnoses" in card
    assert f"| claims of what is taught: supported | {manifest['taught_claims']['note'].get('supported', 0)} |" in card
    texts = table.column("text").to_pylist()
    assert not [text for text in texts if text in card]
    assert any(text in (folder / "evidence.examples.md").read_text() for text in texts)


def test_nothing_is_learned_from_the_labels_of_held_out_stays(cohort):
    stays = pl.read_parquet(cohort.stays).with_columns(
        split=pl.when(pl.col("stay_id") == 3).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    write_table(cohort.stays, stays.to_arrow().cast(STAYS))
    first = generate(cohort.root)
    manifest = json.loads((cohort.rationales("evidence").parent / "evidence.json").read_text())
    assert (manifest["worth"]["split"], manifest["worth"]["stays"]) == ("train", 2)
    labels = pl.read_parquet(cohort.labels)
    turned = labels.with_columns(
        pl.when(pl.col("stay_id") == 3).then(~pl.col(k)).otherwise(pl.col(k)).alias(k) for k in KEYS
    )
    write_table(cohort.labels, turned.to_arrow().cast(labels_schema(KEYS)))
    second = generate(cohort.root, overwrite=True)
    assert first.filter(pc.field("stay_id") != 3) == second.filter(pc.field("stay_id") != 3)


def test_generate_refuses_what_it_cannot_read(cohort, tmp_path):
    with pytest.raises(UserError, match="evidence"):
        generate(cohort.root, teacher="evidense")
    with pytest.raises(UserError, match="not found"):
        generate(tmp_path / "nowhere")
    with pytest.raises(UserError, match="concept graph"):
        generate(cohort.root, tmp_path / "nograph")
    labels = pl.read_parquet(cohort.labels)
    write_table(cohort.labels, labels.filter(pl.col("stay_id") != 2).to_arrow().cast(labels_schema(KEYS)))
    with pytest.raises(UserError, match="no row for stay 2"):
        generate(cohort.root)
    assert not cohort.rationales("evidence").exists()


DIGEST = [("admission_digest", "An 84-year-old man. First intensive care unit: Surgical Intensive Care Unit (SICU).")]


def test_a_circumstance_is_told_only_where_neither_note_nor_series_shows_anything_better():
    keys = ["essential_hypertension", "surgical_complications", "septicemia"]
    alone = TEACHER.note(1, DIGEST, keys).text
    assert re.search("an age of 84 years [a-z ]+ essential hypertension", alone)
    assert re.search("admission to a surgical unit [a-z ]+ complications of surgical or medical care", alone)
    assert "septicemia" in alone.split(";")[-1]  # who is at risk of it is not known: no ground
    better = TEACHER.note(1, [*DIGEST, ("medications_on_admission", "Amlodipine")], ["essential_hypertension"]).text
    assert "amlodipine" in better
    assert "84" not in better
    high = findings(series((1, "systolic_bp", 190.0), (2, "systolic_bp", 185.0)), normal=True)[1]
    note, _ = TEACHER.rationales(1, DIGEST, high, ["essential_hypertension"])
    assert "84" not in note.text


def test_what_speaks_against_a_diagnosis_that_is_nearly_made_is_told():
    shown = findings(
        series(
            *(
                (hour, name, value)
                for hour in (1, 5)
                for name, value in (
                    ("lactate", 6.0),
                    ("systolic_bp", 80.0),
                    ("heart_rate", 130.0),
                    ("wbc", 7.0),
                    ("temperature", 37.0),
                )
            )
        ),
        normal=True,
    )[1]
    note, lab = TEACHER.rationales(3, [("plan", "Cold skin. Denies fever.")], shown, ["shock"])
    assert re.search(r"; against (septicemia|pneumonia): no fever\.$", note.text), note.text
    assert re.search("; against (septicemia|pneumonia): normal (white|temp)", lab.text), lab.text
    calm = findings(series((1, "sodium", 128.0), (1, "wbc", 7.0)), normal=True)[1]
    assert "against" not in TEACHER.series(3, calm, ["shock"]).text
