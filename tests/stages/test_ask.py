"""Stage `ask`: a language model learns to read questions, and writes nothing but queries about what they name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from whole_graph import GRAPH, LINKER

import clinragen
from clinragen.artifacts import read_json, write_json
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.model.language_model import create, train_tokenizer
from clinragen.model.query_reader import QuestionReader, Tokens, read_queries
from clinragen.questions.outline import Outliner
from clinragen.questions.query import Query
from clinragen.stages.ask import Questions, outlined
from clinragen.stages.config import resolve
from tests.conftest import EXACT, call

ASKED = (
    "What was the highest lactate in the first 24 hours?",
    "Was HR higher in hours 1-7 than in hours 7-13?",
    "Does the note mention chest pain?",
    "How is the patient?",
)


@pytest.fixture(scope="module")
def questions(hospital, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("questions") / "questions"
    clinragen.teach_questions(hospital.cohort, out, per_stay=5, splits=("train", "validation"))
    return out


@pytest.fixture(scope="module")
def command(hospital, questions) -> tuple:
    few = ("--set", "stage.epochs=2", "--set", "model.learning_rate=3e-3")
    return ("train", "ask", "--cohort", hospital.cohort, "--questions", questions, "--model", "outline", *few, *EXACT)


@pytest.fixture(scope="module")
def run(command, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("ask") / "run"
    assert call("clinragen", *command, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def outliner() -> Outliner:
    return Outliner(GRAPH, LINKER)


def test_a_run_reads_questions_into_queries_about_what_they_name(run):
    reader = QuestionReader.load(run, GRAPH, LINKER)
    queries = reader.read(ASKED)
    assert [query and query.subject for query in queries] == ["lactate", "heart_rate", "symptom:chest_pain", None]
    assert reader.read(ASKED[::-1]) == queries[::-1]
    assert [reader(question) for question in ASKED] == queries
    manifest = read_json(run / "manifest.json", "a run")
    assert (manifest["stage"], manifest["kind"]) == ("ask", "run")
    assert manifest["stays"]["train"] > 50


def test_the_loss_falls(run):
    rows = (run / "metrics.csv").read_text().splitlines()
    losses = [float(dict(zip(rows[0].split(","), row.split(","), strict=True))["train/loss"]) for row in rows[1:]]
    assert losses[-1] < losses[0]


def test_the_same_command_gives_the_same_weights(command, run, tmp_path):
    assert call("clinragen", *command, "--out", tmp_path / "again") == 0
    assert (tmp_path / "again" / "model" / "model.safetensors").read_bytes() == (
        run / "model" / "model.safetensors"
    ).read_bytes()


def test_even_an_untrained_language_model_writes_only_queries(outliner):
    config = resolve("ask", "outline", "evidence", []).model.language_model
    torch.manual_seed(1)
    language_model = create(config, train_tokenizer(["what was the highest X between A and B"] * 3, 300)).eval()
    outlines = [outliner.of(question) for question in ASKED]
    queries = read_queries(language_model, outlines, batch_size=2)
    assert [query is None for query in queries] == [False, False, False, True]
    assert queries[2] is not None
    assert queries[2].kind == "note"


def test_words_are_left_out_and_added_anew_in_each_epoch_and_places_never(questions, outliner):
    pairs = outlined(questions, "train", outliner)[:40]
    tokens = Tokens(train_tokenizer([text for text, _ in pairs], 300))
    noisy, plain = Questions(pairs, tokens, noise=0.3, seed=3), Questions(pairs, tokens)

    def heard(data: Questions, epoch: int) -> list[str]:
        data.begin(epoch)
        return [tokens._tokenizer.decode(data[row][1]) for row in range(len(pairs))]

    texts = [text for text, _ in pairs]
    assert heard(plain, 0) == heard(plain, 1) == texts
    assert heard(noisy, 0) == heard(noisy, 0) != heard(noisy, 1)
    assert sum(one != text for one, text in zip(heard(noisy, 0), texts, strict=True)) > 20
    for one, text in zip(heard(noisy, 0), texts, strict=True):
        assert [word for word in one.split() if word.isupper()] == [word for word in text.split() if word.isupper()]


def test_questions_are_asked_for_and_must_be_about_the_cohort(hospital, questions, run, tmp_path):
    def train(**options):
        clinragen.train("ask", hospital.cohort, tmp_path / "run", model="outline", preflight=True, **options)

    with pytest.raises(UserError, match="pass the folder"):
        train()
    with pytest.raises(UserError, match="reads no series"):
        train(questions=questions, pretrained=run)
    other = tmp_path / "other"
    other.mkdir()
    write_json(other / "manifest.json", {**json.loads((questions / "manifest.json").read_text()), "cohort_hash": "0"})
    with pytest.raises(UserError, match="another cohort"):
        train(questions=other)
    with pytest.raises(UserError, match="only stage 'ask'"):
        clinragen.train("notes", hospital.cohort, tmp_path / "run", questions=questions, preflight=True)


def test_a_run_of_this_stage_predicts_nothing_and_a_damaged_one_is_refused(hospital, run, tmp_path):
    with pytest.raises(UserError, match="reads questions and predicts nothing"):
        clinragen.predict(run, Cohort.load(hospital.cohort))
    copy = tmp_path / "run"
    (copy / "model").mkdir(parents=True)
    with pytest.raises(UserError, match=r"manifest\.json"):
        QuestionReader.load(copy, GRAPH, LINKER)
    write_json(copy / "manifest.json", {**json.loads((run / "manifest.json").read_text()), "stage": "notes"})
    with pytest.raises(UserError, match="expected 'ask'"):
        QuestionReader.load(copy, GRAPH, LINKER)
    for path in run.rglob("*"):
        target = copy / path.relative_to(run)
        target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    (copy / "model" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="train anew"):
        QuestionReader.load(copy, GRAPH, LINKER)


def test_the_language_model_of_a_student_goes_on_learning(hospital, questions, runs, tmp_path):
    out = tmp_path / "run"
    options = ("--cohort", hospital.cohort, "--questions", questions, "--parent", runs.notes, *EXACT)
    assert call("clinragen", "train", "ask", *options, "--out", out, "--set", "stage.epochs=1") == 0
    assert QuestionReader.load(out, GRAPH, LINKER).read(ASKED[:1])[0].subject == "lactate"


def test_a_student_reads_questions_of_a_dialogue_in_place_of_the_rules_or_the_rest(run, questions, hospital, tmp_path):
    stay = int(Cohort.load(hospital.cohort).split("test")[0])
    student = {"engine": "student", "model": run}
    asked = ["last heart rate?", "What was the highest lactate?"]
    plain = clinragen.ask(hospital.cohort, stay, asked).turns
    assert clinragen.ask(hospital.cohort, stay, asked, **student).turns == plain  # the rules read both
    turns = clinragen.ask(hospital.cohort, stay, asked, **student, reads="all").turns
    assert {query.subject for turn in turns for query in turn.queries} == {"heart_rate", "lactate"}
    for turn, before in zip(turns, plain, strict=True):
        same = turn.queries == before.queries
        assert turn.read_by == ("rules" if same else "student")
        assert turn.rules_read == (() if same else before.queries)
    written = clinragen.ask_stays(hospital.cohort, {stay: asked}, tmp_path / "answers", **student, reads="all")
    rows = [json.loads(line) for line in written.path.read_text().splitlines()]
    assert [row["queries"] for row in rows] == [[query.text() for query in turn.queries] for turn in turns]
    manifest = read_json(written.path.parent / "manifest.json", "a manifest")
    assert (manifest["engine"], manifest["reads"], len(manifest["model_hash"])) == ("student", "all", 64)
    with pytest.raises(UserError, match="expected a run"):
        clinragen.ask(hospital.cohort, stay, asked, engine="student", model=questions.parent / "questions")


@pytest.fixture(scope="module")
def dialogues(hospital, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dialogues") / "questions"
    clinragen.teach_questions(hospital.cohort, out, per_stay=6, turns=3, splits=("train", "validation"))
    return out


@pytest.fixture(scope="module")
def follower(hospital, dialogues, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("follower") / "run"
    options = ("--questions", dialogues, "--model", "outline", "--set", "stage.epochs=1", *EXACT)
    assert call("clinragen", "train", "ask", "--cohort", hospital.cohort, *options, "--out", out) == 0
    return out


def test_of_dialogues_each_question_is_learned_after_the_query_before_it(dialogues, outliner):
    texts = dict(outlined(dialogues, "train", outliner))
    after = [text for text in texts if " >> " in text]
    assert 0.4 < len(after) / len(texts) < 0.9
    assert any(text.startswith("NOTE Z >> ") for text in after)
    assert any(
        {"Z", "E-F"} <= set(words) for words in texts.values()
    )  # what a turn leaves out is that of the one before


def test_the_query_before_is_neither_left_out_nor_added_to(dialogues, outliner):
    pairs = [pair for pair in outlined(dialogues, "train", outliner) if " >> " in pair[0]][:60]
    tokens = Tokens(train_tokenizer([text for text, _ in pairs], 300))
    noisy = Questions(pairs, tokens, noise=0.5, seed=3)
    noisy.begin(0)
    texts = [tokens._tokenizer.decode(noisy[row][1]) for row in range(len(pairs))]
    assert texts != [text for text, _ in pairs]
    for one, (text, _) in zip(texts, pairs, strict=True):
        assert one.split(" >>")[0] == text.split(" >>")[0]


def test_a_run_that_learned_dialogues_goes_on_from_the_query_before(follower, run):
    reader = QuestionReader.load(follower, GRAPH, LINKER)
    last = [Query.parse("highest lactate 6-18"), Query.parse("note symptom:cough"), None, Query.parse("why shock")]
    asked = ["and the lowest?", "and that?", "and the lowest?", "how is sodium?"]
    queries = reader.read(asked, last)
    assert [query and query.subject for query in queries[:3]] == ["lactate", "symptom:cough", None]
    assert queries[3] is not None
    assert [reader(question, before) for question, before in zip(asked, last, strict=True)] == queries
    single = QuestionReader.load(run, GRAPH, LINKER)
    assert single.read(ASKED, [Query.parse("highest lactate")] * len(ASKED)) == single.read(ASKED)
    assert "follows" not in json.loads((run / "model" / "reader.json").read_text())
    with pytest.raises(ValueError, match="shorter"):
        reader.read(asked, last[:1])


def test_the_query_before_is_handed_to_a_student_in_a_dialogue(follower, hospital):
    stay = int(Cohort.load(hospital.cohort).split("test")[0])
    student = {"engine": "student", "model": follower, "reads": "all"}
    first, second = clinragen.ask(hospital.cohort, stay, ["last heart rate?", "and what is it now?"], **student).turns
    assert {query.subject for query in (*first.queries, *second.queries)} == {"heart_rate"}
    assert second.read_by == "student" or second.queries == first.queries
