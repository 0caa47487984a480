"""The mutation probe: the source for mutmut is equivalent, and the counts are correct."""

from __future__ import annotations

import ast
import json
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
    mutants = [mutant("f", "a + b", "a - b", 1), mutant("f", "x > 0", "x >= 0", 0), mutant("f", "p", "q", 0)]
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
    assert "sampled" not in told


def test_a_sample_tells_its_size_and_interval_and_calls_no_entry_stale_that_it_did_not_run(capsys):
    mutant = PROBE["Mutant"]
    mutants = [mutant("f", f"a + {number}", "a", 1 if number else 0) for number in range(10)]
    mutants += [mutant("f", "p", "q", PROBE["LEFT_OUT"]), mutant("f", "r", "s", PROBE["LEFT_OUT"])]
    listed = [{"before": "p", "after": "q", "because": "the same"}]
    assert PROBE["report"]("m.py", mutants, listed, False, 1.0) == 0.9
    told = capsys.readouterr().out
    assert "9 of   10 killed   90.0%    0 equivalent" in told
    assert "10 of 12 sampled, 95 % interval 59.6% to 98.2%" in told
    assert "killed or gone" not in told


def test_the_interval_is_that_of_wilson():
    assert PROBE["wilson"](81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert PROBE["wilson"](0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert PROBE["wilson"](0, 0) == (0.0, 1.0)


def test_what_is_run_is_drawn_alike_each_time_and_what_was_killed_is_not_run_again(tmp_path):
    mutant, record = PROBE["Mutant"], tmp_path / "m.py.meta"
    codes = {"killed": 1, "survived": 0, "timeout": 24, "stopped": 2, "new": None, "before left out": 34, "zip": None}
    mutants = [
        mutant("f", "a", "b", code, name) for name, code in codes.items() if name != "zip"
    ]  # no fault that counts

    def drawn(sample: int | None) -> dict[str, int | None]:
        record.write_text(json.dumps({"exit_code_by_key": codes, "more": 1}))
        PROBE["draw"](record, mutants, sample)
        written = json.loads(record.read_text())
        assert written["more"] == 1
        return written["exit_code_by_key"]

    every = {"killed": 1, "timeout": 24, "survived": None, "stopped": None, "new": None, "before left out": None}
    assert drawn(None) == drawn(6) == drawn(99) == every | {"zip": 34}
    some = drawn(3)
    assert some == drawn(3)
    left_out = [name for name, code in some.items() if code == 34]
    assert len(left_out) == 4
    assert all(some[name] == every[name] for name in every if name not in left_out)


def test_faults_of_a_function_that_is_awaited_are_read(tmp_path):
    mutated, record = tmp_path / "m.py", tmp_path / "m.py.meta"
    mutated.write_text("async def x_go__mutmut_orig():\n    return 1\n\nasync def x_go__mutmut_1():\n    return 2\n")
    record.write_text(json.dumps({"exit_code_by_key": {"m.x_go__mutmut_1": 1}}))
    assert [str(mutant) for mutant in PROBE["read"](mutated, record)] == ["go\n    - return 1\n    + return 2"]


def test_small_matters():
    assert PROBE["readable"]("x_fit__mutmut_3") == "fit"
    assert PROBE["readable"]("xǁLoopǁfit__mutmut_12") == "Loop.fit"
    assert PROBE["is_only_a_check"]("zip(a, b, strict=True)", "zip(a, b)")
    assert not PROBE["is_only_a_check"]("zip(a, b, strict=True)", "zip(a, None, strict=True)")


ROOT = Path(__file__).parents[1]


def listed() -> dict[str, Any]:
    from omegaconf import OmegaConf

    entries: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "tests" / "mutants.yaml"))
    return entries


def test_every_fault_that_is_listed_as_equivalent_is_one_of_a_line_that_the_module_has():
    for module, entry in listed().items():
        source = ast.parse(PROBE["prepare"]((ROOT / module).read_text(encoding="utf-8")))
        lines = {line.strip() for line in ast.unparse(source).splitlines()}
        lines |= {ast.unparse(node.args) for node in ast.walk(source) if isinstance(node, ast.FunctionDef)}
        assert [fault["before"] for fault in entry.get("equivalent") or [] if fault["before"] not in lines] == [], (
            module
        )


def test_every_module_of_the_list_has_tests():
    for module, entry in listed().items():
        assert (ROOT / module).is_file(), module
        assert entry["tests"]
        assert all((ROOT / path).exists() for path in entry["tests"]), module
        assert all(fault["because"] for fault in entry.get("equivalent") or [])
