"""`packtrain data`: its verbs, each in a file of its own."""

import typer

from packtrain.cli import (
    data_decontaminate,
    data_dedup,
    data_diversity,
    data_inspect,
    data_lint,
    data_mix,
    data_prepare,
    data_resample,
    data_stats,
)

app = typer.Typer(help="Prepare, mix, check, count and look at instruction data.", no_args_is_help=True)

app.command("prepare", epilog=data_prepare.EXAMPLE, short_help="Raw data to conversations.")(data_prepare.prepare)
app.command("resample", epilog=data_resample.EXAMPLE, short_help="Draw FLAN V2's 100,000 rows.")(data_resample.resample)
app.command("mix", epilog=data_mix.EXAMPLE, short_help="Several data sets as one.")(data_mix.mix)
app.command("dedup", epilog=data_dedup.EXAMPLE, short_help="Leave out repetitions.")(data_dedup.dedup)
app.command("decontaminate", epilog=data_decontaminate.EXAMPLE, short_help="Find benchmark questions in the data.")(
    data_decontaminate.decontaminate
)
app.command("stats", epilog=data_stats.EXAMPLE, short_help="Counts and lengths.")(data_stats.stats)
app.command("lint", epilog=data_lint.EXAMPLE, short_help="Find faulty records.")(data_lint.lint)
app.command("inspect", epilog=data_inspect.EXAMPLE, short_help="A record as the model sees it.")(data_inspect.inspect)
app.command("diversity", epilog=data_diversity.EXAMPLE, short_help="Verbs and objects of instructions.")(
    data_diversity.diversity
)


@app.callback()
def data() -> None:
    """Prepare, mix, check, count and look at instruction data."""
