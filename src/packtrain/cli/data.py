"""`packtrain data`: prepare."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.options import Json, Overwrite, print_json, print_table

app = typer.Typer(help="Prepare instruction data.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Prepare instruction data."""


@app.command(epilog="Example: packtrain data prepare alpaca alpaca_data.json --out alpaca/ --held-out 200")
def prepare(
    format: Annotated[str, typer.Argument(help="The form of the raw file: alpaca, dolly, oasst1 ... (packtrain ls).")],
    path: Annotated[Path, typer.Argument(help="The raw file.")],
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl, held_out.jsonl and dropped.jsonl.")],
    name: Annotated[str | None, typer.Option(help="Name of the data set; default: the format's.")] = None,
    held_out: Annotated[int, typer.Option(min=0, help="Conversations to keep out of training.")] = 0,
    max_examples: Annotated[int | None, typer.Option(min=1, help="At most so many conversations.")] = None,
    seed: Annotated[int, typer.Option(help="Decides which conversations are chosen.")] = 42,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert a raw data set to conversations, check every row, hold some out."""
    from packtrain.core.recipe import Source
    from packtrain.data.prepare import prepare as run_preparation

    source = Source(format=format, path=str(path), max_examples=max_examples)
    report = run_preparation({name or format: source}, out, held_out=held_out, seed=seed, overwrite=overwrite)
    if as_json:
        print_json({"out": str(out), **report.figures()})
        return
    [counts] = report.sources.values()
    rows = [("read", str(counts.read)), ("to train on", str(counts.train)), ("held out", str(counts.held_out))]
    rows += [("not drawn", str(counts.not_drawn))] if counts.not_drawn else []
    rows += [(f"dropped: {reason}", str(number)) for reason, number in counts.dropped.items()]
    print_table(f"prepared: {out}", rows)
