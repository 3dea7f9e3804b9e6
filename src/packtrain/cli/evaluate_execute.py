"""`packtrain evaluate execute`: samples that any tool has made are run and judged."""

from pathlib import Path
from typing import Annotated

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, Overwrite, Resume, print_json, print_table

EXAMPLE = examples(
    "packtrain evaluate execute samples.jsonl --problems evaluation/humaneval/HumanEval.jsonl.gz --out verdicts.jsonl",
)


def execute(
    samples: Annotated[
        Path, typer.Argument(help='A file of samples: {"task_id": ..., "completion": ...} in each line.')
    ],
    problems: Annotated[Path, typer.Option(help="The problems, in HumanEval's form; may be gzipped.")],
    out: Annotated[Path, typer.Option(help="File for the samples with their verdicts.")],
    whole: Annotated[bool, typer.Option("--whole", help="Completions repeat the prompt: whole functions.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that a program may take.")] = 3.0,
    workers: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Programs at a time; default: one for each processor.")
    ] = None,
    accept_unsandboxed: Annotated[
        bool, typer.Option("--accept-unsandboxed", help="Run model-written code even where it cannot be contained.")
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run samples of a model against the tests of their problems, in a sandbox, and estimate pass@k.

    Needs no model. The sandbox is bubblewrap, or else Landlock and user namespaces, and is tried with hostile programs
    before the first sample.
    """
    from dataclasses import asdict

    from packtrain.evaluate.execute import execute_samples

    done = execute_samples(
        samples,
        problems,
        out,
        whole=whole,
        timeout_s=timeout_s,
        workers=workers,
        accept_unsandboxed=accept_unsandboxed,
        resume=resume,
        overwrite=overwrite,
    )
    if as_json:
        print_json({"out": str(out), **asdict(done)})
        return
    rows = [("sandbox", done.sandbox), ("samples", f"{done.samples:,}"), ("problems", f"{done.problems:,}")]
    if done.problems_without_samples:
        rows.append(("problems without samples, left out", f"{done.problems_without_samples:,}"))
    rows += [(f"verdict {kind}", f"{count:,}") for kind, count in done.verdicts.items()]
    rows += [(name, f"{percent:.3f} %") for name, percent in done.pass_at.items()]
    print_table(str(out), rows)
