"""Before the first step: does the loaded model see the conversations of a batch as if each were alone?

Random conversations go through the model as transformers runs it, each alone, and then together in one layout after
another, from the fastest to the plainest; training begins with the first that is exact. It has to hold that

- the states of each conversation are those it has alone, also beyond a sliding window, up to rounding;
- the words of one conversation change nothing in the other, those of a second half nothing in the first half;
- words matter to those that follow, or the last point would prove nothing;
- the model's training mode takes the same input.

Only the first point has to know how coarse the arithmetic is: it is measured, as what rounding the embeddings of the
words once more does to the states. The second sees whatever leaks from one conversation to another, or back from what
is yet to come, as a change where there must be none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.prompts.encode import Example
from packtrain.train.attention import Attention
from packtrain.train.distributed import Processes
from packtrain.train.objective import Objective, Want, evaluating
from packtrain.train.packing import Layout, MicroBatch, micro_batches

ORDER: tuple[Attention, ...] = ("segments", "sdpa", "eager")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""Share of the states' norm by which two layouts may differ at least, by the type that is computed in: kernels add in
different orders. At any position in float32; at half of them otherwise, for rounding may choose another expert here and
there. Deep models may differ by as much as rounding the embeddings once more does, three times: in models of 2 to 32
layers layouts that are exact differed 0.7 to 1.9 times as much (measured in bfloat16 on a CPU)."""
HEAD_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""The same for logits, at any position: they are made from the same states."""
LEAK = 1e-6
"""The same for states that must not change at all; not zero, because kernels on GPUs may add in any order."""
FELT = 100 * LEAK
"""The same for states that must change, for a leak to be noticed."""
Rows = Literal["packed", "padded", "single"]
"""Several conversations in a row; one in each of several rows; one at a time."""
LAYOUTS: dict[str, tuple[Rows, ...]] = {
    "auto": ("packed", "padded", "single"),
    "on": ("packed",),
    "off": ("padded", "single"),
}
LENGTHS = (19, 31)
WINDOWS = ("sliding_window", "attention_window_size", "window_size", "local_attention", "attention_chunk_size")
"""Settings of architectures that see a conversation whole up to this length only."""
STRETCHED = ("dynamic", "longrope")
"""Rotary positions that change with the longest conversation of a batch."""
ELSEWHERE = "so in another process"
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one layout gave."""

    attention: Attention
    rows: Rows
    difference: float
    """From the conversations alone, as a share of the norm; infinite when it could not be tried."""
    leak: float
    """The most that words changed where they must not matter, as a share of the norm."""
    exact: bool
    reason: str = ""
    """Why it is not exact."""


def prove(objective: Objective, engine: Engine, processes: Processes, max_length_tokens: int) -> list[Verdict]:
    """Set attention, packing and head of `objective` to the first layout that is exact; the verdicts on the way.

    UserError when none is, or when `engine.packing=on` asks for what this model cannot do.
    """
    wanted: Sequence[Attention] = ORDER if engine.attention == "auto" else (engine.attention,)
    verdicts: list[Verdict] = []
    with evaluating(objective), torch.compiler.set_stance("force_eager"):  # compiling would take longer than all of it
        trial = _trial(objective, processes, max_length_tokens)
        for attention, rows in [(one, rows) for rows in LAYOUTS[engine.packing] for one in wanted]:
            verdicts.append(trial.of(attention, rows))
            if verdicts[-1].exact:
                break
        else:
            raise _refused(verdicts, engine)
    chosen = verdicts[-1].rows
    objective.packing, objective.together = chosen == "packed", chosen != "single"
    if processes.is_first and chosen != LAYOUTS[engine.packing][0]:
        how = "per row: packed rows are" if objective.together else "at a time: rows of several are"
        last = [one for one in verdicts if one.rows == ("packed" if objective.together else "padded")]
        say(f"training one conversation {how} not exact on this model ({_told(last)})")
    return verdicts


class Trial:
    """One model and two random conversations, for as many layouts as there are to try."""

    def __init__(self, objective: Objective, processes: Processes, max_length_tokens: int) -> None:
        """Measure the conversations alone, as transformers runs the model. UserError unless it is causal."""
        self.objective, self.processes = objective, processes
        self.window, stretched = _limits(objective.language_model.config, max_length_tokens)
        wanted = min(LENGTHS[0], stretched - 1 if stretched else LENGTHS[0]), max(self.window, stretched) + LENGTHS[1]
        self.lengths = [max(2, min(length, max_length_tokens)) for length in wanted]
        self.halves = [length // 2 for length in self.lengths]
        rows = _vocabulary(objective.language_model)
        random = np.random.default_rng(0)  # the same words in every process
        self.texts: list[Ids] = [random.integers(0, rows, length, np.int32) for length in self.lengths]
        self.others: list[Ids] = [random.integers(0, rows, length, np.int32) for length in self.lengths]
        self.order = sorted((0, 1), key=lambda index: -self.lengths[index])
        """Which comes first in a batch: the longest."""
        both = list(zip(self.texts, self.others, self.halves, strict=True))
        self.continued = [np.concatenate([text[:half], new[half:]]) for text, new, half in both]
        objective.attend(None)
        objective.plain_head = self._head_is_plain()
        pairs = [(self._alone(ids), self._alone(ids, "shaken")) for ids in self.texts]
        self.alone, shaken = ([pair[which] for pair in pairs] for which in (0, 1))
        self.tolerance = max(TOLERANCE[objective.compute_dtype], 3 * self._difference(shaken))
        text, new, half = both[0]
        changed = self._alone(np.concatenate([new[:half], text[half:]]))
        self.felt = _share(changed[half:], self.alone[0][half:])
        """How much words change those that follow: what a leak would be measured against."""
        foreseen = _share(self._alone(self.continued[0])[:half], self.alone[0][:half])
        if processes.any(foreseen > max(LEAK, self.felt / 10)):
            raise UserError(
                f"{type(objective.language_model).__name__} sees the words that come after each word",
                "give a causal language model as base.path: one that writes text from left to right",
            )

    def of(self, attention: Attention, rows: Rows) -> Verdict:
        """How exact a layout is; the same answer in every process."""
        difference = leak = float("inf")
        try:
            self.objective.attend(attention)
            together = self._states(self.texts, rows)
            difference = self._difference(together)
            leak = self._leak(together, rows)
            reason = self._fault(difference, leak, rows)
            failed = self.processes.any(bool(reason))
            reason = (reason or ELSEWHERE) if failed else self._training_fault(rows)
        except Exception as error:
            reason = _said(error)
        exact = not self.processes.any(bool(reason))
        return Verdict(attention, rows, difference, leak, exact, reason or ("" if exact else ELSEWHERE))

    def _fault(self, difference: float, leak: float, rows: Rows) -> str:
        """What is wrong with a layout that gave this; empty when nothing is."""
        packed = rows == "packed"
        if packed and self.felt < FELT:
            return f"words change those that follow by {self.felt:.0e} only, so nothing can be proved"
        if self.processes.any(leak > LEAK) and leak > self._excused(packed):
            return f"leak {leak:.1e}"
        return f"off by {difference:.1e}" if difference > self.tolerance else ""

    def _difference(self, states: Sequence[torch.Tensor]) -> float:
        """How far off each conversation is from itself alone, and what lies beyond a window: the worst of these."""
        worst = torch.Tensor.max if self.objective.compute_dtype == torch.float32 else torch.Tensor.median
        errors = [_distances(one, of) for one, of in zip(states, self.alone, strict=True)]
        parts = [part for some in errors for part in (some[: self.window], some[self.window :]) if len(part)]
        return max(float(worst(part)) for part in parts)

    def _leak(self, together: Sequence[torch.Tensor], rows: Rows) -> float:
        """The most that one conversation changes in the other, or the second halves in the first ones."""
        found = []
        for kept, texts in enumerate(([self.texts[0], self.others[1]], [self.others[0], self.texts[1]])):
            found.append(_share(self._states(texts, rows)[kept], together[kept]))
        for half, states, before in zip(self.halves, self._states(self.continued, rows), together, strict=True):
            found.append(_share(states[:half], before[:half]))
        return max(found)

    def _excused(self, packed: bool) -> float:
        """The change that rounding alone can bring, where how a row is computed depends on other rows (experts)."""
        first, second = (self._states([text, self.texts[1]], "padded")[1] for text in (self.texts[0], self.others[0]))
        rounding = 4 * _share(second, first)
        return min(rounding, self.felt / 10, self.tolerance) if packed else min(rounding, self.tolerance)

    def _training_fault(self, rows: Rows) -> str:
        batch = self._batch(self.texts if rows != "single" else self.texts[:1], rows)
        with torch.random.fork_rng(devices=[self.processes.device] if self.processes.device.type == "cuda" else []):
            self.objective.train()
            try:
                total = float(self.objective(batch)[0])
            finally:
                self.objective.eval()
        return "" if np.isfinite(total) else f"the loss is {total}"

    def _head_is_plain(self) -> bool:
        """Whether the output head alone gives the model's own logits; the same answer in every process."""
        try:
            own, head = self.objective(self._batch([self.texts[0]]), "heads")
            other = _share(head.flatten(0, 1), own.flatten(0, 1)) > HEAD_TOLERANCE[self.objective.compute_dtype]
        except Exception as error:  # no head, or none that fits the last hidden states
            other = bool(_said(error))
        return not self.processes.any(other)

    def _alone(self, ids: Ids, want: Want = "alone") -> torch.Tensor:
        found: torch.Tensor = self.objective(self._batch([ids]), want)[0].float()
        return found

    def _states(self, texts: Sequence[Ids], rows: Rows) -> list[torch.Tensor]:
        """States `[length, width]` of each text."""
        if rows == "single":
            return [self.objective(self._batch([ids]), "states")[0].float() for ids in texts]
        batch = self._batch(texts, rows)
        states = self.objective(batch, "states").float()
        apart = zip(torch.split(states[0], list(batch.lengths)) if batch.packed else states, batch.lengths, strict=True)
        found = dict(zip(self.order, (row[:length] for row, length in apart), strict=True))
        return [found[index] for index in range(len(texts))]

    def _batch(self, texts: Sequence[Ids], rows: Rows = "single") -> MicroBatch:
        examples = [Example("test", str(number), ids, ids) for number, ids in enumerate(texts)]
        layout = Layout(tokens=max(map(len, texts)) * len(texts), packed=rows == "packed", pad_id=0)
        return micro_batches(examples, [1.0] * len(texts), layout)[0].to(self.processes.device)


def _trial(objective: Objective, processes: Processes, max_length_tokens: int) -> Trial:
    try:
        return Trial(objective, processes, max_length_tokens)
    except Exception as error:
        said = _said(error)
        name, dtype = type(objective.language_model).__name__, str(objective.compute_dtype).removeprefix("torch.")
        other = "transformers alone" if objective.compute_dtype == torch.float32 else "train.precision=float32"
        raise UserError(f"{name} does not compute in {dtype}: {said}", f"see whether it does with {other}") from error


def _said(error: Exception) -> str:
    """What an architecture says to what it was not made for, whatever it raises; other errors are raised again."""
    of_another_process = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
    if of_another_process or isinstance(error, UserError | torch.OutOfMemoryError):
        raise error
    return " ".join(str(error).split())[:120] or type(error).__name__


def _limits(config: Any, max_length_tokens: int) -> tuple[int, int]:
    """Tokens that are seen whole, and that positions are made for, where longer conversations are trained on; or 0."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    positions = getattr(text, "rope_parameters", None) or {}
    stretched = positions.get("rope_type") in STRETCHED
    found = (
        [getattr(text, name, None) for name in WINDOWS],
        [positions.get("original_max_position_embeddings"), getattr(text, "max_position_embeddings", None)]
        if stretched
        else [],
    )
    window, made_for = ([one for one in some if isinstance(one, int) and 0 < one < max_length_tokens] for some in found)
    return max(window, default=0), min(made_for, default=0)


def _vocabulary(model: Any) -> int:
    """Tokens that the model can both read and write."""
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return min(int(table.weight.shape[0]) for table in tables if table is not None)


def _distances(one: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """Norm of each position's difference `[length]`, as a share of the positions' mean norm; infinite for NaN."""
    norms: torch.Tensor = torch.linalg.vector_norm(of.float(), dim=-1)
    distances: torch.Tensor = torch.linalg.vector_norm(one.float() - of.float(), dim=-1) / norms.mean()
    return distances.nan_to_num(nan=float("inf"), posinf=float("inf"))


def _share(one: torch.Tensor, of: torch.Tensor) -> float:
    """The largest of the positions' distances."""
    return float(_distances(one, of).max().item())


def _told(verdicts: Sequence[Verdict]) -> str:
    """Why each attention is not exact; what it says of several layouts alike, once."""
    return "; ".join(dict.fromkeys(f"{one.attention}: {one.reason}" for one in verdicts))


def _refused(verdicts: Sequence[Verdict], engine: Engine) -> UserError:
    how = " ".join(f"engine.{name}={getattr(engine, name)}" for name in ("packing", "attention"))
    return UserError(
        f"this model does not see conversations in a batch as it sees them alone ({how}; {_told(verdicts)})",
        "give engine.packing=auto engine.attention=auto; if that fails too, this model cannot be trained in batches",
    )
