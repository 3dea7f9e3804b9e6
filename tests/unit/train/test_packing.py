"""However a global batch is cut, every token of it is learnt once, with the weight that the recipe gives it."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from packtrain.core.recipe import Train
from packtrain.prompts.encode import IGNORED, Example
from packtrain.train.packing import Layout, MicroBatch, example_weights, micro_batches, spread

PAD = 7
AVERAGES = ("token", "microbatch_mean", "example_mean")


def example(number: int, length: int, learnt: Sequence[bool]) -> Example:
    """Tokens that tell where they belong: the example's number in thousands, the place in it in ones."""
    ids = [1000 * (number + 1) + place for place in range(length)]
    labels = [token if wanted else IGNORED for token, wanted in zip(ids, learnt, strict=True)]
    return Example("odd" if number % 2 else "even", str(number), ids, labels)


def recipe(average: str, micro_batch_size: int = 2) -> Train:
    return Train(
        lr=1e-3,
        epochs=1,
        global_batch_size=8,
        micro_batch_size=micro_batch_size,
        loss_averaging=average,
        max_length_tokens=64,
    )


@st.composite
def batches(draw: st.DrawFn) -> list[Example]:
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=24))
    return [
        example(number, length, draw(st.lists(st.booleans(), min_size=length, max_size=length)))
        for number, length in enumerate(lengths)
    ]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    return Layout(
        tokens=draw(st.integers(1, 100)), packed=draw(st.booleans()), pad_id=PAD, world_size=draw(st.integers(1, 5))
    )


def of_all_ranks(examples: Sequence[Example], weights: Sequence[float], layout: Layout) -> list[list[MicroBatch]]:
    def of(rank: int) -> Layout:
        return Layout(layout.tokens, layout.packed, layout.pad_id, rank, layout.world_size)

    return [micro_batches(examples, weights, of(rank)) for rank in range(layout.world_size)]


def parts(batch: MicroBatch) -> list[dict[str, Any]]:
    """The examples in a micro-batch, each cut out of it."""
    tensors = {name: getattr(batch, name) for name in ("input_ids", "position_ids", "labels", "weights")}
    found = []
    for row, length in enumerate(batch.lengths):
        start = sum(batch.lengths[:row])
        where = (0, slice(start, start + length)) if batch.packed else (row, slice(length))
        found.append(
            {name: tensor[where].tolist() for name, tensor in tensors.items()} | {"source": batch.sources[row]}
        )
    return found


@given(batches(), layouts(), st.sampled_from(AVERAGES))
@settings(max_examples=150, deadline=None)
def test_every_example_is_whole_and_in_one_place(examples: list[Example], layout: Layout, average: str) -> None:
    weights = example_weights(examples, recipe(average))
    made = of_all_ranks(examples, weights, layout)
    assert len({len(own) for own in made}) == 1
    found = {}
    for batch in (batch for own in made for batch in own if batch.counts):
        for part in parts(batch):
            number = part["input_ids"][0] // 1000 - 1
            assert number not in found
            found[number] = part
    assert sorted(found) == list(range(len(examples)))
    for number, part in found.items():
        wanted = examples[number]
        assert part["input_ids"] == list(wanted.input_ids)
        assert part["labels"] == [IGNORED, *list(wanted.labels)[1:]]
        assert part["position_ids"] == list(range(len(wanted.input_ids)))
        assert part["weights"] == pytest.approx([weights[number]] * len(wanted.input_ids))
        assert part["source"] == wanted.dataset


@given(batches(), layouts())
@settings(max_examples=150, deadline=None)
def test_shapes_budget_and_padding(examples: list[Example], layout: Layout) -> None:
    made = of_all_ranks(examples, [1.0] * len(examples), layout)
    for batch in (batch for own in made for batch in own):
        rows, length = batch.input_ids.shape
        for tensor in (batch.position_ids, batch.labels, batch.weights):
            assert tensor.shape == (rows, length)
        assert batch.input_ids.dtype == batch.position_ids.dtype == batch.labels.dtype == torch.int64
        assert batch.weights.dtype == torch.float32
        assert rows * length <= layout.tokens or len(batch.lengths) == 1 or not batch.counts
        assert len(batch.sources) == len(batch.lengths)
        if layout.packed:
            assert (rows, length) == (1, sum(batch.lengths))
            assert batch.packed == (len(batch.lengths) > 1)
        else:
            assert (rows, length) == (len(batch.lengths), max(batch.lengths))
            assert not batch.packed
            beyond = torch.arange(length) >= torch.tensor(batch.lengths)[:, None]
            assert set(batch.input_ids[beyond].tolist()) <= {PAD}
            assert set(batch.labels[beyond].tolist()) <= {IGNORED}


@given(batches(), layouts(), st.sampled_from(AVERAGES), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_the_weighted_sum_is_the_average_of_the_recipe(
    examples: list[Example], layout: Layout, average: str, size: int
) -> None:
    """With the token's own number as its loss; the averages as trainers define them, groups that teach nothing as 0."""
    loss = {token: (token * 37 % 101) / 10 for one in examples for token in one.input_ids}
    losses = [[loss[token] for token in list(one.labels)[1:] if token != IGNORED] for one in examples]
    if average == "token":
        every = [value for some in losses for value in some]
        expected = sum(every) / max(1, len(every))
    else:
        of_one = size if average == "microbatch_mean" else 1
        groups = [list(chain(*losses[start : start + of_one])) for start in range(0, len(losses), of_one)]
        expected = float(np.mean([np.mean(group) if group else 0.0 for group in groups]))
    total = 0.0
    for own in of_all_ranks(examples, example_weights(examples, recipe(average, size)), layout):
        for batch in own:
            learnt = batch.labels != IGNORED
            values = zip(batch.labels[learnt].tolist(), batch.weights[learnt].tolist(), strict=True)
            total += sum(weight * loss[token] for token, weight in values)
    assert total == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(batches(), layouts(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_lengths_alone_decide_the_cut(examples: list[Example], layout: Layout, random: Any) -> None:
    """In whatever order the examples stand, each process gets rows of the same lengths."""
    shuffled = random.sample(examples, len(examples))
    one, other = (of_all_ranks(some, [1.0] * len(some), layout) for some in (examples, shuffled))
    assert [[batch.lengths for batch in own] for own in one] == [[batch.lengths for batch in own] for own in other]


@given(st.lists(st.integers(1, 2048), min_size=1, max_size=200), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_shares_are_about_equal(lengths: list[int], count: int) -> None:
    shares = spread(lengths, count)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    sums = [sum(lengths[index] for index in share) for share in shares]
    assert max(sums) - min(sums) <= max(lengths)
    for share in shares:
        assert [lengths[index] for index in share] == sorted((lengths[index] for index in share), reverse=True)


def test_first_fit_decreasing_leaves_little_room() -> None:
    """A batch of 128 conversations of Alpaca's lengths in rows of 2,048 tokens: never more than one row beyond need."""
    lengths = np.random.default_rng(0).integers(60, 400, 128).tolist()
    examples = [example(number, length, [True] * length) for number, length in enumerate(lengths)]
    made = micro_batches(examples, [1.0] * 128, Layout(2048, True, PAD))
    assert len(made) <= -(-sum(lengths) // 2048) + 1
    filled = [sum(batch.lengths) for batch in made]
    assert min(filled[:-1]) > 0.95 * 2048


def test_a_process_with_less_to_do_gets_stand_ins() -> None:
    """They are forward and backward passes of two tokens that teach nothing."""
    examples = [example(number, length, [True] * length) for number, length in enumerate((30, 9, 9, 9))]
    made = [micro_batches(examples, [0.25] * 4, Layout(10, True, PAD, rank, 2)) for rank in (0, 1)]
    assert [[batch.lengths for batch in own] for own in made] == [[(30,), (2,), (2,)], [(9,), (9,), (9,)]]
    for batch in made[0][1:]:
        assert not batch.counts
        assert not batch.packed
        assert batch.input_ids.tolist() == [[1000, 1001]]
        assert batch.position_ids.tolist() == [[0, 1]]
        assert batch.labels.tolist() == [[IGNORED, IGNORED]]
        assert batch.weights.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("packed", [True, False])
def test_examples_of_one_token_teach_nothing(packed: bool) -> None:
    examples = [example(0, 1, [True]), example(1, 1, [True]), example(2, 3, [True, False, True])]
    for rank in (0, 1):
        for batch in micro_batches(examples, [1.0] * 3, Layout(64, packed, PAD, rank, 2)):
            assert [token for token in batch.labels.flatten().tolist() if token != IGNORED] in ([], [3002])
    alone = micro_batches(examples[:1], [1.0], Layout(64, packed, PAD, 1, 2))
    assert [batch.input_ids.tolist() for batch in alone] == [[[1000]]]
    assert [batch.counts for batch in alone] == [False]


def test_weights_of_unequal_groups() -> None:
    given = [example(number, length, [True] * length) for number, length in enumerate((3, 9, 9))]
    assert example_weights(given, recipe("token")) == [1 / 18] * 3
    assert example_weights(given, recipe("example_mean")) == pytest.approx([1 / 6, 1 / 24, 1 / 24])
    assert example_weights(given, recipe("microbatch_mean", 1)) == example_weights(given, recipe("example_mean"))
    assert example_weights(given, recipe("microbatch_mean", 2)) == [1 / 20, 1 / 20, 1 / 16]
    nothing = example(3, 4, [False] * 4)
    assert example_weights([nothing], recipe("token")) == [1.0]
    assert example_weights([*given, nothing], recipe("example_mean"))[:3] == pytest.approx([1 / 8, 1 / 32, 1 / 32])


def test_arrays_and_lists_are_the_same() -> None:
    """Tokens come as lists or, from the file of encoded conversations, as int32."""
    [batch] = micro_batches([example(0, 5, [True] * 5)], [0.5], Layout(64, True, PAD))
    ids = np.arange(1000, 1005, dtype=np.int32)
    for packed in (True, False):
        [same] = micro_batches([Example("even", "0", ids, ids)], [0.5], Layout(64, packed, PAD))
        for name in ("input_ids", "position_ids", "labels", "weights"):
            assert torch.equal(getattr(batch, name), getattr(same, name))
            assert getattr(batch, name).dtype == getattr(same, name).dtype
    assert ids.tolist() == list(range(1000, 1005))
    assert batch.to(torch.device("cpu")) is batch
