"""From a global batch to micro-batches: what each process computes at once, without changing what the batch teaches.

The examples of a step are spread over the processes, longest first, each to the process with the fewest tokens so
far. Each process lays its examples one behind the other in rows of at most a budget of tokens (first-fit
decreasing), or, where a model cannot keep neighbours in a row apart, pads examples of like length to one length.
Every token carries its own weight in the loss of the whole batch, so none of this changes the update.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from packtrain.core.recipe import Train
from packtrain.prompts.encode import IGNORED, Example


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows `[rows, length]` that go through the model together.

    Either one row of several examples without any padding, or one example per row, padded on the right.
    """

    input_ids: torch.Tensor
    """int64."""
    position_ids: torch.Tensor
    """int64; begins at 0 with every example."""
    labels: torch.Tensor
    """int64; IGNORED where nothing is learnt, and on the first token of every example, which nothing predicts."""
    weights: torch.Tensor
    """float32; what the cross-entropy of each learnt token counts in the loss of the global batch."""
    lengths: tuple[int, ...]
    """Tokens of each example."""
    sources: tuple[str, ...]
    """The data set of each example."""
    counts: bool = True
    """False for a stand-in that keeps a process in step with the others and adds nothing."""

    @property
    def packed(self) -> bool:
        """Whether several examples lie in one row."""
        return len(self.lengths) != self.input_ids.shape[0]

    def to(self, device: torch.device) -> "MicroBatch":
        """The same on `device`."""
        if device.type == "cpu":
            return self
        moved = {
            name: getattr(self, name).pin_memory().to(device, non_blocking=True)
            for name in ("input_ids", "position_ids", "labels", "weights")
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class Layout:
    """How micro-batches are laid out."""

    tokens: int
    """The most tokens of a micro-batch, padding counted; a longer example is a micro-batch of its own."""
    packed: bool
    pad_id: int
    rank: int = 0
    world_size: int = 1


def example_weights(examples: Sequence[Example], settings: Train) -> list[float]:
    """What each learnt token of each example counts, so that the weighted sum over the batch is the recipe's average.

    `token`: one over all learnt tokens of the batch. `example_mean`: one over the example's own and the number of
    examples. `microbatch_mean`: one over those of the group of `micro_batch_size` neighbours that the example is in,
    and the number of groups, as trainers did until late 2024. Examples or groups that teach nothing count in the
    number of groups, as they did.
    """
    learnt = [example.learnt_tokens for example in examples]
    if settings.loss_averaging == "token":
        return [1.0 / max(1, sum(learnt))] * len(examples)
    size = settings.micro_batch_size if settings.loss_averaging == "microbatch_mean" else 1
    groups = [sum(learnt[start : start + size]) for start in range(0, len(learnt), size)]
    return [1.0 / (max(1, groups[index // size]) * len(groups)) for index in range(len(examples))]


def micro_batches(examples: Sequence[Example], weights: Sequence[float], layout: Layout) -> list[MicroBatch]:
    """The micro-batches of process `layout.rank` for one global batch; every process gets the same number.

    A function of the examples' lengths, so all processes know it without asking each other.
    """
    lengths = [len(example.input_ids) for example in examples]
    shares = spread(lengths, layout.world_size)
    cut = _packs if layout.packed else _like_lengths
    bins = [cut(lengths, share, layout.tokens) for share in shares]
    made = [
        _packed(examples, weights, chosen) if layout.packed else _padded(examples, weights, chosen, layout.pad_id)
        for chosen in bins[layout.rank]
    ]
    count = max(len(own) for own in bins)
    if len(made) < count:
        made += [_stand_in(examples, layout)] * (count - len(made))
    return made


def spread(lengths: Sequence[int], shares: int) -> list[list[int]]:
    """Indices of `lengths` in `shares` lists of about the same sum: longest first, each to the least filled."""
    filled = [0] * shares
    chosen: list[list[int]] = [[] for _ in range(shares)]
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        share = min(range(shares), key=lambda share: (filled[share], share))
        chosen[share].append(index)
        filled[share] += lengths[index]
    return chosen


def _packs(lengths: Sequence[int], share: Sequence[int], tokens: int) -> list[list[int]]:
    """First-fit decreasing: each example into the first row that has room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for index in share:  # longest first, as spread leaves them
        fits = next((row for row, left in enumerate(room) if left >= lengths[index]), None)
        if fits is None:
            rows.append([index])
            room.append(tokens - lengths[index])
        else:
            rows[fits].append(index)
            room[fits] -= lengths[index]
    return rows


def _like_lengths(lengths: Sequence[int], share: Sequence[int], tokens: int) -> list[list[int]]:
    """Neighbours in length together, as many as fit when padded to the longest of them."""
    groups: list[list[int]] = []
    for index in share:
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _packed(examples: Sequence[Example], weights: Sequence[float], chosen: Sequence[int]) -> MicroBatch:
    parts = [examples[index] for index in chosen]
    lengths = tuple(len(part.input_ids) for part in parts)
    labels = np.concatenate([np.asarray(part.labels, np.int64) for part in parts])
    labels[np.cumsum((0, *lengths[:-1]))] = IGNORED
    return MicroBatch(
        input_ids=torch.from_numpy(np.concatenate([np.asarray(part.input_ids, np.int64) for part in parts]))[None],
        position_ids=torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))[None],
        labels=torch.from_numpy(labels)[None],
        weights=torch.from_numpy(np.repeat(np.array([weights[i] for i in chosen], np.float32), lengths))[None],
        lengths=lengths,
        sources=tuple(part.dataset for part in parts),
    )


def _padded(examples: Sequence[Example], weights: Sequence[float], chosen: Sequence[int], pad_id: int) -> MicroBatch:
    parts = [examples[index] for index in chosen]
    lengths = tuple(len(part.input_ids) for part in parts)
    ids = torch.full((len(parts), max(lengths)), pad_id)
    labels = torch.full_like(ids, IGNORED)
    for row, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        ids[row, :length] = torch.as_tensor(part.input_ids)
        labels[row, 1:length] = torch.as_tensor(part.labels)[1:]
    return MicroBatch(
        input_ids=ids,
        position_ids=torch.arange(ids.shape[1]).expand_as(ids).contiguous(),
        labels=labels,
        weights=torch.tensor([weights[index] for index in chosen])[:, None].expand_as(ids).contiguous(),
        lengths=lengths,
        sources=tuple(part.dataset for part in parts),
    )


def _stand_in(examples: Sequence[Example], layout: Layout) -> MicroBatch:
    """Two tokens that teach nothing: every process goes through the model equally often."""
    ids = torch.as_tensor(np.asarray(examples[0].input_ids[:2], np.int64))[None]
    return MicroBatch(
        input_ids=ids,
        position_ids=torch.arange(ids.shape[1])[None],
        labels=torch.full_like(ids, IGNORED),
        weights=torch.zeros(ids.shape),
        lengths=(ids.shape[1],),
        sources=(examples[0].dataset,),
        counts=False,
    )
