"""Outlines of questions: what is named becomes a place, and only queries about what is named can be written."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole_graph import GRAPH, LINKER

from clinragen.questions.outline import END, Outline, Outliner, Subject
from clinragen.questions.query import FORMS, HEADS, Query
from clinragen.questions.templates import Names, Templates

OUTLINER = Outliner(GRAPH, LINKER)
NAMES = Names.of(GRAPH)
PARTS = {part: Templates.shipped(part) for part in ("train", "test")}


@pytest.mark.parametrize(
    ("question", "text", "query", "outline"),
    [
        ("What was the highest BUN between hours 6 and 18?", "what was the highest X between hours A and B",
         "highest bun 6-18", "highest X A-B"),
        ("Glasgow coma scale total on the second day", "X on the A day", "mean gcs_total 24-48", "mean X day:A"),
        ("heart rate in the last 6 hours?", "X in the last A hours", "trend heart_rate last:6", "trend X last:A"),
        ("Was HR higher in hours 1-7 than in hours 7-13?", "was X higher in hours A - B than in hours C - D",
         "compare heart_rate 1-7 7-13", "compare X A-B C-D"),
        ("Was the lactate high?", "was the X high", "range above lactate", "range above X"),
        ("WBC in the first 12 hrs", "X in the first A hrs", "mean wbc 0-12", "mean X 0-A"),
        ("K at hr 13", "X at hr A", "value at 13 potassium", "value at A X"),
        ("HR 24-36 h", "X A - B h", "highest heart_rate 24-36", "highest X A-B"),
        ("lactate over the past twenty-four hours", "X over the past A hours", "trend lactate last:24",
         "trend X last:A"),
        ("INR at hour ten", "X at hour A", "value at 10 inr", "value at A X"),
        ("Sodium on the third ICU day", "X on the A icu day", "mean sodium 48-72", "mean X day:A"),
        ("lactate @ h13", "X @ h A", "value at 13 lactate", "value at A X"),
        ("Does he have chest pain?", "does he have X", "note symptom:chest_pain", "note X"),
        ("Why congestive heart failure?", "why X", "why congestive_heart_failure", "why X"),
        ("Any mention of high lactate", "any mention of high X", "note finding:lactate:high", "note X"),
    ],
)  # fmt: skip
def test_a_question_and_its_query_in_outline(question, text, query, outline):
    made = OUTLINER.of(question)
    assert made.text == text
    assert " ".join(next(made.outlines(Query.parse(query)))) == outline
    assert made.fill(outline.split()) == Query.parse(query)


@given(st.sampled_from(HEADS), st.sampled_from(sorted(PARTS)), st.integers(0, 10**6))
def test_every_question_can_be_read_as_what_it_was_made_from(head, part, seed):
    draw = Random(seed)
    start = draw.randrange(1, 40)
    window = draw.choice(("", f"{start}-{start + 5}", f"0-{start}", f"{start}-", f"last:{start}", "24-48"))
    hour = f"{draw.randrange(48)}" if head == "value at" else ""
    subject = draw.choice(("lactate", "gcs_total", "pao2_fio2", "troponin_t", "wbc"))
    if head in ("note", "why"):
        subject = {"note": "symptom:chest_pain", "why": draw.choice(sorted(GRAPH.labels))}[head]
        window = ""
    if head == "compare":
        window = f"{start}-{start + 5} {start + 5}-{start + 10}"
    query = Query.parse(f"{head} {hour} {subject} {'' if hour else window}")
    outline = OUTLINER.of(PARTS[part].word(query, NAMES, draw).text)
    ways = list(outline.outlines(query))
    assert ways
    for words in ways:
        assert outline.fill(words) == query
        assert all(word in outline.following(words[:position]) for position, word in enumerate(words))
        assert END in outline.following(words)


def walk(outline: Outline, words: tuple[str, ...] = ()):
    for word in outline.following(words):
        if word == END:
            yield words
        else:
            yield from walk(outline, (*words, word))


@pytest.mark.parametrize(
    "question",
    ["lactate and heart rate at hours 3 and 12?", "Why shock on day 2?", "high lactate in the last 6 hours"],
)
def test_whatever_the_grammar_allows_is_a_query_about_what_is_named(question):
    outline = OUTLINER.of(question)
    queries = [outline.fill(words) for words in walk(outline)]
    assert len(queries) > 5 or question.startswith("Why")
    for query in queries:
        assert query.subject in {name for subject in outline.subjects.values() for name in subject}
    kinds = {query.kind for query in queries}
    assert ("note" in kinds) == any(subject.concept for subject in outline.subjects.values())
    assert ("mean" in kinds) == any(subject.variable for subject in outline.subjects.values())


def test_a_question_that_names_nothing_has_no_query():
    assert OUTLINER.of("How is the patient?").subjects == {}
    assert list(walk(OUTLINER.of("How is the patient?"))) == []
    assert list(OUTLINER.of("How is the lactate?").outlines(Query.parse("highest sodium"))) == []


def test_the_grammar_offers_no_hour_where_the_question_has_none():
    outline = Outline("the X", {"X": Subject("lactate")}, {}, {})
    assert outline.following(("value",)) == ("first", "last")
    assert outline.following(("highest", "X")) == (END,)


@given(st.text(max_size=120))
def test_any_text_has_an_outline(text):
    outline = OUTLINER.of(text)
    assert set(outline.subjects) <= set("XYZ")
    for words in list(walk(outline))[:20]:
        outline.fill(words)


@pytest.mark.parametrize(
    ("last", "question", "text", "query"),
    [
        ("highest bun 6-18", "and the lowest?", "HIGHEST Z E-F >> and the lowest", "lowest bun 6-18"),
        ("highest bun 0-18", "what about lactate?", "HIGHEST Z 0-E >> what about X", "highest lactate 0-18"),
        ("mean bun", "same for the first 6 hours", "MEAN Z >> same for the first A hours", "mean bun 0-6"),
        ("mean bun 0-6", "vs the last 12 h", "MEAN Z 0-E >> vs the last A h", "compare bun 0-6 last:12"),
        ("lowest bun 6-18", "and before that?", "LOWEST Z E-F >> and before that", "lowest bun 0-6"),
        ("lowest bun 6-18", "and the 4 hours before?", "LOWEST Z E-F >> and the A hours before", "lowest bun 2-6"),
        ("lowest bun 6-18", "and the next 5 hours?", "LOWEST Z E-F >> and the next A hours", "lowest bun 18-23"),
        ("value at 0 bun", "and lactate?", "VALUE AT E Z >> and X", "value at 0 lactate"),
        ("compare bun 0-6 6-12", "and lactate?", "COMPARE Z 0-E E-F >> and X", "compare lactate 0-6 6-12"),
        ("highest bun last:6", "lactate?", "HIGHEST Z LAST:E >> X", "highest lactate last:6"),
        ("highest potassium", "in the note?", "HIGHEST Z >> in the note", "note finding:potassium:high"),
        ("range below potassium", "in the note?", "RANGE BELOW Z >> in the note", "note finding:potassium:low"),
        ("note finding:potassium:high", "how high?", "NOTE Z >> how high", "highest potassium"),
        ("why shock", "is it in the note?", "WHY Z >> is it in the note", "note phenotype:shock"),
    ],
)
def test_a_question_after_another_has_places_for_what_either_names(last, question, text, query):
    outline = OUTLINER.of(question, Query.parse(last))
    assert outline.text == text
    words = next(outline.outlines(Query.parse(query)))
    assert outline.fill(words) == Query.parse(query)
    assert all(word in outline.following(words[:number]) for number, word in enumerate(words))
    assert END in outline.following(words)


def test_every_query_can_come_before_a_question_and_be_asked_again_of_other_hours():
    subjects = {"variable": "lactate", "concept": "symptom:chest_pain", "label": "shock"}
    for head in HEADS:
        form = FORMS[head.split()[0]]
        for window in ("", "0-24", "24-", "last:6", "6-12"):
            hours = "12" if head == "value at" else ""
            windows = {0: "", 1: window, 2: f"{window or '0-'} 12-24"}[form.windows if not hours else 0]
            last = Query.parse(f"{head} {hours} {subjects[form.subject]} {windows}")
            outline = OUTLINER.of("and the same again?", last)
            assert outline.fill(next(outline.outlines(last))) == last
            assert not set(outline.text.partition(" >> ")[0].split()) & set("XYABCD")


def test_a_question_alone_is_read_as_before():
    for question in ("What was the highest lactate between hours 6 and 18?", "Does the note mention chest pain?"):
        outline = OUTLINER.of(question)
        assert outline == OUTLINER.of(question, None)
        assert ">>" not in outline.text
        assert "before" not in outline.windows
