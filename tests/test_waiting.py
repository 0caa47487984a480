"""A command that prints nothing for long says that it is still at work, and only then."""

from __future__ import annotations

import io
import sys
import time

import pytest

from clinragen.command_line import Program
from clinragen.waiting import idle, no_silence


def lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "still at work" in line]


def test_a_silent_command_is_heard(capsys):
    with no_silence(0.2):
        time.sleep(0.5)
    assert len(lines(capsys)) == 1  # the next after twice as long: this is no terminal


def test_a_terminal_is_told_again_and_again(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with no_silence(0.1):
        time.sleep(0.6)
    assert len(lines(capsys)) > 2


def test_what_prints_or_waits_for_its_user_is_left_alone(capsys):
    with no_silence(0.5):
        for _ in range(8):
            print("a line")
            time.sleep(0.1)
        with idle():
            time.sleep(0.8)
        print("a question", file=sys.stderr)
    assert lines(capsys) == []


def test_streams_are_as_before_and_errors_go_through():
    before = sys.stdout, sys.stderr

    def fail() -> None:
        with no_silence():
            assert sys.stdout.encoding == before[0].encoding
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert (sys.stdout, sys.stderr) == before


def test_a_closed_stream_is_no_fault(monkeypatch):
    closed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", closed)
    with no_silence(0.05):
        closed.close()
        time.sleep(0.2)


def test_every_command_is_watched(monkeypatch):
    entered = []
    monkeypatch.setattr("clinragen.command_line.no_silence", lambda: entered.append(1) or no_silence())
    program = Program("p", "about", "tests", further={"wait": ("wait", lambda: None)})
    monkeypatch.setattr(Program, "_files", lambda self: {})
    assert program.main(["wait"]) == 0
    assert entered
