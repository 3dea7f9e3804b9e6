"""Training in one command: a recipe that fits its base, and its data prepared beside the output unless they are there.

`packtrain train RECIPE --out tuned` puts the prepared data into `tuned-data`. They stay there: what was dropped, and
why, can be looked up, and another training of the same data begins at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packtrain.core.conversation import read_conversations
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe
from packtrain.weights.model_files import CONFIG, read_object
from packtrain.weights.source import model_folder

if TYPE_CHECKING:
    from packtrain.train.stage import TrainReport

DEFAULT = "default"
"""The recipe for any base: its length limit gives way to a shorter context."""
LENGTH = "train.max_length_tokens"


def load_fitting_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe; `default` with its length limit lowered to the context of the base, unless `overrides` give one.

    UserError as `load_recipe`, and when `default` must look at a base that is not there.
    """
    recipe = load_recipe(name, overrides)
    if name != DEFAULT or any(override.partition("=")[0] in ("train", LENGTH) for override in overrides):
        return recipe
    from packtrain.train.distributed import is_first_process
    from packtrain.train.examined import Examined

    base = model_folder(recipe.base.path)
    context = Examined(base, config=read_object(base / CONFIG, "fetch or make the folder again")).context_tokens
    if context is None or recipe.train.max_length_tokens <= context:
        return recipe
    if is_first_process():
        say(f"{LENGTH}={context}: the context of {recipe.base.path} is shorter than {recipe.train.max_length_tokens:,}")
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_length_tokens": context})})


def train_recipe(
    recipe: Recipe,
    data: Path | None,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    engine: Engine = Engine(),  # noqa: B008 - frozen
) -> "TrainReport":
    """Tune the recipe's base on `data` and write the model folder `out`; all processes of a launcher call it alike.

    Without `data` the recipe's own sources are prepared into the folder `OUT-data` first, by one process. What is there
    already and unchanged is used as it is; something else there is replaced with `overwrite` alone. UserError for
    anything that the user can mend.
    """
    from packtrain.train.distributed import connected
    from packtrain.train.stage import train

    if data is not None:
        _check_conversations(data)
        return train(recipe, data, out, resume=resume, overwrite=overwrite, engine=engine)
    folder = data_folder(out)
    with connected() as processes:
        if processes.is_first:
            model_folder(recipe.base.path)  # before the data, which may take long
            _prepare(recipe, out, folder, resume=resume, overwrite=overwrite)
        processes.barrier()
        return train(recipe, folder, out, resume=resume, overwrite=overwrite, engine=engine)


def data_folder(out: Path) -> Path:
    """Where the data for the output folder `out` are prepared."""
    return out.resolve().with_name(f"{out.resolve().name}-data")


def _check_conversations(data: Path) -> None:
    """Raise UserError when a file holds something else than conversations; what is no file is left to training."""
    if not data.is_file():
        return
    try:
        next(read_conversations(data), None)
    except UserError as error:
        raise UserError(
            error.message,
            "--data takes prepared conversations; for raw data leave it out and give "
            f"data.sources.NAME.path={data}, or make conversations of them: packtrain data prepare",
        ) from error


def _prepare(recipe: Recipe, out: Path, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the data folder unless it is there and right."""
    from packtrain.data.prepare import prepare
    from packtrain.data.prepared import changes, is_prepared

    if out.exists() and not overwrite:
        raise UserError(f"{out} exists already", "choose another --out, or give --overwrite to replace it")
    if folder.exists():
        if not is_prepared(folder):
            raise UserError(
                f"{folder}, where the data would be prepared, is something else",
                "move it away, or choose another --out",
            )
        changed = changes(folder, recipe.data, recipe.seed)
        if not changed:
            say(f"data: prepared before, in {folder}")
            return
        if not overwrite:
            raise UserError(
                f"{folder} was prepared from other data; changed: {', '.join(changed)}",
                "give --overwrite to prepare and train anew, choose another --out, or train on what is there: "
                f"--data {folder}",
            )
    report = prepare(recipe.data, folder, seed=recipe.seed, overwrite=overwrite, resume=resume, provenance=True)
    held_out = f", {report.held_out:,} held out" if report.held_out else ""
    dropped = sum(source.dropped.total() for source in report.sources.values())
    left_out = f", {dropped:,} left out (see {folder / 'dropped.jsonl'})" if dropped else ""
    say(f"data: {report.train:,} conversations to train on{held_out}{left_out}, in {folder}")
