"""`packtrain generate novelty`: which instructions of a file are new."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json, print_table

EXAMPLE = examples("packtrain generate novelty instructions.json --seeds seed_tasks.jsonl --out new.json")


def novelty(
    file: Annotated[Path, typer.Argument(help="Alpaca's rows (JSON list or JSON Lines) or conversations.")],
    out: Annotated[
        Path, typer.Option(help="File for what is new, in the form of FILE; beside NAME.json lies NAME.dropped.jsonl.")
    ],
    seeds: Annotated[
        list[Path] | None,
        typer.Option(help="Seed tasks, or another file like FILE, that must not be repeated; may be given repeatedly."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Drop above this ROUGE-L with an earlier instruction or a seed.")
    ] = 0.7,
    metadata: Annotated[
        bool,
        typer.Option("--metadata/--decisions", help="Write the 10 most similar instructions and the mean, or not."),
    ] = True,
    language: Annotated[
        str, typer.Option(help="Of the instructions: ISO 639-1, or any; en cuts words as the original does.")
    ] = "en",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Keep the instructions that resemble no earlier one, by ROUGE-L as in Self-Instruct and Alpaca."""
    from dataclasses import asdict

    from packtrain.generate.existing import dropped_file, keep_novel

    report = keep_novel(
        file,
        out,
        seeds=seeds or (),
        threshold=threshold,
        metadata=metadata,
        language=language,
        overwrite=overwrite,
    )
    if as_json:
        print_json({"out": str(out), **asdict(report)})
        return
    rows = [("read", f"{report.read:,}"), ("kept", f"{report.kept:,} ({100 * report.share_kept:.1f} %)")]
    rows += [(f"dropped, see {dropped_file(out).name}", f"{report.dropped:,}"), ("seeds", f"{report.seeds:,}")]
    print_table(f"new instructions: {out}", rows)
