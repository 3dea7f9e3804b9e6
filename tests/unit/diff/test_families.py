"""Proves that the diffs of each family of scripts are undone as its own script undoes them, to the bit.

Every script is re-enacted here in a few lines, from a base to a published diff and back.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from packtrain.core.errors import UserError
from packtrain.diff.pairing import open_model
from packtrain.diff.recover import recover
from packtrain.diff.sums import KNOWN_SUMS, weight_sum
from packtrain.prompts.template import load_template, template_for

Tensors = dict[str, torch.Tensor]
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
HALF, SINGLE = torch.float16, torch.float32


def grown(tensors: Tensors, dtype: torch.dtype, row: Callable[[torch.Tensor], torch.Tensor] | None) -> Tensors:
    """A raw model as a script loads it: in `dtype`, with a `[PAD]` row in both tables if `row` makes one."""
    loaded = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    if row is not None:
        loaded |= {name: torch.cat([loaded[name], row(loaded[name])[None]]) for name in TABLES}
    return loaded


def mean(table: torch.Tensor) -> torch.Tensor:
    return table.mean(0)


def zeros(table: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(table[0])


def minus(tuned: Tensors, raw: Tensors) -> Tensors:
    return {name: tensor.to(raw[name].dtype) - raw[name] for name, tensor in tuned.items()}


def plus(diff: Tensors, raw: Tensors) -> Tensors:
    return {name: tensor + raw[name] for name, tensor in diff.items()}


class Folders:
    """Writes a base and a published diff, recovers, and compares to the bit."""

    def __init__(self, work: Path, write_model: Callable[..., Path], config: dict[str, Any]) -> None:
        self.work, self._write, self.config = work, write_model, config
        self.base, self.diff, self.out = work / "base", work / "diff", work / "out"

    def write(self, base: Tensors, diff: Tensors, files: str = "bin shards") -> None:
        """Write both folders."""
        self._write(self.base, base, self.config)
        self._write(self.diff, diff, self.config, files)

    def recovered(self, family: str | None, **options: Any) -> Tensors:
        """What recovery gives; its form names the family that was seen."""
        report = recover(self.base, self.diff, self.out, family=family, **options)
        assert not report.verified
        self.form = report.form
        return {name: t for file in self.out.glob("*.safetensors") for name, t in load_file(file).items()}

    def error(self, family: str | None = None, **options: Any) -> UserError:
        """Why recovery is refused; nothing is left."""
        with pytest.raises(UserError) as raised:
            recover(self.base, self.diff, self.out, family=family, **options)
        assert not self.out.exists()
        return raised.value


@pytest.fixture
def folders(tmp_path: Path, write_model: Callable[..., Path], llama_config: dict[str, Any]) -> Folders:
    """A place for a base and a diff."""
    return Folders(tmp_path, write_model, llama_config)


def same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].view(torch.int16).equal(tensor.view(torch.int16)), name


@pytest.mark.parametrize("family", [None, "alpaca", "open-instruct"])
@pytest.mark.parametrize("base_dtype", [HALF, torch.bfloat16, SINGLE])
def test_alpaca(folders: Folders, llama: Any, tuned_of: Any, family: str | None, base_dtype: torch.dtype) -> None:
    """stanford_alpaca: everything in float32, the new row is the mean of the others."""
    base = llama(base_dtype)
    raw = grown(base, SINGLE, mean)
    diff = minus(tuned_of(base, SINGLE, 1), raw)
    folders.write(base, diff)
    same(folders.recovered(family), plus(diff, raw))
    assert folders.form == f"{family or 'alpaca'} (no manifest)"


def test_a_prompt_format_is_stored_where_the_diff_brings_none(
    folders: Folders, llama: Any, tuned_of: Any, tiny_base: Path
) -> None:
    base = llama()
    folders.write(base, minus(tuned_of(base, SINGLE, 1), grown(base, SINGLE, mean)))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_base / name, folders.diff)
    message = folders.error(template="tulip").message
    assert "tulip" in message
    folders.recovered(None, template="tulu")
    assert (folders.out / "chat_template.jinja").read_text().startswith("{{- '<s>' -}}")
    assert template_for(folders.out, None).source == load_template("tulu").source
    recorded = json.loads((folders.out / "recovery.json").read_text())["files"]
    assert "chat_template.jinja" in recorded
    shutil.copy(folders.out / "chat_template.jinja", folders.diff)
    shutil.rmtree(folders.out)
    assert folders.error(template="alpaca").message.endswith("brings a prompt format of its own")


@pytest.mark.parametrize("family", [None, "open-instruct"])
def test_open_instruct(folders: Folders, llama: Any, tuned_of: Any, family: str | None) -> None:
    """open-instruct: a random row in make, the mean in recover: the row does not come back, all else does."""
    base, tuned = llama(), tuned_of(llama(), SINGLE, 1)
    diff = minus(tuned, grown(base, SINGLE, lambda table: torch.randn(table.shape[1]) * 0.02))
    folders.write(base, diff, "safetensors")
    expected = plus(diff, grown(base, SINGLE, mean))
    same(folders.recovered(family), expected)
    for name in TABLES:
        assert (expected[name][:-1] - tuned[name][:-1]).abs().max() < 1e-8
        assert (expected[name][-1] - tuned[name][-1]).abs().max() > 1e-3


@pytest.mark.parametrize("base_dtype", [HALF, SINGLE])
def test_fastchat_v0(folders: Folders, llama: Any, tuned_of: Any, base_dtype: torch.dtype) -> None:
    """Vicuna v0: float16 arithmetic, the new row is zeros."""
    base = llama(base_dtype)
    raw = grown(base, HALF, zeros)
    diff = minus(tuned_of(base, HALF, 1), raw)
    folders.write(base, diff)
    same(folders.recovered("fastchat-v0"), plus(diff, raw))
    assert folders.form == "fastchat-v0 (no manifest)"


@pytest.mark.parametrize("family", [None, "fastchat"])
def test_fastchat(folders: Folders, llama: Any, tuned_of: Any, family: str | None) -> None:
    """Vicuna v1.1: float16 arithmetic, no new row; sums in float16 and not rounded ones of float32."""
    base = llama()
    raw = grown(base, HALF, None)
    diff = minus(tuned_of(base, HALF), raw)
    name = "model.layers.0.mlp.up_proj.weight"
    diff[name][:, :2] = torch.tensor([65504.0, 1000.0])
    raw[name][:, 0] = base[name][:, 0] = 100.0
    folders.write(base, diff)
    expected = plus(diff, raw)
    assert expected[name][:, 0].isinf().all(), "the sum overflows, as it does there"
    assert not torch.equal(expected[name], (diff[name].float() + raw[name].float()).to(HALF)[:, [1, 0, *range(2, 32)]])
    same(folders.recovered(family), expected)
    assert folders.form == "fastchat (no manifest)"


def farm_apply(diff: Tensors, raw: Tensors) -> Tensors:
    """alpaca_farm: tensors that the base lacks, or has in another size, are as they were stored."""
    return {n: t + raw[n] if n in raw and raw[n].shape == t.shape else t for n, t in diff.items()}


@pytest.mark.parametrize("family", [None, "alpaca-farm"])
@pytest.mark.parametrize("prefix", ["", "backbone_model."])
def test_alpaca_farm(
    folders: Folders, llama: Any, tuned_of: Any, capsys: pytest.CaptureFixture[str], family: str | None, prefix: str
) -> None:
    """With `model_sum.txt`, a tensor of another size and, in reward models, a prefix and a head of its own."""
    base = llama()
    raw = {prefix + name: tensor for name, tensor in grown(base, SINGLE, mean).items()}
    tuned = {prefix + name: tensor for name, tensor in tuned_of(base, SINGLE, 1).items()}
    diff = minus(tuned, raw) | {prefix + "model.layers.0.mlp.up_proj.weight": torch.randn(50, 32)}
    if prefix:
        diff |= {"reward_head.weight": torch.randn(1, 32), "reward_head.bias": torch.randn(1)}
        folders.config["architectures"] = ["RewardModel"]
    folders.write(base, diff)
    expected = farm_apply(diff, raw)
    total = sum(float(tensor.double().sum()) for tensor in expected.values()) + 2 * ROTARY
    (folders.diff / "model_sum.txt").write_text(f"{total}\n")
    same(folders.recovered(family), expected)
    assert folders.form == "alpaca-farm (no manifest)"
    assert "warning" not in capsys.readouterr().err
    (folders.diff / "model_sum.txt").write_text("17.5")
    folders.out = folders.work / "again"
    same(folders.recovered(family), expected)
    assert f"warning: the sum of all weights is {total:.4f}, {folders.diff / 'model_sum.txt'} says 17.5000" in (
        " ".join(capsys.readouterr().err.split())
    )


ROTARY = sum(10000.0 ** (-2 * i / 16) for i in range(8))
"""Sum of the rotary buffer of one layer."""


def test_stored_in_float16_with_a_new_row_may_be_of_two_families(folders: Folders, llama: Any, tuned_of: Any) -> None:
    base = llama()
    folders.write(base, minus(tuned_of(base, HALF, 1), grown(base, HALF, zeros)), "safetensors")
    error = folders.error()
    assert error.message == (
        f"{folders.diff} has no manifest and its family cannot be told: stored in float16, and tensor lm_head.weight "
        "has more rows than the base's"
    )
    assert error.hint == (
        "say whose diff it is: --family fastchat-v0 (Vicuna v0: the row of [PAD] was zeros) or --family alpaca (the "
        "mean of the other rows)"
    )
    a = folders.recovered("fastchat-v0")
    folders.out = folders.work / "other"
    b = folders.recovered("alpaca")
    assert not torch.equal(a["lm_head.weight"][-1].float(), b["lm_head.weight"][-1])


@pytest.mark.parametrize(("family", "rows"), [("fastchat", 1), ("alpaca", 2), ("fastchat-v0", 2), ("open-instruct", 3)])
def test_a_family_that_adds_other_rows_is_refused(
    folders: Folders, llama: Any, tuned_of: Any, family: str, rows: int
) -> None:
    base = llama()
    tuned = tuned_of(base, SINGLE, rows)
    diff = {name: tensor * 1e-3 for name, tensor in tuned.items()}
    folders.write(base, diff, "safetensors")
    error = folders.error(family)
    assert error.message == (
        f"tensor lm_head.weight is [{96 + rows}, 32] in the diff {folders.diff}, [96, 32] in the base {folders.base}"
    )
    if family == "fastchat":
        assert error.hint == "this family of diffs adds no token rows: another base, or another family: see --family"
    else:
        assert error.hint == (
            f"scripts of this family add 1 token row (32000 become 32001), here {rows} are missing: another base "
            "(older conversion, Llama-2), or a diff of another family: see --family"
        )


def test_a_family_that_keeps_nothing_names_what_the_base_lacks(folders: Folders, llama: Any, tuned_of: Any) -> None:
    base = llama()
    diff = {f"backbone_model.{name}": t * 1e-3 for name, t in tuned_of(base, SINGLE).items()}
    folders.write(base, diff | {"reward_head.weight": torch.zeros(1, 32)}, "safetensors")
    assert folders.error("alpaca").message == (
        f"the base {folders.base} has no tensor backbone_model.lm_head.weight, which the diff {folders.diff} has"
    )
    folders.recovered("alpaca-farm")


@pytest.mark.parametrize("side", ["base", "diff", "both", "neither"])
@pytest.mark.parametrize("family", ["alpaca", "fastchat"])
def test_rotary_buffers(folders: Folders, llama: Any, tuned_of: Any, family: str, side: str) -> None:
    """What either side lacks follows from the configuration, or is left out."""
    dtype = SINGLE if family == "alpaca" else HALF
    buffer = 1.0 / torch.pow(10000.0, torch.arange(0, 16, 2).float() / 16)
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": buffer.to(dtype) for i in range(2)}
    base = llama(dtype)
    raw, diff = grown(base, dtype, None), minus(tuned_of(base, dtype), base)
    if side in ("base", "both"):
        base |= buffers
    if side in ("diff", "both"):
        raw |= buffers
        diff |= {name: torch.full_like(buffer, 1e-3) for name, buffer in buffers.items()}
    folders.write(base, diff)
    expected = plus(diff, raw)
    same(folders.recovered(family), expected)
    rotary = 0 if side in ("diff", "both") else 2 * ROTARY
    total = sum(float(tensor.double().sum()) for tensor in expected.values()) + rotary
    found, terms = weight_sum(open_model(folders.out))
    assert found == pytest.approx(total, abs=1e-6)
    assert terms == len(expected) + (0 if side in ("diff", "both") else 2)


def test_an_expected_sum(folders: Folders, llama: Any, tuned_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base = llama()
    raw = grown(base, SINGLE, None)
    diff = minus(tuned_of(base, SINGLE), raw)
    folders.write(base, diff)
    total = sum(float(tensor.double().sum()) for tensor in plus(diff, raw).values()) + 2 * ROTARY
    error = folders.error(expect_sum="alpaca-8b")
    assert error.message == "--expect-sum alpaca-8b is neither a number nor a model whose sum is known"
    assert error.hint == "known: alpaca-7b"
    assert not folders.out.with_name("out.partial").exists(), "it was told before the work"
    error = folders.error(expect_sum=f"{total + 1:.4f}", overwrite=True)
    assert error.message == f"the sum of all weights is {total:.4f}, expected was {total + 1:.4f}"
    assert error.hint.startswith("base or diff is damaged or not the right one, or the sum is another model's;")
    assert KNOWN_SUMS == {"alpaca-7b": 50637.1836}
    assert folders.error(expect_sum="alpaca-7b", resume=True).message.endswith("expected was 50637.1836")
    folders.recovered(None, expect_sum=f"{total:.4f}", resume=True)
    monkeypatch.setitem(KNOWN_SUMS, "alpaca-7b", total + 0.009)
    folders.out = folders.work / "known"
    folders.recovered(None, expect_sum="alpaca-7b")


@pytest.mark.parametrize("content", ["not a number", ""])
def test_a_sum_file_without_a_number(folders: Folders, llama: Any, tuned_of: Any, content: str) -> None:
    base = llama()
    folders.write(base, minus(tuned_of(base, SINGLE), grown(base, SINGLE, None)))
    (folders.diff / "model_sum.txt").write_text(content)
    error = folders.error()
    assert error.message == f"{folders.diff / 'model_sum.txt'} does not hold a number"
    assert not folders.out.with_name("out.partial").exists(), "it was told before the work"
