"""Answers on a GPU: sharing a beginning, batches and the memory there is change none of them."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
SHOTS = "Name a colour. The lamp is red.\n" * 12
PROMPTS = ["The lamp", *(SHOTS + tail for tail in ("The river", "Name a colour.", "Count to ten: one,", "a"))]


@pytest.mark.parametrize("base", ["tiny_base", "tiny_opt"])
def test_rows_that_share_a_beginning_answer_as_alone(base: str, request: pytest.FixtureRequest) -> None:
    from packtrain.models.base import Options, Sampling
    from packtrain.models.local import LocalModel

    folder: Path = request.getfixturevalue(base)
    model, sampling = LocalModel(folder), Sampling(max_new_tokens=14)
    assert (model.device.type, model.forward.way) == ("cuda", "shared")
    together = model.generate(PROMPTS, sampling)
    assert [model.generate([prompt], sampling)[0] for prompt in PROMPTS] == together
    words = [Options((" red", " is wide.", " x"))] * len(PROMPTS)
    chosen = dict(model.choose_each(PROMPTS, words, sampling))
    model.forward.way = "whole"
    assert model.generate(PROMPTS, sampling) == together
    for index, choice in model.choose_each(PROMPTS, words, sampling):
        assert choice.index == chosen[index].index
        assert choice.scores == pytest.approx(chosen[index].scores, abs=1e-3)
