"""PPO of stable-baselines3 for contract problems, where it is installed: an oracle for ``benchmarks/contracts.py``.

It is no dependency of the project. It plays the same problems with the same actions and rewards as the project's own.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from clinragen.contract_policies.actions import Actions
from clinragen.contract_policies.batch import ProblemBatch

AVAILABLE = find_spec("stable_baselines3") is not None
_ENVIRONMENTS = 256
_BOUND = 3.0  # of actions; tanh(3) is beyond what a policy needs


class Played:
    """A trained model as a policy of the project: problems to actions."""

    def __init__(self, model: Any, actions: Actions) -> None:
        self.model, self.actions = model, actions

    def __call__(self, problems: ProblemBatch, generator: torch.Generator) -> torch.Tensor:
        """The mean action, [problems, width]."""
        action, _ = self.model.predict(problems.features().numpy(), deterministic=True)
        return torch.as_tensor(action)


def train_sb3(pool: ProblemBatch, actions: Actions, steps: int, seed: int) -> Played:
    """Train for a number of problems with the settings of the project's own PPO, and otherwise the library's."""
    from gymnasium.spaces import Box  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import VecEnv  # pyright: ignore[reportMissingImports]

    class Contracts(VecEnv):
        """Each episode is one problem of the pool, and one action."""

        def __init__(self) -> None:
            width, features = actions.width(pool.types), pool.features().shape[1]
            inputs = Box(-np.inf, np.inf, (features,), np.float32)
            super().__init__(_ENVIRONMENTS, inputs, Box(-_BOUND, _BOUND, (width,), np.float32))
            self.rng = np.random.default_rng(seed)

        def reset(self) -> np.ndarray:
            self.problems = pool[torch.as_tensor(self.rng.integers(0, len(pool), _ENVIRONMENTS))]
            return self.problems.features().numpy()

        def step_async(self, actions: np.ndarray) -> None:
            self.action = torch.as_tensor(actions)

        def step_wait(self) -> Any:
            rewards = actions.reward(self.problems, self.action).numpy()
            last = self.problems.features().numpy()
            infos = [{"terminal_observation": row} for row in last]
            return self.reset(), rewards, np.ones(_ENVIRONMENTS, bool), infos

        def close(self) -> None:
            """Nothing is open."""

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [None] * _ENVIRONMENTS

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            raise NotImplementedError

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * _ENVIRONMENTS

    network = {"net_arch": [128, 128, 128], "activation_fn": torch.nn.SiLU, "log_std_init": -0.5}
    model = PPO(
        "MlpPolicy", Contracts(), learning_rate=lambda left: 1e-3 * left, n_steps=8, batch_size=512, n_epochs=4,
        policy_kwargs=network, seed=seed, device="cpu",
    )  # fmt: skip
    return Played(model.learn(steps), actions)
