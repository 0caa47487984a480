"""A small federation on disk: networks of sites with their logs, a main log, contracts, witnesses; no key is random."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from clinragen.ledger.checkpoints import Trust
from clinragen.ledger.entries import (
    Acceptance,
    Aggregate,
    Contract,
    Entry,
    Item,
    Opening,
    Part,
    Payment,
    Update,
    stated,
)  # fmt: skip
from clinragen.ledger.log import Log
from clinragen.ledger.payments import due
from clinragen.ledger.witness import attach, cosign
from clinragen.signing import PrivateKey


def digest(*parts: object) -> str:
    """A hash that stands for a file."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def key_of(name: str) -> PrivateKey:
    """The key of a name, always the same."""
    return PrivateKey(name, hashlib.sha256(name.encode()).digest())


@dataclass
class Party:
    """A log with those who sign it."""

    key: PrivateKey
    witnesses: list[PrivateKey]
    trust: Trust
    log: Log
    memory: Path

    def cosigned(self, how_many: int | None = None) -> None:
        """Witnesses cosign the newest checkpoint."""
        for position, witness in enumerate(self.witnesses[: self.trust.quorum if how_many is None else how_many]):
            memory = self.memory / f"{self.log.path.name}-{position}.note"
            attach(self.log, cosign(self.log, witness, memory, 1_700_000_000 + len(self.log.tree)))


@dataclass
class Consortium:
    """Rounds of a federation as its logs record them.

    Args:
        root: folder for everything.
        networks: number of sites of each network.
        witnesses: of each log.
        quorum: of them.
        period: rounds of the contract's period; no contract if 0.
    """

    root: Path
    networks: tuple[int, ...] = (2, 2)
    witnesses: int = 3
    quorum: int = 2
    period: int = 2
    seed: int = 0
    logs: list[Party] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.model = digest("start")
        self.sites = [
            [key_of(f"hospital.example/n{number}/s{site}") for site in range(size)]
            for number, size in enumerate(self.networks)
        ]
        for number, keys in enumerate(self.sites):
            self.logs.append(self._party(f"network.example/n{number}", keys, []))
        everyone = [key for keys in self.sites for key in keys]
        self.main = self._party("main.example/log", everyone, [party.trust for party in self.logs])
        self.contract_at, self.items = 0, {}
        if self.period:
            self._contract(everyone)
        self.round = 0

    def _party(self, origin: str, sites: list[PrivateKey], networks: list[Trust]) -> Party:
        witnesses = [key_of(f"{origin}/witness{number}") for number in range(self.witnesses)]
        trust = Trust(str(key_of(origin).public), [str(key.public.witness) for key in witnesses], self.quorum)
        opening = Opening("test", trust, [str(key.public) for key in sites], networks, self.model)
        path = self.root / origin.split("/")[-1]
        party = Party(key_of(origin), witnesses, trust, Log.create(path, opening, key_of(origin)), self.root / "memory")
        party.cosigned()
        return party

    def _contract(self, everyone: list[PrivateKey]) -> None:
        log = self.main.log
        self.contract = Contract(
            [Item("seldom", "1", "2.5"), Item("often", str(self.period), "7.25")], 1, self.period, 2
        )
        log.append([Entry(self.contract)], self.main.key)
        self.contract_at = len(log.tree) - 1
        self.items = {key.name: self.random.choice(self.contract.items) for key in everyone}
        choices = [Acceptance(name, self.contract_at, item.type) for name, item in self.items.items()]
        log.append([stated(self.main.trust.origin, each, key_of(each.site)) for each in choices], self.main.key)
        self.main.cosigned()

    def play(self, rounds: int = 1) -> None:
        """Rounds: updates in the networks' logs, anchors, an aggregate, and payments at the end of a period."""
        for _ in range(rounds):
            self.round += 1
            parts = []
            for party, keys in zip(self.logs, self.sites, strict=True):
                present = [key for key in keys if self.random.random() < 0.8] or keys[:1]
                parts += self._updates(party, present)
            anchors = [Entry(self.main.log.anchor(party.log)) for party in self.logs]
            after = digest("model", self.round, self.seed)
            aggregate = Aggregate(self.round, self.model, after, parts)
            self.main.log.append([*anchors, Entry(aggregate)], self.main.key)
            self.model = after
            if self.period and self.round % self.period == 0:
                self._pay()
            self.main.cosigned()

    def _updates(self, party: Party, present: list[PrivateKey]) -> list[Part]:
        origin, entries, parts = party.trust.origin, [], []
        for key in present:
            count = self.random.randrange(10, 500)
            sent = digest("update", key.name, self.round, self.seed)
            entries.append(stated(origin, Update(key.name, self.round, self.model, sent, count), key))
            parts.append(Part(key.name, sent, count))
        cut = self.random.randrange(len(entries) + 1)
        for some in (entries[:cut], entries[cut:]):
            if some:
                party.log.append(some, party.key)
        party.cosigned()
        return parts

    def _pay(self) -> None:
        first, payments = self.round - self.period + 1, []
        for name, item in self.items.items():
            delivered = self.main.log.history.delivered(name, first, self.period)
            reward = due(self.contract, item, delivered)
            payments.append(Entry(Payment(name, self.contract_at, item.type, first, delivered, reward)))
        self.main.log.append(payments, self.main.key)
