"""What the doctor says of a model folder, as it is or as the base of a recipe; the checks are `train/doctor_checks`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packtrain.core.progress import say
from packtrain.core.recipe import Recipe
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.train.doctor_checks import Finding

if TYPE_CHECKING:
    from packtrain.train.examined import Examined

MAX_LENGTH_TOKENS = 2048
"""Of data that are looked at without a recipe, where the model's context is not shorter."""
_NEEDED = ("tokenizer", "template", "weights")
"""Parts of a base without which nothing can be trained."""


def model_findings(
    folder: Path,
    recipe: Recipe | None,
    *,
    template: str | None = None,
    data: Path | None = None,
    out: Path | None = None,
) -> list[Finding]:
    """What all checks find; `data` is a conversation file, `out` where the tuned model would be written.

    UserError for data that cannot be read.
    """
    from packtrain.train.doctor import diagnose, load_checks

    examined = _examined(folder, recipe, template)
    return diagnose(replace(_with_data(examined, data) if data else examined, out=out), load_checks())


def errors_before_training(wanted: Wanted) -> list[Finding]:
    """The errors for which training would refuse the recipe's base, as far as they are seen without its data."""
    from packtrain.train.doctor import diagnose, load_checks

    if wanted.base is None:
        return []
    checks = [one for one in load_checks() if one.before_training]
    named = {*_NEEDED, *(one.name for one in checks)}
    found = diagnose(_examined(wanted.base, wanted.recipe, None), checks)
    return [finding for finding in found if finding.severity == "error" and finding.check in named]


def _examined(folder: Path, recipe: Recipe | None, template: str | None) -> "Examined":
    from packtrain.train.examined import examined_folder
    from packtrain.train.stage import PAD_TOKENS

    pad_token = PAD_TOKENS[recipe.family] if recipe else None
    return examined_folder(folder, recipe=recipe, template=template, pad_token=pad_token)


def _with_data(examined: "Examined", file: Path) -> "Examined":
    """The same with the training data as training sees them; UserError for data that cannot be read."""
    from packtrain.prompts.token_cache import Encoding, encode_file

    if examined.tokenizer is None or examined.template is None:
        lacks = "prompt format: --template NAME" if examined.template is None else "tokenizer that can be read"
        say(f"note: the data are not looked at without a {lacks}")
        return examined
    recipe = examined.recipe
    limit = min(examined.context_tokens or MAX_LENGTH_TOKENS, MAX_LENGTH_TOKENS)
    length, mode = (recipe.train.max_length_tokens, recipe.train.encoding) if recipe else (limit, "default")
    encoding = Encoding(examined.template, examined.tokenizer, length, "compat" if mode == "compat" else "default")
    return replace(examined, encoded=encode_file(file, encoding))
