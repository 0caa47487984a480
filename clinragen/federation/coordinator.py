"""The coordinator: it opens rounds, collects and screens what sites sent, and combines what it accepts.

Its folder:

====================  ================================================================================================
federation.json       the manifest, for every site
coordinator.key       the private key that signs messages and decisions
outbox/round-NNNN.*   the message of each round, for every site; the last is the finished model
rounds/NNNN/          of each closed round: the updates that entered it, and the signed decision with the new model
rounds/NNNN.json      of the open round: who is missing, and what was refused
====================  ================================================================================================

A round is decided in one renamed folder, and everything after it follows from that folder: a coordinator that was
killed goes on to the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from clinragen.artifacts import atomic_folder, write_json
from clinragen.errors import UserError
from clinragen.federation import messages, secure
from clinragen.federation.aggregation import aggregate
from clinragen.federation.files import (
    NOTE,
    TENSORS,
    Message,
    parse_note,
    read_message,
    read_tensors,
    signed,
    statement_of,
    write_message,
)
from clinragen.federation.manifest import SITE_NAME, Federation, FederationSettings, Member, code_sha256, stays_behind
from clinragen.federation.messages import MANIFEST, RoundMessage
from clinragen.federation.screening import Refusal, Screening, screen_round
from clinragen.federation.update import Tensors, Update, apply
from clinragen.federation.work import LocalWork, Phase, Statistic, open_work
from clinragen.outputs import OutputKind, output_folder
from clinragen.signing import PrivateKey

FOLDER = OutputKind(
    "federation", "clinragen federate init", ("federation.json", "coordinator.key", "outbox", "rounds", ".lock")
)
DECISION, _KEY = "decision", "coordinator.key"
_HEADER = 1 << 20  # bytes that the header of a tensor file has at most

#: Secret bytes, so many of them.
type Entropy = Callable[[int], bytes]
type Accepted = dict[str, tuple[Message, Update, dict[str, Any]]]


@dataclass(frozen=True)
class Coordinator:
    """The folder of a coordinator.

    Attributes:
        root: the folder.
        federation: its manifest.
        key: signs messages and decisions.
    """

    root: Path
    federation: Federation
    key: PrivateKey

    @classmethod
    def open(cls, root: Path) -> Coordinator:
        """Open a coordinator's folder.

        Raises:
            UserError: it is none, or damaged.
        """
        federation = Federation.read(root / MANIFEST)
        key = PrivateKey.read(root / _KEY)
        if str(key.public) != federation.coordinator:
            raise UserError(f"{root / _KEY} is not the key that {root / MANIFEST} names: restore it")
        return cls(root, federation, key)

    @property
    def outbox(self) -> Path:
        """The folder with the messages for sites."""
        return self.root / "outbox"

    def decided(self, number: int) -> Path:
        """The folder of a closed round."""
        return self.root / "rounds" / f"{number:04}"

    def waiting(self, number: int) -> Path:
        """The file that tells what an open round waits for."""
        return self.root / "rounds" / f"{number:04}.json"


@dataclass(frozen=True)
class RoundState:
    """Where a federation stands after the coordinator looked.

    Attributes:
        number: of the open round; one beyond the last when the model is finished.
        closed: numbers of the rounds that were closed now.
        accepted: names of sites whose updates are in the closed round, or wait in the open one.
        missing: names of sites without an accepted update.
        refusals: what was refused.
        finished: whether the model is finished.
    """

    number: int
    closed: tuple[int, ...] = ()
    accepted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = field(default=())
    finished: bool = False


def init(
    root: Path, name: str, members: Sequence[Member], settings: FederationSettings, entropy: Entropy = os.urandom
) -> Federation:
    """Write the folder of a coordinator, with a new key and the manifest.

    Args:
        root: the folder, new.
        name: of the federation: small letters, digits and ``.-_``.
        members: the sites.
        settings: what they compute, and how it is combined and protected.
        entropy: secret bytes; those of the system.

    Raises:
        UserError: the entries of the manifest do not fit together, or the folder exists.
    """
    if not SITE_NAME.fullmatch(name):
        raise UserError(f"--name {name[:40]!a}: expected small letters, digits and .-_")
    work = open_work(settings.work, settings.settings)
    key = PrivateKey(f"{name}/coordinator", entropy(32))
    federation = Federation(
        name=name,
        coordinator=str(key.public),
        members=sorted(members, key=lambda member: member.name),
        phases=list(work.phases()),
        code_sha256=code_sha256(),
        **{entry.name: getattr(settings, entry.name) for entry in fields(settings)},
    )
    federation.check("the federation")
    with output_folder(root, FOLDER) as folder:
        federation.write(folder / MANIFEST)
        key.write(folder / _KEY)
    return federation


def advance(coordinator: Coordinator, inboxes: Sequence[Path], *, close: bool = False) -> RoundState:
    """Open the first round, or close the open one if it can be closed, and open the next.

    Args:
        coordinator: whose folder is written.
        inboxes: folders with what sites sent; of a round only files with its number in their names are read.
        close: close the round without sites that are missing, if at least ``least_sites`` were accepted.

    Raises:
        UserError: an inbox is no folder, or another coordinator is at work in the folder.
    """
    for inbox in inboxes:
        if not inbox.is_dir():
            raise UserError(f"--inbox {inbox} is no folder: expected the outbox of a site, or a copy of it")
    with _alone(coordinator.root):
        work = open_work(coordinator.federation.work, coordinator.federation.settings)
        number = messages.newest(coordinator.outbox)
        if not number:
            start = {name: np.asarray(array) for name, array in work.start().items()}
            _open(coordinator, 1, "", start)
            return RoundState(1, missing=tuple(member.name for member in coordinator.federation.members))
        if coordinator.decided(number).exists():  # killed after the decision
            _open_next(coordinator, number)
            return RoundState(number + 1, (number,), finished=number == coordinator.federation.rounds)
        if coordinator.federation.phase(number) is None:
            return RoundState(number, finished=True)
        return _close(coordinator, work, number, inboxes, close)


def _close(coordinator: Coordinator, work: LocalWork, number: int, inboxes: Sequence[Path], close: bool) -> RoundState:
    federation = coordinator.federation
    message = messages.read(federation, coordinator.outbox, number)
    screening = Screening(federation, number, message.sha256, _nonces(coordinator, number))
    accepted, refusals = screen_round(screening, _sent(federation, number, inboxes))
    missing = tuple(sorted(member.name for member in federation.members if member.name not in accepted))
    enough = len(accepted) >= federation.least_sites and (close or not missing)
    if not enough:
        refused = [refusal.as_json() for refusal in refusals]
        write_json(coordinator.waiting(number), {"missing": list(missing), "refused": refused})
        return RoundState(number, (), tuple(sorted(accepted)), missing, tuple(refusals))
    _decide(coordinator, work, message, accepted, refusals)
    _open_next(coordinator, number)
    finished = number == federation.rounds
    return RoundState(number + 1, (number,), tuple(sorted(accepted)), missing, tuple(refusals), finished)


def _decide(
    coordinator: Coordinator, work: LocalWork, message: RoundMessage, accepted: Accepted, refusals: Sequence[Refusal]
) -> None:
    """Combine what was accepted, and write the round's folder."""
    federation = coordinator.federation
    phase = federation.phase(message.number)
    assert phase is not None
    updates = [update for _, (_, update, _) in sorted(accepted.items())]
    weights: dict[str, float] = {}
    scales: dict[str, float] = {}
    if phase.kind == "statistics":
        model = work.advance(message.tensors, _totals(federation, phase, updates), phase.name)
    elif federation.privacy == "secure":
        model = apply(message.tensors, _secure_mean(federation, updates))
    else:
        combined = aggregate(updates, federation.rule)
        model, weights, scales = apply(message.tensors, combined.tensors), combined.weights, combined.scales
    entries = [
        {
            "site": name,
            "key": update.site,
            "update_sha256": sent.sha256,
            "tensors_sha256": statement["tensors_sha256"],
            "nonce": statement["nonce"],
            "count": update.count,
            "weight": weights.get(update.site),
            "scale": scales.get(update.site),
        }
        for name, (sent, update, statement) in sorted(accepted.items())
    ]
    decision = {
        "federation": federation.id,
        "round": message.number,
        "phase": phase.name,
        "parent": message.sha256,
        "accepted": entries,
        "refused": [refusal.as_json() for refusal in refusals],
    }
    with atomic_folder(coordinator.decided(message.number).absolute()) as folder:
        for name, (sent, _, _) in sorted(accepted.items()):
            write_message(folder, name, sent)
        write_message(folder, DECISION, signed(decision, model, coordinator.key))


def _totals(federation: Federation, phase: Phase, updates: Sequence[Update]) -> dict[str, Statistic]:
    """Sums over sites; with differential privacy cells of too few stays are 0, and sums within their bounds."""
    sent = [update.tensors for update in sorted(updates, key=lambda update: update.site)]
    if federation.privacy == "secure":
        counts = (stays_behind(name) for name in phase.tensors)
        whole = frozenset([*counts, *(name for name, spec in phase.tensors.items() if spec.dtype == "I64")])
        sums = secure.unmasked_sum(sent, phase.kind, whole)
    else:
        sums = {name: _sum([tensors[name] for tensors in sent]) for name in sorted(sent[0])}
    totals = {}
    for name, spec in sorted(phase.tensors.items()):
        values, stays = sums[name], sums[stays_behind(name)]
        if federation.privacy == "dp":
            stays = np.where(stays < federation.least_count, 0, np.rint(stays)).astype(np.int64)
            low = -np.inf if spec.least is None else spec.least * stays
            high = np.inf if spec.most is None else spec.most * stays
            values = np.where(stays > 0, np.clip(values, low, high), 0.0)
            values = np.rint(values).astype(np.int64) if spec.dtype == "I64" else values
        totals[name] = Statistic(values, stays)
    return totals


def _sum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(arrays[0])
    for array in arrays:
        total = total + array
    return total


def _secure_mean(federation: Federation, updates: Sequence[Update]) -> Tensors:
    """The mean weighted by counts: sites sent changes times their count's share of all declared stays."""
    sums = secure.unmasked_sum([update.tensors for update in updates], "training", frozenset())
    share = sum(update.count for update in updates) / sum(member.stays for member in federation.members)
    return {name: array / share for name, array in sums.items()}


def _open(coordinator: Coordinator, number: int, parent: str, tensors: Tensors) -> None:
    message = messages.make(coordinator.federation, number, parent, tensors, coordinator.key)
    write_message(coordinator.outbox, messages.stem(number), message)


def _open_next(coordinator: Coordinator, number: int) -> None:
    """Open the round after a decided one, with its model."""
    decision = coordinator.decided(number) / f"{DECISION}{NOTE}"
    message = read_message(decision, messages.LARGEST_MODEL)
    tensors = read_tensors(message.tensors) if message else None
    if message is None or tensors is None:
        raise UserError(f"{decision} or its tensors are damaged: restore the coordinator's folder")
    parent = statement_of(parse_note(message.note))["parent"]
    coordinator.waiting(number).unlink(missing_ok=True)
    _open(coordinator, number + 1, parent, tensors)


def _nonces(coordinator: Coordinator, number: int) -> frozenset[str]:
    """Nonces of the updates of all earlier rounds."""
    nonces: set[str] = set()
    for earlier in range(1, number):
        decision = coordinator.decided(earlier) / f"{DECISION}{NOTE}"
        statement = statement_of(parse_note(decision.read_bytes()))
        nonces |= {entry["nonce"] for entry in statement["accepted"]}
    return frozenset(nonces)


def _sent(federation: Federation, number: int, inboxes: Sequence[Path]) -> list[Message]:
    """What is in the inboxes for a round, complete and of a size that an update can have."""
    phase = federation.phase(number)
    assert phase is not None
    largest = _HEADER + sum(8 * int(np.prod(spec.shape)) for spec in federation.sent(phase).values())
    notes = sorted(path for inbox in inboxes for path in inbox.glob(f"*-{number:04}{NOTE}"))
    pairs = (read_message(path, largest) for path in notes)
    return [message for message in pairs if message is not None]


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the coordinator's folder."""
    try:
        with FileLock(root / ".lock", timeout=0):
            yield
    except Timeout:
        raise UserError(f"{root} is in use by another `clinragen federate round`: wait for it") from None


def final_model(coordinator: Coordinator) -> Path:
    """The file of the finished model.

    Raises:
        UserError: rounds are left.
    """
    last = coordinator.federation.rounds + 1
    path = coordinator.outbox / f"{messages.stem(last)}{TENSORS}"
    if not path.is_file():
        raise UserError(f"{coordinator.root}: round {messages.newest(coordinator.outbox)} of {last - 1} is open")
    return path
