"""Every command that ended well says what comes next, in a line that its user can type."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cyclopts import App

from clinragen.cli import PROGRAM
from clinragen.next_steps import next_step, table
from mimic_prep.cli import PROGRAM as PREPARATION

PROGRAMS = {program.name: program for program in (PROGRAM, PREPARATION)}
ENDLESS = {"clinragen serve"}


def leaves(app: App, chain: tuple[str, ...]) -> Iterator[tuple[str, App]]:
    """Every command that does something, with the words that call it."""
    if app.default_command and len(chain) > 1:
        yield " ".join(chain), app
    for name in app:
        if not name.startswith("-"):
            yield from leaves(app[name], (*chain, name))


COMMANDS = {
    name: app.default_command
    for program in PROGRAMS.values()
    for name, app in leaves(program.app(), (program.name,))
    if name not in ENDLESS
}


def parsed(line: str) -> None:
    program, *words = shlex.split(line)
    PROGRAMS[program].parse(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_one_and_it_can_be_typed(command):
    parameters = inspect.signature(COMMANDS[command]).parameters.values()
    least = {one.name: "given" if one.default is one.empty else one.default for one in parameters}
    for given in (least, dict.fromkeys(least, "given")):
        line = next_step(command, given)
        assert line, f"{command} does not say what comes next: add it to configs/next_steps.yaml"
        if line.split()[0] in PROGRAMS and "," not in line:
            parsed(line.replace("COST", "1").replace("STAY", "1"))


def test_no_line_is_of_a_command_that_is_gone():
    for pattern, lines in table().items():
        words = re.escape(pattern.removesuffix(" *"))
        assert any(re.match(rf"{words}\b", name) for name in COMMANDS) or pattern.startswith("clinragen train "), (
            pattern
        )
        for entry in lines:
            assert isinstance(entry, str) or len(entry) == 1


def test_the_first_line_whose_options_were_given():
    assert next_step("clinragen train multimodal", {"out": "run", "cohort": "c", "preflight": False}) == (
        "clinragen predict --model run --cohort c --out outputs/predictions"
    )
    assert next_step("clinragen train multimodal", {"preflight": True}) == "the same command without --preflight"
    assert str(next_step("clinragen train ask", {"out": "run", "cohort": "c"})).startswith("clinragen ask")
    assert next_step("clinragen nothing", {}) is None


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    source = "from clinragen.cli import main; main()"
    return subprocess.run([sys.executable, "-c", source, *words], capture_output=True, text=True, check=False)


def test_it_is_the_last_line_and_no_part_of_the_answer(tmp_path):
    out = tmp_path / "my graph"
    done = typed("graph", "build", "--out", str(out))
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == f"next: clinragen teach --cohort COHORT --graph '{out}'"
    assert "next:" not in done.stdout
    answer = typed("graph", "show", "sepsis", "--json")
    assert json.loads(answer.stdout)
    assert "next:" not in answer.stderr
    for words in (
        (),
        ("--version",),
        ("graph", "--help"),
        ("graph", "show", "--help"),
        ("graph", "show", "nothing such"),
    ):
        assert "next:" not in typed(*words).stderr
