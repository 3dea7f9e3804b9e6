"""`packtrain data dedup`: drop conversations that repeat an earlier one."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, print_json, print_table

EXAMPLE = examples("packtrain data dedup mixed.jsonl --out mixed-once.jsonl --near 0.8")


def dedup(
    file: Annotated[Path, typer.Argument(help="A conversation file.")],
    out: Annotated[Path, typer.Option(help="File for what is kept; beside NAME.jsonl lies NAME.dropped.jsonl.")],
    near: Annotated[
        float, typer.Option(help="Users' texts from this similarity on (shared word 3-grams) are near duplicates.")
    ] = 0.8,
    exact_only: Annotated[bool, typer.Option("--exact-only", help="Look for equal conversations only.")] = False,
    report: Annotated[Path | None, typer.Option(help="File for the pairs found, with their similarity.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Drop conversations that repeat an earlier one, within and across data sets; the first stays."""
    from packtrain.data.overlap.deduplicate import deduplicate

    counts = deduplicate(file, out, threshold=None if exact_only else near, report=report, overwrite=overwrite)
    if as_json:
        print_json({"out": str(out), **counts.figures()})
        return
    rows = [("read", f"{counts.read:,}"), ("kept", f"{counts.kept:,}")]
    verbs = {"exact": "repeats", "near": "nearly repeats"}
    for pair, number in counts.pairs.most_common():
        whose = "itself" if pair.repeats == pair.dataset else pair.repeats
        rows.append((f"dropped: {pair.dataset} {verbs[pair.kind]} {whose}", f"{number:,}"))
    print_table(f"without duplicates: {out}", rows)
