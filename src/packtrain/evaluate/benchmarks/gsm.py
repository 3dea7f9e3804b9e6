"""GSM: word problems of grade-school arithmetic (Cobbe et al., arXiv 2110.14168), answered with or without reasoning.

Eight demonstrations, then the problem; of the first line of the answer the last number counts, of an endpoint's the
last one of all that it says, since it reasons in paragraphs. In `paper-2023` 200 problems are drawn with seed 42, the
ones that the cards' figures come from, the demonstrations of `gsm:direct` are labelled `Quesion:`, and numbers are
compared as texts, so signs and decimal points hardly count. `fixed` takes all 1,319, spells right and compares values.
Source: eval/gsm/run_eval.py of open-instruct, July 2023.
"""

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from packtrain.core.conversation import Message, read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.score import Score
from packtrain.evaluate.assets import FOLDER, asset, asset_notes, needed
from packtrain.evaluate.benchmark import Answer, Grade, Item, Outcome, Request, Setting
from packtrain.evaluate.means import micro
from packtrain.evaluate.numbers import equal_text, last_number_2023, last_value, without_commas

FILE = Path("gsm8k", "test.jsonl")
EXEMPLARS = "gsm_exemplars"
DRAWN, SEED = 200, 42
MAX_NEW_TOKENS = 512
LEAD_IN = "Answer:"


class Gsm:
    """The columns `gsm:direct`, which asks for the bare number, and `gsm:cot`, which asks for the reasoning too."""

    columns = ("gsm:direct", "gsm:cot")
    version = 1
    outcome: Outcome = "read"

    def items(self, folder: Path, setting: Setting) -> list[Item]:
        """Problems in the order of the draw, or all in that of the file; UserError for missing or broken files."""
        path = needed(folder / FILE, "problems of GSM8K")
        problems = [_problem(record, f"{path}:{number}") for number, record in read_json_lines(path)]
        shown = {"exemplars": _exemplars(folder), "notes": asset_notes(folder, EXEMPLARS)}
        return [Item(f"test/{index}", {**problems[index], **shown}) for index in drawn(len(problems), setting)]

    def request(self, item: Item, setting: Setting) -> Request:
        """The demonstrations and the problem in one turn of the user; but for an endpoint, the next line ends it."""
        asked = prompt(item.content["question"], item.content["exemplars"], setting)
        stop = () if setting.endpoint else ("\n",)
        limits: dict[str, Any] = {"max_new_tokens": MAX_NEW_TOKENS, "stop": stop}
        limits |= {"first_token": setting.profile == "fixed", "notes": item.content["notes"]}
        if setting.chat:
            return Request((Message("user", asked),), LEAD_IN, **limits)
        return Request(text=f"{asked}\n{LEAD_IN}", **limits)

    def grade(self, item: Item, answers: Sequence[Answer], setting: Setting) -> Grade:
        """1 when the last number of the answer is the right one."""
        gold, text = item.content["gold"], answers[0].text
        if setting.profile == "fixed":
            value = last_value(text)
            extracted, right = "" if value is None else f"{value:f}", value == Decimal(gold)
        else:
            extracted = last_number_2023(text)
            right = equal_text(extracted, gold)
        return Grade(item.id, float(right), extracted, "equal" if right else f"expected {gold}")

    def total(self, grades: Sequence[Grade], setting: Setting) -> Score:
        """Percent of problems answered right, with the binomial standard error."""
        return Score(setting.column, *micro(grades), setting.profile, self.version)


def drawn(population: int, setting: Setting) -> list[int]:
    """Indices of the problems that are asked, in order: all of them, or in `paper-2023` the 200 of the cards."""
    if setting.full or setting.profile == "fixed" or population <= DRAWN:
        return list(range(population))
    return random.Random(SEED).sample(range(population), DRAWN)


def prompt(question: str, exemplars: Sequence[Mapping[str, str]], setting: Setting) -> str:
    """What the user says: instruction, demonstrations and the problem, without the answer's first words."""
    cot = setting.column == "gsm:cot"
    label = "Question" if cot or setting.profile == "fixed" else "Quesion"
    field = "cot_answer" if cot else "short_answer"
    shown = [f"{label}: {shot['question']}\nAnswer: {shot[field]}\n\n" for shot in exemplars]
    plural = "s" if exemplars else ""
    return f"Answer the following question{plural}.\n\n{''.join(shown)}Question: {question}"


def _problem(record: object, where: str) -> dict[str, str]:
    """Question and right number of a line of the file."""
    hint = 'a line is {"question": "...", "answer": "... #### 42"}'
    fields = record if isinstance(record, dict) else {}
    question, answer = fields.get("question"), fields.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise UserError(f"{where}: no `question` and `answer`", hint)
    parts = answer.split("####")
    if len(parts) < 2:
        raise UserError(f"{where}: the answer holds no ####, behind which the right number stands", hint)
    gold = without_commas(parts[1].strip())
    try:
        number = Decimal(gold)
    except InvalidOperation as error:
        raise UserError(f"{where}: {gold!r} behind #### is not a number", hint) from error
    if not number.is_finite():
        raise UserError(f"{where}: {gold!r} behind #### is not a number", hint)
    return {"question": question.strip(), "gold": gold}


def _exemplars(folder: Path) -> list[dict[str, str]]:
    """The demonstrations, from the data folder or the project's own; UserError when they are of another form."""
    content = asset(folder, EXEMPLARS)
    shots = content.get("exemplars") if isinstance(content, dict) else None
    fields = ("question", "cot_answer", "short_answer")
    sound = isinstance(shots, list) and all(
        isinstance(shot, dict) and all(isinstance(shot.get(field), str) for field in fields) for shot in shots
    )
    if not shots or not sound:
        raise UserError(
            f"{folder / FOLDER / EXEMPLARS}.json: no list `exemplars` of objects with {', '.join(fields)}",
            "fetch it again: packtrain evaluate fetch",
        )
    return list(shots)


benchmark = Gsm()
