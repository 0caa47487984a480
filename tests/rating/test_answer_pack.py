"""A pack of answers: the same question to every author, without a word on what read it."""

import json
import re

import pytest

from clinragen import ask_stays, pack_answers
from clinragen.api.rating import import_ratings
from clinragen.rating.criteria import criteria
from clinragen.rating.key import read_pack
from tests.conftest import call

from .conftest import SECRET, saved

QUESTIONS = (
    "highest heart rate?", "and the lowest?", "does the note mention fever?", "will she survive?", "last sodium?",
    "mean respiratory rate first 6h", "should I give fluids?", "what about the stay of bed 4?",
)  # fmt: skip


@pytest.fixture(scope="module")
def asked(hospital, tmp_path_factory):
    """Answers of the rules, and others of a reader whose name nobody may see."""
    root = tmp_path_factory.mktemp(f"{SECRET}-answers")
    (root / "questions.txt").write_text("\n".join(QUESTIONS))
    ask_stays(hospital / "cohort", root / "questions.txt", root / "rules")
    rows = [json.loads(line) for line in (root / "rules" / "answers.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"read_by": SECRET, "queries": [], "text": f"Otherwise. {row['text']}"}
    (root / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def pack(hospital, asked, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs") / "pack"
    pack_answers(asked / "rules", hospital / "cohort", out, against=[asked / "other.jsonl"], stays=8, raters=2, seed=3)
    return read_pack(out)


def test_both_authors_answer_the_same_question_of_a_stay(pack, asked):
    rows = [json.loads(line) for line in (asked / "rules" / "answers.jsonl").read_text().splitlines()]
    texts = {(row["stay_id"], row["question"]): row["text"] for row in rows}
    assert [author.name for author in pack.key.authors] == ["answers", "baseline"]
    for item in pack.items:
        mine, other = item.arguments["answers"], item.arguments["baseline"]
        assert mine.diagnoses == other.diagnoses
        question = mine.diagnoses[-1]
        assert mine.note == texts[item.stay_id, question]
        assert other.note == f"Otherwise. {mine.note}"
        position = QUESTIONS.index(question)
        assert mine.diagnoses[:-1] == ([f"before: {QUESTIONS[position - 1]}"] if position else [])


def test_kinds_of_questions_take_turns_and_refusals_are_among_them(pack):
    drawn = [item.arguments["answers"].diagnoses[-1] for item in pack.items]
    assert len(set(drawn)) >= 5
    assert {"will she survive?", "should I give fluids?", "what about the stay of bed 4?"} & set(drawn)


def test_evidence_stands_in_words_of_the_chart(hospital, asked, tmp_path):
    pack_answers(asked / "rules", hospital / "cohort", tmp_path / "pack", stays=20, raters=1)
    items = {item.arguments["answers"].diagnoses[-1]: item for item in read_pack(tmp_path / "pack").items}
    measured = items["highest heart rate?"]
    value = max(value for _, value in measured.chart.cells["heart_rate"])
    assert f"heart rate: {value:.0f} bpm at hour " in measured.arguments["answers"].series
    assert "searched: heart rate in hours 0 to " in measured.arguments["answers"].series
    noted = items["does the note mention fever?"].arguments["answers"]
    assert "“fever”" in noted.series.lower()
    assert items["will she survive?"].arguments["answers"].series == ""


def test_no_page_says_who_answered_or_how_the_question_was_read(pack):
    for page in sorted((pack.root / "raters").iterdir()):
        html = re.sub("<style>.*?</style>", "", page.read_text(), flags=re.S)
        for word in (SECRET, "baseline", "read_by", "rules", "lowest heart_rate", str(pack.root)):
            assert word not in html.lower(), word
        assert "by each criterion" in html
        for criterion in criteria("answers").values():
            assert criterion.question.split("?")[0] in html
        for item in pack.items:
            assert str(item.stay_id) not in html


def test_ratings_of_answers_are_imported_by_their_criteria(pack, tmp_path):
    for rater in pack.key.raters[:2]:
        rows = [
            {
                "item": placing.item,
                "letter": "AB"[position],
                **dict.fromkeys(criteria("answers"), 5 if author == "answers" else 2),
                "comment": "",
            }
            for placing in rater.placings
            for position, author in enumerate(placing.authors)
        ]
        saved(tmp_path / "files", pack, rater, rows)
    values = import_ratings(pack.root, [tmp_path / "files"], tmp_path / "ratings", replicates=10).values
    means = {(row["author"], row["criterion"]): row["mean"]["value"] for row in values["human"]["means"]}
    assert {means["answers", key] for key in criteria("answers")} == {5.0}
    assert {means["baseline", key] for key in criteria("answers")} == {2.0}


def test_a_mistake_is_one_clear_line(hospital, asked, tmp_path, capsys):
    options = ("rate", "pack", "--cohort", hospital / "cohort", "--out", tmp_path / "pack")
    for arguments, message in (
        ((), "rate pack needs one of --predictions, --prescriptions, --answers"),
        (("--answers", asked / "rules", "--predictions", hospital / "student"), "needs one of"),
        (("--answers", asked / "rules", "--teacher", "x"), "--teacher goes with --predictions alone"),
        (("--answers", tmp_path / "none"), "not found"),
        (("--answers", asked / "rules", "--stays", 400), "have answers to questions of every author"),
    ):
        assert call("clinragen", *options, *arguments) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert message in error
    assert call("clinragen", *options, "--answers", asked / "rules", "--stays", 2, "--raters", 1) == 0
