"""`packtrain data resample`: a collection too large to train on, drawn down to one file."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json, print_table

EXAMPLE = examples("packtrain data resample flan_v2 flan/ --out flan_v2_resampled_100k.jsonl")


def resample(
    name: Annotated[str, typer.Argument(metavar="SET", help="What to resample: flan_v2.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder with the submixes, .jsonl, packed or not.")
    ],
    out: Annotated[Path, typer.Option(help="The .jsonl file to write.")],
    total: Annotated[int, typer.Option(min=1, help="Lines to draw.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Decides which lines are drawn.")] = 42,
    allow_short: Annotated[
        bool, typer.Option("--allow-short", help="Take a submix with too few lines whole, do without a missing one.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw lines from the submixes of FLAN V2, as many from each as its share, in constant memory."""
    from packtrain.data.resample import resample as run_resampling

    report = run_resampling(name, folder, out, total=total, seed=seed, allow_short=allow_short, overwrite=overwrite)
    if as_json:
        print_json({"out": str(out), **report.figures()})
        return
    rows = [
        (submix, f"{one.taken:,} of {one.lines:,}" + (f" ({one.asked:,} asked for)" if one.taken < one.asked else ""))
        for submix, one in report.submixes.items()
    ]
    print_table(f"resampled: {out}", [*rows, ("together", f"{report.rows:,}")])
