"""User errors: one clear line, exit code 2, no partial output."""

from __future__ import annotations

import gzip

import pytest

from mimic_prep.cli import main


def _listing(folder):
    """What lies in the folder, but for whole stages, which the next preparation may use."""
    return sorted(path for path in folder.iterdir() if not path.name.endswith(".work"))


@pytest.fixture
def fails(tmp_path, capsys):
    """Run the command, expect exit code 2, return the one line, and check that nothing is left behind."""

    def run(raw, *more: str, out="cohort") -> str:
        capsys.readouterr()  # of a command before
        before = _listing(tmp_path)
        code = main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / out), *more])
        error = capsys.readouterr().err.strip()
        assert code == 2
        assert "Traceback" not in error
        assert len(error.splitlines()) == 1
        assert _listing(tmp_path) == before
        assert not list(tmp_path.rglob(".*.tmp"))
        return error

    return run


def test_a_wrong_path(fails, tmp_path):
    assert "not found: --raw expects the folder" in fails(tmp_path / "nowhere")


def test_a_folder_without_tables(fails, tmp_path):
    (tmp_path / "raw").mkdir()
    assert "holds no .csv" in fails(tmp_path / "raw")


@pytest.mark.parametrize("table", ["icu/icustays", "hosp/patients", "icu/chartevents", "hosp/admissions"])
def test_a_missing_table(hospital, fails, tmp_path, table):
    del hospital.tables[table]
    assert f"table {table}.csv.gz" in fails(hospital.write(tmp_path / "raw"))


def test_a_missing_column(hospital, fails, tmp_path):
    for row in hospital.tables["icu/chartevents"]:
        del row["valuenum"]
    message = fails(hospital.write(tmp_path / "raw"))
    assert "column 'valuenum' is missing" in message
    assert "chartevents.csv.gz" in message


def test_a_missing_column_is_told_before_any_table_is_read(hospital, fails, tmp_path):
    for row in hospital.tables["hosp/labevents"]:
        del row["charttime"]
    assert "column 'charttime' is missing" in fails(hospital.write(tmp_path / "raw"))
    assert not (tmp_path / ".cohort.work").exists()


def test_a_column_twice(hospital, fails, tmp_path):
    raw = hospital.write(tmp_path / "raw", packed=False)
    path = raw / "hosp" / "patients.csv"
    path.write_text(path.read_text().replace("anchor_year", "gender", 1))
    assert "stands twice" in fails(raw)


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_gzip_file(hospital, fails, tmp_path, keep):
    raw = hospital.write(tmp_path / "raw")
    path = raw / "hosp" / "labevents.csv.gz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert "labevents.csv.gz is cut off" in fails(raw) or keep == 0


def test_a_corrupt_gzip_file(hospital, fails, tmp_path):
    raw = hospital.write(tmp_path / "raw")
    path = raw / "icu" / "chartevents.csv.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    assert "chartevents.csv.gz is cut off or corrupt" in fails(raw)


def test_plain_text_named_gz(hospital, fails, tmp_path):
    raw = hospital.write(tmp_path / "raw")
    path = raw / "icu" / "chartevents.csv.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))
    assert "not a whole gzip file" in fails(raw)


@pytest.mark.parametrize("content", [b"", b"subject_id,hadm_id,stay_id,intime,outtime\n"])
def test_an_empty_table(hospital, fails, tmp_path, content):
    raw = hospital.write(tmp_path / "raw")
    (raw / "icu" / "icustays.csv.gz").write_bytes(gzip.compress(content))
    assert "empty" in fails(raw)


def test_the_same_table_in_two_places(hospital, fails, tmp_path):
    raw = hospital.write(tmp_path / "raw")
    for place in ("a", "b"):
        (raw / place).mkdir()
        (raw / place / "patients.csv").write_text("subject_id\n")
    (raw / "hosp" / "patients.csv.gz").unlink()
    assert "several files could be the table patients" in fails(raw)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("rules.min_agee=3", "rules.min_agee"),
        ("rules.min_age=old", "rules.min_age"),
        ("window.kind=middle", "window.kind 'middle' is unknown; choose from: first, last, whole"),
        ("known_at=now", "known_at 'now' is unknown; choose from: storetime, charttime"),
        ("rules.ambiguous_codes=guess", "rules.ambiguous_codes 'guess' is unknown; choose from: refuse, as_written"),
        ("window.hours=-1", "positive"),
        ("splits.train=0.9", "sum to 1"),
        ("notes.digest=perhaps", "notes.digest 'perhaps' is unknown; choose from: missing, always, never"),
        ("notes.kinds=[radiologie]", "notes.kinds 'radiologie' is unknown"),
        ("notes.also=[admission_diagnoses]", "notes.also 'admission_diagnoses' is unknown"),
        ("notes.also=[brief_hospital_course]", "is written after the prediction time"),
        ("window.hours=.nan", "positive"),
        ("window.hours=.inf", "positive"),
        ("rules.min_age=-5", "rules.min_age must be 0 or more"),
        ("rules.max_age=10", "rules.max_age 10 is less than rules.min_age 18"),
        ("splits.train=.nan", "sum to 1"),
        ("splits.test_subjects=/nowhere.csv", "/nowhere.csv not found"),
        ("notes.sections=[", "--set notes.sections=["),
        ("labels=icd", "unknown label set"),
        ("nonsense", "expected key=value"),
    ],
)
def test_an_unknown_key_or_value(hospital, fails, tmp_path, setting, expected):
    assert expected in fails(hospital.write(tmp_path / "raw"), "--set", setting)


def test_an_unknown_protocol_lists_the_known_ones(hospital, fails, tmp_path):
    assert "did you mean 'admission'" in fails(hospital.write(tmp_path / "raw"), "--protocol", "admision")


def test_an_unknown_note_section(hospital, fails, tmp_path):
    (tmp_path / "mine.yaml").write_text("notes: {sections: [chief_complain]}\n")
    message = fails(hospital.write(tmp_path / "raw"), "--protocol", str(tmp_path / "mine.yaml"))
    assert "chief_complain" in message


def test_nobody_left(hospital, fails, tmp_path):
    assert "none of 4 stays is included" in fails(hospital.write(tmp_path / "raw"), "--set", "rules.min_age=200")


def test_an_existing_cohort_stays_unless_told(hospital, fails, tmp_path, capsys):
    raw = hospital.write(tmp_path / "raw")
    command = ["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]
    assert main(command) == 0
    assert "already exists, made from other" in fails(raw, "--set", "window.hours=24")
    assert main([*command, "--set", "window.hours=24", "--overwrite"]) == 0
    assert "3 stays of 2 patients" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_a_folder_that_is_no_cohort_is_never_replaced(hospital, fails, tmp_path, more):
    raw = hospital.write(tmp_path / "raw")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "mine.txt").write_text("keep me")
    assert "so it is left alone" in fails(raw, *more)
    assert not (tmp_path / ".cohort.work").exists()
    assert (tmp_path / "cohort" / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize("command", ["mimic-iii", "eicu"])
def test_a_folder_of_another_release_is_told(hospital, tmp_path, capsys, command):
    raw = hospital.write(tmp_path / "raw")
    assert main([command, "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(f"{raw} holds MIMIC-IV, not {_NAMES[command]}: use mimic-prep mimic-iv")
    )


_NAMES = {"mimic-iii": "MIMIC-III", "eicu": "eICU"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["eicuu"], "unknown command 'eicuu': did you mean 'eicu'?"),
        (["eicu"], "--raw, --out are missing"),
        (["eicu", "--raw", "a", "--out", "b", "--workers", "many"], "--workers many: expected a whole number"),
        (["eicu", "--raw", "a", "--out", "b", "--wrokers", "2"], "unknown option --wrokers: did you mean '--workers'?"),
    ],
)
def test_a_slip_of_the_command_line_is_one_line(capsys, words, says):
    assert main(words) == 2
    line = capsys.readouterr().err.strip()
    assert says in line
    assert len(line.splitlines()) == 1
