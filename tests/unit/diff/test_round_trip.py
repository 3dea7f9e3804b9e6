"""Proves that make and recover fit together for every kind of file, and that the reports say what is true."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from packtrain.core.manifest import read_manifest
from packtrain.diff import base_tensor, check
from packtrain.diff.make import FORMS, Form, make_diff
from packtrain.diff.manifest import read_diff_record, read_recovery_record
from packtrain.diff.pairing import open_model
from packtrain.diff.recover import recover

TABLE = "model.decoder.embed_tokens.weight"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["llama", "opt"])
@pytest.mark.parametrize("files", ["safetensors", "shards", "bin"])
def test_recovered_is_what_the_diff_promised(
    make_models: Callable[..., Any], kind: str, files: str, form: Form
) -> None:
    base, tuned, work = make_models(kind, files)
    made = make_diff(base, tuned, work / "diff", form=form)
    report = recover(base, work / "diff", work / "out")
    comparison = check.compare(work / "out", tuned)
    assert (made.form, report.form) == (form, form)
    assert made.grown_rows == report.grown_rows == 1
    assert made.tensors == report.tensors == comparison.tensors
    assert made.parameters == report.parameters == comparison.parameters
    assert report.bytes_written == 4 * made.parameters
    assert report.verified
    assert report.share_equal == made.share_equal == comparison.share_equal
    assert report.max_abs_difference == made.max_abs_difference == comparison.max_abs_difference
    if form == "exact":
        assert (comparison.share_equal, comparison.max_abs_difference, made.worst_tensor) == (1.0, 0.0, "")
        assert report.fingerprint == made.tuned_fingerprint
        assert made.share_of_tuned < 1
        return
    assert 0.5 < comparison.share_equal < 1
    assert 0 < comparison.max_abs_difference < 1e-6
    assert made.share_of_tuned == 1
    assert made.worst_tensor in {
        tensor.name for tensor in comparison.per_tensor if tensor.max_abs_difference == made.max_abs_difference
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_transformers_loads_the_recovered_folder(make_models: Callable[..., Any], kind: str, form: Form) -> None:
    from transformers import AutoModelForCausalLM

    base, tuned, work = make_models(kind)
    make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out", dtype="bfloat16")
    model = AutoModelForCausalLM.from_pretrained(work / "out")
    assert model.dtype == torch.bfloat16
    wanted = AutoModelForCausalLM.from_pretrained(tuned, dtype=torch.bfloat16).state_dict()
    assert model.state_dict().keys() == wanted.keys()
    for name, tensor in model.state_dict().items():
        tolerance = {"rtol": 0.0, "atol": 0.0} if form == "exact" else {"rtol": 2**-7, "atol": 1e-6}
        torch.testing.assert_close(tensor, wanted[name], **tolerance)


@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_a_diff_of_the_original_scripts_needs_no_record(
    make_models: Callable[..., Any], content: Callable[..., Any], kind: str
) -> None:
    base, tuned, work = make_models(kind)
    make_diff(base, tuned, work / "diff", form="float")
    recover(base, work / "diff", work / "with")
    (work / "diff" / "manifest.json").unlink()
    report = recover(base, work / "diff", work / "without")
    assert (report.verified, report.share_equal, report.max_abs_difference) == (False, None, None)
    assert report.form == "alpaca (no manifest)"
    assert content(work / "with")["model.safetensors"] == content(work / "without")["model.safetensors"]


def test_a_tied_tensor_is_subtracted_once_for_each_of_its_names(make_models: Callable[..., Any]) -> None:
    base, tuned, work = make_models("opt")
    make_diff(base, tuned, work / "diff", form="float")
    record = read_diff_record(work / "diff")
    assert record is not None
    assert record.tied == {"lm_head.weight": TABLE}
    assert record.tensors[TABLE].base == (TABLE, TABLE)
    old, new, diff = (open_model(folder).store[TABLE] for folder in (base, tuned, work / "diff"))
    assert diff[:-1].equal(new[:-1] - old.float() - old.float())


def test_the_exact_form_takes_a_tied_tensor_once(make_models: Callable[..., Any]) -> None:
    base, tuned, work = make_models("opt")
    make_diff(base, tuned, work / "diff")
    record = read_diff_record(work / "diff")
    assert record is not None
    assert record.tied == {"lm_head.weight": TABLE}
    assert record.tensors[TABLE].base == (TABLE,)
    assert "lm_head.weight" not in record.tensors


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [0, 3])
def test_any_number_of_new_rows(make_models: Callable[..., Any], rows: int, form: Form) -> None:
    base, tuned, work = make_models(rows=rows)
    assert make_diff(base, tuned, work / "diff", form=form).grown_rows == rows
    assert recover(base, work / "diff", work / "out").grown_rows == rows


def test_float_pieces_of_any_size_give_the_same_bytes(
    models: Any, content: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "whole", form="float")
    recover(base, work / "whole", work / "out whole")
    monkeypatch.setattr(base_tensor, "CHUNK_ELEMENTS", 100)
    make_diff(base, tuned, work / "pieces", form="float")
    recover(base, work / "whole", work / "out pieces")
    for a, b in (("whole", "pieces"), ("out whole", "out pieces")):
        assert content(work / a)["model.safetensors"] == content(work / b)["model.safetensors"]
    assert content(work / "whole")["manifest.json"] == content(work / "pieces")["manifest.json"]


def test_a_tuned_model_in_the_base_s_own_16_bits_comes_back_whole(make_models: Callable[..., Any]) -> None:
    """Sums of two 16-bit numbers near one another are exact in float32, then in 16 bits again."""
    base, tuned, work = make_models(dtype="bfloat16")
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tuned, dtype=torch.bfloat16).save_pretrained(work / "tuned16")
    made = make_diff(base, work / "tuned16", work / "diff", form="float")
    recover(base, work / "diff", work / "out", dtype="bfloat16")
    assert check.compare(work / "out", work / "tuned16").share_equal == 1.0
    assert made.share_equal > 0.99


@pytest.mark.parametrize("form", FORMS)
def test_what_lies_beside_the_weights(models: Any, content: Callable[..., Any], form: Form) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out", dtype="float16")
    beside = ["config.json", "generation_config.json", "tokenizer_config.json"]
    if form == "exact":
        model_files = "tuned/"
        in_diff = {"config.json", "diff.safetensors", *(f"tuned/{name}" for name in beside)}
    else:
        model_files = ""
        in_diff = {"model.safetensors", *beside}
    assert set(content(work / "diff")) == in_diff | {"manifest.json", "README.md", "run.json"}
    assert set(content(work / "out")) == {"model.safetensors", *beside} | {"recovery.json", "run.json"}
    stated = {f"diff/{model_files}": "float32", "out": "float16"}
    for folder, dtype in stated.items():
        config = json.loads((work / folder / "config.json").read_text())
        assert config.pop("dtype") == dtype
        original = json.loads((tuned / "config.json").read_text())
        assert config == {key: value for key, value in original.items() if key != "dtype"}
        for name in beside[1:]:
            assert (work / folder / name).read_bytes() == (tuned / name).read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_the_manifests_say_what_went_in_and_what_came_out(models: Any, form: Form) -> None:
    base, tuned, work = models
    made = make_diff(base, tuned, work / "diff", form=form)
    report = recover(base, work / "diff", work / "out")
    first, second = read_manifest(work / "diff"), read_manifest(work / "out")
    assert first is not None
    assert second is not None
    assert (first.stage, second.stage) == ("diff make", "diff recover")
    assert first.inputs["base"] == second.inputs["base"] == {"tensors": made.base_fingerprint}
    assert first.outputs["tensors"] == second.inputs["diff"]["tensors"] == made.diff_fingerprint
    assert second.outputs["tensors"] == report.fingerprint
    recovery = read_recovery_record(work / "out")
    assert recovery is not None
    assert recovery.base_fingerprint == made.base_fingerprint
    assert recovery.verified


@pytest.mark.parametrize("form", FORMS)
def test_nan_and_infinity_come_back(models: Any, edit: Callable[..., None], form: Form) -> None:
    """NaN and infinity of a tuned model come back as such, and are counted honestly."""
    base, tuned, work = models

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"][:2] = torch.tensor([torch.nan, torch.inf])

    edit(tuned, spoil)
    made = make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out")
    norm = load_file(work / "out/model.safetensors")["model.norm.weight"]
    assert norm[0].isnan()
    assert norm[1].isposinf()
    assert made.max_abs_difference < 1
