"""Frequencies of a statement: a word (persistently), or a stated count or share of the measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Part of the measurements that must agree. "Persistent" hypotension still lets pressures recover for a while;
#: "always" tolerates one reading in twenty, as bedside monitors give artefacts.
PERSISTENT, MOSTLY, ALWAYS = 0.7, 0.5, 0.95
#: "Repeatedly" is more than once.
REPEATED = 2

FrequencyWord = Literal["always", "mostly", "persistently", "repeatedly", "sometimes"]


@dataclass(frozen=True)
class Count:
    """A stated number of measurements, or share of them, from ``low`` to ``high``."""

    low: float
    high: float
    kind: Literal["count", "share"]

    def met(self, agree: np.ndarray) -> bool:
        """Whether this many of the measurements agree."""
        stated = float(agree.mean()) if self.kind == "share" else int(agree.sum())
        return bool(self.low <= stated <= self.high)

    def __str__(self) -> str:
        low, high = round(self.low, 6), round(self.high, 6)
        if self.kind == "share":
            return f"in {100 * low:.0f} to {100 * high:.0f} %"
        if high == float("inf"):
            return f"in at least {low:g}"
        return f"in {low:g}" if low == high else f"in {low:g} to {high:g}"


Frequency = FrequencyWord | Count


def enough(agree: np.ndarray, frequency: Frequency, *, persistent: float = PERSISTENT, always: float = ALWAYS) -> bool:
    """Whether enough of the measurements agree for the stated frequency.

    Args:
        agree: bool [n], one for each measurement; n >= 1.
        frequency: a word for how often, or a stated count or share.
        persistent: least share of the measurements for "persistently".
        always: least share for "always".
    """
    if isinstance(frequency, Count):
        return frequency.met(agree)
    count, share = int(agree.sum()), float(agree.mean())
    match frequency:
        case "always":
            return share >= always
        case "mostly":
            return share >= MOSTLY
        case "persistently":
            return share >= persistent
        case "repeatedly":
            return count >= REPEATED
        case "sometimes":
            return count >= 1


def said(frequency: Frequency | None) -> str:
    """The frequency as printed in readings, after a blank; empty if none is stated."""
    return "" if frequency is None else f" {frequency}"
