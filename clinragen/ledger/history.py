"""The rules that entries follow in their order: who may state what, which round comes next, what a site is paid.

A history is told one entry after the other and refuses the first that breaks a rule. It says nothing of hashes and
checkpoints (``clinragen.ledger.log``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from clinragen.errors import UserError
from clinragen.ledger.checkpoints import Checkpoint, Trust
from clinragen.ledger.entries import (
    BY_SITES,
    Acceptance,
    Aggregate,
    Anchor,
    Contract,
    Entry,
    Opening,
    Part,
    Payment,
    Update,
)
from clinragen.ledger.merkle import extends
from clinragen.ledger.payments import MOST_DECIMALS, due
from clinragen.signing import NOTE, Note, PublicKey, from_base64
from clinragen.versions import LEDGER


class ForgedError(UserError):
    """The signature of a statement is not its site's."""


@dataclass
class History:
    """What the entries so far say.

    Attributes:
        opening: the first entry.
        sites: public keys by name.
        networks: those whose checkpoints are anchored, by origin.
        anchors: all anchored checkpoints, with the index of their entry.
        anchored: the last of them by origin.
        updates: (site, round) -> index and statement.
        newest_update: round of the last update of each site.
        round: of the last update.
        parent: the model that the updates of that round start from.
        aggregates: round -> index and entry.
        contributors: round -> names of the sites of its aggregate.
        contracts: by index of the entry.
        accepted: (site, contract) -> item.
        paid: (site, contract, first round) -> index of the payment.
        kinds: how many entries there are of each kind.
        signatures: how many signatures of entries, and within them, were verified.
    """

    opening: Opening | None = None
    sites: dict[str, PublicKey] = field(default_factory=dict)
    networks: dict[str, Trust] = field(default_factory=dict)
    anchors: list[tuple[int, Checkpoint]] = field(default_factory=list)
    anchored: dict[str, Checkpoint] = field(default_factory=dict)
    updates: dict[tuple[str, int], tuple[int, Update]] = field(default_factory=dict)
    newest_update: dict[str, int] = field(default_factory=dict)
    round: int = 0
    parent: str = ""
    aggregates: dict[int, tuple[int, Aggregate]] = field(default_factory=dict)
    contributors: dict[int, frozenset[str]] = field(default_factory=dict)
    contracts: dict[int, Contract] = field(default_factory=dict)
    accepted: dict[tuple[str, int], str] = field(default_factory=dict)
    paid: dict[tuple[str, int, int], int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    signatures: int = 0

    def add(self, index: int, entry: Entry) -> None:
        """Take the next entry.

        Raises:
            ForgedError: its signature is not that of its site.
            UserError: it breaks a rule.
        """
        body = entry.body
        if isinstance(body, Opening) != (index == 0):
            raise UserError("a log begins with one opening, and has no other")
        if isinstance(body, BY_SITES):
            self._signed(entry, body)
        match body:
            case Opening():
                self._opens(body)
            case Update():
                self._updates(index, body)
            case Anchor():
                self._anchors(index, body)
            case Aggregate():
                self._aggregates(index, body)
            case Contract():
                self._offers(index, body)
            case Acceptance():
                self._accepts(body)
            case Payment():
                self._pays(index, body)
        self.kinds[entry.kind] += 1

    @property
    def last_round(self) -> int:
        """The round of the last aggregate; 0 before the first."""
        return len(self.aggregates)

    @property
    def model(self) -> str:
        """Hash of the model after the last aggregate."""
        if self.aggregates:
            return self.aggregates[self.last_round][1].aggregate
        return self.opening.model if self.opening else ""

    def delivered(self, site: str, first: int, rounds: int) -> int:
        """To how many aggregates of some rounds a site contributed."""
        return sum(site in self.contributors[number] for number in range(first, first + rounds))

    def _signed(self, entry: Entry, body: Update | Acceptance) -> None:
        key = self.sites.get(body.site)
        if key is None or self.opening is None:
            raise UserError(f"site {body.site!a} is not one of the log's opening")
        if not entry.signed_by(self.opening.log.origin, key):
            raise ForgedError(
                f"not signed by {body.site}: the statement or its signature was altered, or is of another log"
            )
        self.signatures += 1

    def _opens(self, opening: Opening) -> None:
        LEDGER.check({LEDGER.key: opening.ledger_version}, Path("opening"))
        opening.log.check("log")
        for trust in opening.networks:
            trust.check(f"network {trust.origin}")
        keys = [PublicKey.parse(text) for text in opening.sites]
        origins = [opening.log.origin, *(trust.origin for trust in opening.networks)]
        for names, what in (([key.name for key in keys], "site"), (origins, "log")):
            if twice := next((name for name, count in Counter(names).items() if count > 1), None):
                raise UserError(f"two of a {what} are called {twice}")
        if any(key.use != NOTE for key in keys) or len({key.raw for key in keys}) < len(keys):
            raise UserError("sites: expected a key of type 1 for each, and none twice")
        self.opening = opening
        self.sites = {key.name: key for key in keys}
        self.networks = {trust.origin: trust for trust in opening.networks}

    def _updates(self, index: int, update: Update) -> None:
        if update.round < max(self.round, 1):
            raise UserError(f"an update of round {update.round} after one of round {self.round}")
        if self.newest_update.get(update.site, 0) == update.round:
            raise UserError(f"a second update of {update.site} in round {update.round}")
        if update.round == self.round and update.parent != self.parent:
            raise UserError(f"round {update.round} starts from two models")
        self.round, self.parent = update.round, update.parent
        self.newest_update[update.site] = update.round
        self.updates[update.site, update.round] = index, update

    def _anchors(self, index: int, anchor: Anchor) -> None:
        note = Note.parse(anchor.checkpoint)
        origin = note.text.partition("\n")[0]
        if origin not in self.networks:
            raise UserError(f"anchors log {origin[:60]!a}, which the opening does not name")
        checkpoint = self.networks[origin].witnessed(note)
        self.signatures += len(note.signatures)
        before = self.anchored.get(origin)
        proof = [from_base64(part) for part in anchor.consistency]
        if before is None and proof:
            raise UserError("the first anchor of a log has a proof of consistency, and continues nothing")
        if before and not extends(before.size, checkpoint.size, proof, before.root, checkpoint.root):
            raise UserError(f"log {origin} was rewritten: {checkpoint.size} entries do not continue {before.size}")
        self.anchored[origin] = checkpoint
        self.anchors.append((index, checkpoint))

    def _aggregates(self, index: int, aggregate: Aggregate) -> None:
        if aggregate.round != self.last_round + 1:
            raise UserError(f"round {aggregate.round} after round {self.last_round}")
        if aggregate.parent != self.model:
            raise UserError(f"round {aggregate.round} does not start from the model of the round before")
        sites = frozenset(part.site for part in aggregate.updates)
        if not sites or len(sites) < len(aggregate.updates) or not self.sites.keys() >= sites:
            raise UserError("its updates: expected at least one, each of another site of the opening")
        if not self.networks:
            for part in aggregate.updates:
                self.check_part(aggregate, part, self.updates.get((part.site, aggregate.round)))
        self.aggregates[aggregate.round] = index, aggregate
        self.contributors[aggregate.round] = sites

    @staticmethod
    def check_part(aggregate: Aggregate, part: Part, recorded: tuple[int, Update] | None) -> None:
        """Check that an update of an aggregate is what its site stated.

        Raises:
            UserError: the site stated something else, or nothing.
        """
        stated = recorded[1] if recorded else None
        if stated is None:
            raise UserError(f"round {aggregate.round}: {part.site} stated no update that is in a log before it")
        if (stated.update, stated.count, stated.parent) != (part.update, part.count, aggregate.parent):
            raise UserError(f"round {aggregate.round}: {part.site} stated another update, count or parent")

    def _offers(self, index: int, contract: Contract) -> None:
        names = [item.type for item in contract.items]
        if not names or len(set(names)) < len(names):
            raise UserError("items: expected at least one, each of another type")
        if not (contract.rounds and contract.first_round and contract.decimals <= MOST_DECIMALS):
            raise UserError(f"expected first_round and rounds from 1, and decimals to {MOST_DECIMALS}")
        self.contracts[index] = contract

    def _accepts(self, choice: Acceptance) -> None:
        if choice.contract not in self.contracts:
            raise UserError(f"entry {choice.contract} is no contract before it")
        if choice.item not in [item.type for item in self.contracts[choice.contract].items]:
            raise UserError(f"contract {choice.contract} has no item {choice.item[:60]!a}")
        if (choice.site, choice.contract) in self.accepted:
            raise UserError(f"{choice.site} chose an item of contract {choice.contract} before")
        self.accepted[choice.site, choice.contract] = choice.item

    def _pays(self, index: int, payment: Payment) -> None:
        if self.accepted.get((payment.site, payment.contract)) != payment.item:
            raise UserError(f"{payment.site} did not choose item {payment.item[:60]!a} of contract {payment.contract}")
        contract = self.contracts[payment.contract]
        item = next(item for item in contract.items if item.type == payment.item)
        since = payment.first_round - contract.first_round
        if since < 0 or since % contract.rounds:
            raise UserError(f"no period of contract {payment.contract} begins with round {payment.first_round}")
        if payment.first_round + contract.rounds - 1 > self.last_round:
            raise UserError(f"pays a period that ends after round {self.last_round}")
        period = (payment.site, payment.contract, payment.first_round)
        if period in self.paid:
            raise UserError(f"pays {payment.site} a second time for the period from round {payment.first_round}")
        delivered = self.delivered(payment.site, payment.first_round, contract.rounds)
        reward = due(contract, item, delivered)
        if (payment.delivered, payment.reward) != (delivered, reward):
            raise UserError(
                f"pays {payment.reward} for {payment.delivered} updates, and the contract pays {reward} for the "
                f"{delivered} that were delivered"
            )
        self.paid[period] = index

    def unpaid(self) -> list[tuple[str, int, int]]:
        """(site, contract, first round) of each period that ended with a reward due and was not paid."""
        lacking = []
        for (site, number), chosen in self.accepted.items():
            contract = self.contracts[number]
            item = next(item for item in contract.items if item.type == chosen)
            for first in range(contract.first_round, self.last_round - contract.rounds + 2, contract.rounds):
                delivered = self.delivered(site, first, contract.rounds)
                if (site, number, first) not in self.paid and due(contract, item, delivered) != "0":
                    lacking.append((site, number, first))
        return lacking
