"""Everything that is refused is refused with site and reason, in whatever order it arrives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinragen.federation.files import Message, parse_note, sha256, tensor_bytes
from clinragen.federation.manifest import stays_behind
from clinragen.federation.screening import Refusal, screen_round
from clinragen.signing import PrivateKey


def refusal(signers, message: Message, **changes) -> tuple[str, str]:
    """Site and reason."""
    outcome = signers.screening(**changes).screen(message)
    assert isinstance(outcome, Refusal), outcome
    assert outcome.detail
    return outcome.site, outcome.reason


def test_an_honest_update_enters(signers):
    update, statement = signers.screening().screen(signers.update(count=63))
    assert (update.count, update.site) == (63, signers.federation.members[0].key)
    assert statement["count"] == 63
    assert update.tensors["weights"].tolist() == np.ones((2, 3)).tolist()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"federation": "0" * 64}, "wrong federation"),
        ({"round": 1}, "wrong round"),
        ({"round": 3}, "wrong round"),
        ({"parent": "0" * 64}, "stale parent"),
        ({"config_sha256": "0" * 64}, "other settings"),
        ({"code_sha256": "0" * 64}, "other code"),
        ({"count": 101}, "forged count"),
        ({"count": 9}, "forged count"),
        ({"count": 0}, "forged count"),
        ({"count": -40}, "forged count"),
        ({"count": 40.5}, "malformed"),
        ({"contract": {"reward": 10}}, "wrong contract"),
        ({"age_hours": -1.0}, "malformed"),
        ({"count": "40"}, "malformed"),
        ({"and": 1}, "malformed"),
    ],
)
def test_a_statement_that_is_not_of_this_round_and_site_is_refused(signers, changes, reason):
    assert refusal(signers, signers.update(**changes)) == ("north", reason)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"weights": np.full((2, 3), np.nan)}, "NaN"),
        ({"bias": np.array([0, np.inf, 0])}, "inf"),
        ({"bias": np.array([0, -np.inf, 0])}, "inf"),
        ({"bias": np.full(3, 1e200)}, "huge norm"),
        ({"bias": np.array([0, 1000.1, 0])}, "huge norm"),
        ({"weights": np.ones((3, 2))}, "shape"),
        ({"bias": np.ones(4)}, "shape"),
        ({"bias": np.ones(())}, "shape"),
        ({"bias": np.ones(3, np.float32)}, "dtype"),
        ({"bias": np.ones(3, np.float16)}, "dtype"),
        ({"bias": np.ones(3, np.int64)}, "dtype"),
        ({"notes": np.ones(3)}, "unknown tensor"),
        ({"bias": None}, "missing tensor"),
    ],
)
def test_tensors_that_are_not_those_of_the_list_are_refused(signers, tensors, reason):
    sent = {name: array for name, array in signers.tensors(**tensors).items() if array is not None}
    assert refusal(signers, signers.update("south", sent)) == ("south", reason)


def test_a_change_may_be_as_long_as_the_federation_allows(signers):
    longest = {"weights": np.zeros((2, 3)), "bias": np.array([0, signers.federation.largest_norm, 0])}
    assert not isinstance(signers.screening().screen(signers.update("south", longest)), Refusal)


def test_who_signed_it_comes_first(signers):
    honest = signers.update()
    stranger = replace(signers, keys={"north": PrivateKey("stranger", b"s" * 32)})
    namesake = replace(signers, keys={"north": PrivateKey("north", b"n" * 32)})
    colleague = replace(signers, keys={"north": signers.keys["south"]})
    text = honest.note.decode()
    assert refusal(signers, Message(text.split("\n\n")[0].encode(), honest.tensors)) == ("", "unsigned")
    assert refusal(signers, Message(b"\xff\x00", honest.tensors)) == ("", "unsigned")
    assert refusal(signers, stranger.update()) == ("", "wrong key")
    assert refusal(signers, namesake.update()) == ("", "wrong key")
    assert refusal(signers, colleague.update()) == ("south", "wrong key")
    assert refusal(signers, Message(text.replace('"count":40', '"count":90').encode(), honest.tensors)) == (
        "",
        "bad signature",
    )


def test_an_update_that_two_members_signed_is_nobody_s(signers):
    honest = signers.update()
    note = str(parse_note(honest.note).signed(signers.keys["south"]))
    assert refusal(signers, Message(note.encode(), honest.tensors)) == ("", "wrong key")


def test_tensors_other_than_those_that_were_signed_are_refused(signers):
    honest = signers.update()
    other = Message(honest.note, tensor_bytes(signers.tensors(bias=np.zeros(3))))
    assert refusal(signers, other) == ("north", "altered tensors")
    assert refusal(signers, Message(honest.note, honest.tensors[:-1])) == ("north", "altered tensors")


def test_bytes_that_are_no_tensors_are_refused(signers, monkeypatch):
    monkeypatch.setattr("clinragen.federation.files.tensor_bytes", lambda tensors: b"PK\x03\x04 no tensors")
    assert refusal(signers, signers.update()) == ("north", "malformed")


def test_a_nonce_that_entered_an_earlier_round_is_a_replay(signers):
    assert refusal(signers, signers.update(), nonces=["north-1"]) == ("north", "replay")


def test_two_updates_of_a_site_are_both_refused_and_the_same_one_twice_is_one(signers):
    north, south = signers.update("north"), signers.update("south")
    second = signers.update("north", nonce="north-2")
    accepted, refusals = screen_round(signers.screening(), [north, south, south])
    assert sorted(accepted) == ["north", "south"]
    assert refusals == []
    accepted, refusals = screen_round(signers.screening(), [second, south, north])
    assert sorted(accepted) == ["south"]
    assert [(each.site, each.reason) for each in refusals] == [("north", "duplicate")] * 2
    assert {each.message for each in refusals} == {north.sha256, second.sha256}


def test_the_order_of_arrival_does_not_matter(signers):
    sent = [
        signers.update("north"),
        signers.update("south", signers.tensors(bias=np.full(3, np.nan))),
        signers.update("east"),
    ]
    first = screen_round(signers.screening(), sent)
    second = screen_round(signers.screening(), sent[::-1])
    assert list(first[0]) == list(second[0]) == ["east", "north"]
    assert first[1] == second[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"totals.stays": [40, 20, 20]}, None),  # all stays of the update
        ({"totals.stays": [9, 20, 20]}, "small cell"),
        ({"totals": [1.0, 0, 0], "totals.stays": [0, 20, 20]}, "small cell"),
        ({"labels": [3, 20]}, "small cell"),
        ({"totals.stays": [41, 20, 20]}, "forged count"),
        ({"totals.stays": [-20, 20, 20]}, "forged count"),
        ({"totals": [20.5, 0, 0]}, "out of bounds"),
        ({"totals": [-0.5, 0, 0]}, "out of bounds"),
        ({"totals": [np.nan, 0, 0]}, "NaN"),
    ],
)
def test_sums_over_few_stays_or_beyond_what_stays_can_add_are_refused(signers, changes, reason):
    signers.round_number = 1
    counts = {"totals": [10.0, 0, 20], "totals.stays": [20] * 3, "labels": [12, 0], "labels.stays": [20, 20]} | changes
    dtypes = {"totals": np.float64}
    sent = {name: np.array(values, dtypes.get(name, np.int64)) for name, values in counts.items()}
    assert stays_behind("totals") in sent
    outcome = signers.screening().screen(signers.update("east", sent))
    assert (outcome.reason if isinstance(outcome, Refusal) else None) == reason


def test_a_refusal_names_the_message(signers):
    message = signers.update(count=1)
    outcome = signers.screening().screen(message)
    assert outcome.message == sha256(message.note)
    assert str(outcome) == "north: forged count (1 stays, expected 10 to the 100 declared)"
