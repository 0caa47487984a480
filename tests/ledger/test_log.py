"""A log: what may be appended, what is refused, what witnesses do, and what a killed or failing writer leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from consortium import Consortium, digest, key_of
from hypothesis import given
from hypothesis import strategies as st

import clinragen.artifacts
from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Checkpoint, Trust
from clinragen.ledger.entries import Acceptance, Aggregate, Anchor, Entry, Opening, Payment, Update, parse_entry, stated
from clinragen.ledger.folder import UnsoundError
from clinragen.ledger.history import History
from clinragen.ledger.log import Log
from clinragen.ledger.verification import verify
from clinragen.ledger.witness import attach, cosign
from clinragen.signing import Note, PublicKey, canonical_json, to_base64


@pytest.fixture
def consortium(tmp_path):
    made = Consortium(tmp_path)
    made.play(2)
    return made


def an_update(consortium, site=0, **changes):
    key = consortium.sites[0][site]
    body = Update(key.name, consortium.round + 1, consortium.model, digest("sent"), 20)
    return stated(consortium.logs[0].trust.origin, replace(body, **changes), key)


def test_a_log_is_read_as_it_was_written(consortium):
    party = consortium.logs[0]
    again = Log(party.log.path, party.trust)
    assert again.checkpoint == party.log.checkpoint
    assert again.history == party.log.history


def test_a_line_is_read_as_the_entry_that_was_written(consortium):
    entry = an_update(consortium)
    assert parse_entry(entry.line(7), 7) == entry
    assert parse_entry(entry.line(7), 7).line(7) == entry.line(7)


BODY = {"round": 1, "parent": "0" * 64, "aggregate": "1" * 64, "updates": []}
LINE = Entry(Aggregate(**BODY)).line(3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "agregate"}, "did you mean 'aggregate'"),
        ({"index": 4}, "its index is 4, expected 3"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"signature": "x"}, "64 bytes in base64"),
        ({"index": 3.0}, "whole number 'index'"),
        ({"body": []}, "a mapping 'body'"),
        ({"body": {"round": 1}}, "is missing"),
        ({"body": BODY | {"note": ""}}, "unknown field 'note'"),
        ({"body": BODY | {"round": -1}}, "round: expected a count"),
        ({"body": BODY | {"parent": "0" * 63}}, "64 hex digits"),
        ({"body": BODY | {"updates": [{"site": "a", "update": "2" * 64, "count": 3, "weight": 1}]}}, "field 'weight'"),
    ],
)  # fmt: skip
def test_an_unknown_kind_or_field_is_refused(changes, why):
    with pytest.raises(UserError, match=why):
        parse_entry(canonical_json(json.loads(LINE) | changes), 3)


@given(st.binary(max_size=60))
def test_any_bytes_are_no_entry_and_no_crash(line):
    with pytest.raises(UserError):
        parse_entry(line, 0)


def test_a_refused_entry_leaves_the_log_as_it_was(consortium):
    party = consortium.logs[0]
    before = party.log.checkpoint
    good = an_update(consortium)
    for bad, why in [
        (replace(good, signature=bytes(64)), "not signed by"),
        (an_update(consortium, round=1), "an update of round 1 after"),
        (stated("other.example/log", good.body, consortium.sites[0][0]), "of another log"),
        (Entry(good.body), "no signature of its site"),
        (
            stated(party.trust.origin, replace(good.body, site="x"), replace(key_of("x"), name="x")),
            "not one of the log's",
        ),
        (good, "a second update"),
        (an_update(consortium, 1, parent=digest("other")), "starts from two models"),
    ]:
        with pytest.raises(UserError, match=why):
            party.log.append([good, bad], party.key)
        assert party.log.checkpoint == before
    party.log.append([good], party.key)
    assert Log(party.log.path, party.trust).checkpoint == party.log.checkpoint


def test_the_rules_of_the_main_log(consortium):
    main, log = consortium.main, consortium.main.log
    name = consortium.sites[0][0].name
    part = log.history.aggregates[2][1].updates[0]
    paid = next(payment for payment in _bodies(log, Payment) if payment.site == name)
    for body, why in [
        (Opening("again", main.trust, [], [], digest("x")), "begins with one opening"),
        (Aggregate(2, consortium.model, digest("x"), [part]), "round 2 after round 2"),
        (Aggregate(4, consortium.model, digest("x"), [part]), "round 4 after round 2"),
        (Aggregate(3, digest("x"), digest("y"), [part]), "does not start from the model"),
        (Aggregate(3, consortium.model, digest("y"), []), "at least one"),
        (Aggregate(3, consortium.model, digest("y"), [part, part]), "each of another site"),
        (Aggregate(3, consortium.model, digest("y"), [replace(part, site="x")]), "site of the opening"),
        (paid, "a second time"),
        (replace(paid, first_round=3), "ends after round 2"),
        (replace(paid, first_round=2), "no period of contract"),
        (replace(paid, item="other"), "did not choose item"),
        (replace(paid, contract=0), "did not choose item"),
        (replace(consortium.contract, items=[]), "at least one"),
        (replace(consortium.contract, rounds=0), "rounds from 1"),
        (replace(log.anchor(consortium.logs[0].log), checkpoint=_rewritten(consortium)), "was rewritten"),
    ]:
        with pytest.raises(UserError, match=why):
            log.append([Entry(body)], main.key)
    for body, why in [
        (Acceptance(name, consortium.contract_at, consortium.items[name].type), "chose an item"),
        (Acceptance(name, 0, "often"), "is no contract"),
        (Acceptance(name, consortium.contract_at, "always"), "has no item"),
    ]:
        with pytest.raises(UserError, match=why):
            log.append([stated(main.trust.origin, body, key_of(name))], main.key)


def test_nothing_comes_before_the_first_round_or_anchor(consortium):
    party, main = consortium.logs[0], consortium.main.log
    first = History()
    first.add(0, Entry(party.log.history.opening))
    with pytest.raises(UserError, match="an update of round 0"):
        first.add(1, an_update(consortium, round=0))
    anchored = History()
    anchored.add(0, Entry(main.history.opening))
    anchor = _bodies(main, Anchor)[0]
    with pytest.raises(UserError, match="continues nothing"):
        anchored.add(1, Entry(replace(anchor, consistency=[to_base64(bytes(32))])))
    signed = anchored.signatures
    anchored.add(1, Entry(anchor))
    assert anchored.signatures - signed == len(Note.parse(anchor.checkpoint).signatures)
    signed = anchored.signatures
    anchored.add(2, Entry(_bodies(main, Anchor)[1]))
    assert anchored.signatures > signed


@pytest.mark.parametrize(
    ("starts", "pays_from", "why"),
    [(3, 1, "no period of contract"), (2, 2, "ends after round 2"), (2, 3, "no period of contract")],
)
def test_only_whole_periods_that_ended_are_paid(consortium, starts, pays_from, why):
    main, log, name = consortium.main, consortium.main.log, consortium.sites[0][0].name
    log.append([Entry(replace(consortium.contract, first_round=starts))], main.key)
    number = len(log.tree) - 1
    item = consortium.contract.items[0].type
    log.append([stated(main.trust.origin, Acceptance(name, number, item), key_of(name))], main.key)
    with pytest.raises(UserError, match=why):
        log.append([Entry(Payment(name, number, item, pays_from, 2, "2.5"))], main.key)


def test_a_period_is_unpaid_from_its_last_round_on_where_something_is_due(consortium):
    history = deepcopy(consortium.main.log.history)
    assert history.unpaid() == []
    history.paid.clear()
    due_to = {site for site in consortium.items if history.delivered(site, 1, 2)}
    assert {(site, first) for site, _, first in history.unpaid()} == {(site, 1) for site in due_to}
    idle = next(iter(due_to))
    for number, sites in history.contributors.items():
        history.contributors[number] = sites - {idle}
    assert idle not in {site for site, *_ in history.unpaid()}


def test_money_has_at_most_twelve_decimals(consortium):
    main = consortium.main
    main.log.append([Entry(replace(consortium.contract, decimals=12))], main.key)
    with pytest.raises(UserError, match="decimals to 12"):
        main.log.append([Entry(replace(consortium.contract, decimals=13))], main.key)


def _bodies(log, kind):
    return [
        body
        for first in log.folder.starts()
        for index, line in enumerate(log.folder.batch(first).lines, first)
        if isinstance(body := parse_entry(line, index).body, kind)
    ]


def _rewritten(consortium):
    """A checkpoint of another history of the first network, with a quorum."""
    party = consortium.logs[0]
    note = Note(Checkpoint(party.trust.origin, len(party.log.tree), bytes(32)).text).signed(party.key)
    for witness in party.witnesses[:2]:
        note = note.cosigned(witness, 1)
    return str(note)


def _renamed(key):
    """The same key under another name."""
    return str(replace(PublicKey.parse(key), name="again.example/icu"))


def test_only_a_witnessed_checkpoint_is_anchored(consortium):
    party = consortium.logs[0]
    party.log.append([an_update(consortium)], party.key)
    with pytest.raises(UserError, match="cosigned by 0 of the 2 witnesses"):
        consortium.main.log.anchor(party.log)
    party.cosigned()
    consortium.main.log.append([Entry(consortium.main.log.anchor(party.log))], consortium.main.key)


def test_another_key_cannot_append(consortium):
    with pytest.raises(UserError, match="not of mallory"):
        consortium.main.log.append([Entry(consortium.contract)], key_of("mallory"))
    with pytest.raises(UserError, match="holds a log"):
        Log.create(consortium.main.log.path, consortium.main.log.history.opening, consortium.main.key)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda opening: {"sites": [*opening.sites, opening.sites[0]]}, "two of a site"),
        (lambda opening: {"sites": [*opening.sites, _renamed(opening.sites[0])]}, "none twice"),
        (lambda opening: {"log": replace(opening.log, quorum=4)}, "a quorum of 4"),
        (lambda opening: {"log": replace(opening.log, witnesses=opening.log.witnesses[:1] * 3)}, "stands twice"),
        (lambda opening: {"log": replace(opening.log, witnesses=[opening.log.key])}, "of type 4"),
        (lambda opening: {"networks": [opening.log]}, "two of a log"),
        (lambda opening: {"sites": ["x"]}, "public key"),
        (lambda opening: {"ledger_version": 2}, "a ledger of version 2"),
    ],
)
def test_an_opening_that_could_not_be_verified_is_refused(consortium, tmp_path, change, why):
    opening = consortium.main.log.history.opening
    with pytest.raises(UserError, match=why):
        Log.create(tmp_path / "new", replace(opening, **change(opening)), consortium.main.key)
    assert not list((tmp_path / "new").rglob("*.batch"))


def test_a_witness_does_not_sign_two_histories(consortium, tmp_path):
    party, key = consortium.logs[0], consortium.logs[0].witnesses[0]
    fork = tmp_path / "fork"
    shutil.copytree(party.log.path, fork)
    party.log.append([an_update(consortium)], party.key)
    cosign(party.log, key, tmp_path / "seen.note")
    other = Log(fork, party.trust)
    with pytest.raises(UnsoundError, match="it is missing"):
        cosign(other, key, tmp_path / "seen.note")
    other.append([an_update(consortium, count=999)], party.key)
    with pytest.raises(UnsoundError, match="a fork"):
        cosign(other, key, tmp_path / "seen.note")
    with pytest.raises(UserError, match="no such checkpoint"):
        attach(other, cosign(party.log, key, tmp_path / "seen.note"))
    with pytest.raises(UserError, match="is no witness"):
        cosign(party.log, party.key, tmp_path / "other.note")


def test_cosignatures_of_several_witnesses_come_together(consortium, tmp_path):
    party = consortium.logs[0]
    party.log.append([an_update(consortium)], party.key)
    notes = [cosign(party.log, key, tmp_path / key.name.split("/")[-1], 5) for key in party.witnesses]
    assert [attach(party.log, note) for note in notes] == [1, 2, 3]
    assert attach(party.log, notes[0]) == 3
    assert verify(party.log.path, trust=party.trust).witnessed == len(party.log.tree)


def test_two_writers_append_one_after_the_other(consortium):
    party = consortium.logs[0]
    other = Log(party.log.path, party.trust)
    party.log.append([an_update(consortium)], party.key)
    other.append([an_update(consortium, 1)], party.key)
    party.log.refresh()
    assert party.log.checkpoint == other.checkpoint == Log(party.log.path, party.trust).checkpoint


def test_a_full_disk_leaves_the_log_as_it_was(consortium, monkeypatch):
    party = consortium.logs[0]
    before = party.log.checkpoint

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(clinragen.artifacts, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        party.log.append([an_update(consortium)], party.key)
    monkeypatch.undo()
    assert party.log.checkpoint == Log(party.log.path, party.trust).checkpoint == before
    party.log.append([an_update(consortium)], party.key)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from consortium import digest, key_of
from clinragen.ledger.entries import Update, stated
from clinragen.ledger.log import Log
log, key = Log(Path(sys.argv[2])), key_of("network.example/n0")
site = key_of("hospital.example/n0/s0")
print("ready", flush=True)
while True:
    number = log.history.round + 1
    log.append([stated(key.name, Update(site.name, number, digest(number), digest(number, 1), 20), site)], key)
"""


def test_a_killed_writer_leaves_a_log_that_is_sound_and_goes_on(consortium):
    party = consortium.logs[0]
    sizes = []
    for delay in (0.02, 0.05, 0.11):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(party.log.path)],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert writer.stdout
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        sizes.append(len(Log(party.log.path, party.trust).tree))
    assert len(party.log.tree) < sizes[-1]
    assert sizes == sorted(sizes)
    (party.log.path / "batches" / f".{sizes[-1]:012}.batch.{'0' * 32}.tmp").write_bytes(
        b"half a ba"
    )  # killed while writing
    party.log.refresh()
    party.log.append([an_update(consortium, round=sizes[-1] + 9)], party.key)
    party.cosigned()
    assert verify(party.log.path, trust=party.trust).size == sizes[-1] + 1


def test_trust_is_read_as_it_was_written(consortium, tmp_path):
    path = tmp_path / "trust.json"
    consortium.main.trust.write(path)
    assert Trust.read(path) == consortium.main.trust
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quorum": 9}))
    with pytest.raises(UserError, match="a quorum of 9"):
        Trust.read(path)
    path.write_text("{}")
    with pytest.raises(UserError, match="key: is missing"):
        Trust.read(path)


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "a\n01\nx\n", "a\n-1\nx\n", f"a\n1\n{'A' * 43}B=\n", "a\n1\nAAAA\n", f"a\n1\n{'A' * 43}=\nmore\n"],
)
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(UserError, match="no checkpoint"):
        Checkpoint.parse(text)
