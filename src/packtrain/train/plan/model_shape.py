"""What a model weighs, from its configuration alone: nothing of its weights is read.

The base need not be there: its `config.json` may be given as a file, be fetched from the Hub, or be one of the shipped
shapes of published bases (bases.yaml).
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml

from packtrain.core.adapter import AdapterSpec
from packtrain.core.errors import UserError
from packtrain.core.hub_id import hub_id
from packtrain.core.recipe import Base
from packtrain.train.flops import Work, work_of
from packtrain.train.objective import decoder_layers
from packtrain.weights.model_files import CONFIG, read_object
from packtrain.weights.source import EMBEDDED, model_folder

_HINT = "give its config.json with --model-config, or base.path=FOLDER"


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A base's configuration, and where it was found."""

    values: dict[str, Any]
    source: str
    folder: Path | None = None
    """The base itself, where it is at hand."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Counts of weights; a weight that is used in two places counts once."""

    architecture: str
    embeddings: int
    """Token and position tables; with the head where it is tied to one."""
    head: int
    """The output head; 0 where it is tied."""
    layers: int
    """How many layers repeat."""
    in_layers: int
    """Weights of all of them, adapters left out."""
    largest_layer: int
    rest: int
    """Whatever is neither: final norms, projections around the layers."""
    trained: int
    """Weights that get gradients: all, or those of the adapter."""
    added: int
    """Weights of the adapter."""
    linear: int
    """Weights of linear layers but the head, which QLoRA keeps in four bits."""
    largest_tensor: int
    context_tokens: int | None
    work: Work

    @property
    def weights(self) -> int:
        """Of the base."""
        return self.embeddings + self.head + self.in_layers + self.rest

    @property
    def outside_layers(self) -> int:
        """Weights that are put together as one under fsdp."""
        return self.embeddings + self.head + self.rest


@cache
def shipped_shapes() -> dict[str, dict[str, Any]]:
    """Configurations of the shipped recipes' bases, by the last part of their path."""
    shapes: dict[str, dict[str, Any]] = yaml.safe_load(
        (files("packtrain.train.plan") / "bases.yaml").read_text(encoding="utf-8")
    )
    return shapes


def find_config(base: Base, given: Path | None = None) -> FoundConfig:
    """The configuration of a recipe's base: from the file `given`, its folder, the shipped shapes, or the Hub."""
    if given is not None:
        file = given / CONFIG if given.is_dir() else given
        return FoundConfig(read_object(file, "give a config.json in the Hugging Face layout"), str(file))
    path = Path(base.path).expanduser()
    if base.path.startswith(EMBEDDED) or (path / CONFIG).is_file():
        folder = model_folder(base.path)
        return FoundConfig(read_object(folder / CONFIG, _HINT), str(folder / CONFIG), folder)
    for name in (base.path, base.name):
        short = name.partition("@")[0].rstrip("/").rpartition("/")[2].lower().removesuffix("-hf").replace(" ", "-")
        if short in shipped_shapes():
            return FoundConfig(shipped_shapes()[short], f"the published shape of {short}")
    return _from_hub(base.path)


def _from_hub(path: str) -> FoundConfig:
    shipped, found = ", ".join(shipped_shapes()), hub_id(path)
    if found is None:
        raise UserError(f"no model folder at {path}", f"{_HINT}; shapes known by name: {shipped}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        file = hf_hub_download(found.repository, CONFIG, revision=found.revision)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path} is neither a folder nor can its {CONFIG} be fetched ({reason})", _HINT) from error
    return FoundConfig(read_object(Path(file), _HINT), f"{CONFIG} of {path}")


def read_config(found: FoundConfig) -> Any:
    """The transformers configuration; UserError when transformers does not know its kind."""
    from transformers import CONFIG_MAPPING

    kind = found.values.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise UserError(f"{found.source}: transformers knows no model_type {kind!r}", "check the file")
    try:
        return CONFIG_MAPPING[kind].from_dict(dict(found.values))
    except Exception as error:  # each kind checks its values in its own way
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{found.source}: {reason}", "check the file") from error


def empty_model(config: Any, adapter: AdapterSpec | None, *, recomputed: bool = False) -> Any:
    """A causal language model of this configuration on the meta device, its adapter in it; UserError without one.

    `recomputed` says that layers are to be computed again in the backward pass.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(type(config).from_dict(config.to_dict()), dtype=torch.float32)
    except Exception as error:  # each architecture fails in its own way on sizes that do not fit together
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"no causal language model of model_type {config.model_type}: {reason}", _HINT) from error
    if adapter is not None:
        from packtrain.train.lora import attach

        attach(model, adapter, checkpointing=recomputed)
    return model


def shape_of(model: Any) -> ModelShape:
    """The counts of an `empty_model`."""
    from packtrain.train.lora import base_name

    config = model.config.get_text_config()
    layers = decoder_layers(model)
    base = {name: weight for name, weight in model.named_parameters() if base_name(name) is not None}
    of_base = {id(weight) for weight in base.values()}
    head = model.get_output_embeddings()
    head_weights = {id(weight) for weight in head.parameters()} if head is not None else set()
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    table_weights = {id(weight): weight.numel() for table in tables for weight in table.parameters()}
    of_layers = [sum(w.numel() for w in layer.parameters() if id(w) in of_base) for layer in layers]
    embeddings, in_layers = sum(table_weights.values()), sum(of_layers)
    own_head = sum(w.numel() for w in base.values() if id(w) in head_weights - set(table_weights))
    total = sum(weight.numel() for weight in base.values())
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    return ModelShape(
        architecture=type(model).__name__,
        embeddings=embeddings,
        head=own_head,
        layers=len(layers),
        in_layers=in_layers,
        largest_layer=max(of_layers, default=0),
        rest=total - embeddings - own_head - in_layers,
        trained=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        added=sum(weight.numel() for weight in model.parameters()) - total,
        linear=sum(module.weight.numel() for module in linear if id(module.weight) in of_base),
        largest_tensor=max(weight.numel() for weight in base.values()),
        context_tokens=getattr(config, "max_position_embeddings", None),
        work=work_of(model),
    )
