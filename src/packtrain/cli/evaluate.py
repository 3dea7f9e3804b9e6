"""`packtrain evaluate`: a model on benchmark columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packtrain.cli import (
    evaluate_execute,
    evaluate_export,
    evaluate_fetch,
    evaluate_human,
    evaluate_parts,
    evaluate_show,
    evaluate_winrate,
)
from packtrain.cli.evaluate_options import CourseOptions, Data, TemplateName, format_of, others_of, print_scores
from packtrain.cli.examples import examples
from packtrain.cli.option_group import with_option_groups
from packtrain.cli.options import Json, Overwrite, Resume
from packtrain.cli.verb_group import VerbGroup

if TYPE_CHECKING:
    from packtrain.evaluate.run import Course
    from packtrain.models.base import LanguageModel

EXAMPLE = examples(
    "packtrain evaluate tuned/ mmlu gsm:cot --data benchmarks/ --out scores/",
    "packtrain evaluate tuned/ --data benchmarks/ --out scores/ --judge openai:gpt-4o --compare tulu-65b",
    "packtrain evaluate openai:gpt-4o-mini gsm --data benchmarks/ --out scores/ --limit 50",
)


@with_option_groups
def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, a Hub id, openai:NAME or vllm:DIR.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for scores.json and the answers.")],
    asked: CourseOptions,
    columns: Annotated[
        list[str] | None,
        typer.Argument(help="Columns; mmlu is both mmlu:0shot and mmlu:5shot. Default: all that can be had."),
    ] = None,
    template: TemplateName = None,
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16, or auto: bfloat16 where the device multiplies it.")
    ] = "auto",
    compare: Annotated[
        str | None, typer.Option(help="Published rows to show beside, such as tulu-65b,code-alpaca-7b.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="PNG or SVG file for a picture of the scores.")] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Ask a model the items of benchmark columns and score its answers."""
    from packtrain.evaluate.run import evaluate as run_evaluation

    others = others_of(compare, asked.profile, figure, overwrite)
    course = asked.course()
    prompt_format = format_of(model, template)
    chosen = _columns(columns or [], course, data, chat=prompt_format is not None)
    opened = _open(model, dtype)
    scores = run_evaluation(opened, prompt_format, chosen, data, out, course, resume=resume, overwrite=overwrite)
    print_scores(scores, opened.name, out, others, figure, as_json=as_json)


def _columns(given: list[str], course: "Course", data: Path, *, chat: bool) -> list[str]:
    """The columns that are named, else all whose data and judge are there; what is left out is said."""
    from packtrain.evaluate.benchmark import columns_of
    from packtrain.evaluate.outcomes import available

    return columns_of(given) if given else available(data, course.outcomes, chat=chat)


def _open(model: str, dtype: str) -> "LanguageModel":
    """The model behind a name: a folder or Hub id, or KIND:NAME."""
    kind, colon, _ = model.partition(":")
    if colon and kind in ("openai", "vllm", "scripted"):
        from packtrain.models.open import open_model

        return open_model(model)
    from packtrain.models.local import LocalModel
    from packtrain.models.precision import dtype_named
    from packtrain.weights.source import model_folder

    return LocalModel(model_folder(model.removeprefix("local:")), dtype=dtype_named(dtype))


app = typer.Typer(
    cls=VerbGroup, help="Evaluate a model on benchmark columns: packtrain evaluate MODEL [COLUMN]...", epilog=EXAMPLE
)
app.command("model", epilog=EXAMPLE)(evaluate)
app.command("fetch", epilog=evaluate_fetch.EXAMPLE)(evaluate_fetch.fetch)
app.command("prompts", epilog=evaluate_parts.PROMPTS_EXAMPLE)(evaluate_parts.prompts)
app.command("score", epilog=evaluate_parts.SCORE_EXAMPLE)(evaluate_parts.score)
app.command("export-lm-eval", epilog=evaluate_export.EXAMPLE)(evaluate_export.export_lm_eval)
app.command("winrate", epilog=evaluate_winrate.EXAMPLE)(evaluate_winrate.winrate)
app.command("show", epilog=evaluate_show.EXAMPLE)(evaluate_show.show)
app.command("execute", epilog=evaluate_execute.EXAMPLE)(evaluate_execute.execute)
app.command("diff", epilog=evaluate_parts.DIFF_EXAMPLE)(evaluate_parts.diff)
app.command("human", epilog=evaluate_human.EXAMPLE)(evaluate_human.human)
app.command("human-export", epilog=evaluate_human.EXPORT_EXAMPLE)(evaluate_human.human_export)
