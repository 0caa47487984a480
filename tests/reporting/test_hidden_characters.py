"""Invisible characters are shown as marks in the report: nothing in a note can hide, reorder or cut text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hospital import make_cohort, make_predictions

from clinragen.cli import dispatch
from clinragen.reporting.visible import HIDDEN, marked_up, visible

CASES = {
    "NUL": ("a\x00b", "a⟦U+0000⟧b"),
    "bell": ("a\x07b", "a⟦U+0007⟧b"),
    "escape sequence": ("\x1b[31mred", "⟦U+001B⟧[31mred"),
    "backspace": ("no\x08\x08 shock", "no⟦U+0008⟧⟦U+0008⟧ shock"),
    "delete": ("\x7f", "⟦U+007F⟧"),
    "C1 control": ("a\x85b\x9b", "a⟦U+0085⟧b⟦U+009B⟧"),
    "right-to-left override": ("no \u202eskcohs\u202c", "no ⟦U+202E⟧skcohs⟦U+202C⟧"),
    "left-to-right mark": ("a\u200eb\u200f", "a⟦U+200E⟧b⟦U+200F⟧"),
    "isolates": ("\u2066x\u2069", "⟦U+2066⟧x⟦U+2069⟧"),
    "Arabic letter mark": ("\u061c", "⟦U+061C⟧"),
    "zero-width space": ("sep\u200bsis", "sep⟦U+200B⟧sis"),
    "zero-width joiners": ("a\u200cb\u200d", "a⟦U+200C⟧b⟦U+200D⟧"),
    "word joiner": ("a\u2060b", "a⟦U+2060⟧b"),
    "byte order mark": ("\ufeffFever", "⟦U+FEFF⟧Fever"),
    "soft hyphen": ("pneu\u00admonia", "pneu⟦U+00AD⟧monia"),
    "line separator": ("a\u2028b\u2029", "a⟦U+2028⟧b⟦U+2029⟧"),
    "tag letters": ("x\U000e0041\U000e007f", "x⟦U+E0041⟧⟦U+E007F⟧"),
    "variation selectors": ("x\U000e0100", "x⟦U+E0100⟧"),
    "Hangul filler": ("\u3164\u115f", "⟦U+3164⟧⟦U+115F⟧"),
    "half a surrogate pair": ("a\ud800b", "a⟦U+D800⟧b"),
    "no character": ("\uffff\ufffe", "⟦U+FFFF⟧⟦U+FFFE⟧"),
    "interlinear annotation": ("\ufff9a\ufffb", "⟦U+FFF9⟧a⟦U+FFFB⟧"),
    "form feed and vertical tab": ("a\x0c\x0bb", "a⟦U+000C⟧⟦U+000B⟧b"),
    "stacked accents": ("e" + "\u0301" * 40, "e\u0301\u0301\u0301\u0301⟦36 marks⟧"),
    "lines, tabs and accents stay": (
        "a\n\tb\r\n \u00e9 e\u0301 \u2265 \u00b5",
        "a\n\tb\r\n \u00e9 e\u0301 \u2265 \u00b5",
    ),
    "letters from right to left stay": ("\u05d0\u05d1", "\u05d0\u05d1"),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_not_seen_is_shown(case):
    text, shown = CASES[case]
    assert visible(text) == shown
    assert visible(shown) == shown


def test_marks_are_muted_and_nothing_else_is_markup():
    assert str(marked_up("<b>\u202ex</b>")) == "&lt;b&gt;<span class=unseen>⟦U+202E⟧</span>x&lt;/b&gt;"
    assert str(marked_up("\"plain\" & 'simple'")) == "\"plain\" &amp; 'simple'"


@given(st.text())
def test_no_text_keeps_what_is_not_seen_and_each_can_be_written(text):
    shown = visible(text)
    assert not HIDDEN.search(shown)
    shown.encode("utf-8")
    assert str(marked_up(text)).count("<span class=unseen>") == len(HIDDEN.findall(text))


def test_no_page_holds_a_character_that_is_not_seen(tmp_path):
    cohort = make_cohort(tmp_path / "cohort", stays=6)
    evil = "".join(text for text, _ in CASES.values() if "\ud800" not in text)
    path = cohort / "notes.parquet"
    rows, schema = pq.read_table(path).to_pylist(), pq.read_schema(path)
    for row in rows:
        row["text"] += evil
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    predictions = make_predictions(tmp_path / "predictions", cohort)
    path = predictions / "predictions.parquet"
    rows, schema = pq.read_table(path).to_pylist(), pq.read_schema(path)
    for row in rows:
        row["note_rationale"] += f" Fever {evil} cough\u200b points to shock\u202e."
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    given = ["report", "--predictions", predictions, "--cohort", cohort, "--out", tmp_path / "site"]
    dispatch(list(map(str, given)))
    for page in (path for path in (tmp_path / "site").rglob("*") if path.is_file()):
        text = page.read_text(encoding="utf-8")
        assert not HIDDEN.search(text)
        if page.parent.name == "stays":
            assert "<span class=unseen>⟦U+202E⟧</span>" in text
            assert 'title="<' not in text
    assert r"\u27e6U+" in (tmp_path / "site" / "shared" / "rows.js").read_text(encoding="utf-8")
