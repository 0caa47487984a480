"""Predictions on a real Ray cluster of this machine, whose workers are killed, fail or are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clinragen.attestation import Attestation
from clinragen.errors import UserError
from clinragen.inference.engines import Work
from clinragen.inference.parts import Parts
from clinragen.inference.prediction import Prediction
from clinragen.inference.ray_engine import RayCluster, _RayError
from clinragen.inference.ray_worker import MOST_LOST, Attempts, Order, PartWorker

FILES = ("predictions.jsonl", "predictions.parquet", "manifest.json")
SIZE = 2


@pytest.fixture
def predict(runs, hospital, command, monkeypatch):
    monkeypatch.setattr("clinragen.inference.predict.STAYS", SIZE)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run(out: Path, *options: object) -> int:
        arguments = ("--model", runs.multimodal, "--cohort", hospital.cohort, "--out", out, *options)
        return command("clinragen", "predict", *arguments)

    return run


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def begun(parts: Path) -> list[int]:
    """Processes that are in the middle of a part, once at least two parts are on the disk."""
    if len(list(parts.glob("*.jsonl"))) < 2:
        return []
    processes = []
    for path in parts.glob("*.attempts"):
        with suppress(FileNotFoundError):  # the part is done meanwhile
            processes += [int(word) for word in path.read_text().split()[-1:]]
    return processes


def watch(parts: Path, act, until: threading.Event) -> threading.Thread:
    """Call ``act`` with the process of a worker that is in the middle of a part."""

    def run() -> None:
        while not until.is_set():
            for process in begun(parts):
                act(process)
                return
            time.sleep(0.002)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_part_changes_no_byte(predict, tmp_path, capfd, monkeypatch):
    assert predict(tmp_path / "whole") == 0
    killed, over = [], threading.Event()

    def kill(process: int) -> None:
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    watcher = watch(tmp_path / ".out.parts", kill, over)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("CLINRAGEN_DEBUG", "1")
    capfd.readouterr()
    ended = predict(tmp_path / "out", "--engine", "ray", "--workers", 1)
    told = capfd.readouterr().err
    assert ended == 0, told
    over.set()
    watcher.join()
    assert len(killed) == 1
    assert same(tmp_path / "out", tmp_path / "whole")
    assert list(tmp_path.glob(".out*")) == []
    assert signal.getsignal(signal.SIGTERM) == before
    assert "are ready, about" in told
    assert "minutes left" in told
    assert all(line.startswith("  ") for line in told.splitlines() if line), told  # nothing of Ray's own


STARTED = """
import json, os, sys
from clinragen.inference.ray_engine import _running

with _running("local", 1) as ray:
    task = ray.remote(lambda: (ray.get_runtime_context().runtime_env, sys.executable))
    settings, program = ray.get(task.remote())
print(json.dumps([dict(settings), program == sys.executable]))
"""


@pytest.mark.slow
def test_under_uv_run_workers_take_no_folder_and_no_command_line_with_them(tmp_path):
    (tmp_path / "started.py").write_text(STARTED)
    (tmp_path / "notes.csv").write_text("of a patient")
    # a program named uv whose first word is run, as Ray looks for it among the parents
    (tmp_path / "run").write_text(
        f"import subprocess; subprocess.run([{sys.executable!r}, 'started.py'], check=True, timeout=200)"
    )
    ended = subprocess.run(
        ["uv", "run"], executable=sys.executable, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [{}, True]


class FailingRay:
    """Ray in this process, whose executions end with its own exceptions after so many parts each."""

    def __init__(self, monkeypatch, *after: int) -> None:
        self._after = iter(after)
        monkeypatch.setattr("clinragen.inference.ray_engine._running", self.running)
        monkeypatch.setattr("clinragen.inference.ray_engine._rows", self.rows)

    @contextmanager
    def running(self, address: str, workers: int | None):
        after = next(self._after)
        if after < 0:
            raise _RayError("Ray does not start on this machine: too slow")
        yield SimpleNamespace(cluster_resources=lambda: {"CPU": 1.0}, after=after)

    def rows(self, ray, given: Order, numbers: list[int], workers: int):
        worker = PartWorker(given)
        for place, number in enumerate(numbers):
            row = worker({"item": np.array([number])})
            if place == ray.after:  # the part is on the disk, and nobody learns of it
                raise _RayError("Ray failed: socket closed")
            yield {name: values[0] for name, values in row.items()}


@pytest.mark.slow
def test_what_ray_loses_is_predicted_by_another_one(predict, tmp_path, monkeypatch, capfd):
    assert predict(tmp_path / "whole") == 0
    FailingRay(monkeypatch, -1, -1, 2, 0, 99)
    assert predict(tmp_path / "out", "--engine", "ray", "--workers", 1) == 0
    assert same(tmp_path / "out", tmp_path / "whole")
    told = capfd.readouterr().err
    assert "Ray does not start on this machine: too slow: trying again" in told
    assert "Ray failed: socket closed: trying again" in told
    assert "15 of 15 are ready" in told


@pytest.mark.slow
def test_a_ray_that_never_works_is_given_up_and_ready_parts_stay(predict, tmp_path, monkeypatch, capfd):
    FailingRay(monkeypatch, 1, -1, -1, -1)
    assert predict(tmp_path / "out", "--engine", "ray", "--workers", 1) == 2
    assert "too slow (3 times in a row); the parts that are ready stay" in capfd.readouterr().err
    assert len(list((tmp_path / ".out.parts").glob("*.jsonl"))) == 2
    FailingRay(monkeypatch, 99)
    assert predict(tmp_path / "out", "--engine", "ray", "--workers", 1) == 0


def order(folder: Path, model: Path, cohort: Path, *, stays: int = 3) -> Order:
    parts = Parts.begin(folder / "out", np.arange(stays), SIZE, "a", overwrite=False)
    return Order(model, "diagnosis", cohort, Work(Prediction(), parts, "a"), None, "cpu", False)


def outcome(given: Order, number: int = 0) -> tuple[str, str]:
    row = PartWorker(given)({"item": np.array([number])})
    assert row["part"] == [number]
    return str(row["error"][0]), str(row["fault"][0])


def test_a_part_that_takes_its_workers_down_is_given_up(tmp_path):
    given = order(tmp_path, tmp_path, tmp_path)
    attempts = Attempts.of(given.work.parts, 0)
    assert [attempts.begin() for _ in range(MOST_LOST)] == list(range(MOST_LOST))
    error, _ = outcome(given)
    assert error.startswith(f"part 0 of 2 was begun {MOST_LOST} times, and each time its worker was lost")
    attempts.forget()
    assert "manifest.json not found" in outcome(given)[0]  # it goes on to the model, which is none


def test_a_part_that_is_stored_is_not_predicted_again(tmp_path):
    given = order(tmp_path, tmp_path / "none", tmp_path / "none")
    Attempts.of(given.work.parts, 0).begin()  # of a worker that was lost after it had stored the part
    given.work.parts.write(0, [{"stay_id": 0}], None)
    assert outcome(given) == ("", "")
    assert [path.name for path in given.work.parts.folder.iterdir() if path.suffix == ".attempts"] == []


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    given = order(tmp_path, tmp_path, tmp_path)
    (given.work.parts.folder / "identity.json").write_text('{"identity": "b"}')
    assert "a file system that all machines share" in outcome(given)[0]


def test_a_fault_of_a_worker_is_no_exception_that_ray_would_log(tmp_path, monkeypatch):
    given = order(tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(PartWorker, "_load", lambda self: 1 / 0)
    error, fault = outcome(given)
    assert error == ""
    assert "ZeroDivisionError" in fault


SIGNED = Attestation("10.0.0.5", "Dr Ada Example", "DUA 1.5.0", "none kept", "2026-01-15", "Dr Ada Example")


@pytest.mark.parametrize(
    ("address", "attestation", "expected"),
    [
        ("10.0.0.5:6379", None, "attestation.host is empty"),
        ("10.0.0.6:6379", SIGNED, "attestation.host is '10.0.0.5'"),
        ("127.0.0.1:6379", SIGNED, "attestation.host is"),  # a head here may have workers anywhere
        ("auto", SIGNED, "expected HOST:PORT"),
        ("ray://10.0.0.5", SIGNED, "expected HOST:PORT"),
    ],
)
def test_a_cluster_of_the_environment_needs_an_attestation(address, attestation, expected, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=expected):
        RayCluster.of(None, "auto", attestation)


def test_an_attested_cluster_is_named_in_the_manifest(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    cluster = RayCluster.of(3, "auto", SIGNED)
    assert cluster.address == "10.0.0.5:6379"
    assert cluster.remark == ("predicted on the Ray cluster 10.0.0.5:6379, as Dr Ada Example attested on 2026-01-15")


@pytest.mark.parametrize(
    ("workers", "device", "resources", "expected"),
    [
        (None, "auto", {"CPU": 8.0, "GPU": 2.0}, (2, "cuda")),
        (None, "auto", {"CPU": 8.0}, (8, "cpu")),
        (None, "cpu", {"CPU": 8.0, "GPU": 2.0}, (8, "cpu")),
        (3, "auto", {"CPU": 8.0}, (3, "cpu")),
        (None, "auto", {"CPU": 99.0}, (10, "cpu")),  # no more than there are parts
        (3, "auto", {"CPU": 8.0, "GPU": 2.0}, "--workers 3: each takes one GPU, and the Ray cluster has 2"),
        (None, "cuda", {"CPU": 8.0}, "--device cuda: the Ray cluster has no GPU"),
    ],
)
def test_each_worker_takes_a_gpu_or_a_cpu(workers, device, resources, expected):
    cluster = RayCluster(workers=workers, device=device)
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            cluster.size(resources, 10)
    else:
        assert cluster.size(resources, 10) == expected


def test_without_ray_the_extra_is_named_before_anything_is_read(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--engine ray needs packages .* make setup EXTRA=ray"):
        RayCluster.of(None, "auto", None)


@pytest.mark.parametrize(
    "options", [("--workers", 2), ("--attestation", "a.yaml"), ("--engine", "ray", "--workers", 0)]
)
def test_options_of_ray_that_mean_nothing_are_refused(predict_nothing, options, capsys):
    assert predict_nothing(*options) == 2
    assert "--workers" in capsys.readouterr().err


@pytest.fixture
def predict_nothing(command, tmp_path):
    def run(*options: object) -> int:
        arguments = ("--model", tmp_path, "--cohort", tmp_path, "--out", tmp_path / "out", *options)
        return command("clinragen", "predict", *arguments)

    return run


def test_the_file_of_an_attestation_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(SIGNED.__dict__))
    assert Attestation.read(path) == SIGNED
    path.write_text('{"hosts": "a"}')
    with pytest.raises(UserError, match="hosts"):
        Attestation.read(path)
