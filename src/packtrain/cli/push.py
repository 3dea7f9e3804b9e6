"""`packtrain push`: an output folder to the Hugging Face Hub, looked through first."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from packtrain.cli.examples import examples
from packtrain.cli.options import Json, print_json, print_table

if TYPE_CHECKING:
    from packtrain.pipeline.push.plan import PushPlan

EXAMPLE = examples(
    "packtrain push work/diff/ --repo my-org/my-model-diff",
    "# the same, and it is sent",
    "packtrain push work/diff/ --repo my-org/my-model-diff --yes",
)
_SHOWN_HASH = 12


def push(
    folder: Annotated[Path, typer.Argument(help="A folder that packtrain made: a model, a diff, or data.")],
    repo: Annotated[str, typer.Option(help="Repository on the Hub, OWNER/NAME; made if it is not there.")],
    dataset: Annotated[bool, typer.Option("--dataset", help="The folder is data.")] = False,
    branch: Annotated[str, typer.Option(help="Branch; made if it is not there.")] = "main",
    private: Annotated[bool, typer.Option("--private", help="Only members of OWNER see a new repository.")] = False,
    gated: Annotated[
        bool, typer.Option("--gated", help="Approve each reader by hand; a card with a form implies it.")
    ] = False,
    include: Annotated[
        list[str] | None, typer.Option(help="Send files of this name or pattern, too; may be given several times.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="You looked: what seems to be a secret in FILE is none.")
    ] = None,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Send it; without, nothing leaves this machine.")] = False,
    as_json: Json = False,
) -> int:
    """Publish a folder: shows what would be sent, and sends it with --yes. An interrupted push goes on."""
    from packtrain.pipeline.push.plan import plan_push

    plan = plan_push(
        folder,
        repo,
        dataset=dataset,
        branch=branch,
        private=private,
        gated=gated,
        include=include or (),
        accept=accept or (),
    )
    if not as_json:
        _print_plan(plan)
    if not yes:
        print_json({"sent": False, **plan.as_json()}) if as_json else print("nothing was sent; --yes sends it")
        return 0
    from packtrain.pipeline.push.send import push as send

    report = send(plan, message)
    if as_json:
        print_json({"plan": plan.as_json(), **report.as_json()})
    else:
        _print_report(report)
    return 0 if report.ok else 1


def _print_plan(plan: "PushPlan") -> None:
    access = "private" if plan.private else "public, or as it is where it exists"
    rows = [
        ("to", f"{plan.url} ({plan.repo_type}), branch {plan.branch}"),
        ("made by", f"packtrain {plan.stage}"),
        ("seen by", f"{access}; {'each reader approved by hand' if plan.gated else 'no gate'}"),
        ("licence", plan.card.licence or "none named"),
        ("size", f"{len(plan.files):,} files, {plan.bytes:,} bytes"),
        ("verified", "run.json" + (" and every tensor" if plan.tensors_checked else "")),
    ]
    print_table(f"{plan.folder.name}: what is sent", rows)
    width = max(len(file.name) for file in plan.files)
    for file in plan.files:
        print(f"{file.name:{width}}  {file.size:>15,}  {file.sha256[:_SHOWN_HASH]}")
    if plan.left_out:
        print(f"left out: {', '.join(plan.left_out)}")
    if plan.card.text:
        print(f"\nfront matter of the card:\n{plan.card.text.rstrip()}")
    for note in plan.notes:
        print(f"note: {note}")


def _print_report(report: Any) -> None:
    rows = [
        ("at", report.url),
        ("commit", report.commit),
        ("sent", f"{len(report.sent):,} files"),
        ("there before", f"{len(report.already_there):,} files"),
        ("seen by", f"{'private' if report.private else 'public'}; gate: {report.gate or 'none'}"),
        ("verified", "every file" if report.ok else "; ".join(report.problems)),
    ]
    if report.others:
        rows.insert(4, ("left alone", ", ".join(report.others)))
    print_table("published" if report.ok else "not as it should be", rows)
