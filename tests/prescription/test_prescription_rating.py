"""Suggestions of drugs are rated blindly by criteria of their own, by people and by a language model."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from fault_server import FaultServer, completion

import clinragen
from clinragen import versions
from clinragen.errors import UserError
from clinragen.rating.criteria import criteria
from clinragen.rating.judge_prompts import JudgePrompts, Question
from clinragen.rating.key import read_pack
from clinragen.rating.rating_file import KIND, seal
from clinragen.teacher.settings import TeacherSettings
from tests.conftest import call

CRITERIA = ["appropriate", "safe", "complete", "personal", "clear"]


@pytest.fixture(scope="module")
def usual(early, tmp_path_factory) -> Path:
    """What is usual, as a baseline."""
    out = tmp_path_factory.mktemp("usual") / "prescriptions"
    assert call("clinragen", "prescribe", "--cohort", early, "--out", out, "--engine", "popularity") == 0
    return out


@pytest.fixture
def pack(early, suggested, usual, tmp_path):
    options = ("--against", usual, "--stays", 4, "--raters", 1)
    given = ("--prescriptions", suggested, "--cohort", early, "--out", tmp_path / "pack", *options)
    assert call("clinragen", "rate", "pack", *given) == 0
    return read_pack(tmp_path / "pack")


def test_a_page_shows_lists_by_their_criteria_and_what_had_been_ordered(pack, suggested):
    page = (pack.root / "raters" / "rater-1.html").read_text()
    assert list(pack.key.criteria) == CRITERIA
    assert all(unescape(one.question) in unescape(page) for one in criteria("prescriptions").values())
    assert not re.search("popularity|neighbours|>baseline", page)
    rows = {row["stay_id"]: row for row in map(json.loads, (suggested / "prescriptions.jsonl").open())}
    for item in pack.items:
        first = rows[item.stay_id]["suggestions"]
        listed = item.arguments["suggestions"].diagnoses
        assert [name.partition(" (")[0] for name in listed] == [one["name"] for one in first]
        assert all(name in unescape(page) for name in listed)
        assert item.chart.sections[0][0] == "drugs_ordered_so_far"
        texts = [ground["text"] for one in first for ground in one["grounds"]]
        assert all(text in item.arguments["suggestions"].note for text in texts)
        assert not re.search(r"0\.\d{3}", "\n".join(listed))  # a number would tell the engine


def test_ratings_of_people_are_imported_by_these_criteria(pack, tmp_path):
    rater = pack.key.raters[0]
    rows = [
        {"item": placing.item, "letter": placing.letter(author), **dict.fromkeys(CRITERIA, score), "comment": ""}
        for placing in rater.placings
        for author, score in (("suggestions", 4), ("baseline", 2))
    ]
    about = {"kind": KIND, **versions.RATINGS.mark, "pack": pack.key.pack, "rater": rater.rater, "rater_kind": "human"}
    content = {**about, "ratings": rows}
    path = tmp_path / "ratings.json"
    path.write_text(json.dumps({**content, "seal": seal(content, rater.secret)}))
    values = clinragen.import_ratings(pack.root, [path], tmp_path / "out", replicates=5).values
    means = {(row["author"], row["criterion"]): row["mean"]["value"] for row in values["human"]["means"]}
    assert means == {
        (author, key): score for author, score in (("suggestions", 4), ("baseline", 2)) for key in CRITERIA
    }
    assert values["raters"][0]["missing"] == 0
    assert call("clinragen", "rate", "import", "--pack", pack.root, "--ratings", path, "--out", tmp_path / "again") == 0


def test_a_language_model_judges_lists(pack):
    def answer(server, request, times):
        if "Are you ready?" in request["prompt"]:
            return None
        value = "2" if "BEGIN RATIONALE 2" in request["prompt"] else 3
        return completion(request, json.dumps(dict.fromkeys(CRITERIA, value)))

    with FaultServer({}, answer) as server:
        judged = clinragen.judge_ratings(pack.root, set={"server.base_url": server.url, "server.model": "m"})
        assert (judged.rated, judged.compared, judged.missing) == (8, 8, {})
        asked = " ".join(body["messages"][1]["content"] for body in server.bodies[1:])
    assert "Drugs to start, in this order:" in asked
    assert "drugs ordered so far" in asked


def test_prompts_about_rationales_are_those_of_the_release_before(pack):
    """Their journals hold answers to them."""
    system, user = JudgePrompts(TeacherSettings()).messages(Question(pack.items[0], ("suggestions",)))
    assert system["content"].startswith(
        "You are an experienced intensive care physician who rates how well others explain diagnoses.\n"
    )
    rated = user["content"].partition("BEGIN RATIONALE")[2]
    assert re.search(r"^Diagnoses: .*\nFrom the note: [\s\S]*\nFrom the series: ", rated, re.M)
    assert "Rate the rationale by each criterion with a whole number from 1 to 5:\n- correctness: " in rated


def test_what_does_not_go_together_is_told(early, suggested, tmp_path, capsys):
    given = ("--cohort", early, "--out", tmp_path / "out")
    for options, message in (
        ((), "rate pack needs one of --predictions, --prescriptions, --answers"),
        (("--prescriptions", suggested, "--teacher", "evidence"), "--teacher goes with --predictions alone"),
        (("--prescriptions", suggested, "--stays", 500), "stays have lists of drugs of every author"),
    ):
        assert call("clinragen", "rate", "pack", *options, *given) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert message in lines[0]
    with pytest.raises(UserError, match="not found"):
        clinragen.pack_prescriptions(tmp_path / "nowhere", early, tmp_path / "out")
