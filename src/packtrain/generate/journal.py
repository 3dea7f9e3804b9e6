"""The journal: every answer on disk before it is used, so that none is ever asked for, or paid, twice.

JSON Lines: first the settings that decide what is asked, then one line per answer in the order of
arrival. A line counts once it is complete; what a crash cut off in mid-line was never used and is
removed when the journal is opened again.
"""

import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from packtrain.core.atomic import fsync_folder, mark_stage
from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError

NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    request: int
    prompt_sha256: str
    """Digest of the prompt as a JSON string: an answer is used for this very prompt alone."""
    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class Journal:
    """The answers of a run by request number; a context manager that holds the file open and locked.

    Raises UserError when the journal belongs to a run with other settings, is damaged, or is in use.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / NAME
        self.answers: dict[int, Answer] = {}
        self._file = open(self.path, "a+b")  # noqa: SIM115 - closed by __exit__
        try:
            self._lock()
            self._remove_torn_line()
            self._read(settings)
        except BaseException:
            self._file.close()
            raise
        fsync_folder(folder)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def find(self, request: int, prompt_sha256: str) -> Answer | None:
        """The answer to a request, if it is there; UserError when it was given to another prompt."""
        answer = self.answers.get(request)
        if answer is not None and answer.prompt_sha256 != prompt_sha256:
            raise UserError(
                f"{self.path}: request {request} was another prompt than it would be now",
                "resume with the version of packtrain that began the run, or give --overwrite to start again",
            )
        return answer

    def add(self, answer: Answer) -> None:
        """Write and sync one answer; when this returns, the answer survives a crash."""
        self._write(asdict(answer))
        self.answers[answer.request] = answer

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record).encode("ascii") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{self.path} is in use by another run", "wait until that run has ended") from error

    def _remove_torn_line(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)
        os.fsync(self._file.fileno())

    def _read(self, settings: dict[str, Any]) -> None:
        lines = list(read_json_lines(self.path))
        if not lines:
            self._write(settings)
            return
        found = lines[0][1]
        differing = [key for key in settings if not isinstance(found, dict) or found.get(key) != settings[key]]
        if differing:
            raise UserError(
                f"{self.path} was made with other settings: {', '.join(differing)}",
                "resume with the same model, seeds, prompt, seed and sampling, or give --overwrite to start again",
            )
        for number, record in lines[1:]:
            try:
                answer = Answer(**record)
            except TypeError as error:
                raise UserError(
                    f"{self.path}:{number}: not an answer ({error})", "remove the line to ask again"
                ) from error
            self.answers[answer.request] = answer


def keep_answers(out: Path, model: str, seed: int) -> bool:
    """Make the answers of an earlier run in `out` usable for a resume; whether there are any.

    An interrupted run left them in `OUT.partial`; a finished one has them in `OUT`, from where they
    are copied. Answers of another model or seed are left alone.
    """
    partial = out.with_name(out.name + ".partial")
    for folder in (partial, out):
        path = folder / NAME
        if not path.is_file():
            continue
        settings: Any = next((record for _, record in read_json_lines(path)), {})
        if settings.get("model") == model and settings.get("seed") == seed:
            if folder == out:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                mark_stage(partial, "generate")
                shutil.copy(path, partial / NAME)
            return True
    return False
