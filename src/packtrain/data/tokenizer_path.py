"""A tokenizer named by its folder, by its file, or by the model of the package that it belongs to."""

from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.weights.source import EMBEDDED, local_folder

_FILES = ("tokenizer.json", "tokenizer.model")
"""In the order in which a folder's files are looked for."""


def tokenizer_folder(path: Path) -> Path:
    """The folder of a tokenizer: `path` itself, where the file `path` lies, or what `packtrain:NAME` stands for.

    UserError when it is none of these.
    """
    if str(path).startswith(EMBEDDED):
        return local_folder(str(path))
    if path.is_dir():
        return path
    hint = f"give a model folder, or its {' or '.join(_FILES)}"
    if not path.exists():
        raise UserError(f"no tokenizer at {path}", hint)
    if path.name not in _FILES:
        raise UserError(f"{path} is not a tokenizer", hint)
    return path.parent


def tokenizer_at(path: Path) -> Tokenizer:
    """The tokenizer that `path` names, as `tokenizer_folder` has it; UserError when it cannot be read."""
    folder = tokenizer_folder(path)
    if path.name == _FILES[1] and path != folder and (folder / _FILES[0]).exists():
        say(f"note: {folder} holds {_FILES[0]} too, which is used")
    return load_tokenizer(folder)
