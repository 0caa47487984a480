"""Raw tables in a database give the cohort of the files that were loaded into it, or one clear line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import raw_databases
from raw_databases import FILES, said_of, same

from clinragen.errors import UserError
from mimic_prep.cli import main
from mimic_prep.databases import postgresql as postgresql_module
from mimic_prep.databases.address import file_address
from mimic_prep.ingest import RawTables
from mimic_prep.prepare import prepare
from mimic_prep.raw_place import opened
from mimic_prep.release_check import check_release
from mimic_prep.tables import INTEGER, TEXT, TIME, WORD, Column, Table
from tests.mimic_prep.conftest import Hospital
from tests.mimic_prep.test_clif import _GOOD as CLIF
from tests.mimic_prep.test_omop import _GOOD as OMOP
from tests.mimic_prep.test_prepare_eicu import _TABLES as EICU
from tests.mimic_prep.test_prepare_mimic_iii import _TABLES as MIMIC_III

pytestmark = pytest.mark.slow

_NOTES = ["notes.kinds=[radiology]"]
_SET = ["--set", *_NOTES]


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of error."""
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Plain CSV files of MIMIC-IV; two rows are bad."""
    hospital = Hospital()
    hospital.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:30:00", "FINDINGS:\nClear lungs.\n")
    hospital.chart(100, "2151-03-01 08:20:00", 220045, 5000, "bpm")
    hospital.chart(100, "2151-03-01 08:20:00", 220045, 80, "mg/dL")
    return hospital.write(tmp_path_factory.mktemp("small") / "csv", packed=False)


@pytest.fixture(scope="module")
def expected(small) -> Path:
    """The cohort of these files."""
    prepare(small, small.with_name("cohort"), workers=1, settings=_NOTES)
    return small.with_name("cohort")


@pytest.fixture(scope="module")
def loaded_file(small) -> Path:
    return raw_databases.to_duckdb(small, small.with_name("mimic4.db"), "mimiciv_")


@pytest.fixture
def database(loaded_file, tmp_path) -> Path:
    return Path(shutil.copy(loaded_file, tmp_path))


def _run(database: Path, query: str) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute(query)


@pytest.fixture(scope="module", params=["eicu", "omop", "clif", "mimic-iii"])
def export(request, tmp_path_factory) -> Path:
    """A small export of another release as CSV files, with its cohort beside it."""
    folder = tmp_path_factory.mktemp("export") / request.param
    if request.param in ("omop", "clif"):
        {"omop": OMOP, "clif": CLIF}[request.param].write(folder)
    else:
        folder.mkdir()
        texts = {name: "\n".join(lines) + "\n" for name, lines in EICU.items()}
        for name, text in (MIMIC_III if request.param == "mimic-iii" else texts).items():
            (folder / f"{name}.csv").write_text(text)
    prepare(folder, folder.with_name("cohort"), source=request.param, workers=1)
    return folder


def test_small_exports_give_the_same_cohort_in_every_form(export, tmp_path):
    for form in (raw_databases.to_duckdb, raw_databases.to_parquet):
        prepare(form(export, tmp_path / f"{form.__name__}.db"), tmp_path / form.__name__, workers=2)
        assert same(export.with_name("cohort"), tmp_path / form.__name__, lines=_in_lines(export))


def test_small_exports_give_the_same_cohort_from_a_server(export, postgresql, tmp_path):
    prepare(postgresql.load(export, export.name, "cdm"), tmp_path / "cohort", workers=2)
    assert same(export.with_name("cohort"), tmp_path / "cohort", lines=_in_lines(export))


def _in_lines(export: Path) -> bool:
    """Whether each row is a line of its file; a note of MIMIC-III takes several, and one row of a database."""
    return export.name != "mimic-iii"


def test_a_database_says_what_its_files_say(expected, database, tmp_path):
    manifest = prepare(database, tmp_path / "cohort", settings=_NOTES)
    assert same(expected, tmp_path / "cohort")
    assert {
        row["quarantined"]["implausible heart_rate"] for row in [manifest["tables"]["mimiciv_icu.chartevents"]]
    } == {1}
    assert set(manifest["inputs"]) >= {"mimiciv_icu.chartevents", "mimiciv_note.radiology"}
    assert not any("chartevents.csv" in name for name in manifest["inputs"])


_TYPES = {
    "narrow": ("valuenum FLOAT", "charttime TIMESTAMPTZ", "stay_id DECIMAL(20,2)", "warning BOOLEAN", "itemid HUGEINT",
               "valueuom ENUM('bpm', '°F', 'mg/dL')"),
    "wide": ("valuenum DECIMAL(12,3)", "charttime TIMESTAMP_NS", "stay_id DOUBLE", "warning BIGINT", "itemid UINTEGER"),
    "text": ("valuenum VARCHAR", "charttime VARCHAR", "stay_id VARCHAR", "warning VARCHAR", "itemid VARCHAR"),
}  # fmt: skip
_INFINITE = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ", "DATE", "VARCHAR")
_NO_TIME = "is not a time (expected YYYY-MM-DD HH:MM:SS)"


@pytest.mark.parametrize("changes", _TYPES.values(), ids=_TYPES)
def test_columns_of_other_types(expected, database, tmp_path, changes):
    for column, kind in (change.split(" ", 1) for change in changes):
        _run(database, f"SET TimeZone = 'UTC'; ALTER TABLE mimiciv_icu.chartevents ALTER {column} TYPE {kind}")
    prepare(database, tmp_path / "cohort", workers=1, settings=_NOTES)
    assert same(expected, tmp_path / "cohort")


def test_a_time_at_infinity_is_quarantined(tmp_path):
    cells = ", ".join(f"'infinity'::{kind} AS c{number}" for number, kind in enumerate(_INFINITE))
    _run(tmp_path / "any.db", f"CREATE TABLE times AS SELECT {cells}")
    _each_is_quarantined(str(tmp_path / "any.db"), len(_INFINITE))


def _each_is_quarantined(raw: str, columns: int) -> None:
    with opened(raw) as database:
        for name in (f"c{number}" for number in range(columns)):
            tables = RawTables(database, "a test")
            assert tables.read(Table("times", {"time": Column(name, TIME)})).is_empty(), name
            [count] = tables.ledger.tables.values()
            assert count.quarantined == {f"{name} {_NO_TIME}": 1}


def test_a_column_of_a_type_that_cannot_be_meant_is_named(tmp_path):
    kinds = {"BLOB": "'x'::BLOB", "INTEGER[]": "[1]", "INTERVAL": "INTERVAL 1 DAY", "STRUCT(a INTEGER)": "{'a': 1}"}
    for number, (kind, cell) in enumerate(kinds.items()):
        _run(tmp_path / "any.db", f"CREATE TABLE odd{number} AS SELECT {cell} AS unit")
        with opened(tmp_path / "any.db") as database, pytest.raises(UserError) as error:
            RawTables(database, "a test").read(Table(f"odd{number}", {"unit": Column("unit", WORD)}))
        assert f"table main.odd{number}: column 'unit' is of type {kind}, expected text" in str(error.value)


def test_names_may_have_any_case_and_any_schema(small, expected, tmp_path):
    path = raw_databases.to_duckdb(small, tmp_path / "any.duckdb")
    _run(path, "CREATE SCHEMA cdm; CREATE TABLE cdm.CHARTEVENTS AS FROM chartevents; DROP TABLE chartevents")
    prepare(path, tmp_path / "cohort", source="mimic-iv", settings=_NOTES)
    assert same(expected, tmp_path / "cohort")


def test_a_table_in_two_schemas_is_refused_until_one_is_named(expected, database, tmp_path, capsys):
    _run(database, "CREATE SCHEMA other; CREATE TABLE other.icustays AS FROM mimiciv_icu.icustays LIMIT 1")
    prepare(database, tmp_path / "cohort", settings=_NOTES)  # mimiciv_icu is where MIMIC-IV has it
    assert same(expected, tmp_path / "cohort")
    _run(database, "CREATE SCHEMA mimiciii; CREATE TABLE mimiciii.chartevents AS FROM mimiciv_icu.chartevents")
    _run(database, "CREATE SCHEMA third; ALTER TABLE mimiciv_icu.chartevents RENAME TO gone")
    _run(database, "CREATE TABLE third.chartevents AS FROM mimiciv_icu.gone")
    arguments = ["--out", str(tmp_path / "other")]
    assert main(["mimic-iv", "--raw", str(database), *arguments]) == 2
    assert "several tables could be chartevents (mimiciii.chartevents, third.chartevents)" in line_of(capsys)
    schemas = "third,mimiciv_hosp,mimiciv_icu,mimiciv_note"
    assert main(["mimic-iv", "--raw", f"{database}?schema={schemas}", *arguments, *_SET]) == 0
    assert said_of(tmp_path / "other")["cohort"] == said_of(expected)["cohort"]


def test_an_absent_table_is_told_from_one_that_is_not_read(database, tmp_path, capsys):
    command = ["mimic-iv", "--raw", str(database), "--out", str(tmp_path / "cohort")]
    _run(database, "ALTER TABLE mimiciv_hosp.prescriptions RENAME TO drugs")
    assert main(command) == 0
    capsys.readouterr()
    _run(database, "CREATE VIEW mimiciv_hosp.prescriptions AS FROM mimiciv_hosp.drugs")
    assert main([*command, "--overwrite"]) == 2
    assert "table mimiciv_hosp.prescriptions: it is a view" in line_of(capsys)
    _run(database, "DROP VIEW mimiciv_hosp.prescriptions; DROP TABLE mimiciv_hosp.patients")
    assert main([*command, "--overwrite"]) == 2
    assert "table patients not found; it has tables in the schemas mimiciv_hosp, mimiciv_icu" in line_of(capsys)
    _run(database, "CREATE TABLE mimiciv_hosp.patients AS SELECT 1 AS subject_id")
    assert main([*command, "--overwrite"]) == 2
    assert "mimiciv_hosp.patients: column 'gender' is missing; it has subject_id" in line_of(capsys)


def test_a_finished_cohort_is_kept_until_the_file_changes(database, tmp_path, capsys):
    before = database.read_bytes()
    command = ["mimic-iv", "--raw", str(database), "--out", str(tmp_path / "cohort")]
    assert main(command) == 0
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert database.read_bytes() == before
    assert sorted(path.name for path in database.parent.glob("mimic4*")) == ["mimic4.db"]
    _run(database, "UPDATE mimiciv_icu.chartevents SET valuenum = 81 WHERE valuenum = 80")
    assert main(command) == 2
    assert "made from other tables or settings" in line_of(capsys)


def test_changes_that_are_not_merged_into_the_file_count(database, tmp_path):
    manifest = prepare(database, tmp_path / "cohort")
    pending = (
        "import duckdb, os; connection = duckdb.connect({!r}); "
        "connection.execute('DELETE FROM mimiciv_icu.chartevents WHERE valuenum = 80'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", pending.format(str(database))], check=True)
    assert database.with_name("mimic4.db.wal").exists()
    changed = prepare(database, tmp_path / "other")
    assert changed["inputs"] != manifest["inputs"]
    assert changed["tables"]["mimiciv_icu.chartevents"]["read"] < manifest["tables"]["mimiciv_icu.chartevents"]["read"]


def _text(path: Path) -> Path:
    path.with_name("notes.db").write_text("no database\n")
    return path.with_name("notes.db")


def _sqlite(path: Path) -> Path:
    path.with_name("mimic4.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4000))
    return path.with_name("mimic4.sqlite")


def _cut(path: Path) -> Path:
    path.with_name("encrypted lock.db").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.with_name("encrypted lock.db")


def _encrypted(path: Path) -> Path:
    target = path.with_name("secret.db")
    with duckdb.connect() as connection:
        connection.execute("SET force_mbedtls_unsafe = 'true'")
        connection.execute(f"ATTACH '{target}' AS secret (ENCRYPTION_KEY 'a key')")
        connection.execute("CREATE TABLE secret.icustays AS SELECT 1 AS stay_id")
    return target


def _newer(path: Path) -> Path:
    return raw_databases.damaged(path, lambda content: content.__setitem__(slice(12, 14), b"\xff\x7f"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_text, "is a file, and no DuckDB database: --raw expects the folder of the tables"),
        (_sqlite, "is an SQLite database, which is not read"),
        (_cut, "cut off or corrupt"),
        (_encrypted, "is encrypted, which is not read"),
        (_newer, "was written by a newer DuckDB than the one installed"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line(database, tmp_path, capsys, change, said):
    raw = change(database)
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 2
    assert said in line_of(capsys)
    assert not (tmp_path / "cohort").exists()


def test_a_file_that_another_process_writes_is_one_line(database, tmp_path, capsys):
    holds = f"import duckdb; connection = duckdb.connect({str(database)!r}); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        code = main(["mimic-iv", "--raw", str(database), "--out", str(tmp_path / "cohort")])
        process.communicate(b"\n")
    assert code == 2
    assert "is open for writing in another process" in line_of(capsys)


def test_the_release_is_recognised_and_checked(database, capsys):
    with opened(database) as raw:
        report = check_release(raw)
    assert (report.release, report.sound) == ("MIMIC-IV", True)
    assert {table.table: table.rows for table in report.tables if table.file}["icustays"] == 4
    assert main(["check-release", "--raw", str(database), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tables"]
    assert {row["file"] for row in rows if row["table"] == "chartevents"} == {"mimiciv_icu.chartevents"}
    assert main(["mimic-iii", "--raw", str(database), "--out", str(database.with_name("cohort"))]) == 2
    assert "holds MIMIC-IV, not MIMIC-III: use mimic-prep mimic-iv" in line_of(capsys)


@pytest.mark.parametrize("source", ["fhir", "meds", "physionet-2012"])
def test_a_release_of_files_refuses_a_database(database, tmp_path, capsys, source):
    assert main([source, "--raw", str(database), "--out", str(tmp_path / "cohort")]) == 2
    assert "is a database:" in (line := line_of(capsys))
    assert "is read from a folder of files" in line


def test_without_the_package_the_extra_is_named(database, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["mimic-iv", "--raw", str(database), "--out", str(tmp_path / "cohort")]) == 2
    assert "make setup EXTRA=duckdb" in line_of(capsys)


def test_a_cohort_does_not_replace_the_database(database, capsys):
    assert main(["mimic-iv", "--raw", str(database), "--out", str(database), "--overwrite"]) == 2
    assert "is what the command reads" in line_of(capsys)


def test_what_follows_the_question_mark(database):
    assert file_address(f"{database}?schema=A,b") == (database, ("a", "b"))
    assert file_address("no such file?schema=a") == (Path("no such file?schema=a"), ())
    with pytest.raises(UserError, match="unknown option 'scheme' after the question mark"):
        file_address(f"{database}?scheme=a")


# PostgreSQL


@pytest.fixture(scope="module")
def template(small, postgresql) -> str:
    """The name of a database with the tables of ``small``."""
    return _name(postgresql.load(small, "small", "mimiciv_"))


@pytest.fixture
def loaded(template, postgresql) -> str:
    """The URL of a copy of it."""
    postgresql.run(
        "postgres", "DROP DATABASE IF EXISTS mimic WITH (FORCE)", f"CREATE DATABASE mimic TEMPLATE {template}"
    )
    return postgresql.url("mimic")


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def test_a_server_says_what_the_files_say(expected, loaded, postgresql, tmp_path, capsys):
    command = ["mimic-iv", "--raw", loaded, "--out", str(tmp_path / "cohort"), *_SET]
    assert main(command) == 0
    assert same(expected, tmp_path / "cohort")
    record = json.loads((tmp_path / "cohort" / "manifest.json").read_text())["database"]
    assert (record["kind"], record["name"]) == ("PostgreSQL", _name(loaded))
    assert record["rows"]["mimiciv_icu.icustays"] == 4
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err
    postgresql.run(_name(loaded), "UPDATE mimiciv_icu.chartevents SET valuenum = 81 WHERE valuenum = 80")
    assert main(command) == 2
    assert "made from other tables or settings" in line_of(capsys)
    assert main([*command, "--overwrite"]) == 0
    assert "events-labevents: nothing it depends on has changed" in (said := capsys.readouterr().err)
    assert "events-chartevents: nothing" not in said


def test_rows_may_lie_in_any_order(expected, loaded, postgresql, tmp_path):
    for table in ("icu.chartevents", "icu.icustays", "hosp.admissions", "hosp.diagnoses_icd", "note.radiology"):
        name = f"mimiciv_{table}"
        postgresql.run(
            _name(loaded),
            f"CREATE TABLE moved AS SELECT * FROM {name} ORDER BY md5(random()::text)",
            f"TRUNCATE {name}",
            f"INSERT INTO {name} SELECT * FROM moved",
            "DROP TABLE moved",
        )
    prepare(loaded, tmp_path / "cohort", settings=_NOTES)
    for name in FILES:
        assert (expected / f"{name}.parquet").read_bytes() == (tmp_path / "cohort" / f"{name}.parquet").read_bytes()


_SERVER_TYPES = {
    "narrow": ("valuenum real", "charttime timestamptz", "stay_id numeric(20,2)", "itemid numeric",
               "warning boolean USING warning <> 0", "valueuom spelling USING valueuom::spelling"),
    "text": ("valuenum varchar(20)", "charttime text", "stay_id char(12)", "itemid double precision", "valueuom words"),
}  # fmt: skip


@pytest.mark.parametrize("changes", _SERVER_TYPES.values(), ids=_SERVER_TYPES)
def test_columns_of_other_types_of_a_server(expected, loaded, postgresql, tmp_path, changes):
    alter = "ALTER TABLE mimiciv_icu.chartevents ALTER {} TYPE {}"
    postgresql.run(
        _name(loaded),
        "CREATE TYPE spelling AS ENUM ('bpm', '°F', 'mg/dL')",
        "CREATE DOMAIN words AS varchar(40)",
        *(alter.format(*change.split(" ", 1)) for change in changes),
    )
    prepare(loaded, tmp_path / "cohort", workers=1, settings=_NOTES)
    assert same(expected, tmp_path / "cohort")


def test_a_time_of_a_zone_is_the_clock_of_the_database(expected, loaded, postgresql, tmp_path):
    postgresql.run(
        _name(loaded),
        f"ALTER DATABASE \"{_name(loaded)}\" SET timezone = 'America/New_York'",
        "SET timezone = 'America/New_York'",
        "ALTER TABLE mimiciv_icu.chartevents ALTER charttime TYPE timestamptz",
    )
    prepare(loaded, tmp_path / "cohort", workers=1, settings=_NOTES)
    assert same(expected, tmp_path / "cohort")


def test_a_time_at_infinity_of_a_server_is_quarantined(postgresql):
    kinds = ("timestamp", "timestamptz", "date", "text")
    cells = [f"'{sign}infinity'::{kind}" for kind in kinds for sign in ("", "-")]
    cells = [f"{cell} AS c{number}" for number, cell in enumerate(cells)]
    postgresql.run("postgres", f"CREATE TABLE times AS SELECT {', '.join(cells)}")
    _each_is_quarantined(postgresql.url("postgres"), len(cells))


def test_a_column_of_a_server_that_cannot_be_meant_is_named(postgresql):
    for kind in ("bytea", "_int4", "interval", "json", "point"):
        postgresql.run("postgres", f"CREATE TABLE odd{kind} (unit {kind})")
        with opened(postgresql.url("postgres")) as database, pytest.raises(UserError) as error:
            RawTables(database, "a test").read(Table(f"odd{kind}", {"unit": Column("unit", WORD)}))
        assert f"table public.odd{kind}: column 'unit' is of type {kind}, expected text" in str(error.value)


def test_views_and_partitions_are_tables(expected, loaded, postgresql, tmp_path):
    postgresql.run(
        _name(loaded),
        "ALTER TABLE mimiciv_icu.chartevents RENAME TO whole",
        "CREATE TABLE mimiciv_icu.chartevents (LIKE mimiciv_icu.whole) PARTITION BY RANGE (itemid)",
        "CREATE TABLE mimiciv_icu.labevents PARTITION OF mimiciv_icu.chartevents FOR VALUES FROM (0) TO (223000)",
        "CREATE TABLE mimiciv_icu.chartevents_2 PARTITION OF mimiciv_icu.chartevents DEFAULT",
        "INSERT INTO mimiciv_icu.chartevents SELECT * FROM mimiciv_icu.whole",
        "ALTER TABLE mimiciv_hosp.patients RENAME TO people",
        "CREATE VIEW mimiciv_hosp.patients AS SELECT * FROM mimiciv_hosp.people",
    )
    prepare(loaded, tmp_path / "cohort")
    for name in FILES:
        assert (expected / f"{name}.parquet").read_bytes() == (tmp_path / "cohort" / f"{name}.parquet").read_bytes()


def test_a_table_in_two_schemas_of_a_server(loaded, postgresql, tmp_path, capsys):
    postgresql.run(
        _name(loaded),
        "CREATE SCHEMA mimiciii",
        "CREATE TABLE mimiciii.icustays AS SELECT 1 AS icustay_id",
        "CREATE SCHEMA other",
        "CREATE TABLE other.icustays AS SELECT 1 AS icustay_id",
    )
    arguments = ["--out", str(tmp_path / "cohort")]
    assert main(["mimic-iii", "--raw", loaded, *arguments]) == 2
    assert "several tables could be icustays" in line_of(capsys)
    assert main(["mimic-iii", "--raw", f"{loaded}&schema=mimiciii", *arguments]) == 2
    assert "table mimiciii.icustays: column 'subject_id' is missing" in line_of(capsys)
    assert main(["check-release", "--raw", loaded]) == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (lambda server: server.url("nowhere"), 'database "nowhere" does not exist); check the name of the database'),
        (lambda server: server.url("postgres", "nobody_here"), 'role "nobody_here" does not exist); check the user'),
        (lambda server: "postgresql://owner@127.0.0.1:9/mimic", "Connection refused); check host and port"),
        (lambda server: "postgresql://owner@nowhere.invalid/mimic", "could not translate host name"),
        (lambda server: server.url("postgres") + "&colour=red", "check what follows the question mark"),
        (lambda server: server.tcp("postgres"), "put the user's password in ~/.pgpass"),
    ],
)  # fmt: skip
def test_no_connection_is_one_line(postgresql, tmp_path, capsys, monkeypatch, url, said):
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    assert main(["mimic-iv", "--raw", url(postgresql), "--out", str(tmp_path / "cohort")]) == 2
    line = line_of(capsys)
    assert said in line
    assert "no connection (" in line


def test_the_password_comes_from_the_environment_and_is_never_shown(loaded, postgresql, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong-secret")
    command = ["mimic-iv", "--raw", postgresql.tcp(_name(loaded)), "--out", str(tmp_path / "cohort")]
    assert main(command) == 2
    assert "password authentication failed" in (line := line_of(capsys))
    assert "wrong-secret" not in line
    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    assert main([*command, "--workers", "1"]) == 0
    printed = capsys.readouterr()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cohort").rglob("*") if path.is_file())
    assert postgresql.password not in printed.out + printed.err
    assert postgresql.password.encode() not in kept
    assert b"127.0.0.1" not in kept
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{postgresql.port}:*:owner:{postgresql.password}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    assert main([*command, "--workers", "1"]) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret@db/mimic",
        "postgres://ann:s3cret@db:5432/mimic?sslmode=require",
        "postgresql://ann:s3@cret@db/mimic",
        "postgresql://ann:s3/cret@db/mimic",
        "postgresql://ann:s3?cret@db/mimic",
        "postgresql:/ann:s3cret@db/mimic",
        "postgresql://:s3cret@db/mimic",
        "postgresql://ann@db/mimic?password=s3cret",
        "postgresql://ann@db/mimic?sslpassword=s3cret",
        "postgresql://ann@db/mimic?pass%77ord=s3cret",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path, capsys, url):
    assert main(["mimic-iv", "--raw", url, "--out", str(tmp_path / "cohort")]) == 2
    line = line_of(capsys)
    assert "the URL holds a password" in line
    assert "PGPASSWORD" in line
    assert "s3" not in line
    assert main(["check-release", "--raw", url]) == 2
    assert "s3" not in line_of(capsys)


@pytest.mark.parametrize("url", ["postgresql://a b/s3cret", "postgresql://ann:s3cret", "mysql://ann:s3cret@db/x"])
def test_a_url_that_cannot_be_read_is_not_repeated(tmp_path, capsys, url):
    assert main(["mimic-iv", "--raw", url, "--out", str(tmp_path / "cohort")]) == 2
    assert "s3" not in (line := line_of(capsys))
    assert "postgresql://USER@HOST:PORT/DATABASE" in line


def test_a_table_without_permission_is_named(loaded, postgresql, tmp_path, capsys):
    reader = f"reader{abs(hash(loaded))}"
    schemas = "mimiciv_hosp, mimiciv_icu, mimiciv_note"
    postgresql.run(
        _name(loaded),
        f"CREATE ROLE {reader} LOGIN",
        f"GRANT USAGE ON SCHEMA {schemas} TO {reader}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schemas} TO {reader}",
        f"REVOKE SELECT ON mimiciv_hosp.prescriptions FROM {reader}",  # an optional table
    )
    url = postgresql.url(_name(loaded), reader)
    command = ["mimic-iv", "--raw", url, "--out", str(tmp_path / "cohort")]
    assert main(command) == 2
    assert "table mimiciv_hosp.prescriptions: permission denied" in line_of(capsys)
    postgresql.run(_name(loaded), f"GRANT SELECT ON mimiciv_hosp.prescriptions TO {reader}")
    assert main(command) == 0


def test_nothing_can_be_written(loaded):
    with opened(loaded) as database, pytest.raises(UserError):
        database._rows("DELETE FROM mimiciv_icu.chartevents RETURNING 1")


def test_all_tables_are_of_one_moment(expected, loaded, postgresql, tmp_path):
    whole = postgresql_module.PostgreSQL.content

    def content(self, table):
        result = whole(self, table)
        if table.table == "icustays":  # somebody writes while the tables are read
            postgresql.run(_name(loaded), "UPDATE mimiciv_icu.chartevents SET valuenum = 81 WHERE valuenum = 80")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgresql_module.PostgreSQL, "content", content)
        prepare(loaded, tmp_path / "cohort", workers=1, settings=_NOTES)
    assert same(expected, tmp_path / "cohort")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("pg_cancel_backend", "canceling statement due to user request"),
        ("pg_terminate_backend", "server closed the connection unexpectedly"),
    ],
)
def test_reading_that_ends_midway_is_one_line_and_goes_on_where_it_was(
    loaded, postgresql, tmp_path, capsys, monkeypatch, act, said
):
    table = "mimiciv_hosp.labevents"
    padding = f"SELECT 99, subject_id, hadm_id, 1, charttime, repeat('x', 2000) FROM {table}, generate_series(1, 5000)"
    columns = "labevent_id, subject_id, hadm_id, itemid, charttime, value"
    postgresql.run(_name(loaded), f"INSERT INTO {table} ({columns}) {padding} LIMIT 5000")
    whole = postgresql_module.PostgreSQL._next

    def interrupted(self, reader, of, read):
        batch = whole(self, reader, of, read)
        if of.table == "labevents" and not read:
            query = f"SELECT {act}(pid) FROM pg_stat_activity WHERE application_name = 'mimic-prep'"
            postgresql.run("postgres", f"{query} AND datname = '{_name(loaded)}'")
        return batch

    monkeypatch.setattr(postgresql_module, "BATCH_BYTES", 1 << 16)
    command = ["mimic-iv", "--raw", loaded, "--out", str(tmp_path / "cohort")]
    with monkeypatch.context() as patch:
        patch.setattr(postgresql_module.PostgreSQL, "_next", interrupted)
        assert main(command) == 2
    line = line_of_error(capsys)
    assert f"table {table}: reading stopped after" in line
    assert said in line or "terminating connection due to administrator command" in line
    assert "run the command again: finished steps are kept" in line
    assert not (tmp_path / "cohort").exists()
    assert main(command) == 0
    assert "events-chartevents: nothing it depends on has changed" in capsys.readouterr().err


def line_of_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of error among those that report reused steps."""
    [line] = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error: ")]
    return line


def test_text_in_another_encoding(small, expected, postgresql, tmp_path, capsys):
    """The server converts it; where it does not know which it is, nothing is guessed."""
    for encoding in ("LATIN1", "SQL_ASCII"):
        postgresql.run("postgres", f"CREATE DATABASE in_{encoding} ENCODING '{encoding}' TEMPLATE template0")
    for table, path in raw_databases.tables_of(small).items():
        name = f"mimiciv_{path.parent.name}.{table}"
        columns = raw_databases.definition(table, raw_databases.header_of(path))
        for encoding in ("latin1", "sql_ascii"):
            postgresql.run(
                f"in_{encoding}",
                f"CREATE SCHEMA IF NOT EXISTS mimiciv_{path.parent.name}",
                f"CREATE TABLE {name} ({columns})",
                f"\\copy {name} FROM pstdin WITH (FORMAT csv, HEADER, ENCODING '{encoding}')",
                lines=path.read_text().encode("latin-1"),
            )
    prepare(postgresql.url("in_latin1"), tmp_path / "cohort", settings=_NOTES)
    assert same(expected, tmp_path / "cohort")
    assert main(["mimic-iv", "--raw", postgresql.url("in_sql_ascii"), "--out", str(tmp_path / "other")]) == 2
    assert "mimiciv_icu.chartevents: holds text that is not UTF-8" in line_of(capsys)


def test_rows_of_a_server_are_read_in_bounded_memory(postgresql, monkeypatch):
    monkeypatch.setattr(postgresql_module, "BATCH_BYTES", 1 << 16)
    postgresql.run(
        "postgres", "CREATE TABLE many AS SELECT i, repeat('x', 1000) AS text FROM generate_series(1, 20000) i"
    )
    wide = Table("many", {"i": Column("i", INTEGER), "text": Column("text", TEXT)})
    with opened(postgresql.url("postgres")) as database:
        blocks = list(RawTables(database, "a test", workers=1).stream(wide, lambda rows: None))
    assert max(block.height for block in blocks) < 200
    assert [number for block in blocks for number in block["i"]] == list(range(1, 20001))


def test_without_the_driver_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    assert main(["mimic-iv", "--raw", "postgresql://ann@db/mimic", "--out", str(tmp_path / "cohort")]) == 2
    assert "make setup EXTRA=postgresql" in line_of(capsys)
