"""Draws the stays of a rating pack, and the order in which each rater sees stays and authors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_HEALTHY = "no diagnosis"


def draw_stays(
    diagnoses: Mapping[int, Sequence[str]], patients: Mapping[int, int], count: int, generator: np.random.Generator
) -> list[int]:
    """Stays in which diagnoses vary: the diagnoses take turns, and each draws a stay that has it.

    Stays without a diagnosis have a turn of their own. As far as there are others, no patient is drawn twice.

    Args:
        diagnoses: those of each stay; at least ``count`` stays.
        patients: the patient of each stay.
        count: number of stays.
        generator: decides which stays and which turns.
    """
    turns: dict[str, list[int]] = {}
    for stay in generator.permutation(sorted(diagnoses)).tolist():
        for diagnosis in diagnoses[stay] or (_HEALTHY,):
            turns.setdefault(diagnosis, []).append(stay)
    order = generator.permutation(sorted(turns)).tolist()
    drawn: list[int] = []
    while len(drawn) < count:
        for diagnosis in order:
            left = [stay for stay in turns[diagnosis] if stay not in drawn]
            if not left or len(drawn) == count:
                continue
            seen = {patients[stay] for stay in drawn}
            drawn.append(next((stay for stay in left if patients[stay] not in seen), left[0]))
    return drawn


def balanced_orders(authors: Sequence[str], count: int, generator: np.random.Generator) -> list[list[str]]:
    """An order of the authors for each of ``count`` stays.

    Each author stands in each position equally often, or once less: the rotations of a random order follow each other
    in random sequence, then those of another one.
    """
    orders: list[list[str]] = []
    while len(orders) < count:
        start = generator.permutation(list(authors)).tolist()
        rotations = [start[shift:] + start[:shift] for shift in range(len(start))]
        orders += [rotations[index] for index in generator.permutation(len(start))]
    return orders[:count]


def neutral_names(count: int, generator: np.random.Generator) -> list[str]:
    """Distinct names of eight hexadecimal digits that say nothing of a stay."""
    names: dict[str, None] = {}
    while len(names) < count:
        names[generator.bytes(4).hex()] = None
    return list(names)
