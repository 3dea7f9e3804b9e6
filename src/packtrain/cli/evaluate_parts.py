"""`packtrain evaluate prompts`, `score`, `diff`: each part of an evaluation alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from packtrain.cli.evaluate_options import (
    Column,
    CourseOptions,
    Data,
    Full,
    Limit,
    ProfileName,
    TemplateName,
    bare_or_format,
    print_scores,
    profile_named,
)
from packtrain.cli.examples import examples
from packtrain.cli.option_group import with_option_groups
from packtrain.cli.options import Json, Overwrite, Resume, print_json

if TYPE_CHECKING:
    from packtrain.evaluate.benchmark import Setting
    from packtrain.evaluate.difference import Difference
    from packtrain.evaluate.questions import Question

TokenizerFolder = Annotated[
    str | None,
    typer.Option("--tokenizer", help="Model folder whose tokenizer measures lengths; without it nothing is shortened."),
]
Endpoint = Annotated[
    bool, typer.Option("--endpoint", help="As openai:NAME is asked and read: whole answers, an instruction for code.")
]
PROMPTS_EXAMPLE = examples("packtrain evaluate prompts gsm:cot --data benchmarks/ --template tulu --limit 1")
SCORE_EXAMPLE = examples("packtrain evaluate score gsm:cot --data benchmarks/ --answers answers.jsonl --out graded/")
DIFF_EXAMPLE = examples("packtrain evaluate diff scores-monday/ scores-tuesday/")


def prompts(
    column: Column,
    data: Data,
    template: TemplateName = None,
    tokenizer: TokenizerFolder = None,
    endpoint: Endpoint = False,
    profile: ProfileName = "paper-2023",
    full: Full = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Print the exact prompts of a column; no model is needed. Without --template: the bare text for a base model."""
    for question in _questions(column, data, template, tokenizer, endpoint, profile, full=full, limit=limit)[1]:
        if as_json:
            from packtrain.core.json_text import json_text

            record = {"item": question.item.id, "group": question.item.group, **question.asked}
            typer.echo(json_text(record))
        else:
            typer.secho(f"--- {question.item.id}", fg="blue")
            typer.echo(question.prompt)


@with_option_groups
def score(
    column: Column,
    data: Data,
    answers: Annotated[Path, typer.Option(help='JSONL file with lines like {"item": "ID", "text": "ANSWER"}.')],
    asked: CourseOptions,
    out: Annotated[
        Path | None, typer.Option(help="Folder for scores.json, grades and logs; default: nothing is kept.")
    ] = None,
    template: TemplateName = None,
    tokenizer: TokenizerFolder = None,
    endpoint: Endpoint = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Grade answers that were made elsewhere: by an API, by another tool, by an earlier evaluation."""
    import tempfile

    from packtrain.evaluate.benchmark import benchmark_of
    from packtrain.evaluate.elsewhere import score_answers
    from packtrain.evaluate.questions import whole_n_of

    course = asked.course()
    setting, questions = _questions(
        column, data, template, tokenizer, endpoint, course.profile, full=course.full, limit=course.limit
    )
    whole_n = whole_n_of(benchmark_of(setting.column), setting, data, questions, course.limit)
    with tempfile.TemporaryDirectory() as nowhere:
        found = score_answers(
            setting,
            questions,
            answers,
            out or Path(nowhere) / "graded",
            course.outcomes,
            whole_n=whole_n,
            resume=resume,
            overwrite=overwrite,
        )
    print_scores([found], answers.name, out or answers, (), None, as_json=as_json)


def _questions(
    column: str, data: Path, template: str | None, tokenizer: str | None, endpoint: bool, profile: str, **course: Any
) -> "tuple[Setting, list[Question]]":
    from packtrain.core.errors import UserError
    from packtrain.evaluate.benchmark import Setting, benchmark_of, column_of
    from packtrain.evaluate.questions import format_tokens, questions_of

    column = column_of(column)
    if endpoint and (template or tokenizer):
        raise UserError("an endpoint's prompt format and tokenizer are its own", "give --endpoint alone")
    shown, measured = bare_or_format(template, tokenizer)
    around = format_tokens(shown, measured)
    setting = Setting(column, profile_named(profile), measured, shown is not None, course["full"], around, endpoint)
    eos_token = measured.eos_token if measured else "</s>"
    return setting, questions_of(benchmark_of(column), setting, data, shown, eos_token, course["limit"])


def diff(
    a: Annotated[Path, typer.Argument(help="Folder of an evaluation.")],
    b: Annotated[Path, typer.Argument(help="Folder of another.")],
    examples: Annotated[int, typer.Option(min=0, help="Items shown for each column and cause.")] = 2,
    as_json: Json = False,
) -> None:
    """Explain why two evaluations differ: which prompts, decodings, answers, extractions changed; 1 if they differ."""
    from dataclasses import asdict

    from packtrain.evaluate.difference import compare

    found = compare(a, b, examples)
    if as_json:
        print_json(asdict(found))
    else:
        _print_difference(found)
    raise typer.Exit(1 if any(column.causes for column in found.columns) else 0)


def _print_difference(found: "Difference") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from packtrain.evaluate.difference import summary

    console = Console()
    table = Table(title="two evaluations", caption=summary(found.columns))
    for heading in ("column", "A", "B", "items in both", "first cause: items (points gained by B)"):
        table.add_column(heading, justify="right" if heading in ("A", "B", "items in both") else "left")
    for one in found.columns:
        causes = [
            f"{cause}: {count}" + (f" ({_points(one.gained[cause], one.items)})" if one.gained[cause] else "")
            for cause, count in one.causes.items()
        ]
        table.add_row(one.column, _percent(one.a), _percent(one.b), str(one.items), ", ".join(causes) or "none")
    console.print(table)
    for name, (mine, theirs) in found.settings.items():
        console.print(Text(f"{name}: {_short(mine)} in A, {_short(theirs)} in B"), soft_wrap=True)
    for example in found.examples:
        console.print(Text(f"{example.column} {example.item}: {example.cause} {example.what}".rstrip(), "bold"))
        for side, shown in (("A", example.a), ("B", example.b)):
            if shown:
                console.print(Text(f"  {side} {shown}"), soft_wrap=True)


def _points(gained: float, items: int) -> str:
    return f"{100 * gained / items:+.1f}" if items else "0"


def _percent(value: float | None) -> str:
    return "not there" if value is None else f"{value:.1f}"


def _short(value: object) -> str:
    text = "nothing" if value is None else " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
