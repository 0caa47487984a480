"""Trained policies as ways to write menus, beside the rules of ``clinragen.contracts.comparison``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from clinragen.contract_policies.actions import FORMS, Actions, Form
from clinragen.contract_policies.batch import ProblemBatch
from clinragen.contract_policies.diffusion import DiffusionSettings, train_diffusion
from clinragen.contract_policies.ppo import PPOSettings, train_ppo
from clinragen.contracts.comparison import Writer
from clinragen.contracts.instances import random_problem
from clinragen.contracts.optimum import payments
from clinragen.contracts.problem import Problem


class Policy(Protocol):
    """What gives an action for each problem of a batch."""

    actions: Actions

    def __call__(self, problems: ProblemBatch, generator: torch.Generator) -> torch.Tensor:
        """The actions, [problems, width]."""
        ...


_POOL = 20_000  # problems to learn from
#: by name: the form of action, and how it is trained with a given number of rounds
POLICIES: dict[str, tuple[Form, str]] = {
    "diffusion, structured": ("structured", "diffusion"),
    "PPO, structured": ("structured", "ppo"),
    "diffusion, raw": ("raw", "diffusion"),
    "PPO, raw": ("raw", "ppo"),
}
#: by name, steps of training; raw actions need more
STEPS = {"diffusion, structured": 600, "PPO, structured": 60, "diffusion, raw": 2500, "PPO, raw": 300}


def pool(types: tuple[int, int], seed: int) -> ProblemBatch:
    """Problems to learn from.

    Args:
        types: the least and the most types.
        seed: of the problems.
    """
    rng = np.random.default_rng([seed, 1])  # apart from the problems that policies are tried on
    return ProblemBatch.of([random_problem(rng, types) for _ in range(_POOL)], types[1])


def train(
    name: str, problems: ProblemBatch, seed: int, *, steps: int | None = None, report: Callable[[], None] = lambda: None
) -> Writer:
    """Train a policy; what it gives writes menus.

    Args:
        name: of ``POLICIES``.
        problems: to learn from.
        seed: of weights and draws.
        steps: of training; None: those of ``STEPS``.
        report: called after each.
    """
    form, kind = POLICIES[name]
    count = steps or STEPS[name]
    policy = (
        train_diffusion(problems, FORMS[form], replace(DiffusionSettings(), steps=count), seed, report)
        if kind == "diffusion"
        else train_ppo(problems, FORMS[form], replace(PPOSettings(), rounds=count), seed, report)
    )
    return writer(policy, problems.types, seed)


def writer(policy: Policy, types: int, seed: int) -> Writer:
    """A policy as a way to write menus, in the units of each problem.

    Args:
        policy: trained for a number of types.
        types: that number.
        seed: of a diffusion policy's noise.
    """

    def write(problems: Sequence[Problem]) -> list[tuple[np.ndarray, np.ndarray]]:
        batch = ProblemBatch.of(problems, types)
        with torch.no_grad():
            action = policy(batch, torch.Generator().manual_seed(seed))
            frequencies, rewards = (part.double().numpy() for part in policy.actions.menu(batch, action))
        menus = []
        for one, frequency, reward in zip(problems, frequencies, rewards, strict=True):
            count = len(one.costs)
            scaled = frequency[:count] * one.largest_frequency
            if policy.actions.by_formula:  # in full precision
                scaled = np.maximum.accumulate(scaled)
                menus.append((scaled, payments(one.costs, scaled)))
            else:
                menus.append((scaled, reward[:count] * one.worth))
        return menus

    return write
