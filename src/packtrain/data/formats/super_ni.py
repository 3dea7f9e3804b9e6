"""Super-NaturalInstructions: a folder of tasks, each a JSON file of `Definition`, `Positive Examples` and `Instances`.

The path is a checkout of natural-instructions: `splits/<split>/train_tasks.txt` names the tasks, `tasks/<task>.json`
holds them. Of each task 80 instances are drawn, all of them in file order when there are no more: the first 60 become
a definition with an input, the rest are shown with two solved examples before them. A task with 60 instances or fewer
so has no few-shot round, here as in the original. Tasks whose name contains `_mmmlu_` hold test questions of MMLU and
are dropped.

Ours draws by seed, data set and task, the original from one stream over all tasks: compat repeats the original's
wordings, ids and numbers of rounds, not what it drew. The id of an instance is `<dataset>_<its own id>`. Where the ids
of a task repeat, or do not begin with the task's number as the published ones do, ours make them differ so that none
is taken for a duplicate; compat leaves them.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.about import About
from packtrain.data.conversion import Conversion
from packtrain.data.reading.json_kind import kind_of
from packtrain.data.records import Dropped, Record
from packtrain.data.wording import single_round

ABOUT = About(
    dataset="super_ni",
    title="Super-NaturalInstructions",
    source="https://github.com/allenai/natural-instructions",
    license="apache-2.0",
    citation="wang2022super",
    files=("splits/xlingual/train_tasks.txt", "tasks/*.json"),
    rows=96_913,
    rounds=1.0,
    prompt_tokens=291.1,
    completion_tokens=38.7,
)
FIELDS = ("Definition", "Positive Examples", "Instances")
_TEST_QUESTIONS = "_mmmlu_"
_Item = TypeVar("_Item")


class Options(BaseModel):
    """How much is taken from each task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split: Literal["xlingual", "default"] = "xlingual"
    """Which list of training tasks is read."""
    zero_shot_per_task: int = Field(default=60, ge=0)
    """Instances of a task that become a question without solved examples."""
    few_shot_per_task: int = Field(default=20, ge=0)
    """Further instances, which become a question behind solved examples."""
    examples: int = Field(default=2, ge=0)
    """Solved examples in a few-shot round; all of the task's when it has no more."""


def records(path: Path, conversion: Conversion) -> Iterator[Record]:
    """One record per task of the split, with `task`, its name, and `path`, its file: the file is opened by `convert`.

    Raises UserError when the folder is of another kind or lacks tasks.
    """
    split = path / "splits" / Options.model_validate(conversion.options).split / "train_tasks.txt"
    try:
        tasks = split.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {split}: {getattr(error, 'strerror', None) or 'not valid UTF-8'}",
            f"super_ni reads the folder of {ABOUT.source}, which holds splits/ and tasks/",
        ) from error
    files = {task: path / "tasks" / f"{task}.json" for task in tasks}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(f"{len(missing)} tasks of {split} are not in {path / 'tasks'}: {shown}", "get the whole folder")
    for number, (task, file) in enumerate(files.items()):
        yield Record(number, str(file), {"task": task, "path": str(file)})


def convert(record: Record, conversion: Conversion) -> Iterator[Conversation | Dropped]:
    """The rounds drawn from one task, zero-shot before few-shot, in the order drawn.

    Raises UserError, naming the file, when it is not a task.
    """
    record.require("task", "path")
    name = str(record.fields["task"])
    if _TEST_QUESTIONS in name:
        yield Dropped(name, "holds test questions of MMLU")
        return
    options = Options.model_validate(conversion.options)
    task = _read_task(Path(str(record.fields["path"])))
    generator = random.Random(f"{conversion.seed}:{conversion.dataset}:{name}")
    drawn = _draw(task.instances, options.zero_shot_per_task + options.few_shot_per_task, generator)
    if not drawn:
        yield Dropped(name, "no instances drawn")
    taken: set[str] = set()
    for place, instance in enumerate(drawn):
        given = str(instance.get("id", place)) if isinstance(instance, dict) else str(place)
        identity = f"{conversion.dataset}_{given if conversion.compat else _own_id(given, name, taken)}"
        question, answer = _sides(instance)
        if question is None or answer is None:
            yield Dropped(identity, "instance without input and output")
            continue
        if place < options.zero_shot_per_task:
            messages = single_round(task.definition, question, answer, conversion)
        else:
            examples = _draw(task.examples, options.examples, generator)
            messages = _few_shot(task.definition, examples, question, answer)
        yield Conversation(conversion.dataset, identity, messages)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a task file holds, checked for its kind; examples are pairs of question and answer."""

    definition: str
    examples: list[tuple[str, str]]
    instances: list[Any]


def _read_task(path: Path) -> _Task:
    try:
        fields = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a task: {_fault(error)}", "get the file anew") from error
    if not isinstance(fields, dict) or not set(FIELDS) <= fields.keys():
        found = ", ".join(list(fields)[:12]) or "none" if isinstance(fields, dict) else kind_of(fields)
        raise UserError(
            f"{path} is not a task (found: {found}; expected: {', '.join(FIELDS)})", "get the whole folder anew"
        )
    definitions, examples, instances = (fields[name] for name in FIELDS)
    first = definitions[0] if isinstance(definitions, list) and definitions else definitions
    if not isinstance(first, str) or not isinstance(examples, list) or not isinstance(instances, list):
        raise UserError(f"{path} is not a task", "a definition is text, examples and instances are lists")
    sides = [(_text(example, "input"), _text(example, "output")) for example in examples]
    solved = [(question, answer) for question, answer in sides if question is not None and answer is not None]
    if len(solved) < len(examples):
        raise UserError(f"{path}: a positive example without input and output", "mend or remove the example")
    return _Task(first, solved, instances)


def _fault(error: OSError | ValueError | RecursionError) -> str:
    """What is wrong with a file that cannot be decoded, in words for its user."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON (line {error.lineno}: {error.msg.removesuffix(' at')})"
    if isinstance(error, UnicodeDecodeError):
        return f"not valid UTF-8 (byte {error.start})"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "nested too deeply" if isinstance(error, RecursionError) else "a number of thousands of digits"


def _text(item: object, name: str) -> str | None:
    found = item.get(name) if isinstance(item, dict) else None
    return found if isinstance(found, str) else None


def _sides(instance: object) -> tuple[str | None, str | None]:
    """The input and the first of the outputs; None for one that is not there or no text."""
    outputs = instance.get("output") if isinstance(instance, dict) else None
    answer = outputs[0] if isinstance(outputs, list) and outputs else outputs
    return _text(instance, "input"), answer if isinstance(answer, str) else None


def _draw(items: list[_Item], count: int, generator: random.Random) -> list[_Item]:
    """`count` of the items in the order drawn; all in their own order when there are no more."""
    return generator.sample(items, count) if count < len(items) else items


def _own_id(given: str, task: str, taken: set[str]) -> str:
    """The instance's id, with the task's name or a number added where it would not be the only one of its kind."""
    named = given if given.startswith(task.partition("_")[0] + "-") else f"{task}-{given}"
    identity, copy = named, 2
    while identity in taken:
        identity, copy = f"{named}-{copy}", copy + 1
    taken.add(identity)
    return identity


def _few_shot(definition: str, examples: list[tuple[str, str]], question: str, answer: str) -> tuple[Message, Message]:
    """The definition, solved examples and the open question, as Open-Instruct's `encode_few_shot_example` has it."""
    blocks = [f"Input:\n{asked.strip()}\nOutput:\n{answered.strip()}" for asked, answered in examples]
    asked = "\n\n".join([definition.strip(), *blocks, f"Input:\n{question.strip()}\nOutput:\n"])
    return Message("user", asked), Message("assistant", answer.strip())
