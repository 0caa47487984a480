"""How a command ends: one line for a mistake, a private file for a fault of the program, never a traceback."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from clinragen.errors import UserError, exit_code

SECRET = "Mr. Quill has septicemia"


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CLINRAGEN_DEBUG", raising=False)
    return tmp_path / "state"


def raising(error: BaseException):
    def command(argv):
        raise error

    return command


@pytest.mark.parametrize(
    "error",
    [ValueError(SECRET), KeyError(SECRET), AssertionError(SECRET), RuntimeError("\ud800" + SECRET), RecursionError()],
)
def test_a_fault_goes_into_a_private_file(error, state, capsys):
    assert exit_code(raising(error), []) == 70
    told = capsys.readouterr()
    assert told.out == ""
    assert SECRET not in told.err
    assert told.err.count("\n") == 1
    (log,) = (state / "clinragen").iterdir()
    assert str(log) in told.err
    assert "Traceback" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_fault_is_kept_where_there_is_no_home(state, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    assert exit_code(raising(ValueError(SECRET)), []) == 70
    name = capsys.readouterr().err.split("are in ")[1].split(" (")[0]
    assert SECRET in Path(name).read_text()
    Path(name).unlink()
    Path(name).parent.rmdir()


def test_debugging_shows_the_traceback(state, monkeypatch, capsys):
    monkeypatch.setenv("CLINRAGEN_DEBUG", "1")
    assert exit_code(raising(ValueError("why")), []) == 70
    assert "Traceback" in capsys.readouterr().err
    assert not state.exists()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("two\nlines"), 2, "error: two lines\n"),
        (PermissionError(13, "Permission denied", "/data/x"), 2, "error: Permission denied (/data/x)\n"),
        (OSError(36, "File name too long", b"/data/\xff"), 2, "error: File name too long (/data/\\udcff)\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (MemoryError(), 2, "error: memory ran out: close other programs, or take less at a time\n"),
        (UserError("note \ud800"), 2, "error: note \\ud800\n"),
    ],
)
def test_what_the_user_can_mend_is_one_line(error, code, says, state, capsys):
    assert exit_code(raising(error), []) == code
    assert capsys.readouterr().err == says
    assert not state.exists()


def test_names_that_are_not_utf8_are_told_before_the_work(state, capsys):
    name = os.fsdecode(b"/data/caf\xe9")

    def command(argv):
        pytest.fail("the work began")

    assert exit_code(command, ["--cohort", name]) == 2
    assert capsys.readouterr().err == (
        "error: argument 2 ('/data/caf\\udce9') is not UTF-8 text: rename the file or folder\n"
    )
