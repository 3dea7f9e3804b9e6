"""MMLU: four-way questions on 57 subjects (Hendrycks et al., arXiv 2009.03300), with none or five solved ones before.

The model's likeliest next token of the four letters is its answer; where an endpoint tells no likelihoods, the letter
that its first words name. Solved questions are left out from the end until the prompt has at most 2,048 tokens. In
`paper-2023` the length is that of the bare text, two spaces precede the subject, and the letters' tokens are the first
ones of `A` to `D` alone: what LLaMA writes after a space, but OPT only without one. In `fixed` the prompt format counts
too, there is one space, and a letter is what follows the prompt. Source: eval/mmlu/run_eval.py of open-instruct, July
2023.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib.resources import files
from io import StringIO
from pathlib import Path

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.score import Score
from packtrain.evaluate.assets import OWN, needed
from packtrain.evaluate.benchmark import Answer, Grade, Item, Outcome, Request, Setting
from packtrain.evaluate.means import micro
from packtrain.models.base import Options
from packtrain.models.openai import CHOICE_TOKENS
from packtrain.prompts.tokenizer import Tokenizer

FOLDER = "mmlu"
LETTERS = ("A", "B", "C", "D")
TEXTS = tuple(f" {letter}" for letter in LETTERS)
SHOTS = {"mmlu:0shot": 0, "mmlu:5shot": 5}
LEAD_IN = "The answer is:"
MAX_PROMPT_TOKENS = 2048
SEAM_TOKENS = 32
"""By how much the length of a text may differ from the sum of its two parts': only so near the limit it is measured."""
LISTED = 8
"""Missing files that an error names one by one."""


class Mmlu:
    """The columns `mmlu:0shot` and `mmlu:5shot`."""

    columns = tuple(SHOTS)
    version = 1
    outcome: Outcome = "read"

    def items(self, folder: Path, setting: Setting) -> list[Item]:
        """All questions, subjects in order of name; UserError for missing subjects and for rows that are none."""
        shots = SHOTS[setting.column]
        root = needed(folder / FOLDER, "questions of MMLU, in test/ and dev/")
        subjects = sorted(categories()[0])
        _all_there(root, [f"test/{subject}_test.csv" for subject in subjects])
        _all_there(root, [f"dev/{subject}_dev.csv" for subject in subjects if shots])
        items = []
        for subject in subjects:
            solved: tuple[str, ...] = ()
            if shots:
                path = root / "dev" / f"{subject}_dev.csv"
                rows = _rows(path)
                if len(rows) < shots:
                    raise UserError(f"{path} holds {len(rows)} of {shots} solved questions", "fetch the file again")
                solved = tuple(f"{block(row)} {row[-1]}\n\n" for row in rows[:shots])
            for number, row in enumerate(_rows(root / "test" / f"{subject}_test.csv")):
                content = {"question": block(row), "answer": row[-1], "shots": solved}
                items.append(Item(f"{subject}/{number}", content, subject))
        return items

    def request(self, item: Item, setting: Setting) -> Request:
        """As many solved questions as fit, then the question; one of the four letters is to follow."""
        question, solved = item.content["question"], item.content["shots"]
        kept = shots_kept(item.group, solved, question, setting)
        prompt = header(item.group, setting) + "".join(solved[:kept]) + question
        dropped = len(solved) - kept
        notes: tuple[str, ...] = (f"{dropped} shot{'s' if dropped > 1 else ''} dropped",) if dropped else ()
        options, first_token = options_for(setting), setting.profile == "fixed"
        if not (options.ids or first_token or setting.tokenizer is None):
            notes += ("letters of several tokens, compared whole",)
        if setting.chat:
            asked = (Message("user", prompt.strip()),)
            return Request(asked, LEAD_IN, options=options, first_token=first_token, notes=notes)
        bare = Request(text=prompt, options=options, first_token=first_token, notes=notes)
        return replace(bare, max_new_tokens=CHOICE_TOKENS) if setting.endpoint else bare

    def grade(self, item: Item, answers: Sequence[Answer], setting: Setting) -> Grade:
        """1 when the right letter was chosen."""
        right, given = item.content["answer"], answers[0].text.strip()
        reason = "equal" if given == right else f"expected {right}"
        return Grade(item.id, float(given == right), given, reason, item.group)

    def total(self, grades: Sequence[Grade], setting: Setting) -> Score:
        """Percent of all questions answered right; subjects, subcategories and categories, each over its questions."""
        subcategories, of_category = categories()
        parts: dict[str, list[Grade]] = {}
        for grade in grades:
            kinds = subcategories.get(grade.group, [])
            above = [name for name, members in of_category.items() if any(kind in members for kind in kinds)]
            names = [f"subject/{grade.group}", *(f"subcategory/{kind}" for kind in kinds)]
            for name in [*names, *(f"category/{name}" for name in above)]:
                parts.setdefault(name, []).append(grade)
        details = {name: micro(members)[0] for name, members in sorted(parts.items())}
        return Score(setting.column, *micro(grades), setting.profile, self.version, details)


def header(subject: str, setting: Setting) -> str:
    """The first line and the blank one behind it."""
    gap = " " if setting.profile == "fixed" else "  "
    return f"The following are multiple choice questions (with answers) about{gap}{subject.replace('_', ' ')}.\n\n"


def block(row: Sequence[str]) -> str:
    """A question with its four answers, up to where the letter is to follow."""
    choices = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, row[1:-1], strict=True))
    return f"{row[0]}{choices}\nAnswer:"


def options_for(setting: Setting) -> Options:
    """The four letters; in `paper-2023` with the tokens that the scripts compared, where the tokenizer is known.

    A tokenizer without a token for each letter begins them all alike; the scripts then compared a token with itself.
    Here the letters are compared whole in that case.
    """
    if setting.profile == "fixed" or setting.tokenizer is None:
        return Options(TEXTS)
    ids = answer_ids(setting.tokenizer)
    return Options(TEXTS, ids) if len(set(ids)) == len(ids) else Options(TEXTS)


@lru_cache(maxsize=4)
def answer_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The first token of each letter when it stands alone, special tokens aside."""
    return tuple(tokenizer.backend.encode(letter, add_special_tokens=False).ids[0] for letter in LETTERS)


def shots_kept(subject: str, solved: Sequence[str], question: str, setting: Setting) -> int:
    """How many of the solved questions stay so that the prompt has at most 2,048 tokens; all without a tokenizer.

    None is left when even the question alone is too long.
    """
    tokenizer = setting.tokenizer
    if tokenizer is None:
        return len(solved)
    limit = MAX_PROMPT_TOKENS - _around(setting, tokenizer)
    asked = _length(tokenizer, question)
    for kept in range(len(solved), 0, -1):
        before = header(subject, setting) + "".join(solved[:kept])
        about = _length_kept(tokenizer, before) + asked
        if about <= limit - SEAM_TOKENS:
            return kept
        if about <= limit + SEAM_TOKENS and _length(tokenizer, before + question) <= limit:
            return kept
    return 0


def _around(setting: Setting, tokenizer: Tokenizer) -> int:
    """Tokens of the prompt that are not the question's and count in `fixed`: first token, format and lead-in."""
    if setting.profile != "fixed":
        return 0
    first = int(tokenizer.first_token is not None)
    return first + (setting.format_tokens + _length_kept(tokenizer, f" {LEAD_IN}") if setting.chat else 0)


def _length(tokenizer: Tokenizer, text: str) -> int:
    """Tokens of `text` without special ones."""
    return len(tokenizer.backend.encode(text, add_special_tokens=False).ids)


_length_kept = lru_cache(maxsize=1024)(_length)
"""For texts that come again: every subject's header with each number of its solved questions."""


@cache
def categories() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Subject to its subcategories, and category to the subcategories in it; the table of hendrycks/test."""
    table = json.loads((files(OWN) / "mmlu_categories.json").read_text(encoding="utf-8"))
    return table["subcategories"], table["categories"]


def _all_there(root: Path, paths: Sequence[str]) -> None:
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise UserError(
            f"{root}: {len(missing)} of {len(paths)} files are missing: {', '.join(missing[:LISTED])}{more}",
            "fetch them: packtrain evaluate fetch --data DIR",
        )


def _rows(path: Path) -> list[list[str]]:
    """Question, four answers and the right letter of each row; UserError naming file and line.

    Cells are text as it stands: the `None` of ten questions stays, which pandas 2 read as a missing value.
    """
    hint = "a row is question, A, B, C, D, right letter; fetch the file again"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start})", hint) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    found, line = [], 1
    try:
        for row in reader:
            if row:
                _check(row, f"{path}:{line}", hint)
                found.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: not valid CSV ({error})", hint) from error
    if not found:
        raise UserError(f"{path} holds no question", hint)
    return found


def _check(row: Sequence[str], where: str, hint: str) -> None:
    if len(row) != len(LETTERS) + 2:
        raise UserError(f"{where}: {len(row)} columns instead of {len(LETTERS) + 2}", hint)
    if row[-1] not in LETTERS:
        raise UserError(f"{where}: the right answer is {row[-1]!r}, not one of {', '.join(LETTERS)}", hint)


benchmark = Mmlu()
