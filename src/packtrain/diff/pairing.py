"""Pre-flight: which base tensors belong to which tensor of a model, known from headers alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError
from packtrain.diff.manifest import DIFF_FILE, DiffRecord, DiffTensor, Stored
from packtrain.diff.model_files import read_config
from packtrain.weights.info import FLOATING, TensorInfo
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.vocabulary import is_token_table, tied_names

ROTARY_BUFFER = "rotary_emb.inv_freq"
"""Computed from the configuration; checkpoints of 2023 hold it, later ones do not."""

_PREFIXES = ("model.", "transformer.", "gpt_neox.")
"""transformers takes names with and without the prefix of the inner model; original OPT files have none."""


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk: configuration, lazy tensors, and which names are tied to which."""

    folder: Path
    config: Mapping[str, Any]
    store: TensorStore
    tied: Mapping[str, str]

    def own_names(self) -> list[str]:
        """Names of the tensors that are not tied to another one, in the order of the files."""
        return [name for name in self.store if name not in self.tied]

    def find(self, name: str) -> str | None:
        """The tensor that `name` means here, ties followed and inner prefixes forgiven; None when there is none."""
        spellings = [name, *(name.removeprefix(p) for p in _PREFIXES), *(p + name for p in _PREFIXES)]
        for spelling in spellings:
            target = self.tied.get(spelling, spelling)
            if target in self.store:
                return target
        return None


@dataclass(frozen=True)
class Pair:
    """One tensor of a tuned model or diff, and what of the base belongs to it."""

    info: TensorInfo
    base: tuple[str, ...]
    """Base tensors in the order in which they are subtracted or added; empty: none."""
    grown_rows: int = 0
    computed: bool = False
    """The base's value is not in its files but follows from its configuration (rotary buffer)."""


def open_model(folder: Path) -> ModelFolder:
    """The model in `folder`, headers only; UserError when it is not one, or holds types that are no weights."""
    store = open_store(folder)
    config = read_config(folder)
    for name, info in store.infos().items():
        if info.dtype not in FLOATING:
            raise UserError(
                f"{folder}: tensor {name} has type {info.dtype}",
                f"differences are made of weights in {', '.join(FLOATING)}; a quantised model has no diff",
            )
    return ModelFolder(folder, config, store, tied_names(store, config))


def refuse_confusion(base: Path, other: Path, out: Path, other_name: str) -> None:
    """UserError when two of the folders are the same, or when the base is itself a diff."""
    if base.resolve() == other.resolve():
        raise UserError(f"base and {other_name} are the same folder: {base}", f"give the base, then the {other_name}")
    for given in (base, other):
        if out.resolve() == given.resolve() or given.resolve().is_relative_to(out.resolve()):
            raise UserError(f"the output folder {out} would replace the input {given}", "choose another --out")
    if (base / DIFF_FILE).exists():
        raise UserError(
            f"the base {base} is itself a diff (it has a {DIFF_FILE})",
            "give the original base model first, then the " + other_name,
        )


def pair_with_base(model: ModelFolder, base: ModelFolder, role: str, max_grown_rows: int | None) -> list[Pair]:
    """A pair for every tensor of `model` that is not tied to another, found by name.

    `role` is what errors call the model (`tuned model`, `diff`). At most `max_grown_rows` rows may be
    missing in the base's token tables (None: any number). UserError that names the first tensor that is
    missing, superfluous or of another shape, and the likely cause.
    """
    pairs = [_pair(model, base, name, role, max_grown_rows) for name in model.own_names()]
    used = {name for pair in pairs for name in pair.base}
    for name in base.own_names():
        if name not in used and not name.endswith(ROTARY_BUFFER):
            raise UserError(
                f"the {role} {model.folder} has no tensor {name}, which the base {base.folder} has",
                _likely_cause(model, base) or f"the {role} is not of this base, or not downloaded whole",
            )
    return pairs


def _pair(model: ModelFolder, base: ModelFolder, name: str, role: str, max_grown_rows: int | None) -> Pair:
    info = model.store.info(name)
    names = [name, *(alias for alias, target in model.tied.items() if target == name)]
    found = [base.find(each) for each in names]
    sources = tuple(each for each in found if each is not None)
    if len(sources) < len(names):
        if name.endswith(ROTARY_BUFFER):
            return Pair(info, (), computed=True)
        raise UserError(
            f"the base {base.folder} has no tensor {names[found.index(None)]}, which the {role} {model.folder} has",
            _likely_cause(model, base) or "give the base model that it was tuned from, downloaded whole",
        )
    lacking = {_lacking_rows(model, base, info, source, role, max_grown_rows) for source in sources}
    if len(lacking) > 1:
        raise UserError(f"tied tensor {name} has base tensors of different shapes: {sources}", "give the right base")
    return Pair(info, sources, lacking.pop())


def _lacking_rows(
    model: ModelFolder, base: ModelFolder, info: TensorInfo, source: str, role: str, max_grown_rows: int | None
) -> int:
    """Rows by which a base tensor is shorter; UserError when growth does not explain how the shapes differ."""
    shape = base.store.info(source).shape
    if shape == info.shape:
        return 0
    theirs = f"{list(info.shape)} in the {role} {model.folder}"
    message = f"tensor {info.name} is {theirs}, {list(shape)} in the base {base.folder}"
    if not is_token_table(info.name) or len(shape) != 2 or shape[1:] != info.shape[1:]:
        raise UserError(message, _likely_cause(model, base) or "the base is of another size or kind")
    lacking = info.shape[0] - shape[0]
    if lacking < 0:
        raise UserError(
            message,
            f"the base has {-lacking} more token rows: were the two folders swapped, "
            "or is the base itself a tuned model or a diff?",
        )
    if max_grown_rows is not None and lacking > max_grown_rows:
        raise UserError(
            message,
            f"scripts of the Alpaca family add {max_grown_rows} token row (32000 become 32001), here {lacking} are "
            "missing: another base (older conversion, Llama-2), or a diff of another family, whose rule is unknown",
        )
    return lacking


def _likely_cause(model: ModelFolder, base: ModelFolder) -> str | None:
    """What the two configurations say against each other; None when they agree."""
    for key, what in (
        ("model_type", "architectures"),
        ("num_hidden_layers", "numbers of layers"),
        ("hidden_size", "widths"),
        ("num_key_value_heads", "numbers of key-value heads"),
    ):
        theirs, ours = model.config.get(key), base.config.get(key)
        if theirs is not None and ours is not None and theirs != ours:
            return f"different {what}: the base says {key} {ours}, the other {theirs}; give the base it was tuned from"
    return None


def pair_by_record(diff: ModelFolder, base: ModelFolder, record: DiffRecord) -> list[Pair]:
    """A pair for every tensor of a diff as its `diff.json` says; UserError where the headers of diff or base differ."""
    for name in diff.own_names():
        if name not in record.tensors:
            raise UserError(f"the diff {diff.folder} has a tensor {name} that {DIFF_FILE} does not know", _GET_DIFF)
    pairs = []
    for name, tensor in record.tensors.items():
        if name not in diff.store:
            raise UserError(f"the diff {diff.folder} lacks tensor {name}", _GET_DIFF)
        _check_header(diff.store.info(name), tensor.diff, "diff", diff, _GET_DIFF)
        for source in tensor.base:
            _check_growth(diff, name, record.base.get(source), tensor)
        pairs.append(Pair(diff.store.info(name), tensor.base, tensor.grown_rows))
    for name, expected in record.base.items():
        found = base.find(name)
        likely = _likely_cause(diff, base)
        if found is None:
            raise UserError(f"the base {base.folder} lacks tensor {name}", likely or _GET_BASE)
        _check_header(base.store.info(found), expected, "base", base, likely or _GET_BASE)
    return pairs


def _check_growth(diff: ModelFolder, name: str, base: Stored | None, tensor: DiffTensor) -> None:
    """Raise UserError when a record contradicts itself about a base tensor and the rows that it lacks."""
    shape = list(base.shape) if base is not None else []
    if shape and tensor.grown_rows:
        shape[0] += tensor.grown_rows
    if base is None or shape != list(tensor.diff.shape):
        raise UserError(f"{diff.folder / DIFF_FILE} contradicts itself about the base of tensor {name}", _GET_DIFF)


_GET_DIFF = "download the diff again, whole"
_GET_BASE = "give the base model that the diff was made with, in its original type"


def _check_header(info: TensorInfo, expected: Stored, role: str, model: ModelFolder, hint: str) -> None:
    if not expected.same_header(info):
        raise UserError(
            f"tensor {info.name} is {info.dtype} {list(info.shape)} in the {role} {model.folder}, "
            f"but {DIFF_FILE} says {expected.dtype} {list(expected.shape)}",
            hint,
        )
