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
from packtrain.evaluate.questions import Question
from packtrain.models.base import LanguageModel

if TYPE_CHECKING:
    from packtrain.evaluate.judging.wording import Form

LONGEST: Literal["longest"] = "longest"
"""The judge that prefers the longer answer: a yardstick for others, since it agrees with people in 62.2 % of the cases
(AlpacaEval's table)."""
FETCH = "fetch the benchmark files: packtrain evaluate fetch --data DIR"
VERDICTS, ANNOTATIONS = "verdicts.jsonl", "annotations.jsonl"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What programs run in, and who judges."""

    judge: LanguageModel | Literal["longest"] | None = None
    render: Callable[[str], str] | None = None
    """Puts what a local judge is asked into its own prompt format."""
    form: str | None = None
    """pair | batch; None: the profile's own."""
    prompt: Path | None = None
    """File with another wording for the judge, or a folder of two: with and without an input."""
    both_orders: bool = False
    price_in: float | None = None
    """Dollars per million tokens."""
    price_out: float | None = None
    budget_usd: float | None = None
    accept_unsandboxed: bool = False

    def settings(self) -> dict[str, Any]:
        """For the manifest."""
        if self.judge is None:
            return {}
        prompt = hashes(self.prompt) if self.prompt else None
        name = self.judge if isinstance(self.judge, str) else self.judge.name
        return {
            "judge": name,
            "judge_form": self.form or "of the profile",
            "judge_prompt": prompt,
            "both_orders": self.both_orders,
        }

    def form_for(self, profile: Profile) -> "Form":
        """How the judge is asked; UserError when there is no such form."""
        from packtrain.evaluate.judge import FORM_OF_PROFILE
        from packtrain.evaluate.judging.wording import FORMS

        if self.form is None:
            return FORM_OF_PROFILE[profile]
        if self.form not in FORMS:
            raise UserError(f"unknown form of judging: {self.form}", f"there are: {', '.join(FORMS)}")
        return self.form

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
    from packtrain.prompts.template import template_for
    from packtrain.weights.source import model_folder

    judge = open_model(name)
    tokenizer = judge.tokenizer
    if tokenizer is None:  # an endpoint puts the question in the model's format itself
        return replace(outcomes, judge=judge)
    template = template_for(model_folder(name.partition(":")[2]), None)

    def render(prompt: str) -> str:
        return template.render((Message("user", prompt),), tokenizer.eos_token, for_answer=True).text

    return replace(outcomes, judge=judge, render=render)


def available(data: Path, outcomes: Outcomes, *, chat: bool) -> list[str]:
    """The columns that can be asked with what there is in `data`; what is left out, and why, is said.

    `chat`: whether the model has a prompt format, which some columns cannot do without.

    UserError when there is none at all.
    """
    if not data.is_dir():
        raise UserError(f"there is no folder {data}", FETCH)
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
    """Check, before anything is asked, that programs can be contained and that there is a judge; else UserError."""
    judged = [column for column, benchmark in benchmarks.items() if benchmark.outcome == "judged"]
    if judged and outcomes.judge is None:
        raise UserError(
            f"{judged[0]} needs a judge",
            f"name one: --judge openai:NAME; --judge {LONGEST} needs no model; or leave the column out",
        )
    outcomes.form_for("fixed")
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
    from packtrain.evaluate.execute import execute

    programs = [
        benchmark.program(question.item, one.text, sample)
        for question, own in zip(questions, given, strict=True)
        for sample, one in enumerate(own)
    ]
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
    if outcomes.judge == LONGEST:
        preferences: list[float | None] = [_longer(pair) for pair in pairs]
    else:
        from packtrain.evaluate.judge import judge

        verdicts = judge(
            pairs,
            [question.item.id for question in questions],
            cast(LanguageModel, outcomes.judge),
            folder / ANNOTATIONS,
            form=outcomes.form_for(setting.profile),
            wording=outcomes.prompt,
            both_orders=outcomes.both_orders,
            render=outcomes.render,
            price_in=outcomes.price_in,
            price_out=outcomes.price_out,
            budget_usd=outcomes.budget_usd,
        )
        preferences = [verdict.preference for verdict in verdicts]
    return [
        [Answer(own[0].text, own[0].finish_reason, preference=preference)]
        for own, preference in zip(given, preferences, strict=True)
    ]


def _longer(pair: Mapping[str, str]) -> float:
    ours, theirs = len(pair["answer"]), len(pair["reference"])
    return 0.5 if ours == theirs else float(ours > theirs)
