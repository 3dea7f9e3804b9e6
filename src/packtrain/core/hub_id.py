"""Ids of models on the Hugging Face Hub, as recipes and commands name them: `owner/name`, `owner/name@revision`."""

import os
import re
from typing import NamedTuple

_REPOSITORY = re.compile(r"\b[\w.-]+\b/\b[\w.-]+\b")
"""As `huggingface_hub.utils.validate_repo_id` has it, with an owner."""


class HubId(NamedTuple):
    """A model on the Hub."""

    repository: str
    """`owner/name`."""
    revision: str | None
    """Branch, tag or commit; None: the default branch."""


def hub_id(path: str) -> HubId | None:
    """What a path means if there is no folder of that name; None for what has not the form of an id."""
    repository, _, revision = path.partition("@")
    return HubId(repository, revision or None) if _REPOSITORY.fullmatch(repository) else None


def on_hub(path: str) -> HubId | None:
    """The same, and None where there is something of that name here: it goes before the Hub."""
    return None if os.path.exists(path) else hub_id(path)  # noqa: PTH110 - False for names that no disk takes
