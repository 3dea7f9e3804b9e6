"""What a judge is asked: a text with places for instruction, input and the two outputs.

The form is that of AlpacaFarm and AlpacaEval: a text file with `{instruction}`, `{input}`, `{output_1}` and
`{output_2}`, each as often as comparisons go into one prompt, perhaps in ChatML (`<|im_start|>system` ...). A wording
without `{input}` is shown the instruction with the input behind it, a blank line between, as AlpacaEval does. The
marks of ChatML are taken off and what the parts say is joined by blank lines, because a model is asked with one text.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from packtrain.core.errors import UserError

Form = Literal["pair", "batch"]
"""AlpacaEval's judge (one pair per prompt, a ranking), AlpacaFarm's greedy one (several comparisons per prompt,
`Output (a)` or `Output (b)` for each)."""
FORMS: tuple[Form, ...] = ("pair", "batch")
MAX_NEW_TOKENS: dict[Form, int] = {"pair": 100, "batch": 250}
"""AlpacaEval's alpaca_eval_gpt4 and AlpacaFarm's greedy_gpt4."""
_OWN: dict[Form, tuple[str, ...]] = {"pair": ("pair.txt",), "batch": ("batch.txt", "batch_input.txt")}
_PLACE = re.compile(r"\{(instruction|input|output_1|output_2)\}")
_CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)
_VERDICT = "Output (a)"
_HINT = "a wording is a text file like those of AlpacaFarm or AlpacaEval, with {instruction}, {output_1} and {output_2}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two outputs to one instruction, in the order in which the judge sees them."""

    instruction: str
    input: str
    output_1: str
    output_2: str


PADDING = Comparison("2+2=", "", "4", "5")
"""Fills the last prompt up, as AlpacaFarm does with such a sum; its verdict is thrown away."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One text with places for `size` comparisons."""

    text: str
    size: int
    with_input: bool
    """Whether the input has a place of its own."""

    def prompt(self, comparisons: Sequence[Comparison]) -> str:
        """The text with its places filled, by padding where there are fewer comparisons than places.

        What is put in is never searched for places: the original replaces the first `{input}` in the text so far,
        which may stand in an instruction.
        """
        filled = [*comparisons, *[PADDING] * (self.size - len(comparisons))]
        values = {name: _values(name, filled, self.with_input) for name in _places(self.text)}
        return _PLACE.sub(lambda place: next(values[place[1]]), self.text)


@dataclass(frozen=True, slots=True)
class Wordings:
    """What a judge is asked, for comparisons without and with an input."""

    without_input: Wording
    with_input: Wording


def joined(instruction: str, given: str) -> str:
    """Instruction and input as one text, a blank line between, as AlpacaEval writes them."""
    return f"{instruction}\n\n{given}" if given else instruction


def _values(name: str, comparisons: Sequence[Comparison], with_input: bool) -> Iterator[str]:
    for comparison in comparisons:
        if name == "instruction" and not with_input:
            yield joined(comparison.instruction, comparison.input)
        else:
            value: str = getattr(comparison, name)
            yield value


def _places(text: str) -> Counter[str]:
    return Counter(_PLACE.findall(text))


def load_wordings(form: Form, path: Path | None = None) -> Wordings:
    """The wordings in `path`, by default our own.

    `path` is a file, or a folder of two `.txt` files, one with `{input}` and one without. UserError when something in
    it is no wording, or one of another form: a ranking compares one pair per prompt.
    """
    if path is None:
        own = files("packtrain.evaluate.judging")
        found = [_parse((own / name).read_text(encoding="utf-8"), name) for name in _OWN[form]]
    else:
        found = _found(path)
    with_input = [wording for wording in found if wording.with_input]
    without = [wording for wording in found if not wording.with_input]
    if not found or len(with_input) > 1 or len(without) > 1:
        raise UserError(f"{path} holds {len(found)} wordings", "one file, or one with {input} and one without")
    if form == "pair" and any(wording.size != 1 for wording in found):
        raise UserError(f"{path} has places for several pairs", "use the form batch, or a wording for one pair")
    return Wordings(*(without or with_input), *(with_input or without))


def form_of(path: Path) -> Form:
    """The form of answer that a wording asks for, in a file or folder as for `load_wordings`.

    `batch` where it has places for several comparisons or names the verdict `Output (a)`, as those of AlpacaFarm for
    one comparison do; else `pair`. UserError when something in it is no wording.
    """
    batch = any(wording.size > 1 or _VERDICT in wording.text for wording in _found(path))
    return "batch" if batch else "pair"


def _found(path: Path) -> list[Wording]:
    return [_read(one) for one in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]


def _read(path: Path) -> Wording:
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", _HINT) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start})", _HINT) from error


def _parse(text: str, name: str) -> Wording:
    """The wording in a file's text, without the marks of ChatML; UserError naming the file."""
    turns = [content.strip("\n") for role, content in _CHATML.findall(text) if role != "assistant"]
    plain = "\n\n".join(turns) if turns else text
    counts = _places(plain)
    missing = [place for place in ("instruction", "output_1", "output_2") if not counts[place]]
    if missing:
        raise UserError(f"{name}: no place for {', '.join(missing)}", _HINT)
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{place} {count}" for place, count in counts.items())
        raise UserError(f"{name}: places differ in number ({said})", "each must be there once per comparison")
    return Wording(plain, counts["instruction"], "input" in counts)
