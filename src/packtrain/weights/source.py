"""Where a model is: a folder on disk, or a Hub repository fetched into the Hugging Face cache."""

from importlib.resources import files
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.hub_id import hub_id

EMBEDDED = "packtrain:"
"""Before the name of a model that the package itself ships: `packtrain:demo_base`."""


def model_folder(path: str) -> Path:
    """The local folder of a model; a Hub id (`org/name`, with `@revision` if wanted) is fetched first.

    `packtrain:NAME` is a model that the package ships.
    `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured. UserError when there is
    neither a folder nor a repository, or when the folder holds no `config.json`.
    """
    folder = local_folder(path)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} holds no config.json",
            "give a folder in the Hugging Face layout (config.json, model.safetensors, tokenizer.json ...)",
        )
    return folder


def local_folder(path: str) -> Path:
    """The same for a folder of any kind (an adapter has no `config.json`): nothing in it is looked for."""
    if path.startswith(EMBEDDED):
        folder = Path(str(files("packtrain"))) / "assets" / path.removeprefix(EMBEDDED)
    else:
        folder = Path(path).expanduser()
    return folder if folder.is_dir() else _fetch(path)


def _fetch(path: str) -> Path:
    hint = "check the path; a Hub id looks like org/name and needs the network once (HF_TOKEN for gated ones)"
    found = hub_id(path)
    if "/" not in path:
        hint = f"give a folder that is there (the base of a recipe: base.path=FOLDER); {hint.partition('; ')[2]}"
    if found is None:
        raise UserError(f"no model folder at {path}", hint)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(found.repository, revision=found.revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{path} is neither a folder nor a Hub repository that can be fetched ({reason})", hint
        ) from error
