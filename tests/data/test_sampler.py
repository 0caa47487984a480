from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.data.sampler import BucketedBatches, StepPlan

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
