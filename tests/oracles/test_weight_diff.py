"""Proves that diffs and recovered models equal those of the original weight_diff.py, every tensor to the bit.

The oracles were made by the unmodified scripts of stanford_alpaca and open-instruct (README beside them).
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.diff.check import compare
from packtrain.diff.make import make_diff
from packtrain.diff.pairing import open_model
from packtrain.diff.recover import recover
from packtrain.weights.fingerprint import sha256_of_pieces

pytestmark = pytest.mark.real_data

MODELS = ("llama", "opt")
FAMILIES = ("alpaca", "open_instruct")
FORMS = ("bin", "safetensors")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", FORMS)
def test_recovery_equals_the_original_script(
    diff_oracle: Any, tmp_path: Path, model: str, family: str, form: str
) -> None:
    folder, oracles = diff_oracle.folder(model), diff_oracle.expected(model, family)
    names = oracles["state_dict_keys"]
    report = recover(folder / "raw", folder / f"diff_{family}_{form}", tmp_path / "out")
    assert not report.verified
    assert report.grown_rows == 1

    recovered = diff_oracle.state_dict(open_model(tmp_path / "out"), names)
    assert set(oracles["recovered"]) == set(names)
    assert diff_oracle.headers(recovered) == diff_oracle.recorded(oracles["recovered"])

    tuned = diff_oracle.state_dict(open_model(folder / "tuned"), names)
    assert {name: float((recovered[name] - tuned[name]).abs().max()) for name in names} == oracles[
        "max_abs_error_to_tuned"
    ]
    assert {name: torch.equal(recovered[name], tuned[name]) for name in names} == oracles["bit_equal_to_tuned"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_naive_sums_equal_those_of_the_original_script(
    diff_oracle: Any, tmp_path: Path, model: str, family: str
) -> None:
    folder, oracles = diff_oracle.folder(model), diff_oracle.expected(model, family)
    recover(folder / "raw", folder / f"diff_{family}_bin", tmp_path / "out")
    opened = open_model(tmp_path / "out")
    recovered = diff_oracle.state_dict(opened, oracles["state_dict_keys"])

    def total(names: list[str], dtype: torch.dtype) -> float:
        return float(sum(recovered[name].to(dtype).sum() for name in names))

    names = list(recovered)
    without_buffers = [name for name in names if not name.endswith("inv_freq")]
    once = [name for name in names if name not in opened.tied]
    assert total(names, torch.float32) == pytest.approx(oracles["naive_sum"], abs=1e-3)
    assert total(without_buffers, torch.float32) == pytest.approx(oracles["naive_sum_without_inv_freq"], abs=1e-3)
    assert total(names, torch.float64) == pytest.approx(oracles["naive_sum_float64"], rel=1e-9)
    assert total(once, torch.float64) == pytest.approx(oracles["naive_sum_float64_tied_counted_once"], rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_diff_equals_the_one_of_alpaca_s_script(diff_oracle: Any, tmp_path: Path, model: str) -> None:
    folder, oracles = diff_oracle.folder(model), diff_oracle.expected(model, "alpaca")
    report = make_diff(folder / "raw", folder / "tuned", tmp_path / "diff", form="float")
    made = diff_oracle.state_dict(open_model(tmp_path / "diff"), oracles["state_dict_keys"])
    assert diff_oracle.headers(made) == diff_oracle.recorded(oracles["diff"])
    assert report.grown_rows == 1
    assert report.max_abs_difference == max(oracles["max_abs_error_to_tuned"].values())


@pytest.mark.parametrize("model", MODELS)
def test_diff_differs_from_open_instruct_s_only_in_its_random_pad_row(
    diff_oracle: Any, tmp_path: Path, model: str
) -> None:
    folder, oracles = diff_oracle.folder(model), diff_oracle.expected(model, "open_instruct")
    make_diff(folder / "raw", folder / "tuned", tmp_path / "diff", form="float")
    made = diff_oracle.state_dict(open_model(tmp_path / "diff"), oracles["state_dict_keys"])
    differing = {name for name, entry in oracles["diff"].items() if sha256_of_pieces([made[name]]) != entry["sha256"]}
    assert differing == {name for name, tensor in made.items() if tensor.shape[0] == 321}
    for name in differing:
        assert sha256_of_pieces([made[name][:-1]]) == oracles["diff"][name]["sha256_without_last_row"]


@pytest.mark.parametrize("model", MODELS)
def test_round_trip_is_what_the_report_and_the_original_script_say(
    diff_oracle: Any, tmp_path: Path, model: str
) -> None:
    folder, oracles = diff_oracle.folder(model), diff_oracle.expected(model, "alpaca")
    made = make_diff(folder / "raw", folder / "tuned", tmp_path / "diff", form="float")
    report = recover(folder / "raw", tmp_path / "diff", tmp_path / "out")
    assert report.verified
    recovered = diff_oracle.state_dict(open_model(tmp_path / "out"), oracles["state_dict_keys"])
    assert diff_oracle.headers(recovered) == diff_oracle.recorded(oracles["recovered"])
    comparison = compare(tmp_path / "out", folder / "tuned")
    assert comparison.share_equal == made.share_equal == report.share_equal
    assert comparison.max_abs_difference == made.max_abs_difference == report.max_abs_difference
    assert {tensor.name for tensor in comparison.per_tensor if tensor.share_equal == 1} == {
        name for name, equal in oracles["bit_equal_to_tuned"].items() if equal
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_base_of_today_without_rotary_buffers_gives_the_same_weights(
    diff_oracle: Any, tmp_path: Path, family: str
) -> None:
    """The reference computed missing buffers from the configuration; the fp16 ones of `raw` are rounded."""
    from safetensors.torch import load_file, save_file

    folder, oracles = diff_oracle.folder("llama"), diff_oracle.expected("llama", family)
    base = tmp_path / "base"
    base.mkdir()
    tensors = {
        name: t for file in sorted((folder / "raw").glob("*.safetensors")) for name, t in load_file(file).items()
    }
    save_file({name: t for name, t in tensors.items() if "inv_freq" not in name}, base / "model.safetensors")
    (base / "config.json").write_text((folder / "raw/config.json").read_text())
    recover(base, folder / f"diff_{family}_bin", tmp_path / "out")
    recovered = diff_oracle.state_dict(open_model(tmp_path / "out"), oracles["state_dict_keys"])
    weights = {name: tensor for name, tensor in recovered.items() if "inv_freq" not in name}
    assert diff_oracle.headers(weights) == {
        name: entry for name, entry in diff_oracle.recorded(oracles["recovered"]).items() if "inv_freq" not in name
    }
    for name in recovered.keys() - weights.keys():
        # fp16 rounding of the buffers in `raw`: 2^-11 relative
        torch.testing.assert_close(recovered[name], tensors[name].float(), rtol=1e-3, atol=1e-3)
