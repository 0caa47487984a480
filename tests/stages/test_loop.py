"""The loop on a model with one parameter: learning rate, best epoch, patience."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clinragen.data.sampler import StepPlan
from clinragen.errors import UserError
from clinragen.stages import checkpoint
from clinragen.stages import loop as loops
from clinragen.stages.checkpoint import TrainState
from clinragen.stages.config import StageConfig, resolve, shaping
from clinragen.stages.loop import FLOOR, Loop, Objective, Scored, schedule

RATE = 0.5


class Rows:
    """Stays that are their own number."""

    def __init__(self, count: int, lengths: list[int] | None = None):
        self.count = count
        self.lengths = lengths or [10] * count
        self.begun: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> int:
        return row

    def length(self, row: int) -> int:
        return self.lengths[row]

    def begin(self, epoch: int) -> None:
        self.begun.append(epoch)


@dataclass
class Batch:
    stay_ids: Tensor


def collate(rows: list[int]) -> Batch:
    return Batch(torch.tensor(rows))


class Line(Objective):
    """A weight with the same gradient at every stay, so that every step of the optimiser is known.

    Validation follows a script: the loss of each epoch, in turn.
    """

    def __init__(self, script: list[float], slope: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0]))
        self.fixed = nn.Parameter(torch.tensor([0.0]))
        self.script = script
        self.slope = slope
        self.read: list[tuple[bool, list[int]]] = []
        self.rested = 0
        self.drawn: list[float] = []

    def score(self, batch: Batch) -> Scored:
        self.read.append((self.training, batch.stay_ids.tolist()))
        if self.training:
            self.drawn.append(float(torch.rand(1)))
        loss = self.slope * self.weight.expand(len(batch.stay_ids))
        stays = batch.stay_ids.float()
        return Scored(loss, {"stay": stays}, {"twice": 2 * stays[:, None]})

    def groups(self) -> list[dict[str, Any]]:
        return [
            {"params": [self.weight], "lr": RATE, "weight_decay": 0.0},
            {"params": [self.fixed], "lr": RATE / 10, "weight_decay": 0.0},
        ]

    def freeze(self) -> None:
        self.rested += 1

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        value = self.script.pop(0)
        return {
            "loss": value,
            "macro_auroc": value,
            "twice": float(outputs["twice"].sum()),
            "first": float(outputs["stay"][0]),
        }


@dataclass
class Log:
    """What a watcher is told."""

    rates: list[tuple[float, ...]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    loop: Any = None

    def start(self, total: int, done: int) -> None:
        self.events.append(("start", total, done))

    def step(self, epoch: int) -> None:
        self.rates.append(tuple(group["lr"] for group in self.loop.optimizer.param_groups))
        self.events.append(("step", epoch))

    def epoch(self, place: Any) -> None:
        self.events.append(("epoch", place.epoch, place.best_epoch))

    def stop(self) -> None:
        self.events.append(("stop",))


class OneOf:
    """The Fabric of one of several processes, of which there are no others: what they say is made up."""

    def __init__(self, fabric: Fabric, rank: int, world: int):
        self.fabric = fabric
        self.global_rank = rank
        self.world_size = world
        self.is_global_zero = rank == 0
        self.synced: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fabric, name)

    def no_backward_sync(self, module: Any, enabled: bool = True) -> Any:
        self.synced.append(not enabled)
        return self.fabric.no_backward_sync(module, enabled=enabled)

    def broadcast(self, value: Any) -> Any:
        return value is False  # the first one's time has come when this one's has not


def loop_of(
    folder: Path,
    script: list[float],
    stays: int = 6,
    slope: float = 1.0,
    rank: int = 0,
    world: int = 1,
    **settings: Any,
) -> Loop:
    plain = {"inputs": ["note"], "targets": ["note"], "epochs": 4, "patience": 9, "batch_size": 2, "warmup": 0.25}
    stage = StageConfig(**(plain | {"weight_decay": 0.0, "seed": 7} | settings))
    data = {"train": Rows(stays), "validation": Rows(3)}
    log = Log()
    fabric: Any = Fabric(accelerator="cpu", devices=1, precision="32-true")
    if world > 1:
        fabric = OneOf(fabric, rank, world)
    made = Loop(fabric, Line(list(script), slope), stage, data, collate, folder, log)
    log.loop = made
    return made


@pytest.mark.parametrize(
    ("total", "warmup", "expected"),
    [
        (8, 0.25, [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (4, 0.0, [1, 1, 2 / 3, 1 / 3]),
        (5, 0.5, [1 / 2, 1, 1, 2 / 3, 1 / 3]),
        (3, 1.0, [1 / 3, 2 / 3, 1]),
        (1, 0.1, [1]),
        (2, 0.5, [1, 1]),
    ],
)
def test_the_height_of_the_learning_rate(total, warmup, expected):
    assert [schedule(step, total, warmup) for step in range(total)] == pytest.approx(expected)


def test_the_learning_rate_does_not_end_below_its_floor():
    assert FLOOR == 0.02
    assert schedule(99, 100, 0.0) == 0.02  # 1 / 99 is less
    assert schedule(98, 100, 0.0) == pytest.approx(2 / 99)
    assert schedule(100, 100, 1.0) == 0.02


def test_each_step_of_training_has_the_rate_of_the_schedule(tmp_path):
    """Twelve steps, three an epoch: three of warm-up. AdamW moves by the rate where every gradient is the same."""
    loop = loop_of(tmp_path, [4, 3, 2, 1])
    loop.fit()
    heights = [1 / 3, 2 / 3, 1, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9]
    assert [rate for rate, _ in loop.watcher.rates] == pytest.approx([RATE * height for height in heights])
    assert [rate for _, rate in loop.watcher.rates] == pytest.approx([RATE / 10 * height for height in heights])
    assert float(loop.objective.weight) == pytest.approx(-RATE * sum(heights), rel=1e-4)
    assert float(loop.objective.fixed) == 0.0
    assert loop.total == 12


def epochs_of(loop: Loop) -> tuple[int, int, float]:
    """Epochs run, the best of them (from 0), and the weight that is kept."""
    place = loop.fit()
    return place.epoch, place.best_epoch, float(loop.objective.weight)


@pytest.mark.parametrize(
    ("script", "patience", "epochs", "best"),
    [
        ([3, 2, 1, 0], 1, 4, 3),
        ([3, 2, 2.5, 1], 1, 3, 1),
        ([3, 2, 2.5, 1], 2, 4, 3),
        ([1, 2, 3, 4], 1, 2, 0),
        ([1, 2, 3, 4], 3, 4, 0),
        ([1, 1, 1, 1], 2, 3, 0),
        ([2, 1, 1, 0.5], 9, 4, 3),
        ([float("inf"), 5, 6, 7], 2, 4, 1),
    ],
)
def test_the_epoch_with_the_least_loss_is_kept_and_patience_ends_the_run(tmp_path, script, patience, epochs, best):

    loop = loop_of(tmp_path, script, patience=patience)
    ran, kept, weight = epochs_of(loop)
    assert (ran, kept) == (epochs, best)
    assert loop.state.best == script[best]
    heights = [schedule(step, 12, 0.25) for step in range(3 * (best + 1))]
    assert weight == pytest.approx(-RATE * sum(heights), rel=1e-4)
    assert [event for event in loop.watcher.events if event[0] == "epoch"][-1] == ("epoch", epochs, best)


def test_of_another_metric_the_most_is_best(tmp_path):
    assert epochs_of(loop_of(tmp_path, [0.5, 0.9, 0.7, 0.9], monitor="macro_auroc"))[:2] == (4, 1)
    assert epochs_of(loop_of(tmp_path / "b", [0.5, 0.4, 0.3], monitor="macro_auroc", patience=2))[:2] == (3, 0)


def test_a_metric_that_is_no_number_ends_the_run_and_names_metric_and_epoch(tmp_path):
    with pytest.raises(UserError, match="validation/loss is not a number in epoch 2"):
        loop_of(tmp_path, [1.0, float("nan")]).fit()
    with pytest.raises(UserError, match="validation/macro_auroc is not a number in epoch 1"):
        loop_of(tmp_path / "b", [float("nan")], monitor="macro_auroc").fit()


def test_a_loss_that_is_not_finite_ends_the_run_and_names_step_and_stays(tmp_path):
    loop = loop_of(tmp_path, [1, 1, 1, 1], stays=3, batch_size=3, slope=float("inf"))
    with pytest.raises(UserError, match=r"not finite in epoch 1, step 1, at stays \[\d, \d, \d\]: lower"):
        loop.fit()
    assert loop.watcher.events == [("start", 4, 0), ("stop",)]


def test_history_holds_means_over_stays_and_the_validation(tmp_path):
    """The stays of training are 0 to 6 (mean 3), of validation 0 to 2 (twice their sum is 6)."""
    loop = loop_of(tmp_path, [4, 3], stays=7, epochs=2, batch_size=3)
    history = loop.fit().history
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 3), (2, 6)]
    assert [row["train/stay"] for row in history] == [3.0, 3.0]
    assert [row["validation/loss"] for row in history] == [4, 3]
    assert [row["validation/twice"] for row in history] == [6.0, 6.0]
    assert [row["validation/first"] for row in history] == [0.0, 0.0]
    rates = [schedule(step, 6, 0.25) for step in range(6)]
    sizes = [len(rows) for rows in loop.plan.steps(0)]
    before = [-RATE * sum(rates[:step]) for step in range(3)]
    expected = sum(size * weight for size, weight in zip(sizes, before, strict=True)) / 7
    assert history[0]["train/loss"] == pytest.approx(expected, rel=1e-4)
    assert set(history[0]) == {
        *("epoch", "step", "train/loss", "train/stay"),
        *("validation/loss", "validation/macro_auroc", "validation/twice", "validation/first"),
    }


def test_each_stay_is_read_once_an_epoch_and_weighs_the_same(tmp_path):
    loop = loop_of(tmp_path, [4, 3], stays=7, epochs=2, batch_size=2, accumulate=2)
    for weight, batches in loop.batches(0, 0):
        assert weight == 1 / sum(len(batch.stay_ids) for batch, _ in batches)
        assert all(counts and len(batch.stay_ids) <= 2 for batch, counts in batches)
    loop.fit()
    read = [rows for training, rows in loop.objective.read if training]
    first, second = (sorted(itertools.chain(*half)) for half in (read[: len(read) // 2], read[len(read) // 2 :]))
    assert first == second == list(range(7))
    assert read[: len(read) // 2] != read[len(read) // 2 :]
    assert len(loop.plan) == 2
    assert loop.data["train"].begun == [0, 0, 1]
    assert loop.objective.rested == 2


def test_validation_reads_every_stay_once_without_training(tmp_path):
    loop = loop_of(tmp_path, [4], epochs=1)
    loop.fit()
    read = [rows for training, rows in loop.objective.read if not training]
    assert sorted(itertools.chain(*read)) == [0, 1, 2]
    assert not loop.objective.weight.grad
    scored = loop.eval_step(collate([1, 2]))
    assert not scored.loss.requires_grad


def test_validation_takes_four_times_the_stays_and_tokens_of_a_step(tmp_path):
    for settings, sizes in (({"batch_size": 1}, [4, 4, 1]), ({"batch_size": 4, "tokens": 10}, [4, 4, 1])):
        loop = loop_of(tmp_path, [4], epochs=1, **settings)
        loop.data["validation"] = Rows(9)
        loop.validate()
        assert [len(rows) for _, rows in loop.objective.read] == sizes


def test_stays_share_a_pass_by_their_own_lengths(tmp_path):
    """A pass has room for 60 tokens: the longest of a pass counts for each of its stays. In validation for 240."""
    rows = Rows(6, [10, 50, 10, 10, 10, 50])
    stage, fabric = loop_of(tmp_path, [], batch_size=6, tokens=60).stage, Fabric(accelerator="cpu", devices=1)
    loop = Loop(fabric, Line([4]), stage, {"train": rows, "validation": rows}, collate, tmp_path, Log())
    ((_, batches),) = loop.batches(0, 0)
    assert sorted(sorted(batch.stay_ids.tolist()) for batch, _ in batches) == [[0, 2, 3, 4], [1], [5]]
    loop.validate()
    assert sorted(sorted(stays) for _, stays in loop.objective.read) == [[0, 1, 2, 5], [3, 4]]


def test_a_trial_leaves_nothing(tmp_path):
    loop = loop_of(tmp_path, [4])
    loop.dry_step(collate([1, 2]))
    assert loop.objective.weight.grad is None or not loop.objective.weight.grad.any()
    assert float(loop.objective.weight) == 0.0


def test_gradients_are_clipped(tmp_path):
    """With weights far apart in size, AdamW tells nothing of it; the norm that the optimiser sees does."""
    norms = []
    loop = loop_of(tmp_path, [4, 4], epochs=1, slope=30.0, clip=0.5)
    step = loop.optimizer.step
    loop.optimizer.step = lambda *a: (norms.append(float(loop.objective.weight.grad)), step(*a))
    loop.fit()
    assert norms == pytest.approx([0.5] * 3, rel=1e-4)


def test_the_mean_over_the_stays_of_a_step_is_minimised(tmp_path):
    grads = []
    loop = loop_of(tmp_path, [4, 4], epochs=1, slope=0.25, accumulate=3)
    step = loop.optimizer.step
    loop.optimizer.step = lambda *a: (grads.append(float(loop.objective.weight.grad)), step(*a))
    loop.fit()
    assert grads == pytest.approx([0.25])  # six stays in three passes, and no gradient of a step before


def test_gradients_of_a_step_are_gone_before_the_next(tmp_path):
    grads = []
    loop = loop_of(tmp_path, [4, 4], epochs=1, slope=0.25)
    step = loop.optimizer.step
    loop.optimizer.step = lambda *a: (grads.append(float(loop.objective.weight.grad)), step(*a))
    loop.fit()
    assert grads == pytest.approx([0.25] * 3)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 8])
def test_a_run_interrupted_at_any_step_goes_on_as_if_it_had_not_been(tmp_path, at):
    whole = loop_of(tmp_path / "whole", [4, 3, 5, 2], checkpoint_steps=1)
    expected = whole.fit()
    first = loop_of(tmp_path / "cut", [4, 3, 5, 2], checkpoint_steps=1)
    steps = iter(range(at))

    def stop(batch: Any, inner: Any = first.objective.score) -> Scored:
        if first.objective.training and next(steps, None) is None:
            raise Interrupted
        return inner(batch)

    first.objective.score = stop
    with pytest.raises(Interrupted):
        first.fit()
    rest = loop_of(tmp_path / "cut", [4, 3, 5, 2][at // 3 :], checkpoint_steps=1)
    place = rest.fit()
    assert rest.watcher.events[0] == ("start", 12, at)
    assert len([event for event in rest.watcher.events if event[0] == "step"]) == 12 - at
    assert place.history == expected.history
    assert (place.best, place.best_epoch, place.epoch, place.step) == (2, 3, 4, 0)
    assert torch.equal(rest.objective.weight, whole.objective.weight)
    assert first.objective.drawn + rest.objective.drawn == whole.objective.drawn
    assert len(set(whole.objective.drawn)) == 12


def test_chance_is_of_seed_epoch_and_step(tmp_path):
    loop = loop_of(tmp_path, [4, 3, 5, 2])
    loop.fit()
    expected = []
    for epoch in range(4):
        for step in range(3):
            torch.manual_seed(int(np.random.SeedSequence([7, epoch, step, 0]).generate_state(1)[0]))
            expected.append(float(torch.rand(1)))
    assert loop.objective.drawn == expected


def test_the_best_weights_are_those_on_the_disk_and_a_lost_file_is_an_error(tmp_path):
    loop = loop_of(tmp_path, [4, 3, 5, 6])
    loop.fit()
    best = load_file(tmp_path / "best.safetensors")
    assert sorted(best) == ["model.fixed", "model.weight"]  # no moments of the optimiser
    assert torch.equal(best["model.weight"], loop.objective.weight)
    assert "exp_avg.weight" in load_file(loop.state_path)
    assert float(load_file(loop.state_path)["model.weight"]) < float(loop.objective.weight)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(UserError, match=r"best.safetensors is gone: start the run anew"):
        loop_of(tmp_path, []).fit()


def test_where_the_run_stands_is_written_every_so_many_steps(tmp_path):
    loop = loop_of(tmp_path, [4], stays=10, epochs=1, checkpoint_steps=2)
    saved: list[int] = []
    save = loop._save
    loop._save = lambda: (saved.append(loop.state.step), save())
    loop.fit()
    assert saved == [2, 4, 0]  # two within the epoch, and its end


def test_or_every_so_many_minutes(tmp_path, monkeypatch):
    loop = loop_of(tmp_path, [4], stays=12, epochs=1, checkpoint_minutes=1)
    clock = SimpleNamespace(now=loop.saved_at)
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock.now)
    saved: list[int] = []
    save = loop._save
    loop._save = lambda: (saved.append(loop.state.step), save())
    step = loop._step

    def slow(*arguments: Any) -> None:
        clock.now += 30.5
        step(*arguments)

    loop._step = slow
    place = loop.fit()
    assert saved == [2, 4, 6, 0]
    assert place.seconds == pytest.approx(6 * 30.5)


def test_a_watcher_is_told_of_every_step_and_epoch(tmp_path):
    loop = loop_of(tmp_path, [4, 3], stays=4, epochs=2)
    loop.fit()
    step = [("step", 0), ("step", 0)]
    assert loop.watcher.events == [
        *(("start", 4, 0), *step, ("epoch", 1, 0), *[("step", 1)] * 2, ("epoch", 2, 1), ("stop",)),
    ]


def test_the_steps_are_those_of_the_stage_and_of_all_processes(tmp_path):
    settings = {"batch_size": 2, "accumulate": 3, "tokens": 50, "epochs": 2}
    for world, size in ((1, 6), (2, 12)):
        plan = loop_of(tmp_path, [], stays=40, world=world, **settings).plan
        said = StepPlan([10] * 40, size, 2, 50, seed=7)
        assert [rows.tolist() for rows in plan.steps(1)] == [rows.tolist() for rows in said.steps(1)]
        assert (plan.batch_size, plan.tokens) == (2, 50)
    assert loop_of(tmp_path, [], stays=40, world=2, **settings).total == 8


def test_the_seconds_of_a_run_that_was_resumed_are_those_of_both_parts(tmp_path, monkeypatch):
    loop = loop_of(tmp_path, [4, 3], epochs=2)
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock.now)

    def slow(step: Any) -> Any:
        def run(*arguments: Any) -> None:
            clock.now += 2.0
            step(*arguments)

        return run

    loop._step = slow(loop._step)
    assert loop.fit().seconds == 12.0
    clock.now = 1000.0
    rest = loop_of(tmp_path, [2, 1])
    rest._step = slow(rest._step)
    assert rest.fit().seconds == 24.0


def test_a_run_is_not_written_before_its_minutes_are_over(tmp_path, monkeypatch):
    loop = loop_of(tmp_path, [], checkpoint_minutes=2)
    loop.saved_at, clock = 0.0, SimpleNamespace(now=120.0)
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock.now)
    assert loop._due() is False
    clock.now += 1
    assert loop._due() is True
    loop._save()
    assert loop._due() is False
    several = loop_of(tmp_path, [], world=2, checkpoint_minutes=2)
    assert several._due() is True  # what the first process says, as all must agree
    assert loop_of(tmp_path, [], checkpoint_steps=2)._due() is True


def test_batches_are_read_by_the_workers_of_the_stage_and_draw_no_chance(tmp_path):
    pieces = [[0, 1], [2]]
    loader = loop_of(tmp_path, [], workers=2).loader(Rows(3), pieces)
    assert loader.num_workers == 2
    assert loader.generator is not None
    assert loader.generator.initial_seed() == 7
    before = torch.get_rng_state()
    assert [batch.stay_ids.tolist() for batch in loop_of(tmp_path, []).loader(Rows(3), pieces)] == pieces
    assert torch.equal(before, torch.get_rng_state())


def test_a_trial_goes_backward_once(tmp_path):
    loop = loop_of(tmp_path, [4], slope=0.5)
    grads: list[float] = []
    loop.objective.weight.register_hook(lambda grad: grads.append(float(grad)))
    loop.dry_step(collate([1, 2]))
    assert grads == [0.5]


def test_gradients_that_are_not_finite_end_in_the_error_that_says_what_to_do(tmp_path):
    loop = loop_of(tmp_path, [4])
    score = loop.objective.score
    root = loop.objective.weight
    loop.objective.score = lambda batch: score(batch)._replace(loss=root.sqrt().expand(len(batch.stay_ids)))
    with pytest.raises(UserError, match=r"not finite in epoch 1, step 2, at stays"):
        loop.fit()


def test_where_a_run_stands_holds_the_sums_of_its_epoch(tmp_path):
    loop = loop_of(tmp_path, [4], stays=6)
    for weight, batches in loop.batches(0, 1):
        loop._step(weight, batches)
    rows = np.concatenate(loop.plan.steps(0)[1:])
    assert loop.state.sums["stays"] == 4.0
    assert loop.state.sums["stay"] == rows.sum()
    loop._save()
    assert loops.checkpoint.load(loop.state_path, loop.objective, None).sums == loop.state.sums


@pytest.fixture
def said(monkeypatch) -> dict[str, Any]:
    """``said["other"]``: what the second of two processes hands in, wherever all are gathered."""
    said: dict[str, Any] = {}

    def gather(shares: list[Any], own: Any) -> None:
        shares[:] = [own, said["other"](own)]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    return said


def test_a_process_reads_its_share_of_a_step(tmp_path):
    plan, rows = StepPlan([10, 40, 30, 20, 50], 5, 2), np.arange(5)
    first, second, third = (loop_of(tmp_path, [], rank=rank, world=3) for rank in range(3))
    assert first.rank_slice(plan, rows) == [([4, 3], True)]
    assert second.rank_slice(plan, rows) == [([1, 0], True)]
    assert third.rank_slice(plan, rows) == [([2], True)]
    assert third.rank_slice(plan, rows[3:]) == [([3], False)]  # one for the backward pass, which weighs nothing
    alone = loop_of(tmp_path, [])
    assert alone.rank_slice(plan, rows) == [([4, 1], True), ([2, 3], True), ([0], True)]


def test_where_weights_are_sharded_all_make_as_many_passes_as_the_one_with_the_most(tmp_path):
    plan, rows = StepPlan([10] * 9, 9, 2), np.arange(4, 9)
    first, second = (loop_of(tmp_path, [], rank=rank, world=2) for rank in range(2))
    first.sharded = second.sharded = True
    assert first.rank_slice(plan, rows) == [([4, 6], True), ([8], True)]
    assert second.rank_slice(plan, rows) == [([5, 7], True), ([4], False)]
    assert second.rank_slice(plan, rows[:1]) == [([4], False)]


def test_a_step_of_several_processes_weighs_each_stay_alike(tmp_path):
    """DDP takes the mean over the processes of their gradients: each hands in as many times its share."""
    grads: list[float] = []
    loop = loop_of(tmp_path, [], stays=7, slope=0.25, rank=1, world=2, batch_size=1, accumulate=4)
    step = loop.optimizer.step
    loop.optimizer.step = lambda *a: (grads.append(float(loop.objective.weight.grad)), step(*a))
    ((weight, batches),) = loop.batches(0, 0)
    assert [len(batch.stay_ids) for batch, _ in batches] == [1, 1, 1]
    loop._step(weight, batches)
    assert grads == pytest.approx([0.25 * 3 / 7 * 2])
    assert loop.fabric.synced == [False, False, True]  # once a step
    torch.manual_seed(int(np.random.SeedSequence([7, 0, 0, 1]).generate_state(1)[0]))
    assert loop.objective.drawn == [float(value) for value in torch.rand(3)]


def test_a_stay_that_only_keeps_a_process_in_step_counts_nowhere(tmp_path):
    grads: list[float] = []
    loop = loop_of(tmp_path, [], stays=1, rank=1, world=2)
    step = loop.optimizer.step
    loop.optimizer.step = lambda *a: (grads.append(float(loop.objective.weight.grad)), step(*a))
    ((weight, batches),) = loop.batches(0, 0)
    loop._step(weight, batches)
    assert (grads, loop.state.sums) == ([0.0], {})


def test_history_is_of_the_stays_of_all_processes(tmp_path, said):
    loop = loop_of(tmp_path, [4, 3], stays=4, epochs=1, world=2, batch_size=2)

    def other(own: Any) -> Any:
        if isinstance(own, dict):  # sums: the second had one more loss to tell of
            return {"stays": 3.0, "stay": 10.0, "more": 5.0}
        values = {"loss": torch.full((2,), 9.0), "stay": torch.full((2,), 9.0), "twice": torch.full((2, 1), 9.0)}
        return [(torch.tensor([1, 3]), values)]

    said["other"] = other
    metrics: dict[str, Any] = {}
    own = loop.objective.metrics
    loop.objective.metrics = lambda found: metrics.update(found) or own(found)
    loop.module.train()
    for weight, batches in loop.batches(0, 0):
        loop._step(weight, batches)
    mine = dict(loop.state.sums)
    assert mine["stays"] == 2.0
    loop._end_of_epoch()
    (row,) = loop.state.history
    assert row["train/stay"] == (mine["stay"] + 10) / 5
    assert row["train/more"] == 5 / 5
    assert row["train/loss"] == mine["loss"] / 5
    # The first process validates stays 0 and 2, the second says that it has 1 and 3: they come in the order of stays.
    assert metrics["twice"].flatten().tolist() == [0.0, 9.0, 4.0, 9.0]
    assert not loop.module.training


def test_only_the_first_process_writes_and_keeps_the_sums_of_a_run_that_is_resumed(tmp_path, said):
    said["other"] = lambda own: own
    second = loop_of(tmp_path, [4, 4], rank=1, world=2)
    second._save()
    second.state.sums = {"stays": 1.0}
    second._end_of_epoch()
    assert list(tmp_path.iterdir()) == []
    second = loop_of(tmp_path, [4], rank=1, world=2)
    first = loop_of(tmp_path, [4], world=2)
    first.state.sums = {"stays": 2.0, "loss": 1.0}
    first._save()
    assert loops.checkpoint.load(first.state_path, first.objective, None).sums == {"stays": 4.0, "loss": 2.0}
    for loop, kept in ((first, {"stays": 4.0, "loss": 2.0}), (second, {})):
        loop._finished = lambda: True
        with pytest.raises(UserError, match=r"best\.safetensors is gone"):
            loop.fit()
        assert loop.state.sums == kept


def test_sharded_weights_are_whole_again_after_training(tmp_path, monkeypatch):
    gathered: list[Any] = []
    monkeypatch.setattr(loops, "gather", gathered.append)
    loop_of(tmp_path / "a", [4], epochs=1).fit()
    assert gathered == []
    monkeypatch.setattr(loops, "is_sharded", lambda fabric: isinstance(fabric, Fabric))
    loop = loop_of(tmp_path / "b", [4], epochs=1)
    loop.fit()
    assert gathered == [loop.objective]


def test_what_a_stage_without_metrics_of_its_own_reports():
    found = {"loss": torch.tensor([1.0, 2.0, 6.0]), "other": torch.ones(3)}
    assert Objective().metrics(found) == {"loss": 3.0}
    assert Objective().afterwards(None) == 0.0


def test_the_checkpoint_of_a_run_that_the_release_before_began_is_taken_up(tmp_path):
    """It holds the knowledge prior under the name of then, and so do the moments."""

    def objective(value: float) -> nn.Module:
        prior = nn.Linear(2, 1, bias=False)
        nn.init.constant_(prior.weight, value)
        return nn.ModuleDict({"model": nn.ModuleDict({"head": nn.ModuleDict({"knowledge_prior": prior})})})

    begun, resumed = objective(0.5), objective(0.0)
    former, adopted = (torch.optim.AdamW(module.parameters()) for module in (begun, resumed))
    next(begun.parameters()).grad = torch.ones(1, 2)
    former.step()
    checkpoint.save(tmp_path / "state", TrainState(epoch=3), begun, former)
    tensors = {name.replace("knowledge_prior", "graph_path"): t for name, t in load_file(tmp_path / "state").items()}
    with safe_open(tmp_path / "state", "pt") as file:
        save_file(tensors, tmp_path / "then", file.metadata())
    assert checkpoint.load(tmp_path / "then", resumed, adopted).epoch == 3
    (expected,), (got,) = begun.parameters(), resumed.parameters()
    assert torch.equal(got, expected)
    assert torch.equal(adopted.state[got]["exp_avg"], former.state[expected]["exp_avg"])


def test_the_settings_that_identify_a_run_have_the_keys_of_the_release_before():
    """So that a run that was begun or finished with it is not taken for another."""
    shapes = shaping(resolve("notes", "tiny", "evidence", []))
    assert {"graph_path", "prior"} <= shapes["model"]["attention"].keys()
    assert "linear" in shapes["model"]["head"]
