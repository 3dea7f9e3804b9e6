"""The finished model as a Hugging Face folder that any other tool loads."""

from pathlib import Path
from typing import Any, Literal

import torch

from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.weights.info import TensorInfo, dtype_name
from packtrain.weights.writer import ShardWriter

DType = Literal["float32", "bfloat16", "float16"]
STOP_TOKENS = ("</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>")


def export_model(model: Any, tokenizer: Tokenizer, template: PromptTemplate, folder: Path, dtype: DType) -> None:
    """Write config, generation config, sharded safetensors in `dtype`, tokenizer and chat template into `folder`.

    Tied tensors are written once. The generation config names every id that ends an answer.
    """
    target: torch.dtype = getattr(torch, dtype)
    config = model.config
    config.dtype = target
    config.pad_token_id, config.eos_token_id = tokenizer.pad_id, tokenizer.eos_id
    config.save_pretrained(folder)
    _generation_config(tokenizer).save_pretrained(folder)
    tokenizer.save(folder, template.chat_template(tokenizer.first_token))
    tensors = _untied(model)
    types = {name: target if tensor.is_floating_point() else tensor.dtype for name, tensor in tensors.items()}
    plan = [TensorInfo(name, dtype_name(types[name]), tuple(tensor.shape)) for name, tensor in tensors.items()]
    with ShardWriter(folder, plan) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor.detach().to(device="cpu", dtype=types[name]).contiguous())


def _generation_config(tokenizer: Tokenizer) -> Any:
    from transformers import GenerationConfig

    known = (tokenizer.backend.token_to_id(token) for token in STOP_TOKENS)
    stops = sorted({tokenizer.eos_id, *(found for found in known if found is not None)})
    bos = None if tokenizer.bos_token is None else tokenizer.id_of(tokenizer.bos_token)
    return GenerationConfig(eos_token_id=stops, pad_token_id=tokenizer.pad_id, bos_token_id=bos, do_sample=False)


def _untied(model: Any) -> dict[str, torch.Tensor]:
    """The state dict with each storage once, under its first name (as `save_pretrained` writes tied weights)."""
    seen: dict[tuple[int, torch.Size], str] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() and key in seen:
            continue
        seen[key] = name
        tensors[name] = tensor
    return tensors
