"""Queries in their grammar: what is written is read back, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.catalog import shipped_variables
from clinragen.errors import UserError
from clinragen.questions.query import FORMS, KINDS, LONGEST, Query, Window

HOURS = st.floats(0, 2000, allow_nan=False)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, width = draw(HOURS), draw(st.floats(0.02, 500))
    return draw(st.sampled_from((Window(), Window(start, start + width), Window(start), Window(-width))))


@st.composite
def queries(draw: st.DrawFn) -> Query:
    kind = draw(st.sampled_from(KINDS))
    form = FORMS[kind]
    subjects = {
        "variable": tuple(shipped_variables()),
        "concept": ("symptom:chest_pain", "finding:lactate:high", "phenotype:shock"),
        "label": ("septicemia", "shock"),
    }
    which = draw(st.sampled_from(form.which)) if form.which else None
    return Query(
        kind,
        draw(st.sampled_from(subjects[form.subject])),
        which,
        draw(HOURS) if which == "at" else None,
        draw(windows()) if form.windows else Window(),
        draw(windows()) if form.windows == 2 else None,
    )


@given(queries())
def test_what_is_written_is_read_back(query):
    text = query.text()
    assert Query.parse(text) == query
    assert Query.parse(text).text() == text
    assert "\n" not in text


WORDS = ("value", "at", "12", "lactate", "0-24", "last:6", "note", "24-0")


@given(st.one_of(st.text(), st.lists(st.sampled_from(WORDS))))
def test_any_text_is_a_query_or_one_line_of_advice(text):
    line = text if isinstance(text, str) else " ".join(text)
    try:
        query = Query.parse(line)
    except UserError as error:
        advice = str(error)
    else:
        advice = query.text()
        assert Query.parse(advice) == query
    assert advice


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_an_example_that_is_read(kind):
    assert Query.parse(FORMS[kind].example).text() == FORMS[kind].example


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "kind of question"),
        ("hihgest heart_rate", "did you mean 'highest'"),
        ("highest hart_rate", "did you mean 'heart_rate'"),
        ("highest", "highest heart_rate 0-24"),
        ("highest heart_rate 24", "0-24"),
        ("highest heart_rate 24-12", "ends after it starts"),
        ("highest heart_rate last:0", "not empty"),
        ("highest heart_rate 0-24 24-48", "highest heart_rate 0-24"),
        ("highest last heart_rate", "no window"),
        ("value heart_rate", "first, last, at"),
        ("value at heart_rate", "needs an hour"),
        ("value first 12 heart_rate", "no window"),
        ("compare heart_rate 0-12", "compare heart_rate 0-12 12-24"),
        ("range heart_rate", "above, below"),
        ("note chest_pain", "kind:name"),
        ("note symptom:chest_pain 0-24", "note symptom:chest_pain"),
        ("why finding:lactate:high", "one word"),
        (f"count lactate {LONGEST + 1}-", "between 0 and"),
    ],
)
def test_a_wrong_query_is_refused_with_what_to_write(text, advice):
    with pytest.raises(UserError) as error:
        Query.parse(text)
    assert advice in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "mean", "subject": "lactate", "which": "first"},
        {"kind": "value", "subject": "lactate", "which": "at"},
        {"kind": "value", "subject": "lactate", "which": "last", "hour": 3.0},
        {"kind": "value", "subject": "lactate", "which": "at", "hour": -3.0},
        {"kind": "mean", "subject": "lactate", "other": Window(0, 12)},
        {"kind": "compare", "subject": "lactate", "window": Window(0, 12)},
        {"kind": "why", "subject": "shock", "window": Window(0, 12)},
        {"kind": "guess", "subject": "shock"},
    ],
)
def test_a_query_with_a_part_too_many_or_too_few_cannot_be_made(fields):
    with pytest.raises(UserError):
        Query(**fields)


def test_hours_are_those_that_are_written():
    assert Window(1 / 3, 2 / 3) == Window(0.33, 0.67)
    with pytest.raises(UserError):
        Window(0, float("nan"))
