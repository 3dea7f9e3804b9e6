"""Proves that check finds every damaged tensor and file, and that compare counts to the bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from packtrain.core.errors import UserError
from packtrain.diff.agreement import Agreement
from packtrain.diff.check import Problem, check, compare
from packtrain.diff.make import FORMS, Form, make_diff
from packtrain.diff.recover import recover

NORM = "model.norm.weight"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("files", ["safetensors", "shards", "bin"])
@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_untouched_folders_are_in_order(make_models: Callable[..., Any], kind: str, files: str, form: Form) -> None:
    base, tuned, work = make_models(kind, files)
    made = make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out", dtype="bfloat16")
    alone, with_base, recovered = check(work / "diff"), check(work / "diff", base), check(work / "out")
    assert alone.ok
    assert with_base.ok
    assert recovered.ok
    assert (alone.kind, alone.tensors, alone.base_checked) == ("diff", made.tensors, False)
    assert (with_base.tensors, with_base.base_checked) == (2 * made.tensors, True)
    model_files = alone.files - (1 if form == "exact" else 0)  # the config.json that stops loaders of models
    assert (recovered.kind, recovered.tensors, recovered.files) == ("recovered", made.tensors, model_files)


@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_s_damage_is_found_and_its_place_told(models: Any, edit: Callable[..., None], form: Form) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out")

    def flip(tensors: dict[str, torch.Tensor]) -> None:
        for tensor in tensors.values():
            tensor.reshape(-1)[-1:].view(torch.uint8)[0:1].bitwise_xor_(1)

    for folder in (base, work / "diff", work / "out"):
        edit(folder, flip)
    with safe_open(base / "model.safetensors", "pt") as opened:
        names = sorted(opened.keys())
    found = [(problem.where, problem.name) for problem in check(work / "diff", base).problems]
    assert sorted(found) == sorted((where, name) for where in ("base", "diff") for name in names)
    problems = check(work / "out").problems
    assert {problem.what for problem in problems} == {"other bytes than recorded"}
    assert sorted(problem.name for problem in problems) == names


@pytest.mark.parametrize("form", FORMS)
def test_missing_superfluous_and_changed_things_are_told_apart(
    models: Any, edit: Callable[..., None], form: Form
) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    edit(work / "diff", lambda tensors: (tensors.pop(NORM), tensors.update(extra=torch.zeros(1))))
    edit(base, lambda tensors: tensors.update({NORM: tensors[NORM].float()}))
    place = "tuned/" if form == "exact" else ""
    (work / "diff" / place / "config.json").write_text("{}")
    (work / "diff" / place / "tokenizer_config.json").unlink()
    assert set(check(work / "diff", base).problems) == {
        Problem("diff", NORM, "missing"),
        Problem("diff", "extra", "not recorded"),
        Problem("diff", f"{place}config.json", "other bytes than recorded"),
        Problem("diff", f"{place}tokenizer_config.json", "missing"),
        Problem("base", NORM, "is float32 [32], recorded float16 [32]"),
    }


def test_folders_that_cannot_be_checked(models: Any) -> None:
    base, tuned, work = models
    with pytest.raises(UserError, match=r"has neither manifest\.json nor recovery\.json"):
        check(tuned)
    make_diff(base, tuned, work / "diff")
    recover(base, work / "diff", work / "out")
    with pytest.raises(UserError, match="is a recovered model, not a diff"):
        check(work / "out", base)


def test_compare_counts_to_the_bit(models: Any, edit: Callable[..., None]) -> None:
    _, tuned, work = models
    assert compare(tuned, tuned).share_equal == 1.0

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[NORM][:4] += 0.5

    whole = compare(tuned, tuned).parameters
    other = Path(shutil.copytree(tuned, work / "other"))
    edit(other, change)
    comparison = compare(tuned, other)
    assert comparison.share_equal == 1 - 4 / whole
    assert comparison.max_abs_difference == pytest.approx(0.5, abs=1e-6)
    differing = [tensor for tensor in comparison.per_tensor if tensor.share_equal < 1]
    assert [(tensor.name, tensor.share_equal) for tensor in differing] == [(NORM, 1 - 4 / 32)]


def test_compare_refuses_models_of_different_kind(models: Any, edit: Callable[..., None]) -> None:
    base, tuned, _ = models
    with pytest.raises(UserError, match=r"is \[96, 32\] in .* and \[97, 32\] in"):
        compare(base, tuned)
    edit(base, lambda tensors: tensors.pop(NORM))
    with pytest.raises(UserError, match=f"{base} has no tensor {NORM}"):
        compare(tuned, base)


def test_agreement_of_zeros_nan_and_other_types() -> None:
    agreement = Agreement()
    agreement.add(torch.tensor([0.0, torch.nan, 1.0]), torch.tensor([-0.0, torch.nan, 1.5]))
    assert (agreement.equal, agreement.total, agreement.max_abs_difference) == (1, 3, 0.5)
    agreement.add(torch.tensor([1.0, 2.0]).half(), torch.tensor([1.0, 2.0]))
    assert (agreement.equal, agreement.total, agreement.share_equal) == (3, 5, 0.6)
    agreement.add(torch.tensor([torch.nan]), torch.tensor([1.0]))
    assert agreement.max_abs_difference == torch.inf
    assert Agreement().share_equal == 1.0
