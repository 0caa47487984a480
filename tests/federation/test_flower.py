"""A federation over real Flower processes on loopback comes to the same bytes as one by files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clinragen.errors import UserError
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


def test_the_same_bytes_come_over_flower_as_by_files(hospital, tmp_path):
    by_files = Consortium(tmp_path / "files", hospital.cohort, ("north", "south")).set_up()
    by_flower = Consortium(tmp_path / "flower", hospital.cohort, ("north", "south"))
    shutil.copytree(by_files.root, by_flower.root)
    by_files.run()
    address = f"127.0.0.1:{free_port()}"
    federation = by_flower.federation
    processes = [start("round", "--federation", federation, "--inbox", by_flower.root / "inbox", *FLOWER, address)]
    for name in by_flower.names:
        folders = ("--inbox", by_flower.root / f"{name}-inbox", "--outbox", by_flower.outbox(name))
        who = ("--federation", federation / "federation.json", "--site", by_flower.root / name)
        processes.append(start("site", *who, "--cohort", by_flower.cohort, *folders, *FLOWER, address))
    printed = [process.communicate(timeout=150) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], printed
    assert "finished: the model is in" in printed[0][0]
    last = by_files.manifest.rounds + 1
    for number in range(1, last + 1):
        for suffix in ("note", "safetensors"):
            name = Path("outbox") / f"round-{number:04}.{suffix}"
            assert (by_flower.federation / name).read_bytes() == (by_files.federation / name).read_bytes()


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
