"""An answer depends on its prompt and its seed alone: not on the batch, a shared beginning, or the memory there is."""

from typing import Any

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.models.base import Completion, Sampling
from packtrain.models.local import LocalModel
from packtrain.models.memory import Budget

from .conftest import ARCHITECTURES, PLAIN, WAYS, OpenModel

SHOTS = "Name a colour. The lamp is red.\n" * 4
APART = ["The lamp", "Name a colour. Count to ten:", "a", "The river runs to the sea, and the sea is", "one, two"]
ALIKE = [SHOTS + tail for tail in ("The river", "Name a colour.", "The", "Count to ten: one, two,", "a")]
ASKED = [*APART, *ALIKE, ALIKE[0]]
GREEDY = Sampling(max_new_tokens=14)
DRAWN = Sampling(max_new_tokens=14, temperature=0.9, top_p=0.9)


def answers(model: LocalModel, prompts: list[str], sampling: Sampling, seeds: Any = ()) -> list[Completion]:
    found = dict(model.generate_each(prompts, sampling, seeds))
    return [found[index] for index in range(len(prompts))]


def whole_ids(model: LocalModel, prompts: list[str], sampling: Sampling) -> dict[int, list[int]]:
    """The tokens of each answer."""
    asked = model.encoder.asked(prompts, sampling)
    rows = model._rows(asked, sampling, lambda one: model._row(one, sampling))
    return {row.asked.index: row.text.ids for row in rows}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_answers_are_those_of_transformers_in_any_batch(tiny: OpenModel, name: str) -> None:
    model = tiny(name)
    assert model.forward.way == WAYS.get(name, "shared")
    expected = {}
    for index, prompt in enumerate(ASKED):
        ids = torch.tensor([model.tokenizer.ids(prompt)])
        settings = {"max_new_tokens": 14, "do_sample": False, "eos_token_id": 2, "pad_token_id": 0}
        made = model.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, ids.shape[1] :]
        expected[index] = [token for token in made.tolist() if token != 2]
    assert whole_ids(model, ASKED, GREEDY) == expected
    assert len({tuple(ids) for ids in expected.values()}) > 8


@pytest.mark.parametrize("name", [*PLAIN, "gemma3"])
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_alone_together_and_in_small_batches_the_same(
    tiny: OpenModel, name: str, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seeds = tiny(name), range(len(ASKED))
    together = answers(model, ASKED, sampling, seeds)
    assert [answers(model, [prompt], sampling, [seed])[0] for seed, prompt in enumerate(ASKED)] == together
    monkeypatch.setattr(model.budget, "rows", 3)
    assert answers(model, ASKED, sampling, seeds) == together
    assert answers(model, ASKED[::-1], sampling, seeds[::-1]) == together[::-1]


def test_samples_of_one_prompt_come_from_one_prefill(tiny: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, widths = tiny("llama"), []
    behind = model.forward.behind

    def seen(beginning: Any, rows: Any, **given: Any) -> Any:
        widths.append([len(row) for row in rows])
        return behind(beginning, rows, **given)

    monkeypatch.setattr(model.forward, "behind", seen)
    drawn = answers(model, [SHOTS] * 6, DRAWN, range(6))
    assert widths == [[1] * 6]
    assert len({one.text for one in drawn}) == 6
    assert drawn == [answers(model, [SHOTS], DRAWN, [seed])[0] for seed in range(6)]


def test_rows_end_on_their_own_leave_and_make_room(tiny: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = tiny("llama"), []
    advance = model.forward.next
    free = answers(model, ASKED, GREEDY)
    stops = tuple({one.text[2:4] for one in free[:7]} - {""})
    sampling = Sampling(max_new_tokens=14, stop=stops)

    def seen(memory: Any, tokens: Any) -> Any:
        rows.append(len(tokens))
        return advance(memory, tokens)

    monkeypatch.setattr(model.forward, "next", seen)
    monkeypatch.setattr(model.budget, "rows", 4)
    found = answers(model, ASKED, sampling)
    for before, after in zip(free, found, strict=True):
        ends = [before.text.find(stop) for stop in stops if stop in before.text]
        assert after.text == (before.text[: min(ends)] if ends else before.text)
        assert after.finish_reason == ("stop" if ends else before.finish_reason)
        assert after.completion_tokens <= before.completion_tokens
    assert max(rows) <= 4
    assert sum(rows) < 11 * 13


def test_out_of_memory_halves_the_batch_and_changes_no_answer(
    tiny: OpenModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tiny("llama")
    expected = answers(model, ASKED, DRAWN, range(11))
    behind, advance, steps = model.forward.behind, model.forward.next, []

    def tight(beginning: Any, rows: Any, **given: Any) -> Any:
        if len(rows) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
        return behind(beginning, rows, **given)

    def tighter(memory: Any, tokens: Any) -> Any:
        steps.append(len(tokens))
        if len(steps) > 3 and len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return advance(memory, tokens)

    monkeypatch.setattr(model.forward, "behind", tight)
    monkeypatch.setattr(model.forward, "next", tighter)
    monkeypatch.setitem(model.__dict__, "budget", Budget(model.device, model.forward.bytes_per_token, 0))
    assert answers(model, ASKED, DRAWN, range(11)) == expected
    assert max(steps[-10:]) <= 2
    assert "out of memory; going on with batches of" in capfd.readouterr().err


def test_a_single_row_that_does_not_fit_is_an_error(tiny: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name, part in (("llama", "_run"), ("mamba", None)):
        model = tiny(name)
        if part is None:
            monkeypatch.setattr(model.model, "generate", full)
        else:
            monkeypatch.setattr(model.forward, part, full)
        monkeypatch.setitem(model.__dict__, "budget", Budget(model.device, 1, 0))
        with pytest.raises(UserError, match=r"out of memory: one prompt of \d+ tokens does not fit") as caught:
            answers(model, APART, GREEDY)
        assert "shorter prompts" in caught.value.hint


def test_other_errors_are_not_taken_for_memory(tiny: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **more: Any) -> Any:
        raise RuntimeError("shapes do not match")

    model = tiny("llama")
    assert model.budget.rows > 1
    monkeypatch.setattr(model.forward, "_run", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        answers(model, APART, GREEDY)


@pytest.mark.parametrize("name", [*PLAIN, "mamba"])
def test_an_answer_ends_where_the_context_ends(tiny: OpenModel, name: str) -> None:
    model = tiny(name)
    long = "one, two " * 68
    room = 512 - len(model.tokenizer.ids(long))
    assert 0 < room < 60
    [first, second, third] = answers(model, [APART[0], long, long + "x"], Sampling(max_new_tokens=60))
    assert [second.completion_tokens <= room, third.completion_tokens < room] == [True, True]
    assert first == answers(model, [APART[0]], Sampling(max_new_tokens=60))[0]
