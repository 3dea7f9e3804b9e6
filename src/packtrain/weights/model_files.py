"""JSON and tokenizer files that stand beside the weights of a model folder."""

import json
import shutil
from pathlib import Path
from typing import Any

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
VOCABULARY_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
)


def read_object(path: Path, hint: str) -> dict[str, Any]:
    """The JSON object in a file; UserError with `hint` when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON", hint) from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object", hint)
    return value


def write_object(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, atomically."""
    with atomic_file(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def copy_tokenizer(base: Path, newer: Path, destination: Path) -> list[str]:
    """Copy the tokenizer files of `base`, those of `newer` winning; the names that were copied.

    A vocabulary in `newer` brings its whole tokenizer: files of two tokenizers are not mixed. Without one,
    single files of `newer` (a chat template, say) take the place of the base's.
    """
    sources = [newer] if any((newer / name).is_file() for name in VOCABULARY_FILES) else [base, newer]
    found = {name: source / name for source in sources for name in TOKENIZER_FILES if (source / name).is_file()}
    for name, path in found.items():
        shutil.copyfile(path, destination / name)
    return list(found)


def file_hashes(folder: Path, names: list[str]) -> dict[str, str]:
    """SHA-256 of each named file of a folder."""
    return {name: sha256_of_file(folder / name) for name in names}
