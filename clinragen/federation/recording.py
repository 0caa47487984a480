"""The operator of a federation's log: it opens the log and records what sites stated and the coordinator decided.

It works in the coordinator's folder, or in a copy of its ``federation.json``, ``outbox`` and ``rounds``, and adds the
key of the log, ``ledger.key``. A round enters the log once the coordinator has closed it and all of its statements have
come; what is in the log already is left, so that a command that was killed, or typed twice, is typed again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from clinragen.contracts.menu import Menu, as_decimal
from clinragen.contracts.promises import violations
from clinragen.errors import UserError
from clinragen.federation import messages
from clinragen.federation.coordinator import DECISION
from clinragen.federation.files import NOTE, parse_note, statement_of
from clinragen.federation.manifest import Federation
from clinragen.federation.messages import MANIFEST
from clinragen.federation.statements import COSIGNATURE, STATEMENT, item_name, read_statement, title
from clinragen.ledger.checkpoints import Trust
from clinragen.ledger.entries import Acceptance, Aggregate, Body, Contract, Entry, Item, Opening, Part, Payment, Update
from clinragen.ledger.folder import LogFolder
from clinragen.ledger.history import History
from clinragen.ledger.log import Log
from clinragen.ledger.payments import due
from clinragen.ledger.witness import attach, read_note
from clinragen.signing import PrivateKey, PublicKey

_KEY = "ledger.key"


@dataclass(frozen=True)
class Operator:
    """Who writes the log of a federation.

    Attributes:
        folder: of the coordinator, or a copy of it.
        federation: its manifest.
        key: of the log.
    """

    folder: Path
    federation: Federation
    key: PrivateKey

    @classmethod
    def open(cls, folder: Path) -> Operator:
        """Open the folder in which ``begin`` wrote the key.

        Raises:
            UserError: there is no manifest or no key.
        """
        federation = Federation.read(folder / MANIFEST)
        if not (folder / _KEY).is_file():
            raise UserError(f"{folder / _KEY} not found: begin a log with `clinragen ledger open`, or restore its key")
        return cls(folder, federation, PrivateKey.read(folder / _KEY))

    def log(self, ledger: Path) -> Log:
        """The log of this federation.

        Raises:
            UserError: it is that of another federation or key.
        """
        log = Log(ledger)
        opening = log.history.opening
        if opening is None or opening.federation != title(self.federation):
            raise UserError(f"{ledger} is the log of another federation than {self.folder / MANIFEST}")
        if log.trust.log_key != self.key.public:
            raise UserError(f"{self.folder / _KEY} is not the key of {ledger}: who operates it has another")
        return log


@dataclass
class Recorded:
    """What came of recording.

    Attributes:
        entries: that were appended.
        missing: round -> sites whose updates were accepted in it and who have not stated them; the round waits.
        left_out: files that were not recorded, and why.
        size: entries of the log.
        cosigners: names of the witnesses that have cosigned its newest checkpoint.
        quorum: how many have to.
    """

    entries: list[Body] = field(default_factory=list)
    missing: dict[int, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    size: int = 0
    cosigners: list[str] = field(default_factory=list)
    quorum: int = 0


def begin(
    folder: Path,
    ledger: Path,
    *,
    name: str | None = None,
    sites: Sequence[str] = (),
    networks: Sequence[Trust] = (),
    witnesses: Sequence[PublicKey] = (),
    quorum: int | None = None,
) -> Log:
    """Begin a log, whose sites are its witnesses, and others who are no members.

    Args:
        folder: of the coordinator, or a copy of it; the log's key is written there.
        ledger: folder of the log, new.
        name: of the log; by default that of the federation with ``/log``.
        sites: names of the members whose statements it records; by default all.
        networks: whose checkpoints are anchored in it: then those logs record statements, and this one aggregates.
        witnesses: keys of further witnesses.
        quorum: how many witnesses have to cosign; by default more than half of them.

    Raises:
        UserError: no round is open, a site is no member, a key stands twice, or there is another log.
    """
    federation = Federation.read(folder / MANIFEST)
    if not messages.newest(folder / "outbox"):
        raise UserError(f"{folder / 'outbox'} has no model yet: open round 1 with `clinragen federate round` first")
    model = messages.read(federation, folder / "outbox", 1).sha256
    members = {member.name: PublicKey.parse(member.key) for member in federation.members}
    if alien := sorted(set(sites) - members.keys()):
        raise UserError(f"--site {alien[0]} is no member of federation {federation.name}: {', '.join(members)}")
    keys = [key for member, key in members.items() if not sites or member in sites]
    if networks and len(keys) < len(members):
        raise UserError("--network goes with all sites: a log that anchors others records the aggregates of all")
    origin = name or f"{federation.name}/log"
    if not (folder / _KEY).exists():
        PrivateKey.generate(origin).write(folder / _KEY)
    key = PrivateKey.read(folder / _KEY)
    if key.name != origin:
        raise UserError(f"{folder / _KEY} is the key of log {key.name}: one folder writes one log")
    cosigners = [str(each.witness) for each in (*keys, *witnesses)]
    trust = Trust(str(key.public), cosigners, len(cosigners) // 2 + 1 if quorum is None else quorum)
    trust.check("--witness" if witnesses else "--quorum")
    opening = Opening(title(federation), trust, [str(each) for each in keys], list(networks), model)
    if (started := LogFolder(ledger)).exists() and started.starts():
        log = Log(ledger)
        if log.history.opening == opening:  # begun by this command before it was killed
            return log
        raise UserError(f"{ledger} holds another log: choose another folder")
    return Log.create(ledger, opening, key)


def record(operator: Operator, ledger: Path, inboxes: Sequence[Path], networks: Sequence[Path] = ()) -> Recorded:
    """Record what is new: statements, anchors, aggregates of closed rounds; then attach cosignatures.

    Args:
        operator: of the log.
        ledger: the log.
        inboxes: outboxes of sites, or copies of them.
        networks: folders of the logs that it anchors, or copies of them.

    Raises:
        UserError: an inbox is no folder, the log is another's, or a network's is missing or not cosigned.
    """
    for inbox in inboxes:
        if not inbox.is_dir():
            raise UserError(f"--inbox {inbox} is no folder: expected the outbox of a site, or a copy of it")
    log = operator.log(ledger)
    desk = _Desk(operator, log, deepcopy(log.history), [Log(network) for network in networks])
    if lacking := sorted(log.history.networks.keys() - {other.trust.origin for other in desk.networks}):
        raise UserError(f"{ledger} anchors the log of {lacking[0]}: give a copy of it with --network")
    desk.read(path for inbox in inboxes for path in sorted(inbox.glob(f"*{STATEMENT}")))
    desk.acceptances()
    desk.anchors()
    desk.rounds()
    if desk.entries:
        log.append(desk.entries, operator.key)
    recorded = desk.recorded
    for path in (path for inbox in inboxes for path in sorted(inbox.glob(f"*{COSIGNATURE}"))):
        try:
            note = read_note(path)
            if note.text.startswith(f"{log.trust.origin}\n"):
                attach(log, note)
        except UserError as error:
            recorded.left_out.append(f"{path}: {error}")
    recorded.entries = [entry.body for entry in desk.entries]
    recorded.size, recorded.quorum = len(log.tree), log.trust.quorum
    recorded.cosigners = log.trust.cosigners(log.newest())
    return recorded


@dataclass
class _Desk:
    """Where entries are tried against the rules of the log one by one, before any is appended."""

    operator: Operator
    log: Log
    trial: History
    networks: list[Log]
    entries: list[Entry] = field(default_factory=list)
    recorded: Recorded = field(default_factory=Recorded)
    statements: list[tuple[Path, Entry]] = field(default_factory=list)

    def read(self, paths: Iterable[Path]) -> None:
        """Read statements; those for other logs are none of this one's business."""
        for path in paths:
            try:
                origin, entry = read_statement(path)
            except UserError as error:
                self.recorded.left_out.append(f"{path}: {error}")
                continue
            if origin == self.log.trust.origin and entry not in [other for _, other in self.statements]:
                self.statements.append((path, entry))

    def acceptances(self) -> None:
        """Items that sites chose."""
        for path, entry in self.statements:
            body = entry.body
            if isinstance(body, Acceptance) and self.trial.accepted.get((body.site, body.contract)) != body.item:
                self._try(entry, path)

    def anchors(self) -> None:
        """Newest checkpoints of the networks' logs."""
        for other in self.networks:
            anchored = self.trial.anchored.get(other.trust.origin)
            if anchored is None or anchored.size != len(other.tree):
                self._add(Entry(self.log.anchor(other)))

    def rounds(self) -> None:
        """Statements and aggregates of closed rounds, up to the first whose statements are not complete."""
        whole = self.trial.sites.keys() >= {member.name for member in self.operator.federation.members}
        for decision in _decisions(self.operator):
            if decision.round <= self.trial.last_round:
                continue
            if not self.trial.networks:
                self._updates(decision)
            parts = [part for part in decision.updates if part.site in self.trial.sites]
            if missing := [part.site for part in parts if not self._stated(decision, part)]:
                self.recorded.missing[decision.round] = missing
                break
            if whole:
                self._add(Entry(decision))
        self._late()

    def _late(self) -> None:
        """Tell of statements that came after their round was recorded."""
        for path, entry in self.statements:
            body = entry.body
            if not isinstance(body, Update) or body.round > self.trial.last_round or self.trial.networks:
                continue
            if (body.site, body.round) not in self.trial.updates:
                self.recorded.left_out.append(f"{path}: round {body.round} was recorded without it")

    def _updates(self, decision: Aggregate) -> None:
        """What sites stated of a round. The round waits where it is not what the coordinator had from them."""
        accepted = {part.site: part for part in decision.updates}
        for path, entry in self.statements:
            body = entry.body
            if not isinstance(body, Update) or body.round != decision.round:
                continue
            if (recorded := self.trial.updates.get((body.site, body.round))) and recorded[1] == body:
                continue
            try:
                if body.parent != decision.parent:
                    raise UserError(f"round {body.round} does not start from the model that {body.site} states")
                if body.site in accepted:
                    History.check_part(decision, accepted[body.site], (0, body))
            except UserError as error:
                self.recorded.left_out.append(f"{path}: {error}")
                continue
            self._try(entry, path)

    def _stated(self, decision: Aggregate, part: Part) -> bool:
        """Whether a log has what a site stated of its part of a round, where this log's aggregate can name it."""
        if not self.trial.networks:
            return (part.site, decision.round) in self.trial.updates
        for other in self.networks:
            stated = other.history.updates.get((part.site, decision.round))
            if stated and stated[0] < self.trial.anchored[other.trust.origin].size:
                History.check_part(decision, part, stated)
                return True
        return False

    def _try(self, entry: Entry, path: Path) -> None:
        try:
            self._add(entry)
        except UserError as error:
            self.recorded.left_out.append(f"{path}: {error}")

    def _add(self, entry: Entry) -> None:
        self.trial.add(len(self.log.tree) + len(self.entries), entry)
        self.entries.append(entry)


def _decisions(operator: Operator) -> Iterator[Aggregate]:
    """What the coordinator decided, round by round, as far as rounds are closed.

    Raises:
        UserError: a decision is not the coordinator's.
    """
    for number in range(1, operator.federation.rounds + 1):
        path = operator.folder / "rounds" / f"{number:04}" / f"{DECISION}{NOTE}"
        if not path.is_file():
            return
        try:
            note = parse_note(path.read_bytes())
            note.verified([PublicKey.parse(operator.federation.coordinator)])
            decision = statement_of(note)
        except UserError as error:
            raise UserError(f"{path}: {error}: copy it from the coordinator anew") from None
        if (decision["federation"], decision["round"]) != (operator.federation.id, number):
            raise UserError(f"{path} is the decision of another round or federation: copy it from the coordinator anew")
        parts = [
            Part(PublicKey.parse(entry["key"]).name, entry["update_sha256"], entry["count"])
            for entry in decision["accepted"]
        ]
        yield Aggregate(number, decision["parent"], decision["tensors_sha256"], parts)


def offer(
    operator: Operator, ledger: Path, menu: Menu, rounds: int, first_round: int | None = None, decimals: int = 2
) -> tuple[int, Contract]:
    """Record a menu as a contract, once.

    Args:
        operator: of the log.
        ledger: the log.
        menu: whose frequencies and rewards are for a period.
        rounds: of a period.
        first_round: with which the first period begins; by default the round after the last recorded.
        decimals: of the money that is paid.

    Returns:
        index of the contract's entry, and the contract.

    Raises:
        UserError: the menu breaks a promise, or promises more updates for a period than it has rounds.
    """
    log = operator.log(ledger)
    if broken := violations(menu):
        raise UserError(f"the menu breaks a promise and is not recorded: {broken[0]}")
    most = max(menu.items, key=lambda item: item.frequency)
    if most.frequency > rounds:
        raise UserError(
            f"item {most.name} promises {as_decimal(most.frequency)} updates for a period of {rounds} rounds: give "
            f"--rounds {math.ceil(most.frequency)} or more"
        )
    items = [Item(item_name(item.name), as_decimal(item.frequency), as_decimal(item.reward)) for item in menu.items]
    first = log.history.last_round + 1 if first_round is None else first_round
    contract = Contract(items, first, rounds, decimals)
    for index, earlier in log.history.contracts.items():
        if earlier == contract:
            return index, contract
    log.append([Entry(contract)], operator.key)
    return len(log.tree) - 1, contract


def pay(operator: Operator, ledger: Path) -> list[Payment]:
    """Record what sites are due for periods that ended, by what they delivered.

    Args:
        operator: of the log.
        ledger: the log.

    Returns:
        the payments; none if nothing is due that was not paid.
    """
    log = operator.log(ledger)
    payments = [_payment(log.history, *period) for period in log.history.unpaid()]
    if payments:
        log.append(map(Entry, payments), operator.key)
    return payments


def _payment(history: History, site: str, number: int, first: int) -> Payment:
    contract = history.contracts[number]
    item = next(item for item in contract.items if item.type == history.accepted[site, number])
    delivered = history.delivered(site, first, contract.rounds)
    return Payment(site, number, item.type, first, delivered, due(contract, item, delivered))
