"""Questions of a cohort: true answers, minimal pairs, and the same bytes from the same seed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
from whole_graph import GRAPH, LINKER

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.questions.answer import answer
from clinragen.questions.file import read_questions
from clinragen.questions.generate import UNPAIRED, generate
from clinragen.questions.query import KINDS, Query
from clinragen.questions.stay_chart import charts
from tests.conftest import call


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def written(hospital, tmp_path_factory):
    out = tmp_path_factory.mktemp("questions") / "questions"
    assert call("clinragen", "teach", "questions", "--cohort", hospital.cohort, "--out", out, "--per-stay", 30) == 0
    return out


@pytest.fixture(scope="module")
def rows(written) -> list[dict]:
    return [json.loads(line) for line in (written / "questions.jsonl").read_text().splitlines()]


def labels_of_training(cohort: Cohort) -> dict[int, list[str]]:
    train = set(cohort.split("train").tolist())
    return {
        row["stay_id"]: [key for key, present in row.items() if present is True]
        for row in cohort.labels.iter_rows(named=True)
        if row["stay_id"] in train
    }


def test_each_answer_is_that_of_the_chart(cohort, rows):
    by_stay = {
        chart.stay_id: chart for chart in charts(cohort, GRAPH, linker=LINKER, labels=labels_of_training(cohort))
    }
    assert len(rows) > 20 * len(by_stay)
    for row in rows:
        reply = answer(Query.parse(row["query"]), by_stay[row["stay_id"]])
        assert (row["status"], row["answer"], row["value"]) == (reply.status, reply.text, reply.value)
        assert row["evidence"] == list(reply.evidence)
        assert row["kind"] == "count" or (row["status"] == "answered") == bool(row["evidence"])
    assert {row["kind"] for row in rows} == set(KINDS)


def test_the_same_words_are_asked_where_the_chart_answers_and_where_it_does_not(rows):
    asked = defaultdict(Counter)
    for row in rows:
        asked[row["split"], row["question"], row["query"]][row["status"]] += 1
    alone = sum(abs(counts["answered"] - counts["not_in_chart"]) for counts in asked.values())
    assert alone <= UNPAIRED * len(rows)
    never = sum(counts["not_in_chart"] for counts in asked.values() if not counts["answered"])
    assert never == 0


def test_no_question_tells_a_diagnosis_of_a_stay_that_is_held_out(rows):
    assert {row["split"] for row in rows if row["kind"] == "why"} == {"train"}


def test_held_out_stays_are_asked_in_other_words(rows):
    parts = {(row["split"], row["template"].split("/")[-2]) for row in rows}
    assert parts == {("train", "train"), ("validation", "train"), ("test", "test"), ("test", "other")}
    held_out = {row["question"] for row in rows if row["split"] == "test"}
    assert not held_out & {row["question"] for row in rows if row["split"] != "test"}


def test_the_same_seed_gives_the_same_questions_and_another_gives_others(cohort):
    def texts(seed: int) -> list[tuple[int, str]]:
        drawn = generate(cohort, GRAPH, splits=("validation",), per_stay=3, seed=seed)
        return [(one.stay_id, one.text) for one in drawn]

    assert texts(0) == texts(0)
    assert texts(0) != texts(1)


def test_no_stay_is_asked_the_same_twice(rows):
    assert max(Counter((row["stay_id"], row["question"]) for row in rows).values()) == 1
    assert max(Counter(row["stay_id"] for row in rows).values()) <= 30


def test_the_folder_says_what_it_was_made_of_and_is_read_back(written, cohort, rows, capsys):
    manifest = json.loads((written / "manifest.json").read_text())
    assert manifest["kind"] == "questions"
    assert manifest["cohort_hash"] == cohort.sha256
    assert sum(sum(count.values()) for count in manifest["questions"].values()) == len(rows)
    table = read_questions(written)
    assert table["query"].to_list() == [row["query"] for row in rows]
    numbers = [row["value"] for row in rows if row["kind"] == "mean"]
    values = table.filter(table["kind"] == "mean")["value"].to_list()
    assert [value if value is None else float(value) for value in values] == numbers


def test_what_cannot_be_written_is_refused(hospital, written, tmp_path):
    with pytest.raises(UserError, match="already exists"):
        clinragen.teach_questions(hospital.cohort, written)
    with pytest.raises(UserError, match="expected 1 or more"):
        clinragen.teach_questions(hospital.cohort, tmp_path / "q", per_stay=0)
    with pytest.raises(UserError, match="did you mean 'train'"):
        clinragen.teach_questions(hospital.cohort, tmp_path / "q", splits=("trian",))
    with pytest.raises(UserError, match="not found"):
        read_questions(tmp_path)
    (tmp_path / "questions.jsonl").write_text("no questions\n")
    with pytest.raises(UserError, match="holds no questions"):
        read_questions(tmp_path)
