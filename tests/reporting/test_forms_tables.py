"""``clinragen report --form csv`` and ``--form json``."""

import csv
import json
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.reporting.forms.guard import unguarded
from tests.reporting.exported import FORMULA, REASONS, SAID, enriched, report
from tests.reporting.stay_schema import RECORDED, derived

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds


@pytest.fixture(scope="module")
def full(cohort, predictions, tmp_path_factory) -> Path:
    return enriched(predictions, cohort, tmp_path_factory.mktemp("full") / "predictions")


@pytest.fixture(scope="module")
def values(full, cohort, tmp_path_factory) -> Path:
    return report("json", full, cohort, tmp_path_factory.mktemp("forms") / "json")


@pytest.fixture(scope="module")
def tables(full, cohort, tmp_path_factory) -> Path:
    return report("csv", full, cohort, tmp_path_factory.mktemp("forms") / "csv")


def stays(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "stays").iterdir())]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def test_the_schema_is_that_of_the_types():
    remedy = "run `python -m tests.reporting.stay_schema`, and raise VERSION if a reader would misread the new form"
    assert json.loads(RECORDED.read_text()) == derived(), remedy


def test_every_file_is_of_its_schema_and_the_index_names_it(values, full):
    schema = json.loads((values / "stay.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    index = json.loads((values / "index.json").read_text())
    predicted = pq.read_table(full / "predictions.parquet").to_pylist()
    assert [row["stay_id"] for row in index["stays"]] == sorted(row["stay_id"] for row in predicted)
    for row in index["stays"]:
        record = json.loads((values / row["file"]).read_text())
        validator.validate(record)
        assert record["stay"]["stay_id"] == row["stay_id"]
        assert "not for clinical use" in record["use"]


def test_a_stay_says_what_was_predicted(values, full):
    predicted = {row["stay_id"]: row for row in pq.read_table(full / "predictions.parquet").to_pylist()}
    stays_in_order = stays(values)
    for record in stays_in_order:
        row = predicted[record["stay"]["stay_id"]]
        by_key = {one["key"]: one for one in record["diagnoses"]}
        assert {key: one["probability"] for key, one in by_key.items()} == row["probabilities"]
        assert {key: one["interval"] for key, one in by_key.items()} == row["interval"]
        assert {key for key, one in by_key.items() if one["listed"]} == set(row["diagnoses"])
        assert {key for key, one in by_key.items() if one["possible"]} == {
            key for key, probability in row["probabilities"].items() if probability >= 0.2
        }
        assert record["abstains"] == row["abstains"]
        assert [one["text"] for one in record["rationales"]] == [row["note_rationale"], row["series_rationale"]]
        explained = [one["diagnosis"] for one in record["attributions"]]
        assert explained == (["septicemia"] if record is stays_in_order[1] else [])
        assert all(one["ground"] is None for one in by_key.values() if not one["listed"])


def test_offsets_are_those_of_rationale_and_note(values, cohort):
    sections = {}
    for one in pq.read_table(cohort / "notes.parquet").to_pylist():
        sections[one["stay_id"], one["section"]] = one["text"]
    cited = 0
    for record in stays(values):
        texts = {one["kind"]: one["text"] for one in record["rationales"]}
        for claim in record["claims"]:
            assert texts[claim["rationale"]][claim["start"] : claim["end"]] == claim["text"]
            for passage in claim["passages"]:
                text = sections[record["stay"]["stay_id"], passage["section"]]
                assert 0 <= passage["start"] < passage["end"] <= len(text)
                if claim["about"] == "symptom:productive_cough":
                    assert "productive cough" in text[passage["start"] : passage["end"]]
                    cited += 1
    assert cited


def test_measurements_are_those_of_the_cohort_and_shares_keep_their_sign(values, cohort):
    charted = {
        (one["stay_id"], one["variable"], one["hour"]): one["value"]
        for one in pq.read_table(cohort / "series.parquet").to_pylist()
    }
    negative = 0
    for record in stays(values):
        measured = [one for claim in record["claims"] for one in claim["measured"]]
        for one in measured:
            key = (record["stay"]["stay_id"], one["variable"], one["hour"])
            assert one["value"] == pytest.approx(charted[key], abs=1e-3)
        claims = {claim["id"]: claim for claim in record["claims"]}
        for case in record["cases"]:
            for reason in case["grounds"]:
                assert claims[reason["claim"]]["text"] == reason["words"]
                negative += reason["share"] == -0.25
    assert negative


def test_no_text_of_the_note_leaves_beside_what_the_rationales_quote(values, tables, cohort):
    texts = "".join(path.read_text() for folder in (values, tables) for path in folder.rglob("*") if path.is_file())
    for section in pq.read_table(cohort / "notes.parquet")["text"].to_pylist():
        for sentence in section.replace("\n", ".").split("."):
            if len(sentence) > 40:
                assert sentence.strip() not in texts


def test_recorded_codes_are_left_out_unless_asked_for(values, tables, full, cohort, tmp_path):
    assert not any("recorded" in one for record in stays(values) for one in record["diagnoses"])
    assert "recorded" not in rows(tables / "diagnoses.csv")[0]
    gold = {row["stay_id"]: row for row in pq.read_table(cohort / "labels.parquet").to_pylist()}
    for record in stays(report("json", full, cohort, tmp_path / "json", "--with-recorded-codes")):
        for one in record["diagnoses"]:
            assert one["recorded"] == gold[record["stay"]["stay_id"]][one["key"]]
    for row in rows(report("csv", full, cohort, tmp_path / "csv", "--with-recorded-codes") / "diagnoses.csv"):
        assert row["recorded"] == str(gold[int(row["stay_id"])][row["diagnosis"]]).lower()
    with pytest.raises(UserError, match="by a switch"):
        report("html", full, cohort, tmp_path / "html", "--with-recorded-codes")


def test_a_table_has_a_row_for_each_stay_and_label(tables, values):
    table = rows(tables / "diagnoses.csv")
    records = stays(values)
    assert [(int(row["stay_id"]), row["diagnosis"]) for row in table] == [
        (record["stay"]["stay_id"], key) for record in records for key in phenotypes()
    ]
    flat = [one for record in records for one in record["diagnoses"]]
    for row, one in zip(table, flat, strict=True):
        assert float(row["probability"]) == one["probability"]
        assert [float(row["low"]), float(row["high"])] == one["interval"]
        assert row["listed"] == str(one["listed"]).lower()
        assert row["ground"] == (one["ground"] or "")
        assert unguarded(row["argument"]) == one["argument"]
    assert -0.25 in {float(row["share"]) for row in table if row["share"]}
    assert table[0]["abstains"] == f"'{'; '.join(REASONS)}"  # the guard before a minus sign


def test_claims_are_a_row_each_and_hostile_text_is_only_text(tables, values):
    table = rows(tables / "claims.csv")
    claims = [(record["stay"]["stay_id"], claim) for record in stays(values) for claim in record["claims"]]
    assert len(table) == len(claims)
    for row, (stay, claim) in zip(table, claims, strict=True):
        assert (int(row["stay_id"]), row["claim"], row["verdict"]) == (stay, claim["id"], claim["verdict"])
        assert unguarded(row["text"]) == claim["text"]
    assert any(SAID in one["text"] for record in stays(values) for one in record["rationales"])
    for name in ("claims.csv", "diagnoses.csv"):
        content = (tables / name).read_bytes().decode("utf-8")
        assert not content.startswith("\ufeff")
        assert content.count("\r\n") == content.count("\n")
        assert not any(
            cell[:1] in set("=+-@\t\r") for row in rows(tables / name) for cell in row.values() if _is_text(cell)
        )
        assert f'"{FORMULA[:11]}' not in content


def _is_text(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return True
    return False


def test_same_input_same_bytes_and_another_form_needs_overwrite(tables, full, cohort, tmp_path):
    again = report("csv", full, cohort, tmp_path / "again")
    for name in ("claims.csv", "diagnoses.csv"):
        assert (again / name).read_bytes() == (tables / name).read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        report("json", full, cohort, again)
    report("json", full, cohort, again, "--overwrite")
    assert not (again / "claims.csv").exists()


def test_chosen_stays_are_reported_in_every_form(full, cohort, values, tmp_path):
    chosen = [record["stay"]["stay_id"] for record in stays(values)][3:5]
    options = [option for stay in reversed(chosen) for option in ("--stay", str(stay))]
    part = stays(report("json", full, cohort, tmp_path / "json", *options))
    assert part == [record for record in stays(values) if record["stay"]["stay_id"] in chosen]
    pages = report("html", full, cohort, tmp_path / "html", *options)
    assert sorted(path.stem for path in (pages / "stays").iterdir()) == [str(stay) for stay in chosen]
    with pytest.raises(UserError, match=r"holds no stay 1: its \d+ stays are those of split 'test'"):
        report("csv", full, cohort, tmp_path / "csv", "--stay", "1")
    assert not (tmp_path / "csv").exists()


def test_predictions_of_earlier_releases_have_unknown_values(predictions, cohort, tmp_path):
    record = stays(report("json", predictions, cohort, tmp_path / "json"))[0]
    jsonschema.validate(record, json.loads(RECORDED.read_text()))
    assert record["abstains"] is None
    assert {one["possible"] for one in record["diagnoses"]} == {None}
    assert {one["interval"] for one in record["diagnoses"]} == {None}
    assert record["contributions"] == []
