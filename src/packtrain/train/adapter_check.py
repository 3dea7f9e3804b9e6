"""Does the merged model compute what base and adapter compute? Measured, and printed.

Where the model is small beside the machine's memory, logits are compared; else the output of one layer.
"""

import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.core.machine_memory import memory_of_host
from packtrain.models.load import load_causal_lm
from packtrain.train.lora import ADAPTER, import_peft
from packtrain.weights.lora_adapter import Adapter, Lora, open_adapter
from packtrain.weights.lora_plan import CONV1D
from packtrain.weights.model_files import CONFIG, read_object
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.vocabulary import grow_token_tables

TOKENS = 32
"""Length of the text that logits are compared on."""
MEMORY_SHARE = 0.25
"""A model in float32 may take this share of the machine's memory."""
TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.25}
"""Largest difference, as a share of the largest value, by the type that the merged model was rounded to."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the merged model is from base and adapter."""

    compared: str
    """`logits`, or `the outputs of` a layer."""
    difference: float
    """Largest absolute difference."""
    effect: float
    """Largest absolute change that the adapter makes to the base."""
    largest: float
    """Largest absolute value."""
    dtype: str
    """Of the merged weights."""

    @property
    def text(self) -> str:
        """One or two lines for logs."""
        told = (
            f"merged model against base and adapter: {self.compared} differ by at most {self.difference:.1e} "
            f"(the adapter changes them by {self.effect:.1e})"
        )
        if self.dtype != "float32" and self.difference > self.effect / 2:
            told += f"\nwarning: rounding to {self.dtype} hides what the adapter learnt; release.dtype=float32 keeps it"
        return told


def compare(base: Path, adapter: Path, merge_input: Path, merged: Path, rows: int) -> Agreement:
    """How the model in `merged` agrees with `base` and `adapter`, computed in float32 on the CPU.

    `merge_input` is the adapter as it was merged, `rows` the size of the merged token tables. UserError when
    the two differ by more than rounding explains.
    """
    store = open_store(merged)
    needed = 4 * sum(info.numel for info in store.infos().values())
    small = needed <= MEMORY_SHARE * memory_of_host()
    found = _logits(base, adapter, merged, rows) if small else _layer(base, merge_input, merged)
    if not found.difference <= TOLERANCE[found.dtype] * found.largest:
        raise UserError(
            f"the merged model is not what base and adapter are together: {found.compared} differ by "
            f"{found.difference:.1e}, where the largest is {found.largest:.1e}",
            f"base, adapter and peft do not fit each other; the adapter in {adapter} is complete",
        )
    return found


def _logits(base: Path, adapter: Path, merged: Path, rows: int) -> Agreement:
    """On one text of random tokens."""
    model = load_causal_lm(base, torch.float32)
    grow_token_tables(model, rows)
    tokens = torch.randint(0, rows, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft calls in transformers is on its way out there
        plain = model.eval()(input_ids=tokens).logits
        adapted = import_peft().PeftModel.from_pretrained(model, adapter, torch_device="cpu").eval()
        wanted = adapted(input_ids=tokens).logits
        del adapted, model
        found = load_causal_lm(merged, torch.float32).eval()(input_ids=tokens).logits
    return _agreement("logits", found, wanted, plain, open_store(merged))


def _layer(base: Path, adapter: Path, merged: Path) -> Agreement:
    """On random inputs `[8, in]` to the first layer with an adapter, which peft computes apart from the model."""
    opened = open_adapter(adapter)
    lora = opened.loras[0]
    kind = str(read_object(base / CONFIG, "get the base again").get("model_type"))
    transposed = lora.module.rpartition(".")[2] in CONV1D.get(kind, ())
    old, new = (_weight(open_store(folder), lora.module) for folder in (base, merged))
    inputs = torch.randn(8, old.shape[0 if transposed else 1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, found = (_alone(weight, transposed)(inputs) for weight in (old, new))
        wanted = _adapted(_alone(old, transposed), opened, lora)(inputs)
    return _agreement(f"the outputs of {lora.module}", found, wanted, plain, open_store(merged))


def _weight(store: TensorStore, module: str) -> torch.Tensor:
    """A layer's weight in float32; names may lack the prefix of the inner model."""
    name = f"{module}.weight"
    found = next(each for each in store if f".{name}".endswith(f".{each}") or each.endswith(f".{name}"))
    return store[found].float()


def _alone(weight: torch.Tensor, transposed: bool) -> torch.nn.Sequential:
    """A model of one layer, called `layer`, without bias."""
    from transformers.pytorch_utils import Conv1D

    rows, columns = weight.shape
    layer = Conv1D(columns, rows) if transposed else torch.nn.Linear(columns, rows, bias=False)
    layer.weight.data = weight
    return torch.nn.Sequential(OrderedDict(layer=layer))


def _adapted(model: torch.nn.Sequential, adapter: Adapter, lora: Lora) -> torch.nn.Module:
    """The model of one layer with its part of an adapter, as peft makes it."""
    peft = import_peft()
    stated = adapter.config
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=stated.lora_alpha,
        use_rslora=stated.use_rslora,
        use_dora=stated.use_dora,
        fan_in_fan_out=stated.fan_in_fan_out,
        target_modules=["layer"],
    )
    made: torch.nn.Module = peft.inject_adapter_in_model(config, model, adapter_name=ADAPTER).eval()
    layer: Any = made.get_submodule("layer")
    layer.lora_A[ADAPTER].weight.copy_(adapter.store[lora.a])
    layer.lora_B[ADAPTER].weight.copy_(adapter.store[lora.b])
    if lora.magnitude is not None:
        layer.lora_magnitude_vector[ADAPTER].weight.copy_(adapter.store[lora.magnitude])
    return made


def _agreement(
    compared: str, found: torch.Tensor, wanted: torch.Tensor, plain: torch.Tensor, store: TensorStore
) -> Agreement:
    types = {info.dtype for info in store.infos().values()}
    return Agreement(
        compared=compared,
        difference=float((found - wanted).abs().max()),
        effect=float((wanted - plain).abs().max()),
        largest=float(wanted.abs().max()),
        dtype=next((dtype for dtype in TOLERANCE if dtype in types and dtype != "float32"), "float32"),
    )
