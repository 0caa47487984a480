"""The manifest of a federation: who takes part, what may leave a site, how it is combined, and what protects it.

It is a JSON file that the coordinator writes once and every site reads. Its hash is the federation's id, which every
message names: with another manifest it is another federation.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from clinragen import versions
from clinragen.artifacts import read_json, write_json
from clinragen.config import build
from clinragen.errors import UserError
from clinragen.federation.aggregation import Rule
from clinragen.federation.update import TensorSpec
from clinragen.federation.work import Phase
from clinragen.signing import PublicKey, canonical_json

#: What protects updates from the coordinator: nothing beside the policies of sites; noise that each site adds; or that
#: it sees nothing but sums. Who sees only sums cannot screen, so secure aggregation goes without a robust rule.
Privacy = Literal["none", "dp", "secure"]
#: of a site or a federation: part of file names
SITE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MOST_ROUNDS = 9999


@dataclass
class Member:
    """A site of a federation.

    Attributes:
        name: of its files: small letters, digits and ``.-_``.
        key: its public key, which signs its updates.
        stays: how many training stays it declares; no update may count more.
        agreement_key: X25519 public key in hexadecimal, for secure aggregation.
        contract: item of a contract under which it gives its data; nothing by default.
    """

    name: str
    key: str
    stays: int
    agreement_key: str = ""
    contract: dict[str, Any] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Raise a UserError unless the member's entries can be used."""
        if not SITE_NAME.fullmatch(self.name):
            raise UserError(f"{where}: name of a site {self.name[:40]!a}: expected small letters, digits and .-_")
        if not 0 < self.stays < 2**40:
            raise UserError(f"{where}: site {self.name} declares {self.stays} stays, expected a number above 0")
        PublicKey.parse(self.key)


@dataclass
class FederationSettings:
    """What ``configs/federation`` sets; the entries are those of :class:`Federation`."""

    work: str
    settings: dict[str, Any] = field(default_factory=dict)
    rule: Rule = field(default_factory=Rule)
    privacy: Privacy = "none"
    least_sites: int = 2
    least_count: int = 10
    largest_norm: float = 1e3


@dataclass
class Federation:
    """The entries of a manifest.

    Attributes:
        name: of the federation, for people.
        coordinator: public key that signs the messages of rounds.
        members: the sites.
        work: name of what is computed, one of ``work.WORKS``.
        settings: of the work.
        phases: the rounds, and which tensors leave in them.
        rule: how changes are combined.
        privacy: what protects updates from the coordinator.
        least_sites: fewer accepted updates make no round.
        least_count: an update of fewer stays is refused, and so is a sum over fewer.
        largest_norm: a longer change is refused.
        code_sha256: of the source of clinragen; sites and coordinator must have the same.
        federation_version: of this format.
    """

    name: str
    coordinator: str
    members: list[Member]
    work: str
    settings: dict[str, Any]
    phases: list[Phase]
    rule: Rule
    privacy: Privacy = "none"
    least_sites: int = 2
    least_count: int = 10
    largest_norm: float = 1e3
    code_sha256: str = ""
    federation_version: int = versions.FEDERATION.version

    @classmethod
    def read(cls, path: Path) -> Federation:
        """Read and check a manifest.

        Raises:
            UserError: missing, damaged, of another version, or its entries do not fit together.
        """
        values = read_json(path, "the manifest of a federation, written by `clinragen federate init`")
        versions.FEDERATION.check(values, path)
        federation = build(cls, values, str(path))
        if canonical_json(federation.to_json()) != canonical_json(values):
            raise UserError(f"{path} is not as `clinragen federate init` wrote it: get it from the coordinator anew")
        federation.check(str(path))
        return federation

    def write(self, path: Path) -> None:
        """Write the manifest."""
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The entries as JSON values."""
        return asdict(self)

    def check(self, where: str) -> None:
        """Raise a UserError unless the entries fit together."""
        for member in self.members:
            member.check(where)
        for what in ("name", "key"):
            if len({getattr(member, what) for member in self.members}) < len(self.members):
                raise UserError(f"{where}: two members have the same {what}: each needs one of its own")
        PublicKey.parse(self.coordinator)
        self.rule.check()
        if not 1 <= self.least_sites <= len(self.members):
            raise UserError(f"{where}: least_sites is {self.least_sites}, expected 1 to {len(self.members)} members")
        if self.least_count < 1 or not self.largest_norm > 0:
            raise UserError(f"{where}: least_count and largest_norm must be above 0")
        if not 0 < self.rounds <= MOST_ROUNDS:
            raise UserError(f"{where}: {self.rounds} rounds, expected 1 to {MOST_ROUNDS}")
        if self.privacy == "secure":
            self._check_secure(where)

    def _check_secure(self, where: str) -> None:
        if self.rule.name != "mean":
            raise UserError(
                f"{where}: privacy is secure, and rule.name is {self.rule.name}: whoever sees only sums cannot screen "
                "single updates; choose rule mean, or another privacy"
            )
        if self.least_sites < len(self.members) or len(self.members) < 2:
            raise UserError(
                f"{where}: privacy is secure, so each round needs all of at least two members: least_sites must be "
                f"{max(2, len(self.members))}"
            )
        for member in self.members:
            if not re.fullmatch(r"[0-9a-f]{64}", member.agreement_key):
                raise UserError(f"{where}: site {member.name} has no agreement_key, which secure aggregation needs")

    @cached_property
    def id(self) -> str:
        """Hash of the canonical JSON of all entries."""
        return hashlib.sha256(canonical_json(self.to_json())).hexdigest()

    @cached_property
    def config_sha256(self) -> str:
        """Hash of what shapes the computation: work, settings and phases."""
        shaping = {"work": self.work, "settings": self.settings, "phases": [asdict(phase) for phase in self.phases]}
        return hashlib.sha256(canonical_json(shaping)).hexdigest()

    @property
    def rounds(self) -> int:
        """Number of rounds of all phases."""
        return sum(phase.rounds for phase in self.phases)

    def phase(self, round_number: int) -> Phase | None:
        """The phase of a round, counted from 1; None after the last."""
        for phase in self.phases:
            if round_number <= phase.rounds:
                return phase
            round_number -= phase.rounds
        return None

    def member(self, key: str) -> Member | None:
        """The member with a public key."""
        return next((member for member in self.members if member.key == key), None)

    def sent(self, phase: Phase) -> dict[str, TensorSpec]:
        """The tensors of an update in a phase, as they leave a site: sums with their stays, changes in float64."""
        specs = dict(phase.tensors)
        if phase.kind == "statistics":
            specs |= {stays_behind(name): TensorSpec(spec.shape, "I64") for name, spec in phase.tensors.items()}
        if self.privacy == "secure":
            return {name: TensorSpec(spec.shape, "U64") for name, spec in specs.items()}
        if phase.kind == "training" or self.privacy == "dp":  # noise makes counts real numbers
            return {name: TensorSpec(spec.shape, "F64") for name, spec in specs.items()}
        return specs


def stays_behind(name: str) -> str:
    """Name of the tensor with the stays behind each cell of a statistic."""
    return f"{name}.stays"


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Hash of the source of clinragen, file by file."""
    root = Path(versions.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
