"""What is worth knowing about a fine-tuning, in sentences: only what the figures show."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from packtrain.diff.change_figures import GroupChange, TensorChange
from packtrain.diff.change_rank import ChangeRank
from packtrain.diff.groups import EMBEDDINGS, usual_order

OUTLIER = 10.0
"""A layer whose relative change is so many times the median is named."""
HARDLY = 1e-3
"""So is one below this share of the median, and a tensor whose norm fell below this share of the base's."""
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing."""

    about: str
    """`same`, `nan`, `zero`, `vanished`, `frozen`, `outlier`, `hardly`, `lora`, `new rows` or `untold`."""
    sentence: str
    tensors: tuple[str, ...]
    """All that it is about; the sentence may name the first ones alone."""


def findings(
    tensors: Sequence[TensorChange], groups: Sequence[GroupChange], ranks: Sequence[ChangeRank], untold: Sequence[str]
) -> list[Finding]:
    """All that there is to say, what speaks of damage first."""
    compared = [each for each in tensors if each.weights]
    found = [*_not_finite(tensors), *_zero(tensors), *_vanished(tensors)]
    if compared and all(each.frozen for each in compared):
        sentence = "tuned model and base are the same to the bit: nothing was trained"
        found.append(Finding("same", sentence, tuple(each.name for each in compared)))
    else:
        found += [*_lora(ranks), *_uneven(tensors, groups), *_new_rows(tensors), *_frozen(compared, groups)]
    if untold:
        sentence = (
            f"a tied table, from which the base was subtracted twice, says nothing without it (--base): {_some(untold)}"
        )
        found.append(Finding("untold", sentence, tuple(untold)))
    return found


def _not_finite(tensors: Sequence[TensorChange]) -> Iterator[Finding]:
    for what, count in _NOT_FINITE.items():
        names = [each.name for each in tensors if count(each)]
        if names:
            total = sum(count(each) for each in tensors)
            where = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
            yield Finding("nan", f"{total:,} {what} in {where}: {_some(names)}", tuple(names))


_NOT_FINITE: dict[str, Callable[[TensorChange], int]] = {
    "NaN": lambda tensor: tensor.nan,
    "infinite": lambda tensor: tensor.infinite,
}


def _zero(tensors: Sequence[TensorChange]) -> Iterator[Finding]:
    for before, what in ((True, "zeros in both models"), (False, "zeros in the tuned model alone")):
        names = [each.name for each in tensors if each.all_zero and (each.base_norm == 0) == before]
        if names:
            yield Finding("zero", f"nothing but {what}: {_some(names)}", tuple(names))


def _vanished(tensors: Sequence[TensorChange]) -> Iterator[Finding]:
    names = [
        each.name
        for each in tensors
        if each.tuned_norm is not None and each.base_norm and 0 < each.tuned_norm < HARDLY * each.base_norm
    ]
    if names:
        sentence = f"the norm is near zero, less than {HARDLY:g} of the base's: {_some(names)}"
        yield Finding("vanished", sentence, tuple(names))


def _frozen(tensors: Sequence[TensorChange], groups: Sequence[GroupChange]) -> Iterator[Finding]:
    """Whole layers, what is no layer, kinds in all layers that are left, then single tensors.

    Vectors in 16 bits come last and with a doubt: they often stay as they are because the steps were too small.
    """
    whole = {each.group for each in groups if each.weights and each.tensors == each.frozen_tensors}
    layers = [each for each in groups if each.layer is not None]
    frozen_layers = [each for each in tensors if each.group in whole and each.layer is not None]
    if frozen_layers:
        names, some = _ranges(layers, whole), "layer" if len({each.group for each in frozen_layers}) == 1 else "layers"
        yield Finding("frozen", f"never trained: all of {some} {names}", _names(frozen_layers))
    around = [each for each in tensors if each.group in whole and each.layer is None]
    if certain := [each for each in around if _shows(each)]:
        parts = list(dict.fromkeys(each.group for each in certain))
        verb = "is" if len(parts) == 1 and parts != [EMBEDDINGS] else "are"
        yield Finding(
            "frozen", f"the {_and([*parts[:1], *(f'the {part}' for part in parts[1:])])} {verb} frozen", _names(certain)
        )
    left = [each for each in tensors if each.group not in whole]
    kinds = _frozen_kinds(left)
    of_kinds = [each for each in left if each.layer is not None and each.kind in kinds]
    where, nowhere = ("in the other layers",) * 2 if frozen_layers else ("in all layers", "in any layer")
    if certain := [each for each in of_kinds if _shows(each)]:
        yield Finding("frozen", f"never trained {nowhere}: {', '.join(_kinds(certain))}", _names(certain))
    single = [each for each in left if each.frozen and each not in of_kinds]
    if certain := [each for each in single if _shows(each)]:
        yield Finding("frozen", f"frozen, unlike what is around: {_some(_names(certain))}", _names(certain))
    if doubtful := [each for each in [*around, *of_kinds, *single] if not _shows(each)]:
        of_all = _kinds([each for each in of_kinds if not _shows(each)])
        parts = [f"the {group}" for group in dict.fromkeys(each.group for each in around if not _shows(each))]
        parts += [f"{', '.join(of_all)} {where}"] if of_all else []
        lone = _names([each for each in single if not _shows(each)])
        parts += [_some(lone)] if lone else []
        dtypes = " or ".join(dict.fromkeys(each.dtype or "their type" for each in doubtful))
        sentence = f"frozen, or changed by less than {dtypes} can show: {'; '.join(parts)}"
        yield Finding("frozen", sentence, _names(doubtful))


def _frozen_kinds(tensors: Sequence[TensorChange]) -> set[str]:
    """Kinds of which several layers have one and none of these changed."""
    times = Counter(each.kind for each in tensors if each.layer is not None)
    still = Counter(each.kind for each in tensors if each.layer is not None and each.frozen)
    return {kind for kind in still if still[kind] == times[kind] > 1}


def _kinds(tensors: Sequence[TensorChange]) -> list[str]:
    return sorted({each.kind for each in tensors}, key=usual_order)


def _names(tensors: Sequence[TensorChange]) -> tuple[str, ...]:
    return tuple(each.name for each in tensors)


def _shows(tensor: TensorChange) -> bool:
    """Whether training would have shown."""
    return len(tensor.shape) > 1 or tensor.dtype not in ("bfloat16", "float16", None)


def _ranges(layers: Sequence[GroupChange], chosen: set[str]) -> str:
    """`0-3 and 7`."""
    runs: list[list[str]] = []
    before = False
    for each in layers:
        now = each.group in chosen
        if now and before:
            runs[-1] = [runs[-1][0], each.group]
        elif now:
            runs.append([each.group])
        before = now
    return _and(["-".join(run) for run in runs])


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _uneven(tensors: Sequence[TensorChange], groups: Sequence[GroupChange]) -> Iterator[Finding]:
    trained = [each for each in groups if each.layer is not None and each.norm > 0]
    sizes = {each.group: each.relative_norm if each.base_norm is not None else each.rms for each in trained}
    known = [size for size in sizes.values() if size is not None]
    if len(known) < 3:
        return
    middle, what = median(known), "relative change" if trained[0].base_norm is not None else "change"
    for each in trained:
        size = sizes[each.group] or middle
        if OUTLIER * middle < size or size < HARDLY * middle:
            about, times = ("outlier", size / middle) if size > middle else ("hardly", middle / size)
            comparison = f"{times:,.0f} times {'the median of all layers' if size > middle else 'less than the median'}"
            most = max((one for one in tensors if one.group == each.group), key=lambda one: one.norm)
            most_in = f", most of it in {most.name}" if size > middle else ""
            sentence = f"layer {each.group}: its {what} ({size:.2g}) is {comparison} ({middle:.2g}){most_in}"
            yield Finding(about, sentence, tuple(one.name for one in tensors if one.group == each.group))


def _lora(ranks: Sequence[ChangeRank]) -> Iterator[Finding]:
    """Where most of the sampled matrices, which all changed, say so: one alone may hold an outlier."""
    low = [each for each in ranks if each.lora_rank is not None]
    if 2 * len(low) <= len(ranks):
        return
    found = sorted({each.lora_rank for each in low if each.lora_rank is not None})
    most_often = Counter(each.lora_rank for each in low).most_common(1)[0][0]
    rank = f"rank {found[0]}" if len(found) == 1 else f"rank {found[0]} to {found[-1]}, most often {most_often}"
    which = f"all {len(low)}" if len(low) == len(ranks) else f"{len(low)} of the {len(ranks)}"
    sizes = sorted({each.full_rank for each in low})
    full = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    sentence = f"looks like a merged LoRA: {which} sampled matrices changed by a product of {rank}, of {full} possible"
    yield Finding("lora", sentence, tuple(each.name for each in low))


def _new_rows(tensors: Sequence[TensorChange]) -> Iterator[Finding]:
    for each in tensors:
        for count, what in (
            (each.rows_at_mean, "the mean of the base's rows"),
            (each.rows_zero or 0, "zero"),
        ):
            if count and each.grown_rows == 1:
                yield Finding("new rows", f"the new row of {each.name} is {what}: never trained", (each.name,))
            elif count:
                sentence = f"{count} of the {each.grown_rows} new rows of {each.name} are {what}: never trained"
                yield Finding("new rows", sentence, (each.name,))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
