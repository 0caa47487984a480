"""The script for a rented accelerator runs on a CPU at toy size, goes on where it stopped, and keeps to its time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_gpu.py"
SOME = ("hospital", "speed", "tiny_gain")  # the others run the same programs for longer


def run(out: Path, minutes: float) -> tuple[dict[str, Any], str, float]:
    """The kept results, the printed table, and how many seconds it took."""
    began = time.monotonic()
    options = ("--toy", "--device", "cpu", "--out", out, "--minutes", minutes, "--only", ",".join(SOME))
    done = subprocess.run([*map(str, (sys.executable, SCRIPT, *options))], capture_output=True, text=True, check=True)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results["experiments"], done.stdout, time.monotonic() - began


def test_what_does_not_fit_is_skipped_and_what_is_finished_is_kept(tmp_path):
    hurried, table, seconds = run(tmp_path, 0.35)
    assert seconds < 60
    assert hurried["tiny_gain"]["state"].startswith("skipped")
    assert "skipped" in table

    found, table, _ = run(tmp_path, 15)
    assert {name: result["state"] for name, result in found.items()} == dict.fromkeys(SOME, "finished")
    assert "loss of the first pass" in table
    assert "rationales and diagnoses, one text" in table

    again, table, _ = run(tmp_path, 0.4)
    assert again == found  # with their seconds: nothing ran twice
    assert "loss of the first pass" in table
