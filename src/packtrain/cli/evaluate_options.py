"""Options that the commands of `packtrain evaluate` share, and what is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli.options import print_json

if TYPE_CHECKING:
    from packtrain.core.score import Score
    from packtrain.evaluate.benchmark import Profile
    from packtrain.evaluate.comparison import Result
    from packtrain.evaluate.run import Course
    from packtrain.prompts.template import PromptTemplate
    from packtrain.prompts.tokenizer import Tokenizer

Data = Annotated[
    Path, typer.Option(help="Folder that holds the benchmark files (packtrain evaluate fetch brings them).")
]
Column = Annotated[str, typer.Argument(help="A column, such as gsm:cot.")]
ProfileName = Annotated[
    str, typer.Option("--profile", help="paper-2023: comparable with the cards, quirks included; fixed: quirks mended.")
]
Full = Annotated[bool, typer.Option("--full", help="All items, not the protocol's own draw.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="So many items of each column, of all groups alike.")]
TemplateName = Annotated[
    str | None,
    typer.Option(
        "--template", help="Prompt format; none: bare text, for a base model. Default: the one stored with the model."
    ),
]
JudgeName = Annotated[
    str | None,
    typer.Option("--judge", help="Who compares answers: openai:NAME, local:DIR; longest: the longer one wins."),
]
JudgeForm = Annotated[
    str | None,
    typer.Option(
        "--judge-form",
        help="pair: one comparison per prompt; batch: AlpacaFarm's five. Default: the wording's, or the profile's.",
    ),
]
JudgePrompt = Annotated[
    Path | None,
    typer.Option(
        "--judge-prompt", help="File with another wording of the judge's prompt; a folder of two: without, with input."
    ),
]
BothOrders = Annotated[bool, typer.Option("--both-orders", help="Ask the judge twice, with the answers exchanged.")]
PriceIn = Annotated[float | None, typer.Option("--price-in", min=0, help="Dollars per million tokens of prompts.")]
PriceOut = Annotated[float | None, typer.Option("--price-out", min=0, help="Dollars per million tokens of verdicts.")]
Budget = Annotated[float | None, typer.Option("--budget-usd", min=0, help="Stop the judge before more is spent.")]
AcceptUnsandboxed = Annotated[
    bool, typer.Option("--accept-unsandboxed", help="Run the model's programs even where nothing can contain them.")
]


@dataclass(frozen=True)
class CourseOptions:
    """How columns are asked and judged, as the options say it."""

    profile: ProfileName = "paper-2023"
    full: Full = False
    limit: Limit = None
    judge: JudgeName = None
    judge_form: JudgeForm = None
    judge_prompt: JudgePrompt = None
    both_orders: BothOrders = False
    price_in: PriceIn = None
    price_out: PriceOut = None
    budget_usd: Budget = None
    accept_unsandboxed: AcceptUnsandboxed = False

    def course(self) -> "Course":
        """What they stand for, the judge opened; UserError for a profile or judge that does not exist."""
        from packtrain.evaluate.outcomes import Outcomes, judged_by
        from packtrain.evaluate.run import Course

        outcomes = Outcomes(
            form=self.judge_form,
            prompt=self.judge_prompt,
            both_orders=self.both_orders,
            price_in=self.price_in,
            price_out=self.price_out,
            budget_usd=self.budget_usd,
            accept_unsandboxed=self.accept_unsandboxed,
        )
        judged = judged_by(self.judge, outcomes) if self.judge else outcomes
        return Course(profile_named(self.profile), full=self.full, limit=self.limit, outcomes=judged)


def format_of(model: str, template: str | None) -> "PromptTemplate | None":
    """The prompt format that a model is asked in; None for bare text, as endpoints and base models are."""
    from packtrain.core.errors import UserError
    from packtrain.prompts.template import folder_template, load_template, template_for
    from packtrain.weights.source import model_folder

    if template == "none":
        return None
    kind, colon, name = model.partition(":")
    if colon and kind in ("openai", "scripted"):  # an endpoint puts the question in the model's format itself
        return load_template(template) if template else None
    folder = model_folder(name if colon and kind in ("local", "vllm") else model)
    if template is None and folder_template(folder) is None:
        hint = "name one, such as --template tulu; a base model is asked in bare text with --template none"
        raise UserError(f"{folder} stores no prompt format", hint)
    return template_for(folder, template)


def bare_or_format(template: str | None, tokenizer: str | None) -> "tuple[PromptTemplate | None, Tokenizer | None]":
    """Prompt format and tokenizer for prompts without a model; the format is the named one, or the folder's."""
    from packtrain.prompts.template import load_template, template_for
    from packtrain.prompts.tokenizer import load_tokenizer
    from packtrain.weights.source import model_folder

    folder = model_folder(tokenizer) if tokenizer else None
    measured = load_tokenizer(folder) if folder else None
    if template == "none" or not (template or folder):
        return None, measured
    return (template_for(folder, template) if folder else load_template(template or "")), measured


def profile_named(name: str) -> "Profile":
    """The profile of that name; UserError listing the profiles there are."""
    from packtrain.core.folder import unknown
    from packtrain.evaluate.benchmark import PROFILES

    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return name


def others_of(compare: str | None, profile: str, figure: Path | None, overwrite: bool) -> "list[Result]":
    """The models to show beside; UserError, before anything is asked, for a name or a figure that cannot be."""
    from packtrain.evaluate.comparison import Result, check_profile, compared

    others = compared([part.strip() for part in (compare or "").split(",") if part.strip()])
    check_profile(others, profile)
    if figure:
        from packtrain.evaluate.figure import check_figure

        ours = Result("", profile, {})
        check_figure(figure, [ours, *others], "bars", overwrite)
    return others


def print_scores(
    scores: "Sequence[Score]", name: str, out: Path, others: "Sequence[Result]", figure: Path | None, *, as_json: bool
) -> None:
    """The scores on stdout, as a table with other models beside or as JSON; then a picture where one is wanted."""
    from dataclasses import asdict

    from rich.console import Console

    from packtrain.core.score import average_of
    from packtrain.evaluate.comparison import measured
    from packtrain.evaluate.table import score_table

    if as_json:
        print_json({"out": str(out), "scores": [asdict(score) for score in scores], "average": average_of(scores)})
    else:
        Console().print(score_table(scores, name, others))
    if figure:
        from packtrain.evaluate.figure import write_figure

        write_figure([measured(name, scores), *others], figure, overwrite=True)
