"""Every example of ``configs/questions`` is asked: the query that it must give, or the class that it must have."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from clinragen.catalog import read_data_file, variables
from clinragen.dialogue import cues
from clinragen.dialogue.names import Names
from clinragen.dialogue.queries import Subjects
from clinragen.dialogue.scope import Scope
from clinragen.errors import UserError
from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker
from clinragen.questions.query import Query

SECTIONS = ("windows", "kinds", "extremes", "sides", "moments", "follows")
WORDED = [
    (question, query)
    for section in SECTIONS
    for cue in cues.wording(section)
    for question, query in cue.examples.items()
]
PROMPTS = [Path(__file__).with_name(name) for name in ("prompts.yaml", "prompts_later.yaml", "prompts_blind.yaml")]
DIALOGUES = read_data_file(Path(__file__).with_name("dialogues_blind.yaml"))


GRAPH = build()
SUBJECTS = Subjects(GRAPH, frozenset(variables()))


@pytest.fixture(scope="module")
def scope() -> Scope:
    return Scope(Names(GRAPH, Linker(GRAPH)), frozenset({"30000001"}), 48.0)


def queries(question: str, scope: Scope) -> list[str]:
    judged = scope.judge(question)
    assert judged.name == "in_field", f"{question}: {judged.name}"
    return [query.text() for query in SUBJECTS.queries(judged.reading)]


@pytest.mark.parametrize(("question", "query"), WORDED, ids=[question for question, _ in WORDED])
def test_a_wording_gives_its_query(question, query, scope):
    assert queries(question, scope) == [query]
    assert Query.parse(query).text() == query


@pytest.mark.parametrize("bound", cues.bounds(), ids=lambda bound: f"{bound.name}: {bound.reason}"[:60])
def test_a_bound_refuses_its_examples_and_spares_others(bound, scope):
    for question in bound.examples:
        judged = scope.judge(question)
        assert judged.name != "in_field" or judged.instructed, question
        if bound.name != "instruction":
            assert bound.matches(judged.reading.masked), question
    for question in bound.spares:
        assert scope.judge(question).name == "in_field", question


@pytest.mark.parametrize("file", PROMPTS, ids=lambda file: file.stem)
def test_prompts_are_refused_or_read_as_they_should_be(file, scope):
    refused: dict[str, list[bool]] = {}
    misread: list[str] = []
    for prompt in read_data_file(file):
        judged = scope.judge(prompt["prompt"])
        refused.setdefault(prompt["class"], []).append(judged.name != "in_field" or judged.instructed)
        if "query" in prompt and judged.name == "in_field":
            first = queries(prompt["prompt"], scope)[:1]
            misread += [] if first and fnmatchcase(first[0], prompt["query"]) else [prompt["prompt"]]
    shares = {name: sum(each) / len(each) for name, each in refused.items()}
    assert shares.pop("in_field") <= 0.03
    assert min(shares.values()) >= 0.95, shares
    assert len(misread) <= 3, misread


def test_dialogues_blind_are_read_turn_by_turn(scope):
    misread: list[str] = []
    for dialogue in DIALOGUES:
        last: Query | None = None
        for turn in dialogue:
            around = None if last is None else last.window
            judged = scope.judge(turn["prompt"], follows=last is not None, around=around)
            answered = SUBJECTS.queries(judged.reading, last) if judged.name == "in_field" else []
            last = answered[0] if answered else last
            text = answered[0].text() if answered else "refused" if judged.name != "in_field" else "unclear"
            misread += [] if fnmatchcase(text, turn.get("query", "*")) else [f"{turn['prompt']}: {text}"]
    assert len(misread) <= 2, misread


def test_the_own_identifier_is_no_other_patient(scope):
    assert scope.judge("last potassium of stay 30000001").name == "in_field"
    assert scope.judge("last potassium of stay 30000002").name == "other_patient"
    assert scope.judge("compare the potassium of stay 30000001 with stay 30000002").name == "other_patient"
    assert scope.judge("potassium of 30000001 and of 30000002").name == "other_patient"


def test_every_class_that_is_refused_has_a_text_and_bounds():
    classes = {bound.name for bound in cues.bounds()} - {"instruction"}
    assert classes == {name for name, text in cues.refusals().items() if text}
    assert len(set(cues.refusals().values())) == len(cues.refusals())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"means": "x", "pattern": "a"}, "expected examples, means, pattern"),
        ({"means": "x", "pattern": "(", "examples": {}}, "is no pattern"),
        ({"means": "x", "pattern": "{nothing}", "examples": {}}, "no part 'nothing'"),
    ],
)
def test_a_faulty_entry_is_named(entry, message, monkeypatch):
    file = cues._file("wording")
    monkeypatch.setattr(cues, "_file", lambda name: {**file, "kinds": [entry]})
    with pytest.raises(UserError, match=message):
        cues.wording.__wrapped__("kinds")
