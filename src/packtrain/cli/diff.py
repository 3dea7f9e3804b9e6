"""`packtrain diff`: make, recover, check, explain."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import (
    Jobs,
    Json,
    Overwrite,
    Resume,
    ShardSize,
    byte_count,
    print_json,
    print_table,
    report_rows,
)

app = typer.Typer(help="Publish a tuned model as a weight diff, and recover it.", no_args_is_help=True)

Base = Annotated[str, typer.Argument(help="The base model: a folder or a Hub id.")]
Diff = Annotated[str, typer.Argument(help="The diff: a folder or a Hub id.")]


@app.command(epilog=examples("packtrain diff make llama-7b-hf/ tuned/ diff/"))
def make(
    base: Base,
    tuned: Annotated[str, typer.Argument(help="The tuned model: a folder or a Hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder for the diff.")],
    form: Annotated[
        str,
        typer.Option(help="exact: recovered to the bit, compressed. float: readable by the scripts of 2023, larger."),
    ] = "exact",
    max_shard_size: ShardSize = None,
    jobs: Jobs = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write what a tuned model has learnt, without its base's weights, in constant memory."""
    from dataclasses import asdict
    from typing import cast

    from packtrain.diff.make import Form, make_diff
    from packtrain.weights.source import model_folder

    report = make_diff(
        model_folder(base),
        model_folder(tuned),
        out,
        form=cast(Form, form),  # an unknown one is refused there
        overwrite=overwrite,
        resume=resume,
        jobs=jobs,
        max_shard_bytes=byte_count(max_shard_size),
    )
    if as_json:
        print_json(asdict(report))
        return
    print_table(f"diff: {out}", report_rows(report))


@app.command(
    epilog=examples(
        "packtrain diff recover llama-7b-hf/ alpaca-7b-wdiff/ alpaca-7b/ --expect-sum alpaca-7b",
        "packtrain diff recover llama-13b-hf/ org/tuned-13b-diff tuned-13b/ --resume",
    )
)
def recover(
    base: Base,
    diff: Diff,
    out: Annotated[Path, typer.Argument(help="Folder for the recovered model.")],
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16 or float16; default: as it was tuned (exact form), as it was added (float)."
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="Whose diff it is, when it has no manifest: alpaca, open-instruct, alpaca-farm, fastchat-v0 or "
            "fastchat; default: as its files show."
        ),
    ] = None,
    expect_sum: Annotated[
        str | None,
        typer.Option(help="Check the sum of all weights: a number, or a model whose sum is known: alpaca-7b."),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="Prompt format to store where the diff brings none (those of 2023): tulu, alpaca, FILE.jinja."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check what can be checked in seconds, say what it will take, write nothing."),
    ] = False,
    max_shard_size: ShardSize = None,
    jobs: Jobs = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Recover a tuned model from its base and a diff: in constant memory, verified where the diff says how."""
    from dataclasses import asdict

    from packtrain.diff.recover import plan_recovery
    from packtrain.diff.recover import recover as run_recovery
    from packtrain.weights.source import model_folder

    folders = model_folder(base), model_folder(diff)
    if dry_run:
        planned = plan_recovery(*folders, dtype=dtype, family=family, jobs=jobs)
        if as_json:
            print_json(asdict(planned))
        else:
            print_table("recovering would take", report_rows(planned))
        return
    report = run_recovery(
        *folders,
        out,
        dtype=dtype,
        family=family,
        expect_sum=expect_sum,
        template=template,
        overwrite=overwrite,
        resume=resume,
        jobs=jobs,
        max_shard_bytes=byte_count(max_shard_size),
    )
    if as_json:
        print_json(asdict(report))
        return
    print_table(f"recovered: {out}", report_rows(report))


@app.command(epilog=examples("packtrain diff check alpaca-7b-wdiff/ --base llama-7b-hf/"))
def check(
    folder: Annotated[Path, typer.Argument(help="A diff folder, or a folder recovered from one.")],
    base: Annotated[str | None, typer.Option(help="Verify this base too.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a diff, its base or a recovered model against the recorded hashes; exit 1 names what differs."""
    from dataclasses import asdict

    from packtrain.core.errors import UserError
    from packtrain.diff.check import check as run_check
    from packtrain.weights.source import model_folder

    if not folder.is_dir():
        raise UserError(f"no folder at {folder}", "give a diff folder, or one recovered from a diff")
    report = run_check(folder, model_folder(base) if base else None)
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        found = [(f"{problem.where}: {problem.name}", problem.what) for problem in report.problems]
        verdict = "everything is as recorded" if report.ok else f"{len(found)} differences"
        print_table(f"checked: {folder}", [*report_rows(report), ("verdict", verdict), *found])
    raise typer.Exit(0 if report.ok else 1)


@app.command(
    epilog=examples(
        "packtrain diff explain alpaca-7b-wdiff/ --base llama-7b-hf/ --plot alpaca.png",
        "# any tuned model beside its base will do",
        "packtrain diff explain tuned/ --base llama-7b-hf/",
    )
)
def explain(
    diff: Annotated[str, typer.Argument(help="A diff, or a tuned model: a folder or a Hub id.")],
    base: Annotated[
        str | None, typer.Option(help="The base model; a diff of the float form says something without it too.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Whose diff it is, when it has no manifest: see packtrain diff recover.")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Matrices whose singular values are computed.")] = 8,
    tensors: Annotated[bool, typer.Option("--tensors", help="Print a table of all tensors too.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a figure: a .png, .pdf or .svg file.")] = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Say what fine-tuning changed: where, how much, in how many directions, and what is odd about it."""
    from dataclasses import asdict

    from packtrain.cli.explain_tables import print_explanation
    from packtrain.diff.explain import explain as run_explain
    from packtrain.diff.explain_plot import check_plot, write_plot
    from packtrain.weights.source import model_folder

    if plot is not None:
        check_plot(plot, overwrite)
    folders = model_folder(diff), model_folder(base) if base is not None else None
    explanation = run_explain(*folders, family=family, sample=sample, jobs=jobs)
    if plot is not None:
        write_plot(explanation, plot, "/".join(Path(diff).parts[-2:]), overwrite=overwrite)
    if as_json:
        print_json(asdict(explanation))
    else:
        print_explanation(explanation, diff, with_tensors=tensors)
