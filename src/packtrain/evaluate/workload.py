"""How long columns take: their tokens, counted, over what a machine computes and reads per second.

A prompt's own tokens cost two operations for each weight and what they attend to; the beginning that prompts share is
computed and held once (models/prefixes.py). New tokens come one at a time for as many answers as the memory holds
(models/memory.py): a step takes as long as reading all weights and what the answers remember, or as computing,
whichever is longer, and what starting the operations takes besides. The longest answer is made alone at the end. Tokens
are measured with LLaMA's tokenizer (workload.yaml); shares of what a machine could do are assumed. An estimate, and no
promise: docs/plan.md says how far it was from what was measured.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from packtrain.evaluate.judging.wording import MAX_NEW_TOKENS, Form
from packtrain.models.memory import CACHE_SHARE, MOST_CACHE_BYTES, MOST_ROWS
from packtrain.models.prices import Price

Kind = Literal["cpu", "cuda"]
READ_SHARE = 0.6
"""Share of a memory's speed that generating reaches: an assumption."""
PROGRAMS_PER_S = 33.0
"""Answers that are run in the sandbox: 164 in 4 to 6 s on two cores (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class ColumnWork:
    """What a column asks, in tokens; means are of an answer."""

    questions: int
    answers: int
    """Questions times samples."""
    prompt_tokens: float
    computed_tokens: float
    """Of the prompt, when what prompts share is computed once."""
    new_tokens: float = 0.0
    """0: one of several options is chosen."""
    longest: int = 0
    max_new_tokens: int = 0

    @property
    def shared_tokens(self) -> float:
        """Of the prompt, what is computed and held once for many answers."""
        return self.prompt_tokens - self.computed_tokens

    def at_most(self) -> "ColumnWork":
        """The same if every answer ran on until it is cut."""
        most = self.max_new_tokens
        return ColumnWork(
            self.questions, self.answers, self.prompt_tokens, self.computed_tokens, float(most), most, most
        )


@dataclass(frozen=True, slots=True)
class ModelWork:
    """What a model computes and keeps."""

    body_weights: float
    """Weights that every token is multiplied with."""
    head_weights: float
    """Those of the output head."""
    attention: int
    """Operations for each token and position that it attends to, all layers: four times width times layers."""
    weight_bytes: int
    cache_bytes: int
    """Keys and values of a token."""
    layers: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What computes: a device, or several that share a model."""

    kind: Kind
    memory_bytes: int
    flops: float
    """Operations per second that are reached."""
    bytes_per_s: float
    """Of its memory."""
    start_s: float
    """What starting the operations of one layer takes, each step."""


@cache
def _figures() -> dict[str, dict[str, dict[str, Any]]]:
    import yaml

    text = (files("packtrain.evaluate") / "workload.yaml").read_text(encoding="utf-8")
    figures: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(text)
    return figures


def column_work(column: str) -> ColumnWork | None:
    """What `column` asks in profile paper-2023; None where it was not measured, as for one's own questions."""
    entry = _figures()["columns"].get(column)
    return ColumnWork(**entry) if entry else None


def batch_rows(work: ColumnWork, model: ModelWork, kind: Kind, memory_bytes: int) -> int:
    """Answers that are made together: what the cache has room for, by the local model's own rules; at least 1."""
    room = min(CACHE_SHARE[kind] * (memory_bytes - model.weight_bytes), MOST_CACHE_BYTES[kind])
    tokens = room / model.cache_bytes - work.shared_tokens
    return max(1, min(work.answers, MOST_ROWS[kind], int(tokens / (work.computed_tokens + work.max_new_tokens))))


def evaluation_seconds(work: ColumnWork, model: ModelWork, machine: Machine) -> float:
    """How long asking takes, loading left out."""
    per_token = 2 * model.body_weights + model.attention * work.prompt_tokens
    prompts = work.answers * (work.computed_tokens * per_token + 2 * model.head_weights)
    seconds = prompts / machine.flops
    if not work.new_tokens:
        return seconds
    rows = batch_rows(work, model, machine.kind, machine.memory_bytes)
    together = work.answers * work.new_tokens / rows * _step_seconds(rows, work, work.new_tokens / 2, model, machine)
    return seconds + together + work.longest * _step_seconds(1, work, work.longest / 2, model, machine)


def _step_seconds(rows: int, work: ColumnWork, made: float, model: ModelWork, machine: Machine) -> float:
    """One more token for every row when `made` of each are there; rows that share a beginning read it together."""
    remembered = rows * (work.computed_tokens + made) + work.shared_tokens
    read = (model.weight_bytes + remembered * model.cache_bytes) / (READ_SHARE * machine.bytes_per_s)
    attended = model.attention * (work.prompt_tokens + made)
    operations = rows * (2 * (model.body_weights + model.head_weights) + attended)
    return max(read, operations / machine.flops) + machine.start_s * model.layers


def program_seconds(work: ColumnWork) -> float:
    """How long running the answers as programs takes."""
    return work.answers / PROGRAMS_PER_S


@dataclass(frozen=True, slots=True)
class JudgeWork:
    """What a judge is asked."""

    prompts: int
    prompt_tokens: int
    """Of all prompts, by rule of thumb."""
    completion_tokens: int
    """At the most."""

    def cost_usd(self, price: Price) -> float:
        """Dollars at the most."""
        return price.cost_usd(self.prompt_tokens, self.completion_tokens)


def judge_work(form: Form) -> JudgeWork:
    """What judging AlpacaFarm's 805 answers asks of the judge, each pair once."""
    entry = _figures()["judge"][form]
    prompts = int(entry["prompts"])
    return JudgeWork(prompts, round(prompts * entry["prompt_tokens"]), prompts * MAX_NEW_TOKENS[form])
