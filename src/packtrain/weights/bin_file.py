"""One `pytorch_model.bin`: a pickle that may hold tensors and nothing else, and reads of any range of them."""

import math
import mmap
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from packtrain.core.errors import UserError
from packtrain.weights.info import SAFETENSORS_CODES, TensorInfo, dtype_name
from packtrain.weights.pickle_scan import claimed_storages
from packtrain.weights.untrusted import Lie, fill_from, is_tensor_name, open_plain, shown
from packtrain.weights.weight_file import WeightFile
from packtrain.weights.zip_records import zip_records

MAX_PICKLE_BYTES = 16_000_000
"""Of the names and shapes of a hundred thousand tensors."""

_AGAIN = "get it again; files from before PyTorch 1.6 must be saved again with a newer one"
_TRUST = "a weights file never needs code to be run; get it again from a source you trust"
_LAYOUT = "give a folder in the Hugging Face layout"


class BinFile(WeightFile):
    """Tensors of one `.bin` file, which `torch.load(mmap=True, weights_only=True)` describes, and no other way.

    The mapping is dropped when the file is open: its pages would count as memory in use. What torch
    says where a tensor lies in the mapping, and the zip where its records lie in the file, gives the
    place in the file at which a tensor is read. Raises UserError naming the file when it is not a
    dictionary of tensors, or holds code.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.infos = {}
        self.aliases = {}
        self._begins: dict[str, int] = {}
        storages = _storages(path)
        tensors = _load(path)
        mapped_at = _mapped_at(tensors, storages)
        first_of: dict[tuple[object, ...], str] = {}
        for name, tensor in tensors.items():
            self.infos[name] = TensorInfo(name, dtype_name(tensor.dtype), tuple(tensor.shape))
            if not tensor.numel():
                continue
            place = tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
            first = first_of.setdefault(place, name)
            if first != name:
                self.aliases[name] = first
            if mapped_at is not None and tensor.is_contiguous():
                self._begins[name] = tensor.data_ptr() - mapped_at

    def _read(self, name: str, start: int, stop: int, data: memoryview) -> None:
        begin = self._begins.get(name)
        if begin is None:
            self._read_mapped(name, start, stop, data)
        else:
            fill_from(self.path, begin + start * (len(data) // (stop - start)), data, name)

    def _read_mapped(self, name: str, start: int, stop: int, data: memoryview) -> None:
        """Read a tensor that does not lie row-major in the file through a mapping of its own."""
        try:
            tensor = _load(self.path).get(name)
        except UserError as error:
            raise UserError(f"cannot read tensor {name}: {error.message}", error.hint) from error
        if tensor is None or TensorInfo(name, dtype_name(tensor.dtype), tuple(tensor.shape)) != self.infos[name]:
            raise UserError(f"{self.path} is not what it was: tensor {name} differs", "let nothing write to it")
        piece = torch.empty(stop - start, dtype=tensor.dtype)
        _copy_flat(tensor.detach(), start, stop, piece)
        data[:] = piece.view(torch.uint8).numpy().data


def _copy_flat(tensor: torch.Tensor, start: int, stop: int, piece: torch.Tensor) -> None:
    """Copy elements `start` to `stop` of a tensor in row-major order, in memory of that size."""
    if tensor.dim() < 2:
        piece.copy_(tensor.reshape(-1)[start:stop])
        return
    row = math.prod(tensor.shape[1:])
    done = 0
    while start < stop:
        first, skipped = divmod(start, row)
        rows = (stop - start) // row if not skipped else 0
        taken = rows * row or min(stop, (first + 1) * row) - start
        if rows:
            piece[done : done + taken].view(rows, *tensor.shape[1:]).copy_(tensor[first : first + rows])
        else:
            _copy_flat(tensor[first], skipped, skipped + taken, piece[done : done + taken])
        start, done = start + taken, done + taken


def _storages(path: Path) -> dict[int, int]:
    """Bytes of every storage that a file's tensors use, by its place in the file."""
    with open_plain(path) as file:
        try:
            records = zip_records(file)
            if "constants.pkl" in records:
                raise Lie("it is a program (TorchScript)")
            order, pickled = records.get("byteorder"), records.get("data.pkl")
            if order and os.pread(file.fileno(), min(order.size, 16), order.begin) != b"little":
                raise Lie("its numbers are not little-endian")
            if pickled is None or pickled.size > MAX_PICKLE_BYTES:
                raise Lie(f"its pickle has {pickled.size} bytes" if pickled else "it has no pickle")
        except Lie as lie:
            raise UserError(f"{path} cannot be read as PyTorch weights: {lie}", _AGAIN) from lie
        try:
            content = os.pread(file.fileno(), pickled.size, pickled.begin)
            claims = claimed_storages(content, os.fstat(file.fileno()).st_size)
            storages = {}
            for key, claim in claims.items():
                record = records.get(f"data/{key}")
                if record is None or record.size < claim.nbytes:
                    has = f"has {record.size}" if record else "is not there"
                    raise Lie(f"{claim.entry} needs {claim.nbytes} bytes, its record data/{key} {has}")
                if claim.nbytes:
                    storages[record.begin] = claim.nbytes
        except Lie as lie:
            raise UserError(f"{path} is damaged or holds something other than tensors: {lie}", _TRUST) from lie
    return storages


def _mapped_at(tensors: Mapping[str, torch.Tensor], storages: Mapping[int, int]) -> int | None:
    """The address of the file's first byte in the mapping; None where storages and records do not match strictly."""
    mapped = {storage.data_ptr(): storage.nbytes() for storage in map(torch.Tensor.untyped_storage, tensors.values())}
    mapped = {address: size for address, size in mapped.items() if size}
    if not mapped or not storages:
        return None
    base = min(mapped) - min(storages)
    matches = {address - base: size for address, size in mapped.items()} == storages
    return base if matches and base % mmap.PAGESIZE == 0 else None


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is damaged or holds something other than tensors: refused", _TRUST) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    except Exception as error:  # torch.load has no error class of its own for damaged files
        first_line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        reason = "".join(letter if letter.isprintable() else "?" for letter in first_line)
        raise UserError(f"{path} cannot be read as PyTorch weights: {reason}", _AGAIN) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a dictionary of tensors", _LAYOUT)
    for name, tensor in content.items():
        if not is_tensor_name(name):
            said = shown(name) if isinstance(name, str) else type(name).__name__
            raise UserError(f"{path}: {said} cannot be a tensor's name", _LAYOUT)
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_neg():
            raise UserError(f"{path}: entry {name!r} is not a plain tensor", _LAYOUT)
        if dtype_name(tensor.dtype) not in SAFETENSORS_CODES:
            raise UserError(f"{path}: tensor {name} has type {tensor.dtype}", "quantised weights are not supported")
    return content
