"""``clinragen ledger``: a log is verified, shown and proven; an altered one ends with 1 and its first bad entry."""

from __future__ import annotations

import json
import shutil

import pytest
from attacks import Files, edited
from consortium import Consortium


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    consortium = Consortium(tmp_path_factory.mktemp("consortium"))
    consortium.play(2)
    return consortium


@pytest.fixture
def written(made, command, tmp_path, capsys):
    """Files of keys and of the newest checkpoint, written by the command."""
    trust, seen = tmp_path / "trust.json", tmp_path / "seen.note"
    files = ["--write-trust", trust, "--write-checkpoint", seen]
    assert command("clinragen", "ledger", "show", "--ledger", made.main.log.path, *files) == 0
    capsys.readouterr()
    return trust, seen


def test_a_sound_log_is_verified_with_its_networks(made, written, command, capsys):
    trust, seen = written
    networks = [word for party in made.logs for word in ("--network", party.log.path)]
    line = ["ledger", "verify", "--ledger", made.main.log.path, "--trust", trust, "--checkpoint", seen, *networks]
    assert command("clinragen", *line) == 0
    shown = capsys.readouterr().out
    assert f"sound, {len(made.main.log.tree)} entries" in shown
    assert "Not proven: that data, counts and updates are honest" in shown
    assert command("clinragen", *line, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["sound"]
    assert values["witnessed"] == values["size"] == len(made.main.log.tree)
    assert [one["origin"] for one in values["networks"]] == [party.trust.origin for party in made.logs]


def test_a_log_that_was_altered_ends_with_1_and_the_entry(made, command, tmp_path, capsys):
    copy = tmp_path / "log"
    shutil.copytree(made.main.log.path, copy)
    files = Files(copy)
    number, row = files.spot(4)
    files.lines[number][row] = edited(files.lines[number][row], item="other")
    files.write()
    assert command("clinragen", "ledger", "verify", "--ledger", copy) == 1
    assert "not sound" in (shown := capsys.readouterr().out)
    assert "entry 4: it was altered" in shown
    assert command("clinragen", "ledger", "verify", "--ledger", copy, "--json") == 1
    values = json.loads(capsys.readouterr().out)
    assert (values["sound"], values["first"], values["last"]) == (False, 4, 4)


def test_entries_are_listed_and_shown(made, command, capsys):
    ledger = made.main.log.path
    assert command("clinragen", "ledger", "show", "--ledger", ledger, "--kind", "payment", "--json") == 0
    payments = json.loads(capsys.readouterr().out)
    assert [row["site"] for row in payments] == list(made.items)
    assert command("clinragen", "ledger", "show", "--ledger", ledger, "--last", 2) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert command("clinragen", "ledger", "show", "--ledger", ledger, "--entry", 0) == 0
    assert made.main.trust.key in capsys.readouterr().out


def test_proofs_are_written_and_checked_without_the_log(made, written, command, tmp_path, capsys):
    trust, seen = written
    ledger, out, growth = made.main.log.path, tmp_path / "entry.json", tmp_path / "growth.json"
    assert command("clinragen", "ledger", "prove", "--ledger", ledger, "--entry", 1, "--out", out) == 0
    assert command("clinragen", "ledger", "prove", "--ledger", ledger, "--since", seen, "--out", growth) == 0
    capsys.readouterr()
    assert command("clinragen", "ledger", "verify", "--proof", out, "--trust", trust, "--json") == 0
    proven = json.loads(capsys.readouterr().out)
    assert (proven["kind"], proven["index"], proven["proven"]) == ("contract", 1, True)
    assert command("clinragen", "ledger", "verify", "--proof", growth, "--trust", trust, "--checkpoint", seen) == 0
    assert "continues that with" in capsys.readouterr().out
    out.write_text(out.read_text().replace('"index": 1', '"index": 2'))
    assert command("clinragen", "ledger", "verify", "--proof", out, "--trust", trust) == 2
    assert "its index is 1, expected 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["verify"], "either --ledger, a folder, or --proof"),
        (["verify", "--ledger", "nowhere"], "nowhere holds no log"),
        (["verify", "--proof", "p.json"], "--proof needs --trust"),
        (["verify", "--ledger", "LOG", "--aggregate", "three"], "expected ROUND=FILE"),
        (["verify", "--ledger", "LOG", "--trust", "none.json"], "none.json not found"),
        (["verify", "--ledger", "LOG", "--checkpoint", "none.note"], "none.note not found"),
        (["show", "--ledger", "LOG", "--kind", "paymnt"], "did you mean 'payment'"),
        (["show", "--ledger", "LOG", "--entry", "999"], "has no such entry 999"),
        (["prove", "--ledger", "LOG", "--out", "p.json"], "either --entry, an index, or --since"),
        (["prove", "--ledger", "LOG", "--out", "p.json", "--entry", "999"], "has no entry 999"),
    ],
)
def test_a_slip_is_one_line(made, command, capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert command("clinragen", "ledger", *(made.main.log.path if word == "LOG" else word for word in words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0]
