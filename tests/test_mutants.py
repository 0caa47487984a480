"""The mutation probe: the source it hands to mutmut means the same, and it counts what it should."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

PROBE: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("mutants.py")))

SOURCE = """
from contextlib import contextmanager
from functools import cache

calls = []

@cache
def square(x):
    calls.append(x)
    return x * x

class Folder:
    @property
    def name(self):
        return "out"

    @staticmethod
    def plain():
        return 1

    @contextmanager
    def open(self):
        if self is None:
            raise ValueError(
                "no folder"
            )
        yield self.name
"""


def test_functions_behind_decorators_are_opened_and_mean_the_same():
    prepared = PROBE["prepare"](SOURCE)
    assert "@cache" not in prepared
    assert "@property" not in prepared
    assert "@staticmethod" in prepared
    space: dict[str, Any] = {}
    exec(prepared, space)
    assert (space["square"](3), space["square"](3), space["calls"]) == (9, 9, [3])
    folder = space["Folder"]()
    assert folder.plain() == 1
    with folder.open() as name:
        assert name == folder.name == "out"
    with pytest.raises(ValueError, match="no folder"), space["Folder"].open(None):
        pass


def test_the_wording_of_errors_is_spared_and_nothing_else():
    spared = [line for line in PROBE["prepare"](SOURCE).splitlines() if "no mutate" in line]
    assert [line.split("#")[0].strip() for line in spared] == ["raise ValueError(", '"no folder"', ")"]


def test_the_rate_leaves_out_equivalent_faults_and_tells_of_entries_that_are_stale(capsys):
    mutant = PROBE["Mutant"]
    mutants = [mutant("f", "a + b", "a - b", True), mutant("f", "x > 0", "x >= 0", False), mutant("f", "p", "q", False)]
    listed = [
        {"before": "p", "after": "q", "because": "the same"},
        {"before": "a + b", "after": "a - b", "because": "?"},
    ]
    rate = PROBE["report"]("m.py", mutants, listed, True, 1.0)
    assert rate == 0.5
    told = capsys.readouterr().out
    assert "1 of    2 killed   50.0%    1 equivalent" in told
    assert "f\n    - x > 0\n    + x >= 0" in told
    assert "killed or gone: a + b  ->  a - b" in told


def test_small_matters():
    assert PROBE["readable"]("x_fit__mutmut_3") == "fit"
    assert PROBE["readable"]("xǁLoopǁfit__mutmut_12") == "Loop.fit"
    assert PROBE["is_only_a_check"]("zip(a, b, strict=True)", "zip(a, b)")
    assert not PROBE["is_only_a_check"]("zip(a, b, strict=True)", "zip(a, None, strict=True)")


def test_every_module_of_the_list_has_tests():
    from omegaconf import OmegaConf

    root = Path(__file__).parents[1]
    listed: Any = OmegaConf.to_container(OmegaConf.load(root / "tests" / "mutants.yaml"))
    for module, entry in listed.items():
        assert (root / module).is_file(), module
        assert entry["tests"]
        assert all((root / path).exists() for path in entry["tests"]), module
        assert all(fault["because"] for fault in entry.get("equivalent") or [])
