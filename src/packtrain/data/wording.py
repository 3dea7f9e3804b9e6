"""How an instruction, its input and the answer become one question and one answer.

`wordings.yaml` holds the 28 wordings that Open-Instruct draws from. Ours are drawn by a hash of seed, data set and the
record's own text: the same record gets the same wording wherever it stands and whatever stands beside it.
"""

import hashlib
import json
import random
from array import array
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate

import yaml

from packtrain.core.conversation import Conversation, Message
from packtrain.data.conversion import Conversion
from packtrain.data.records import Dropped, Record, not_text


@dataclass(frozen=True, slots=True)
class Layout:
    """One wording. The parts in braces are replaced; text that is put in is never searched for braces."""

    weight: float
    prompt: str
    """Holds `{instruction}` and perhaps `{input}`."""
    completion: str = "{output}"


@dataclass(frozen=True, slots=True)
class Wordings:
    """Layouts of one kind, in the order of the original, with the running sums of their weights."""

    layouts: tuple[Layout, ...]
    running_weights: tuple[float, ...]

    def at(self, point: float) -> Layout:
        """The layout in whose share `point`, from 0 to below 1, falls: the rule of Python's `random.choices`."""
        share = point * self.running_weights[-1]
        return self.layouts[bisect(self.running_weights, share, 0, len(self.layouts) - 1)]


@cache
def wordings(with_input: bool) -> Wordings:
    """The 14 layouts for records with an input, or the 14 for those without."""
    text = (files("packtrain.data") / "wordings.yaml").read_text(encoding="utf-8")
    layouts = tuple(Layout(**entry) for entry in yaml.safe_load(text)["with_input" if with_input else "without_input"])
    return Wordings(layouts, tuple(accumulate(layout.weight for layout in layouts)))


def single_round(
    instruction: str, context: str | None, answer: str, conversion: Conversion, row: int | None = None
) -> tuple[Message, Message]:
    """Question and answer, worded as `conversion.wording` says.

    `apart` changes nothing and keeps the input as the question's context, unless it is absent or "" (an
    input of white space stays: Alpaca's `train.py` tests `input != ""`). `plain` and `random` strip all
    parts and take a blank input for none; `plain` puts blank lines behind instruction and input. With
    `conversion.compat` the wording is `random`, and `row`, the number of the output row from 0, picks it
    as the original does when it converts this set alone; without `row` it is picked as in ours.
    """
    if conversion.wording == "apart" and not conversion.compat:
        return Message("user", instruction, context or None), Message("assistant", answer)
    given = (context or "").strip()
    if conversion.wording == "plain" and not conversion.compat:
        layout = Layout(1.0, "{instruction}\n\n{input}\n\n" if given else "{instruction}\n\n")
    elif conversion.compat and row is not None:
        layout = wordings(bool(given)).at(_original_point(conversion.seed, row))
    else:
        layout = wordings(bool(given)).at(_point(conversion, instruction, given, answer))
    question = layout.prompt.format(instruction=instruction.strip(), input=given)
    return Message("user", question), Message("assistant", layout.completion.format(output=answer.strip()))


def _point(conversion: Conversion, *parts: str) -> float:
    """A number from 0 to below 1, evenly spread over records, the same for the same seed, data set and text."""
    identity = json.dumps([conversion.seed, conversion.dataset, *parts]).encode()
    return int.from_bytes(hashlib.blake2b(identity, digest_size=6).digest(), "big") / 2**48


def _original_point(seed: int, row: int) -> float:
    """The random number that the original draws for an output row, having drawn one for each row before."""
    generator, drawn = _original_stream(seed)
    while len(drawn) <= row:
        drawn.append(generator.random())
    return drawn[row]


@cache
def _original_stream(seed: int) -> "tuple[random.Random, array[float]]":
    """The generator and what it has given so far: 8 bytes a row."""
    return random.Random(seed), array("d")


def single_rounds(
    record: Record, conversion: Conversion, *, question: str, answer: str, context: str | None = None
) -> Iterator[Conversation | Dropped]:
    """The one round that a record holds; its id is `<dataset>_<record number>`.

    `question`, `answer` and `context` name fields. Dropped when one of them is not text; UserError when
    the question's or the answer's is missing.
    """
    record.require(question, answer)
    identity = f"{conversion.dataset}_{record.number}"
    asked, answered = record.fields[question], record.fields[answer]
    given = record.fields.get(context) if context else None
    wrong = not_text((question, asked), (answer, answered), (context or "", "" if given is None else given))
    if wrong:
        yield Dropped(identity, wrong)
        return
    yield Conversation(
        conversion.dataset, identity, single_round(asked, given, answered, conversion, row=record.number)
    )
