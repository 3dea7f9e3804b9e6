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

import torch

from packtrain.core.errors import UserError
from packtrain.weights.info import SAFETENSORS_CODES, TensorInfo, torch_dtype

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

_DTYPES = {code: name for name, code in SAFETENSORS_CODES.items()}
_HINT = "the file is damaged or was not downloaded whole: get it again and compare its size with the publisher's"


class _Lie(Exception):
    """What is wrong with a header."""


class SafetensorsFile:
    """Tensors of one safetensors file, read piece by piece with plain reads (nothing stays mapped).

    Raises UserError naming the file when its header is not valid: longer than the file, duplicate
    names, sizes that do not fit the shapes, ranges that overlap, leave gaps or leave the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.aliases: dict[str, str] = {}
        try:
            self._data_start, header = _read_header(path)
            self._begins, self.infos = _check_header(header, path.stat().st_size - self._data_start)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
        except _Lie as lie:
            raise UserError(f"{path} is not a valid safetensors file: {lie}", _HINT) from lie

    def flat(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Elements `start` to `stop` of a tensor in row-major order, as a new tensor `[stop - start]`."""
        dtype = torch_dtype(self.infos[name].dtype)
        piece = torch.empty(stop - start, dtype=dtype)
        buffer = piece.view(torch.uint8).numpy().data
        position = self._data_start + self._begins[name] + start * dtype.itemsize
        with open(self.path, "rb", buffering=0) as file:
            file.seek(position)
            while buffer:
                count = file.readinto(buffer)
                if not count:
                    raise UserError(f"{self.path} ends inside tensor {name}", _HINT)
                buffer = buffer[count:]
        return piece

    def release(self) -> None:
        """Nothing is held between reads."""


def _read_header(path: Path) -> tuple[int, Any]:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
            raise _Lie(f"its header claims {length} bytes, the file has {size}")
        text = file.read(length)
    try:
        return 8 + length, json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _Lie("its header is not JSON") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Lie(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in its header")
    return found


def _check_header(header: Any, data_bytes: int) -> tuple[dict[str, int], dict[str, TensorInfo]]:
    """Begin of each tensor after the header, and what is known of it; raises _Lie."""
    if not isinstance(header, dict):
        raise _Lie("its header is not an object")
    entries = {name: _entry(name, entry) for name, entry in header.items() if name != "__metadata__"}
    expected_begin, before = 0, "the header"
    for begin, end, name in sorted((begin, end, name) for name, (begin, end, _) in entries.items()):
        if begin != expected_begin:
            raise _Lie(f"tensor {name!r} {'overlaps' if begin < expected_begin else 'leaves a gap after'} {before}")
        expected_begin, before = end, repr(name)
    if expected_begin != data_bytes:
        raise _Lie(f"its tensors take {expected_begin} bytes, the file has {data_bytes} for them")
    begins = {name: begin for name, (begin, _, _) in entries.items()}
    return begins, {name: info for name, (_, _, info) in entries.items()}


def _entry(name: str, entry: Any) -> tuple[int, int, TensorInfo]:
    if not isinstance(entry, dict):
        raise _Lie(f"tensor {name!r} has no description")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _Lie(f"tensor {name!r} has unknown type {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _Lie(f"tensor {name!r} has shape {shape!r} and offsets {offsets!r}")
    begin, end = offsets
    nbytes = math.prod(shape) * torch_dtype(_DTYPES[dtype]).itemsize
    if end - begin != nbytes:
        raise _Lie(f"tensor {name!r} needs {nbytes} bytes and is given {end - begin}")
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
