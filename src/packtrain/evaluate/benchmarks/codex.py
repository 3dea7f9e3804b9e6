"""Codex-Eval: HumanEval's 164 functions (Chen et al., arXiv 2107.03374), written by the model and run against tests.

The model sees the bare head and docstring of a function, never in its prompt format, and goes on; 20 samples each. An
endpoint, which answers rather than goes on, is told what to do, and of its answer the first fenced block counts.
`codex:pass@1` takes them at temperature 0.1 with k = 1, `codex:pass@10` at 0.8 with k = 10. An answer ends before what
would begin something else at the left margin. Both profiles ask alike, but for begin-of-sequence: none in `paper-2023`,
the model's own in `fixed`. The stops were token ids in 2023 and are texts here, which is the same for LLaMA. Programs
see the standard library alone, then also what was installed. Source: eval/codex_humaneval/run_eval.py of open-instruct,
July 2023.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.score import Score
from packtrain.evaluate.assets import needed
from packtrain.evaluate.benchmark import Answer, Grade, Item, Outcome, Request, Setting
from packtrain.evaluate.human_eval import Problem, read_problems
from packtrain.evaluate.means import micro
from packtrain.evaluate.passk import pass_at_k
from packtrain.evaluate.sandbox.program import Program

FILE = Path("humaneval", "HumanEval.jsonl.gz")
SAMPLES = 20
COLUMNS = {"codex:pass@1": (0.1, 1), "codex:pass@10": (0.8, 10)}
"""Temperature, and the k of pass@k."""
KS = (1, 5, 10, 20)
"""Reported beside it."""
TOP_P, MAX_NEW_TOKENS = 0.95, 512
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
INSTRUCTION = "Complete this Python function. Answer with the code of the whole function and nothing else.\n\n\n"
"""What an endpoint is told; in wording of our own."""
FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_MESSAGE = "message"
"""Says of an item that its answers are messages."""
_VERDICT = "verdict/"


class Codex:
    """The columns `codex:pass@1` and `codex:pass@10`."""

    columns = tuple(COLUMNS)
    version = 1
    outcome: Outcome = "executed"

    def items(self, folder: Path, setting: Setting) -> list[Item]:
        """The problems in the file's order; UserError for a missing or broken file."""
        problems = read_problems(needed(folder / FILE, "problems of HumanEval"))
        message = {_MESSAGE: True} if setting.endpoint else {}
        return [
            Item(name, {"prompt": problem.prompt, "entry_point": problem.entry_point, "test": problem.test, **message})
            for name, problem in problems.items()
        ]

    def request(self, item: Item, setting: Setting) -> Request:
        """The function's head and docstring as they are, to be continued 20 times; for an endpoint the task before."""
        temperature, _ = COLUMNS[setting.column]
        return Request(
            text=INSTRUCTION + item.content["prompt"] if setting.endpoint else item.content["prompt"],
            max_new_tokens=MAX_NEW_TOKENS,
            stop=() if setting.endpoint else STOPS,
            temperature=temperature,
            top_p=TOP_P,
            samples=SAMPLES,
            first_token=setting.profile == "fixed",
        )

    def program(self, item: Item, answer: str, sample: int = 0) -> Program:
        """The function with the answer behind it, and its test."""
        fields = {name: value for name, value in item.content.items() if name != _MESSAGE}
        problem = Problem(item.id, **fields)
        if _MESSAGE not in item.content:
            return problem.program(answer, sample)
        code, head = code_in(answer), re.compile(rf"^def {re.escape(problem.entry_point)}\b", re.MULTILINE)
        own = head.search(problem.prompt)
        if own and head.search(code):  # the function again: in the place of the stub's, behind its imports
            return problem.program(problem.prompt[: own.start()] + code, sample, whole=True)
        return problem.program(code, sample)

    def grade(self, item: Item, answers: Sequence[Answer], setting: Setting) -> Grade:
        """pass@k of the samples; UserError when there are fewer than k, or some have not been run."""
        _, k = COLUMNS[setting.column]
        n = len(answers)
        verdicts = Counter(answer.verdict for answer in answers)
        if verdicts[""]:
            raise UserError(
                f"{verdicts['']} answers to {item.id} have not been run", "run them: packtrain evaluate execute"
            )
        if n < k:
            raise UserError(
                f"{item.id} has {n} answers, and {setting.column} needs {k}", f"draw {SAMPLES} for each item"
            )
        correct = verdicts["passed"]
        more = {f"pass@{other}": pass_at_k(n, correct, other) for other in KS if other <= n}
        more |= {_VERDICT + kind: count / n for kind, count in sorted(verdicts.items())}
        reason = ", ".join(f"{count} {kind}" for kind, count in sorted(verdicts.items()))
        return Grade(item.id, pass_at_k(n, correct, k), f"{correct} of {n}", reason, more=more)

    def total(self, grades: Sequence[Grade], setting: Setting) -> Score:
        """Percent: the mean over problems; details: other k, and the share of each verdict among all samples."""
        value, n, error = micro(grades)
        names = sorted({name for grade in grades for name in grade.more})
        shared = [name for name in names if name.startswith(_VERDICT) or all(name in grade.more for grade in grades)]
        details = {name: 100 * sum(grade.more.get(name, 0.0) for grade in grades) / len(grades) for name in shared}
        return Score(setting.column, value, n, error, setting.profile, self.version, details)


def code_in(message: str) -> str:
    """What the first fenced block holds, or what stands behind a fence that is not closed; without one the message."""
    fenced = FENCED.search(message)
    return fenced.group(1) if fenced else message


benchmark = Codex()
