"""The log of a federation, written by commands: what is missing, altered, late or forged is named and left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from clinragen.federation.site import Site
from clinragen.federation.statements import read_statement
from clinragen.ledger.entries import Update, stated
from clinragen.ledger.log import Log
from tests.conftest import call
from tests.federation.test_rounds import Consortium, killed

#: A period of two rounds, in which a site promises one or two updates.
MENU = {"items": [{"type": "seldom", "cost": 3, "frequency": 1, "reward": 4},
                  {"type": "very often", "cost": 1, "frequency": 2, "reward": 6.5}]}  # fmt: skip


class Hospitals(Consortium):
    """Three sites with a log and a contract."""

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    @property
    def log(self) -> Log:
        return Log(self.ledger)

    def write(self, *words: object) -> int:
        """A command of the operator."""
        return call("clinragen", "ledger", *words, "--ledger", self.ledger, "--federation", self.federation)

    def at(self, name: str, *words: object, ledger: Path | None = None) -> int:
        """A command of a site."""
        places = ("--ledger", ledger or self.ledger, "--site", self.root / name, "--outbox", self.outbox(name))
        return call("clinragen", "ledger", *words, *places)

    def record(self, *words: object) -> int:
        inboxes = [word for name in self.names for word in ("--inbox", self.outbox(name)) if self.outbox(name).exists()]
        return self.write("record", *inboxes, *words)

    def answered(self, *names: str, close: bool = False) -> None:
        """One round, which some sites answer."""
        for name in names:
            assert self.site(name) == 0
        assert self.round(*["--close"] * close) == 0


@pytest.fixture(scope="module")
def begun(hospital, tmp_path_factory) -> Hospitals:
    """Round 1 is closed; nobody has stated anything. Tests work on copies."""
    made = Hospitals(tmp_path_factory.mktemp("begun") / "sites", hospital.cohort)
    made.set_up(least_sites=2, **{"settings.rounds": 1})
    assert made.round() == 0
    assert call("clinragen", "ledger", "open", "--federation", made.federation, "--out", made.ledger) == 0
    (made.root / "menu.json").write_text(json.dumps(MENU))
    assert made.write("offer", "--menu", made.root / "menu.json", "--rounds", 2) == 0
    made.answered(*made.names)
    return made


@pytest.fixture
def hospitals(begun, tmp_path) -> Hospitals:
    shutil.copytree(begun.root, tmp_path / "sites")
    return Hospitals(tmp_path / "sites", begun.cohort)


def test_a_round_waits_for_its_statements_and_is_recorded_once(hospitals, capsys):
    for name in ("north", "south"):
        assert hospitals.at(name, "state") == 0
    capsys.readouterr()
    assert hospitals.record() == 0
    assert "round 1 waits for the statement of east" in capsys.readouterr().out
    assert hospitals.log.history.last_round == 0
    assert hospitals.at("east", "state") == 0
    assert hospitals.record() == 0
    log = hospitals.log
    assert log.history.last_round == 1
    assert {site for site, _ in log.history.updates} == set(hospitals.names)
    capsys.readouterr()
    assert hospitals.record() == 0
    assert "nothing new to record" in capsys.readouterr().out
    assert len(hospitals.log.tree) == len(log.tree)
    model = hospitals.federation / "outbox" / "round-0002.safetensors"
    words = ("verify", "--ledger", hospitals.ledger, "--allow-unwitnessed", "--aggregate", f"1={model}")
    assert call("clinragen", "ledger", *words) == 0
    model.write_bytes(model.read_bytes() + b"\0")
    assert call("clinragen", "ledger", *words) == 1


def resigned(path: Path, hospitals: Hospitals, signer: str, **changes: object) -> None:
    """Write a statement with other contents, signed with the key of a site."""
    origin, entry = read_statement(path)
    assert isinstance(entry.body, Update)
    site = Site.open(hospitals.root / signer)
    body = Update(**{**vars(entry.body), **changes, "site": site.key.name})
    forged = stated(origin, body, site.key)
    line = forged.line(0).decode().replace(f'"site":"{signer}"', f'"site":"{entry.body.site}"')
    path.write_text(f"{origin}\n{line}\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path, made: resigned(path, made, "east", count=11), "east stated another update, count or parent"),
        (lambda path, made: resigned(path, made, "east", update="0" * 64), "east stated another update"),
        (lambda path, made: resigned(path, made, "east", parent="0" * 64), "does not start from the model"),
        (lambda path, made: resigned(path, made, "south"), "not signed by east"),
        (lambda path, made: path.write_text(path.read_text().replace('"count":', '"count": ')), "canonical JSON"),
        (lambda path, made: path.write_bytes(b"\xff\n{}"), "cannot be read as text"),
    ],
)
def test_a_statement_that_is_not_what_was_sent_is_left_out(hospitals, capsys, change: Callable[..., None], says):
    for name in hospitals.names:
        assert hospitals.at(name, "state") == 0
    change(hospitals.outbox("east") / "east-0001.statement", hospitals)
    capsys.readouterr()
    assert hospitals.record() == 0
    shown = capsys.readouterr().out
    assert says in shown
    assert "round 1 waits for the statement of east" in shown
    assert hospitals.at("east", "state") == 0  # the site types it again, and the right one is written
    assert hospitals.record() == 0
    assert hospitals.log.history.last_round == 1


def test_a_site_that_was_not_in_a_round_cannot_stop_it(hospitals, capsys):
    hospitals.answered("north", "south", close=True)
    for name in hospitals.names:
        assert hospitals.at(name, "state") == 0
    late = hospitals.outbox("east") / "east-0002.statement"  # the first of its round in the order of names
    late.write_bytes((hospitals.outbox("east") / "east-0001.statement").read_bytes())
    resigned(late, hospitals, "east", round=2)
    capsys.readouterr()
    assert hospitals.record() == 0
    assert "does not start from the model that east states" in capsys.readouterr().out
    assert hospitals.log.history.last_round == 2
    assert hospitals.log.history.contributors[2] == {"north", "south"}
    resigned(late, hospitals, "east", round=2, parent=hospitals.log.history.aggregates[2][1].parent)
    assert hospitals.record() == 0
    assert "round 2 was recorded without it" in capsys.readouterr().out


def test_a_site_is_paid_for_what_it_delivered(hospitals, capsys):
    assert hospitals.at("north", "accept", "--item", "very often") == 0
    assert hospitals.at("east", "accept", "--item", "very often") == 0
    assert hospitals.at("south", "accept", "--item", "seldom") == 0
    hospitals.answered("north", "south", close=True)
    for name in hospitals.names:
        assert hospitals.at(name, "state") == 0
    assert hospitals.record() == 0
    capsys.readouterr()
    assert hospitals.write("pay", "--json") == 0
    paid = {row["site"]: (row["delivered"], row["reward"]) for row in json.loads(capsys.readouterr().out)}
    assert paid == {"north": (2, "6.5"), "south": (2, "4"), "east": (1, "3.25")}
    assert hospitals.write("pay") == 0
    assert "nothing is due" in capsys.readouterr().out
    for name in hospitals.names:
        assert hospitals.at(name, "cosign") == 0
    assert hospitals.record() == 0
    assert "cosigned by 3 of the 2 needed" in capsys.readouterr().out
    assert call("clinragen", "ledger", "verify", "--ledger", hospitals.ledger) == 0


def test_killed_before_any_file_takes_its_name_the_log_verifies_and_the_command_is_typed_again(
    hospitals, tmp_path, monkeypatch
):
    """Each command that writes for the log, killed before its first, second, ... file; beside a log left alone."""
    whole = Hospitals(tmp_path / "whole", hospitals.cohort)
    shutil.copytree(hospitals.root, whole.root)

    def steps(of: Hospitals) -> Iterator[Callable[[], int]]:
        for name in of.names:
            yield partial(of.at, name, "accept", "--item", "very often")
            yield partial(of.at, name, "state")
        yield of.record
        of.answered("north", "south", close=True)
        yield from (partial(of.at, name, "state") for name in of.names)
        yield of.record
        yield partial(of.write, "pay")
        yield from (partial(of.at, name, "cosign") for name in of.names)
        yield of.record

    for step in steps(whole):
        assert step() == 0
    kills = sum(killed(step, monkeypatch, lambda: Log(hospitals.ledger)) for step in steps(hospitals))
    assert kills > 20
    assert (hospitals.ledger / "batches").is_dir()
    batches = {path.name: path.read_bytes() for path in (hospitals.ledger / "batches").iterdir()}
    assert batches == {path.name: path.read_bytes() for path in (whole.ledger / "batches").iterdir()}
    assert len(hospitals.log.history.paid) == 3  # nobody twice
    assert call("clinragen", "ledger", "verify", "--ledger", hospitals.ledger) == 0


def test_a_log_whose_beginning_was_killed_is_begun_again(hospitals, tmp_path, monkeypatch, capsys):
    (hospitals.federation / "ledger.key").unlink()
    begin = ("open", "--federation", hospitals.federation, "--out", tmp_path / "log")
    assert killed(partial(call, "clinragen", "ledger", *begin), monkeypatch) >= 2  # the key, the first batch
    key = (hospitals.federation / "ledger.key").read_bytes()
    assert call("clinragen", "ledger", *begin) == 0  # typed once more, it is the same log
    assert (hospitals.federation / "ledger.key").read_bytes() == key
    assert len(Log(tmp_path / "log").tree) == 1
    capsys.readouterr()
    assert call("clinragen", "ledger", *begin, "--quorum", 3) == 2
    assert "holds another log" in capsys.readouterr().err


def test_a_witness_signs_no_second_history(hospitals, tmp_path, capsys):
    assert hospitals.at("north", "cosign") == 0
    first = hospitals.outbox("north") / "north-alps-log.cosignature"
    signed = first.read_bytes()
    rewritten = tmp_path / "rewritten"
    assert call("clinragen", "ledger", "open", "--federation", hospitals.federation, "--out", rewritten) == 0
    assert hospitals.at("north", "cosign", ledger=rewritten) == 2
    assert "it is missing: a cosigned checkpoint has 2 entries" in capsys.readouterr().err
    assert first.read_bytes() == signed


def test_a_witness_that_is_no_member_cosigns_what_it_saw_grow(hospitals, tmp_path, capsys):
    regulator, outbox, ledger = tmp_path / "regulator", tmp_path / "from-regulator", tmp_path / "witnessed"
    make = ("witness", "--out", regulator, "--name", "regulator.example/icu")
    assert call("clinragen", "ledger", *make) == 0
    assert call("clinragen", "ledger", *make) == 2
    assert "exists" in capsys.readouterr().err
    (hospitals.federation / "ledger.key").unlink()
    begin = ("open", "--federation", hospitals.federation, "--out", ledger, "--witness", regulator / "witness.json")
    assert call("clinragen", "ledger", *begin, "--quorum", 4) == 0
    assert "3 sites, 4 witnesses, 4 of them have to cosign" in capsys.readouterr().out
    (tmp_path / "two").mkdir()
    assert call("clinragen", "ledger", *begin[:4], tmp_path / "two" / "log", *begin[5:], *begin[5:]) == 2
    assert "a key stands twice" in capsys.readouterr().err

    def cosign(log: Path) -> int:
        return call("clinragen", "ledger", "cosign", "--ledger", log, "--witness", regulator, "--outbox", outbox)

    assert cosign(ledger) == 0
    for name in hospitals.names:
        assert hospitals.at(name, "cosign", ledger=ledger) == 0
        assert hospitals.at(name, "state", ledger=ledger) == 0
    inboxes = [word for folder in (outbox, *map(hospitals.outbox, hospitals.names)) for word in ("--inbox", folder)]
    shutil.copytree(ledger, tmp_path / "rewritten")
    record = ("record", "--ledger", ledger, "--federation", hospitals.federation)
    assert call("clinragen", "ledger", *record, *inboxes) == 0
    assert Log(ledger).trust.cosigners(Log(ledger).newest()) == []  # it grew since
    assert cosign(ledger) == 0
    for name in hospitals.names:
        assert hospitals.at(name, "cosign", ledger=ledger) == 0
    assert call("clinragen", "ledger", *record, *inboxes) == 0
    assert "regulator.example/icu" in Log(ledger).trust.cosigners(Log(ledger).newest())
    assert call("clinragen", "ledger", "verify", "--ledger", ledger) == 0
    assert cosign(tmp_path / "rewritten") == 2  # cut off
    assert cosign(hospitals.ledger) == 2
    assert "is no witness of alps/log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "expected either --site"),
        (("--witness", "nobody"), "is no folder of a witness: make one"),
    ],
)
def test_who_cosigns_has_a_folder(hospitals, tmp_path, capsys, words, says):
    outbox = ("--outbox", tmp_path / "outbox")
    assert call("clinragen", "ledger", "cosign", "--ledger", hospitals.ledger, *words, *outbox) == 2
    assert says in capsys.readouterr().err


def test_networks_state_and_the_main_log_combines(hospitals, tmp_path, capsys):
    copies, networks = {}, {"alpine": ("north", "south"), "coast": ("east",)}
    for network, sites in networks.items():
        folder = tmp_path / network
        shutil.copytree(hospitals.federation, folder, ignore=shutil.ignore_patterns("*.key"))
        named = [word for site in sites for word in ("--site", site)]
        copies[network] = folder / "ledger"
        words = ("open", "--federation", folder, "--out", copies[network], "--name", f"{network}/log", *named)
        assert call("clinragen", "ledger", *words) == 0
        assert call("clinragen", "ledger", "show", "--ledger", copies[network], "--write-trust", folder / "t.json") == 0
    trusts = [word for network in networks for word in ("--network", tmp_path / network / "t.json")]
    (hospitals.federation / "ledger.key").unlink()
    shutil.rmtree(hospitals.ledger)
    words = ("open", "--federation", hospitals.federation, "--out", hospitals.ledger, *trusts)
    assert call("clinragen", "ledger", *words) == 0
    for network, sites in networks.items():
        for words in (["state"], ["cosign"]):
            for site in sites:
                assert hospitals.at(site, *words, ledger=copies[network]) == 0
            inboxes = [word for site in sites for word in ("--inbox", hospitals.outbox(site))]
            recorded = ("record", "--ledger", copies[network], "--federation", tmp_path / network, *inboxes)
            assert call("clinragen", "ledger", *recorded) == 0
    capsys.readouterr()
    assert hospitals.record() == 2
    assert "give a copy of it with --network" in capsys.readouterr().err
    logs = [word for network in networks for word in ("--network", copies[network])]
    assert hospitals.record(*logs) == 0
    assert hospitals.log.history.last_round == 1
    assert call("clinragen", "ledger", "verify", "--ledger", hospitals.ledger, "--allow-unwitnessed", *logs) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["offer", "--menu", "MENU", "--rounds", 1], "give --rounds 2 or more"),
        (["offer", "--menu", "BROKEN", "--rounds", 2], "breaks a promise and is not recorded"),
        (["record", "--inbox", "NOWHERE"], "is no folder"),
    ],
)
def test_a_slip_of_the_operator_is_one_line(begun, capsys, words, says):
    broken = {"items": [{"type": "seldom", "cost": 3, "frequency": 1, "reward": 2}]}
    (begun.root / "broken.json").write_text(json.dumps(broken))
    files = {"MENU": begun.root / "menu.json", "BROKEN": begun.root / "broken.json", "NOWHERE": begun.root / "nowhere"}
    assert begun.write(*(files.get(word, word) for word in words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0]


def test_a_slip_of_a_site_is_one_line(hospitals, capsys):
    for words, says in (
        (["accept", "--item", "ofen"], "unknown item 'ofen'"),
        (["accept", "--item", "seldom", "--contract", 0], "is no contract"),
        (["accept", "--item", "seldom"], ""),
        (["accept", "--item", "very often"], "chose item seldom of contract 1 before"),
    ):
        code = hospitals.at("north", *words)
        lines = capsys.readouterr().err.strip().splitlines()
        assert code == (2 if says else 0), words
        assert len(lines) == (1 if says else 0)
        assert not says or says in lines[0], lines
