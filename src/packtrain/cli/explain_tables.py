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
    console.print(Text(f"what fine-tuning changed: {name} ({explanation.form})"), soft_wrap=True)
    if with_tensors:
        console.print(_tensor_table(explanation))
    console.print(_group_table(explanation))
    if explanation.ranks:
        console.print("singular values of the change, for a sample of matrices")
        console.print(_rank_table(explanation))
    for finding in explanation.findings:
        console.print(Text(f"- {finding.sentence}"), soft_wrap=True)
    if not explanation.findings:
        console.print("nothing unusual")
    if not explanation.with_base:
        console.print("without the base (--base) nothing can be said relative to it", style="dim")


def _table(columns: Sequence[str]) -> Table:
    """A table whose first column is words, the others figures."""
    table = Table()
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _figure_columns(explanation: "Explanation") -> list[str]:
    relative = ["relative\nnorm"] if explanation.with_base else []
    return ["RMS of\nchange", *relative, "changed", "largest"]


def _group_table(explanation: "Explanation") -> Table:
    columns = ["layer", "tensors", "weights", *_figure_columns(explanation)]
    table = _table(columns)
    for group in explanation.groups:
        table.add_row(*_group_row(group, explanation), end_section=group is explanation.groups[-1])
    table.add_row(*_group_row(explanation.total, explanation))
    return table


def _group_row(group: "GroupChange", explanation: "Explanation") -> list[str]:
    return [group.group, str(group.tensors), _count(group.weights), *_figures(group, explanation)]


def _figures(change: "GroupChange | TensorChange", explanation: "Explanation") -> list[str]:
    relative = [_percent(change.relative_norm)] if explanation.with_base else []
    return [_size(change.rms), *relative, _percent(change.share_changed), _size(change.largest)]


def _tensor_table(explanation: "Explanation") -> Table:
    columns = ["tensor", "shape", "type", *_figure_columns(explanation), "at", "remarks"]
    table = _table(columns)
    for tensor in explanation.tensors:
        at = ", ".join(map(str, tensor.largest_at)) if tensor.largest_at is not None else ""
        shape = " x ".join(map(str, tensor.shape))
        table.add_row(tensor.name, shape, tensor.dtype or "", *_figures(tensor, explanation), at, _remarks(tensor))
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
    columns = ["matrix", "shape", "stable\nrank", "entropy\nrank", "90 %\nin", "99 %\nin", "of", "LoRA\nrank"]
    table = _table(columns)
    for rank in explanation.ranks:
        table.add_row(
            f"{rank.group} {rank.kind}",
            f"{rank.shape[0]} x {rank.shape[1]}",
            f"{rank.stable_rank:.1f}",
            f"{rank.entropy_rank:.1f}",
            str(rank.rank_90),
            str(rank.rank_99),
            str(rank.full_rank),
            str(rank.lora_rank) if rank.lora_rank is not None else "",
        )
    return table


def _count(number: int) -> str:
    """`45.4 K`, `6.74 B`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _size(size: float) -> str:
    return f"{size:.2e}" if size else "0"


def _percent(share: float | None) -> str:
    return f"{100 * share:.3g} %" if share is not None else ""
