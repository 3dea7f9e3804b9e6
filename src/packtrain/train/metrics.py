"""`metrics.jsonl`: one JSON object per optimizer step, and the trackers that get the same figures.

Only the first process writes. The file is the record; a tracker is a convenience, so nothing that befalls a tracker
stops training.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from sys import float_info
from types import TracebackType
from typing import Any, Protocol

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.extras import imported
from packtrain.core.folder import module
from packtrain.core.progress import say

Figures = dict[str, Any]
"""What one step measured: a line of `metrics.jsonl`."""
TRACKERS = "packtrain.train.trackers"
_SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password|credentials?)$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


class Tracker(Protocol):
    """Where figures go beside the file: what `open_run` of a module in `trackers/` returns."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take the figures of a step: flat names, finite numbers."""

    def close(self) -> None:
        """Write out what is waiting."""


class MetricsLog:
    """Appends the figures of each step to a file, where they are readable at once, and passes them on to trackers."""

    def __init__(self, path: Path, trackers: Iterable[Tracker] = ()) -> None:
        """Open `path` behind what it holds; call `figures_so_far` before, so that this is what was done."""
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._trackers = list(trackers)

    def write(self, figures: Mapping[str, Any]) -> None:
        """Append one line; a number that is not finite is written as null, which every reader of JSON understands."""
        self._file.write(json.dumps(_plain(figures), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        scalars = flat(figures)
        for tracker in list(self._trackers):
            try:
                tracker.log(int(figures["step"]), scalars)
            except Exception as error:
                self._trackers.remove(tracker)
                say(f"note: {_told(tracker, error)} and gets no more figures; metrics.jsonl does")

    def sync(self) -> None:
        """Make the lines durable: before a checkpoint, so that it never knows of a step that the file has not."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and every tracker."""
        self._file.close()
        for tracker in self._trackers:
            try:
                tracker.close()
            except Exception as error:
                say(f"note: {_told(tracker, error)} and may lack the last figures; metrics.jsonl has all")
        self._trackers.clear()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def figures_so_far(path: Path, step: int) -> list[Figures]:
    """The figures of the steps up to `step`; every other line is taken off the file, which is replaced whole.

    Off go the lines of steps that will be done again, and what a kill left half written. A missing file is one
    without lines. Figures that are lost are told and stop nothing: the checkpoint, not this file, says where a run is.
    """
    text = path.read_bytes() if path.exists() else b""
    kept: dict[int, bytes] = {}
    for line in text.split(b"\n"):
        figures = _figures(line)
        if figures is not None and 1 <= figures["step"] <= step:
            kept[figures["step"]] = line
    wanted = b"".join(kept[number] + b"\n" for number in sorted(kept))
    if wanted != text:
        with atomic_file(path, "wb") as file:
            file.write(wanted)
    if len(kept) < step:
        say(f"note: {path} has the figures of {len(kept)} of the {step} steps that are done")
    return [json.loads(kept[number]) for number in sorted(kept)]


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError for a tracker that there is not or whose package is missing: before a model is loaded."""
    for name in dict.fromkeys(names):
        module(TRACKERS, name, "tracker").require()


def open_trackers(names: Sequence[str], folder: Path, config: Mapping[str, Any], done: int = 0) -> list[Tracker]:
    """The trackers of these names (modules of `trackers/`), open for a run in `folder` of which `done` steps are done.

    `config` is what the run is about, the resolved recipe; what looks like a secret in it is left out. UserError
    when a package is missing or a tracker cannot be opened: before training, not after hours of it.
    """
    opened: list[Tracker] = []
    for name in dict.fromkeys(names):
        try:
            opened.append(module(TRACKERS, name, "tracker").open_run(folder, shareable(config), done))
        except Exception as error:
            for each in opened:
                each.close()
            if isinstance(error, UserError):
                raise
            reason = _reason(error)
            raise UserError(
                f"cannot open {name} ({reason})", "see what it says, or leave engine.trackers out"
            ) from error
    return opened


def tracker_module(name: str, tracker: str) -> Any:
    """The module `name` of a tracker's package; UserError when that is not installed, with the extra of its name."""
    return imported(name, tracker, f"engine.trackers={tracker}", "leave it out: metrics.jsonl is written always")


def flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a line, but for its step, by name; those of an inner object as `loss_by_dataset/NAME`."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and abs(value) <= float_info.max and prefix + name != "step":
            found[prefix + name] = float(value)
    return found


def shareable(config: Any) -> Any:
    """The same nested value without secrets: values of keys that name one, and logins in addresses."""
    if isinstance(config, Mapping):
        return {str(key): "..." if _SECRET.search(str(key)) else shareable(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [shareable(value) for value in config]
    return _LOGIN.sub("...@", config) if isinstance(config, str) else config


def _figures(line: bytes) -> Figures | None:
    """The figures in a line of the file; None when it is no whole line of ours."""
    try:
        figures = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(figures, dict) and isinstance(figures.get("step"), int)
    return figures if whole else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def _told(tracker: Tracker, error: Exception) -> str:
    return f"{type(tracker).__module__.rpartition('.')[2]} failed ({_reason(error)})"


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
