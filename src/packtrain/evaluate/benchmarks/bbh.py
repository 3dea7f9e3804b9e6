"""BIG-Bench Hard (arXiv 2210.09261): 27 tasks after three demonstrations, with and without their reasoning.

Data: `bbh/bbh/TASK.json` and `bbh/cot-prompts/TASK.txt` of suzgunmirac/BIG-Bench-Hard (MIT). The prompts begin with a
canary line, which is not shown: it stays with the data, which must never become training data.

Which items: the 2023 script drew 40 of each file from one generator seeded with 42, in whatever order its file system
listed the files. Here the files come in order of name, everything else alike. So the number of items, the tasks and the
method are the authors'; which 40 of a task cannot be, because a draw depends on the sizes of the files before it.
Profile `fixed` asks every item.

How an answer is read, `paper-2023` (exactly as the script):

- the text before the first blank line, leading ones aside, is all that counts;
- in it, what stands between the first `So the answer is ` and the next period of that line, else the whole of it;
- of an endpoint's answer all that it says is read, as it was of OpenAI's models;
- compared without case and ASCII punctuation. So all brackets are alike and signs vanish, which makes two tasks
  (dyck_languages, multistep_arithmetic_two) easier than they are.

The script's stop texts were nested one level too deep and never took effect. None is given here either: a stop at the
blank line would also act on one that leads the answer, and no stop text can tell the two apart.

Profile `fixed`: the direct demonstrations lose the final period of their answers; generation stops where the next
question of the prompt would begin, and the conclusion is looked for in all that was said (without one, the first
paragraph is the answer); brackets count where the right answer is made of them, and a minus before a digit does.

The column is the mean over the tasks, each counting alike, however many items it has.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from random import Random

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.score import Score
from packtrain.evaluate.benchmark import Answer, Grade, Item, Outcome, Request, Setting
from packtrain.evaluate.data_files import HINT, json_of, text_of
from packtrain.evaluate.means import macro
from packtrain.evaluate.numbers import equal_text

TASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)
DRAWN, SEED = 40, 42
MAX_NEW_TOKENS = 512
CONCLUSION = "So the answer is"
NEXT_QUESTION = "\n\nQ:"
CONCLUDED = re.compile(rf"{CONCLUSION} (.*?)\.")
BRACKETS = "()[]{}<>"
BESIDE_BRACKETS = str.maketrans("", "", "".join(set(string.punctuation) - set(BRACKETS)))
NUMBER_SIGN = r"(?<!\w)-\.?\d"
"""The minus of a negative number, not one between two words or numbers."""
BESIDE_SIGNS = re.compile(rf"(?!{NUMBER_SIGN})[{re.escape(string.punctuation)}]")


class BigBenchHard:
    """The columns `bbh:direct` and `bbh:cot`."""

    columns: tuple[str, ...] = ("bbh:direct", "bbh:cot")
    version = 1
    outcome: Outcome = "read"

    def items(self, folder: Path, setting: Setting) -> list[Item]:
        """The drawn items of each task, or all of them, called `TASK/INDEX` after their place in the task's file."""
        tasks, prompts = folder / "bbh" / "bbh", folder / "bbh" / "cot-prompts"
        _check_tasks(tasks, ".json")
        _check_tasks(prompts, ".txt")
        random = Random(SEED)
        items = []
        for task in TASKS:
            examples = _examples(tasks / f"{task}.json")
            shown = demonstrations(prompts / f"{task}.txt", setting)
            indices: Sequence[int] = range(len(examples))
            if setting.profile == "paper-2023" and not setting.full and len(examples) > DRAWN:
                indices = random.sample(indices, DRAWN)
            for index in indices:
                question, target = examples[index]
                content = {"demonstrations": shown, "input": question, "target": target}
                items.append(Item(f"{task}/{index}", content, task))
        return items

    def request(self, item: Item, setting: Setting) -> Request:
        """Description and demonstrations of the task, then the question; the answer begins with `A:`."""
        question = f"{item.content['demonstrations'].strip()}\n\nQ: {item.content['input']}"
        mended = setting.profile == "fixed"
        return Request(
            messages=(Message("user", question),) if setting.chat else (),
            text="A:" if setting.chat else f"{question}\nA:",
            max_new_tokens=MAX_NEW_TOKENS,
            stop=(NEXT_QUESTION,) if mended else (),
            first_token=mended,
        )

    def grade(self, item: Item, answers: Sequence[Answer], setting: Setting) -> Grade:
        """1 when the conclusion of the first answer is the right one as the profile compares them."""
        mended = setting.profile == "fixed"
        target = item.content["target"]
        found = conclusion(answers[0].text, everywhere=mended, whole=setting.endpoint and not mended)
        right = equal_answers(found, target) if mended else equal_text(found, target)
        return Grade(item.id, float(right), found, "equal" if right else f"expected {target!r}", item.group)

    def total(self, grades: Sequence[Grade], setting: Setting) -> Score:
        """Mean over the tasks in percent; `details` has each task's own."""
        percent, n, error, tasks = macro(grades)
        notes = []
        if setting.profile == "paper-2023" and not setting.full:
            notes.append(f"{DRAWN} items of each task, drawn in order of names: the authors' draw is lost")
        if len(tasks) < len(TASKS):
            notes.append(f"mean of {len(tasks)} tasks, not {len(TASKS)}")
        details = {f"task/{task}": value for task, value in tasks.items()}
        return Score(setting.column, percent, n, error, setting.profile, self.version, details, notes)


def conclusion(text: str, *, everywhere: bool = False, whole: bool = False) -> str:
    """What an answer concludes: between `So the answer is ` and the next period of the line, else its first paragraph.

    It is looked for in the first paragraph, or `everywhere`. `whole`: the answer is read as if it were one paragraph.
    """
    first = text.strip() if whole else text.strip().split("\n\n")[0].strip()
    match = CONCLUDED.search(text if everywhere else first)
    return match.group(1).strip() if match else first


def equal_answers(found: str, target: str) -> bool:
    """Whether two answers are equal without case, kind of white space, and punctuation that means nothing.

    Where the right answer has no letter or digit, brackets are what it says, and spaces between them are nothing. The
    minus of a negative number counts always.
    """
    if not any(character.isalnum() for character in target):
        return _brackets(found) == _brackets(target)
    return _words(found) == _words(target)


def _brackets(text: str) -> str:
    return "".join(text.lower().translate(BESIDE_BRACKETS).split())


def _words(text: str) -> list[str]:
    return BESIDE_SIGNS.sub("", text.lower()).split()


def publishers_answer(text: str, *, cot: bool) -> str:
    """What the publishers of the benchmark compare, to the letter, with the target: not a column of the cards.

    With reasoning, what stands behind the last `he answer is `, without white space around it and without final
    periods; else the whole answer without white space around it. Gives the accuracies in the published outputs
    (code-davinci-002-outputs of the data's repository).
    """
    return text.rpartition("he answer is ")[2].strip().rstrip(".") if cot else text.strip()


def demonstrations(path: Path, setting: Setting) -> str:
    """The prompt file of a task without its canary; for `bbh:direct` the answers without their reasoning.

    Paragraphs that are no question stay as they are. UserError when the file does not begin with
    the canary and a rule, or when a demonstration does not end in a conclusion.
    """
    lines = text_of(path, "demonstrations of a BBH task").split("\n", 2)
    if len(lines) < 3 or "canary" not in lines[0].lower() or not lines[1].strip() or lines[1].strip("- "):
        raise UserError(f"{path} does not begin with the canary line and a line of dashes", HINT)
    if setting.column == "bbh:cot":
        return lines[2]
    fields = lines[2].split("\n\n")
    return "\n\n".join(
        _without_reasoning(field, path, setting) if field.startswith("Q:") else field for field in fields
    )


def _without_reasoning(block: str, path: Path, setting: Setting) -> str:
    question, asked, _ = block.partition("\nA:")
    _, concluded, answer = block.rpartition(CONCLUSION)
    if not asked or not concluded:
        raise UserError(f"{path}: the demonstration {question[:40]!r} has no `A:` or no `{CONCLUSION}`", HINT)
    answer = answer.strip()
    return f"{question.strip()}\nA: {answer.removesuffix('.') if setting.profile == 'fixed' else answer}"


def _check_tasks(folder: Path, extension: str) -> None:
    there = {path.name.removesuffix(extension) for path in folder.glob(f"*{extension}")}
    missing = [task + extension for task in TASKS if task not in there]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(TASKS)} tasks: {', '.join(missing)}",
            "fetch it: packtrain evaluate fetch --data DIR",
        )
    strangers = sorted(there - set(TASKS))
    if strangers:
        raise UserError(
            f"{folder / (strangers[0] + extension)} is none of the {len(TASKS)} tasks",
            "move it elsewhere: the column is the mean of these tasks alone",
        )


def _examples(path: Path) -> list[tuple[str, str]]:
    content = json_of(path, "a BBH task")
    examples = content.get("examples") if isinstance(content, dict) else None
    if not isinstance(examples, list) or not examples:
        raise UserError(f"{path} has no list of `examples`", HINT)
    found = []
    for index, example in enumerate(examples):
        fields = example if isinstance(example, dict) else {}
        question, target = fields.get("input"), fields.get("target")
        if not (isinstance(question, str) and question and isinstance(target, str) and target):
            raise UserError(f"{path}, examples[{index}] has no text as `input` or as `target`", HINT)
        found.append((question, target))
    return found


benchmark = BigBenchHard()
