"""Proves that docs/formats.md is enough to read an exact diff.

`second_reader.py` beside this file was written from that page alone, in plain Python, and shares no code with the
package. What it reads from the package's diffs is compared, byte by byte, with the tuned model's files and with the
hashes of `manifest.json`; and it counts what it meets, so that each part of the format is known to have occurred.
"""

import ast
import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.diff.make import make_diff

HERE = Path(__file__).parent
TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
STORED = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "int64": "I64"}
STORED |= {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "uint8": "U8", "bool": "BOOL"}
WHOLE = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
LOW_HALVES = (0, 1, 0xFFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7000, 0x7FFF, 0x8000, 0x8001, 0xF000, 0xF001)
LOW_HALVES += (0xFFFF,)  # an odd number: each meets odd and even upper halves
EDGES = (1, 2, 0, 0x7F800000, 0x33000000, 0x33000001, 0x33C00000, 0x34200000, 0x387FEFFF, 0x387FF000, 0x477FEFFF)
EDGES += (0x477FF000, 0x7F7FFFFF)  # where float16 and float32 begin and end
SPECIAL = (0x7FC00000, 0xFFC00001, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0, 0x80000000, 1, 0x807FFFFF)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `second_reader`."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("second_reader")


@pytest.fixture
def read(reader: Any, tmp_path: Path, write_model: Callable[..., Path]) -> Callable[..., Any]:
    """`read(base, tuned)`: makes a diff, reads it, compares all of it; gives what occurred, and the manifest."""

    def read(base: Any, tuned: Any, config: Any = None, files: str = "safetensors", **options: Any) -> Any:
        base_config, tuned_config = config if isinstance(config, tuple) else (config, config)
        below = write_model(tmp_path / "base", base, base_config or {"model_type": "llama"}, files)
        above = write_model(tmp_path / "tuned", tuned, tuned_config or {"model_type": "llama"}, files)
        make_diff(below, above, tmp_path / "diff", **options)
        seen: Counter[str] = Counter()
        got = dict(reader.read_diff(below, tmp_path / "diff", seen))
        manifest = json.loads((tmp_path / "diff" / "manifest.json").read_text(encoding="utf-8"))
        assert got.keys() == tuned.keys() - manifest["tied"].keys()
        for file in above.glob("*.safetensors"):
            for name, (dtype, shape, expected) in reader.read_tensors(file).items():
                stored = manifest["tied"].get(name, name)
                assert got[stored] == expected, name
                record = manifest["tensors"][stored]
                assert record["tuned"]["sha256"] == reader.sha256(got[stored]) == record["recovered"]["sha256"]
                assert record["tuned"]["shape"] == shape
                assert record["recovered"]["equal"] == tuned[name].numel()
                assert STORED[record["tuned"]["dtype"]] == dtype
        assert (manifest["share_equal"], manifest["max_abs_difference"]) == (1, 0)
        return seen, manifest

    return read


def test_the_second_reader_has_nothing_of_the_first() -> None:
    tree = ast.parse((HERE / "second_reader.py").read_text(encoding="utf-8"))
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in modules} <= sys.stdlib_module_names | {"zstandard"}
    assert {"importlib", "subprocess", "runpy"}.isdisjoint(modules)


@pytest.mark.parametrize("tuned_type", TYPES)
@pytest.mark.parametrize("base_type", TYPES)
def test_every_type_on_every_type(
    base_type: str, tuned_type: str, read: Any, llama: Any, tuned_of: Any, llama_config: Any
) -> None:
    base = llama(TYPES[base_type], layers=1, rows=160, width=64)
    tuned = tuned_of(base, TYPES[tuned_type], rows=2)
    base |= {"positions": torch.arange(9), "scale": torch.tensor(1.5), "nothing": torch.zeros(0, 4)}
    tuned |= {"positions": torch.arange(9) * 3, "scale": torch.tensor(1.25), "nothing": torch.zeros(0, 4)}
    seen, manifest = read(base, tuned, llama_config, "shards", max_shard_bytes=60_000)
    pair = f"difference {tuned_type} from {STORED[base_type]}"
    assert seen[pair] >= 9
    assert (seen["new rows"], seen[f"literal {tuned_type} from nothing"]) == (2, 2)
    assert seen["literal int64 from nothing"] == seen["empty tensor"] == 1
    assert min(seen["file"], seen["chunk of several runs"], seen["fold"], seen["escape"], seen["shift"]) > 1
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert manifest["tensors"][name]["grown_rows"] == 2


@pytest.mark.parametrize("base_tied", [False, True])
@pytest.mark.parametrize("tuned_tied", [False, True])
def test_tied_tables(
    base_tied: bool, tuned_tied: bool, read: Any, llama: Any, tuned_of: Any, llama_config: Any
) -> None:
    base = llama(torch.float16, layers=1)
    tuned = tuned_of(base, torch.bfloat16, rows=1)
    if base_tied:
        del base["lm_head.weight"]
    if tuned_tied:
        del tuned["lm_head.weight"]
    configs = [llama_config | {"tie_word_embeddings": tied} for tied in (base_tied, tuned_tied)]
    seen, manifest = read(base, tuned, tuple(configs))
    assert manifest["tied"] == ({"lm_head.weight": "model.embed_tokens.weight"} if tuned_tied else {})
    assert ("lm_head.weight" in manifest["base"]) == (not base_tied and not tuned_tied)
    assert seen["new rows"] == (1 if tuned_tied else 2)


def every_pattern(dtype: torch.dtype) -> torch.Tensor:
    """All patterns of a type of 16 bits; of float32, all upper halves with lower halves at which rounding turns."""
    upper = torch.arange(1 << 16)
    if dtype is not torch.float32:
        return upper.to(torch.int16).view(dtype)
    lower = torch.tensor(LOW_HALVES)[upper % len(LOW_HALVES)]
    edges = torch.tensor(EDGES)
    return torch.cat([upper << 16 | lower, edges, edges | 1 << 31]).to(torch.int32).view(dtype)


def moved(base: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The base in the tuned type, and every fourth pattern one up or down: zeros change sign, NaN their payload."""
    steps = torch.zeros(base.numel(), dtype=WHOLE[dtype])
    steps[::4], steps[1::8] = 1, -1
    return (base.to(dtype).view(WHOLE[dtype]) + steps).view(dtype)


@pytest.mark.parametrize("tuned_type", TYPES)
def test_every_pattern_of_the_base_is_cast_as_the_page_says(tuned_type: str, read: Any) -> None:
    dtype = TYPES[tuned_type]
    base = {f"from {name}": every_pattern(other) for name, other in TYPES.items()}
    wide = torch.cat([base["from float32"][::8], base["from float32"][-2 * len(EDGES) :]]).double().view(torch.int64)
    base["from float64"] = torch.cat([wide + (1 << 28), wide + 1]).view(torch.float64)  # ties, and what float32 drops
    ties = (1 << torch.arange(24, 62)) + (1 << torch.arange(38))
    base["from int64"] = torch.cat([torch.arange(-2000, 2000), ties, ties - 1, ties + 1, -ties])
    octets = torch.arange(8192).to(torch.uint8)
    base |= {"from uint8": octets, "from bool": octets > 99}
    base |= {f"from {name}": octets.view(getattr(torch, name)) for name in STORED if name.startswith("float8")}
    tuned = {name: moved(tensor, dtype) for name, tensor in base.items()}
    seen, _ = read(base, tuned)
    for name in STORED:
        assert seen[f"difference {tuned_type} from {STORED[name]}"] == 1
    assert seen["literal"] == 0
    one = tuned[f"from {tuned_type}"]
    kinds = Counter(one.view(WHOLE[dtype])[one.isnan()].tolist())
    assert len(kinds) > 100, "payloads"
    tiny = torch.finfo(dtype).tiny
    for special in (one.isinf(), (one.abs() < tiny) & (one != 0), (one == 0) & one.signbit()):
        assert special.any()


def test_special_values_in_a_tensor_of_nothing_else(read: Any) -> None:
    """NaN of both signs with payload, infinities, zeros, subnormals on numbers, and numbers on them."""
    special = torch.tensor(SPECIAL).to(torch.int32).view(torch.float32).repeat(500)
    plain = torch.linspace(-1, 1, 5000)
    base = {"on": special, "of": plain, "same": special.clone(), "down": special.clone(), "up": special.half()}
    tuned = {"on": plain, "of": special, "same": special, "down": special.bfloat16(), "up": special}
    seen, _ = read(base, tuned)
    assert seen["chunk without a change"] >= 1
    assert seen["difference"] + seen["literal"] == 5


def test_a_large_tensor_in_every_packing(read: Any) -> None:
    """Two chunks: updates of one size, which are many steps of a small weight and none of a large one."""
    generator = torch.Generator().manual_seed(3)
    base = torch.randn((1 << 20) + 20_000, generator=generator).bfloat16() * 0.02
    tuned = (base.float() + torch.randn(base.shape, generator=generator) * 3e-5).bfloat16()
    seen, manifest = read({"w": base}, {"w": tuned})
    assert seen["tensor of several chunks"] == 1
    assert seen["difference bfloat16 from BF16"] == seen["chunk of several runs"] == 2
    assert all(seen[f"packing {q}"] for q in (1, 2, 4, 8)), seen
    assert seen["escape"] > 100
    assert manifest["tensors"]["w"]["diff"]["shape"][0] < 2 * base.numel() / 3


@pytest.mark.parametrize("dtype", TYPES.values(), ids=str)
def test_large_updates_shifts_and_escapes(dtype: torch.dtype, read: Any) -> None:
    generator = torch.Generator().manual_seed(4)
    base = (torch.randn(3, 9001, generator=generator) * 0.02).to(dtype)
    update = torch.randn(base.shape, generator=generator) * torch.tensor([[1e-3], [4e-3], [1e-6]])
    update[torch.rand(base.shape, generator=generator) < 0.002] = 3.0
    tuned = (base.float() + update).to(dtype)
    seen, _ = read(
        {str(i): base[i] for i in range(3)} | {"random": base[0], "same": base[0]},
        {str(i): tuned[i] for i in range(3)} | {"random": tuned[0].flip(0) ** 5 * 1e5, "same": base[0]},
    )
    assert seen["escape"] > 20
    assert seen["shift"]
    assert seen["low bit"]
    assert seen["low byte"] or dtype is not torch.float32
    assert seen["chunk without a change"] == 1


def test_a_run_ends_with_its_4096th_element(read: Any) -> None:
    """Three runs: 4096 elements; 4095 and one more; what is left joins the third."""
    counts = {2.0: 4095, 1.0: 4096, 16.0: 7, 4.0: 1, 8.0: 5000}
    base = torch.cat([torch.full((count,), value) for value, count in counts.items()]).half()
    tuned = (base + torch.arange(len(base)) % 5 * 0.01).half()
    seen, _ = read({"w": base}, {"w": tuned})
    assert (seen["difference"], seen["run"]) == (1, 3)
