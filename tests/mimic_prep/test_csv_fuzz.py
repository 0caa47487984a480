"""Any bytes as a CSV file: no traceback, every row accounted for, alike in blocks of any size, in linear time."""

from __future__ import annotations

import gzip
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep import csv_stream
from mimic_prep.ingest import RawTables
from mimic_prep.tables import INTEGER, NUMBER, TEXT, TIME, WORD, Column, Only, Table

_COLUMNS = {
    "item": Column("itemid", INTEGER),
    "time": Column("charttime", TIME),
    "value": Column("valuenum", NUMBER),
    "unit": Column("valueuom", WORD, required=False),
    "text": Column("text", TEXT, required=False),
}
_LINES = Table("t/events", _COLUMNS, required=False)
_NOTES = Table("t/events", _COLUMNS, required=False, multiline=True)
_HEADER = b"itemid,charttime,valuenum,valueuom,text\n"
#: What cells and their surroundings are made of: sound ones, and all that parsers trip over.
_PIECES = st.sampled_from(
    [b"220045", b"2150-01-01 00:00:00", b"80", b"bpm", b"a note", b",", b",", b",", b"\n", b"\n", b"\r\n", b"\r", b'"',
     b'""', b'\\"', b"\\", b"\\N", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3\xbc", b" ", b"\t", b";", b"NaN", b"-0",
     b"1e999", b"'", b"\x1a", b"\x0b", b"\x85", b"\xe2\x80\xa8", b"9" * 30, b"2150-13-01", b"0x1F", b"inf", b"\n\n\n"]
)  # fmt: skip
_BODIES = st.one_of(st.lists(_PIECES, max_size=60).map(b"".join), st.binary(max_size=300))


def _read(content: bytes, table: Table, block: int = 1 << 16, only: Only | None = None, packed: bool = False):
    """Rows kept, the account, and the quarantine; None where the file is refused in one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / ("events.csv.gz" if packed else "events.csv")
        path.write_bytes(gzip.compress(content) if packed else content)
        raw = RawTables(folder, "a test", workers=1)
        size, csv_stream.BLOCK_BYTES = csv_stream.BLOCK_BYTES, block
        try:
            frames = list(raw.stream(table, lambda row_filter: row_filter.reject_missing("item"), only))
        except UserError:
            return None
        finally:
            csv_stream.BLOCK_BYTES = size
        count = raw.ledger.tables[path.name]
        assert count.read == count.kept + sum(count.out_of_scope.values()) + sum(count.quarantined.values())
        assert count.kept == sum(frame.height for frame in frames)
        rows = pl.concat(frames).rows() if frames else []
        return rows, count.as_json(), sorted(map(str, raw.ledger.quarantine().to_pylist()))


_QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_QUICK
@given(body=_BODIES, table=st.sampled_from([_LINES, _NOTES]), packed=st.booleans())
@example(body=b"1,2150-01-01,1,x,y\r\r\n" * 40, table=_LINES, packed=False)
@example(body=b'1,2150-01-01,1,x,"' + b"\\" * 33, table=_NOTES, packed=False)
def test_any_body_is_accounted_for(body, table, packed):
    assert _read(_HEADER + body, table, packed=packed) is not None


@_QUICK
@given(content=_BODIES)
def test_any_file_is_read_or_refused_in_one_line(content):
    _read(content, _LINES)
    _read(content, _NOTES)


@_QUICK
@given(body=_BODIES, block=st.integers(1, 64))
@example(body=b"\n\xef\xbb\xbf\n", block=1)  # a mark of byte order that begins a block
def test_blocks_leave_no_trace_in_tables_of_lines(body, block):
    """Escaped quotes aside: which way a file writes its quotes is told by its first blocks."""
    body = body.replace(b"\\", b"/")
    assert _read(_HEADER + body, _LINES, block) == _read(_HEADER + body, _LINES)


_SOUND = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.datetimes().filter(lambda moment: moment.year >= 1900).map(lambda moment: moment.replace(microsecond=0)),
        st.floats(-1e6, 1e6).map(lambda value: round(value, 3)),
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=20),
    ),
    max_size=12,
)


@_QUICK
@given(rows=_SOUND, block=st.integers(8, 200), escaped=st.booleans())
def test_sound_rows_come_back_whatever_their_text(rows, block, escaped):
    """``escaped``: quotes as database dumps write them. A text made of nothing is null."""

    def quoted(text: str) -> str:
        if not escaped:
            return text.replace('"', '""')
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\\n")

    lines = [f'{item},{time},{value!r},u,"{quoted(text)}"\n' for item, time, value, text in rows]
    content = _HEADER + (b'7,2150-01-01 00:00:00,1,u,"a \\"mark\\" here"\n' if escaped else b"")
    read = _read(content + "".join(lines).encode(), _NOTES, block)
    assert read is not None
    kept, count, bad = read
    assert bad == []
    assert count["read"] == len(rows) + escaped
    nothing = {"", " ", "NULL", "null", "NA", "N/A", "NaN", "nan", "\\N"}
    expected = [(item, time, value, "u", None if text in nothing else text) for item, time, value, text in rows]
    assert [row[:5] for row in kept[int(escaped) :]] == expected


@pytest.mark.parametrize(
    "piece",
    [b"\n", b'"\n', b",", b'"', b'\\"x\n', b"a,b\n", b"\r\n", b'""\n', b"\0\n", b"x\xff\n"],
    ids=["lines", "open quotes", "commas", "quotes", "escapes", "short rows", "returns", "empty", "zeros", "bytes"],
)
@pytest.mark.parametrize("table", [_LINES, _NOTES], ids=["lines", "notes"])
def test_time_is_in_proportion_to_size(piece, table):
    def seconds(size: int) -> float:
        content = _HEADER + piece * (size // len(piece))
        start = time.process_time()
        _read(content, table, block=1 << 16)
        return time.process_time() - start

    small, large = seconds(1 << 16), seconds(1 << 18)
    assert large < 12 * max(small, 0.02)  # four times the size; sixteen would be quadratic
