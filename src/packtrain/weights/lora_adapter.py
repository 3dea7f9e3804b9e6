"""LoRA adapter folders of peft: `adapter_config.json`, and `adapter_model.safetensors` or `adapter_model.bin`.

Names and meanings are peft's (LoraConfig; get_peft_model_state_dict): matrices A `[rank, in]` and
B `[out, rank]` of a module, for embeddings A `[rank, tokens]` and B `[width, rank]`, for DoRA a magnitude
for each output. What else the file holds takes the place of a tensor of the base.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from packtrain.core.errors import UserError
from packtrain.weights.bin_file import BinFile
from packtrain.weights.info import FLOATING
from packtrain.weights.model_files import CONFIG, read_object
from packtrain.weights.safetensors_file import SafetensorsFile
from packtrain.weights.store import TensorStore
from packtrain.weights.untrusted import shown

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")

NOT_MERGEABLE = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
"""Settings that make an adapter more than low-rank matrices and whole tensors."""

CHANGES_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")
"""Beginnings of `init_lora_weights` that take something off the base's weights before training."""

_GET = "give an adapter folder as peft's save_pretrained writes it"
_PEFT = "merge it with peft itself (merge_and_unload)"
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(\.default)?(?P<kind>\.weight|\.bias)?"
)
_PARTS = {
    ("lora_A", ".weight"): "a",
    ("lora_B", ".weight"): "b",
    ("lora_B", ".bias"): "b_bias",
    ("lora_embedding_A", None): "a",
    ("lora_embedding_B", None): "b",
    ("lora_magnitude_vector", None): "magnitude",
    ("lora_magnitude_vector", ".weight"): "magnitude",
}

Rank = Annotated[int, Field(gt=0, lt=2**20)]
Value = TypeVar("Value", int, float)


class LoraConfig(BaseModel):
    """What `adapter_config.json` says of the arithmetic."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: str
    r: Rank = 8
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    rank_pattern: dict[str, Rank] | None = None
    alpha_pattern: dict[str, float] | None = None
    init_lora_weights: bool | str | None = True
    modules_to_save: list[str] | None = None
    ensure_weight_tying: bool = False

    def has_for_itself(self, tensor: str) -> bool:
        """Whether a tensor of the model is of a module of which the adapter has a copy of its own."""
        module = tensor.rpartition(".")[0]
        return any(f".{module}.".endswith(f".{name}.") for name in self.modules_to_save or ())

    def scale_of(self, module: str) -> tuple[int, float]:
        """Rank of a module, and what its B A is multiplied by: alpha / rank, for rsLoRA alpha / sqrt(rank)."""
        rank = _by_pattern(self.rank_pattern, module, self.r)
        alpha = _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return rank, alpha / (math.sqrt(rank) if self.use_rslora else rank)


def _by_pattern(patterns: Mapping[str, Value] | None, module: str, default: Value) -> Value:
    """The value of the first pattern that matches the end of a module's name, as peft's get_pattern_key does."""
    for pattern, value in (patterns or {}).items():
        try:
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module):
                return value
        except re.error as error:
            raise UserError(f"{ADAPTER_CONFIG}: {shown(pattern)} is no regular expression", _GET) from error
    return default


@dataclass(frozen=True, slots=True)
class Lora:
    """The matrices of one module: names of tensors in the adapter's file."""

    module: str
    rank: int
    scale: float
    embedding: bool
    a: str
    b: str
    b_bias: str | None
    magnitude: str | None


@dataclass(frozen=True)
class Adapter:
    """An adapter on disk."""

    folder: Path
    config: LoraConfig
    store: TensorStore
    loras: tuple[Lora, ...]
    replacements: Mapping[str, str]
    """Name of a tensor in the model to the name of the adapter's tensor that takes its place."""
    of_base: frozenset[str]
    """Those tensors of the adapter that are the base's own, changed beside the adapter (token tables with new rows)."""
    file: str

    @property
    def method(self) -> str:
        """`LoRA`, `rsLoRA` or `DoRA`."""
        return "DoRA" if self.config.use_dora else "rsLoRA" if self.config.use_rslora else "LoRA"


def open_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`, headers only; UserError when it is none, or of a kind that cannot be merged."""
    path = folder / ADAPTER_CONFIG
    if not path.is_file():
        full = (folder / CONFIG).is_file()
        raise UserError(
            f"{folder} holds no {ADAPTER_CONFIG}" + (" (it is a whole model)" if full else ""),
            "give the base first, then the adapter" if full else _GET,
        )
    config = _config(path)
    file = next((name for name in ADAPTER_FILES if (folder / name).is_file()), None)
    if file is None:
        raise UserError(f"{folder} holds no weights (looked for {', '.join(ADAPTER_FILES)})", _GET)
    weights = SafetensorsFile(folder / file) if file.endswith(".safetensors") else BinFile(folder / file)
    store = TensorStore(folder, [weights])
    parts, replacements = _sort(store, folder / file)
    loras = tuple(_lora(config, module, found, store, folder / file) for module, found in parts.items())
    if not loras and not replacements:
        raise UserError(f"{folder / file} holds no tensors", _GET)
    of_base = frozenset(
        name for plain, name in replacements.items() if ".base_layer." in name or not config.has_for_itself(plain)
    )
    return Adapter(folder, config, store, loras, replacements, of_base, file)


def _config(path: Path) -> LoraConfig:
    stated = read_object(path, _GET)
    if stated.get("peft_type") != "LORA":
        raise UserError(
            f"{path}: an adapter of type {shown(stated.get('peft_type'))} cannot be merged", f"only LORA can; {_PEFT}"
        )
    try:
        config = LoraConfig.model_validate(stated)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise UserError(f"{path} does not describe an adapter ({wrong})", _GET) from error
    used = next((key for key in NOT_MERGEABLE if stated.get(key)), None)
    if used is not None:
        raise UserError(f"{path}: an adapter with {used} cannot be merged tensor by tensor", _PEFT)
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        raise UserError(
            f"{path}: the adapter began as {start}, which changes the base: it does not fit the base as it was",
            "save it with peft's path_initial_model_for_weight_conversion, which makes it fit",
        )
    return config


def _sort(store: TensorStore, path: Path) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Modules to their parts (`a`, `b` ...; `embedding` where they are of that kind), and whole tensors."""
    parts: dict[str, dict[str, str]] = {}
    replacements: dict[str, str] = {}
    for name, info in store.infos().items():
        if info.dtype not in FLOATING:
            raise UserError(f"{path}: tensor {name} has type {info.dtype}", _GET)
        inner = name.removeprefix("base_model.model.")
        match = _PART.fullmatch(inner)
        part = _PARTS.get((match["part"], match["kind"])) if match else None
        if match and part:
            parts.setdefault(match["module"], {})[part] = name
            if "embedding" in match["part"]:
                parts[match["module"]]["embedding"] = name
            continue
        if ".lora_" in inner or ".trainable_tokens_" in inner:
            raise UserError(f"{path}: merging does not know tensor {name}", _PEFT)
        if ".original_module." in inner:  # what the adapter's own module stands in front of
            continue
        plain = re.sub(r"\.(base_layer|modules_to_save(\.default)?)\.", ".", inner)
        if ".modules_to_save." in inner and f"base_model.model.{plain}" in store:  # written twice, equal
            continue
        if plain in replacements:
            raise UserError(f"{path}: {replacements[plain]} and {name} are the same tensor", _GET)
        replacements[plain] = name
    return parts, replacements


def _lora(config: LoraConfig, module: str, parts: Mapping[str, str], store: TensorStore, path: Path) -> Lora:
    if "a" not in parts or "b" not in parts:
        raise UserError(f"{path} has only one of the two matrices of {module}", _GET)
    rank, scale = config.scale_of(module)
    a, b = store.info(parts["a"]).shape, store.info(parts["b"]).shape
    if len(a) != 2 or len(b) != 2:
        raise UserError(f"{path}: the matrices of {module} are {list(a)} and {list(b)}: no matrices", _PEFT)
    if a[0] != rank or b[1] != rank:
        raise UserError(
            f"{path}: the matrices of {module} are {list(a)} and {list(b)}, but {ADAPTER_CONFIG} says rank {rank}", _GET
        )
    if config.use_dora != ("magnitude" in parts):
        says = "use_dora, but there is no" if config.use_dora else "no use_dora, but there is a"
        raise UserError(f"{path}: {ADAPTER_CONFIG} says {says} lora_magnitude_vector of {module}", _GET)
    return Lora(
        module=module,
        rank=rank,
        scale=scale,
        embedding="embedding" in parts,
        a=parts["a"],
        b=parts["b"],
        b_bias=parts.get("b_bias"),
        magnitude=parts.get("magnitude"),
    )
