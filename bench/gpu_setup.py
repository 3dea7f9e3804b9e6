"""What the parts of bench/gpu.py share: model shapes, conversations, and a model under training on one device."""

import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from packtrain.core.engine import Engine
from packtrain.core.recipe import Train
from packtrain.prompts.encode import IGNORED, Example
from packtrain.train import attention
from packtrain.train.batches import Batches
from packtrain.train.checkpoint import Checkpoints
from packtrain.train.distributed import Processes
from packtrain.train.load import ModelSource
from packtrain.train.loop import StepFigures, optimize
from packtrain.train.packing import Layout
from packtrain.train.self_test import prove
from packtrain.train.strategies.single import Strategy
from packtrain.train.watchdog import Watchdog

GB = 1e9
SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 1024}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
SHAPES: dict[str, dict[str, Any]] = {
    # LLaMA-7B (arXiv 2302.13971, table 2) with the padding token that Alpaca adds; and smaller ones of its proportions
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "1.3b": {"hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 24, "num_attention_heads": 16},
    "160m": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 12},
}
ROWS, SMALL_ROWS, CONTEXT = 32_001, 1_000, 2_048
ARCHITECTURES = ("llama", "opt", "neox")
SYNTHETIC = 16_384
"""Rows made when no real ones are given."""


class LeftOut(Exception):
    """Something that is not measured here, with the reason."""


@dataclass(frozen=True)
class Setting:
    """What every measurement is given."""

    device: torch.device
    work: Path
    tiny: bool = False
    rows: Path | None = None
    tokenizer: Path | None = None
    deadline: float = float("inf")
    """On the clock of time.time()."""
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Records of what was measured before, by name."""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def needs(self, seconds: float) -> None:
        """Raise LeftOut when less time is left than a measurement takes."""
        left = self.deadline - time.time()
        if left < seconds and not self.tiny:
            raise LeftOut(f"{left:.0f} s left, {seconds:.0f} s needed")

    def fits(self, name: str) -> bool:
        """Whether an earlier measurement went well."""
        return self.done.get(name, {}).get("status") == "ok"


def shape(name: str, setting: Setting) -> Any:
    """The configuration of a shape of SHAPES, or of a small model of an architecture; tiny ones of both for a trial."""
    from transformers import GPTNeoXConfig, LlamaConfig, OPTConfig

    if name in SHAPES:
        size = TINY | {"intermediate_size": 64} if setting.tiny else SHAPES[name] | {"max_position_embeddings": CONTEXT}
        return LlamaConfig(vocab_size=_rows(setting), **size)
    size = TINY if setting.tiny else SMALL
    wide = {"intermediate_size": 4 * size["hidden_size"]}
    if name == "opt":
        width = size["hidden_size"]
        return OPTConfig(
            vocab_size=SMALL_ROWS, dropout=0.0, ffn_dim=4 * width, word_embed_proj_dim=width, pad_token_id=1, **size
        )
    if name == "neox":
        return GPTNeoXConfig(vocab_size=SMALL_ROWS, **size, **wide)
    return LlamaConfig(vocab_size=SMALL_ROWS, num_key_value_heads=2, **size, **wide)


def _rows(setting: Setting) -> int:
    """Token rows of the models that see Alpaca's conversations."""
    if not setting.tiny:
        return ROWS
    if setting.tokenizer is None:
        return SMALL_ROWS
    from packtrain.prompts.tokenizer import load_tokenizer

    return len(load_tokenizer(setting.tokenizer).with_pad("[PAD]"))


@dataclass(frozen=True)
class RandomModel(ModelSource):
    """A model that is made where it trains, from a configuration alone: no folder, no copy on the host."""

    config: Any = None

    def whole(self, device: torch.device, compute_dtype: torch.dtype) -> Any:
        """Random float32 weights on `device`, the same for the same seed."""
        del compute_dtype
        return random_model(self.config, device, self.seed)


def random_model(config: Any, device: torch.device, seed: int = 0) -> Any:
    """A model with random float32 weights, made on `device`."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def source_of(config: Any, seed: int = 0) -> RandomModel:
    """Where a strategy gets a random model of this configuration from."""
    return RandomModel(Path(), config.vocab_size, seed=seed, config=config)


def random_examples(count: int, rows: int, longest: int, seed: int = 0) -> list[Example]:
    """Random words in conversations as long as Alpaca's.

    9,229 random rows of Stanford Alpaca have, in LLaMA's tokens, 39 to about 130 tokens of prompt (mean 61) and
    answers of 66 (median 48): 127 in all, 52 % of them learnt. Here prompts are 39 + LogNormal(2.75, 0.75), answers
    1 + LogNormal(3.67, 1.08), together at most `longest`: mean 126, of them 66 learnt.
    """
    random = np.random.default_rng(seed)
    prompts = np.minimum(39 + random.lognormal(2.75, 0.75, count), longest // 2).astype(int)
    answers = (1 + random.lognormal(3.67, 1.08, count)).astype(int)
    made = []
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        length = int(min(prompt + answer, longest))
        ids = random.integers(3, rows, length, dtype=np.int32)
        labels = ids.copy()
        labels[:prompt] = IGNORED
        made.append(Example("synthetic", str(number), ids, labels))
    return made


def conversations_of(rows: Path) -> Iterator[dict[str, Any]]:
    """Alpaca's rows as records of a conversation file."""
    for number, row in enumerate(json.loads(rows.read_text(encoding="utf-8"))):
        asked = {"role": "user", "content": row["instruction"]} | ({"context": row["input"]} if row["input"] else {})
        said = {"role": "assistant", "content": row["output"]}
        yield {"dataset": "alpaca", "id": str(number), "messages": [asked, said]}


def alpaca_examples(setting: Setting, longest: int = 512) -> tuple[Any, str]:
    """Encoded Alpaca rows when they were given, else random ones of like lengths; and which of the two they are."""
    if setting.rows is None or setting.tokenizer is None:
        count = 256 if setting.tiny else SYNTHETIC
        return random_examples(count, _rows(setting), longest), "synthetic"
    from packtrain.prompts.template import load_template
    from packtrain.prompts.token_cache import Encoding, encode_file
    from packtrain.prompts.tokenizer import load_tokenizer

    data = setting.work / "rows.jsonl"
    if not data.exists():
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in conversations_of(setting.rows))
        data.write_text("".join(lines), encoding="utf-8")
    tokenizer = load_tokenizer(setting.tokenizer).with_pad("[PAD]")
    found = encode_file(data, Encoding(load_template("alpaca"), tokenizer, longest), cache=setting.work / "tokens")
    return found, "Alpaca"


def learning(**settings: Any) -> Train:
    """Settings under which small differences show: few rows per step, clipped gradients, weight decay."""
    given = {"lr": 1e-3, "epochs": 1, "global_batch_size": 8, "micro_batch_size": 4, "weight_decay": 0.1}
    more = {"clip_norm": 0.5, "adam_epsilon": 1e-6, "warmup_ratio": 0.3, "precision": "float32"}
    return Train(**(given | more | settings))


@dataclass
class Training:
    """A strategy with its batches, ready to step."""

    strategy: Any
    train: Train
    batches: Batches
    layout: Layout

    def steps(self, first_step: int = 1) -> Iterator[StepFigures]:
        """Train from a step on."""
        watchdog = Watchdog(self.train, lambda _line: None)
        return optimize(self.strategy, self.batches, self.train, self.layout, watchdog, first_step)

    def take(self, count: int, first_step: int = 1) -> list[StepFigures]:
        """So many steps."""
        return list(islice(self.steps(first_step), count))


def training(
    setting: Setting, source: ModelSource, examples: Any, train: Train, engine: Engine, strategy: Any = None
) -> Training:
    """Build the model and prove its attention; UserError when this cannot be trained."""
    alone = Processes(0, 1, 0, setting.device)
    held = strategy or Strategy(alone, train, engine)
    held.build(source, train, engine)
    prove(held.objective, engine, alone, train.max_length_tokens)
    batches = Batches(
        examples,
        global_batch_size=train.global_batch_size,
        epochs=train.epochs,
        seed=0,
        order=train.order,
        last_batch=train.last_batch,
    )
    return Training(held, train, batches, Layout(engine.micro_batch_tokens or 4096, held.objective.packing, pad_id=0))


def checkpoints_of(training: Training, folder: Path, engine: Engine, *, asynchronous: bool = False) -> Checkpoints:
    """The checkpoints of a training; asynchronous ones as several processes write them."""
    strategy = training.strategy
    alone = strategy.processes
    strategy.processes = Processes(0, 1 + asynchronous, 0, alone.device)
    try:
        return Checkpoints(folder, strategy, engine)
    finally:
        strategy.processes = alone


@contextmanager
def without_varlen() -> Iterator[None]:
    """Segments one call per conversation, as where torch has no varlen kernel."""
    with patch.object(attention, "_has_varlen", lambda _query: False):
        yield


def synchronize(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give back what nothing refers to, and forget the peak of memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float | None:
    """The most that tensors on a GPU have held since `free`; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / GB if device.type == "cuda" else None
