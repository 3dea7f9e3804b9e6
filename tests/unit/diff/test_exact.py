"""Proves that the exact form gives every tuned tensor back to the bit, whatever models and folders are like."""

import itertools
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from packtrain.core.errors import UserError
from packtrain.diff import exact_form
from packtrain.diff.make import DiffReport, make_diff
from packtrain.diff.recover import RecoverReport, recover

DTYPES = ("float16", "bfloat16", "float32")
FILES = ("safetensors", "shards", "bin", "bin shards")
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """What a library warns of is a mistake."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def raw(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    """Type, shape and bytes of a tensor."""
    flat = tensor.contiguous().reshape(-1)
    return str(tensor.dtype), tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def tensors_of(folder: Path) -> dict[str, Any]:
    """Every tensor of a recovered folder, as `raw`; its index, if there is one, says where it is."""
    found = {name: raw(tensor) for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    index = folder / "model.safetensors.index.json"
    if index.exists():
        for name, file in json.loads(index.read_text())["weight_map"].items():
            assert name in load_file(folder / file)
    return found


def opt(dtype: torch.dtype = torch.float16, rows: int = 96) -> Tensors:
    """Tensors of a random OPT whose output table is the input table."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"embed_tokens.weight": (rows, 32), "embed_positions.weight": (34, 32), "final_layer_norm.weight": (32,)}
    shapes |= {"layers.0.fc1.weight": (48, 32), "layers.0.fc1.bias": (48,), "layers.0.fc2.weight": (32, 48)}
    return {
        f"model.decoder.{name}": (torch.randn(shape, generator=generator) * 0.02 + ("norm" in name)).to(dtype)
        for name, shape in shapes.items()
    }


OPT = {"model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": 32, "num_hidden_layers": 1}


class Both:
    """A base and a tuned model, written and sent through make and recover."""

    def __init__(self, work: Path, write_model: Callable[..., Path]) -> None:
        self.work, self._write = work, write_model

    def __call__(
        self,
        base: Tensors,
        tuned: Tensors,
        config: dict[str, Any],
        files: tuple[str, str] = ("safetensors", "safetensors"),
        **options: Any,
    ) -> tuple[DiffReport, RecoverReport]:
        """The reports, after what was recovered was compared with `tuned` to the bit."""
        for name in ("base", "tuned", "diff", "out"):
            shutil.rmtree(self.work / name, ignore_errors=True)
        folders = [
            self._write(self.work / name, tensors, config, form)
            for name, tensors, form in zip(("base", "tuned"), (base, tuned), files, strict=True)
        ]
        made = make_diff(*folders, self.work / "diff", **options)
        report = recover(folders[0], self.work / "diff", self.work / "out", **options)
        assert tensors_of(self.work / "out") == {name: raw(tensor) for name, tensor in tuned.items()}
        assert (made.share_equal, made.max_abs_difference, made.worst_tensor) == (1.0, 0.0, "")
        assert report.verified
        assert report.fingerprint == made.tuned_fingerprint
        return made, report


@pytest.fixture
def both(tmp_path: Path, write_model: Callable[..., Path]) -> Both:
    """`both(base, tuned, config, files)` makes a diff, recovers it and compares."""
    return Both(tmp_path, write_model)


@pytest.mark.parametrize("base_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_every_type_against_every_type(
    both: Both, llama: Any, llama_config: Any, tuned_of: Any, kind: str, base_dtype: str, dtype: str
) -> None:
    target = getattr(torch, dtype)
    base = (llama if kind == "llama" else opt)(getattr(torch, base_dtype))
    tuned = tuned_of(base, target, rows=1)
    name = next(name for name in tuned if "up_proj" in name or "fc1.weight" in name)
    patterns = torch.randint(-(2**31), 2**31, tuned[name].shape, generator=torch.Generator().manual_seed(5))
    tuned[name] = patterns.to(torch.int32 if dtype == "float32" else torch.int16).view(target)
    base[name][:4] = torch.tensor([torch.nan, torch.inf, -0.0, 1e-7]).to(base[name].dtype)[:, None]
    made, report = both(base, tuned, llama_config if kind == "llama" else OPT)
    assert report.dtype == dtype
    assert made.grown_rows == 1
    assert made.share_of_tuned < 1.05


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_grown_vocabularies(both: Both, llama: Any, llama_config: Any, tuned_of: Any, kind: str, rows: int) -> None:
    base = llama() if kind == "llama" else opt()
    tuned = tuned_of(base, torch.bfloat16, rows)
    made, report = both(base, tuned, llama_config if kind == "llama" else OPT)
    assert made.grown_rows == report.grown_rows == rows


@pytest.mark.parametrize("files", itertools.product(FILES, FILES), ids="-".join)
def test_every_kind_of_folder_on_both_sides(
    both: Both, llama: Any, llama_config: Any, tuned_of: Any, files: tuple[str, str]
) -> None:
    base = llama()
    made, report = both(base, tuned_of(base, torch.float16, 1), llama_config, files)
    assert made.grown_rows == report.grown_rows == 1


def test_buffers_empty_tensors_and_single_numbers(both: Both) -> None:
    """As GPT-2 has them: masks of bool or uint8, whole numbers, tensors without elements or without dimensions."""
    base = {
        "transformer.wte.weight": torch.randn(96, 8).half(),
        "transformer.h.0.attn.c_attn.weight": torch.randn(8, 24).half(),
        "transformer.h.0.attn.bias": torch.ones(1, 1, 5, 5).tril().bool(),
        "transformer.h.1.attn.bias": torch.ones(1, 1, 5, 5).tril().to(torch.uint8),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4).half(),
        "transformer.position_ids": torch.arange(7)[None],
        "transformer.counter": torch.tensor(7, dtype=torch.int32),
        "transformer.h.0.double": torch.randn(3, 3).double(),
        "transformer.h.0.eight": torch.randn(4, 4).to(torch.float8_e4m3fn),
        "transformer.h.0.empty": torch.empty(0, 8).half(),
        "transformer.h.0.empty_mask": torch.empty(3, 0, dtype=torch.bool),
    }
    tuned = {
        name: (tensor.float() + 1e-3 * torch.randn(tensor.shape)).to(torch.float16)
        if tensor.dtype == torch.float16
        else tensor.clone()
        for name, tensor in base.items()
    }
    tuned["transformer.position_ids"] += 1
    tuned["transformer.h.0.attn.bias"] = ~tuned["transformer.h.0.attn.bias"]
    made, report = both(base, tuned, {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]})
    assert made.tensors == len(base)
    assert report.dtype == "several"
    base["transformer.h.0.attn.bias"] = base["transformer.h.0.attn.bias"].to(torch.uint8)
    base["transformer.h.0.double"] = base["transformer.h.0.double"].float()
    tuned["transformer.h.0.eight"] = tuned["transformer.h.0.eight"].half()
    both(base, tuned, {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, ("bin", "bin"))


@pytest.mark.parametrize("side", ["base", "tuned", "both"])
def test_rotary_buffers_on_either_side(both: Both, llama: Any, llama_config: Any, tuned_of: Any, side: str) -> None:
    base = llama()
    tuned = tuned_of(base, torch.float16)
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.rand(8) for i in range(2)}
    if side != "tuned":
        base |= buffers
    if side != "base":
        tuned |= {name: buffer * 1.5 for name, buffer in buffers.items()}
    assert both(base, tuned, llama_config)[1].verified


def test_tied_on_one_side_only_and_other_spellings_of_names(both: Both, tuned_of: Any) -> None:
    base = opt()
    tuned = tuned_of(base, torch.float32, 1)
    table = "model.decoder.embed_tokens.weight"
    plain_base, plain_tuned = (
        {name.removeprefix("model."): one for name, one in side.items()} for side in (base, tuned)
    )
    for pair in (
        (base, tuned | {"lm_head.weight": tuned[table] * 1.5}),
        (base | {"lm_head.weight": base[table].clone()}, tuned),
        (plain_base, tuned),
        (base, plain_tuned),
    ):
        assert both(*pair, OPT)[1].verified


def test_tensors_of_several_chunks_that_grow(both: Both, tuned_of: Any) -> None:
    width = 1000
    base = {
        "model.embed_tokens.weight": (torch.randn(1100, width) * 0.02).half(),
        "model.norm.weight": torch.ones(width),
    }
    base["lm_head.weight"] = base["model.embed_tokens.weight"] * 2
    config = {"model_type": "llama", "tie_word_embeddings": False}
    assert both(base, tuned_of(base, torch.bfloat16, 1100), config)[1].grown_rows == 1100


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cast_is_that_of_the_tuned_tensor_and_still_verified(
    both: Both, llama: Any, llama_config: Any, tuned_of: Any, edit_manifest: Any, dtype: str
) -> None:
    tuned = tuned_of(llama(), torch.float32, 1)
    both(llama(), tuned, llama_config)
    base, diff, out = (both.work / name for name in ("base", "diff", "cast"))
    report = recover(base, diff, out, dtype=dtype)
    assert (report.verified, report.dtype) == (True, dtype)
    assert tensors_of(out) == {name: raw(tensor.to(getattr(torch, dtype))) for name, tensor in tuned.items()}
    assert json.loads((out / "config.json").read_text())["torch_dtype"] == dtype
    edit_manifest(diff, lambda record: record["tensors"]["lm_head.weight"]["recovered"].update(sha256="0" * 64))
    with pytest.raises(UserError, match=r"recovered tensor lm_head\.weight is not what manifest\.json predicts"):
        recover(base, diff, both.work / "again", dtype=dtype)


def test_a_cast_leaves_masks_and_counters_alone(both: Both, llama: Any, llama_config: Any, tuned_of: Any) -> None:
    base = llama() | {"mask": torch.ones(3, dtype=torch.bool), "position_ids": torch.arange(70_000)}
    tuned = tuned_of(llama(), torch.float32) | {"mask": ~base["mask"], "position_ids": base["position_ids"] + 1}
    both(base, tuned, llama_config)
    report = recover(both.work / "base", both.work / "diff", both.work / "cast", dtype="bfloat16")
    whole = {name: raw(t.bfloat16() if t.is_floating_point() else t) for name, t in tuned.items()}
    assert tensors_of(both.work / "cast") == whole
    assert report.dtype == "several"


def test_a_cast_that_would_make_infinities_is_refused(both: Both, llama: Any, llama_config: Any, tuned_of: Any) -> None:
    tuned = tuned_of(llama(), torch.float32)
    tuned["lm_head.weight"][3, 4], tuned["lm_head.weight"][5, 6] = 70_000.0, torch.inf
    both(llama(), tuned, llama_config)
    with pytest.raises(UserError) as raised:
        recover(both.work / "base", both.work / "diff", both.work / "cast", dtype="float16")
    assert raised.value.message == "tensor lm_head.weight has values that float16 cannot hold"
    recover(both.work / "base", both.work / "diff", both.work / "cast", dtype="bfloat16")


def test_workers_and_sizes_of_shards_change_nothing(
    both: Both, llama: Any, llama_config: Any, tuned_of: Any, content: Any, comparable: Any
) -> None:
    base = llama()
    tuned = tuned_of(base, torch.float16, 1)
    both(base, tuned, llama_config, max_shard_bytes=5000, jobs=1)
    folders = both.work / "base", both.work / "tuned"
    make_diff(*folders, both.work / "diff4", max_shard_bytes=5000, jobs=4)
    recover(folders[0], both.work / "diff", both.work / "out4", max_shard_bytes=5000, jobs=4)
    for one, four in (("diff", "diff4"), ("out", "out4")):
        first, second = content(both.work / one), content(both.work / four)
        assert len(list((both.work / one).glob("*-of-*.safetensors"))) > 8
        assert comparable(first) == comparable(second)
    streams = {name: raw(t) for f in (both.work / "diff").glob("*.safetensors") for name, t in load_file(f).items()}
    for nbytes in (100, 20_000, None):
        made, _ = both(base, tuned, llama_config, max_shard_bytes=nbytes)
        assert streams == tensors_of(both.work / "diff")
        assert len(list((both.work / "out").glob("*.safetensors"))) == {100: made.tensors, None: 1}.get(nbytes, 3)


def test_a_chunk_longer_than_any_is_not_read(
    both: Both, llama: Any, llama_config: Any, tuned_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = llama()
    both(base, tuned_of(base, torch.float16, 1), llama_config)
    monkeypatch.setattr(exact_form, "MAX_BODY_BYTES", 100)
    with pytest.raises(UserError) as raised:
        recover(both.work / "base", both.work / "diff", both.work / "again")
    assert raised.value.message.endswith(" cannot be recovered: a chunk claims more bytes than any has")
