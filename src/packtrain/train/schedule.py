"""Learning rates: a pure function of the step, so that a resumed run needs no scheduler state."""

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def warmup_steps(total_steps: int, ratio: float, rounding: Literal["ceil", "floor"]) -> int:
    """Steps in which the learning rate climbs: rounded up as in HF Trainer, or down as in Open-Instruct."""
    return math.ceil(total_steps * ratio) if rounding == "ceil" else int(total_steps * ratio)


def learning_rate(step: int, total_steps: int, warmup: int, peak: float, schedule: Schedule) -> float:
    """Learning rate of optimizer step `step` (1-based); the first step of a warm-up has rate 0.

    Linear climb from 0 to `peak` over `warmup` steps, then half a cosine or a straight line to 0
    at the end of `total_steps` (the schedules of transformers' get_scheduler).
    """
    done = step - 1
    if done < warmup:
        return peak * done / max(1, warmup)
    if schedule == "constant":
        return peak
    progress = (done - warmup) / max(1, total_steps - warmup)
    if schedule == "cosine":
        return peak * max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
    return peak * max(0.0, 1.0 - progress)
