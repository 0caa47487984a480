"""Proximal policy optimisation (Schulman et al. 2017) for contract problems, each of which is one decision.

An episode has one step, so the advantage of an action is its reward beyond the estimate of the value, without discount.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clinragen.contract_policies.actions import Actions
from clinragen.contract_policies.batch import ProblemBatch
from clinragen.contract_policies.network import network


@dataclass(frozen=True)
class PPOSettings:
    """Of the policy and its training.

    Attributes:
        width: of the hidden layers.
        rounds: of collecting actions and learning from them.
        batch: problems of a round.
        epochs: passes over a round's actions.
        minibatch: problems of one step.
        clip: how far an action's probability may change in a round, as a ratio.
        learning_rate: at the start; it falls to 0 along a cosine.
        deviation: logarithm of the standard deviation of actions at the start; it is learned.
    """

    width: int = 128
    rounds: int = 300
    batch: int = 2048
    epochs: int = 4
    minibatch: int = 512
    clip: float = 0.2
    learning_rate: float = 1e-3
    deviation: float = -0.5


class PPOPolicy(nn.Module):
    """A normal distribution of actions for each problem; its mean is played."""

    def __init__(self, types: int, actions: Actions, settings: PPOSettings) -> None:
        super().__init__()
        self.actions = actions
        inputs, outputs = 2 * types + 2, actions.width(types)
        self.mean = network(inputs, outputs, settings.width)
        self.estimate = network(inputs, 1, settings.width)
        self.log_deviation = nn.Parameter(torch.full((outputs,), settings.deviation))

    def forward(self, problems: ProblemBatch, generator: torch.Generator | None = None) -> Tensor:
        """The mean action, [problems, width]."""
        return self.mean(problems.features())

    def distribution(self, problems: ProblemBatch) -> torch.distributions.Normal:
        """Of actions."""
        return torch.distributions.Normal(self.mean(problems.features()), self.log_deviation.exp())


def train_ppo(
    pool: ProblemBatch,
    actions: Actions,
    settings: PPOSettings,
    seed: int,
    report: Callable[[], None] = lambda: None,
) -> PPOPolicy:
    """Train a policy on problems drawn from a pool.

    Args:
        pool: the problems.
        actions: the form of action.
        settings: of policy and training.
        seed: of weights and draws.
        report: called after each round.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = PPOPolicy(pool.types, actions, settings)
    optimizer = torch.optim.Adam(policy.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.rounds)
    for _ in range(settings.rounds):
        problems = pool[torch.randint(len(pool), (settings.batch,), generator=generator)]
        with torch.no_grad():
            drawn = policy.distribution(problems)
            action = drawn.loc + drawn.scale * torch.randn(drawn.loc.shape, generator=generator)
            log_probability = drawn.log_prob(action).sum(1)
            gained = actions.reward(problems, action)
        for _ in range(settings.epochs):
            for rows in torch.randperm(settings.batch, generator=generator).split(settings.minibatch):
                loss = _loss(policy, problems[rows], action[rows], log_probability[rows], gained[rows], settings.clip)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
                optimizer.step()
        schedule.step()
        report()
    return policy.eval()


def _loss(
    policy: PPOPolicy, problems: ProblemBatch, action: Tensor, before: Tensor, gained: Tensor, clip: float
) -> Tensor:
    """The clipped surrogate and the squared error of the value."""
    estimate = policy.estimate(problems.features())[:, 0]
    advantage = gained - estimate.detach()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    ratio = torch.exp(policy.distribution(problems).log_prob(action).sum(1) - before)
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -surrogate.mean() + 0.5 * ((estimate - gained) ** 2).mean()
