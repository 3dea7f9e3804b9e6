"""The self-test lets pass what is exact, and nothing else: one fault after another is built in and has to be found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.prompts.encode import Example
from packtrain.train import attention as attention_module
from packtrain.train import objective as objective_module
from packtrain.train.distributed import Processes
from packtrain.train.objective import Objective
from packtrain.train.packing import Layout, MicroBatch, micro_batches
from packtrain.train.self_test import Verdict, prove

Allowed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Numbers of the conversations `[length]` and places in the row `[length]` to what may be seen `[length, length]`."""
DTYPES = [torch.float32, torch.bfloat16]
BuildBase = Callable[..., Any]


def causal(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return place[:, None] >= place[None]


def apart(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return causal(of, place) & (of[:, None] == of[None])


def sees_those_after(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return apart(of, place) | (of[:, None] < of[None])


def sees_last_word_before(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    ends = torch.cat([of[1:] != of[:-1], torch.tensor([True])])
    return apart(of, place) | (causal(of, place) & (place[:, None] - place[None] == 1) & ends[None])


def sees_first_word_after(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return apart(of, place) | ((place[None] - place[:, None] == 1) & (of[:, None] < of[None]))


def sees_what_follows(of: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return of[:, None] == of[None]


FAULTS = (causal, sees_those_after, sees_last_word_before, sees_first_word_after, sees_what_follows)


def seeing(allowed: Allowed) -> Callable[..., tuple[torch.Tensor, None]]:
    """An attention that sees what `allowed` says."""

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, None]:
        place = torch.arange(query.shape[2])
        lengths = attention_module._row.lengths or (len(place),)
        of = torch.repeat_interleave(torch.tensor(lengths))
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed(of, place))
        return found.transpose(1, 2).contiguous(), None

    return attend


def objective_of(model: Any, dtype: torch.dtype = torch.float32) -> Objective:
    """As the strategies make it: weights in the type that is computed in, everything else in float32."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    return Objective(model, dtype)


def verdict(objective: Objective, one_process: Processes, max_length_tokens: int = 64, **engine: Any) -> Verdict | str:
    """The last verdict, or the error's text."""
    try:
        return prove(
            objective, Engine(**{"packing": "on", "attention": "segments", **engine}), one_process, max_length_tokens
        )[-1]
    except UserError as error:
        return f"{error}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.2, 0.02])
@pytest.mark.parametrize("fault", FAULTS)
def test_attention_that_sees_too_much(
    build_base: BuildBase,
    one_process: Processes,
    monkeypatch: pytest.MonkeyPatch,
    fault: Allowed,
    scale: float,
    dtype: torch.dtype,
) -> None:
    objective = objective_of(build_base("llama", initializer_range=scale), dtype)
    monkeypatch.setattr(attention_module, "segment_attention", seeing(apart))
    right = verdict(objective, one_process)
    assert isinstance(right, Verdict)
    assert right.leak == 0
    monkeypatch.setattr(attention_module, "segment_attention", seeing(fault))
    wrong = verdict(objective, one_process)
    print(wrong)
    assert isinstance(wrong, str)
    assert "segments: leak" in wrong
