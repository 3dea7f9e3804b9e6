"""The judge's answers on disk, each before it is used, so that none is paid twice.

JSON Lines: one per answer, in the order of arrival, under a digest of judge, prompt and limit. A line that a crash or
an editor broke is dropped, counted and asked again.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from packtrain.core.atomic import fsync_folder
from packtrain.core.errors import UserError
from packtrain.core.progress import say

FINISH_TOO_LONG = "too long"
"""In the place of a finish reason: the prompt did not fit into the judge's context, so that there is no answer."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer of a judge."""

    key: str
    """Of the request."""
    judge: str
    ids: tuple[str, ...]
    """The pairs compared, in the order in which they were shown."""
    answer_first: tuple[bool, ...]
    """Of each pair, whether the answer stood before the reference."""
    text: str
    finish_reason: str
    prompt_tokens: int
    """As the judge counts them; by rule of thumb where it does not tell."""
    completion_tokens: int

    @property
    def too_long(self) -> bool:
        """Whether the prompt did not fit into the judge's context."""
        return self.finish_reason == FINISH_TOO_LONG


class JudgeLog:
    """The answers in a file by key; a context manager that holds it open and locked.

    Raises UserError when another run has it or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Judged] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = open(path, "a+b")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}", "check the path and its permissions") from error

    def __enter__(self) -> "JudgeLog":
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        fsync_folder(self.path.parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, answer: Judged) -> None:
        """Write and sync one answer; when this returns, the answer survives a crash."""
        self._file.write(json.dumps(asdict(answer)).encode("ascii") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.answers[answer.key] = answer

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{self.path} is in use by another run", "wait until that run has ended") from error

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        broken = 0
        for line in content.split(b"\n"):
            if line.strip():
                answer = _answer(line)
                if answer is None:
                    broken += 1
                else:
                    self.answers[answer.key] = answer
        self._end_last_line(content)
        if broken:
            say(f"note: {broken} lines of {self.path} cannot be read (an interrupted write?); asking these again")

    def _end_last_line(self, content: bytes) -> None:
        """What comes next begins on a line of its own: a torn last line goes, a whole one gets its line feed."""
        whole = content.rfind(b"\n") + 1
        last = content[whole:]
        if last and _answer(last) is None:
            self._file.truncate(whole)
        elif last:
            self._file.write(b"\n")


def answers_in(path: Path) -> dict[str, Judged]:
    """The answers in a log by key, which stays as it is; none where there is no log."""
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    return {answer.key: answer for line in lines if (answer := _answer(line)) is not None}


def _answer(line: bytes) -> Judged | None:
    """The answer in a line; None when it holds none."""
    try:
        record = json.loads(line)
        answer = Judged(**{**record, "ids": tuple(record["ids"]), "answer_first": tuple(record["answer_first"])})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (answer.key, answer.judge, answer.text, answer.finish_reason, *answer.ids)
    counts = (answer.prompt_tokens, answer.completion_tokens)
    good = all(isinstance(text, str) for text in texts) and all(isinstance(count, int) for count in counts)
    return answer if good else None
