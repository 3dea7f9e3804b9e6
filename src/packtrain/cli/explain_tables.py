"""How `packtrain diff explain` is printed: a table of layers, one of ranks, and the findings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from packtrain.diff.change_figures import GroupChange, TensorChange
    from packtrain.diff.explain import Explanation


def print_explanation(explanation: "Explanation", name: str, *, with_tensors: bool) -> None:
    """The whole report on stdout; the table of tensors only if asked for."""
    console = Console(highlight=False)
    if not console.is_terminal:  # in a file nothing needs to be cut to eighty columns
        console = Console(highlight=False, width=max(console.width, 160 if with_tensors else 120))
    if with_tensors:
        console.print(_tensor_table(explanation))
    console.print(_group_table(explanation, name))
    if explanation.ranks:
        console.print(_rank_table(explanation))
    for finding in explanation.findings:
        console.print(Text(f"- {finding.sentence}"), soft_wrap=True)
    if not explanation.findings:
        console.print("nothing unusual")
    if not explanation.with_base:
        console.print("without the base (--base) nothing can be said relative to it", style="dim")


def _table(title: str, columns: Sequence[str], texts: int) -> Table:
    """A table whose first `texts` columns are words, the others figures."""
    table = Table(title=Text(title), title_justify="left")
    for number, column in enumerate(columns):
        if number < texts:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _group_table(explanation: "Explanation", name: str) -> Table:
    relative = ["relative"] if explanation.with_base else []
    columns = ["layer", "tensors", "weights", "RMS of change", *relative, "changed", "largest"]
    table = _table(f"what fine-tuning changed: {name} ({explanation.form})", columns, 1)
    for group in explanation.groups:
        table.add_row(*_group_row(group, explanation), end_section=group is explanation.groups[-1])
    table.add_row(*_group_row(explanation.total, explanation))
    return table


def _group_row(group: "GroupChange", explanation: "Explanation") -> list[str]:
    return [
        group.group,
        str(group.tensors),
        f"{group.weights:,}",
        *_figures(group, explanation),
    ]


def _figures(change: "GroupChange | TensorChange", explanation: "Explanation") -> list[str]:
    relative = [_percent(change.relative_norm)] if explanation.with_base else []
    return [f"{change.rms:.2e}", *relative, _percent(change.share_changed), f"{change.largest:.2e}"]


def _tensor_table(explanation: "Explanation") -> Table:
    relative = ["relative"] if explanation.with_base else []
    columns = ["tensor", "shape", "type", "RMS of change", *relative, "changed", "largest", "at", "remarks"]
    table = _table("tensors", columns, 1)
    for tensor in explanation.tensors:
        at = ", ".join(map(str, tensor.largest_at)) if tensor.largest_at is not None else ""
        shape = " x ".join(map(str, tensor.shape))
        table.add_row(tensor.name, shape, tensor.dtype, *_figures(tensor, explanation), at, _remarks(tensor))
    return table


def _remarks(tensor: "TensorChange") -> str:
    remarks = {
        "not in the base": not tensor.weights,
        "frozen": tensor.frozen,
        "all zeros": bool(tensor.all_zero),
        f"{tensor.nan:,} NaN": tensor.nan > 0,
        f"{tensor.infinite:,} infinite": tensor.infinite > 0,
        f"+{tensor.grown_rows} rows": tensor.grown_rows > 0,
    }
    return ", ".join(remark for remark, holds in remarks.items() if holds)


def _rank_table(explanation: "Explanation") -> Table:
    columns = ["matrix", "shape", "stable rank", "entropy rank", "90 % in", "99 % in", "of", "LoRA rank"]
    table = _table("singular values of the change, for a sample of matrices", columns, 1)
    for rank in explanation.ranks:
        table.add_row(
            rank.name,
            f"{rank.shape[0]} x {rank.shape[1]}",
            f"{rank.stable_rank:.1f}",
            f"{rank.entropy_rank:.1f}",
            str(rank.rank_90),
            str(rank.rank_99),
            str(rank.full_rank),
            str(rank.lora_rank) if rank.lora_rank is not None else "",
        )
    return table


def _percent(share: float | None) -> str:
    return f"{100 * share:.3g} %" if share is not None else ""
