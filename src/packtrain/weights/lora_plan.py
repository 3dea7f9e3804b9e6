"""What becomes of every tensor of a base when an adapter is merged into it, known from headers alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packtrain.core.errors import UserError
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, sha256_of_pieces
from packtrain.weights.info import FLOATING, TensorInfo
from packtrain.weights.lora_adapter import Adapter, Lora
from packtrain.weights.store import TensorStore
from packtrain.weights.vocabulary import OUTPUT_TABLES, is_token_table, tied_names

_PREFIXES = ("model.", "transformer.", "gpt_neox.")
"""transformers takes names with and without the prefix of the inner model."""

CONV1D = {
    "gpt2": ("c_attn", "q_attn", "c_proj", "c_fc"),
    "openai-gpt": ("c_attn", "c_proj", "c_fc"),
    "imagegpt": ("c_attn", "q_attn", "c_proj", "c_fc"),
    "decision_transformer": ("c_attn", "q_attn", "c_proj", "c_fc"),
}
"""`model_type` to the modules whose weights are `[in, out]` (transformers' Conv1D)."""

_HINT = "give the base model that the adapter was trained on"


@dataclass(slots=True)
class Change:
    """What an adapter does to one tensor."""

    replacement: str | None = None
    """The adapter's tensor that takes its place first."""
    lora: Lora | None = None
    """The matrices whose product is added to it."""
    transposed: bool = False
    """It is `[in, out]`, not `[out, in]`."""
    bias_of: Lora | None = None
    """The module whose bias of B is added to it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One tensor of the merged model."""

    info: TensorInfo
    """As the sources have it: the type is not yet the wanted one."""
    store: TensorStore
    source: str
    """The tensor of `store` from which it starts."""
    change: Change = field(default_factory=Change)


@dataclass(frozen=True)
class Plan:
    """All tensors of the merged model, in the order of the base's files, and what its configuration has to say."""

    targets: tuple[Target, ...]
    config: Mapping[str, Any]
    untied: bool
    """The output table was the input table and has become one of its own."""
    token_rows_added: int

    @property
    def merged(self) -> list[Target]:
        """Tensors to which something is added."""
        return [each for each in self.targets if each.change.lora or each.change.bias_of]

    @property
    def replaced(self) -> list[Target]:
        """Tensors that the adapter brings whole."""
        return [each for each in self.targets if each.change.replacement]


def plan_merge(base: TensorStore, config: Mapping[str, Any], adapter: Adapter) -> Plan:
    """The plan; UserError that names the first tensor of the adapter that the base lacks or that does not fit.

    A tensor of the base is found by its name, or by its name with or without the prefix of the inner model.
    Where the output table is the input table, and the adapter changes one of the two alone, or the two in
    different ways, the merged model gets an output table of its own: nothing else computes what base and
    adapter compute.
    """
    if config.get("quantization_config"):
        raise UserError(f"the base {base.folder} is quantised", "merge into the base in its original type")
    tied = tied_names(base, config)
    changes = _changes(base, tied, adapter)
    separate = _separate(base, tied, changes, adapter)
    sources = {name: name for name in base} | {name: tied[name] for name in separate if name not in base}
    targets = [_target(base, name, source, changes.get(name), config, adapter) for name, source in sources.items()]
    rows_added, rows = _grown(base, targets, sources)
    stated = dict(config) if rows is None else {**config, "vocab_size": rows}
    own_output = any(name.endswith(OUTPUT_TABLES) for name in sources if name not in tied or name in separate)
    if own_output and any(is_token_table(name) for name in changes):
        stated["tie_word_embeddings"] = False
    return Plan(tuple(targets), stated, bool(separate), rows_added)


def _changes(base: TensorStore, tied: Mapping[str, str], adapter: Adapter) -> dict[str, Change]:
    """Name of a tensor of the base to what is done to it."""
    changes: dict[str, Change] = {}

    def change_of(name: str, of: str) -> Change:
        spellings = [name, *(name.removeprefix(p) for p in _PREFIXES), *(p + name for p in _PREFIXES)]
        found = next((each for each in spellings if each in base or each in tied), None)
        if found is None:
            raise UserError(f"the base {base.folder} has no tensor {name} for {of} of {adapter.folder}", _HINT)
        return changes.setdefault(found, Change())

    for plain, name in adapter.replacements.items():
        change_of(plain, f"tensor {name}").replacement = name
    for lora in adapter.loras:
        change = change_of(f"{lora.module}.weight", f"tensor {lora.a}")
        if change.lora is not None:
            raise UserError(f"{adapter.folder}: {change.lora.a} and {lora.a} are of the same module", _HINT)
        change.lora = lora
        if lora.b_bias is not None:
            change_of(f"{lora.module}.bias", f"tensor {lora.b_bias}").bias_of = lora
    return changes


def _separate(base: TensorStore, tied: Mapping[str, str], changes: dict[str, Change], adapter: Adapter) -> list[str]:
    """Tied names that become tensors of their own; `changes` of the others follow the tensor they stand for."""
    separate = []
    for alias, name in tied.items():
        if alias not in changes and name not in changes:
            continue
        _share_base(changes, alias, name, adapter)
        if (adapter.config.ensure_weight_tying and name in changes) or _same(adapter, changes[alias], changes[name]):
            changes[alias] = changes[name]
        else:
            separate.append(alias)
    return separate


def _share_base(changes: dict[str, Change], alias: str, name: str, adapter: Adapter) -> None:
    """Give both of two tied tensors the base's weight that an adapter brings under the name of one.

    Where the base itself was changed (its rows, above all) the two are still tied; a module that the adapter
    has for itself (`modules_to_save`) is not.
    """
    one, other = changes.setdefault(alias, Change()), changes.setdefault(name, Change())
    for here, there in ((one, other), (other, one)):
        if here.replacement is None and there.replacement in adapter.of_base:
            here.replacement = there.replacement


def _same(adapter: Adapter, one: Change, other: Change) -> bool:
    """Whether two tensors are replaced by equal ones."""
    if one.lora or other.lora or not one.replacement or not other.replacement:
        return False
    store, names = adapter.store, (one.replacement, other.replacement)
    headers = {(store.info(name).dtype, store.info(name).shape) for name in names}
    return len(headers) == 1 and len({sha256_of_pieces(store.chunks(name, CHUNK_ELEMENTS)) for name in names}) == 1


def _target(
    base: TensorStore, name: str, source: str, change: Change | None, config: Mapping[str, Any], adapter: Adapter
) -> Target:
    old = base.info(source)
    if change is None:
        return Target(TensorInfo(name, old.dtype, old.shape), base, source)
    if old.dtype not in FLOATING:
        raise UserError(f"{base.folder}: tensor {name} has type {old.dtype}: the base is quantised", _HINT)
    info, store = old, base
    if change.replacement:
        info, store, source = adapter.store.info(change.replacement), adapter.store, change.replacement
        skip = 1 if is_token_table(name) or is_token_table(f"{name.removesuffix('bias')}weight") else 0
        if len(info.shape) != len(old.shape) or info.shape[skip:] != old.shape[skip:]:
            raise _does_not_fit(adapter, change.replacement, info.shape, base, name, old.shape)
    if change.lora:
        a, b = (adapter.store.info(each).shape for each in (change.lora.a, change.lora.b))
        change.transposed = _is_transposed(change.lora, config, adapter)
        made = (a[1], b[0]) if change.transposed else (b[0], a[1])
        if info.shape != made:
            raise _does_not_fit(adapter, change.lora.b, made, base, name, info.shape)
        _check_vector(adapter, change.lora.magnitude, (b[0],), base, name)
    if change.bias_of:
        _check_vector(adapter, change.bias_of.b_bias, info.shape, base, name)
    return Target(TensorInfo(name, old.dtype, info.shape), store, source, change)


def _is_transposed(lora: Lora, config: Mapping[str, Any], adapter: Adapter) -> bool:
    """Whether a weight is stored `[in, out]`: what the module is decides, as in peft, not what the adapter says.

    Models with code of their own are not known; there the adapter is believed.
    """
    if lora.embedding:
        return True
    if config.get("model_type") in CONV1D:
        return lora.module.rpartition(".")[2] in CONV1D[config["model_type"]]
    return adapter.config.fan_in_fan_out and bool(config.get("auto_map"))


def _check_vector(adapter: Adapter, name: str | None, shape: tuple[int, ...], base: TensorStore, target: str) -> None:
    if name is not None and adapter.store.info(name).shape != shape:
        raise _does_not_fit(adapter, name, adapter.store.info(name).shape, base, target, shape)


def _does_not_fit(
    adapter: Adapter, name: str, shape: tuple[int, ...], base: TensorStore, target: str, wanted: tuple[int, ...]
) -> UserError:
    return UserError(
        f"{adapter.folder}: {name} is made for a tensor {list(shape)}, but {target} of {base.folder} is {list(wanted)}",
        _HINT,
    )


def _grown(base: TensorStore, targets: list[Target], sources: Mapping[str, str]) -> tuple[int, int | None]:
    """Token rows that the adapter adds, and how many there are then; None when it changes nothing."""
    tables = {each.info.name: each.info.shape[0] for each in targets if is_token_table(each.info.name)}
    changed = {name: rows for name, rows in tables.items() if rows != base.info(sources[name]).shape[0]}
    if not changed:
        return 0, None
    first, rows = next(iter(changed.items()))
    other = next((name for name, count in tables.items() if count != rows), None)
    if other is not None:
        raise UserError(
            f"the adapter gives {first} {rows} token rows, but {other} has {tables[other]}",
            "it was saved without one of its token tables: save both (save_embedding_layers=True)",
        )
    return rows - base.info(sources[first]).shape[0], rows
