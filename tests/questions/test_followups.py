"""Dialogues: wordings of follow-ups that share none, turns that mean what they change, and the charts' answers."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from itertools import pairwise, product

import pytest
from whole_graph import GRAPH, LINKER

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.questions.answer import answer
from clinragen.questions.file import read_questions
from clinragen.questions.followups import finding_of
from clinragen.questions.generate import UNPAIRED
from clinragen.questions.query import Query, Window
from clinragen.questions.stay_chart import charts
from clinragen.questions.templates import Templates, every_wording
from tests.conftest import call

TURNS = 4
PARTS = {part: Templates.shipped(part).followups for part in ("train", "test")}
PLACES = {
    "variable": {"variable"}, "concept": {"concept"}, "label": {"label"}, "window": {"window"},
    "comparison": {"window"}, "hour": {"hour"}, "hours before": {"hours"}, "hours after": {"hours"},
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def written(hospital, tmp_path_factory):
    out = tmp_path_factory.mktemp("dialogues") / "questions"
    asked = ("--cohort", hospital.cohort, "--out", out, "--per-stay", 24, "--turns", TURNS)
    assert call("clinragen", "teach", "questions", *asked) == 0
    return out


@pytest.fixture(scope="module")
def rows(written) -> list[dict]:
    return [json.loads(line) for line in (written / "questions.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def dialogues(rows) -> list[list[dict]]:
    by_number = defaultdict(list)
    for row in rows:
        by_number[row["stay_id"], row["dialogue"]].append(row)
    return list(by_number.values())


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z{}]+", " ", text.lower()).split())


def expanded(part: str) -> Counter[tuple[str, str]]:
    return Counter(
        {
            (change, plain(text))
            for change, named in PARTS[part].items()
            for wording in named.values()
            for text in every_wording(wording)
        }
    )


def test_the_parts_share_no_wording_and_none_means_two_changes():
    train, test = expanded("train"), expanded("test")
    assert not {text for _, text in train} & {text for _, text in test}
    counts = Counter(text for _, text in [*train, *test])
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("part", "change"), product(PARTS, PARTS["train"]))
def test_a_wording_has_the_places_of_what_it_changes(part, change):
    assert len(PARTS[part][change]) >= 3
    for wording in PARTS[part][change].values():
        assert set(re.findall(r"{(\w+)}", wording)) == PLACES.get(change, set()), wording


def test_each_turn_is_answered_by_the_chart_to_the_query_that_is_meant(cohort, rows):
    labels = {
        row["stay_id"]: [key for key, present in row.items() if present is True]
        for row in cohort.labels.iter_rows(named=True)
        if row["stay_id"] in set(cohort.split("train").tolist())
    }
    by_stay = {chart.stay_id: chart for chart in charts(cohort, GRAPH, linker=LINKER, labels=labels)}
    assert len(rows) > 15 * len(by_stay)
    for row in rows:
        reply = answer(Query.parse(row["query"]), by_stay[row["stay_id"]])
        assert (row["status"], row["answer"], row["value"]) == (reply.status, reply.text, reply.value)
        assert row["evidence"] == list(reply.evidence)


def test_a_turn_keeps_of_the_query_before_what_it_does_not_change(dialogues):
    seen = Counter()
    for before, row in (pair for dialogue in dialogues for pair in pairwise(dialogue)):
        last, query = Query.parse(before["query"]), Query.parse(row["query"])
        change = row["template"].rsplit("/", 2)[0].removeprefix("follow ")
        if not row["template"].startswith("follow "):
            continue
        seen[change] += 1
        same = {
            "kind": query.head == last.head,
            "subject": query.subject == last.subject,
            "window": query.window == last.window,
        }
        if change.startswith("kind "):
            assert same == {"kind": False, "subject": True, "window": True}
            assert query.head == change.removeprefix("kind ")
        elif change in ("variable", "concept", "label"):
            assert (same["kind"], same["subject"], same["window"], query.hour) == (True, False, True, last.hour)
        elif change in ("window", "all before", "hours before", "all after", "hours after"):
            assert same == {"kind": True, "subject": True, "window": False}
        elif change == "note":
            assert query == Query("note", finding_of(last, GRAPH))
        else:
            assert same["subject"]
    assert {"variable", "window", "time", "kind highest", "concept", "hours after", "all before"} <= set(seen)


def test_turns_are_numbered_and_the_first_stands_by_itself(dialogues):
    for dialogue in dialogues:
        assert [row["turn"] for row in dialogue] == list(range(1, TURNS + 1))
        assert not dialogue[0]["template"].startswith("follow ")
        assert len({row["query"] for row in dialogue}) == TURNS
    numbers = defaultdict(list)
    for dialogue in dialogues:
        numbers[dialogue[0]["stay_id"]].append(dialogue[0]["dialogue"])
    assert all(some == list(range(1, len(some) + 1)) for some in numbers.values())


def test_a_dialogue_is_had_with_two_stays_each_turn_of_which_one_chart_answers(dialogues):
    asked = defaultdict(list)
    for dialogue in dialogues:
        key = dialogue[0]["split"], tuple((row["question"], row["query"]) for row in dialogue)
        asked[key].append([row["status"] for row in dialogue])
    turns = [statuses for pair in asked.values() for statuses in zip(*pair, strict=True)]
    assert all(len(statuses) == 2 for statuses in turns)
    alone = sum(statuses[0] == statuses[1] for statuses in turns)
    assert alone <= UNPAIRED * len(turns) + 1
    assert not any(set(statuses) == {"not_in_chart"} for statuses in turns)


def test_held_out_stays_are_asked_in_other_words_and_not_for_their_diagnoses(rows):
    parts = {(row["split"], row["template"].split("/")[-2]) for row in rows}
    assert parts == {("train", "train"), ("validation", "train"), ("test", "test"), ("test", "other")}
    assert {row["split"] for row in rows if row["kind"] == "why"} == {"train"}


def test_one_turn_is_today_s_questions_and_the_same_seed_gives_the_same_dialogues(hospital, written, tmp_path):
    options = {"splits": ("validation",), "per_stay": 8}
    plain, one = (
        clinragen.teach_questions(hospital.cohort, tmp_path / name, **options, **given).path
        for name, given in (("plain", {}), ("one", {"turns": 1}))
    )
    assert plain.read_bytes() == one.read_bytes()
    assert (plain.parent / "manifest.json").read_bytes() == (one.parent / "manifest.json").read_bytes()
    assert "turn" not in read_questions(plain).columns
    again = clinragen.teach_questions(hospital.cohort, tmp_path / "again", per_stay=24, turns=TURNS)
    assert again.path.read_bytes() == (written / "questions.jsonl").read_bytes()
    with pytest.raises(UserError, match="--turns 0: expected 1 to"):
        clinragen.teach_questions(hospital.cohort, tmp_path / "none", turns=0)


def test_dialogues_are_read_as_a_table_and_played_each_by_itself(hospital, written, rows, tmp_path):
    table = read_questions(written)
    assert table.select("stay_id", "dialogue", "turn").rows() == [
        (row["stay_id"], row["dialogue"], row["turn"]) for row in rows
    ]
    stay = rows[0]["stay_id"]
    lines = [
        {"stay_id": stay, "dialogue": 1, "question": "highest heart rate in the first 24 hours?"},
        {"stay_id": stay, "dialogue": 1, "question": "and the lowest?"},
        {"stay_id": stay, "dialogue": 2, "question": "and the lowest?"},
        {"stay_id": stay, "dialogue": 2, "question": "last sodium?"},
    ]
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    played = clinragen.ask_stays(hospital.cohort, file, tmp_path / "answers")
    answered = [json.loads(line) for line in played.path.read_text().splitlines()]
    assert [row["dialogue"] for row in answered] == [1, 1, 2, 2]
    assert [row["queries"] for row in answered] == [
        ["highest heart_rate 0-24"], ["lowest heart_rate 0-24"], [], ["value last sodium"],
    ]  # fmt: skip
    file.write_text(json.dumps({**lines[0], "dialogue": "one"}) + "\n")
    with pytest.raises(UserError, match="line 1: expected a whole number as dialogue"):
        clinragen.ask_stays(hospital.cohort, file, tmp_path / "other")


def test_the_finding_that_it_is_depends_on_the_side_that_was_asked_about():
    sides = {"highest": "high", "lowest": "low", "range below": "low", "time first_above": "high", "time lowest": "low"}
    for head, side in sides.items():
        assert finding_of(Query.parse(f"{head} potassium 0-6"), GRAPH) == f"finding:potassium:{side}"
    for head in ("mean", "value last", "trend", "time first", "count"):
        assert finding_of(Query.parse(f"{head} potassium"), GRAPH) is None
    assert finding_of(Query("highest", "mch", window=Window()), GRAPH) in (None, "finding:mch:high")
