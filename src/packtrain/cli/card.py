"""`packtrain card`: the card of a model, and that of a data set."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Overrides, Overwrite
from packtrain.cli.verb_group import VerbGroup

EXAMPLE = examples(
    "packtrain card alpaca-7b --model tuned/ --scores scores/scores.json --out README.md",
    "packtrain card alpaca-7b --model runs/alpaca-7b --licences licences/ --language zh --out README.md",
)
DATA_EXAMPLE = examples("packtrain card data mine/train.jsonl --license cc-by-4.0 --out mine/README.md")

Language = Annotated[str, typer.Option(help="en or zh.")]
Out = Annotated[Path, typer.Option(help="The card to write.")]

app = typer.Typer(cls=VerbGroup, epilog=EXAMPLE)


@app.callback(invoke_without_command=True)
def cards(context: typer.Context) -> None:
    """Write the card of a model, packtrain card RECIPE, or of a data set, packtrain card data FILE."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def card(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a YAML file.")],
    out: Out,
    overrides: Overrides = None,
    scores: Annotated[Path | None, typer.Option(help="scores.json of packtrain evaluate.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of packtrain train, diff, convert merge-lora or run: what was trained is stated."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Work folder of packtrain run: the same as --model.")] = None,
    licences: Annotated[
        Path | None, typer.Option(help="Folder with licence texts: those that must go with the model are copied.")
    ] = None,
    repo: Annotated[str | None, typer.Option(help="Hub id of the files, such as ORG/NAME.")] = None,
    language: Language = "en",
    overwrite: Overwrite = False,
) -> None:
    """Write the model card of a recipe: YAML front matter, format, training, scores, licence, citations.

    With --model, settings, base, data and figures are those of the training; without it they are the recipe's, and
    nothing is known of a run. A card that contradicts the record of a training is refused. Scores are written into
    .eval_results beside the card as well, a hidden folder that the Hub reads; those of a part of the items are not.
    """
    from packtrain.core.errors import UserError
    from packtrain.pipeline.facts import check_work_folder
    from packtrain.pipeline.model_card import make_model_card

    if run is not None:
        if model is not None:
            raise UserError("--run and --model name the same thing", "give one of them")
        check_work_folder(run)
    written = make_model_card(
        recipe,
        overrides or (),
        out,
        model=model or run,
        scores=scores,
        licences=licences,
        repo=repo,
        language=language,
        overwrite=overwrite,
    )
    for path in written:
        print(path)


def data(
    path: Annotated[Path, typer.Argument(help="A file of conversations, such as train.jsonl.")],
    out: Out,
    title: Annotated[
        str | None, typer.Option(help="Heading; default: the mixture's title, or the file's name.")
    ] = None,
    license: Annotated[
        str, typer.Option(help="Licence of the whole, such as cc-by-4.0; default: that of all sources.")
    ] = "",
    stats: Annotated[
        Path | None, typer.Option(help="Report of packtrain data stats --json; default: made now, in words.")
    ] = None,
    lint: Annotated[Path | None, typer.Option(help="Report of packtrain data lint --json; default: made now.")] = None,
    diversity: Annotated[
        Path | None, typer.Option(help="Report of packtrain data diversity --json; default: made now.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Picture of packtrain data diversity --out, to be shown in the card.")
    ] = None,
    language: Language = "en",
    overwrite: Overwrite = False,
) -> None:
    """Write the datasheet of a conversation file: origin, process, counts, lengths, diversity, faults, licences.

    mixture.json and run.json beside the file say where it is from.
    """
    from packtrain.pipeline.data_card import make_data_card

    make_data_card(
        path,
        out,
        statistics=stats,
        lint=lint,
        diversity=diversity,
        figure=figure,
        title=title,
        license=license,
        language=language,
        overwrite=overwrite,
    )
    print(out)


app.command("recipe", epilog=EXAMPLE, short_help="The model card of a recipe; the name may be left out.")(card)
app.command("data", epilog=DATA_EXAMPLE, short_help="The datasheet of a conversation file.")(data)
