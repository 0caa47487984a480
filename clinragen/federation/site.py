"""A site: it reads the coordinator's message, computes on its own cohort, and lets out what its policy allows.

Its folder holds its keys, its policy and a record of every update that left. An update is recorded before it leaves, so
a site that was killed sends the same bytes again, and answers no round twice in different ways.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clinragen.artifacts import PRIVATE_FILE, atomic_folder, read_json, write_json, write_text
from clinragen.cohort.folder import Cohort
from clinragen.config import build
from clinragen.errors import UserError
from clinragen.federation import messages, privacy, secure
from clinragen.federation.files import NOTE, Message, read_message, signed, write_message
from clinragen.federation.manifest import Federation, Member, code_sha256, stays_behind
from clinragen.federation.messages import RoundMessage
from clinragen.federation.policy import TEMPLATE, Budget, Policy
from clinragen.federation.update import Tensors, change, norm
from clinragen.federation.work import LocalWork, PatientWork, Phase, Statistic, open_work, small_cells
from clinragen.signing import PrivateKey

_KEY, _SECRET, _POLICY, _MEMBER, _ROUNDS = "site.key", "secret", "policy.yaml", "member.json", "rounds"
_UPDATE, _RECORD = "update", "record.json"


@dataclass(frozen=True)
class Site:
    """The folder of a site, as :func:`join` made it.

    Attributes:
        root: the folder.
        member: what the federation knows of it.
        key: its signing key.
        secret: 32 bytes, from which noise, nonces and masks are derived.
    """

    root: Path
    member: Member
    key: PrivateKey
    secret: bytes

    @classmethod
    def open(cls, root: Path) -> Site:
        """Open a site's folder.

        Raises:
            UserError: something is missing or damaged.
        """
        if not (root / _MEMBER).is_file():
            raise UserError(f"{root} is no folder of a site: make one with `clinragen federate join`")
        member = read_member(root / _MEMBER)
        key = PrivateKey.read(root / _KEY)
        try:
            secret = bytes.fromhex((root / _SECRET).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            raise UserError(f"{root / _SECRET} is missing or damaged: restore it, or join under a new name") from None
        if len(secret) != 32:
            raise UserError(f"{root / _SECRET} is no secret of 32 bytes: restore it, or join under a new name")
        return cls(root, member, key, secret)

    @property
    def policy(self) -> Path:
        """The site's policy file."""
        return self.root / _POLICY

    def recorded(self, number: int) -> Path:
        """The folder that records what left in a round."""
        return self.root / _ROUNDS / f"{number:04}"

    def sent(self) -> dict[int, Message]:
        """Round -> the update that left in it.

        Raises:
            UserError: the record of a round is damaged.
        """
        numbers = sorted(int(path.parent.name) for path in (self.root / _ROUNDS).glob(f"[0-9]*/{_RECORD}"))
        return {number: self.update(number) for number in numbers}

    def update(self, number: int) -> Message:
        """The update that left in a round.

        Raises:
            UserError: its record is damaged.
        """
        update = read_message(self.recorded(number) / f"{_UPDATE}{NOTE}", messages.LARGEST_MODEL)
        if update is None:
            raise UserError(f"{self.recorded(number)} is damaged: restore the site's folder; nothing leaves this site")
        return update

    def spent(self) -> float:
        """What has left so far, as the sum of 1 / noise**2 over all noisy releases."""
        records = sorted((self.root / _ROUNDS).glob(f"*/{_RECORD}"))
        return sum(float(read_json(path, "the record of a round").get("spent", 0.0)) for path in records)


@dataclass(frozen=True)
class Answer:
    """What a site did.

    Attributes:
        round_number: of the newest message; 0 without any.
        status: ``waiting`` for a message, ``answered`` now, ``repeated`` what it had answered, or ``finished``.
        count: stays that the update was computed on, 0 without one.
        epsilon: what has been spent so far; None without differential privacy.
        budget: what may be spent; None without.
    """

    round_number: int
    status: str
    count: int = 0
    epsilon: float | None = None
    budget: float | None = None


def read_member(path: Path) -> Member:
    """Read what a site gives to the coordinator.

    Raises:
        UserError: missing or damaged.
    """
    values = read_json(path, "a member.json that `clinragen federate join` wrote")
    member = build(Member, values, str(path))
    member.check(str(path))
    return member


def join(
    root: Path,
    name: str,
    cohort: Cohort,
    policy: Path | None = None,
    *,
    contract: Path | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Member:
    """Make the folder of a site: keys, secret, a policy, and ``member.json`` for the coordinator.

    Args:
        root: the folder, new: keys are never replaced.
        name: of the site.
        cohort: whose training stays are declared.
        policy: file to copy; by default one by which nothing leaves.
        contract: JSON file with the item of a contract under which the site gives its data; its updates state it.
        entropy: secret bytes; those of the system.

    Raises:
        UserError: the folder exists, or the name or the policy cannot be used.
    """
    stays = len(cohort.split("train"))
    Member(name, str(PrivateKey("x", bytes(32)).public), stays).check("--name")
    if policy is not None:
        Policy.read(policy)
    secret, key = entropy(32), PrivateKey(name, entropy(32))
    item = read_json(contract, "the item of a contract") if contract else {}
    member = Member(name, str(key.public), stays, secure.agreement_key(secret), item)
    with atomic_folder(root.absolute()) as folder:
        key.write(folder / _KEY)
        with open(os.open(folder / _SECRET, os.O_CREAT | os.O_WRONLY, PRIVATE_FILE), "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
        write_text(folder / _POLICY, policy.read_text(encoding="utf-8") if policy else TEMPLATE)
        write_json(folder / _MEMBER, asdict(member))
    return member


def answer(
    site: Site,
    federation: Federation,
    cohort: Cohort,
    inbox: Path,
    outbox: Path,
    *,
    work: LocalWork | None = None,
    age_hours: float | None = None,
) -> Answer:
    """Answer the newest round of which the inbox has a message, once.

    Args:
        site: its folder.
        federation: its manifest.
        cohort: the site's.
        inbox: folder with the coordinator's messages.
        outbox: folder for the update.
        work: what is computed, if it is open already.
        age_hours: how old the newest data are, which the update then states; dates of a cohort may be shifted, so only
            the site knows.

    Raises:
        UserError: anything is not as manifest, message or policy say; then nothing was written to the outbox.
    """
    member = federation.member(site.member.key)
    if member is None:
        raise UserError(f"site {site.member.name} is no member of federation {federation.name}: nothing leaves it")
    policy = Policy.read(site.policy)
    _check(policy, federation)
    if age_hours is not None and not 0 <= age_hours < math.inf:
        raise UserError(f"--age-hours {age_hours}: expected hours from 0")
    number = messages.newest(inbox)
    if not number:
        return Answer(0, "waiting")
    phase = federation.phase(number)
    if phase is None:
        return Answer(number, "finished")
    if federation.code_sha256 != code_sha256():
        raise UserError(
            f"federation {federation.name} fixes the source of clinragen by its hash, and this is another release: "
            "install the coordinator's; nothing leaves this site"
        )
    message = messages.read(federation, inbox, number)
    recorded = site.recorded(number)
    if recorded.exists():
        return _repeat(site, message, outbox, policy.privacy)
    noise = _noise(policy.privacy, federation, phase, site.spent()) if policy.privacy else 0.0
    spent = releases_of(phase) / noise**2 if noise else 0.0
    work = work or open_work(federation.work, federation.settings)
    desk = _Desk(site, member, federation, policy, phase, message, noise, age_hours)
    tensors, count = desk.statistics(work, cohort) if phase.kind == "statistics" else desk.training(work, cohort)
    update = desk.sign(tensors, count)
    with atomic_folder(recorded.absolute()) as folder:
        write_message(folder, _UPDATE, update)
        write_json(folder / _RECORD, {"round": number, "parent": message.sha256, "spent": spent, "count": count})
    write_message(outbox, outbox_stem(member, number), update)
    return Answer(number, "answered", count, *_spent(site, policy.privacy))


def outbox_stem(member: Member, number: int) -> str:
    """Name of the files of an update, without ending."""
    return f"{member.name}-{number:04}"


def releases_of(phase: Phase) -> int:
    """How many noisy releases a round of a phase makes: one of a change, two of each statistic (sums and stays)."""
    return 1 if phase.kind == "training" else 2 * len(phase.tensors)


def _repeat(site: Site, message: RoundMessage, outbox: Path, budget: Budget | None) -> Answer:
    recorded = site.recorded(message.number)
    record = read_json(recorded / _RECORD, "the record of a round")
    if record.get("parent") != message.sha256:
        raise UserError(
            f"round {message.number} was answered from another model ({recorded}): the coordinator sent two; nothing "
            "leaves this site"
        )
    write_message(outbox, outbox_stem(site.member, message.number), site.update(message.number))
    return Answer(message.number, "repeated", int(record.get("count", 0)), *_spent(site, budget))


def _check(policy: Policy, federation: Federation) -> None:
    """Raise a UserError unless policy and manifest agree on what protects updates."""
    if federation.privacy == "dp" and policy.privacy is None:
        raise UserError("the federation adds noise, and the policy has no privacy budget: nothing leaves this site")
    if federation.privacy != "dp" and policy.privacy is not None:
        raise UserError(
            f"the policy demands differential privacy, and the federation's privacy is {federation.privacy}: nothing "
            "leaves this site"
        )


def _noise(budget: Budget, federation: Federation, phase: Phase, spent: float) -> float:
    """The noise of this round in sensitivities, if the budget allows for the round beside what was spent.

    Raises:
        UserError: the budget is spent.
    """
    every = sum(phase.rounds * releases_of(phase) for phase in federation.phases)
    noise = budget.noise if budget.noise is not None else privacy.noise_for(budget.epsilon, every, budget.delta)
    after = privacy.epsilon(spent + releases_of(phase) / noise**2, budget.delta)
    if after > budget.epsilon * (1 + 1e-9):
        raise UserError(
            f"this round would bring the spent epsilon to {after:.3g}, and the policy's is {budget.epsilon:g}: the "
            "budget is spent, nothing leaves this site"
        )
    return noise


def _spent(site: Site, budget: Budget | None) -> tuple[float | None, float | None]:
    """The epsilon that was spent and that of the budget."""
    return (None, None) if budget is None else (privacy.epsilon(site.spent(), budget.delta), budget.epsilon)


@dataclass(frozen=True)
class _Desk:
    """Where one update is made and checked before it leaves."""

    site: Site
    member: Member
    federation: Federation
    policy: Policy
    phase: Phase
    message: RoundMessage
    noise: float
    age_hours: float | None

    @property
    def least(self) -> int:
        return max(self.policy.smallest_cell, self.federation.least_count)

    @property
    def purpose(self) -> list[str]:
        return [self.federation.id, str(self.message.number), self.message.sha256]

    def statistics(self, work: LocalWork, cohort: Cohort) -> tuple[Tensors, int]:
        """Sums as they leave, and the number of training stays."""
        count = self._count(len(cohort.split("train")))
        sums = work.statistics(cohort, self.message.tensors, self.phase.name)
        self._allowed(sums.keys())
        tensors: dict[str, np.ndarray] = {}
        deviations: dict[str, float] = {}
        for name, sum_ in sorted(sums.items()):
            values, stays = self._released(name, sum_)
            tensors |= {name: values, stays_behind(name): stays}
            if sum_.sensitivity is not None:
                deviations |= dict(
                    zip((name, stays_behind(name)), np.multiply(self.noise, sum_.sensitivity), strict=True)
                )
        if self.policy.privacy:
            if missing := sorted(tensors.keys() - deviations.keys()):
                raise UserError(f"statistic '{missing[0]}' has no bound for one patient: nothing leaves this site")
            tensors = dict(privacy.noisy(tensors, deviations, self.site.secret, self.purpose))
        return self._masked(tensors, 1.0), count

    def training(self, work: LocalWork, cohort: Cohort) -> tuple[Tensors, int]:
        """The change as it leaves, and the number of stays that it is of."""
        if self.policy.privacy:
            count = self._count(len(cohort.split("train")))
            changes = self._private(work, cohort, self.policy.privacy)
        else:
            trained, stays = work.train(cohort, self.message.tensors, self.message.number)
            count = self._count(stays)
            changes = change(self.message.tensors, trained)
        self._allowed(changes.keys())
        for name, spec in self.phase.tensors.items():
            if list(changes[name].shape) != list(spec.shape) or not np.isfinite(changes[name]).all():
                raise UserError(f"training gave a tensor '{name}' of another shape or not finite: nothing leaves")
        if not self.policy.privacy and (length := norm(changes)) > self.policy.largest_norm:
            raise UserError(
                f"the change is {length:.4g} long, and the policy's largest_norm is {self.policy.largest_norm:g}: "
                "nothing leaves this site"
            )
        shares = sum(member.stays for member in self.federation.members)
        return self._masked(changes, count / shares), count

    def sign(self, tensors: Tensors, count: int) -> Message:
        """The update with its statement."""
        nonce = privacy.keystream(self.site.secret, ["nonce", *self.purpose], 4).tobytes().hex()
        statement: dict[str, Any] = {
            "federation": self.federation.id,
            "round": self.message.number,
            "site": self.member.key,
            "parent": self.message.sha256,
            "config_sha256": self.federation.config_sha256,
            "code_sha256": self.federation.code_sha256,
            "nonce": nonce,
            "count": count,
            "contract": self.member.contract,
            "age_hours": self.age_hours,
        }
        return signed(statement, tensors, self.site.key)

    def _released(self, name: str, statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
        """Sums and stays without small cells; with noise to come, all of them."""
        spec = self.phase.tensors[name]
        stays = np.asarray(statistic.stays, np.int64)
        if list(statistic.values.shape) != list(spec.shape) or stays.shape != statistic.values.shape:
            raise UserError(f"statistic '{name}' is of another shape than the federation's: nothing leaves this site")
        if self.policy.privacy:
            return statistic.values.astype(np.float64), stays.astype(np.float64)
        small = small_cells(statistic, self.least)
        return np.where(small, 0, statistic.values), np.where(small, 0, stays)

    def _private(self, work: LocalWork, cohort: Cohort, budget: Budget) -> Tensors:
        """The change with noise: a clipped sum over patients where the work tells them apart, else a clipped whole."""
        if isinstance(work, PatientWork):
            rows = work.contributions(cohort, self.message.tensors, self.message.number)
            total, sensitivity, share = privacy.clipped_sum(rows, budget.clip), budget.clip, 1 / self.member.stays
        else:  # two changes of the same length may point in opposite directions
            trained, _ = work.train(cohort, self.message.tensors, self.message.number)
            total = privacy.clipped(change(self.message.tensors, trained), budget.clip)
            sensitivity, share = 2 * budget.clip, 1.0
        deviations = dict.fromkeys(total, self.noise * sensitivity)
        noised = privacy.noisy(total, deviations, self.site.secret, self.purpose)
        return {name: array * share for name, array in noised.items()}

    def _count(self, stays: int) -> int:
        """The number of stays that is told: with differential privacy the declared one, which is public anyway."""
        if stays < self.least:
            raise UserError(f"{stays} training stays, and no update of fewer than {self.least} leaves this site")
        if stays > self.member.stays:
            raise UserError(
                f"{stays} training stays, and this site declared {self.member.stays}: join with this cohort, or use "
                "the one that was declared; nothing leaves this site"
            )
        return self.member.stays if self.policy.privacy else stays

    def _allowed(self, names: Any) -> None:
        """Raise a UserError unless exactly the phase's tensors leave, and the policy allows each."""
        for name in sorted(set(names) ^ self.phase.tensors.keys()):
            raise UserError(f"tensor '{name}' is not what the federation lists for this round: nothing leaves")
        for name in sorted(self.phase.tensors):
            if not self.policy.allows(name):
                raise UserError(f"the policy's may_leave does not name tensor '{name}': nothing leaves this site")

    def _masked(self, tensors: Tensors, weight: float) -> Tensors:
        if self.federation.privacy != "secure":
            return tensors
        weighted = {name: array if array.dtype.kind == "i" else array * weight for name, array in tensors.items()}
        purpose = "/".join(self.purpose)
        return secure.masked(weighted, self.phase.kind, self.federation, self.member, self.site.secret, purpose)
