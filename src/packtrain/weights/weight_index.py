"""Which files hold the weights of a model folder: one of four names, or shards that an index names; needs no torch."""

import os
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.weights.untrusted import MAX_JSON_BYTES, Lie, is_tensor_name, open_plain, parse_json, shown

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What a Hugging Face folder may keep its weights under, in the order in which transformers looks."""


def weights_of(folder: Path) -> Path | None:
    """The file that holds the weights, or the index of those that do; None when there is neither."""
    return next((folder / name for name in WEIGHT_FILES if os.path.lexists(folder / name)), None)


def all_weights_are_in(folder: Path) -> bool:
    """Whether every file is there that holds weights, or that an index says to hold some.

    Of their contents nothing is said, and a damaged index is left to those who read by it.
    """
    found = weights_of(folder)
    if found is None or not found.name.endswith(".index.json"):
        return found is not None
    try:
        return all((folder / shard).exists() for shard in set(read_index(found).values()))
    except UserError:
        return True


def read_index(path: Path) -> dict[str, str]:
    """Tensor names to shard names, each of them a plain file name; UserError for an index that is none."""
    hint = "the file is damaged or made to mislead: get it again from a source you trust"
    with open_plain(path) as file:
        text = file.read(MAX_JSON_BYTES + 1)
    try:
        if len(text) > MAX_JSON_BYTES:
            raise Lie(f"it is longer than {MAX_JSON_BYTES} bytes")
        index = parse_json(text, "its text")
    except Lie as lie:
        raise UserError(f"{path} is not an index of weights: {lie}", hint) from lie
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{path} is not an index of weights: weight_map is missing, empty or no object", hint)
    suffix = ".safetensors" if ".safetensors." in path.name else ".bin"
    for name, shard in weight_map.items():
        if not is_tensor_name(name):
            raise UserError(f"{path}: {shown(name)} cannot be a tensor's name", hint)
        if not isinstance(shard, str) or not _is_file_name(shard) or not shard.endswith(suffix):
            raise UserError(f"{path}: tensor {name} is said to be in {shown(shard)}, which is no shard's name", hint)
    return weight_map


def _is_file_name(name: str) -> bool:
    return name.isprintable() and "/" not in name and "\\" not in name and len(os.fsencode(name)) <= 255
