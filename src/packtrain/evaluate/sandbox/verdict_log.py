"""Verdicts that were reached, kept as they come: nothing is run twice, and a kill loses at most what was running."""

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.evaluate.sandbox.program import Verdict


class VerdictLog:
    """The verdicts in a file by digest of the program, held by one process alone; UserError when another holds it.

    A line is `{"item", "program", "verdict", "detail"}`; equal programs share one. Lines that cannot be read are
    dropped, counted, and their programs run again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(f"another command is writing {path}", "wait until it has ended") from error
        self.known, bad = _read(path)
        if bad:
            say(f"note: {bad} lines of {path} cannot be read (an interrupted write?); running their programs again")
            self._file.write("\n")  # what comes next begins on a line of its own

    def __enter__(self) -> "VerdictLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, program: str, item: str, verdict: Verdict) -> None:
        """Keep a verdict; when this returns, it survives a kill."""
        self.known[program] = verdict
        record = {"item": item, "program": program, "verdict": verdict.kind, "detail": verdict.detail}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


def verdicts_in(path: Path) -> dict[str, Verdict]:
    """The verdicts in a log by digest of the program; none where there is no log."""
    return _read(path)[0] if path.exists() else {}


def take_over(earlier: Path, path: Path, programs: Iterable[tuple[str, str]]) -> None:
    """Add to the log `path` the verdicts of another one on `programs`, each an item and a digest, that it lacks."""
    known = verdicts_in(earlier)
    found = {program: item for item, program in programs if program in known}
    if found:
        with VerdictLog(path) as log:
            for program, item in found.items():
                if program not in log.known:
                    log.add(program, item, known[program])


def _read(path: Path) -> tuple[dict[str, Verdict], int]:
    """Verdicts, and how many lines are none."""
    found, bad = {}, 0
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                record = json.loads(line)
                found[record["program"]] = Verdict(record["verdict"], record["detail"])
            except (ValueError, KeyError, TypeError):
                bad += 1
    return found, bad
