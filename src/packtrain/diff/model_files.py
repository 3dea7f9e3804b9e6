"""What stands beside the weights of a model folder: configuration and tokenizer."""

import shutil
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file
from packtrain.prompts.template import PromptTemplate, folder_template, load_template
from packtrain.prompts.tokenizer import load_tokenizer
from packtrain.weights.model_files import CONFIG, GENERATION_CONFIG, TOKENIZER_FILES, read_object, write_object

COPIED = (GENERATION_CONFIG, *TOKENIZER_FILES)
"""What is copied beside the configuration, where it is there."""


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder; UserError when it is missing or not a JSON object."""
    return read_object(folder / CONFIG, "give the folder of a Hugging Face model, downloaded whole")


def copy_model_files(source: Path, destination: Path, dtype: str | None) -> dict[str, str]:
    """Copy configuration and tokenizer; SHA-256 of each file written.

    The configuration states `dtype` if one is given, and is the same to the byte otherwise.
    """
    if dtype is None:
        shutil.copyfile(source / CONFIG, destination / CONFIG)
    else:
        config = read_config(source)
        stated = [key for key in ("dtype", "torch_dtype") if key in config] or ["torch_dtype"]
        write_object(destination / CONFIG, config | dict.fromkeys(stated, dtype))
    copied = [CONFIG]
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, destination / name)
            copied.append(name)
    return {name: sha256_of_file(destination / name) for name in copied}


def format_to_add(source: Path, name: str | None) -> PromptTemplate | None:
    """The prompt format `name`, for a model whose files bring none; UserError when they do, or for an unknown name."""
    if name is None:
        return None
    chosen = load_template(name)
    if folder_template(source) is not None:
        raise UserError(f"{source} brings a prompt format of its own", "leave --template out")
    return chosen


def add_format(folder: Path, template: PromptTemplate | None) -> dict[str, str]:
    """Store a prompt format where chats and servers look for it; SHA-256 of the file written, if any."""
    if template is None:
        return {}
    file = folder / "chat_template.jinja"
    with atomic_file(file) as text:
        text.write(template.chat_template(load_tokenizer(folder).first_token))
    return {file.name: sha256_of_file(file)}
