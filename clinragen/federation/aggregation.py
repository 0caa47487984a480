"""The changes of many sites as one: robust by default, and the same bytes whatever the order of arrival.

All in float64, summed in the order of the sites' keys.

==============  ======================================================================================================
rule            what it does
==============  ======================================================================================================
clipped_mean    scales each change down to the median length of all, then takes the mean weighted by counts, of which
                none weighs more than ``count_cap`` times the median count (the default)
mean            the mean weighted by counts as they are told: federated averaging (McMahan et al. 2017)
trimmed_mean    of each coordinate, without the largest and smallest ``trim`` of the sites (Yin et al. 2018)
median          of each coordinate (Yin et al. 2018)
==============  ======================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np

from clinragen.errors import UserError
from clinragen.federation.update import Tensors, Update, norm
from clinragen.shape import NUMBER, SHARE

RuleName = Literal["clipped_mean", "mean", "trimmed_mean", "median"]
RULES: tuple[RuleName, ...] = get_args(RuleName)


@dataclass
class Rule:
    """How the changes of sites are combined.

    Attributes:
        name: one of :data:`RULES`.
        count_cap: of ``clipped_mean``: the largest weight of a count, in median counts of the round.
        trim: of ``trimmed_mean``: the share of sites left out at each end; at least one site once there are three.
        half_life_hours: of the two means: the age of data at which they weigh half; None: age does not matter.
    """

    name: RuleName = "clipped_mean"
    count_cap: Annotated[float, NUMBER] = 5.0
    trim: Annotated[float, SHARE] = 0.2
    half_life_hours: float | None = None

    def check(self) -> None:
        """Raise a UserError unless the numbers make sense together."""
        if self.count_cap < 1:
            raise UserError(f"rule.count_cap is {self.count_cap}, expected at least 1 median count")
        if not 0 <= self.trim < 0.5:
            raise UserError(f"rule.trim is {self.trim}, expected a share from 0 to below 0.5")
        if self.half_life_hours is not None and self.half_life_hours <= 0:
            raise UserError(f"rule.half_life_hours is {self.half_life_hours}, expected hours above 0, or null")


@dataclass(frozen=True)
class Aggregate:
    """One change of many.

    Attributes:
        tensors: by name, float64.
        weights: by site, the share of each in the mean; equal shares for the rules by coordinate.
        scales: by site, what its change was multiplied by before: 1 unless it was longer than the median.
    """

    tensors: Tensors
    weights: dict[str, float]
    scales: dict[str, float]


def aggregate(updates: Sequence[Update], rule: Rule) -> Aggregate:
    """Combine the changes of a round.

    Args:
        updates: one of each site, of the same tensors, all finite; in any order.
        rule: how.

    Raises:
        UserError: no update, or two of one site.
    """
    rule.check()
    ordered = sorted(updates, key=lambda update: update.site)
    sites = [update.site for update in ordered]
    if not sites or len(set(sites)) < len(sites):
        raise UserError(f"{len(sites)} updates of {len(set(sites))} sites: expected one of each of at least one site")
    clipped = rule.name == "clipped_mean"
    scales = _scales(ordered) if clipped else np.ones(len(sites))
    weights = np.full(len(sites), 1 / len(sites))
    if rule.name in ("clipped_mean", "mean"):
        weights = _weights(ordered, rule.count_cap if clipped else None, rule.half_life_hours)
    combined = {}
    for name in sorted(ordered[0].tensors):
        if rule.name in ("clipped_mean", "mean"):
            combined[name] = _weighted_sum([update.tensors[name] for update in ordered], weights * scales)
        else:
            stacked = np.stack([update.tensors[name] for update in ordered]).astype(np.float64)
            combined[name] = _by_coordinate(stacked, rule)
    named = (dict(zip(sites, each.tolist(), strict=True)) for each in (weights, scales))
    return Aggregate(combined, *named)


def _scales(updates: Sequence[Update]) -> np.ndarray:
    """What brings each change down to the median length, float64 [sites]; 1 for those that are no longer."""
    lengths = np.array([norm(update.tensors) for update in updates])
    middle = np.median(lengths)
    return np.where(lengths > middle, middle / np.maximum(lengths, np.finfo(np.float64).tiny), 1.0)


def _weights(updates: Sequence[Update], cap: float | None, half_life: float | None) -> np.ndarray:
    """Share of each site in a mean, float64 [sites]. Of unknown age counts as the oldest of the round does."""
    counts = np.array([update.count for update in updates], np.float64)
    if cap is not None:
        counts = np.minimum(counts, cap * np.median(counts))
    if half_life is not None:
        ages = [update.age_hours for update in updates if update.age_hours is not None]
        oldest = max(ages, default=0.0)
        age = np.array([oldest if update.age_hours is None else update.age_hours for update in updates])
        counts = counts * 2.0 ** (-(age - age.min()) / half_life)
    total = counts.sum()
    return counts / total if total > 0 else np.full(len(updates), 1 / len(updates))


def _weighted_sum(arrays: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    total = np.zeros(arrays[0].shape, np.float64)
    for array, weight in zip(arrays, weights, strict=True):
        total += weight * array
    return total


def _by_coordinate(stacked: np.ndarray, rule: Rule) -> np.ndarray:
    """The middle of each coordinate, of [sites, ...]."""
    if rule.name == "median":
        return np.median(stacked, axis=0)
    ends = int(rule.trim * len(stacked))
    ends = max(ends, 1) if rule.trim > 0 and len(stacked) > 2 else ends
    middle = np.sort(stacked, axis=0)[ends : len(stacked) - ends]
    return middle.sum(axis=0) / len(middle)
