"""A federation in one process: one cohort is split into sites, which use the same functions and files as real ones.

Keys are drawn from a seed, so a simulation can be repeated to the byte; they protect nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from clinragen.artifacts import write_text
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError, unknown_choice
from clinragen.federation import coordinator, site
from clinragen.federation.coordinator import Coordinator
from clinragen.federation.manifest import FederationSettings, Member
from clinragen.federation.screening import Refusal
from clinragen.federation.update import Tensors
from clinragen.federation.work import LocalWork, Phase, Statistic, open_work
from clinragen.outputs import OutputKind

FOLDER = OutputKind("simulated federation", "clinragen federate simulate", ("federation", "sites", "policy.yaml"))

#: What sites that mean harm send: minus ten times their change, its opposite, a hundred times it, or all the same.
Poison = Literal["minus_ten", "flipped", "scaled", "colluding"]
POISONS: tuple[Poison, ...] = get_args(Poison)
#: A policy that lets out what the federation lists.
POLICY = """\
smallest_cell: 10
largest_norm: 1.0e9
may_leave: ["*"]
privacy: null
"""


@dataclass(frozen=True)
class Simulated:
    """What came of a simulation.

    Attributes:
        coordinator: its folder, with the finished model in its outbox.
        sites: by name, the part of the cohort that each has.
        left_out: name -> why, of those that took no part.
        refusals: of all rounds.
        epsilon: spent by each site, the largest; None without differential privacy.
    """

    coordinator: Coordinator
    sites: dict[str, Cohort]
    left_out: dict[str, str]
    refusals: tuple[Refusal, ...]
    epsilon: float | None


def split_by(cohort: Cohort, column: str) -> dict[str, Cohort]:
    """The parts of a cohort by the values of a column of its stays or sites.

    Raises:
        UserError: there is no such column, or it is the same for all stays.
    """
    table = cohort.stays.join(cohort.sites, on="stay_id", maintain_order="left")
    columns = set(table.columns) - {"stay_id", "subject_id", "hadm_id", "split"}
    if column not in columns:
        raise unknown_choice("column of stays or sites", column, columns)
    parts: dict[str, Cohort] = {}
    for value in table[column].drop_nulls().unique().sort():
        name = re.sub(r"[^a-z0-9._-]+", "-", f"{column}-{value}".lower())[:63]
        if name in parts:
            raise UserError(f"--by {column}: two values make the same site name {name}: choose another column")
        parts[name] = cohort.of_stays(table.filter(pl.col(column) == value)["stay_id"].to_numpy())
    if len(parts) < 2:
        raise UserError(f"--by {column}: {cohort.paths.root} has {len(parts)} of them, expected at least two sites")
    return parts


def simulate(  # noqa: PLR0913 (the options of the command)
    cohort: Cohort,
    out: Path,
    settings: FederationSettings,
    *,
    by: str = "network",
    policy: Path | None = None,
    poison: Poison | None = None,
    poisoned: int = 0,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Simulated:
    """Run a federation to its end.

    Args:
        cohort: whose training stays are divided.
        out: new folder for coordinator and sites.
        settings: what is computed.
        by: column that tells the sites apart.
        policy: of every site; by default one that lets out what the federation lists.
        poison: what some sites do instead.
        poisoned: how many of them, spread over the sites by size.
        seed: of the keys.
        progress: called with a line for each round.

    Raises:
        UserError: fewer than two sites have enough training stays.
    """
    parts = split_by(cohort, by)
    if policy is None:
        policy = out / "policy.yaml"
        write_text(policy, POLICY)
    sites, left_out = _join(parts, out, policy, settings.least_count, seed)
    if len(sites) < 2:
        raise UserError(f"{len(sites)} sites with at least {settings.least_count} training stays, expected two")
    federation = coordinator.init(
        out / "federation", "simulation", list(sites.values()), settings, _entropy(seed, "coordinator")
    )
    opened = Coordinator.open(out / "federation")
    workers = _workers(open_work(settings.work, settings.settings), sites, poison, poisoned)
    outboxes = [out / "sites" / name / "outbox" for name in sites]
    refusals: list[Refusal] = []
    epsilons: list[float] = []
    coordinator.advance(opened, [])
    for number in range(1, federation.rounds + 1):
        for name in sites:
            folder = out / "sites" / name
            reply = site.answer(
                site.Site.open(folder / "site"),
                federation,
                parts[name],
                opened.outbox,
                folder / "outbox",
                work=workers[name],
            )
            epsilons += [reply.epsilon] if reply.epsilon is not None else []
        state = coordinator.advance(opened, outboxes, close=True)
        refusals += state.refusals
        if number not in state.closed:
            raise UserError(
                f"round {number}: {len(state.accepted)} updates were accepted, expected {federation.least_sites}: "
                f"{'; '.join(map(str, state.refusals[:3]))}"
            )
        progress(f"round {number} of {federation.rounds}: {len(state.accepted)} sites, {len(state.refusals)} refused")
    chosen = {name: parts[name] for name in sites}
    return Simulated(opened, chosen, left_out, tuple(refusals), max(epsilons, default=None))


def _join(
    parts: dict[str, Cohort], out: Path, policy: Path, least: int, seed: int
) -> tuple[dict[str, Member], dict[str, str]]:
    """Folders of the sites that have enough training stays, and why others have none."""
    members, left_out = {}, {}
    for name, part in parts.items():
        stays = int((part.stays["split"] == "train").sum())
        if stays < least:
            left_out[name] = f"{stays} training stays, fewer than {least}"
            continue
        members[name] = site.join(out / "sites" / name / "site", name, part, policy, entropy=_entropy(seed, name))
        (out / "sites" / name / "outbox").mkdir()
    return members, left_out


def _entropy(seed: int, purpose: str) -> Callable[[int], bytes]:
    """Bytes that are drawn from a seed, the next ones at each call."""
    calls = iter(range(1 << 30))

    def draw(size: int) -> bytes:
        return hashlib.shake_256(f"clinragen simulation {seed} {purpose} {next(calls)}".encode()).digest(size)

    return draw


def _workers(work: LocalWork, sites: dict[str, Member], poison: Poison | None, poisoned: int) -> dict[str, LocalWork]:
    """The work of each site; of some of them poisoned."""
    if poison is None or not poisoned:
        return dict.fromkeys(sites, work)
    if poisoned > len(sites):
        raise UserError(f"--poisoned {poisoned}: there are {len(sites)} sites")
    by_size = sorted(sites, key=lambda name: (sites[name].stays, name))
    harmful = {by_size[int((rank + 0.5) * len(by_size) / poisoned)] for rank in range(poisoned)}
    return {name: _Poisoned(work, poison) if name in harmful else work for name in sites}


@dataclass(frozen=True)
class _Poisoned:
    """Work that sends harmful changes; its sums are honest."""

    work: LocalWork
    poison: Poison

    def phases(self) -> Sequence[Phase]:
        return self.work.phases()

    def start(self) -> Tensors:
        return self.work.start()

    def statistics(self, cohort: Cohort, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        return self.work.statistics(cohort, tensors, phase)

    def advance(self, tensors: Tensors, totals: dict[str, Statistic], phase: str) -> Tensors:
        return self.work.advance(tensors, totals, phase)

    def train(self, cohort: Cohort, tensors: Tensors, round_number: int) -> tuple[Tensors, int]:
        trained, count = self.work.train(cohort, tensors, round_number)
        return {name: self._harmful(tensors[name], array) for name, array in sorted(trained.items())}, count

    def _harmful(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        if self.poison == "colluding":  # all of them push the same way
            return before + np.float32(1.0)
        factor = {"minus_ten": -10.0, "flipped": -1.0, "scaled": 100.0}[self.poison]
        return (before + factor * (after - before)).astype(np.float32)
