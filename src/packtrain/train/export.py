"""The finished model as a Hugging Face folder that any other tool loads, read back after it was written."""

from pathlib import Path
from typing import Any, Literal

import torch

from packtrain.core.adapter import parse_adapter
from packtrain.core.errors import UserError
from packtrain.core.progress import progress
from packtrain.core.recipe import Recipe
from packtrain.prompts.stop_tokens import stop_ids
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.strategy import Strategy
from packtrain.weights.fingerprint import TensorHash, TensorRecord
from packtrain.weights.info import TensorInfo, dtype_name
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.writer import ShardWriter, aligned

DType = Literal["float32", "bfloat16", "float16"]
READ_AT_ONCE = 1 << 24
"""Elements that are checked at a time."""


def export_model(
    strategy: Strategy, base: Path, tokenizer: Tokenizer, template: PromptTemplate, folder: Path, dtype: DType
) -> None:
    """Write config, generation config, sharded safetensors in `dtype`, tokenizer and chat template into `folder`.

    Called by all processes; the first one writes, tensor after tensor, and never holds more than one whole. Then all
    that was written is read back: UserError when the disk gives other bytes, or for weights that cannot be right.
    """
    outline = strategy.outline()
    target: torch.dtype = getattr(torch, dtype)
    if not strategy.processes.is_first:
        for _ in strategy.weights():  # putting a tensor together takes all processes
            pass
        return
    write_settings(strategy.objective.language_model.config, tokenizer, template, folder, target)
    types = {name: target if tensor.is_floating_point() else tensor.dtype for name, tensor in outline.items()}
    plan = [TensorInfo(name, dtype_name(types[name]), tuple(tensor.shape)) for name, tensor in outline.items()]
    order = aligned(plan)
    if order != plan:  # tensors come in the order of the model, so files that need another one hold them all
        raise UserError(f"{base}: the model mixes types of different widths", f"export as float32, not {dtype}")
    with ShardWriter(folder, plan) as writer, progress("writing the model", len(plan)) as advance:
        for name, tensor in strategy.weights():
            writer.write(name, tensor.to(types[name]).contiguous())
            advance(1)
    verify_export(folder, writer.records, base)


def export_tuned(
    strategy: Strategy, recipe: Recipe, base: Path, tokenizer: Tokenizer, template: PromptTemplate, folder: Path
) -> None:
    """Write the tuned model into `folder`; of an adapter also the adapter itself, in `folder/adapter`.

    Called by all processes.
    """
    adapter = parse_adapter(recipe.train.adapter)
    dtype = recipe.release.dtype
    if adapter is None:
        export_model(strategy, base, tokenizer, template, folder, dtype)
        return
    if not strategy.processes.is_first:
        for _ in strategy.weights(trained_only=True):
            pass
        return
    from transformers import AutoConfig

    from packtrain.train.adapter_export import export_adapter

    export_adapter(
        strategy.objective.language_model,
        strategy.weights(trained_only=True),
        adapter,
        base=base,
        base_name=recipe.base.path,
        folder=folder,
        dtype=dtype,
    )
    write_settings(AutoConfig.from_pretrained(folder), tokenizer, template, folder, getattr(torch, dtype))


def write_settings(
    config: Any, tokenizer: Tokenizer, template: PromptTemplate, folder: Path, dtype: torch.dtype
) -> None:
    """Write config, generation config, tokenizer and chat template; the config says `dtype` and the tokens' ids."""
    config.dtype = dtype
    config.pad_token_id, config.eos_token_id = tokenizer.pad_id, tokenizer.eos_id
    config.save_pretrained(folder)
    _generation_config(tokenizer, template).save_pretrained(folder)
    tokenizer.save(folder, template.chat_template(tokenizer.first_token))


def verify_export(folder: Path, written: dict[str, TensorRecord], base: Path) -> None:
    """Read every tensor of `folder` back: the bytes that were written, finite, no matrix zero unless the base's is.

    UserError names the tensor.
    """
    store = open_store(folder)
    before = open_store(base)
    hint = "check the disk; the last checkpoint is intact: --resume writes the model again"
    if set(store) != set(written):
        raise UserError(f"{folder} holds other tensors than were written", hint)
    with progress("reading it back", len(written)) as advance:
        for name, record in written.items():
            digest, zero, finite = TensorHash(), True, True
            for piece in store.chunks(name, READ_AT_ONCE):
                digest.add(piece)
                zero = zero and not bool(piece.any())
                finite = finite and bool(torch.isfinite(piece).all())
            if digest.hexdigest() != record.sha256:
                raise UserError(f"{folder}: tensor {name} is not what was written", hint)
            if not finite:
                raise UserError(f"{folder}: tensor {name} holds numbers that are not finite", "lower train.lr")
            if zero and len(store.info(name).shape) > 1 and not _is_zero(before, name):
                raise UserError(f"{folder}: tensor {name} is all zero", hint)
            advance(1)


def _is_zero(store: TensorStore, name: str) -> bool:
    return name in store and not any(bool(piece.any()) for piece in store.chunks(name, READ_AT_ONCE))


def _generation_config(tokenizer: Tokenizer, template: PromptTemplate) -> Any:
    from transformers import GenerationConfig

    stops = stop_ids(tokenizer, template)
    bos = None if tokenizer.bos_token is None else tokenizer.id_of(tokenizer.bos_token)
    return GenerationConfig(eos_token_id=stops, pad_token_id=tokenizer.pad_id, bos_token_id=bos, do_sample=False)
