"""Schedules and global batches, each alone."""

import pytest

from packtrain.prompts.encode import IGNORED, Example
from packtrain.train.batches import Batches
from packtrain.train.schedule import learning_rate, warmup_steps


def examples(lengths: list[int]) -> list[Example]:
    return [
        Example("d", str(index), list(range(3, 3 + length)), [IGNORED, *range(4, 3 + length)])
        for index, length in enumerate(lengths)
    ]


def batches(count: int, **settings: object) -> Batches:
    given = {"global_batch_size": 4, "epochs": 2, "seed": 1, "order": "shuffled"}
    return Batches(examples([5] * count), **{**given, **settings})


def test_published_step_counts() -> None:
    """Alpaca's Trainer left rows over at the end of an epoch (406 steps), Open-Instruct's script kept them (157)."""
    alpaca = Batches(
        [None] * 52002,
        global_batch_size=128,
        epochs=3,
        seed=0,
        order="sequential",
        last_batch="drop",
    )
    assert alpaca.total_steps == 1218
    assert warmup_steps(1218, 0.03, "ceil") == 37
    code = Batches([None] * 20022, global_batch_size=128, epochs=2, seed=0, order="sequential")
    assert code.total_steps == 314


def test_an_epoch_shows_every_example_once_and_epochs_differ() -> None:
    run = batches(10)
    epochs = [[example.id for step in steps for example in run.of_step(step)] for steps in ((1, 2, 3), (4, 5, 6))]
    assert [sorted(epoch, key=int) for epoch in epochs] == [[str(index) for index in range(10)]] * 2
    assert epochs[0] != epochs[1]
    assert len(run.of_step(3)) == 2


def test_the_order_is_a_function_of_seed_and_identity() -> None:
    first, again, other = batches(50), batches(50), batches(50, seed=2)
    assert [e.id for e in first.of_step(1)] == [e.id for e in again.of_step(1)]
    assert [e.id for e in first.of_step(1)] != [e.id for e in other.of_step(1)]
    assert [e.id for e in batches(8, order="sequential").of_step(2)] == ["4", "5", "6", "7"]


def test_dropping_the_last_batch_never_leaves_nothing() -> None:
    assert batches(3, last_batch="drop").total_steps == 2
    assert batches(10, last_batch="drop").steps_per_epoch == 2


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_rates_climb_from_zero_and_never_go_below_it(schedule: str) -> None:
    rates = [learning_rate(step, 100, 10, 1.0, schedule) for step in range(1, 101)]
    assert rates[0] == 0.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10] == 1.0
    assert all(0.0 <= rate <= 1.0 for rate in rates)
    if schedule != "constant":
        assert rates[10:] == sorted(rates[10:], reverse=True)
        assert rates[-1] < 0.02
