"""Predictions come in parts: stopped, shared or whole, they are the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.inference.parts import Parts
from clinragen.inference.prediction import WHOLE, Prediction, Shard
from clinragen.outputs import DEMO, check_output, mark

FILES = ("predictions.jsonl", "predictions.parquet", "manifest.json")


@given(stays=st.integers(1, 40), size=st.integers(1, 9), of=st.integers(1, 5))
def test_shards_share_the_parts_and_the_parts_the_stays(tmp_path_factory, stays, size, of):
    parts = Parts(tmp_path_factory.getbasetemp() / "none", np.arange(stays), size)
    shared = [parts.of_shard(Shard(number, of)) for number in range(1, of + 1)]
    assert (
        sorted(number for numbers in shared for number in numbers) == list(range(len(parts))) == parts.of_shard(WHOLE)
    )
    assert np.concatenate([parts.ids(number) for number in range(len(parts))]).tolist() == list(range(stays))
    assert all(0 < len(parts.ids(number)) <= size for number in range(len(parts)))


def begin(out: Path, identity: str = "a", *, overwrite: bool = False) -> Parts:
    return Parts.begin(out, np.arange(5), 2, identity, overwrite=overwrite)


def test_what_is_done_stays_done_for_the_same_request_and_is_never_mixed_with_another(tmp_path):
    out = tmp_path / "out"
    first = begin(out)
    first.write(1, [{"stay_id": 2}, {"stay_id": 3}], [{"stay_id": 2}, {"stay_id": 3}])
    assert begin(out).of_shard(WHOLE) == [0, 2]
    with pytest.raises(UserError, match=r"unfinished predictions of another model.*pass --overwrite to drop them$"):
        begin(out, "b")
    assert begin(out).done(1)
    assert begin(out, "b", overwrite=True).of_shard(WHOLE) == [0, 1, 2]


def test_parts_come_back_in_their_order_and_are_removed_once_put_together(tmp_path):
    parts = begin(tmp_path / "out")
    for number in (2, 0, 1):
        assert not parts.complete
        stays = parts.ids(number).tolist()
        parts.write(number, [{"stay_id": stay} for stay in stays], [{"explained": stay} for stay in stays])
    assert parts.complete
    assert [json.loads(line)["stay_id"] for text in parts.rows() for line in text.splitlines()] == [0, 1, 2, 3, 4]
    assert [json.loads(line)["explained"] for text in parts.explanations() for line in text.splitlines()] == [
        0,
        1,
        2,
        3,
        4,
    ]
    with suppress(OSError), parts.assembling():
        raise OSError("full")
    assert parts.complete  # nothing is lost
    with parts.assembling() as mine:
        assert mine
    assert not parts.folder.exists()
    with parts.assembling() as mine:
        assert not mine


def test_a_demo_that_was_stopped_while_it_predicted_can_be_replaced(tmp_path):
    demo = tmp_path / "demo"
    demo.mkdir()
    mark(demo, DEMO)
    begin(demo / "predictions").write(0, [{"stay_id": 0}], None)
    check_output(demo, DEMO, overwrite=True)


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "a/b", "1/4/2", "1.5/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"^--shard .*: expected I/N with I from 1 to N, such as 2/4"):
        Shard.parse(text)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"limit": 0}])
def test_sizes_below_one_are_refused(options):
    with pytest.raises(UserError, match="--batch-size and --limit must be at least 1"):
        Prediction(**options)


@pytest.fixture
def predict(runs, hospital, command, monkeypatch):
    monkeypatch.setattr("clinragen.inference.predict.STAYS", 4)

    def run(out: Path, *options: object) -> int:
        return command(
            "clinragen", "predict", "--model", runs.multimodal, "--cohort", hospital.cohort, "--out", out, *options
        )

    return run


@pytest.fixture
def whole(predict, tmp_path) -> Path:
    assert predict(tmp_path / "whole") == 0
    return tmp_path / "whole"


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


@pytest.mark.slow
def test_parts_change_no_probability_and_no_text(whole, runs):
    rows = [json.loads(line) for line in (whole / "predictions.jsonl").read_text().splitlines()]
    at_once = [json.loads(line) for line in (runs.predictions / "predictions.jsonl").read_text().splitlines()]
    for row, other in zip(rows, at_once, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=2e-6)
        assert {name: row[name] for name in ("stay_id", "diagnoses", "note_rationale", "series_rationale")} == {
            name: other[name] for name in ("stay_id", "diagnoses", "note_rationale", "series_rationale")
        }


@pytest.mark.slow
def test_a_stopped_command_goes_on_to_the_same_bytes(predict, whole, tmp_path, monkeypatch):
    from clinragen.inference import predict as module

    predicted, counted = module.predicted, []

    def stops(*arguments):
        counted.append(1)
        if len(counted) == 3:
            raise KeyboardInterrupt
        return predicted(*arguments)

    monkeypatch.setattr(module, "predicted", stops)
    assert predict(tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()
    assert predict(tmp_path / "out", "--batch-size", 3) == 2  # other settings
    assert predict(tmp_path / "out") == 0
    assert len(counted) == 1 + len(list(range(0, _stays(whole), 4)))  # the two that were done were not done again
    assert same(tmp_path / "out", whole)
    assert list(tmp_path.glob(".out*")) == []


def _stays(folder: Path) -> int:
    return json.loads((folder / "manifest.json").read_text())["stays"]


@pytest.mark.slow
def test_shards_write_together_what_one_process_writes(predict, whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(out, "--shard", "2/3") == 0
    assert "shard 2/3 is done" in capsys.readouterr().out
    assert predict(out, "--shard", "3/3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["complete"] is False
    assert not out.exists()
    assert predict(out, "--shard", "1/3") == 0
    assert same(out, whole)


@pytest.mark.slow
def test_diagnoses_alone_are_those_with_rationales(predict, whole, tmp_path, hospital, command):
    out = tmp_path / "out"
    assert predict(out, "--diagnoses-only") == 0
    rows, full = (
        [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for folder in (out, whole)
    )
    for row, other in zip(rows, full, strict=True):
        assert row["probabilities"] == other["probabilities"]
        assert row["diagnoses"] == other["diagnoses"]
        assert (row["note_rationale"], row["series_rationale"], row["contributions"]) == ("", "", [])
    evaluation = tmp_path / "evaluation"
    assert command("clinragen", "evaluate", "--predictions", out, "--cohort", hospital.cohort, "--out", evaluation) == 0
    report = ("clinragen", "report", "--predictions", out, "--cohort", hospital.cohort, "--out", tmp_path / "report")
    assert command(*report, "--evaluation", evaluation / "evaluation.json") == 0


#: Predicts in children that it kills, each soon after it has stored a part, until one gets to the end.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import clinragen.api.prediction, clinragen.attribution.explain, clinragen.commands.predict  # once, not in each child
import clinragen.inference.predict as predict, sklearn.feature_extraction.text
from clinragen import cli
predict.STAYS = 4
out, *arguments = sys.argv[1:]
parts, chance, killed = Path(out).with_name(f".{Path(out).name}.parts"), random.Random(0), 0
while not Path(out).exists():
    before = len(list(parts.glob("*.jsonl")))
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(cli.dispatch(["predict", "--out", out, *arguments]) or 0)
    while not (ended := os.waitpid(child, os.WNOHANG)[0]) and len(list(parts.glob("*.jsonl"))) <= before:
        time.sleep(0.002)
    if ended:
        assert Path(out).exists()
    else:
        time.sleep(chance.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
print(killed)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("disk")
def test_killed_at_any_moment_nothing_is_lost_or_doubled(whole, runs, hospital, tmp_path):
    out = tmp_path / "out"
    arguments = [out, "--model", runs.multimodal, "--cohort", hospital.cohort]
    run = subprocess.run(
        [sys.executable, "-c", KILLER, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= -(-_stays(whole) // 4) - 1
    assert same(out, whole)
    assert [path.name for path in tmp_path.glob(".out*")] == []
