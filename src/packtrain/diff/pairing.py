"""Pre-flight: which base tensors belong to which tensor of a model, known from headers alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packtrain.core.errors import UserError
from packtrain.diff.causes import likely_cause
from packtrain.diff.model_files import read_config
from packtrain.weights.info import FLOATING, TensorInfo
from packtrain.weights.store import TensorStore, open_store
from packtrain.weights.vocabulary import is_token_table, tied_as_stored, tied_names

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
    """As the tuned model has it (float form: the diff, whose shape is the same)."""
    base: tuple[str, ...]
    """Base tensors in the order in which they are subtracted or added; empty: none."""
    grown_rows: int = 0
    computed: bool = False
    """The base's value is not in its files but follows from its configuration (rotary buffer)."""


@dataclass(frozen=True)
class Rules:
    """What may differ between a model and its base."""

    max_grown_rows: int | None = None
    """Rows that the base's token tables may lack; None: any number."""
    keeps_what_differs: bool = False
    """A tensor that the base lacks, or has in another shape, stands for itself."""
    prefix: str = ""
    """Before the base's names in the model."""
    once: bool = False
    """A tied tensor belongs to the base's tensor of its first name alone, and not once to that of each name."""


def open_model(folder: Path, as_stored: bool = False) -> ModelFolder:
    """The model in `folder`, headers only; UserError when it is not one.

    Also when it holds types that are no weights, unless everything is taken `as_stored`: then a table that
    the configuration ties to another, but that the files hold apart, is a tensor of its own too.
    """
    store = open_store(folder)
    config = read_config(folder)
    if not len(store):
        raise UserError(f"{folder} holds no tensors", "give the folder of a Hugging Face model, downloaded whole")
    for name, info in store.infos().items():
        if info.dtype not in FLOATING and not as_stored:
            raise UserError(
                f"{folder}: tensor {name} has type {info.dtype}",
                f"differences are made of weights in {', '.join(FLOATING)}; a quantised model has no diff",
            )
    return ModelFolder(folder, config, store, (tied_as_stored if as_stored else tied_names)(store, config))


def pair_with_base(model: ModelFolder, base: ModelFolder, role: str, rules: Rules) -> list[Pair]:
    """A pair for every tensor of `model` that is not tied to another, found by name.

    `role` is what errors call the model (`tuned model`, `diff`). UserError that names the first tensor
    that is missing, superfluous or of another shape, and the likely cause.
    """
    pairs = [_pair(model, base, name, role, rules) for name in model.own_names()]
    used = {target for pair in pairs for name in pair.base if (target := base.find(name)) is not None}
    present = {target for name in [*model.store, *model.tied] if (target := base.find(name.removeprefix(rules.prefix)))}
    for name in base.own_names():
        if name not in used | present and not name.endswith(ROTARY_BUFFER):
            raise UserError(
                f"the {role} {model.folder} has no tensor {name}, which the base {base.folder} has",
                likely_cause(model.config, base.config) or f"the {role} is not of this base, or not downloaded whole",
            )
    return pairs


def _pair(model: ModelFolder, base: ModelFolder, name: str, role: str, rules: Rules) -> Pair:
    info = model.store.info(name)
    names = [name, *(alias for alias, target in model.tied.items() if target == name)][: 1 if rules.once else None]
    found = [base.find(each.removeprefix(rules.prefix)) for each in names]
    sources = tuple(each for each in found if each is not None)
    if len(sources) < len(names):
        if name.endswith(ROTARY_BUFFER):
            return Pair(info, (), computed=True)
        if rules.keeps_what_differs:
            return Pair(info, ())
        raise UserError(
            f"the base {base.folder} has no tensor {names[found.index(None)]}, which the {role} {model.folder} has",
            likely_cause(model.config, base.config) or "give the base model that it was tuned from, downloaded whole",
        )
    lacking = {_lacking_rows(model, base, info, source, role, rules) for source in sources}
    if len(lacking) > 1:
        raise UserError(f"tied tensor {name} has base tensors of different shapes: {sources}", "give the right base")
    rows = lacking.pop()
    return Pair(info, (), 0) if rows is None else Pair(info, sources, rows)


def _lacking_rows(
    model: ModelFolder, base: ModelFolder, info: TensorInfo, source: str, role: str, rules: Rules
) -> int | None:
    """Rows by which a base tensor is shorter; None when the tensor stands for itself.

    UserError when growth does not explain how the shapes differ.
    """
    shape = base.store.info(source).shape
    if shape == info.shape:
        return 0
    lacking = info.shape[0] - shape[0] if info.shape and shape else 0
    may_grow = is_token_table(info.name) and len(shape) == 2 and shape[1:] == info.shape[1:] and 0 not in shape
    if may_grow and lacking > 0 and (rules.max_grown_rows is None or lacking <= rules.max_grown_rows):
        return lacking
    if rules.keeps_what_differs:
        return None
    theirs = f"{list(info.shape)} in the {role} {model.folder}"
    message = f"tensor {info.name} is {theirs}, {list(shape)} in the base {base.folder}"
    if not may_grow:
        raise UserError(message, likely_cause(model.config, base.config) or "the base is of another size or kind")
    if lacking < 0:
        raise UserError(
            message,
            f"the base has {-lacking} more token rows: were the two folders swapped, "
            "or is the base itself a tuned model or a diff?",
        )
    raise UserError(
        message,
        f"scripts of this family add {rules.max_grown_rows} token row (32000 become 32001), here {lacking} are "
        "missing: another base (older conversion, Llama-2), or a diff of another family: see --family"
        if rules.max_grown_rows
        else "this family of diffs adds no token rows: another base, or another family: see --family",
    )
