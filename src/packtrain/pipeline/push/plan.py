"""What `packtrain push` would send, and to where: looked through whole before anything leaves this machine."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packtrain.core.beside import CARD
from packtrain.core.errors import UserError
from packtrain.core.manifest import NAME, Manifest
from packtrain.pipeline.push.contents import Contents, File, contents
from packtrain.pipeline.push.front_matter import FrontMatter, read_front_matter
from packtrain.pipeline.push.secrets import check_secrets
from packtrain.pipeline.push.tensors import check_tensors

RepoType = Literal["model", "dataset"]
MAIN = "main"
_DATA_STAGES = ("data", "generate")
_MODEL_STAGES = ("train", "diff make", "diff recover", "convert llama", "convert merge-lora")
_DIFF = "diff make"
_WEIGHTS_OF_OTHERS = ("diff recover", "convert llama", "convert merge-lora")
_MOST_PATHS = 5
_REPO = re.compile(r"[A-Za-z0-9][\w-]{0,95}/(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}(?<![-.])(?<!\.git)", re.ASCII)
"""What the Hub takes as OWNER/NAME."""
_BRANCH = re.compile(r"(?!refs/)(?!.*\.\.)[\w.][\w./-]*(?<![/.])", re.ASCII)


@dataclass(frozen=True, slots=True)
class PushPlan:
    """A folder that was found fit to be published, and what becomes of it."""

    folder: Path
    repo: str
    """`owner/name`."""
    repo_type: RepoType
    branch: str
    private: bool
    """Whether the repository is made a private one."""
    gated: bool
    """Whether readers fill in a form, and each is approved by hand."""
    stage: str
    """What made the folder."""
    files: tuple[File, ...]
    left_out: tuple[str, ...]
    card: FrontMatter
    tensors_checked: bool
    """Whether tensors were compared with their record one by one, beside the hashes of files."""
    notes: tuple[str, ...]
    """What a publisher should know."""

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)

    @property
    def url(self) -> str:
        """Where it will be."""
        from huggingface_hub.constants import ENDPOINT

        return f"{ENDPOINT}/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo}"

    def as_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "repo": self.repo,
            "repo_type": self.repo_type,
            "branch": self.branch,
            "url": self.url,
            "private": self.private,
            "gate": "manual" if self.gated else None,
            "stage": self.stage,
            "licence": self.card.licence or None,
            "front_matter": json.loads(json.dumps(self.card.values, default=str)),
            "bytes": self.bytes,
            "files": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in self.files],
            "left_out": list(self.left_out),
            "tensors_checked": self.tensors_checked,
            "notes": list(self.notes),
        }


def plan_push(
    folder: Path,
    repo: str,
    *,
    dataset: bool = False,
    branch: str = MAIN,
    private: bool = False,
    gated: bool = False,
    include: Sequence[str] = (),
    accept: Sequence[str] = (),
) -> PushPlan:
    """What would be published of `folder`; nothing is sent, and nobody is asked.

    `include`: patterns of files to send that packtrain did not make. `accept`: files to send although something in
    them looks like a secret. A card with a form implies `gated`. UserError for a folder that must not be published as
    it is (`contents`, `check_tensors`, `check_secrets`, `read_front_matter`), a bad name of a repository or branch, and
    data that would be sent as a model, or the other way round.
    """
    _check_names(repo, branch)
    folder = folder.expanduser().resolve()
    found = contents(folder, include)
    _check_kind(found.manifest.stage, dataset)
    check_secrets(found.files, accept)
    card = read_front_matter(folder / CARD, dataset=dataset) if (folder / CARD).is_file() else FrontMatter()
    checked = check_tensors(folder, found.manifest)
    return PushPlan(
        folder=folder,
        repo=repo,
        repo_type="dataset" if dataset else "model",
        branch=branch,
        private=private,
        gated=gated or card.has_form,
        stage=found.manifest.stage,
        files=found.files,
        left_out=found.left_out,
        card=card,
        tensors_checked=checked,
        notes=tuple(_notes(folder, found, card, gated)),
    )


def _check_names(repo: str, branch: str) -> None:
    if not _REPO.fullmatch(repo):
        raise UserError(f"--repo {repo} is no name of a repository", "they are called OWNER/NAME: allenai/tulu-65b")
    if not _BRANCH.fullmatch(branch):
        raise UserError(f"--branch {branch!r} is no name of a branch", "branches have names such as v1 or bfloat16")


def _check_kind(stage: str, dataset: bool) -> None:
    if stage in _DATA_STAGES and not dataset:
        raise UserError(f"a folder of packtrain {stage} is data, not a model", "give --dataset")
    if stage in _MODEL_STAGES and dataset:
        raise UserError(f"a folder of packtrain {stage} is a model, not data", "leave --dataset out")
    if stage not in (*_DATA_STAGES, *_MODEL_STAGES):
        raise UserError(
            f"a folder of packtrain {stage} is neither a model nor data",
            "publish a tuned model, a diff, a recovered or converted model, or data; a card goes into that folder",
        )


def _notes(folder: Path, found: Contents, card: FrontMatter, gated: bool) -> Iterator[str]:
    stage, names = found.manifest.stage, [file.name.upper() for file in found.files]
    if not (folder / CARD).is_file():
        how = "packtrain card data" if stage in _DATA_STAGES else "packtrain card"
        yield f"no {CARD}: readers would not know what this is; write one with {how}"
    elif not card.values:
        yield f"{CARD} has no front matter: the Hub would show neither licence nor base"
    elif not card.licence:
        yield "the card names no licence: without one nobody may use the files"
    if card.values and stage in _MODEL_STAGES and not card.values.get("base_model"):
        yield "the card names no base_model"
    tagged = "weight-diff" in (card.values.get("tags") or ())
    if card.values and stage == _DIFF and not tagged:
        yield "the card's tags do not have weight-diff: some will take the diff for a model"
    if tagged and stage in _MODEL_STAGES and stage != _DIFF:
        yield "the card is that of a diff, and these are whole weights: write it anew with packtrain card --model"
    if gated and not card.has_form:
        yield "the card has no form: the Hub will ask for the reader's name and address alone"
    if card.values.get("license") == "other" and not any(name.startswith(("LICENSE", "LICENCE")) for name in names):
        yield "the licence is one of its own (license: other), and no LICENSE file lies beside the card"
    yield from _base_weights(found.manifest)
    yield from _paths(folder)


def _base_weights(manifest: Manifest) -> Iterator[str]:
    """A note where whole weights are sent although only a diff, or nothing, was meant to be."""
    if manifest.stage in _WEIGHTS_OF_OTHERS:
        yield "these files hold the weights of the base: its licence has to allow that"
    release, base = manifest.settings.get("release", {}), manifest.settings.get("base", {})
    if manifest.stage == "train" and "diff" in release.get("form", ""):
        licence = base.get("license") or "not named"
        yield (
            "the recipe publishes a diff, and these are whole weights: the licence of the base has to allow that "
            f"({licence})"
        )


def _paths(folder: Path) -> Iterator[str]:
    """A note of the folders of this machine that the manifest names: they are published with it."""
    text = (folder / NAME).read_text(encoding="utf-8")
    paths = sorted({value for value in _texts(json.loads(text)) if value.startswith(("/", "~")) and "\n" not in value})
    if paths:
        more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
        yield f"{NAME} names places on this machine: {', '.join(paths[:_MOST_PATHS])}{more}"


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value but its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
