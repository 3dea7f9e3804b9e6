"""A command line of Stanford Alpaca's train.py, read as its argument parser read it, with everything wrong in it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from packtrain.cli.train_py.flags import FLAGS, NEEDED, SECRETS, TRUTH, WITH_EFFECT, WITHOUT_EFFECT, Kind


@dataclass(frozen=True, slots=True)
class Flags:
    """A command line that was read."""

    values: Mapping[str, Any]
    """Of all flags, defaults included."""
    given: Mapping[str, str]
    """Those that were typed, in their order, as text."""

    def spelled(self, name: str) -> str:
        """A flag with its value as on the command line, or with its default."""
        value = self.values[name]
        default = " ".join(value) if isinstance(value, tuple) else str(value)
        return f"--{name} {shlex.quote(self.given.get(name, default))}"


def parse(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """The flags of a command line, and everything that is wrong with it, each in a few words.

    `--flag value`, `--flag=value`, and `--flag` alone or `--no_flag` for truths; `-` in a name is `_`. Of a flag
    that is given twice the last counts, as it did.
    """
    values: dict[str, Any] = {name: flag.default for name, flag in FLAGS.items()}
    given: dict[str, str] = {}
    problems: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if not _is_flag(word):
            problems.append(f"{word!r} belongs to no flag (a value with spaces needs quotes)")
            continue
        spelled, equals, text = word.partition("=")
        name = spelled.lstrip("-").replace("-", "_")
        turned_off = name.removeprefix("no_")
        off = name not in FLAGS and turned_off in FLAGS and FLAGS[turned_off].kind is TRUTH and not equals
        if name not in FLAGS and not off:
            problems.append(f"unknown flag {spelled}{_meant(name)}")
            while left and not _is_flag(left[0]):
                left.pop(0)
            continue
        words = ["False"] if off else [text] if equals else _words(FLAGS[name].kind, left)
        name = turned_off if off else name
        given[name] = "..." if name in SECRETS else " ".join(words)
        try:
            values[name] = _value(FLAGS[name].kind, words)
        except ValueError:
            found = given[name] or "nothing"
            problems.append(f"--{name} takes {FLAGS[name].kind.what}, not {found}")
    problems += [f"--{name} is missing: {what}" for name, what in NEEDED.items() if not values[name]]
    return Flags(values, given), problems


def help_text() -> str:
    """What `--help` prints: the flags with an effect, then the others with the reason."""
    lines = ["python train.py --model_name_or_path ... --data_path ... --output_dir ... [--FLAG VALUE] ...", ""]
    lines.append("torchrun --nproc_per_node=N train.py ... uses N GPUs. Flags that decide something:")
    for name, flag in WITH_EFFECT.items():
        default = "" if flag.default in (None, ()) else f" (default: {flag.default})"
        lines.append(f"  --{name:<36} {flag.kind.what}{default}")
    lines += ["", "Flags that are taken and have no effect:"]
    lines += [f"  {why}:\n    {' '.join(f'--{name}' for name in kinds)}" for why, kinds in WITHOUT_EFFECT]
    return "\n".join([*lines, "", "New: --debug shows tracebacks.", ""])


def _is_flag(word: str) -> bool:
    return re.match(r"--?[A-Za-z]", word) is not None


def _words(kind: Kind, left: list[str]) -> list[str]:
    """The words that belong to a flag, taken from `left`."""
    taken: list[str] = []
    while left and not _is_flag(left[0]) and (kind.words == "several" or not taken):
        taken.append(left.pop(0))
    return taken or (["True"] if kind.words == "optional" else [])


def _value(kind: Kind, words: Sequence[str]) -> Any:
    if not words:
        raise ValueError
    if kind.words == "several":
        return tuple(part for word in words for part in word.split())
    return kind.read(words[0])


def _meant(name: str) -> str:
    begun = [flag for flag in FLAGS if flag.startswith(name)]
    close = begun[:1] or get_close_matches(name, FLAGS, n=1)
    return f" (did you mean --{close[0]}?)" if close else ""
