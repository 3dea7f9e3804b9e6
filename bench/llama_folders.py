"""LLaMA-shaped folders of random weights, written tensor by tensor: what the benches of diffs work on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.safetensors_file import header_bytes
from packtrain.weights.writer import ShardWriter, plan_shards, write_index

WEIGHT_STD = 0.02
UPDATE_RMS = 6e-4
"""As measured between LLaMA and a published fine-tune of it (mean absolute difference 5e-4)."""


@dataclass(frozen=True)
class Shape:
    """What a LLaMA's size follows from."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    rows: int = 32000

    def config(self, dtype: str) -> dict[str, object]:
        """Its config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.rows,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": dtype,
        }

    def plan(self, dtype: str) -> list[TensorInfo]:
        """Its tensors in the order of a state dict."""
        wide, narrow = (self.hidden, self.hidden), (self.intermediate, self.hidden)
        layer = {
            "self_attn.q_proj.weight": wide,
            "self_attn.k_proj.weight": wide,
            "self_attn.v_proj.weight": wide,
            "self_attn.o_proj.weight": wide,
            "mlp.gate_proj.weight": narrow,
            "mlp.up_proj.weight": narrow,
            "mlp.down_proj.weight": (self.hidden, self.intermediate),
            "input_layernorm.weight": (self.hidden,),
            "post_attention_layernorm.weight": (self.hidden,),
        }
        plan = [TensorInfo("model.embed_tokens.weight", dtype, (self.rows, self.hidden))]
        for number in range(self.layers):
            plan += [TensorInfo(f"model.layers.{number}.{name}", dtype, shape) for name, shape in layer.items()]
        plan.append(TensorInfo("model.norm.weight", dtype, (self.hidden,)))
        return [*plan, TensorInfo("lm_head.weight", dtype, (self.rows, self.hidden))]


SHAPES = {
    "0.3b": Shape(layers=16, hidden=1024, intermediate=2816, heads=16),
    "1.2b": Shape(layers=22, hidden=2048, intermediate=5504, heads=32),
    "3b": Shape(layers=26, hidden=3072, intermediate=8192, heads=24),
    "65b": Shape(layers=80, hidden=8192, intermediate=22016, heads=64),
}

Draw = Callable[[TensorInfo, int, int], torch.Tensor]
"""Elements start to stop of a tensor."""

_PIECE = 1 << 22


def write_folder(folder: Path, shape: Shape, dtype: str, draw: Draw, max_shard_bytes: int) -> None:
    """Write a model whose elements `draw` gives, in pieces, float32."""
    folder.mkdir(parents=True)
    plan = shape.plan(dtype)
    with ShardWriter(folder, plan, max_shard_bytes) as writer:
        for info in plan:
            for start in range(0, info.numel, _PIECE):
                stop = min(start + _PIECE, info.numel)
                writer.write(info.name, draw(info, start, stop).to(torch_dtype(dtype)))
    (folder / "config.json").write_text(json.dumps(shape.config(dtype)))


def weights(info: TensorInfo, start: int, stop: int) -> torch.Tensor:
    """Random weights (norms near one), the same whenever they are drawn."""
    noise = torch.randn(stop - start, generator=_generator(info.name, start)) * WEIGHT_STD
    return noise + 1.0 if len(info.shape) == 1 else noise


def updates(info: TensorInfo, start: int, stop: int) -> torch.Tensor:
    """Random updates, the same whenever they are drawn."""
    return torch.randn(stop - start, generator=_generator(info.name + "+", start)) * UPDATE_RMS


def tuned(base_dtype: str) -> Draw:
    """The weights of a base of `base_dtype` after its updates; rows that it has not are updates alone."""

    def draw(info: TensorInfo, start: int, stop: int) -> torch.Tensor:
        before = weights(info, start, stop).to(torch_dtype(base_dtype)).float()
        return before + updates(info, start, stop)

    return draw


def _generator(name: str, start: int) -> torch.Generator:
    seed = int.from_bytes(name.encode()[-12:], "little") % (1 << 62) ^ start
    return torch.Generator().manual_seed(seed)


def write_sparse_folder(folder: Path, shape: Shape, dtype: str, max_shard_bytes: int) -> None:
    """A folder whose weights are all zero and take no space: files with holes."""
    folder.mkdir(parents=True)
    shards = plan_shards(shape.plan(dtype), max_shard_bytes)
    for name, infos in shards.items():
        header = header_bytes(infos)
        with open(folder / name, "wb") as file:
            file.write(header)
            file.truncate(len(header) + sum(info.nbytes for info in infos))
    write_index(folder, shards)
    (folder / "config.json").write_text(json.dumps(shape.config(dtype)))
