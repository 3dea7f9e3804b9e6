"""What stands in a diff folder beside its tensors, and opening one of either form."""

import json
import shutil
from collections.abc import Mapping
from importlib.resources import files as package_files
from pathlib import Path

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file
from packtrain.diff.manifest import DiffRecord
from packtrain.diff.model_files import COPIED, copy_model_files, read_config
from packtrain.diff.pairing import ModelFolder, open_model
from packtrain.weights.model_files import CONFIG
from packtrain.weights.safetensors_file import SafetensorsFile
from packtrain.weights.store import TensorStore
from packtrain.weights.weight_file import WeightFile

TUNED = "tuned"
"""Subfolder of an exact diff for the tuned model's configuration and tokenizer."""
MARKED_TYPE = "packtrain-weight-diff"
"""`model_type` in an exact diff's `config.json`: a loader of models stops there, and shows it."""
README = "README.md"


def write_float_files(tuned: Path, partial: Path, base: ModelFolder) -> dict[str, str]:
    """Configuration and tokenizer where the original scripts look for them, and a README; SHA-256 of the former."""
    _write_readme(partial, "float", base)
    return copy_model_files(tuned, partial, "float32")


def write_exact_files(tuned: Path, partial: Path, base: ModelFolder) -> dict[str, str]:
    """Configuration and tokenizer in a subfolder, a `config.json` that stops loaders of models, and a README.

    SHA-256 of all of them but the README, which is meant to be edited.
    """
    (partial / TUNED).mkdir(exist_ok=True)
    for name in (CONFIG, *COPIED):
        if (tuned / name).is_file():
            shutil.copyfile(tuned / name, partial / TUNED / name)
    marked = {
        "model_type": MARKED_TYPE,
        "architectures": [],
        "what_this_is": "a weight diff, not a model: packtrain diff recover BASE THIS_FOLDER OUT gives the model",
    }
    with atomic_file(partial / CONFIG) as file:
        json.dump(marked, file, indent=2)
        file.write("\n")
    _write_readme(partial, "exact", base)
    written = [CONFIG, *(f"{TUNED}/{path.name}" for path in sorted((partial / TUNED).iterdir()))]
    return {name: sha256_of_file(partial / name) for name in written}


def _write_readme(partial: Path, form: str, base: ModelFolder) -> None:
    text = (package_files("packtrain.diff") / "readme.md.txt").read_text(encoding="utf-8")
    name = str(base.config.get("_name_or_path") or base.folder.name)
    repository = name if name.count("/") == 1 and not name.startswith((".", "/")) else ""
    front = f"base_model: {repository}\n" if repository else ""
    with atomic_file(partial / README) as file:
        file.write(
            text.replace("{base_model}", front)
            .replace("{base}", repository or base.folder.name)
            .replace("{form}", form)
        )


def open_diff(folder: Path, record: DiffRecord | None) -> ModelFolder:
    """A diff's tensors and the tuned model's configuration; headers only; UserError when it is not whole."""
    if record is None or record.form == "float":
        return open_model(folder)
    files = {tensor.file for tensor in record.tensors.values()}
    opened: list[WeightFile] = []
    for name in sorted(name for name in files if name is not None):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing", "download the diff again, whole")
        opened.append(SafetensorsFile(folder / name))
    return ModelFolder(folder, read_config(folder / TUNED), TensorStore(folder, opened), {})


def model_files_of(folder: Path, record: DiffRecord | None) -> Path:
    """Where a diff keeps the tuned model's configuration and tokenizer."""
    return folder / TUNED if record is not None and record.form == "exact" else folder


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """UserError naming the first file of `folder` whose SHA-256 is not the recorded one."""
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing", "download the folder again, whole")
        if sha256_of_file(folder / name) != sha256:
            raise UserError(f"{folder / name} is not the file that was published", "download it again")
