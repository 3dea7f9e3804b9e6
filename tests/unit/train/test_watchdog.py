"""The watchdog stops what is wrong, names the records, and lets ordinary training be."""

import pickle
import random
from collections.abc import Iterator
from math import exp, inf, nan

import pytest

from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.train.watchdog import HISTORY, SPIKES, WINDOW, ZERO_GRADIENTS, Diverged, Watchdog

Figure = tuple[float, float]
"""Loss and gradient norm of a step."""


def learning(**settings: object) -> Train:
    return Train(**{"lr": 2e-5, "epochs": 3, **settings})


def records() -> list[str]:
    return [f"alpaca/{number}" for number in range(128)]


def watch(curve: Iterator[Figure] | list[Figure], **settings: object) -> tuple[Diverged | None, list[str], Watchdog]:
    """What the watchdog says to a curve: the error that stops it, if any, and what it only tells."""
    told: list[str] = []
    watchdog = Watchdog(learning(**settings), told.append)
    for step, (loss, norm) in enumerate(curve, start=1):
        try:
            watchdog.check(step, loss, norm, 1000, records)
        except Diverged as error:
            return error, told, watchdog
    return None, told, watchdog


def step_of(error: Diverged | None) -> int:
    assert error is not None
    return int(error.message.split(":")[0].removeprefix("step "))


def steady(draw: random.Random, steps: int, loss: float = 1.0, noise: float = 0.1) -> list[Figure]:
    return [(loss + draw.gauss(0, noise), 1.2 * exp(draw.gauss(0, 0.3))) for _ in range(steps)]


@pytest.mark.parametrize(("loss", "norm"), [(nan, 1.0), (inf, 1.0), (1.0, nan), (1.0, inf)])
def test_what_is_not_finite_stops_at_once(loss: float, norm: float) -> None:
    error, _, _ = watch([(1.5, 2.0), (1.4, 2.0), (loss, norm)])
    assert step_of(error) == 3
    assert isinstance(error, UserError)
    assert f"loss {loss:.6g}, gradient norm {norm:.6g}: training has diverged" in error.message
    assert ", ".join(records()[:8]) + " and 120 more" in error.message
    assert "alpaca/8" not in error.message
    for advice in ("train.lr (now 2e-05)", "train.precision=float32", "--resume", "--overwrite"):
        assert advice in error.hint
    assert "float32" not in watch([(1.5, 2.0), (nan, 2.0)], precision="float32")[0].hint
    assert pickle.loads(pickle.dumps(error)).message == error.message


def test_a_base_without_a_finite_loss_is_told_apart() -> None:
    error, _, _ = watch([(nan, nan)])
    assert "the base gives no finite loss even before it is tuned" in error.hint


def test_records_with_long_names_and_few_of_them() -> None:
    watchdog = Watchdog(learning(), lambda line: None)
    with pytest.raises(Diverged) as caught:
        watchdog.check(1, nan, 1.0, 5, lambda: ["d/" + "x" * 5000, "d/2"])
    assert caught.value.message.endswith("..., d/2")
    assert len(caught.value.message) < 300


def test_a_loss_of_exactly_nothing_stops_unless_there_was_nothing_to_learn() -> None:
    error, _, _ = watch([(1.5, 2.0), (0.0, 0.0)])
    assert "although 1000 tokens are learnt" in error.message
    assert "packtrain data inspect" in error.hint
    quiet = Watchdog(learning(), pytest.fail)
    for step in range(1, 20):
        quiet.check(step, 0.0, 0.0, 0, records)
    assert quiet.calm


def test_records_learnt_by_heart_are_no_fault() -> None:
    curve = [(10.0 ** (-step / 8), 10.0 ** (-step / 8)) for step in range(60)] + [(0.0, 0.0)] * 50
    error, told, _ = watch(curve)
    assert error is None
    assert [": the records are learnt by heart; its records" in line for line in told] == [True, True]


def test_no_gradient_for_several_steps_stops() -> None:
    figures = [(1.5, 0.0)] * ZERO_GRADIENTS
    error, _, _ = watch([(1.5, 2.0), *figures])
    assert step_of(error) == 1 + ZERO_GRADIENTS
    assert "nothing is learnt" in error.message
    assert "train.adapter" in error.hint
    assert watch([(1.5, 0.0), (1.5, 0.0), (1.5, 2.0)] * 20)[0] is None


def test_a_single_spike_is_told_and_does_not_stop() -> None:
    draw = random.Random(0)
    curve = steady(draw, 200)
    curve[100] = (1.3, 60.0)
    error, told, watchdog = watch(curve)
    assert error is None
    assert len(told) == 1
    assert told[0].startswith("note: step 101: loss 1.3, gradient norm 60: a gradient")
    assert f"times the median of {HISTORY} steps, clipped to 1; its records: alpaca/0" in told[0]
    assert watchdog.calm
    assert watch(curve, clip_norm=100.0)[1] == [], "a norm that is not even clipped is none"


def test_spikes_again_and_again_stop_when_the_loss_rises() -> None:
    draw = random.Random(0)
    spiky = [(loss, 60.0 if place % 4 == 0 else norm) for place, (loss, norm) in enumerate(steady(draw, 100, 1.5))]
    error, told, watchdog = watch(steady(draw, 200) + spiky)
    assert step_of(error) == 200 + 4 * (SPIKES - 1) + 1
    assert f"{SPIKES} gradient spikes in 17 steps" in error.message
    assert "train.clip_norm (now 1)" in error.hint
    assert len(told) == 1, "spikes near one another are told once"
    assert not watchdog.calm
    falling = [(loss - 0.6, norm) for loss, norm in spiky]
    assert watch(steady(draw, 200) + falling)[0] is None, "clipping takes care of them while the loss falls"


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_climbs_stops_soon(seed: int) -> None:
    draw = random.Random(seed)
    lost = [(min(1 + step / 4, 8) + draw.gauss(0, 0.3), 5.0) for step in range(60)]
    error, _, watchdog = watch(steady(draw, 300) + lost)
    assert 300 < step_of(error) <= 300 + WINDOW
    assert "the loss climbs: median" in error.message
    assert "train.warmup_ratio" in error.hint
    assert not watchdog.calm


def test_a_run_that_is_lost_from_the_first_steps_stops() -> None:
    """A pretrained tiny model under a thousand times too high a rate: the base's loss, then 15 to 90 nats."""
    draw = random.Random(0)
    error, _, _ = watch([(3.8, 4.0), (3.5, 4.0)] + [(draw.uniform(15, 90), 30.0) for _ in range(60)])
    assert step_of(error) == WINDOW
    assert "it was 3.8 in the first step" in error.message


def test_before_it_stops_checkpoints_are_not_trusted() -> None:
    draw = random.Random(0)
    curve = steady(draw, 300) + [(6.0, 5.0)] * 8
    error, _, watchdog = watch(curve)
    assert error is None
    assert not watchdog.calm


def test_data_in_the_order_of_the_file_may_become_harder() -> None:
    draw = random.Random(0)
    curve = steady(draw, 200, 0.4) + [(loss, 20 * norm) for loss, norm in steady(draw, 200, 2.5)]
    assert step_of(watch(curve)[0]) > 200
    error, told, watchdog = watch(curve, order="sequential")
    assert error is None
    assert 1 <= len(told) <= 4
    assert watchdog.calm


def warm_up(draw: random.Random) -> Iterator[Figure]:
    """A usual run: rate 0 in step 1, norms that fall in the first steps, three epochs."""
    for step in range(1200):
        level = 0.9 + 0.7 * exp(-step / 60) - 0.15 * (step // 400)
        yield level + draw.gauss(0, 0.1), 1.5 * (3 * exp(-step / 10) + 1) * exp(draw.gauss(0, 0.3))


def batches_of_one(draw: random.Random) -> Iterator[Figure]:
    for _ in range(3000):
        yield exp(draw.gauss(0, 0.8)), 5 * exp(draw.gauss(0, 1.0))


def few_data(draw: random.Random) -> Iterator[Figure]:
    """Learnt by heart, with bursts."""
    for step in range(1500):
        level, burst = max(1e-5, 2 * exp(-step / 30)), draw.random() < 0.03
        yield (
            level * exp(draw.gauss(0, 0.5)) * (50 if burst else 1),
            level * exp(draw.gauss(0, 0.6)) * (40 if burst else 1),
        )


def constant(draw: random.Random) -> Iterator[Figure]:
    for _ in range(1000):
        yield 0.01 * exp(draw.gauss(0, 0.05)), 0.02 * exp(draw.gauss(0, 0.3))


def untrained(draw: random.Random) -> Iterator[Figure]:
    """From random weights: the logarithm of the vocabulary, then down."""
    for step in range(600):
        yield 1.5 + 8.9 * exp(-step / 100) + draw.gauss(0, 0.05), 2 * exp(draw.gauss(0, 0.3))


def few_steps(draw: random.Random) -> Iterator[Figure]:
    yield from steady(draw, 12, 2.0, 0.8)


@pytest.mark.parametrize("curve", [warm_up, batches_of_one, few_data, constant, untrained, few_steps])
@pytest.mark.parametrize("seed", range(3))
def test_no_false_alarm(curve: object, seed: int) -> None:
    error, told, watchdog = watch(curve(random.Random(seed)))
    assert error is None, error.message
    assert len(told) <= 3
    assert watchdog.calm


def test_a_resumed_run_is_judged_as_if_it_had_not_stopped() -> None:
    draw = random.Random(3)
    lost = [(min(1 + step / 4, 8) + draw.gauss(0, 0.3), 5.0) for step in range(60)]
    curve = steady(draw, 100) + lost
    whole = watch(curve)[0]
    for stopped in (5, 50, 105):
        figures = [
            {"step": step, "loss": loss, "grad_norm": norm, "learnt_tokens": 1000, "lr": 1e-5}
            for step, (loss, norm) in enumerate(curve[:stopped], start=1)
        ]
        resumed = Watchdog(learning(), pytest.fail)
        resumed.replay(figures)
        with pytest.raises(Diverged) as caught:
            for step, (loss, norm) in enumerate(curve[stopped:], start=stopped + 1):
                resumed.check(step, loss, norm, 1000, records)
        assert caught.value.message == whole.message


def test_figures_that_someone_has_edited_do_not_stop_a_resume() -> None:
    watchdog = Watchdog(learning(), pytest.fail)
    watchdog.replay(
        [{"step": 1, "loss": None, "grad_norm": 1.0}, {"step": 2}, {"step": 3, "loss": 1.0, "grad_norm": 2.0}]
    )
    assert watchdog.calm


def test_records_are_asked_for_only_when_needed() -> None:
    watchdog = Watchdog(learning())
    watchdog.check(1, 1.5, 2.0, 10, pytest.fail)
    assert watchdog.calm
