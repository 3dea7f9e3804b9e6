"""One safetensors file: a header that is checked before it is believed, and reads of any range.

Layout (huggingface/safetensors, README "Format"): 8 bytes little-endian length N of the header, N
bytes of JSON `{name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}`, then
the tensors' bytes, row-major and little-endian, offsets counted from the end of the header.
"""

import json
import math
import os
from pathlib import Path
from typing import Any, TypeGuard

from packtrain.core.errors import UserError
from packtrain.weights.info import SAFETENSORS_CODES, TensorInfo, torch_dtype
from packtrain.weights.untrusted import (
    MAX_DIMENSIONS,
    MAX_JSON_BYTES,
    Lie,
    fill_from,
    is_tensor_name,
    open_plain,
    parse_json,
    shown,
)
from packtrain.weights.weight_file import WeightFile

_DTYPES = {code: name for name, code in SAFETENSORS_CODES.items()}
_HINT = "the file is damaged or was not downloaded whole: get it again and compare its size with the publisher's"


class SafetensorsFile(WeightFile):
    """Tensors of one safetensors file, read piece by piece with plain reads (nothing stays mapped).

    Raises UserError naming the file when its header is not valid: longer than the file, duplicate
    names, sizes that do not fit the shapes, ranges that overlap, leave gaps or leave the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.aliases: dict[str, str] = {}
        try:
            self._data_start, header, size = _read_header(path)
            self._begins, self.infos = _check_header(header, size - self._data_start)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
        except Lie as lie:
            raise UserError(f"{path} is not a valid safetensors file: {lie}", _HINT) from lie

    def _read(self, name: str, start: int, stop: int, data: memoryview) -> None:
        itemsize = torch_dtype(self.infos[name].dtype).itemsize
        fill_from(self.path, self._data_start + self._begins[name] + start * itemsize, data, name)


def _read_header(path: Path) -> tuple[int, Any, int]:
    """Where the data starts, the header, and the size of the file."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise Lie(f"its header claims {length} bytes, the file has {size}")
        if length > MAX_JSON_BYTES:
            raise Lie(f"its header claims {length} bytes, more than any model needs")
        return 8 + length, parse_json(file.read(length), "its header"), size


def _check_header(header: Any, data_bytes: int) -> tuple[dict[str, int], dict[str, TensorInfo]]:
    """Begin of each tensor after the header, and what is known of it; raises Lie."""
    if not isinstance(header, dict):
        raise Lie("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Lie("its __metadata__ is more than names and texts")
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    expected_begin, before = 0, "the header"
    for begin, end, name in sorted((begin, end, name) for name, (begin, end, _) in entries.items()):
        if begin != expected_begin:
            raise Lie(f"tensor {name!r} {'overlaps' if begin < expected_begin else 'leaves a gap after'} {before}")
        expected_begin, before = end, repr(name)
    if expected_begin != data_bytes:
        raise Lie(f"its tensors take {expected_begin} bytes, the file has {data_bytes} for them")
    begins = {name: begin for name, (begin, _, _) in entries.items()}
    return begins, {name: info for name, (_, _, info) in entries.items()}


def _entry(name: str, entry: Any) -> tuple[int, int, TensorInfo]:
    if not is_tensor_name(name):
        raise Lie(f"{shown(name)} cannot be a tensor's name")
    if not isinstance(entry, dict):
        raise Lie(f"tensor {name!r} has no description")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise Lie(f"tensor {name!r} has unknown type {shown(dtype)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > MAX_DIMENSIONS:
        raise Lie(f"tensor {name!r} has shape {shown(shape)} and offsets {shown(offsets)}")
    begin, end = offsets
    itemsize = torch_dtype(_DTYPES[dtype]).itemsize
    nbytes = math.prod(shape) * itemsize
    if end - begin != nbytes:
        raise Lie(f"tensor {name!r} needs {nbytes} bytes and is given {end - begin}")
    if math.prod(max(size, 1) for size in shape) * itemsize >= 2**63:
        raise Lie(f"tensor {name!r} has shape {shown(shape)}, which no machine can hold")
    return begin, end, TensorInfo(name, _DTYPES[dtype], tuple(shape))


def _are_sizes(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def header_bytes(infos: list[TensorInfo]) -> bytes:
    """The bytes that stand before the data of a file that holds `infos` in this order, a multiple of 8."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for info in infos:
        entry = {"dtype": SAFETENSORS_CODES[info.dtype], "shape": list(info.shape)}
        header[info.name] = {**entry, "data_offsets": [begin, begin + info.nbytes]}
        begin += info.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
