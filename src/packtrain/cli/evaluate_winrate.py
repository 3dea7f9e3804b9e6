"""`packtrain evaluate winrate`: win rates from annotations, as AlpacaEval's leaderboard counts them."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, print_json, print_table

EXAMPLE = examples(
    "packtrain evaluate winrate scores/annotations-alpacafarm.json",
    "packtrain evaluate winrate annotations.json --difficulties df_gamed.csv --json",
)


def winrate(
    annotations: Annotated[
        Path, typer.Argument(help="Annotations of AlpacaEval or of packtrain evaluate: JSON list or JSON Lines.")
    ],
    difficulties: Annotated[
        Path | None,
        typer.Option(help="AlpacaEval's df_gamed.csv or instruction_difficulty.csv, for the length-controlled rate."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count wins, losses and ties, with standard error and the length-controlled rate.

    Preference 2 is a win of the model (output_2), 1 of the reference, 0 or 1.5 a tie that counts half, null a verdict
    that could not be read and does not count. The length-controlled rate of AlpacaEval 2 needs AlpacaEval's own table
    of difficulties; without it the figure is of the same kind, but not the published one.
    """
    from dataclasses import asdict

    from packtrain.core.errors import UserError
    from packtrain.evaluate.judging.agreement import agreement
    from packtrain.evaluate.length_control import length_controlled, read_difficulties
    from packtrain.evaluate.winrate import read_annotations, win_rate

    records = read_annotations(annotations)
    found = win_rate(records)
    table = read_difficulties(difficulties) if difficulties else None
    try:
        controlled = length_controlled(records, table)
    except UserError:
        if difficulties:
            raise
        controlled = None
    if as_json:
        print_json(
            {
                "annotations": str(annotations),
                **asdict(found),
                "length_controlled": asdict(controlled) if controlled else None,
                "agreement_with_people": agreement(),
            }
        )
        return
    rows = [
        ("win rate", f"{found.win_rate:.2f} % ± {found.standard_error:.2f}"),
        ("wins, losses, ties", f"{found.n_wins}, {found.n_wins_base}, {found.n_draws}"),
        ("pairs that count", str(found.n_total)),
        ("verdicts not read", str(found.n_unread)),
        ("discrete win rate", f"{found.discrete_win_rate:.2f} %"),
        ("average length, characters", str(found.avg_length)),
    ]
    if controlled:
        said = "".join(f" ({note})" for note in controlled.notes)
        rows.append(("length-controlled win rate", f"{controlled.rate:.2f} %{said}"))
    rows += [(f"agreement with people: {judge}", f"{value:.1f} %") for judge, value in agreement().items()]
    print_table(str(annotations), rows)
