"""What stands beside the weights of a model folder: configuration and tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file

CONFIG = "config.json"
COPIED = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
)


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder; UserError when it is missing or not a JSON object."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "give the folder of a Hugging Face model") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON", "get the file again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a JSON object", "get the file again")
    return config


def copy_model_files(source: Path, destination: Path, dtype: str | None) -> dict[str, str]:
    """Copy configuration and tokenizer; SHA-256 of each file written.

    The configuration states `dtype` if one is given, and is otherwise copied byte for byte.
    """
    config = read_config(source)
    if dtype is None:
        shutil.copyfile(source / CONFIG, destination / CONFIG)
    else:
        stated = [key for key in ("dtype", "torch_dtype") if key in config] or ["torch_dtype"]
        with atomic_file(destination / CONFIG) as file:
            json.dump(config | dict.fromkeys(stated, dtype), file, indent=2, ensure_ascii=False)
            file.write("\n")
    copied = [CONFIG]
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, destination / name)
            copied.append(name)
    return {name: sha256_of_file(destination / name) for name in copied}
