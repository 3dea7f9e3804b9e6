"""A tokenizer named by its folder or by its file."""

from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer

_FILES = ("tokenizer.json", "tokenizer.model")
"""In the order in which a folder's files are looked for."""


def tokenizer_folder(path: Path) -> Path:
    """The folder of a tokenizer: `path` itself, or where the file `path` lies; UserError when it is neither."""
    if path.is_dir():
        return path
    hint = f"give a model folder, or its {' or '.join(_FILES)}"
    if not path.exists():
        raise UserError(f"no tokenizer at {path}", hint)
    if path.name not in _FILES:
        raise UserError(f"{path} is not a tokenizer", hint)
    return path.parent


def tokenizer_at(path: Path) -> Tokenizer:
    """The tokenizer of a folder, or of a `tokenizer.json` or `tokenizer.model`; UserError when it cannot be read."""
    folder = tokenizer_folder(path)
    if path.name == _FILES[1] and path != folder and (folder / _FILES[0]).exists():
        say(f"note: {folder} holds {_FILES[0]} too, which is used")
    return load_tokenizer(folder)
