"""A diffusion policy: an action is drawn by denoising noise in a few steps, conditioned on the contract problem.

The variance-preserving schedule is that of Diffusion-QL (Wang, Hunt & Zhou 2023), as in arXiv 2407.00978; the network
estimates the clean action rather than the noise, which keeps the few steps stable. As in both, the policy is trained
through its whole chain to draw actions of high value. In the structured form the value is known and has a gradient, so
it is used itself; in the raw form, where it jumps, two critics learn it from the actions tried, and the smaller of
their estimates is climbed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clinragen.contract_policies.actions import Actions
from clinragen.contract_policies.batch import ProblemBatch
from clinragen.contract_policies.network import network

_BETA = (0.1, 10.0)  # of the schedule


@dataclass(frozen=True)
class DiffusionSettings:
    """Of the policy and its training.

    Attributes:
        denoising: steps from noise to action.
        width: of the hidden layers.
        steps: of training.
        batch: problems of a step.
        learning_rate: at the start; it falls to 0 along a cosine.
        exploration: standard deviation of the noise added to actions that critics learn from.
    """

    denoising: int = 5
    width: int = 128
    steps: int = 2000
    batch: int = 256
    learning_rate: float = 1e-3
    exploration: float = 0.3


class DiffusionPolicy(nn.Module):
    """Draws an action for each problem.

    Attributes:
        clean_weight: of the clean action that the network estimates, in the mean of the next less noisy one, [steps].
        noisy_weight: of the noisy action, in the same mean, [steps].
        deviation: of the noise added to that mean, [steps].
    """

    clean_weight: Tensor
    noisy_weight: Tensor
    deviation: Tensor

    def __init__(self, types: int, actions: Actions, settings: DiffusionSettings) -> None:
        super().__init__()
        self.actions, self.steps = actions, settings.denoising
        self.width = actions.width(types)
        self.denoiser = network(self.width + 2 * types + 2 + self.steps, self.width, settings.width)
        times = torch.arange(1, self.steps + 1) / self.steps
        spans = 1 / self.steps
        betas = 1 - torch.exp(-spans * (_BETA[0] + (_BETA[1] - _BETA[0]) * (times - spans / 2)))
        remaining = torch.cumprod(1 - betas, 0)
        before = torch.cat([torch.ones(1), remaining[:-1]])
        self.register_buffer("clean_weight", torch.sqrt(before) * betas / (1 - remaining))
        self.register_buffer("noisy_weight", torch.sqrt(1 - betas) * (1 - before) / (1 - remaining))
        self.register_buffer("deviation", torch.sqrt(betas * (1 - before) / (1 - remaining)))

    def forward(self, problems: ProblemBatch, generator: torch.Generator) -> Tensor:
        """An action for each problem, [problems, width]; its gradient reaches all denoising steps."""
        features = problems.features()
        shape = (len(problems), self.width)
        action = torch.randn(shape, generator=generator)
        for step in reversed(range(self.steps)):
            time = torch.zeros(len(problems), self.steps)
            time[:, step] = 1
            clean = self.denoiser(torch.cat([action, features, time], 1))
            if step == 0:
                return clean
            action = self.clean_weight[step] * clean + self.noisy_weight[step] * action
            action = action + self.deviation[step] * torch.randn(shape, generator=generator)
        raise AssertionError("the last step returns")


def train_diffusion(
    pool: ProblemBatch,
    actions: Actions,
    settings: DiffusionSettings,
    seed: int,
    report: Callable[[], None] = lambda: None,
) -> DiffusionPolicy:
    """Train a policy on problems drawn from a pool.

    Args:
        pool: the problems.
        actions: the form of action.
        settings: of policy and training.
        seed: of weights, draws and noise.
        report: called after each step.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = DiffusionPolicy(pool.types, actions, settings)
        critic = None if actions.by_formula else _Critic(pool.types, policy.width, settings)
    optimizer = torch.optim.Adam(policy.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for _ in range(settings.steps):
        problems = pool[torch.randint(len(pool), (settings.batch,), generator=generator)]
        action = policy(problems, generator)
        if critic is None:
            value = actions.reward(problems, action)
        else:
            critic.learn(problems, action.detach(), actions, generator)
            value = critic(problems, action)
        optimizer.zero_grad()
        (-value.mean()).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report()
    return policy.eval()


class _Critic(nn.Module):
    """Two estimates of what an action gains; the smaller counts, as estimates that are climbed are too high."""

    def __init__(self, types: int, width: int, settings: DiffusionSettings) -> None:
        super().__init__()
        sizes = (width + 2 * types + 2, 1, 2 * settings.width)
        self.estimates = nn.ModuleList([network(*sizes), network(*sizes)])
        self.optimizer = torch.optim.Adam(self.parameters(), settings.learning_rate)
        self.exploration = settings.exploration

    def _estimates(self, problems: ProblemBatch, action: Tensor) -> Tensor:
        rows = torch.cat([torch.tanh(action), problems.features()], 1)
        return torch.cat([estimate(rows) for estimate in self.estimates], 1)

    def forward(self, problems: ProblemBatch, action: Tensor) -> Tensor:
        return self._estimates(problems, action).amin(1)

    def learn(self, problems: ProblemBatch, action: Tensor, actions: Actions, generator: torch.Generator) -> None:
        """One step of regression on what the actions of a batch, with noise, in truth gain."""
        attempt = action + self.exploration * torch.randn(action.shape, generator=generator)
        gained = actions.reward(problems, attempt)
        loss = ((self._estimates(problems, attempt) - gained[:, None]) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
