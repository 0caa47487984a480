"""How `benchmarks/question_readers.py` counts what readers of questions make of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from whole_graph import GRAPH, LINKER

from clinragen.questions.outline import Outliner
from clinragen.questions.query import Query


@pytest.fixture(scope="module")
def readers():
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        import question_readers

        yield question_readers
    finally:
        sys.path.pop(0)


def row(query: str, template: str = "mean/test/0", split: str = "test", question: str = "The mean lactate?") -> dict:
    kind = query.split()[0]
    return {"query": query, "template": template, "split": split, "question": question, "kind": kind}


def test_exact_matches_are_counted_by_the_hand_that_worded_the_question(readers):
    rows = [row("mean lactate"), row("mean lactate 0-24"), row("mean lactate", "mean/other/1"), row("count lactate")]
    read = [Query.parse("mean lactate"), Query.parse("mean lactate"), None, Query.parse("count lactate")]
    assert readers.shares(rows, read) == ["0.500", "0.667", "0.000", "0.750"]
    assert readers.shares(rows[:1], read[:1]) == ["1.000", "1.000", "-", "1.000"]


def test_what_two_readers_agree_on_is_told_apart_from_the_rest(readers):
    rows = [row("mean lactate"), row("mean lactate"), row("count lactate"), row("count lactate")]
    student = [Query.parse("mean lactate"), Query.parse("mean lactate"), Query.parse("mean lactate"), None]
    rules = [Query.parse("mean lactate"), Query.parse("count lactate"), Query.parse("mean lactate"), None]
    told = readers.agreement(rows, student, rules)
    assert told == "exact where student and rules agree: 0.500 of 2; the student's elsewhere: 0.500 of 2"


def test_a_general_language_model_is_shown_training_questions_of_different_kinds_alone(readers):
    rows = [
        row("mean lactate", split="train", question="Average lactate?"),
        row("count lactate", split="train", question="How often was the lactate measured?"),
        row("highest lactate", question="Peak lactate?"),
    ]
    outliner = Outliner(GRAPH, LINKER)
    text = readers.prompt(rows, outliner, 2)("lowest X")
    assert text.endswith("Question: lowest X")
    assert "Question: average X\nQuery: mean X\n" in text
    assert "Query: count X" in text
    assert "peak" not in text
    assert "Query:" not in readers.prompt(rows, outliner, 0)("lowest X")
