"""`packtrain plot`: the curves of training runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json

if TYPE_CHECKING:
    from packtrain.train.curves import TrainingRun

EXAMPLE = examples(
    "packtrain plot tuned/",
    "packtrain plot lr1e-5/ lr2e-5/ --out compared.png",
)
_LONGEST_NAME = 60


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of packtrain train, finished or still at work, or metrics.jsonl."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The figure, .png or .svg; default: NAME-curves.png in the current folder.")
    ] = None,
    smooth: Annotated[
        int | None, typer.Option(min=1, help="Steps of the running mean; default: a fortieth of the longest run.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw loss, loss by data set, learning rate, gradient norm and speed over the steps; several runs in one figure.

    With --json the summary alone is printed, and a figure drawn only when --out asks for it.
    """
    from packtrain.core.progress import say
    from packtrain.train.curves import distinct_names, read_run, usual_smoothing
    from packtrain.train.curves_plot import check_figure, write_figure

    found = [read_run(each) for each in dict.fromkeys(runs)]
    figure = out or (None if as_json else Path(_default_name(found)))
    if figure is not None:
        check_figure(figure, found, overwrite)
        write_figure(found, figure, smooth_steps=smooth or usual_smoothing(found), overwrite=overwrite)
        say(f"drawn: {figure}")
    summaries = [run.summary() for run in found]
    if as_json:
        print_json({"runs": summaries, "figure": str(figure) if figure is not None else None})
    else:
        _print_summaries(distinct_names(found), summaries)


def _default_name(runs: "list[TrainingRun]") -> str:
    """The names of the runs, or of the first of many."""
    names = "-".join(run.name for run in runs[:3])
    return f"{names[:_LONGEST_NAME]}{'-and-more' if len(runs) > 3 else ''}-curves.png"


def _print_summaries(names: list[str], summaries: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from packtrain.train.curves_axes import rounded, short

    table = Table(
        title="training runs, losses in nats",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("run", overflow="fold")
    for column in ("steps", "first", "last", "lowest", "tokens", "seconds", "tokens/s", "MFU %"):
        table.add_column(column, justify="right", overflow="fold")
    for name, found in zip(names, summaries, strict=True):
        figures = (
            (found["first_loss"], ".3f"),
            (found["last_loss"], ".3f"),
            (found["min_loss"], ".3f"),
            (found["seconds"], ",.0f"),
            (found["tokens_per_s"], ",.0f"),
            (found["median_mfu"] and 100 * found["median_mfu"], ".1f"),
        )
        shown = ["-" if value is None else format(value, form) for value, form in figures]
        tokens = "-" if found["tokens"] is None else short(rounded(found["tokens"]))
        table.add_row(Text(name), f"{found['steps']:,}", *shown[:3], tokens, *shown[3:])
    Console(highlight=False).print(table)
