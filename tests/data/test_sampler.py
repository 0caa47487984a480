from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.data.sampler import BucketedBatches, MixedPlan, StepPlan, TaskRows

SIZES = st.lists(st.integers(0, 500), min_size=1, max_size=200)


@settings(deadline=None)
@given(SIZES, st.integers(1, 33), st.integers(0, 2**31), st.integers(0, 50), st.booleans(), st.integers(1, 20))
def test_every_stay_comes_exactly_once(lengths, batch_size, seed, epoch, shuffle, pool):
    batches = BucketedBatches(lengths, batch_size, seed, shuffle=shuffle, pool=pool)
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert sorted(row for batch in drawn for row in batch) == list(range(len(lengths)))
    assert len(drawn) == len(batches)
    assert all(1 <= len(batch) <= batch_size for batch in drawn)


@given(SIZES, st.integers(1, 8), st.integers(0, 1000), st.integers(0, 20))
def test_an_epoch_has_one_order_whenever_it_is_begun(lengths, batch_size, seed, epoch):
    """A resumed run, whose sampler never saw the earlier epochs, draws the batches of the epoch it resumes."""
    continued, resumed = (BucketedBatches(lengths, batch_size, seed) for _ in range(2))
    for earlier in range(epoch):
        continued.set_epoch(earlier)
        list(continued)
    for sampler in (continued, resumed):
        sampler.set_epoch(epoch)
    assert list(continued) == list(resumed)


def test_epochs_and_seeds_differ():
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = BucketedBatches(list(range(100)), 4, seed)
        batches.set_epoch(epoch)
        orders.append(str(list(batches)))
    assert len(set(orders)) == 3


def test_batches_hold_stays_of_like_length():
    lengths = [(7 * i) % 400 for i in range(400)]
    padding = [
        sum(max(lengths[row] for row in batch) * len(batch) for batch in BucketedBatches(lengths, 8, 0, pool=pool))
        for pool in (1, 16)
    ]
    assert padding[1] < 1.1 * sum(lengths) < padding[0]


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    step=st.integers(1, 20),
    batch=st.integers(1, 9),
    tokens=st.sampled_from([0, 100, 900]),
    world=st.integers(1, 3),
)
def test_a_step_has_the_same_stays_however_it_is_cut(lengths, step, batch, tokens, world):
    plan = StepPlan(lengths, step, batch, tokens, seed=3)
    steps = plan.steps(epoch=1)
    assert len(steps) == len(plan)
    assert sorted(row for rows in steps for row in rows.tolist()) == list(range(len(lengths)))
    for rows in steps:
        cuts = [plan.cut(rows, rank, world) for rank in range(world)]
        assert sorted(row for cut in cuts for piece in cut for row in piece) == sorted(rows.tolist())
        for piece in (piece for cut in cuts for piece in cut):
            assert 1 <= len(piece) <= batch
            padded = len(piece) * max(lengths[row] for row in piece)
            assert not tokens or padded <= tokens or len(piece) == 1


ALIKE = [10 * (row % 3) for row in range(120)]  # forty stays of each length


def test_without_shuffling_stays_of_one_length_keep_their_order():
    batches = list(BucketedBatches(ALIKE, 7, 0, shuffle=False))
    assert [row for batch in batches for row in batch] == sorted(range(120), key=ALIKE.__getitem__)
    assert [len(batch) for batch in batches] == [7] * 17 + [1]


def test_the_order_of_an_epoch_is_one_that_can_be_computed_again():
    """Resumed runs and runs of another version must see the same steps."""
    sampler = BucketedBatches(ALIKE, 5, 3, pool=8)
    sampler.set_epoch(2)
    random = np.random.default_rng([3, 2])
    order = random.permutation(120).tolist()
    pools = [sorted(order[start : start + 40], key=ALIKE.__getitem__) for start in (0, 40, 80)]
    batches = [pool[start : start + 5] for pool in pools for start in range(0, 40, 5)]
    assert list(sampler) == [batches[index] for index in random.permutation(24)]


def test_what_is_not_said_is_the_first_epoch_in_pools_of_sixteen():
    lengths = [(7 * row) % 400 for row in range(400)]
    plain, said = BucketedBatches(lengths, 4, 0), BucketedBatches(lengths, 4, 0, pool=16)
    said.set_epoch(0)
    assert list(plain) == list(said) != list(BucketedBatches(lengths, 4, 0, pool=17))
    assert plain.sampler is plain  # where Lightning looks for set_epoch
    plan = StepPlan(lengths, 4, 2)
    assert [rows.tolist() for rows in plan.steps(0)] == list(plain)
    assert [len(piece) for piece in plan.cut(np.arange(9))] == [2, 2, 2, 2, 1]  # one process, and no limit of tokens


def test_steps_are_drawn_in_the_pools_of_the_plan():
    lengths = [(7 * row) % 400 for row in range(400)]
    steps = StepPlan(lengths, 4, 2, seed=5, pool=3).steps(1)
    sampler = BucketedBatches(lengths, 4, 5, pool=3)
    sampler.set_epoch(1)
    assert [rows.tolist() for rows in steps] == list(sampler)


def test_a_step_is_cut_where_one_more_stay_would_exceed_the_tokens():
    def cut(lengths: list[int], tokens: int, **share: int) -> list[list[int]]:
        return StepPlan(lengths, 9, 9, tokens).cut(np.arange(len(lengths)), **share)

    assert cut([10, 10, 10, 10], 20) == [[0, 1], [2, 3]]
    assert cut([10, 10, 10, 10], 19) == [[0], [1], [2], [3]]
    assert cut([2, 9, 4, 30, 4], 18) == [[3], [1, 2], [4, 0]]  # longest first, and padded to the longest
    assert cut([2, 9, 4, 30, 4], 18, rank=1, world=2) == [[1, 4]]
    assert cut([2, 9, 4, 30, 4], 18, rank=5, world=6) == []
    plan = StepPlan(ALIKE, 120, 120)
    assert plan.cut(np.arange(120)) == [sorted(range(120), key=lambda row: -ALIKE[row])]


TASKS = st.lists(st.tuples(st.integers(1, 60), st.floats(0.01, 3)), min_size=1, max_size=4)


@given(TASKS, st.integers(1, 16), st.integers(0, 100), st.integers(0, 5))
def test_each_step_is_of_one_task_and_tasks_have_steps_by_their_weights(tasks, step_size, seed, epoch):
    mixture = [TaskRows(rows, weight) for rows, weight in tasks]
    lengths = [5 + row % 7 for row in range(sum(rows for rows, _ in tasks))]
    plan = MixedPlan(lengths, step_size, step_size, seed=seed, mixture=mixture, passes=40)
    steps = plan.steps(epoch)
    assert len(steps) == len(plan)
    ends = np.cumsum([rows for rows, _ in tasks])
    turns = [{int(np.searchsorted(ends, row, side="right")) for row in step.tolist()} for step in steps]
    assert all(len(turn) == 1 for turn in turns)
    for number, (_, weight) in enumerate(tasks):
        assert turns.count({number}) == max(1, round(weight * -(-40 // step_size)))
    assert [step.tolist() for step in plan.steps(epoch)] == [step.tolist() for step in steps]


def test_a_task_goes_on_where_it_stopped_so_that_every_row_comes_equally_often():
    plan = MixedPlan([3] * 50, 5, 5, mixture=[TaskRows(20, 1), TaskRows(30, 0.5)], passes=20)
    drawn = np.concatenate([step for epoch in range(3) for step in plan.steps(epoch)])
    assert np.bincount(drawn).tolist() == [3] * 20 + [1] * 30
    assert [step.tolist() for step in plan.steps(0)] != [step.tolist() for step in plan.steps(1)]
