"""The options of free decoding: refused where they make no sense, and the same text for the same seed."""

from __future__ import annotations

import json

import pytest

from clinragen.errors import UserError
from clinragen.inference.prediction import Prediction
from clinragen.inference.search import GREEDY, Search

FREE = ("--decoding", "free", "--limit", 6)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"beams": 0}, "--beams must be at least 1"),
        ({"beams": 2, "samples": 2}, "--beams and --samples: .* pass one$"),
        ({"samples": 0}, "--samples 0: expected at least 1"),
        ({"temperature": 0.5}, r"--temperature: nothing is drawn: pass --samples N as well"),
        ({"temperature": 0.5, "seed": 1}, r"--temperature and --seed: nothing is drawn"),
        ({"samples": 2, "temperature": 0.0}, "--temperature 0.0: expected a number above 0"),
        ({"samples": 2, "temperature": float("nan")}, "--temperature nan: expected a number above 0"),
        ({"samples": 2, "seed": -1}, "--seed -1: expected a whole number, not negative"),
    ],
)
def test_options_that_contradict_each_other_are_refused_in_one_line(options, line):
    with pytest.raises(UserError, match=line) as raised:
        Search.of_options(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("search", [Search(beams=2), Search(samples=2)])
def test_nothing_is_searched_for_where_no_text_is_free(search):
    option = "--beams" if search.beams > 1 else "--samples"
    with pytest.raises(UserError, match=f"^{option} needs --decoding free: constrained decoding chooses"):
        Prediction(search=search)
    with pytest.raises(UserError, match=f"^{option} and --diagnoses-only: no text is written"):
        Prediction(decoding="free", diagnoses_only=True, search=search)
    assert Prediction(decoding="free", search=search).batch_stays == 32
    assert Prediction(decoding="free", batch_size=1, search=search).batch_stays == 1
    assert Prediction(search=GREEDY).batch_stays == 64


def test_numbers_that_there_are_not_are_refused():
    with pytest.raises(UserError, match=r"unknown precision .fp8.: Choose from: auto, bf16, fp32"):
        Prediction(precision="fp8")  # type: ignore[arg-type]


@pytest.fixture
def rows(runs, hospital, command, tmp_path):
    def run(*options: object) -> list[dict]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        given = ("predict", "--model", runs.multimodal, "--cohort", hospital.cohort, "--out", out)
        assert command("clinragen", *given, *options) in (0, 1)
        return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]

    return run


def texts(rows: list[dict]) -> list[tuple[str, str]]:
    return [(row["note_rationale"], row["series_rationale"]) for row in rows]


@pytest.mark.slow
def test_samples_are_those_of_the_seed_whatever_the_batch_and_the_best_is_written(rows):
    first = rows(*FREE, "--samples", 3, "--seed", 5)
    assert texts(rows(*FREE, "--samples", 3, "--seed", 5, "--batch-size", 3)) == texts(first)
    assert texts(rows(*FREE, "--samples", 3, "--seed", 6)) != texts(first)
    one = rows(*FREE, "--samples", 1, "--seed", 5)
    for best, lone in zip(first, one, strict=True):
        assert best["probabilities"] == pytest.approx(lone["probabilities"], abs=2e-6)
        assert best["parsed"] >= lone["parsed"]


@pytest.mark.slow
def test_beams_and_short_numbers_change_the_text_and_hardly_a_probability(rows):
    greedy = rows(*FREE)
    beams, short = rows(*FREE, "--beams", 2), rows(*FREE, "--precision", "bf16")
    assert texts(beams) != texts(greedy)
    for row, other, near in zip(greedy, beams, short, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=2e-6)
        assert row["probabilities"] == pytest.approx(near["probabilities"], abs=0.02)
