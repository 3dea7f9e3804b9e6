"""A trained adapter as files: in peft's own layout, looked at after writing, and merged into a model folder.

`OUT/adapter/` is the adapter, small; `OUT` itself gets the weights of base and adapter together, which every later
stage takes. Adapters of 443 bytes, saved without a word after a day of training, are why all is read back.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from packtrain.core.adapter import AdapterSpec
from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.train.adapter_check import Agreement, compare
from packtrain.train.lora import ADAPTER, saved_names
from packtrain.train.merge_input import merge_input
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, sha256_of_pieces
from packtrain.weights.info import TensorInfo
from packtrain.weights.lora_adapter import ADAPTER_CONFIG, ADAPTER_FILES
from packtrain.weights.lora_merge import MergeReport, merge_lora
from packtrain.weights.model_files import CONFIG, write_object
from packtrain.weights.safetensors_file import SafetensorsFile
from packtrain.weights.shard_file import ShardFile
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.writer import INDEX, amount

FOLDER = "adapter"
"""Of the adapter, inside the model's folder."""
_MERGING = ".merging"
_AGAIN = "the checkpoint is kept: with --resume nothing but this is done again"


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """What was written, and how well adapter and merged model agree."""

    adapter: str
    """All settings (`AdapterSpec.text`)."""
    tensors: int
    parameters: int
    bytes_written: int
    """Of the adapter; the merged weights are in `merge`."""
    untrained: tuple[str, ...]
    """Layers whose B is still zero: the data never reached them."""
    merge: MergeReport
    agreement: Agreement


def export_adapter(
    model: Any,
    tensors: Iterable[tuple[str, torch.Tensor]],
    spec: AdapterSpec,
    *,
    base: Path,
    base_name: str,
    folder: Path,
    dtype: str,
) -> AdapterReport:
    """Write `folder/adapter`, verify it, and put the merged weights and their config.json into `folder`.

    `tensors` gives names as in `model.named_parameters()` and whole CPU tensors, one after another; what is not
    trained is passed over. `model` (attached, possibly sharded) is asked for names and shapes only. Merging is
    float32, into the tensors of the folder `base` as they are there, never into quantised ones; the result has
    type `dtype`. Token tables grow to the model's rows. `base_name` is what the adapter says it belongs to.

    UserError when a tensor is missing, not finite or still as it was before training, or when the merged model
    does not compute what base and adapter compute. What stands in `folder` before is written over.
    """
    adapter = folder / FOLDER
    adapter.mkdir(parents=True, exist_ok=True)
    infos = _plan(model)
    written = _write(adapter, infos, tensors)
    write_object(adapter / ADAPTER_CONFIG, _config(model, base_name))
    untrained = _verify(adapter, infos, written)
    size = sum(file.stat().st_size for file in adapter.iterdir())
    numbers = sum(info.numel for info in infos.values())
    say(f"adapter: {len(infos)} tensors, {numbers:,} parameters, {amount(size)}")
    if untrained:
        say(f"warning: nothing was learnt in {len(untrained)} layers, such as {untrained[0]}")
    rows: int = model.get_input_embeddings().weight.shape[0]
    merge, agreement = _merge(base, adapter, folder, rows, dtype)
    return AdapterReport(spec.text, len(infos), numbers, size, untrained, merge, agreement)


def _plan(model: Any) -> dict[str, TensorInfo]:
    """Name of every trained parameter, in the model's order, to its header in the adapter's file."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return {name: TensorInfo(saved, "float32", shapes[name]) for name, saved in saved_names(model).items()}


def _write(
    adapter: Path, infos: Mapping[str, TensorInfo], tensors: Iterable[tuple[str, torch.Tensor]]
) -> dict[str, str]:
    """Write the adapter's tensors as they come; name in the file to SHA-256.

    One that comes before its turn waits in memory.
    """
    order = list(infos)
    waiting: dict[str, torch.Tensor] = {}
    given = iter(tensors)
    with ShardFile(adapter / ADAPTER_FILES[0], list(infos.values())) as file:
        for name in order:
            while name not in waiting:
                found, tensor = next(given, (None, None))
                if found is None or tensor is None:
                    raise UserError(f"the adapter's tensor {infos[name].name} was not gathered", _AGAIN)
                if found in infos:
                    waiting[found] = tensor
            tensor = waiting.pop(name).detach().float()
            if tuple(tensor.shape) != infos[name].shape:
                raise UserError(f"the adapter's {infos[name]} was gathered as {list(tensor.shape)}", _AGAIN)
            file.write(infos[name].name, tensor)
        for _ in given:  # gathering is done by all processes together: none may stop early
            pass
    return {name: record.sha256 for name, record in file.records.items()}


def _config(model: Any, base_name: str) -> dict[str, Any]:
    """What peft writes as adapter_config.json, with its sets in order."""
    stated = model.peft_config[ADAPTER].to_dict()
    sorted_sets = {key: sorted(value) for key, value in stated.items() if isinstance(value, set)}
    found = {**stated, **sorted_sets, "base_model_name_or_path": base_name, "inference_mode": True}
    return dict(sorted(found.items()))


def _verify(adapter: Path, infos: Mapping[str, TensorInfo], written: Mapping[str, str]) -> tuple[str, ...]:
    """Read the adapter's file again; the layers in which nothing was learnt.

    UserError when the file is not what was to be written, or when it holds an adapter as training begins.
    """
    path = adapter / ADAPTER_FILES[0]
    store = TensorStore(adapter, [SafetensorsFile(path)])
    if store.infos() != {info.name: info for info in infos.values()} or not len(store):
        raise UserError(f"{path} does not hold the {len(infos)} tensors of the adapter", _AGAIN)
    zero: list[str] = []
    seconds = [name for name in store if ".lora_B." in name]
    for name in store:
        pieces = list(store.chunks(name, CHUNK_ELEMENTS))
        if sha256_of_pieces(pieces) != written[name]:
            raise UserError(f"{path} holds another tensor {name} than was written: the disk is not reliable", _AGAIN)
        if not all(bool(piece.isfinite().all()) for piece in pieces):
            raise UserError(f"the adapter's tensor {name} is not finite", "lower train.lr and train again")
        if name in seconds and not any(bool(piece.any()) for piece in pieces):
            zero.append(name.partition(".lora_B.")[0])
    if len(zero) == len(seconds):
        raise UserError(
            f"the adapter is untrained: in all its {len(seconds)} layers B is zero, as before training",
            "train for more steps or at a higher rate: the first step's is zero when there is a warm-up",
        )
    return tuple(zero)


def _merge(base: Path, adapter: Path, folder: Path, rows: int, dtype: str) -> tuple[MergeReport, Agreement]:
    """Merge into `folder` by way of a folder inside it; the report, and how the two agree."""
    merging = folder / _MERGING
    shutil.rmtree(merging, ignore_errors=True)
    merging.mkdir()
    source = merge_input(base, adapter, rows, merging / "input")
    report = merge_lora(base, source, merging / "model", dtype=dtype)
    agreement = compare(base, adapter, source, merging / "model", rows)
    say(agreement.text)
    weights = [file for file in (merging / "model").iterdir() if file.suffix == ".safetensors" or file.name == INDEX]
    for file in [*weights, merging / "model" / CONFIG]:
        file.replace(folder / file.name)
    shutil.rmtree(merging)
    open_store(folder)
    return report, agreement
