"""The whole pipeline on the embedded tiny model, offline, in a few minutes on two cores.

A scripted teacher that knows the invented world stands in for the large language model; all other
stages are the real ones. The demo measures exact match on instructions that were never seen, before
and after, and holds itself to two bounds.
"""

import hashlib
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from packtrain.core.conversation import Conversation, Message, read_json_lines, write_conversations
from packtrain.core.recipe_file import load_recipe
from packtrain.models.scripted import Scripted
from packtrain.pipeline.run import evaluation, stages_of
from packtrain.pipeline.run_report import RunReport
from packtrain.pipeline.stages import RECORDS, run_stages
from packtrain.pipeline.world import Task, tasks
from packtrain.weights.source import model_folder

BASE_BELOW = 5.0
"""Exact match of the base must be below this: it continues text, it does not follow instructions."""
TUNED_ABOVE = 85.0
"""Exact match of the published and recovered model must be above this."""
TASKS_PER_ANSWER = 17
"""Twenty asked for, three of them given as examples."""
TRANSCRIPTS = 6


@dataclass(frozen=True)
class Transcript:
    """One unseen instruction and what the two models said."""

    instruction: str
    expected: str
    before: str
    after: str


@dataclass(frozen=True)
class DemoReport:
    """What the demo measured."""

    run: RunReport
    base_exact_match: float
    """Percent."""
    tuned_exact_match: float
    transcripts: Sequence[Transcript]
    seconds: float

    @property
    def passed(self) -> bool:
        """True when both bounds hold."""
        return self.base_exact_match < BASE_BELOW and self.tuned_exact_match > TUNED_ABOVE

    def verdict(self) -> str:
        """One line: the two figures, the two bounds, and whether they hold."""
        return (
            "exact match on unseen instructions: "
            f"base {self.base_exact_match:.1f} % (bound: below {BASE_BELOW:.0f} %), "
            f"tuned {self.tuned_exact_match:.1f} % (bound: above {TUNED_ABOVE:.0f} %): "
            + ("passed" if self.passed else "MISSED")
        )

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            **self.run.as_json(),
            "base_exact_match": self.base_exact_match,
            "tuned_exact_match": self.tuned_exact_match,
            "transcripts": [asdict(transcript) for transcript in self.transcripts],
            "seconds": self.seconds,
            "passed": self.passed,
        }


def run_demo(work: Path, *, overwrite: bool = False) -> DemoReport:
    """Run the recipe `demo` in `work`: what is there and unchanged is kept, unless `overwrite`."""
    begun = time.monotonic()
    if overwrite:
        _clear(work)
    benchmark = work / "benchmark"
    write_conversations(benchmark / "exact_match.jsonl", _conversations("unseen"))
    recipe = load_recipe("demo", [f"evaluate.data={benchmark}"])
    base = model_folder(recipe.base.path)
    before = evaluation("evaluate base", recipe, base, work / "scores_base")
    stages = [before, *stages_of(recipe, work, world_teacher())]
    report = RunReport(work, run_stages(stages, work, recipe.name))
    return DemoReport(
        report,
        base_exact_match=report.figures("evaluate base")["exact_match"],
        tuned_exact_match=report.figures("evaluate")["exact_match"],
        transcripts=_transcripts(work),
        seconds=time.monotonic() - begun,
    )


def _clear(work: Path) -> None:
    """Remove what an earlier demo made in `work`, and nothing else."""
    owner = work / RECORDS / "recipe"
    if not owner.exists() or owner.read_text() != "demo":
        return
    for name in ("generated", "data", "tuned", "diff", "recovered", "scores", "scores_base", "card", "benchmark"):
        for folder in (work / name, work / f"{name}.partial"):
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(work / RECORDS)


def world_teacher() -> Scripted:
    """A stand-in for a large language model: answers any generation prompt with tasks of the world's seen split."""
    known = tasks("seen")

    def answer(prompt: str) -> str:
        drawn = random.Random(hashlib.sha256(prompt.encode()).digest()).sample(known, TASKS_PER_ANSWER)
        return "###\n".join(_numbered(number, task) for number, task in enumerate(drawn, start=4)).removeprefix(
            "4. Instruction:"
        )

    return Scripted("world", answer)


def _numbered(number: int, task: Task) -> str:
    given = task.input or "<noinput>"
    return f"{number}. Instruction: {task.instruction}\n{number}. Input:\n{given}\n{number}. Output:\n{task.output}\n"


def _conversations(split: Any) -> list[Conversation]:
    return [
        Conversation(
            "world",
            f"{split}_{task.kind}_{index}",
            (Message("user", task.instruction, task.input or None), Message("assistant", task.output)),
        )
        for index, task in enumerate(tasks(split))
    ]


def _transcripts(work: Path) -> list[Transcript]:
    """A few unseen instructions, one per kind, with the answers of base and tuned model."""
    before, after = _answers(work / "scores_base"), _answers(work / "scores")
    chosen: dict[str, Transcript] = {}
    for conversation in _conversations("unseen"):
        kind = conversation.id.removeprefix("unseen_").rpartition("_")[0]
        asked, expected = conversation.messages
        identity = f"{conversation.dataset}/{conversation.id}"
        shown = asked.content if asked.context is None else f"{asked.content}\n{asked.context}"
        chosen.setdefault(kind, Transcript(shown, expected.content, before[identity], after[identity]))
    return list(chosen.values())[:TRANSCRIPTS]


def _answers(folder: Path) -> Mapping[str, str]:
    return {record["item"]: record["text"] for _, record in read_json_lines(folder / "answers.jsonl")}


def transcript_table(report: DemoReport) -> Table:
    """Instructions never seen in training, and the answers before and after."""
    table = Table(title="unseen instructions, before and after", show_lines=True)
    for heading in ("instruction", "base model", "tuned, published, recovered"):
        table.add_column(heading, overflow="fold")
    for transcript in report.transcripts:
        before = " ".join(transcript.before.split())
        shown = before if len(before) <= 60 else before[:57] + "..."
        table.add_row(Text(transcript.instruction), Text(shown), Text(transcript.after))
    return table


def demo_table(report: DemoReport) -> Table:
    """The closing table: every stage and its figures."""
    table = Table(title=f"packtrain demo: {report.seconds:.0f} s", show_header=False)
    for name, line in report.run.rows():
        table.add_row(Text(name), Text(line))
    table.add_section()
    table.add_row("exact match, base", f"{report.base_exact_match:.1f} %")
    table.add_row("exact match, tuned", f"{report.tuned_exact_match:.1f} %")
    return table
