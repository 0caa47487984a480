"""Every test is in exactly one tier, and each tier is what CONTRIBUTING says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


#: Several collections in one process, which imports what the tests import once.
COLLECT = """
import json, sys, pytest
for arguments in json.loads(sys.argv[1]):
    code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *arguments])
    print(f"code {int(code)}")
"""


def collected(*runs: Sequence[str]) -> list[list[str]]:
    """Names of the tests that pytest would run with each of some arguments."""
    call = [sys.executable, "-c", COLLECT, json.dumps(runs)]
    done = subprocess.run(call, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    *parts, rest = done.stdout.split("code 0\n")
    assert (len(parts), rest) == (len(runs), ""), done.stdout[-2000:] + done.stderr[-2000:]
    return [[line for line in part.splitlines() if "::" in line] for part in parts]


@pytest.mark.slow
def test_the_tiers_partition_the_tests():
    # a minute is saved by leaving the other folders out
    folders = [f"tests/{name}" for name in ("data", "e2e", "faults", "inference", "reporting")]
    everything, fast, slow = collected(*([*tier, *folders] for tier in (("--tier", "all"), (), ("--tier", "slow"))))
    assert Counter(fast) + Counter(slow) == Counter(everything)
    assert max(Counter(everything).values()) == 1
    assert {name.split("/")[1] for name in fast} == {"data", "inference", "reporting"}


@pytest.mark.slow
def test_a_file_named_on_the_command_line_runs_whole():
    file = "tests/test_tiers.py"
    whole, slow, fast = collected([file], ["--tier", "slow", file], ["--tier", "fast", file])
    assert (len(whole), len(slow)) == (4, 2)
    assert fast == [
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
