"""A federation of made-up sites without data, and what its sites would sign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from clinragen.federation.aggregation import Rule
from clinragen.federation.files import Message, signed
from clinragen.federation.manifest import Federation, Member
from clinragen.federation.screening import Screening
from clinragen.federation.update import Tensors, TensorSpec
from clinragen.federation.work import Phase
from clinragen.signing import PrivateKey

PHASES = [
    Phase("count", "statistics", 1, {"totals": TensorSpec([3], "F64", 0.0, 1.0), "labels": TensorSpec([2], "I64")}),
    Phase("train", "training", 3, {"weights": TensorSpec([2, 3]), "bias": TensorSpec([3])}),
]


@dataclass
class Signers:
    """A federation in round 2, its first of training, with the keys of its sites."""

    federation: Federation
    keys: dict[str, PrivateKey]
    parent: str = "f" * 64
    round_number: int = 2

    def screening(self, **changes: Any) -> Screening:
        return replace(Screening(self.federation, self.round_number, self.parent), **changes)

    def statement(self, site: str = "north", **changes: Any) -> dict[str, Any]:
        member = next(each for each in self.federation.members if each.name == site)
        return {
            "federation": self.federation.id,
            "round": self.round_number,
            "site": member.key,
            "parent": self.parent,
            "config_sha256": self.federation.config_sha256,
            "code_sha256": self.federation.code_sha256,
            "nonce": f"{site}-1",
            "count": 40,
            "contract": {},
            "age_hours": None,
        } | changes

    def update(self, site: str = "north", tensors: Tensors | None = None, **changes: Any) -> Message:
        return signed(self.statement(site, **changes), self.tensors() if tensors is None else tensors, self.keys[site])

    @staticmethod
    def tensors(**changes: np.ndarray) -> dict[str, np.ndarray]:
        return {"weights": np.ones((2, 3)), "bias": np.full(3, 0.5)} | changes


@pytest.fixture
def signers() -> Signers:
    keys = {name: PrivateKey(name, bytes([index]) * 32) for index, name in enumerate(("north", "south", "east"))}
    members = [Member(name, str(key.public), 100) for name, key in keys.items()]
    coordinator = str(PrivateKey("coordinator", b"c" * 32).public)
    return Signers(
        Federation("alps", coordinator, members, "series", {}, PHASES, Rule(), least_sites=2, code_sha256="c0de"), keys
    )
