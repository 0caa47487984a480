"""A federation over real Flower processes on loopback comes to the same bytes as one by files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from clinragen.api.values import open_cohort
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.federation.manifest import Federation
from clinragen.federation.site import Site
from tests.federation.test_rounds import Consortium

pytest.importorskip("flwr")
FLOWER = ("--transport", "flower", "--address")


def start(*arguments: object) -> subprocess.Popen[str]:
    code = "import sys; from clinragen.cli import main; sys.argv[0] = 'clinragen'; main()"
    words = [sys.executable, "-c", code, "federate", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def ended(processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """Leave no process behind, whatever happens."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def test_sites_that_start_first_and_outlive_the_coordinator_come_to_the_bytes_of_files(hospital, tmp_path):
    by_files = Consortium(tmp_path / "files", hospital.cohort, ("north", "south")).set_up()
    by_flower = Consortium(tmp_path / "flower", hospital.cohort, ("north", "south"))
    shutil.copytree(by_files.root, by_flower.root)
    by_files.run()
    address = f"127.0.0.1:{free_port()}"
    federation = by_flower.federation
    processes = []
    with ended(processes):
        for name in by_flower.names:
            folders = ("--inbox", by_flower.root / f"{name}-inbox", "--outbox", by_flower.outbox(name))
            who = ("--federation", federation / "federation.json", "--site", by_flower.root / name)
            processes.append(start("site", *who, "--cohort", by_flower.cohort, *folders, *FLOWER, address))
        said = processes[0].stderr
        assert said is not None
        for line in said:
            if "waiting for a coordinator" in line:
                break
        coordinate = ("round", "--federation", federation, "--inbox", by_flower.root / "inbox", *FLOWER, address)
        processes.append(start(*coordinate))
        until((federation / "outbox" / "round-0002.note").exists)
        processes.pop().kill()
        processes.append(start(*coordinate))
        printed = [process.communicate(timeout=150) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], printed
    assert "finished: the model is in" in printed[-1][0]
    last = by_files.manifest.rounds + 1
    for number in range(1, last + 1):
        for suffix in ("note", "safetensors"):
            name = Path("outbox") / f"round-{number:04}.{suffix}"
            assert (by_flower.federation / name).read_bytes() == (by_files.federation / name).read_bytes()


def opened(consortium: Consortium) -> tuple[Site, Federation, Cohort]:
    return Site.open(consortium.root / "north"), consortium.manifest, open_cohort(consortium.cohort)


def test_a_site_says_what_it_waits_for_and_gives_up_in_the_end(hospital, tmp_path, monkeypatch):
    from clinragen.federation import flower

    consortium = Consortium(tmp_path, hospital.cohort, ("north", "south")).set_up()
    monkeypatch.setattr(flower, "_PATIENCE", 0.2)
    address, lines = f"127.0.0.1:{free_port()}", []
    with pytest.raises(UserError, match=f"{address}: no coordinator has listened there"):
        flower.take_part(*opened(consortium), address, (tmp_path / "in", tmp_path / "out"), say=lines.append)
    assert lines[0] == f"waiting for a coordinator that listens on {address}"


def test_another_service_is_no_coordinator(hospital, tmp_path):
    import grpc

    from clinragen.federation.flower import take_part

    consortium = Consortium(tmp_path, hospital.cohort, ("north", "south")).set_up()
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with pytest.raises(UserError, match=f"{address}: no coordinator of a federation: UNIMPLEMENTED"):
            take_part(*opened(consortium), address, (tmp_path / "in", tmp_path / "out"))
    finally:
        server.stop(None)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("10.0.0.1:80", "off loopback a connection needs certificates"),
        ("hospital.example:9092", "off loopback a connection needs certificates"),
        ("0.0.0.0:9092", "off loopback a connection needs certificates"),
        ("127.0.0.1", "expected HOST:PORT"),
    ],
)
def test_off_loopback_nothing_goes_without_certificates(address, says):
    from clinragen.federation.flower import _certificates

    with pytest.raises(UserError, match=says):
        _certificates(address, None, ())


def test_telemetry_is_off():
    code = "import clinragen.federation.flower, flwr.supercore.telemetry as t; print(t.FLWR_TELEMETRY_ENABLED)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
