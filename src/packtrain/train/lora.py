"""Adapters (LoRA, rsLoRA, DoRA) in a model, by peft: put in, initialised, named.

The model itself is changed in place, so everything that knows a transformers model knows it still. The order of
work is the same however the model is held: `attach` (also on the meta device, before it is sharded), then the
base's weights, found under `base_name`, then `initialise`.
"""

import hashlib
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from packtrain.core.adapter import ALL_LINEAR, QUERY_VALUE, AdapterSpec
from packtrain.core.errors import UserError
from packtrain.core.extras import imported
from packtrain.core.folder import unknown
from packtrain.train.optimizer import whole
from packtrain.weights.store import open_store
from packtrain.weights.vocabulary import INPUT_TABLES, is_token_table

ADAPTER = "default"
"""peft's name of the one adapter in a model."""
PEFT_PREFIX = "base_model.model."
"""Before every tensor's name in an adapter's file."""

Read = Callable[[torch.Tensor], torch.Tensor]
"""The whole of a parameter, wherever its parts lie."""
Write = Callable[[torch.Tensor, torch.Tensor], None]
"""Fill a parameter (first) with what a whole tensor on the CPU (second) says belongs in it."""

_QUERY_VALUE = (("q_proj", "v_proj"), ("query_key_value",), ("c_attn",), ("qkv_proj",), ("Wqkv",))
"""What `QUERY_VALUE` is, by what a model's layers are called: LLaMA and OPT, GPT-NeoX, GPT-2, Phi-3, MPT (peft,
TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING)."""


def import_peft(extra: str = "lora", what: str = "adapters") -> Any:
    """The module peft, which `what` needs; UserError with the line that installs the extra where it cannot be had."""
    # on a CPU bitsandbytes, if it is there, advises at every start to install a faster kernel
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return imported("peft", extra, what)


def rows_to_train(base: Path, tokens: int, pad_id: int) -> tuple[int, ...]:
    """Ids below `tokens` that the model in the folder `base` has no rows for and that can occur in conversations.

    The padding token is left out: it is neither read nor learnt. Its row is the mean of the base's rows.
    """
    store = open_store(base)
    table = next((name for name in store if name.endswith(INPUT_TABLES)), None)
    rows = tokens if table is None else store.info(table).shape[0]
    return tuple(token for token in range(rows, tokens) if token != pad_id)


def attach(model: Any, spec: AdapterSpec, new_rows: Sequence[int] = (), *, checkpointing: bool = False) -> Any:
    """`model` with float32 adapters in the layers that `spec` names; everything else in it is frozen.

    `new_rows` are ids of tokens whose rows in the token tables are trained, too (peft's trainable tokens: the
    tables themselves stay frozen, tied ones stay tied). A model on the meta device gets adapters there. With
    `checkpointing` the embeddings' output asks for a gradient, which recomputed layers want.

    UserError when the model has no such layer; the names of those it has are given.
    """
    peft = import_peft()
    targets = _targets(model, spec)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=int(spec.alpha) if spec.alpha == int(spec.alpha) else spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets,
        exclude_modules=_module_names(model, model.get_output_embeddings()) or None,
        bias=spec.bias,
        use_rslora=spec.kind == "rslora",
        use_dora=spec.kind == "dora",
        fan_in_fan_out=_are_transposed(model, targets),
        trainable_token_indices=_token_rows(model, new_rows),
    )
    meta = any(parameter.is_meta for parameter in model.parameters())
    with torch.random.fork_rng(devices=[]), torch.device("meta") if meta else nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft on settings that are chosen here
        peft.inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    for module in model.modules():
        originals = getattr(module, "trainable_tokens_original", {})
        if ADAPTER in originals and originals[ADAPTER].is_meta:  # a buffer, which sharding does not give memory to
            originals[ADAPTER] = torch.zeros(originals[ADAPTER].shape)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
    if checkpointing:
        model.enable_input_require_grads()
    return model


def initialise(model: Any, seed: int, *, read: Read | None = None, write: Write | None = None) -> None:
    """Fill the adapter's parameters in `model`: functions of `seed`, their names and the base's weights alone.

    A is uniform within 1 / sqrt(inputs) and B zero, as in the LoRA paper's code and peft; DoRA's magnitudes are
    the lengths of the base's weights, trained token rows the base's rows. The base must be in place. Every
    process must call it: `read` of a sharded parameter is a collective. By default DTensors are read and
    written as such, anything else as plain tensors.
    """
    from peft.tuners.lora import LoraLayer
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    read, write = read or whole, write or fill
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, LoraLayer):
                first, second = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight
                write(first, _uniform(first.shape, f"{seed}:{name}.lora_A"))
                write(second, torch.zeros(second.shape))
                if ADAPTER in module.lora_magnitude_vector:
                    weight = read(module.get_base_layer().weight).float()
                    lengths = torch.linalg.norm(weight.T if module.fan_in_fan_out else weight, dim=1)
                    write(module.lora_magnitude_vector[ADAPTER].weight, lengths.cpu())
            elif isinstance(module, TrainableTokensLayer) and module.tied_adapter is None:
                rows = read(module.get_base_layer().weight)[module.token_indices[ADAPTER]].float()
                write(module.trainable_tokens_delta[ADAPTER], rows.cpu())
                module.trainable_tokens_original[ADAPTER] = rows


def fill(parameter: torch.Tensor, tensor: torch.Tensor) -> None:
    """Copy `tensor` into a parameter of the same shape; into a DTensor this process's part of it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    with torch.no_grad():
        if not isinstance(parameter, DTensor):
            parameter.copy_(tensor)
            return
        moved = tensor.to(parameter.device)
        # no source rank: every process has the same tensor, so each cuts its part out and nothing is sent
        part = distribute_tensor(moved, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.to_local().copy_(part.to_local())


def base_name(name: str) -> str | None:
    """The base's own name of a parameter or buffer of a model with an adapter; None for one of the adapter's."""
    if ".lora_" in name or ".trainable_tokens_" in name:
        return None
    return name.replace(".token_adapter.base_layer.", ".").replace(".base_layer.", ".")


def saved_names(model: Any) -> dict[str, str]:
    """Name of every trained parameter, in the model's order, to its name in an adapter's file, which is peft's."""
    peft = import_peft()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    names = {id(parameter): name for name, parameter in trained.items()}
    state = peft.get_peft_model_state_dict(
        model, state_dict=dict(trained), adapter_name=ADAPTER, save_embedding_layers=False
    )
    saved = {names[id(parameter)]: PEFT_PREFIX + name for name, parameter in state.items()}
    if missing := [name for name in trained if name not in saved]:
        raise UserError(f"peft {peft.__version__} does not save {missing[0]}", "install another version of peft")
    return {name: saved[name] for name in trained}


def describe(model: Any, spec: AdapterSpec) -> str:
    """One line for logs: the adapter, and how much of the model it trains."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    kept = sum(parameter.numel() for name, parameter in model.named_parameters() if base_name(name) is not None)
    return f"{spec.text}: {trained:,} trained parameters beside {kept:,} of the base"


def _uniform(shape: torch.Size, identity: str) -> torch.Tensor:
    """A matrix `[rank, inputs]`, uniform within 1 / sqrt(inputs), the same for the same identity everywhere."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big"))
    bound = 1 / math.sqrt(shape[1])
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def _linear_layers(model: Any) -> dict[str, torch.nn.Module]:
    """Every linear layer but the output head, by its name."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    }


def _targets(model: Any, spec: AdapterSpec) -> list[str]:
    """Last parts of the names of the layers that get an adapter, sorted."""
    there = sorted({name.rpartition(".")[2] for name in _linear_layers(model)})
    if spec.targets == (ALL_LINEAR,) and there:
        return there
    if spec.targets == (QUERY_VALUE,):
        found = next((names for names in _QUERY_VALUE if set(names) <= set(there)), None)
        if found is None:
            raise UserError(
                f"targets={QUERY_VALUE}: no layers of this model are known to project queries and values",
                f"name them, as in targets=NAME+NAME; there are: {', '.join(there)}",
            )
        return sorted(found)
    for name in spec.targets:
        if name not in there:
            raise unknown("layer for an adapter", name, [ALL_LINEAR, QUERY_VALUE, *there])
    return sorted(spec.targets)


def _are_transposed(model: Any, targets: Sequence[str]) -> bool:
    """Whether the target layers hold their weights as `[in, out]` (transformers' Conv1D)."""
    layers = _linear_layers(model).items()
    return not any(isinstance(it, torch.nn.Linear) for name, it in layers if name.rpartition(".")[2] in targets)


def _module_names(model: Any, module: Any) -> list[str]:
    return [] if module is None else [name for name, one in model.named_modules() if one is module]


def _token_rows(model: Any, rows: Sequence[int]) -> dict[str, list[int]] | None:
    """Module names of the token tables to the rows that are trained; a tied table is trained under its first name."""
    if not rows:
        return None
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    if max(rows) >= tables[0].weight.shape[0]:
        raise ValueError(f"row {max(rows)} of {tables[0].weight.shape[0]}: grow the token tables first")
    if tables[1] is None or tables[1].weight is tables[0].weight:
        tables = tables[:1]
    elif getattr(tables[1], "bias", None) is not None:
        raise UserError("rows of an output table with a bias cannot be trained", "give train.adapter=none")
    names = [_module_names(model, table)[0] for table in tables]
    if strange := [name for name in names if not is_token_table(f"{name}.weight")]:
        raise UserError(f"the token table {strange[0]} is of no known kind", "give train.adapter=none")
    return {name: list(rows) for name in names}
