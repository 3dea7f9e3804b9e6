"""The watchdog: loss and gradient norm tell, before each update, that training has gone wrong.

What is certainly wrong stops at once: numbers that are not finite, a loss of exactly nothing, gradients that stay
nothing. What may be noise is compared with the run's own past: logarithms of gradient norms with their median and
median absolute deviation, the level of the loss with the best level so far. The thresholds are wide on purpose. A
false alarm ends a run that was well, and a run is repeated exactly, so it would end it every time; what is missed at
first is not missed for long, because a model that is lost stays lost.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from math import exp, isfinite, log
from statistics import median
from typing import Any

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.core.recipe import Train

WINDOW = 32
"""Steps whose median loss is the present level. Single steps vary by half a nat where batches are small, their
median by a tenth."""
HISTORY = 2 * WINDOW
"""Steps that a gradient norm is compared with: long enough for a median that a few spikes do not move, short enough
to follow the fall of the norms at the beginning."""
SPIKE_HISTORY = 16
"""Steps before which no norm is called a spike: the first ones, at rates near 0, fall fast."""
SPIKE_FACTOR = 10.0
"""A spike is at least so many times the median. Norms of ordinary batches stay within a factor of about three."""
SPIKE_DEVIATIONS = 5.0
"""... and so many deviations above it, in logarithms: norms of single short answers vary by more than a factor of
ten. One norm in three million is so far off when they are log-normal."""
SPIKES = 5
"""So many of them within WINDOW steps, while the loss rises, are no single bad batches any more."""
SPIKE_RISE = 0.1
"""The loss rises when its median since the first of these spikes is above the one before by this share of it, and
by so many nats."""
CLIMB_SHARE, CLIMB_NATS, CLIMB_DEVIATIONS = 0.5, 1.0, 3.0
"""The loss climbs when its level is above the best one by the largest of: this share of it, so many nats, so many
deviations of single steps (13 standard errors of a median of WINDOW steps). A model that is lost gets there: from
1 nat it goes to several, up to the logarithm of the vocabulary and beyond."""
NOISE_CAP = 2.0
"""Deviations count up to so many times the best level: what varies more is a run that is lost already."""
ZERO_GRADIENTS = 3
"""Steps in a row whose gradient may be exactly 0 by a rare batch or rounding."""
BY_HEART = 1e-4
"""From a loss as low as this the next may be 0 in float32: the data are few and learnt by heart."""
LOST_NATS = 5.0
"""So far above the loss of the very first step, that of the untouched base, a run is lost however much it varies."""
LATELY = 5
"""Steps whose median loss tells whether the run is calm; those at the beginning give the first level of all."""
RECORDS_NAMED = 8
_DEVIATION = 1.4826
"""Standard deviations per median absolute deviation of a normal distribution."""
_LONGEST_NAME = 80


class Diverged(UserError):
    """Training has gone wrong at a step; the update of that step was not made."""


class Watchdog:
    """Sees every step's figures before its update; all processes give it the same and so stop together.

    `learning` are the recipe's settings. `tell` gets one line about what is remarkable but harmless; processes that
    do not speak give one that does nothing. Data in the order of their file may become harder halfway, so with
    `train.order=sequential` what is only compared with the past is told and never stops.
    """

    def __init__(self, learning: Train, tell: Callable[[str], None] = say) -> None:
        self._learning = learning
        self._tell = tell
        self._losses: deque[float] = deque(maxlen=HISTORY)
        self._log_norms: deque[float] = deque(maxlen=HISTORY)
        self._spikes: deque[int] = deque()
        self._zero_gradients = 0
        self._best: tuple[float, int] | None = None
        """Lowest level of the loss, and the step where it was reached."""
        self._first: float | None = None
        """Loss of the first step."""
        self._windows, self._noise = 0, 0.0
        """Windows seen, and the mean deviation of single steps in them, in nats."""
        self._told: dict[str, int] = {}

    def check(
        self, step: int, loss: float, grad_norm: float, learnt_tokens: int, records: Callable[[], Sequence[str]]
    ) -> None:
        """Return when the update may be made; Diverged names the step, its figures and `dataset/id` of its records.

        Loss of the global batch in nats, L2 norm of all gradients before clipping, tokens that the loss counts.
        `records` is called only when there is something to say.
        """
        found = self._observe(step, loss, grad_norm, learnt_tokens)
        if found is None:
            return
        stops, what, advice = found
        message = f"step {step}: {what}; its records: {_named(records())}"
        if stops:
            raise Diverged(message, advice)
        self._tell(f"note: {message}")

    def replay(self, figures: Iterable[Mapping[str, Any]]) -> None:
        """Take over the figures of earlier steps, lines of `metrics.jsonl`, so that a resumed run is judged alike."""
        for each in figures:
            loss, norm = each.get("loss"), each.get("grad_norm")
            if loss is not None and norm is not None:
                self._observe(each["step"], loss, norm, each.get("learnt_tokens", 1))

    @property
    def calm(self) -> bool:
        """Whether nothing was odd lately: only then may a new checkpoint take the place of an older one."""
        if self._spikes or self._zero_gradients:
            return False
        if self._best is None or not self._windows:
            return True
        return median(self._lately(LATELY)) <= self._limit(self._best[0])

    def _observe(self, step: int, loss: float, norm: float, learnt: int) -> tuple[bool, str, str] | None:
        """Remember a step; whether it must not be made, what it shows and what to do about it, if anything."""
        figures = f"loss {loss:.6g}, gradient norm {norm:.6g}"
        if not (isfinite(loss) and isfinite(norm)):
            return True, f"{figures}: training has diverged", self._advice_not_finite()
        if not learnt:  # nothing to learn in this batch: its zeros mean nothing
            return None
        by_heart = bool(self._losses) and self._losses[-1] < BY_HEART
        self._zero_gradients = self._zero_gradients + 1 if norm == 0 and not by_heart else 0
        self._losses.append(loss)
        self._first = loss if self._first is None else self._first
        spike, climb = self._spike(step, norm), self._climb(step)
        if loss == 0 and not by_heart:
            advice = "see what is learnt with: packtrain data inspect; try train.precision=float32; check the base"
            return True, f"{figures}, although {learnt} tokens are learnt", advice
        if loss == 0:
            return self._once("by heart", step, f"{figures}: the records are learnt by heart")
        if self._zero_gradients >= ZERO_GRADIENTS:
            what = f"{figures}: no gradient in {self._zero_gradients} steps, so nothing is learnt"
            return True, what, "check train.adapter and the base model, or try engine.strategy=single"
        judges = self._learning.order == "shuffled"
        for kind, compared in (("climb", climb), ("spikes", self._damage(step)), ("spike", spike)):
            if compared is not None:
                if judges and kind != "spike":
                    return True, f"{figures}: {compared}", self._advice_diverging()
                if kind == "climb":
                    self._best = None  # the data that come now have a level of their own
                return self._once(kind, step, f"{figures}: {compared}")
        return None

    def _once(self, kind: str, step: int, what: str) -> tuple[bool, str, str] | None:
        """The line to tell, unless one of its kind was told within WINDOW steps."""
        if step - self._told.get(kind, -WINDOW) < WINDOW:
            return None
        self._told[kind] = step
        return False, what, ""

    def _spike(self, step: int, norm: float) -> str | None:
        """What is to be said of a norm far above those before it; the norm is remembered."""
        while self._spikes and self._spikes[0] <= step - WINDOW:
            self._spikes.popleft()
        if norm == 0:
            return None
        before = list(self._log_norms)
        self._log_norms.append(log(norm))
        if len(before) < SPIKE_HISTORY or norm <= self._learning.clip_norm:
            return None
        usual = median(before)
        far = max(log(SPIKE_FACTOR), SPIKE_DEVIATIONS * _deviation(before, usual))
        if log(norm) <= usual + far:
            return None
        self._spikes.append(step)
        clipped = f"clipped to {self._learning.clip_norm:g}"
        return f"a gradient {norm / exp(usual):.0f} times the median of {len(before)} steps, {clipped}"

    def _damage(self, step: int) -> str | None:
        """What is to be said when gradients spike again and again and the loss rises with them."""
        if len(self._spikes) < SPIKES or self._spikes[-1] != step:
            return None
        losses = list(self._losses)
        begin = max(1, len(losses) - 1 - (step - self._spikes[0]))
        before, since = median(losses[:begin]), median(losses[begin:])
        if since <= before + SPIKE_RISE * max(before, 1.0):
            return None
        rise = f"the median loss since is {since:.4g}, {before:.4g} before"
        return f"{len(self._spikes)} gradient spikes in {step - self._spikes[0] + 1} steps, {rise}"

    def _climb(self, step: int) -> str | None:
        """What is to be said when the level of the loss is far above its best; the best is kept."""
        if self._best is None and len(self._losses) >= LATELY:
            self._best = median(self._lately(LATELY)), step
        if self._best is None or len(self._losses) < WINDOW:
            return None
        window = self._lately(WINDOW)
        level = median(window)
        if level < self._best[0]:
            self._best = level, step
        best, when = self._best
        self._windows += 1
        self._noise += (min(_deviation(window, level), NOISE_CAP * best) - self._noise) / self._windows
        if level <= self._limit(best):
            return None
        past = f"{self._first:.4g} in the first step, {best:.4g} at best (up to step {when})"
        return f"the loss climbs: median {level:.4g} over the last {WINDOW} steps; it was {past}"

    def _lately(self, steps: int) -> list[float]:
        """The last losses, at most so many."""
        return list(islice(self._losses, max(0, len(self._losses) - steps), None))

    def _limit(self, best: float) -> float:
        """The level from which the loss climbs, in nats."""
        far = max(CLIMB_SHARE * best, CLIMB_NATS, CLIMB_DEVIATIONS * self._noise)
        return best + far if self._first is None else min(best + far, max(best, self._first) + LOST_NATS)

    def _advice_not_finite(self) -> str:
        exact = "" if self._learning.precision == "float32" else " or use train.precision=float32"
        if not self._losses:
            return f"the base gives no finite loss even before it is tuned: check its files{exact}"
        lower = f"lower train.lr (now {self._learning.lr:g}){exact}"
        again = "--resume repeats it from the last checkpoint; if it ends the same way, look at these records"
        return f"{again}, {lower}, and start again with --overwrite"

    def _advice_diverging(self) -> str:
        """What to change in the recipe; another recipe cannot go on from a checkpoint of this one."""
        lower = f"lower train.lr (now {self._learning.lr:g}) or train.clip_norm (now {self._learning.clip_norm:g})"
        return f"{lower}, or raise train.warmup_ratio; look at these records; start again with --overwrite"


def _deviation(values: Sequence[float], middle: float) -> float:
    """Standard deviation as the median absolute deviation tells it: outliers do not count."""
    return _DEVIATION * median(abs(value - middle) for value in values)


def _named(records: Sequence[str]) -> str:
    """The first few records, and how many more there are."""
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..." for name in records[:RECORDS_NAMED]]
    more = len(records) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
