"""Looking for pieces of text first never loses a match."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.knowledge.graph import build
from clinragen.verification import masked
from clinragen.verification.figures import FORMS
from clinragen.verification.needed import may_match
from clinragen.verification.reader import SeriesReader

PATTERNS = [
    re.compile(pattern, flags)
    for flags in (re.ASCII, re.ASCII | re.I)
    for pattern in (
        r"(?:within|over)? ?(?:the )?(?:first|final|fifth) \d{1,3} ?(?:h|hours?)",
        r"(?:up|down) to (?:about )?[0-9]+|doubled",
        r"(?:no|two|\d+)-?fold",
        r"x{2,4}(?:y|)z*",
        r"[<>]? ?(?P<a>\d+)(?: to (?P<b>\d+))+",
        r"(?=a)[abc]|(?!b)[bcd]e",
    )
]


@given(st.data())
def test_every_match_may_match(data):
    pattern = data.draw(st.sampled_from(PATTERNS))
    text = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=127)))
    assert may_match(pattern, text.lower())


def test_a_text_without_the_words_is_not_searched():
    assert not may_match(PATTERNS[0], "over the last 24 hours")
    assert not may_match(PATTERNS[0], "over the first day")
    assert not may_match(PATTERNS[1], "went up by 24")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_examples_are_read_as_without_looking_first(form, monkeypatch):
    reader = SeriesReader(build())
    read = [reader.read(text) for text in form.examples]
    assert any(read)
    monkeypatch.setattr(masked, "may_match", lambda pattern, lowered: True)
    assert [reader.read(text) for text in form.examples] == read
