"""Trackers: they receive the content of ``metrics.csv``, and training works without one."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from clinragen.stages import loggers
from clinragen.stages.checkpoint import TrainState
from clinragen.stages.loggers import Sink, Tracker

ROW = {"train/loss": 2.5, "validation/loss": 3.0, "validation/macro_auroc": 0.5}


def from_tensorboard(out: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def from_wandb(out: Path) -> dict[str, list[tuple[int, float]]]:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = out.glob("wandb/offline-run-*/run-*.wandb")
    found: dict[str, list[tuple[int, float]]] = {}
    for data in records(file.read_bytes()):
        items = Record.FromString(data).history.item
        values = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
        for name in values.keys() - {"_step", "_runtime", "_timestamp"}:
            found.setdefault(name, []).append((values["_step"], values[name]))
    return found


def records(log: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's format: blocks of 32 KiB, and the first holds seven bytes of wandb's own."""
    position, record = 7, b""
    while position + 7 <= len(log):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", log, position + 4)
        record += log[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def from_mlflow(out: Path) -> dict[str, list[tuple[int, float]]]:
    from mlflow import MlflowClient

    client = MlflowClient((out / "mlruns").absolute().as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("clinragen").experiment_id])
    assert run.info.status == "FINISHED"
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics
    }


READ = {"tensorboard": from_tensorboard, "wandb": from_wandb, "mlflow": from_mlflow}


@pytest.fixture
def train(hospital, command, capsys, tmp_path):
    """``train(kind)``: exit code and lines of a first stage of two epochs in ``tmp_path / "out"``."""

    def run(kind: str, *more: str) -> tuple[int, list[str]]:
        given = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model)
        settings = ("--set", "stage.precision=32-true", "--set", "stage.epochs=2", "--set", f"trainer.logger={kind}")
        code = command(*given, *settings, *more, "--out", tmp_path / "out")
        return code, capsys.readouterr().err.strip().splitlines()

    return run


@pytest.mark.parametrize("kind", READ)
def test_it_holds_what_the_metric_file_holds_and_nothing_of_where_the_data_lie(
    kind, train, hospital, tmp_path, monkeypatch
):
    pytest.importorskip(kind)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert train(kind)[0] == 0
    out = tmp_path / "out"
    rows = pl.read_csv(out / "metrics.csv")
    found = READ[kind](out)
    assert found.keys() == set(rows.columns) - {"epoch", "step"}
    for name, points in found.items():
        assert [step for step, _ in points] == rows["step"].to_list(), name
        assert [value for _, value in points] == pytest.approx(rows[name].to_list(), abs=1e-5), name
    written = [p for p in out.rglob("*") if p.is_file() and p.relative_to(out).parts[0] in (kind, "mlruns")]
    assert written
    assert not [p for p in written if os.fsencode(hospital.cohort) in p.read_bytes()]


def test_a_resumed_run_has_each_epoch_once(tmp_path):
    pytest.importorskip("tensorboard")
    first, second = ROW | {"epoch": 1, "step": 4}, ROW | {"epoch": 2, "step": 8}
    Tracker(tmp_path, "tensorboard", "notes", "loss").epoch(TrainState(epoch=1, history=[first], best_epoch=0))
    resumed = Tracker(tmp_path, "tensorboard", "notes", "loss")
    resumed.epoch(TrainState(epoch=2, history=[first, second], best_epoch=0))
    resumed.close(TrainState(epoch=2, history=[first, second], best_epoch=0))
    assert from_tensorboard(tmp_path)["validation/loss"] == [(4, 3.0), (8, 3.0)]


def test_a_run_that_was_killed_right_after_its_last_epoch_gets_its_files_when_it_ends(tmp_path):
    done = TrainState(epoch=1, history=[ROW | {"epoch": 1, "step": 4}], best_epoch=0)
    Tracker(tmp_path, "csv", "notes", "loss").close(done)
    assert pl.read_csv(tmp_path / "metrics.csv")["step"].to_list() == [4]
    assert (tmp_path / "curve.png").exists()


def test_one_that_cannot_be_reached_is_told_before_training(train, tmp_path, monkeypatch):
    def unreachable(out: Path, name: str) -> Sink:
        raise ConnectionError("no route to the server\nand more")

    monkeypatch.setitem(loggers.TRACKERS, "tensorboard", unreachable)
    code, lines = train("tensorboard")
    assert code == 2
    assert "trainer.logger=tensorboard failed (no route to the server)" in lines[-1]
    assert not (tmp_path / "out" / "metrics.csv").exists()


def test_one_that_fails_in_the_middle_does_not_stop_training_and_misses_nothing(train, monkeypatch):
    steps: list[int] = []
    calls: list[int] = []

    def log(row: dict[str, float], step: int) -> None:
        calls.append(step)
        if len(calls) == 1:
            raise ConnectionError("gone for a moment")
        steps.append(step)

    monkeypatch.setitem(loggers.TRACKERS, "tensorboard", lambda out, name: Sink(log, lambda: None))
    code, lines = train("tensorboard")
    assert code == 0
    assert "gone for a moment" in " ".join(lines)
    assert len(steps) == 2
    assert steps == sorted(steps)


@pytest.mark.parametrize("kind", loggers.TRACKERS)
def test_one_that_is_not_installed_is_named_before_any_work(kind, train, tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    code, lines = train(kind, "--preflight")
    assert code == 2
    assert [line for line in lines if line.startswith("error: ")] == [
        f"error: trainer.logger={kind} needs packages that are not installed: in the checkout type make setup "
        f"EXTRA={kind}, elsewhere pip install 'PATH/TO/CHECKOUT[{kind}]'"
    ]
    assert not (tmp_path / "out").exists()
