"""Questions on the page of a stay: with their answers, and links to nothing but places of this chart."""

import json
import re

import pytest
from small_hospital import HOSTILE

from clinragen import UserError, ask_stays, report, teach_questions
from clinragen.cohort.folder import Cohort

QUESTIONS = "highest heart rate?\nmean heart rate first 6h\ndoes the note mention fever?\nwill she survive?\n"


@pytest.fixture(scope="module")
def answers(cohort, tmp_path_factory):
    root = tmp_path_factory.mktemp("asked")
    (root / "questions.txt").write_text(QUESTIONS + HOSTILE + "\n")
    return ask_stays(cohort, root / "questions.txt", root / "answers").path.parent


def pages(folder):
    return {int(path.stem): path.read_text() for path in sorted((folder / "stays").glob("*.html"))}


def panel(page: str) -> str:
    return page.partition("<h2 id=asked>")[2].partition("</section>")[0]


def test_every_stay_shows_its_questions_with_answers_and_evidence(cohort, predictions, answers, tmp_path):
    report(predictions, cohort, tmp_path / "site", questions=answers)
    rows = [json.loads(line) for line in (answers / "answers.jsonl").read_text().splitlines()]
    shown = pages(tmp_path / "site")
    assert {row["stay_id"] for row in rows} == set(shown)
    for row in rows[::5]:
        page = shown[row["stay_id"]]
        assert row["text"] in panel(page)
        number = re.search(r"id=c(\d+) href=#chart-heart_rate>heart rate, ", panel(page))
        assert number
        hours = {place["hour"] for place in row["answers"][0]["evidence"]}
        asked = re.search(r'<figure id=chart-heart_rate[^>]* data-asked="([^"]*)"', page)
        assert asked
        spans = dict(part.split(":") for part in asked[1].split())
        assert {float(span) for span in spans[number[1]].split(",")} == hours
        assert f"<a href=#c{number[1]}>" not in page  # the script adds the numbers of plots
    ids = [re.findall(r" id=([\w-]+)", page) for page in shown.values()]
    assert all(len(each) == len(set(each)) for each in ids)
    targets = [set(re.findall(r"class=place [^>]*href=#([\w-]+)", panel(page))) for page in shown.values()]
    assert all(each <= set(on) for each, on in zip(targets, ids, strict=True))


def test_claims_are_numbered_and_marked_as_without_questions(cohort, predictions, answers, tmp_path):
    report(predictions, cohort, tmp_path / "plain")
    report(predictions, cohort, tmp_path / "asked", questions=answers)
    plain, asked = pages(tmp_path / "plain"), pages(tmp_path / "asked")
    for stay, page in plain.items():
        assert "<h2 id=asked>" not in page
        claims = [each.partition("<h2 id=rationales>")[2].partition("</section>")[0] for each in (page, asked[stay])]
        assert claims[0] == claims[1]
        cited = [re.findall(r'data-cited="([^"]*)"', each) for each in (page, asked[stay])]
        assert cited[0] == cited[1]


def test_no_question_is_markup(cohort, predictions, answers, tmp_path):
    report(predictions, cohort, tmp_path / "site", questions=answers, single_file=True)
    for page in pages(tmp_path / "site").values():
        assert "&lt;script&gt;window.broken = true&lt;/script&gt;" in panel(page)
        assert "<script" not in panel(page)
        assert "<img" not in panel(page)
        assert "{{ 7 * 7 }}" in panel(page)


def edited(path, out, **changes):
    """A file of answers in which each line is changed."""
    rows = [json.loads(line) | changes for line in path.read_text().splitlines()]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out


def test_evidence_that_the_chart_does_not_hold_leads_nowhere(cohort, predictions, answers, tmp_path):
    alien = [
        {"variable": "heart_rate", "hour": 3.25, "value": 90},
        {"variable": "no_such", "hour": 3, "value": 90},
        {"section": "chief_complaint", "start": 0, "end": 10**9},
        {"section": "no_section", "start": 0, "end": 4},
    ]
    reply = {"status": "answered", "text": "Yes.", "value": 1, "evidence": alien, "searched": "all"}
    file = edited(answers / "answers.jsonl", tmp_path / "answers.jsonl", answers=[reply])
    report(predictions, cohort, tmp_path / "site", questions=file)
    assert all(
        "class=place" not in panel(page) and "data-asked" not in page for page in pages(tmp_path / "site").values()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outcome": "maybe"}, "line 1: no question with its answer"),
        ({"question": 5}, "line 1: no question with its answer"),
        ({"answers": [{"text": "Yes."}]}, "line 1: no question with its answer"),
        ({"stay_id": 7}, "line 1: .* has no stay 7"),
        ({"answers": [{"evidence": [{"variable": "heart_rate"}], "searched": ""}]}, "is no place of a chart"),
    ],
)
def test_what_is_no_answer_is_said(changes, message, cohort, predictions, answers, tmp_path):
    file = edited(answers / "answers.jsonl", tmp_path / "answers.jsonl", **changes)
    with pytest.raises(UserError, match=message):
        report(predictions, cohort, tmp_path / "site", questions=file)


def test_answers_about_another_cohort_or_changed_ones_are_refused(cohort, predictions, answers, tmp_path):
    for name, old, new in (("manifest.json", "cohort_hash", "cohort_hash_of"), ("answers.jsonl", "refused", "unclear")):
        folder = tmp_path / name
        folder.mkdir()
        for each in ("manifest.json", "answers.jsonl"):
            text = (answers / each).read_text()
            (folder / each).write_text(text.replace(old, new) if each == name else text)
    manifest = json.loads((answers / "manifest.json").read_text())
    (tmp_path / "manifest.json" / "manifest.json").write_text(json.dumps(manifest | {"cohort_hash": "0" * 64}))
    for name, message in (("manifest.json", "is about another cohort"), ("answers.jsonl", "answers.jsonl")):
        with pytest.raises(UserError, match=message):
            report(predictions, cohort, tmp_path / "site", questions=tmp_path / name)
    with pytest.raises(UserError, match="they do not go with --form json"):
        report(predictions, cohort, tmp_path / "site", questions=answers, form="json")


def test_questions_to_learn_from_are_shown_and_recorded_diagnoses_can_be_hidden(cohort, tmp_path):
    """Of training stays, questions for grounds are about the recorded diagnoses."""
    from small_hospital import make_predictions

    written = teach_questions(cohort, tmp_path / "questions", splits=["train"], per_stay=30)
    train = Cohort.load(cohort).split("train").tolist()
    predictions = make_predictions(tmp_path / "predictions", cohort, split="train")
    report(predictions, cohort, tmp_path / "site", questions=written.path.parent)
    rows = [json.loads(line) for line in written.path.read_text().splitlines()]
    assert {row["stay_id"] for row in rows} <= set(train)
    grounds = sum(row["kind"] == "why" for row in rows)
    items = [item for page in pages(tmp_path / "site").values() for item in panel(page).split("<li class=")[1:]]
    assert len(items) == len(rows)
    assert sum(item.startswith('"') and " gold" in item.partition(">")[0] for item in items) == grounds > 0
