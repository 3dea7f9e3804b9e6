"""Proves that a tuned model loaded straight from base and diff is the one that recovering to a folder gives."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch

import packtrain.diff
from packtrain.core.errors import UserError
from packtrain.diff.make import make_diff
from packtrain.diff.manifest import MANIFEST_FILE
from packtrain.diff.recover import recover

from .conftest import Models


@pytest.mark.parametrize("kind", ["llama", "opt"])
@pytest.mark.parametrize("form", ["exact", "float"])
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_loaded_equals_recovered(
    make_models: Callable[..., Models], kind: str, form: Literal["exact", "float"], dtype: str | None
) -> None:
    from transformers import AutoModelForCausalLM

    base, tuned, work = make_models(kind)
    make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out", dtype=dtype)
    loaded = packtrain.diff.load(str(base), str(work / "diff"), dtype=dtype)
    expected = AutoModelForCausalLM.from_pretrained(work / "out", dtype="auto")
    assert type(loaded) is type(expected)
    assert loaded.dtype == expected.dtype
    assert loaded.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    assert torch.equal(loaded(ids).logits, expected(ids).logits)
    assert (loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight) == (kind == "opt")


def test_a_diff_without_manifest_follows_its_family(models: Models) -> None:
    make_diff(models.base, models.tuned, models.work / "diff", form="float")
    expected = packtrain.diff.load(str(models.base), str(models.work / "diff")).state_dict()
    (models.work / "diff" / MANIFEST_FILE).unlink()
    loaded = packtrain.diff.load(str(models.base), str(models.work / "diff"), family="alpaca").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    with pytest.raises(UserError, match="unknown family of diffs: llama"):
        packtrain.diff.load(str(models.base), str(models.work / "diff"), family="llama")


def test_a_wrong_base_is_refused(models: Models) -> None:
    make_diff(models.base, models.tuned, models.work / "diff")
    with pytest.raises(UserError, match="is bfloat16|is float32|wrong base"):
        packtrain.diff.load(str(models.tuned), str(models.work / "diff"))
