"""A table in other containers: parts in a folder, Parquet of text, database dumps; duplicates are errors."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinragen.errors import UserError
from mimic_prep import csv_stream, parquet_rows
from mimic_prep.cli import main
from mimic_prep.ingest import RawTables
from mimic_prep.release_check import check_release
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, Column, Table

_CHART, _LAB, _DRUGS = "icu/chartevents", "hosp/labevents", "hosp/prescriptions"
_NOTES = ("note/discharge", "note/radiology")
_TABLES = ("stays", "series", "notes", "labels")


@pytest.fixture
def raw(hospital, tmp_path):
    hospital.radiology(1, "2151-03-01 09:00:00", "2151-03-01 09:30:00", "FINDINGS:\nClear lungs.\n")
    return hospital.write(tmp_path / "raw", packed=False)


@pytest.fixture
def expected(raw, prepared):
    return prepared(raw, notes__kinds="[radiology]")


def _same(first, second) -> bool:
    return all(
        (first.root / f"{n}.parquet").read_bytes() == (second.root / f"{n}.parquet").read_bytes() for n in _TABLES
    )


def _frame(path: Path, **types) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema_length=None, schema_overrides=types)


def _text(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def _as_parquet(raw: Path, table: str, change) -> None:
    path = raw / f"{table}.csv"
    change(path).write_parquet(path.with_suffix(".parquet"))
    path.unlink()


_ALL = (
    "icu/icustays", "icu/chartevents", "icu/outputevents", "hosp/patients", "hosp/admissions", "hosp/labevents",
    "hosp/diagnoses_icd", "hosp/prescriptions", *_NOTES,
)  # fmt: skip


@pytest.mark.parametrize("table", _ALL)
def test_parquet_whose_cells_are_all_text(raw, prepared, expected, table):
    _as_parquet(raw, table, _text)
    cohort = prepared(raw, notes__kinds="[radiology]")
    assert cohort.quarantine.height == 0
    assert _same(cohort, expected)


_TYPED = {
    "times as timestamps": lambda f: f.with_columns(pl.col("charttime").str.to_datetime(time_unit="ns")),
    "times of a zone": lambda f: f.with_columns(pl.col("charttime").str.to_datetime().dt.replace_time_zone("UTC")),
    "times as text with T": lambda f: f.with_columns(pl.col("charttime").str.replace(" ", "T")),
    "times as text with Z": lambda f: f.with_columns(pl.col("charttime").str.replace(" ", "T") + "Z"),
    "times as text of UTC": lambda f: f.with_columns(pl.col("charttime") + " UTC"),
    "times as categories": lambda f: f.with_columns(pl.col("charttime").cast(pl.Categorical)),
    "ids as fractions": lambda f: f.with_columns(pl.col("stay_id", "itemid").cast(pl.Float64)),
    "ids as decimals": lambda f: f.with_columns(pl.col("stay_id", "itemid").cast(pl.Decimal(20, 2))),
    "ids as small numbers": lambda f: f.cast({"itemid": pl.UInt32, "stay_id": pl.Int16}),
    "ids as text": lambda f: f.with_columns(pl.col("stay_id", "itemid").cast(pl.String)),
    "ids as text of fractions": lambda f: f.with_columns(pl.col("itemid").cast(pl.Float64).cast(pl.String)),
    "values as text": lambda f: f.with_columns(pl.col("valuenum").cast(pl.String)),
    "units as bytes": lambda f: f.with_columns(pl.col("valueuom").cast(pl.Binary)),
    "names in capitals": lambda f: f.rename(str.upper),
}  # fmt: skip


@pytest.mark.parametrize("change", _TYPED.values(), ids=_TYPED)
def test_parquet_of_other_types(raw, prepared, expected, change):
    _as_parquet(raw, _CHART, lambda path: change(_frame(path)))
    cohort = prepared(raw, notes__kinds="[radiology]")
    assert cohort.quarantine.height == 0
    assert _same(cohort, expected)


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("stay_id", "hundred", "stay_id is not a whole number"),
        ("stay_id", "100.5", "stay_id is not a whole number"),
        ("charttime", "noon", "charttime is not a time (expected YYYY-MM-DD HH:MM:SS)"),
        ("valuenum", "eighty", "valuenum is not a number"),
    ],
)
def test_a_bad_cell_of_a_parquet_file_is_quarantined_with_its_row(raw, prepared, expected, column, cell, reason):
    bad = pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(pl.lit(cell)).otherwise(pl.col(column)).alias(column)
    _as_parquet(raw, _CHART, lambda path: pl.concat([_text(path), _text(path).tail(1)]).with_columns(bad))
    cohort = prepared(raw, notes__kinds="[radiology]")
    assert cohort.quarantine.rows() == [("icu/chartevents.parquet", 8, reason)]
    assert _same(cohort, expected)


def test_a_fraction_is_no_id_of_a_parquet_file(raw, prepared, expected):
    wrong = pl.when(pl.int_range(pl.len()) == 0).then(100.5).otherwise(pl.col("stay_id")).alias("stay_id")
    _as_parquet(raw, _CHART, lambda path: pl.concat([_frame(path).head(1), _frame(path)]).with_columns(wrong))
    cohort = prepared(raw, notes__kinds="[radiology]")
    assert cohort.quarantine["reason"].to_list() == ["stay_id is not a whole number"]
    assert _same(cohort, expected)


@pytest.mark.parametrize(
    ("table", "column", "cells"),
    [
        (_CHART, "charttime", pl.lit(4_500_000_000)),
        (_DRUGS, "starttime", pl.lit(1.5)),
        ("note/radiology", "storetime", pl.lit(True)),
        ("note/radiology", "charttime", pl.concat_list(pl.lit(1), pl.lit(2))),
        (_CHART, "stay_id", pl.date(2150, 1, 1)),
    ],
)
def test_a_column_of_a_type_that_cannot_be_meant_is_named(raw, tmp_path, capsys, table, column, cells):
    _as_parquet(raw, table, lambda path: _frame(path).with_columns(cells.alias(column)))
    options = ["--set", "notes.kinds=[radiology]"]
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort"), *options]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"column '{column}' is of type" in line
    assert f"{table}.parquet" in line


# Parts


def _rows(path: Path) -> tuple[bytes, list[bytes]]:
    header, *rows = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    return header, rows


def _spark(raw: Path) -> None:
    header, rows = _rows(raw / f"{_CHART}.csv")
    folder = raw / f"{_CHART}.csv"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").touch()
    for number in range(2):
        packed = gzip.compress(header + b"".join(rows[number::2]))
        (folder / f"part-0000{number}-2b5f.c000.csv.gz").write_bytes(packed)
        (folder / f".part-0000{number}-2b5f.c000.csv.gz.crc").write_bytes(b"crc")


def _plain_parts(raw: Path) -> None:
    header, rows = _rows(raw / f"{_CHART}.csv")
    (raw / _CHART).mkdir()
    for number, row in enumerate(rows):
        (raw / _CHART / f"{number}.csv").write_bytes(header + row)


def _parquet_parts(raw: Path) -> None:
    frame = _frame(raw / f"{_CHART}.csv")
    (raw / f"{_CHART}.csv").unlink()
    folder = raw / "icu" / "CHARTEVENTS.PARQUET" / "year=2151"
    folder.mkdir(parents=True)
    frame.head(2).write_parquet(folder / "part.0.parquet")
    frame.tail(-2).write_parquet(folder / "part.1.parquet")
    frame.head(0).write_parquet(folder / "part.2.parquet")


def _shards(raw: Path) -> None:
    header, rows = _rows(raw / f"{_CHART}.csv")
    for number in range(3):
        (raw / f"{_CHART}-00000000000{number}.csv.gz").write_bytes(gzip.compress(header + b"".join(rows[number::3])))


def _own_folder(raw: Path) -> None:
    content = (raw / f"{_CHART}.csv").read_bytes()
    (raw / f"{_CHART}.csv").unlink()
    (raw / _CHART).mkdir()
    (raw / _CHART / "chartevents.csv").write_bytes(content)


@pytest.mark.parametrize("split", [_spark, _plain_parts, _parquet_parts, _shards, _own_folder])
def test_a_table_in_parts(raw, prepared, expected, split):
    split(raw)
    cohort = prepared(raw, notes__kinds="[radiology]")
    assert _same(cohort, expected)
    parts = [count["read"] for name, count in cohort.manifest["tables"].items() if "chartevents" in name.lower()]
    assert sum(parts) == 6


def test_a_bad_row_of_a_part_is_named_with_its_part(raw, prepared, expected):
    _plain_parts(raw)
    with (raw / _CHART / "1.csv").open("ab") as file:
        file.write(b"1,10,100\n")
    cohort = prepared(raw, notes__kinds="[radiology]")
    assert cohort.quarantine.rows() == [("icu/chartevents/1.csv", 3, "expected 9 fields, found 3")]
    assert _same(cohort, expected)


def test_verify_reads_parts(raw, capsys):
    _spark(raw)
    [report] = [table for table in check_release(raw).tables if table.table == "chartevents"]
    assert (report.file, report.rows, report.problems) == ("icu/chartevents.csv", 6, [])
    broken = raw / f"{_CHART}.csv" / "part-00001-2b5f.c000.csv.gz"
    broken.write_bytes(broken.read_bytes()[:-12])
    assert main(["check-release", "--raw", str(raw)]) == 2
    assert "part-00001" in capsys.readouterr().out.replace("\n", "")


# Twice, or not to be read


def _copy(name: str):
    def change(raw: Path) -> None:
        target = raw / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = raw / f"{_DRUGS}.csv"
        if name.endswith(".parquet"):
            _text(source).write_parquet(target)
        else:
            target.write_bytes(gzip.compress(source.read_bytes()) if name.endswith(".gz") else source.read_bytes())

    return change


def _rename(name: str):
    return lambda raw: (raw / f"{_DRUGS}.csv").rename(raw / name)


def _replace(content: bytes):
    return lambda raw: (raw / f"{_DRUGS}.csv").write_bytes(content)


def _link(raw: Path) -> None:
    (raw / f"{_DRUGS}.csv").unlink()
    (raw / f"{_DRUGS}.csv").symlink_to(raw / "elsewhere.csv")


def _empty_folder(raw: Path) -> None:
    (raw / f"{_DRUGS}.csv").unlink()
    (raw / f"{_DRUGS}.csv").mkdir()


def _same_part_twice(raw: Path) -> None:
    content = (raw / f"{_DRUGS}.csv").read_bytes()
    _empty_folder(raw)
    (raw / f"{_DRUGS}.csv" / "part-0.csv").write_bytes(content)
    (raw / f"{_DRUGS}.csv" / "part-0.csv.gz").write_bytes(gzip.compress(content))


def _semicolons(raw: Path) -> None:
    path = raw / f"{_DRUGS}.csv"
    path.write_bytes(path.read_bytes().replace(b",", b";"))


_REFUSED = {
    "packed beside plain": (_copy(f"{_DRUGS}.csv.gz"), "several files could be the table prescriptions"),
    "Parquet beside plain": (_copy(f"{_DRUGS}.parquet"), "several files could be the table prescriptions"),
    "another case": (_copy("hosp/PRESCRIPTIONS.csv.gz"), "several files could be the table prescriptions"),
    "parts beside the whole": (_copy(f"{_DRUGS}/part-0.csv"), "several files could be the table prescriptions"),
    "shards beside the whole": (_copy(f"{_DRUGS}-000.csv"), "several files could be the table prescriptions"),
    "one part twice": (_same_part_twice, "the same part of a table twice"),
    "zip": (_rename("hosp/prescriptions.csv.zip"), "in a form that is not read"),
    "bzip2": (_rename("hosp/prescriptions.csv.bz2"), "in a form that is not read"),
    "zstandard": (_rename("hosp/PRESCRIPTIONS.CSV.ZST"), "in a form that is not read"),
    "a sheet": (_rename("hosp/prescriptions.xlsx"), "in a form that is not read"),
    "tabs by name": (_rename("hosp/prescriptions.tsv"), "in a form that is not read"),
    "an unfinished download": (_rename("hosp/prescriptions.csv.gz.part"), "in a form that is not read"),
    "a link to nothing": (_link, "is no file"),
    "a folder without parts": (_empty_folder, "holds no .csv"),
    "an empty file": (_replace(b""), "is empty"),
    "semicolons": (_semicolons, "separated by semicolons"),
    "tabs": (_replace(b"subject_id\thadm_id\tstarttime\tdrug\n1\t10\t2151-03-01 07:00:00\tX\n"), "separated by tabs"),
    "bars": (_replace(b"subject_id|hadm_id|starttime|drug\n"), "separated by bars"),
    "no header": (_replace(b"1,10,2151-03-01 07:00:00,Secretdrug\n"), "does not look like a header"),
    "old Mac lines": (_replace(b"subject_id,hadm_id,starttime,drug\r1,10,2151-03-01 07:00:00,X\r"), "line feed"),
    "a header of a million names": (_replace(b"a," * (1 << 20) + b"\n"), "it is not a CSV file"),
    "a header of many names": (_replace(b"a," * 100_000 + b"\n"), "column 'subject_id' is missing"),
    "UTF-16": (_replace("subject_id,hadm_id,starttime,drug\n".encode("utf-16")), "not UTF-8"),
    "not Parquet": (lambda raw: (_empty_folder(raw), (raw / f"{_DRUGS}.csv" / "0.parquet").write_bytes(b"PAR1")),
                    "is not readable Parquet"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), _REFUSED.values(), ids=_REFUSED)
def test_an_optional_table_that_cannot_be_read_is_not_absent(raw, tmp_path, capsys, change, expected):
    change(raw)
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert expected in line
    assert "prescriptions" in line.lower()
    assert "Secretdrug" not in line
    assert not (tmp_path / "cohort").exists()


@pytest.mark.parametrize("name", ["SHA256SUMS.txt", "hosp/prescriptions.csv.gz.sha256", "hosp/._prescriptions.csv"])
def test_checksums_and_hidden_files_are_no_tables(raw, prepared, expected, name):
    (raw / name).write_bytes(b"whatever")
    assert _same(prepared(raw, notes__kinds="[radiology]"), expected)


# Database dumps

_NOTE = Table("t/events", {"id": Column("id", INTEGER), "text": Column("text", TEXT)}, multiline=True)
_LINE = Table("t/events", {"id": Column("id", INTEGER), "text": Column("text", TEXT)})


@pytest.fixture
def read(tmp_path, monkeypatch):
    def run(content: bytes, table: Table = _NOTE, block: int = 1 << 16):
        monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
        (tmp_path / "events.csv").write_bytes(content)
        folder = RawTables(tmp_path, "a test", workers=2)
        frame = folder.read(table)
        count = folder.ledger.tables["events.csv"]
        assert count.read == count.kept + sum(count.quarantined.values())
        return frame.select(list(table.columns)).rows(), folder.ledger.quarantine().to_pylist()

    return run


_DUMPS = [
    (b'1,"She said \\"no\\" twice"\n2,"next"\n', [(1, 'She said "no" twice'), (2, "next")]),
    (b'1,"\\"quoted\\" first"\n', [(1, '"quoted" first')]),
    (b'1,"a \\"b\\""\n2,"c"\n', [(1, 'a "b"'), (2, "c")]),
    (b'1,"one \\" alone"\n2,"two"\n3,"three"\n', [(1, 'one " alone'), (2, "two"), (3, "three")]),
    (b'1,"5\\" tube, 3\\" cuff"\n', [(1, '5" tube, 3" cuff')]),
    (b'1,"say \\"x\\" at C:\\\\"\n2,"y"\n', [(1, 'say "x" at C:\\'), (2, "y")]),
    (b'1,"say \\"x\\""\n2,\\N\n', [(1, 'say "x"'), (2, None)]),
    (b'1,\\N\n2,"plain"\n', [(1, None), (2, "plain")]),
    (b'1,"C:\\"\n2,"plain, with ""quotes"""\n', [(1, "C:\\"), (2, 'plain, with "quotes"')]),  # plain CSV
    (b'1,"a\\""b"\n2,"c"\n', [(1, 'a\\"b'), (2, "c")]),  # plain CSV
]


@pytest.mark.parametrize(("rows", "expected"), _DUMPS)
@pytest.mark.parametrize("block", [7, 16, 1 << 16])
@pytest.mark.parametrize("table", [_NOTE, _LINE], ids=["notes", "lines"])
def test_quotes_of_database_dumps(read, rows, expected, block, table):
    if table is _LINE and block < 16:
        return
    assert read(b"id,text\n" + rows, table, block) == (expected, [])


@pytest.mark.parametrize("block", [9, 1 << 16])
def test_escaped_line_breaks_of_database_dumps(read, block):
    rows = b'1,"first \\"line\\"\\\nsecond"\n2,"one\ntwo"\n'
    assert read(b"id,text\n" + rows, _NOTE, block)[0] == [(1, 'first "line"\nsecond'), (2, "one\ntwo")]


def test_one_bad_byte_spoils_no_other_row(read):
    rows = 'id,text\n1,"Übelkeit\nund Fieber"\n2,'.encode() + b"na\xefve\n" + "3,“fever”\n".encode()
    assert read(rows)[0] == [(1, "Übelkeit\nund Fieber"), (2, "naïve"), (3, "“fever”")]


def test_a_cell_longer_than_the_reader_s_own_limit(read):
    long = b"word " * 60_000
    rows, bad = read(b'id,text\n1,"' + long + b'"\nx,y\n2,z\n')
    assert [len(text) for _, text in rows] == [300_000, 1]
    assert len(bad) == 1


# Sizes


def _packed(path: Path, head: bytes, chunk: bytes, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(count):
            file.write(chunk)


def _peak(work) -> tuple[float, str]:
    """MiB that Python and numpy held at most, and the error."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as error:
            work()
        return tracemalloc.get_traced_memory()[1] / 2**20, str(error.value)
    finally:
        tracemalloc.stop()


def _smaller(monkeypatch) -> None:
    """Blocks and longest rows of a 32nd of their size, to save time."""
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1 << 19)
    monkeypatch.setattr(csv_stream, "LONGEST_ROW", 1 << 20)


@pytest.mark.parametrize("table", [_NOTE, _LINE], ids=["notes", "lines"])
@pytest.mark.parametrize(
    "chunk", [b"a", b"\0", b",", b'""', b"\\"], ids=["letters", "zeros", "commas", "quotes", "slashes"]
)
def test_a_row_without_end(tmp_path, monkeypatch, table, chunk):
    _smaller(monkeypatch)
    _packed(tmp_path / "events.csv.gz", b"id,text\n1,", chunk * (1 << 18), 64)
    folder = RawTables(tmp_path, "a test", workers=1)
    peak, said = _peak(lambda: folder.read(table))
    assert "a row is longer than 1,048,576 bytes" in said
    assert "events.csv.gz" in said
    assert peak < 10


def test_a_row_without_end_is_not_read_to_its_end(tmp_path):
    _packed(tmp_path / "events.csv.gz", b"id,text\n1,", b"a" * (1 << 24), 12)  # 200 MB
    peak, said = _peak(lambda: RawTables(tmp_path, "a test", workers=1).read(_LINE))
    assert "a row is longer than 33,554,432 bytes" in said
    assert peak < 200


@pytest.mark.parametrize("table", [_NOTE, _LINE], ids=["notes", "lines"])
def test_line_ends_without_rows(tmp_path, monkeypatch, table):
    _smaller(monkeypatch)
    _packed(tmp_path / "events.csv.gz", b"id,text\n1,x\n", b"\n" * (1 << 20), 5)
    folder = RawTables(tmp_path, "a test", workers=1)
    frame = folder.read(table)
    assert frame.rows() == [(1, "x", 2)]
    assert folder.ledger.tables["events.csv.gz"].read == 1


def test_rows_after_many_line_ends_keep_their_line_numbers(read, tmp_path):
    content = b"id,text\n1,x\n" + b"\n" * 5000 + b"two,y\n3,z\r\n" + b"\r\n" * 5000 + b"4,w"
    rows, bad = read(content, _LINE)
    assert rows == [(1, "x"), (3, "z"), (4, "w")]
    assert [row["line"] for row in bad] == [5003]


def test_an_open_quote_and_line_ends_take_time_in_proportion(tmp_path, monkeypatch):
    _smaller(monkeypatch)
    _packed(tmp_path / "events.csv.gz", b'id,text\n1,"open', b"\n" * (1 << 20), 3)
    folder = RawTables(tmp_path, "a test", workers=1)
    folder.read(_NOTE)  # minutes, when each line is looked at by itself
    count = folder.ledger.tables["events.csv.gz"]
    assert count.read == count.kept + sum(count.quarantined.values())


_EVENTS = Table(
    "t/events",
    {"item": Column("itemid", INTEGER), "time": Column("charttime", TIME, required=False),
     "value": Column("valuenum", NUMBER, required=False), "text": Column("text", TEXT, required=False)},
)  # fmt: skip


def test_a_parquet_file_of_endless_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MOST_UNPACKED", 1 << 20)
    table = pa.table({"itemid": pl.repeat(1, 2_000_000, eager=True, dtype=pl.Int64).to_arrow()})
    pq.write_table(table, tmp_path / "events.parquet", compression="zstd")
    _, said = _peak(lambda: RawTables(tmp_path, "a test").read(_EVENTS))
    assert "unpacks to more than 1,000 times its" in said
    assert "events.parquet" in said


def test_a_parquet_file_of_one_long_text_many_times(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MOST_UNPACKED", 1 << 28)
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 1_000_000]))
    table = pa.table({"itemid": pa.array(range(100_000)), "text": words.cast(pa.dictionary(pa.int32(), pa.string()))})
    pq.write_table(table, tmp_path / "events.parquet", compression="zstd")  # 100 GB of text
    _, said = _peak(lambda: RawTables(tmp_path, "a test").read(_EVENTS))
    assert "unpacks to more than 1,000 times its" in said


def test_long_texts_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "TEXT_AT_ONCE", 1000)
    texts = ["x" * 400] * 9 + ["y"]
    pl.DataFrame({"itemid": range(10), "text": texts}).write_parquet(tmp_path / "events.parquet")
    frame = RawTables(tmp_path, "a test").read(_EVENTS)
    assert frame["text"].to_list() == texts
    assert frame["line"].to_list() == list(range(2, 12))


def test_a_parquet_file_with_bytes_that_are_no_text(tmp_path):
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"itemid": [1], "text": bad}), tmp_path / "events.parquet")
    with pytest.raises(UserError, match="is not readable Parquet"):
        RawTables(tmp_path, "a test").read(_EVENTS)


def test_a_parquet_file_that_is_cut_anywhere(tmp_path):
    whole = io.BytesIO()
    pl.DataFrame({"itemid": range(500), "text": ["abc"] * 500}).write_parquet(whole)
    data = whole.getvalue()
    for end in range(0, len(data), 37):
        (tmp_path / "events.parquet").write_bytes(data[:end])
        with pytest.raises(UserError, match=r"events\.parquet"):
            RawTables(tmp_path, "a test").read(_EVENTS)


@pytest.mark.parametrize("name", ["a table twice", "zip", "a folder without parts"])
def test_verify_names_what_cannot_be_read_among_the_other_tables(raw, capsys, name):
    change = _copy(f"{_DRUGS}.csv.gz") if name == "a table twice" else _REFUSED[name][0]
    change(raw)
    assert main(["check-release", "--raw", str(raw)]) == 2
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "chartevents" in shown  # the other tables are reported, too
    assert "fix this first" in shown
    [report] = [table for table in check_release(raw).tables if table.table == "prescriptions"]
    assert len(report.problems) == 1
