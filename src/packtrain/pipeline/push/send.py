"""Sending a folder to the Hub: the repository and its gate first, the files, one commit, and a look at what arrived.

Large files go to the Hub's store one part after the other and appear in the repository with the one commit at the end:
readers see the folder whole or not at all. What is in the repository or in the store already is not sent again, so an
interrupted push goes on where it stopped. The gate is set before the first file is there.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from packtrain.core.beside import CARD
from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.pipeline.push.contents import File
from packtrain.pipeline.push.hub_errors import hub_errors
from packtrain.pipeline.push.plan import MAIN, PushPlan

if TYPE_CHECKING:
    from huggingface_hub import HfApi

GATE: Literal["manual"] = "manual"
"""Each request is looked at by a person; with `auto` the Hub grants every one."""
BYTES_PER_PART = 4_000_000_000
"""Files are handed over in parts of about so many bytes; a larger file is a part of its own."""
_PATHS_PER_REQUEST = 500


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did, and whether the repository holds now what it should."""

    url: str
    commit: str
    """The commit that holds the files, also when nothing had to be sent."""
    created: bool
    """Whether the repository was new."""
    sent: tuple[str, ...]
    """Files that the commit added or changed."""
    already_there: tuple[str, ...]
    """Files that were there before, equal to the byte."""
    others: tuple[str, ...]
    """Files of the repository that the folder does not have; they were left alone."""
    private: bool
    gate: str | None
    """`manual`, `auto` or None, as the Hub has it now."""
    problems: tuple[str, ...]
    """What is not as it should be in the repository after the commit."""

    @property
    def ok(self) -> bool:
        """Whether every file arrived."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self) | {"ok": self.ok}


def push(plan: PushPlan, message: str = "") -> PushReport:
    """Publish a folder as planned, and compare size and hash of every file in the repository with the folder's.

    `message` is that of the commit. UserError when the Hub cannot be reached or refuses, and when the repository is
    there and is public although the plan says private. Then what was sent is kept, and the same call goes on.
    """
    api = _api()
    doing = "cannot publish"
    with hub_errors(plan.repo, doing), _progress_bars():
        created = _repository(api, plan)
        _settings(api, plan)
        if plan.branch != MAIN:
            api.create_branch(plan.repo, branch=plan.branch, repo_type=plan.repo_type, exist_ok=True)
        there = _there(api, plan, plan.branch)
        missing = [file for file in plan.files if not _equal(file, there.get(file.name))]
        commit = _commit(api, plan, missing, message or f"packtrain {plan.stage}: {plan.folder.name}")
        arrived = there if not missing else _there(api, plan, commit)
        info = api.repo_info(plan.repo, repo_type=plan.repo_type, revision=commit)
    problems = [_problem(file, arrived.get(file.name)) for file in plan.files]
    if plan.gated and not info.gated:
        problems.append("the repository is not gated")
    if plan.private and not info.private:
        problems.append("the repository is public")
    names = {file.name for file in plan.files}
    return PushReport(
        url=plan.url,
        commit=commit,
        created=created,
        sent=tuple(file.name for file in missing),
        already_there=tuple(file.name for file in plan.files if file not in missing),
        others=tuple(
            sorted(each.rfilename for each in getattr(info, "siblings", None) or () if each.rfilename not in names)
        ),
        private=bool(info.private),
        gate=info.gated or None,
        problems=tuple(filter(None, problems)),
    )


def _api() -> "HfApi":
    from huggingface_hub import HfApi, get_token

    from packtrain.core.manifest import versions

    if get_token() is None:
        raise UserError(
            "no token for the Hub", "make one that may write at huggingface.co/settings/tokens, then `hf auth login`"
        )
    return HfApi(library_name="packtrain", library_version=versions().get("packtrain"))


@contextmanager
def _progress_bars() -> Iterator[None]:
    """The Hub's own bars on a terminal alone: in a log file they would be thousands of lines."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _repository(api: "HfApi", plan: PushPlan) -> bool:
    """Make sure that the repository is there; whether it was made now. UserError for one that must not be public."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.repo_info(plan.repo, repo_type=plan.repo_type)
    except RepositoryNotFoundError:
        say(f"making {'the private' if plan.private else 'the'} repository {plan.repo}")
        api.create_repo(plan.repo, repo_type=plan.repo_type, private=plan.private, exist_ok=True)
        return True
    if plan.private and not info.private:
        raise UserError(
            f"{plan.repo} exists and is public", "make it private on its settings page, or leave --private out"
        )
    return False


def _settings(api: "HfApi", plan: PushPlan) -> None:
    """Close the gate, unless it is closed already."""
    if plan.gated and not api.repo_info(plan.repo, repo_type=plan.repo_type).gated:
        say("setting the gate")
        api.update_repo_settings(plan.repo, repo_type=plan.repo_type, gated=GATE)


def _there(api: "HfApi", plan: PushPlan, revision: str) -> dict[str, tuple[int, str]]:
    """Name to size and hash of those of the plan's files that are in the repository at a revision."""
    from huggingface_hub.hf_api import RepoFile

    found: dict[str, tuple[int, str]] = {}
    names = [file.name for file in plan.files]
    for start in range(0, len(names), _PATHS_PER_REQUEST):
        paths = names[start : start + _PATHS_PER_REQUEST]
        for each in api.get_paths_info(plan.repo, paths, revision=revision, repo_type=plan.repo_type):
            if isinstance(each, RepoFile):
                found[each.path] = (each.size, each.lfs.sha256 if each.lfs else each.blob_id)
    return found


def _equal(file: File, stated: tuple[int, str] | None) -> bool:
    """Whether the repository's file is the folder's: by SHA-256 for a large one, by git's hash for others."""
    if stated is None or stated[0] != file.size:
        return False
    return stated[1] == (file.sha256 if len(stated[1]) == len(file.sha256) else _git_hash(file))


def _problem(file: File, stated: tuple[int, str] | None) -> str:
    if stated is None:
        return f"{file.name} is not in the repository (does its .gitignore name it?)"
    return "" if _equal(file, stated) else f"{file.name} has other bytes in the repository"


def _git_hash(file: File) -> str:
    """The name of a file's content in git: SHA-1 of `blob SIZE`, a zero byte and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with open(file.path, "rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _commit(api: "HfApi", plan: PushPlan, files: Sequence[File], message: str) -> str:
    """Send files and commit them; the commit, or that of the branch when there is nothing to send."""
    from huggingface_hub import CommitOperationAdd, DatasetCard, ModelCard

    if not files:
        say("everything is there already")
        return str(api.repo_info(plan.repo, repo_type=plan.repo_type, revision=plan.branch).sha)
    if any(file.name == CARD for file in files):  # before anything is sent; the commit would do it, at the end
        (DatasetCard if plan.repo_type == "dataset" else ModelCard).load(plan.folder / CARD).validate(plan.repo_type)
    operations = [CommitOperationAdd(file.name, file.path) for file in files]
    done = 0
    for part in _parts(files):
        size = sum(file.size for file in part)
        say(f"sending {done + 1} to {done + len(part)} of {len(files)} files, {size / 1e6:,.1f} MB")
        api.preupload_lfs_files(
            plan.repo,
            operations[done : done + len(part)],
            repo_type=plan.repo_type,
            revision=plan.branch,
            free_memory=False,
        )
        done += len(part)
    info = api.create_commit(
        plan.repo, operations, commit_message=message, repo_type=plan.repo_type, revision=plan.branch
    )
    return str(info.oid)


def _parts(files: Sequence[File]) -> Iterator[list[File]]:
    part: list[File] = []
    for file in files:
        if part and sum(each.size for each in part) + file.size > BYTES_PER_PART:
            yield part
            part = []
        part.append(file)
    if part:
        yield part
