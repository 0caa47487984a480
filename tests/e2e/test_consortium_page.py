"""The page of the consortium, typed as it stands: a command reads and writes in one place, `cp` carries outboxes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest

from clinragen.federation.manifest import Federation
from clinragen.ledger.entries import Payment
from clinragen.ledger.log import Log
from tests.test_pages import PROGRAMS, ROOT, blocks, typed

PAGE = ROOT / "docs" / "consortium.md"
PLACES = ("north", "south", "east", "coordinator")
ROUNDS = 7


def places_of(words: list[str]) -> set[str]:
    """The places that a command's words name a path of."""
    paths = [word.rpartition("=")[2] for word in words]
    return {path.partition("/")[0] for path in paths if "/" in path} & set(PLACES)


def lines_of_the_page() -> list[list[str]]:
    """All command lines, those of each round as often as there are rounds."""
    lines = [list(typed(block)) for block in blocks(PAGE, "console")]
    [first] = [at for at, block in enumerate(lines) if ["federate", "site"] in [words[1:3] for words in block]]
    each_round = lines[first] + lines[first + 1]
    return [*(words for block in lines[:first] for words in block), *each_round * ROUNDS,
            *(words for block in lines[first + 2 :] for words in block)]  # fmt: skip


def test_a_command_works_in_one_place_and_only_outboxes_are_carried():
    for words in lines_of_the_page():
        if words[0] in PROGRAMS:
            assert len(places_of(words)) == 1, words
        elif words[0] == "cp" and len(places_of(words)) > 1:
            source = Path(words[-2])
            assert "outbox" in source.parts or source.name == "member.json", words
        else:
            assert words[0] in ("cp", "mkdir"), words


def test_three_hospitals_train_state_choose_are_paid_and_verify(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [policy] = blocks(PAGE, "yaml")
    for place in PLACES:
        (tmp_path / place).mkdir()
        (tmp_path / place / "policy.yaml").write_text(policy)
    verified = 0
    for words in lines_of_the_page():
        if words[0] in PROGRAMS:
            capsys.readouterr()
            assert command(*words) == 0, (words, capsys.readouterr().err)
            verified += words[1:3] == ["ledger", "verify"]
            if words[1:3] == ["ledger", "verify"]:
                assert f"aggregates with the right hash: rounds {ROUNDS}" in capsys.readouterr().out
        else:
            subprocess.run(words, check=True)
    assert verified == 3
    _check(tmp_path)


def _check(root: Path) -> None:
    """What the page promises of the log."""
    federation = Federation.read(root / "coordinator/federation/federation.json")
    log = Log(root / "north/inbox/ledger")
    names = {member.name for member in federation.members}
    assert {(site, number) for site in names for number in range(1, ROUNDS + 1)} == log.history.updates.keys()
    assert log.history.last_round == ROUNDS
    assert log.trust.cosigners(log.newest()) == sorted(names)
    payments = {entry.body.site: entry.body for _, entry in log.entries() if isinstance(entry.body, Payment)}
    assert payments.keys() == names
    [contract] = log.history.contracts.values()
    rewards = {item.type: item.reward for item in contract.items}
    assert {name: payment.reward for name, payment in payments.items()} == {
        name: rewards[payment.item] for name, payment in payments.items()
    }
    assert log.history.unpaid() == []
    for name in names:
        cohort = pl.read_parquet(root / name / "cohort" / "stays.parquet")
        tested = cohort.filter(pl.col("split") == "test")["stay_id"].to_list()
        predictions = pl.read_parquet(root / name / "predictions" / "predictions.parquet")
        assert set(predictions["stay_id"].to_list()) == set(tested) != set()


@pytest.mark.parametrize("place", ["north", "south", "east"])
def test_a_hospital_costs_what_its_item_says(place):
    """The page's choices are those that ``contract choose`` gives for the costs beside them."""
    words = [line for block in blocks(PAGE, "console") for line in typed(block)]
    cost = next(line[line.index("--cost") + 1] for line in words if "choose" in line and place in places_of(line))
    item = next(line[line.index("--item") + 1] for line in words if "accept" in line and place in places_of(line))
    from clinragen.api.contracts import choose_contract, solve_contract

    choice = choose_contract(solve_contract(set={"largest_frequency": 7}).menu, cost).choice
    assert choice.item is not None
    assert choice.item.name == item
