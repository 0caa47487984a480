"""What a site lets out: its own YAML file, which fails closed.

A missing file, an unknown or missing key, or a value that makes no sense means that nothing leaves.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

from clinragen.config import build, load_yaml
from clinragen.errors import UserError

#: What ``clinragen federate join`` writes: nothing leaves until the site names what may.
TEMPLATE = """\
# What may leave this site. Anything that is missing, unknown or not allowed here means that nothing leaves.
smallest_cell: 10 # sums over fewer stays leave as 0
largest_norm: 10.0 # no change of the model is longer
may_leave: [] # names of tensors, with * as a wildcard: ["*"] for all that the federation lists
privacy: null # or, in a federation with differential privacy: {epsilon: 8.0, delta: 1.0e-5, clip: 1.0}
"""


@dataclass
class Budget:
    """Differential privacy of a site: what it spends in all rounds together.

    Attributes:
        epsilon: a site whose spent epsilon would pass it sends nothing more.
        delta: probability with which the bound may fail.
        clip: Euclidean length to which a change is cut before noise is added: that of each patient where the work can
            tell patients apart, of the site else.
        noise: standard deviation of the noise, in sensitivities; null: what all rounds together need for epsilon.
    """

    epsilon: float = 0.0
    delta: float = 0.0
    clip: float = 0.0
    noise: float | None = None


@dataclass
class Policy:
    """A site's policy.

    Attributes:
        smallest_cell: sums over fewer stays leave as 0.
        largest_norm: a longer change does not leave.
        may_leave: names of tensors, with ``*`` as a wildcard.
        privacy: the budget of a federation with differential privacy; null in others.
    """

    smallest_cell: int
    largest_norm: float
    may_leave: list[str]
    privacy: Budget | None

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Read a policy.

        Raises:
            UserError: missing, a key is unknown or missing, or a value makes no sense.
        """
        if not path.is_file():
            raise UserError(f"{path} not found: without a policy nothing leaves this site")
        values = load_yaml(path)
        required = {entry.name for entry in fields(cls) if entry.default is MISSING}
        if missing := sorted(required - values.keys()):
            raise UserError(f"{path}: {missing[0]} is missing, so nothing leaves this site")
        if isinstance(values["privacy"], dict) and (missing := {"epsilon", "delta", "clip"} - values["privacy"].keys()):
            raise UserError(f"{path}: privacy.{min(missing)} is missing, so nothing leaves this site")
        policy = build(cls, values, str(path))
        if trouble := policy._trouble():
            raise UserError(f"{path}: {trouble}, so nothing leaves this site")
        return policy

    def _trouble(self) -> str | None:
        if self.smallest_cell < 1:
            return f"smallest_cell is {self.smallest_cell}, expected at least 1"
        if not 0 < self.largest_norm < float("inf"):
            return f"largest_norm is {self.largest_norm}, expected a number above 0"
        if self.privacy is None:
            return None
        for name in ("epsilon", "clip"):
            if not 0 < getattr(self.privacy, name) < float("inf"):
                return f"privacy.{name} is {getattr(self.privacy, name)}, expected a number above 0"
        if not 0 < self.privacy.delta < 0.1:
            return f"privacy.delta is {self.privacy.delta}, expected a small probability such as 1.0e-5"
        if self.privacy.noise is not None and not 0 < self.privacy.noise < float("inf"):
            return f"privacy.noise is {self.privacy.noise}, expected a number above 0, or null"
        return None

    def allows(self, name: str) -> bool:
        """Whether a tensor may leave."""
        return any(fnmatchcase(name, pattern) for pattern in self.may_leave)
