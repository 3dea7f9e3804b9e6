"""Proves that a safetensors header is believed only when it is true, and that reads give the right elements."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from packtrain.core.errors import UserError
from packtrain.weights.info import SAFETENSORS_CODES, TensorInfo, torch_dtype
from packtrain.weights.safetensors_file import SafetensorsFile, header_bytes


def entry(begin: int, end: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write(path: Path, header: object, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("dtype", SAFETENSORS_CODES)
def test_every_type_reads_as_the_library_writes_it(tmp_path: Path, dtype: str) -> None:
    values = torch.arange(60).reshape(3, 4, 5).remainder(2 if dtype == "bool" else 50).to(torch_dtype(dtype))
    save_file({"a": values, "b": values[1].clone()}, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert file.infos["a"] == TensorInfo("a", dtype, (3, 4, 5))
    piece = file.flat("a", 7, 31)
    assert piece.dtype == values.dtype
    assert piece.view(torch.uint8).equal(values.reshape(-1)[7:31].contiguous().view(torch.uint8))


def test_our_header_is_read_by_the_library(tmp_path: Path) -> None:
    tensors = {"w": torch.randn(3, 5), "empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5)}
    infos = [TensorInfo(name, "float32", tuple(tensor.shape)) for name, tensor in tensors.items()]
    data = b"".join(tensor.numpy().tobytes() for tensor in tensors.values())
    (tmp_path / "x.safetensors").write_bytes(header_bytes(infos) + data)
    loaded = load_file(tmp_path / "x.safetensors")
    assert {name: tensor.equal(loaded[name]) for name, tensor in tensors.items()} == dict.fromkeys(tensors, True)


LIES: dict[str, tuple[object, bytes, str]] = {
    "overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12), "tensor 'b' overlaps 'a'"),
    "gap": ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12), "tensor 'b' leaves a gap after 'a'"),
    "out of range": ({"a": entry(0, 400, [100])}, bytes(8), "tensors take 400 bytes, the file has 8"),
    "bytes left over": ({"a": entry(0, 4, [1])}, bytes(8), "tensors take 4 bytes, the file has 8"),
    "size does not fit shape": ({"a": entry(0, 8, [3])}, bytes(8), "needs 12 bytes and is given 8"),
    "negative": ({"a": entry(-8, 0, [2])}, bytes(8), "shape [2] and offsets [-8, 0]"),
    "reversed": ({"a": entry(8, 0, [2])}, bytes(8), "needs 8 bytes and is given -8"),
    "boolean shape": ({"a": entry(0, 4, [True])}, bytes(4), "shape [True]"),
    "fractional shape": ({"a": entry(0, 4, [1.0])}, bytes(4), "shape [1.0]"),
    "huge shape": ({"a": entry(0, 4, [2**70])}, bytes(4), "has shape"),
    "unknown type": ({"a": entry(0, 4, [1], "F31")}, bytes(4), "unknown type 'F31'"),
    "type is no text": ({"a": entry(0, 4, [1], ["F32"])}, bytes(4), "unknown type ['F32']"),
    "no description": ({"a": 3}, b"", "no description"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [1]}}, bytes(4), "offsets None"),
    "list": ([1], b"", "not an object"),
    "not JSON": (b"{{{", b"", "not JSON"),
    "not text": (b"\xff\xfe", b"", "not JSON"),
    "deep": (b"[" * 100_000, b"", "not JSON"),
    "another number": (b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4), "shape [nan]"),
    "endless number": (b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', b"", "not JSON"),
    "product past 64 bits": ({"a": entry(0, 0, [2**62, 2**62, 0])}, b"", "which no machine can hold"),
    "65 dimensions": ({"a": entry(0, 4, [1] * 65)}, bytes(4), "shape [1, 1, 1"),
    "endless shape": ({"a": entry(0, 4, [2**60] * 99_999)}, bytes(4), "tensor 'a' has shape [1152921504606846976"),
    "deep type": ({"a": entry(0, 4, [1], json.loads("[" * 800 + "]" * 800))}, bytes(4), "unknown type [[[[...]]]]"),
    "name of two lines": ({"a\nb": entry(0, 4, [1])}, bytes(4), r"'a\nb' cannot be a tensor's name"),
    "half a character as name": ({"\ud800": entry(0, 4, [1])}, bytes(4), r"'\ud800' cannot be a tensor's name"),
    "endless name": ({"a" * 9999: entry(0, 4, [1])}, bytes(4), "cannot be a tensor's name"),
    "metadata that is a tensor": ({"__metadata__": entry(0, 4, [1])}, bytes(4), "__metadata__ is more than"),
    "metadata that is a list": ({"__metadata__": ["a"]}, b"", "__metadata__ is more than"),
    "many names, the last twice": (
        ("{" + ",".join(f'"{n}":0' for n in [*range(99_999), 99_998]) + "}").encode(),
        b"",
        "'99998' stands twice in its header",
    ),
    "twice": (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', bytes(4), "'a' stands twice"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_and_the_file_named(tmp_path: Path, lie: str) -> None:
    header, data, message = LIES[lie]
    path = write(tmp_path / "x.safetensors", header, data)
    with pytest.raises(UserError) as raised:
        SafetensorsFile(path)
    assert raised.value.message.startswith(f"{path} is not a valid safetensors file: ")
    assert message in raised.value.message
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < len(str(path)) + 600


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", (2**63).to_bytes(8, "little") + b"{}", (99).to_bytes(8, "little"), (10**8).to_bytes(8, "little")],
)
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="its header claims"):
        SafetensorsFile(path)


def test_a_header_of_more_than_any_model_needs_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((10**8).to_bytes(8, "little"))
    os.truncate(path, 2 * 10**8)
    with pytest.raises(UserError, match="its header claims 100000000 bytes, more than any model needs"):
        SafetensorsFile(path)


def test_as_many_dimensions_as_there_may_be_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"a": entry(0, 8, [1] * 63 + [2])}, bytes(8))
    assert SafetensorsFile(path).flat("a", 0, 2).reshape([1] * 63 + [2]).dim() == 64


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 300), value=st.integers(0, 255))
def test_one_changed_byte_gives_valid_tensors_or_a_clear_error(tmp_path: Path, position: int, value: int) -> None:
    infos = [TensorInfo("a", "float32", (4, 3)), TensorInfo("b", "bfloat16", (7,))]
    content = bytearray(header_bytes(infos) + bytes(62))
    content[position % len(content)] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        file = SafetensorsFile(path)
        for name, info in file.infos.items():
            assert file.flat(name, 0, info.numel).shape == (info.numel,)


def test_a_file_cut_after_opening_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    file = SafetensorsFile(path)
    with open(path, "r+b") as handle:
        handle.truncate(path.stat().st_size - 4)
    with pytest.raises(UserError, match="ends inside tensor a"):
        file.flat("a", 0, 1000)
