"""What becomes of answers before they are graded: nothing, a run in the sandbox, or a judge's verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, cast

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.manifest import hashes
from packtrain.core.progress import say
from packtrain.core.score import COLUMNS
from packtrain.evaluate.answers import Given
from packtrain.evaluate.benchmark import (
    Answer,
    Benchmark,
    Executed,
    Judged,
    Profile,
    Setting,
    benchmark_of,
    column_names,
)
from packtrain.evaluate.judging.budget import Budget
from packtrain.evaluate.questions import Question
from packtrain.evaluate.winrate import write_annotations
from packtrain.models.base import LanguageModel
from packtrain.models.prices import price_of

if TYPE_CHECKING:
    from packtrain.evaluate.judging.wording import Form

LONGEST: Literal["longest"] = "longest"
"""The judge that prefers the longer answer: a yardstick for others, since it agrees with people in 62.2 % of the cases
(AlpacaEval's table)."""
FETCH = "fetch the benchmark files: packtrain evaluate fetch --data DIR"
VERDICTS, JUDGED = "verdicts.jsonl", "judged.jsonl"
_FORMER_JUDGED = "annotations.jsonl"
"""What earlier versions called the log of the judge."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What programs run in, and who judges."""

    judge: LanguageModel | Literal["longest"] | None = None
    render: Callable[[str], str] | None = None
    """Puts what a local judge is asked into its own prompt format."""
    form: str | None = None
    """pair | batch; None: what the wording asks for, or the profile's own."""
    prompt: Path | None = None
    """File with another wording for the judge, or a folder of two: with and without an input."""
    both_orders: bool = False
    price_in: float | None = None
    """Dollars per million tokens."""
    price_out: float | None = None
    budget_usd: float | None = None
    accept_unsandboxed: bool = False
    earlier: Path | None = None
    """Folder of another evaluation: what was run and judged there is neither run nor judged again."""

    @property
    def judge_name(self) -> str:
        """What the judge is called; "" where there is none."""
        return self.judge if isinstance(self.judge, str) else self.judge.name if self.judge else ""

    def settings(self) -> dict[str, Any]:
        """For the manifest."""
        if self.judge is None:
            return {}
        prompt = hashes(self.prompt) if self.prompt else None
        return {
            "judge": self.judge_name,
            "judge_form": self.form or ("of the wording" if self.prompt else "of the profile"),
            "judge_prompt": prompt,
            "both_orders": self.both_orders,
        }

    def check_budget(self) -> None:
        """Raise UserError for half a price, and for a budget where the price of the judge, a model, is not known."""
        if self.judge is not None and not isinstance(self.judge, str):
            Budget(price_of(self.judge.name, self.price_in, self.price_out), self.budget_usd)

    def form_for(self, profile: Profile) -> "Form":
        """How the judge is asked; UserError when there is no such form, or no wording in the file that is given."""
        from packtrain.evaluate.judge import FORM_OF_PROFILE
        from packtrain.evaluate.judging.wording import FORMS, form_of

        if self.form is None:
            return form_of(self.prompt) if self.prompt else FORM_OF_PROFILE[profile]
        if self.form not in FORMS:
            raise UserError(f"unknown form of judging: {self.form}", f"there are: {', '.join(FORMS)}")
        return self.form

    def check_wording(self) -> None:
        """Raise UserError for a form of judging that does not exist, and for a file that holds no wording of it."""
        from packtrain.evaluate.judging.wording import load_wordings

        load_wordings(self.form_for("fixed"), self.prompt)

    def notes(self, benchmark: Benchmark, profile: Profile) -> list[str]:
        """What a reader has to know of a score."""
        if benchmark.outcome == "executed":
            return [f"sandbox: {_sandbox(self.accept_unsandboxed)}"]
        if benchmark.outcome != "judged" or self.judge is None:
            return []
        if isinstance(self.judge, str):
            return [f"judge: the {self.judge} answer wins"]
        orders = "both orders" if self.both_orders else "one order, drawn"
        return [f"judge: {self.judge.name}, form {self.form_for(profile)}, {orders}"]


def judged_by(name: str, outcomes: Outcomes) -> Outcomes:
    """`outcomes` with the judge of that name: `longest`, or a model such as openai:NAME; UserError if there is none."""
    if name == LONGEST:
        return replace(outcomes, judge=LONGEST)
    from packtrain.models.open import open_model
    from packtrain.prompts.template import folder_template
    from packtrain.weights.source import model_folder

    judge = open_model(name)
    tokenizer = judge.tokenizer
    if tokenizer is None:  # an endpoint puts the question in the model's format itself
        return replace(outcomes, judge=judge)
    folder = model_folder(name.partition(":")[2])
    template = folder_template(folder)
    if template is None:
        hint = "a judge is asked in its own: put its chat_template.jinja into the folder, or name another judge"
        raise UserError(f"the judge {folder} stores no prompt format", hint)

    def render(prompt: str) -> str:
        return template.render((Message("user", prompt),), tokenizer.eos_token, for_answer=True).text

    return replace(outcomes, judge=judge, render=render)


def available(data: Path, outcomes: Outcomes, *, chat: bool) -> list[str]:
    """The columns that can be asked with what there is in `data`; what is left out, and why, is said.

    `chat`: whether the model has a prompt format, which some columns cannot do without.

    UserError when there is none at all, and for a wording of the judge's that is none.
    """
    if not data.is_dir():
        raise UserError(f"there is no folder {data}", FETCH)
    outcomes.check_wording()
    found = []
    for column in sorted(column_names(), key=lambda name: COLUMNS.index(name) if name in COLUMNS else len(COLUMNS)):
        benchmark = benchmark_of(column)
        try:
            prepare_outcomes({column: benchmark}, outcomes)
            setting = Setting(column, chat=chat)
            items = benchmark.items(data, setting)
            if items and benchmark.request(items[0], setting).messages and not chat:
                raise UserError(f"{column} needs a prompt format", "name one: --template tulu")
            found += [column] if items else []
        except UserError as error:
            say(f"leaving out {column}: {shorten(error.message, 200, placeholder=' ...')}")
    if not found:
        raise UserError(f"{data} holds the data of no column", FETCH)
    return found


def prepare_outcomes(benchmarks: Mapping[str, Benchmark], outcomes: Outcomes) -> None:
    """Check, before anything is asked, that programs can be contained, and that a judge is there and can be paid for.

    Also that it has a wording. UserError otherwise.
    """
    judged = [column for column, benchmark in benchmarks.items() if benchmark.outcome == "judged"]
    if judged and outcomes.judge is None:
        raise UserError(
            f"{judged[0]} needs a judge",
            f"name one: --judge openai:NAME; --judge {LONGEST} needs no model; or leave the column out",
        )
    outcomes.check_wording()
    if judged:
        outcomes.check_budget()
    if any(benchmark.outcome == "executed" for benchmark in benchmarks.values()):
        _sandbox(outcomes.accept_unsandboxed)


@cache
def _sandbox(accept_unsandboxed: bool) -> str:
    """The name of the sandbox, found and tried once."""
    from packtrain.evaluate.execute import check_sandbox

    return check_sandbox(accept_unsandboxed=accept_unsandboxed)


def outcomes_of(
    benchmark: Benchmark,
    setting: Setting,
    questions: Sequence[Question],
    given: Sequence[Sequence[Given]],
    folder: Path,
    outcomes: Outcomes,
) -> list[list[Answer]]:
    """The answers to each question with what came of them."""
    if benchmark.outcome == "executed":
        return _executed(cast(Executed, benchmark), questions, given, folder, outcomes)
    if benchmark.outcome == "judged":
        return _judged(cast(Judged, benchmark), setting, questions, given, folder, outcomes)
    return [[Answer(one.text, one.finish_reason) for one in own] for own in given]


def _executed(
    benchmark: Executed,
    questions: Sequence[Question],
    given: Sequence[Sequence[Given]],
    folder: Path,
    outcomes: Outcomes,
) -> list[list[Answer]]:
    from packtrain.evaluate.execute import TIMEOUT_S, execute
    from packtrain.evaluate.sandbox.verdict_log import take_over

    programs = [
        benchmark.program(question.item, one.text, sample)
        for question, own in zip(questions, given, strict=True)
        for sample, one in enumerate(own)
    ]
    if outcomes.earlier is not None:
        digests = [(program.item, program.digest(TIMEOUT_S)) for program in programs]
        take_over(outcomes.earlier / VERDICTS, folder / VERDICTS, digests)
    verdicts = execute(programs, folder / VERDICTS, accept_unsandboxed=outcomes.accept_unsandboxed)
    return [
        [
            Answer(one.text, one.finish_reason, verdict=verdicts[question.item.id, sample].kind)
            for sample, one in enumerate(own)
        ]
        for question, own in zip(questions, given, strict=True)
    ]


def _judged(
    benchmark: Judged,
    setting: Setting,
    questions: Sequence[Question],
    given: Sequence[Sequence[Given]],
    folder: Path,
    outcomes: Outcomes,
) -> list[list[Answer]]:
    pairs = [benchmark.pair(question.item, own[0].text) for question, own in zip(questions, given, strict=True)]
    if isinstance(outcomes.judge, str):
        preferences: list[float | None] = [_longer(pair) for pair in pairs]
    else:
        from packtrain.evaluate.judge import check_read, judge

        log = _judge_log(folder)
        verdicts = judge(
            pairs,
            [question.item.id for question in questions],
            cast(LanguageModel, outcomes.judge),
            log,
            form=outcomes.form_for(setting.profile),
            wording=outcomes.prompt,
            both_orders=outcomes.both_orders,
            render=outcomes.render,
            price_in=outcomes.price_in,
            price_out=outcomes.price_out,
            budget_usd=outcomes.budget_usd,
            earlier=judged_in(outcomes.earlier) if outcomes.earlier else None,
        )
        check_read(verdicts, setting.column, outcomes.judge_name, log)
        preferences = [verdict.preference for verdict in verdicts]
    write_annotations(folder / annotations_name(setting.column), pairs, preferences, outcomes.judge_name)
    return [
        [Answer(own[0].text, own[0].finish_reason, preference=preference)]
        for own, preference in zip(given, preferences, strict=True)
    ]


def annotations_name(column: str) -> str:
    """The file with the verdicts on a judged column, in AlpacaEval's form: `annotations-alpacafarm.json`."""
    return f"annotations-{column.replace(':', '-')}.json"


def judged_in(folder: Path) -> Path:
    """The judge's log in a folder, under its former name where an earlier version wrote it; it may be absent."""
    log, former = folder / JUDGED, folder / _FORMER_JUDGED
    return former if former.is_file() and not log.is_file() else log


def _judge_log(folder: Path) -> Path:
    """The log to go on with, under its present name."""
    found, log = judged_in(folder), folder / JUDGED
    return log if found == log else found.rename(log)


def _longer(pair: Mapping[str, str]) -> float:
    ours, theirs = len(pair["answer"]), len(pair["reference"])
    return 0.5 if ours == theirs else float(ours > theirs)
