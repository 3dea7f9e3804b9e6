"""What a person reads when memory runs out: figures, and what to change in which order."""

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes
from packtrain.train.out_of_memory import out_of_memory_explained

HOST = Processes(0, 1, 0, torch.device("cpu"))
SETTINGS = Train(lr=1e-4, epochs=1, max_length_tokens=512)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
    ],
)
def test_what_torch_raises_becomes_figures_and_advice(error: Exception) -> None:
    with pytest.raises(UserError) as told, out_of_memory_explained(SETTINGS, Engine(), 2048, HOST):
        raise error
    assert "out of memory on CPU" in told.value.message
    assert "GB in all" in told.value.message
    assert "micro-batches of 2,048 tokens" in told.value.message
    assert "engine.activation_checkpointing=true" in told.value.hint
    assert "engine.micro_batch_tokens=1024 (was 2048)" in told.value.hint
    assert "--resume" in told.value.hint


def test_what_is_on_already_is_not_advised() -> None:
    engine = Engine(activation_checkpointing=True)
    settings = SETTINGS.model_copy(update={"adapter": "lora"})
    with pytest.raises(UserError) as told, out_of_memory_explained(settings, engine, 512, HOST):
        raise MemoryError
    assert "activation_checkpointing" not in told.value.hint
    assert "micro_batch_tokens" not in told.value.hint
    assert "train.adapter" not in told.value.hint


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_explained(SETTINGS, Engine(), 512, HOST):
        raise RuntimeError("shapes do not fit")
