"""Damaged CSV: only bad rows are dropped, each with line and reason, and no good row is lost."""

from __future__ import annotations

import pytest

from clinragen.errors import UserError
from mimic_prep import csv_rows, csv_stream
from mimic_prep.accounting import RowFilter
from mimic_prep.ingest import RawTables
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, Column, Table

_TABLE = Table(
    "t/events",
    {
        "item": Column("itemid", INTEGER),
        "time": Column("charttime", TIME),
        "value": Column("valuenum", NUMBER),
        "unit": Column("valueuom", TEXT, required=False),
    },
)
_NOTE = Table("t/events", {"id": Column("id", INTEGER), "text": Column("text", TEXT)}, multiline=True)
_HEADER = b"itemid,charttime,valuenum,valueuom\n"
_GOOD = b"220045,2150-01-01 00:00:00,80,bpm\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Rows kept, and (line, reason) of those quarantined."""

    def run(content: bytes, table: Table = _TABLE, block: int = 1 << 16):
        monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
        (tmp_path / "events.csv").write_bytes(content)
        raw = RawTables(tmp_path, "a test", workers=2)
        frame = raw.read(table)
        count = raw.ledger.tables["events.csv"]
        assert count.read == count.kept + sum(count.quarantined.values())
        return frame, [row[1:] for row in zip(*raw.ledger.quarantine().to_pydict().values(), strict=True)]

    return run


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"220045,2150-01-01 00:00:00,80", "expected 4 fields, found 3"),
        (b"220045,2150-01-01 00:00:00,80,bpm,extra", "expected 4 fields, found 5"),
        (b"heart,2150-01-01 00:00:00,80,bpm", "itemid is not a whole number"),
        (b"220045.5,2150-01-01 00:00:00,80,bpm", "itemid is not a whole number"),
        (b"220045,2150-13-01 00:00:00,80,bpm", "charttime is not a time (expected YYYY-MM-DD HH:MM:SS)"),
        (b"220045,2150-02-30 00:00:00,80,bpm", "charttime is not a time (expected YYYY-MM-DD HH:MM:SS)"),
        (b"220045,yesterday,80,bpm", "charttime is not a time (expected YYYY-MM-DD HH:MM:SS)"),
        (b"220045,2150-01-01 00:00:00,eighty,bpm", "valuenum is not a number"),
        (b'220045,2150-01-01 00:00:00,80,"bpm', "unbalanced quotes"),
        (b"220045,2150-01-01 00:00:00,8\x000,bpm", "holds a NUL byte"),
    ],
)
@pytest.mark.parametrize("block", [40, 1 << 16])
def test_a_bad_row_goes_alone(read, row, reason, block):
    frame, bad = read(_HEADER + 3 * _GOOD + row + b"\n" + 3 * _GOOD, block=block)
    assert frame.height == 6
    assert bad == [(5, reason)]
    assert frame["line"].to_list() == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + _HEADER + _GOOD,  # byte order mark
        (_HEADER + _GOOD).replace(b"\n", b"\r\n"),
        _HEADER + _GOOD.rstrip(b"\n"),  # no newline at the end
        _HEADER + _GOOD + b"\n\n",  # blank lines
        _HEADER.upper() + _GOOD,
        b"more," + _HEADER + b"," + _GOOD,  # an extra column
        b'"itemid","charttime","valuenum","valueuom"\n"220045","2150-01-01 00:00:00","80","bpm"\n',
        _HEADER + b"220045.0,2150-01-01 00:00:00.000,80.0,bpm\n",  # went through a spreadsheet
        _HEADER + b"220045,2150-01-01T00:00:00,80,bpm\n",
        _HEADER + b"220045,2150-01-01 00:00,80,bpm\n",
        b"valueuom,valuenum,charttime,itemid\nbpm,80,2150-01-01 00:00:00,220045\n",
    ],
)
def test_harmless_differences(read, content):
    frame, bad = read(content)
    assert bad == []
    assert [str(cell) for cell in frame.row(0)] == ["220045", "2150-01-01 00:00:00", "80.0", "bpm", "2"]


def test_an_absent_optional_column_is_null(read):
    frame, bad = read(b"itemid,charttime,valuenum\n220045,2150-01-01,80\n")
    assert bad == []
    assert frame["unit"].to_list() == [None]


def test_empty_cells_are_null(read):
    frame, _ = read(_HEADER + b",,,\n" + _GOOD)
    assert frame.row(0)[:4] == (None, None, None, None)


def test_bytes_of_an_old_encoding(read):
    frame, bad = read(_HEADER + b"220045,2150-01-01 00:00:00,80,\xb0F\n")
    assert bad == []
    assert frame["unit"].to_list() == ["°F"]


@pytest.mark.parametrize("block", [16, 50, 1 << 16])
def test_line_breaks_inside_quotes(read, block):
    frame, bad = read(b'id,text\n1,"two\nlines, ""quoted"""\n2,one\n3,"a\n\nb"\n4,end\n', _NOTE, block=block)
    assert bad == []
    assert frame.rows() == [(1, 'two\nlines, "quoted"', 2), (2, "one", 4), (3, "a\n\nb", 5), (4, "end", 8)]


@pytest.mark.parametrize("block", [16, 1 << 16])
def test_a_bad_note_goes_alone(read, block):
    frame, bad = read(b'id,text\n1,"two\nlines"\nx,"bad\nid"\n3,good\n', _NOTE, block=block)
    assert bad == [(4, "id is not a whole number")]
    assert frame["id"].to_list() == [1, 3]


def test_blocks_do_not_matter(read):
    content = _HEADER + b"".join(b"%d,2150-01-01 00:00:00,%d,bpm\n" % (item, item % 7) for item in range(500))
    whole, _ = read(content)
    for block in (33, 100, 4096):
        assert read(content, block=block)[0].equals(whole)


def test_a_sieve_counts_what_leaves():
    import polars as pl

    row_filter = RowFilter(pl.DataFrame({"a": [1, None, 3, 4], "line": [2, 3, 4, 5]}))
    row_filter.reject_missing("a")
    row_filter.skip(pl.col("a") > 3, "large")
    assert row_filter.frame["a"].to_list() == [1, 3]
    assert row_filter.out_of_scope == {"large": 1}
    assert [(reason, list(lines)) for reason, lines in row_filter.quarantined] == [("no a", [3])]


def test_a_header_without_the_column(read):
    with pytest.raises(UserError, match="column 'valuenum' is missing"):
        read(b"itemid,charttime\n1,2\n")


def test_bad_rows_here_and_there_leave_the_fast_way_to_the_others(read, monkeypatch):
    good, bad = b"%d,2150-01-01 00:00:00,80,bpm\n", b"%d,yesterday,80,bpm\n"
    lines = [(bad if number % 997 == 5 else good) % number for number in range(20_000)]
    slow: list[int] = []
    parse_slow = csv_rows._parse_slow
    monkeypatch.setattr(
        csv_rows, "_parse_slow", lambda block, *rest: slow.append(len(block)) or parse_slow(block, *rest)
    )
    monkeypatch.setattr(csv_rows, "_SMALL", 1 << 12)
    frame, found = read(_HEADER + b"".join(lines), block=1 << 20)
    wrong = [number for number in range(20_000) if number % 997 == 5]
    assert [line for line, _ in found] == [number + 2 for number in wrong]
    assert frame["item"].to_list() == [number for number in range(20_000) if number % 997 != 5]
    assert frame["line"].to_list() == [number + 2 for number in range(20_000) if number % 997 != 5]
    assert sum(slow) < len(b"".join(lines)) / 4


@pytest.mark.parametrize("held", [0, 1, 3], ids="{} blocks in use".format)
@pytest.mark.parametrize("block", [7, 64, 1 << 10])
def test_memory_that_is_used_again_changes_no_row(tmp_path, monkeypatch, block, held):
    """Blocks that the parsers have done with are filled again, whatever is left in them, but not while in use."""
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    lines = [
        b"itemid,charttime,valuenum,valueuom",
        *(b"%d,2150-01-01 00:00:00,%d,bpm" % (n, n * n) for n in range(300)),
    ]
    (tmp_path / "events.csv").write_bytes(b"\n".join(lines) + b"\n")
    spent, waiting, rows = [], [], []
    for _, part in csv_stream.read_blocks(tmp_path / "events.csv", _TABLE, lambda _: None, spent):
        rows.append(bytes(part))
        waiting.append((part, memoryview(part)))
        if len(waiting) > held:
            done, view = waiting.pop(0)
            spent.append(done)
            if not held:  # otherwise somebody still looks at it
                view.release()
                done[:] = b"?" * len(done)
    assert b"".join(rows).splitlines() == lines[1:]
    assert all(bytes(view).count(b"?") == 0 for _, view in waiting if held)


@pytest.mark.parametrize("block", [40, 1 << 16])
def test_the_first_rows_of_a_table_in_parts_are_read_without_being_counted(tmp_path, monkeypatch, block):
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    (tmp_path / "events").mkdir()
    for part in range(3):
        rows = [b"%d,2150-01-01 00:00:00,%d,bpm\n" % (part, row) for row in range(4)]
        (tmp_path / "events" / f"{part}.csv").write_bytes(_HEADER + b"".join(rows))
    raw = RawTables(tmp_path, "a test")
    expected = [(part, float(row)) for part in range(3) for row in range(4)]
    for number in (1, 4, 6, 12, 100):
        assert raw.first_rows(_TABLE, number).select("item", "value").rows() == expected[:number]
    assert not raw.ledger.tables
    absent = Table("t/other", _TABLE.columns, required=False)
    assert raw.first_rows(absent, 5).is_empty()
    assert "time" in raw.first_rows(absent, 5).columns
