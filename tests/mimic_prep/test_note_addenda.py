"""Addenda count as known when they were written: they never fill or replace admission sections."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.mimic_iii.tables import MIMIC3

_STAY = "2151-03-01 06:00:00,2151-03-09 12:00:00"
_TABLES = {
    "ICUSTAYS": f"SUBJECT_ID,HADM_ID,ICUSTAY_ID,INTIME,OUTTIME\n1,10,100,{_STAY}\n",
    "PATIENTS": "SUBJECT_ID,GENDER,DOB\n1,M,2081-03-01 00:00:00\n",
    "ADMISSIONS": f"SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME\n1,10,{_STAY}\n",
    "DIAGNOSES_ICD": "SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,10,1,486\n",
    "CHARTEVENTS": "ICUSTAY_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM\n100,211,2151-03-01 08:30:00,80,80,BPM\n",
    "LABEVENTS": "SUBJECT_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM\n1,50912,2151-03-01 11:00:00,2,2,mg/dL\n",
}
REPORT = (
    "Chief Complaint: Faint.\n\nHistory of Present Illness: He fell at home.\n\nAllergies: None.\n\n"
    "Hospital Course: Bleeding ulcer, clipped.\n"
)
AGAIN = "History of Present Illness: He bled again and got four units.\n\nPhysical Exam: Pale, in shock.\n"
_HEADER = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,ISERROR,TEXT\n"


def _row(row: int, text: str, description: str = "Report", date: str = "2151-03-09", error: str = "") -> str:
    return f'{row},1,10,{date},,,Discharge summary,{description},{error},"{text}"\n'


@pytest.fixture
def iii(tmp_path: Path) -> Callable[..., pl.DataFrame]:
    """Prepare MIMIC-III with these rows of notes; a function that returns the sections of its summaries."""

    def run(*rows: str, name: str = "admission", header: str = _HEADER) -> pl.DataFrame:
        for table, text in {**_TABLES, "NOTEEVENTS": header + "".join(rows)}.items():
            (tmp_path / f"{table}.csv").write_text(text)
        out = tmp_path / "cohort"
        raw = RawTables(tmp_path, "MIMIC-III", 1)
        prepare(MimicReader(MIMIC3), raw, out, protocol.load(name), overwrite=True)
        return pl.read_parquet(out / "notes.parquet").filter(pl.col("stay_id") == 100, kind="discharge")

    return run


def _texts(notes: pl.DataFrame) -> dict[str, str]:
    return dict(notes.sort("time", maintain_order=True).select("section", "text").iter_rows())


_KNOWN = {"chief_complaint": "Faint.", "history_of_present_illness": "He fell at home.", "allergies": "None."}


@pytest.mark.parametrize(
    "rows",
    [
        [_row(9998, REPORT), _row(10001, AGAIN, "Addendum")],
        [_row(10001, AGAIN, "Addendum"), _row(9998, REPORT)],
        [_row(9998, REPORT), _row(9, AGAIN, "Addendum")],
        [_row(9998, REPORT), _row(10001, AGAIN, " ADDENDUM ")],
        [_row(9998, REPORT), _row(10001, AGAIN, "Report Addendum")],
        [_row(9998, REPORT), _row(10001, AGAIN)],  # a second report
        [_row(10001, AGAIN), _row(9998, REPORT)],
        [_row(9998, AGAIN, error="1"), _row(10001, REPORT)],  # withdrawn
        [_row(10001, REPORT, date="2151-03-09"), _row(9998, AGAIN, date="2151-03-12")],
        [_row(9998, REPORT), _row(10001, AGAIN, "Addendum"), _row(10002, AGAIN, "Addendum"), _row(10003, AGAIN)],
        [_row(9998, REPORT + "\n\nADDENDUM:\n" + AGAIN)],
    ],
)  # fmt: skip
def test_the_first_report_alone_tells_of_the_admission(iii: Callable[..., pl.DataFrame], rows: list[str]) -> None:
    assert _texts(iii(*rows)) == _KNOWN


def test_an_addendum_without_its_report_tells_nothing_of_the_admission(iii: Callable[..., pl.DataFrame]) -> None:
    assert _texts(iii(_row(9998, AGAIN, "Addendum"))) == {}


def test_a_report_without_anything_of_the_admission_gives_way_to_the_next(iii: Callable[..., pl.DataFrame]) -> None:
    assert _texts(iii(_row(1, "Discharge Medications: None.\n"), _row(2, REPORT))) == _KNOWN


def test_notes_without_a_description_are_reports(iii: Callable[..., pl.DataFrame]) -> None:
    header = _HEADER.replace("DESCRIPTION,", "")
    assert _texts(iii(f'1,1,10,2151-03-09,,,Discharge summary,,"{REPORT}"\n', header=header)) == _KNOWN


def test_a_retrospective_protocol_reads_an_addendum_behind_its_report(iii: Callable[..., pl.DataFrame]) -> None:
    more = "Addendum: He bled again.\n\nDischarge Disposition: Home\n"
    rows = [_row(10001, more, "Addendum", "2151-03-12"), _row(9998, REPORT)]
    notes = iii(*rows, name="paper").filter(section="brief_hospital_course").sort("time")
    assert notes.select("note_id", "text").rows() == [("9998", "Bleeding ulcer, clipped."), ("10001", "He bled again.")]
    assert notes["time"].to_list() == [datetime(2151, 3, 9, 12), datetime(2151, 3, 13)]  # discharge; the day was over


def test_an_addendum_of_mimic_iv_is_no_report(hospital, prepared) -> None:
    row = hospital.tables["note/discharge"][0]
    text = "History of Present Illness:\nShe bled.\nFamily History:\nNew."
    added = {"note_id": "1-AD-1", "note_type": "AD", "text": text}
    hospital.tables["note/discharge"].append({**row, **added, "charttime": "2151-03-11 00:00:00"})
    cohort = prepared(hospital)
    assert "three days of dyspnea" in cohort.text(100, "history_of_present_illness")
    assert cohort.text(100, "family_history") == "Father with gout."
    course = prepared(hospital, "paper").notes.filter(section="brief_hospital_course")
    assert course["text"].to_list() == ["She had pneumonia.", "She bled."]


@pytest.mark.parametrize(
    ("filed", "read"), [("2151-03-01 12:00:00", True), ("2151-03-04 12:00:00", False), ("", False)]
)
def test_an_addendum_of_radiology_is_known_when_it_was_filed(hospital, prepared, filed: str, read: bool) -> None:
    hospital.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:30:00", "FINDINGS: Clear.")
    hospital.radiology(1, "2151-03-01 09:00:00", filed, "ADDENDUM: A nodule after all.")
    hospital.tables["note/radiology"][1]["note_type"] = "AR"
    texts = prepared(hospital).notes.filter(kind="radiology")["text"].to_list()
    assert texts == ["Clear.", *(["A nodule after all."] if read else [])]


def test_the_order_of_reports_is_that_of_their_numbers(hospital, prepared) -> None:
    rows = hospital.tables["note/discharge"]
    rows[0] |= {"note_id": "1-DS-9", "note_seq": 9}
    later = {"note_id": "1-DS-10", "note_seq": 10, "text": "History of Present Illness:\nShe bled."}
    rows.insert(0, {**rows[0], **later})
    assert "three days of dyspnea" in prepared(hospital).text(100, "history_of_present_illness")


def test_notes_without_a_type_are_read(hospital, prepared) -> None:
    del hospital.tables["note/discharge"][0]["note_type"]
    assert prepared(hospital).text(100, "family_history") == "Father with gout."


def test_a_note_longer_than_any_is_refused_and_counted(hospital, prepared) -> None:
    row = hospital.tables["note/discharge"][0]
    hospital.tables["note/discharge"].append(
        {**row, "note_id": "1-DS-0", "text": "History of Present Illness: x" * 50_000}
    )
    cohort = prepared(hospital)
    assert "three days of dyspnea" in cohort.text(100, "history_of_present_illness")
    assert cohort.quarantine["reason"].to_list() == ["note of more than 1,000,000 characters"]
