import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.reporting.forms.guard import guarded, unguarded

#: text that is full of what a spreadsheet might calculate, and of what hides it
HOSTILE = st.text(
    st.sampled_from("=+-@＝＋－＠;\t\r\n\0 '\"\u200b\u202e\xa0,|%x1") | st.characters(codec="utf-8"), max_size=30
)
TRIGGERS = set("=+-@\t\r\n\0＝＋－＠")
#: what may stand before a sign without making it harmless
_LEADING = re.compile('[\\s"\u200b\u202e\xa0]*')


def begins_formula(cell: str) -> bool:
    behind = _LEADING.sub("", cell, count=1)
    return cell[:1] in TRIGGERS or behind[:1] in TRIGGERS


@settings(max_examples=200)
@given(HOSTILE)
def test_no_cell_begins_a_formula_and_the_text_comes_back(text):
    cell = guarded(text)
    assert not cell or not begins_formula(cell)
    assert unguarded(cell) == text


@settings(max_examples=200)
@given(HOSTILE)
def test_a_program_with_other_separators_gets_no_formula_either(text):
    assert not any(begins_formula(part) for part in re.split("[;\t\r\n]", guarded(text)) if part)


@settings(max_examples=100)
@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_a_row_comes_back_through_a_csv_reader(texts):
    lines = io.StringIO(newline="")
    csv.writer(lines, quoting=csv.QUOTE_STRINGS).writerow([*map(guarded, texts), -0.25, None])
    [row] = csv.reader(io.StringIO(lines.getvalue(), newline=""))
    assert [unguarded(cell) for cell in row[:-2]] == texts
    assert row[-2:] == ["-0.25", ""]


@pytest.mark.parametrize("text", ["plain words", "hyper-tension", "3 + 4", "a=b", "pH 7.2; rising"])
def test_what_is_no_formula_stays_as_it_is(text):
    assert guarded(text) == text


@pytest.mark.parametrize("letter", ["\n", " ", ";", "'", "=", "\u200b", " \n"])
def test_long_runs_take_no_longer_than_their_length(letter):
    text = letter * 50_000  # as long as a rationale may be; a second for each letter and pair would be minutes
    assert unguarded(guarded(text)) == text
