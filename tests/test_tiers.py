"""Every test is in exactly one tier, and each tier is what CONTRIBUTING says."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def collected(*arguments: str) -> list[str]:
    """Names of the tests that pytest would run."""
    call = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(call, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return [line for line in run.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_the_tiers_partition_the_tests():
    # a minute is saved by leaving the other folders out
    folders = [
        f"tests/{name}" for name in ("data", "e2e", "faults", "inference", "reporting")
    ]  # the others cost a minute
    everything, fast, slow = (collected(*tier, *folders) for tier in (("--tier", "all"), (), ("--tier", "slow")))
    assert Counter(fast) + Counter(slow) == Counter(everything)
    assert max(Counter(everything).values()) == 1
    assert {name.split("/")[1] for name in fast} == {"data", "inference", "reporting"}


@pytest.mark.slow
def test_a_file_named_on_the_command_line_runs_whole():
    file = "tests/test_tiers.py"
    assert len(collected(file)) == 4
    assert len(collected("--tier", "slow", file)) == 2
    assert collected("--tier", "fast", file) == [
        f"{file}::test_the_list_of_slow_tests_is_sorted_and_names_each_once",
        f"{file}::test_the_list_of_slow_tests_names_tests_that_exist",
    ]


def test_the_list_of_slow_tests_is_sorted_and_names_each_once():
    names = (TESTS / "slow.txt").read_text(encoding="utf-8").splitlines()
    assert names == sorted(set(names))


def test_the_list_of_slow_tests_names_tests_that_exist():
    sources: dict[str, str] = defaultdict(str)
    for path in TESTS.rglob("test_*.py"):  # some folders have a file of the same name
        sources[path.name] += path.read_text(encoding="utf-8")
    pairs = [line.split("::") for line in (TESTS / "slow.txt").read_text(encoding="utf-8").splitlines()]
    assert [(file, name) for file, name in pairs if f"def {name}(" not in sources[file]] == []
