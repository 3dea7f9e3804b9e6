"""What a recipe asks for, and whether its base is on this machine; nothing is fetched to find that out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.hub_id import hub_id
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe
from packtrain.pipeline.judge import NOBODY, Judge
from packtrain.pipeline.train_recipe import DEFAULT, load_fitting_recipe
from packtrain.weights.source import EMBEDDED, model_folder
from packtrain.weights.weight_index import all_weights_are_in

STAGE = "stage:"
"""Before the name of the stage that makes a data source: `stage:generate`."""
GENERATED = f"{STAGE}generate"
"""A data source with this path reads what the recipe's own `generate` stage made."""


@dataclass(frozen=True)
class Wanted:
    """A recipe, and what is known of the way in which it will be run."""

    recipe: Recipe
    base: Path | None
    """Folder of the base; None when it is not on this machine."""
    engine: Engine = field(default_factory=Engine)
    work: Path | None = None
    """Where the outputs will lie."""
    has_teacher: bool = False
    """Whether somebody brings the model that `generate` asks."""
    judge: Judge = NOBODY
    """Who compares answers."""


def is_hub_id(path: str) -> bool:
    """Whether a model's path that is no folder here is taken for an id of the Hub."""
    return hub_id(path) is not None


def at_hand(path: str) -> Path | None:
    """The folder of a model that is on this machine or whole in the Hub's cache; None when it has to be fetched.

    UserError for a folder here without `config.json`.
    """
    if path.startswith(EMBEDDED) or Path(path).expanduser().is_dir():
        return model_folder(path)
    found = hub_id(path)
    if found is None:
        return None
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(found.repository, revision=found.revision, local_files_only=True))
    except Exception:  # not in the cache: the Hub's library says so in several ways
        return None
    whole = (folder / "config.json").is_file() and all_weights_are_in(folder)
    return folder if whole else None  # a fetch that was interrupted goes on


def here(path: str) -> Path | None:
    """The same, and None for a folder that holds no model."""
    try:
        return at_hand(path)
    except UserError:
        return None


def load_recipe_here(name: str, overrides: Sequence[str], *, fetch: bool = False) -> Recipe:
    """The recipe; `default` fitted to its base where that is on this machine, or may be fetched from the Hub.

    UserError as `load_recipe`.
    """
    recipe = load_recipe(name, overrides)
    path = recipe.base.path
    if name == DEFAULT and (here(path) is not None or (fetch and is_hub_id(path))):
        return load_fitting_recipe(name, overrides)
    return recipe
