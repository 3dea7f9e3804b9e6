"""Lazy reading of a model folder's tensors, whatever the file form and however it is sharded."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from packtrain.core.errors import UserError
from packtrain.weights.bin_file import BinFile
from packtrain.weights.info import TensorInfo
from packtrain.weights.safetensors_file import SafetensorsFile
from packtrain.weights.weight_file import WeightFile
from packtrain.weights.weight_index import WEIGHT_FILES, read_index, weights_of


class TensorStore(Mapping[str, torch.Tensor]):
    """Read-only mapping of names to tensors that reads nothing but headers until a tensor is asked for.

    `store[name]` is a whole tensor, `chunks` gives it piece by piece, `info` what its header says. Any number
    of threads may read at once; what is read is in the caller's memory, and nothing else stays in memory.
    """

    def __init__(self, folder: Path, files: list[WeightFile]) -> None:
        self.folder = folder
        self._file_of = {name: file for file in files for name in file.infos}
        aliases = {alias: name for file in files for alias, name in file.aliases.items()}
        self.aliases: Mapping[str, str] = MappingProxyType(aliases)
        """Names that share their memory with another one (`.bin` files can say so), to that one."""

    def __getitem__(self, name: str) -> torch.Tensor:
        info = self.info(name)
        return self.flat(name, 0, info.numel).reshape(info.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)

    def __contains__(self, name: object) -> bool:
        return name in self._file_of

    def info(self, name: str) -> TensorInfo:
        """Type and shape from the header; KeyError when there is no such tensor."""
        return self._file_of[name].infos[name]

    def infos(self) -> dict[str, TensorInfo]:
        """Type and shape of every tensor, in the order of the files."""
        return {name: file.infos[name] for name, file in self._file_of.items()}

    def tensor(self, name: str) -> torch.Tensor:
        """The whole tensor in its own type and shape; KeyError when there is none."""
        return self[name]

    def flat(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Elements `start` to `stop` of a tensor in row-major order, as a new tensor `[stop - start]`."""
        return self._file_of[name].flat(name, start, stop)

    def read_into(self, name: str, start: int, stop: int, buffer: memoryview) -> None:
        """Fill `buffer` with elements `start` to `stop` of a tensor: row-major, little-endian, exactly that long."""
        self._file_of[name].read_into(name, start, stop, buffer)

    def chunks(self, name: str, max_elements: int) -> Iterator[torch.Tensor]:
        """The tensor in row-major order as flat pieces of at most `max_elements`."""
        total = self.info(name).numel
        for start in range(0, total, max_elements):
            yield self.flat(name, start, min(start + max_elements, total))


def open_store(folder: Path) -> TensorStore:
    """The tensors of a Hugging Face model folder: safetensors or `.bin`, one file or many with an index.

    Only headers are read. Raises UserError that names the file when the folder or a shard is missing,
    a file is damaged, or an index names something outside the folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", "give the folder of a Hugging Face model")
    found = weights_of(folder)
    if found is None:
        raise UserError(
            f"{folder} holds no weights (looked for {', '.join(WEIGHT_FILES)})",
            "give the folder of a Hugging Face model, downloaded whole",
        )
    if not found.name.endswith(".index.json"):
        return TensorStore(folder, [_open_file(found)])
    weight_map = read_index(found)
    files = {name: _open_shard(folder, name, found) for name in dict.fromkeys(weight_map.values())}
    _check_shards(found, weight_map, files)
    return TensorStore(folder, list(files.values()))


def _open_file(path: Path) -> WeightFile:
    # links are followed wherever they lead: caches are made of them, and people link shards from other disks
    return SafetensorsFile(path) if path.suffix == ".safetensors" else BinFile(path)


def _open_shard(folder: Path, name: str, index: Path) -> WeightFile:
    if not os.path.lexists(folder / name):
        raise UserError(f"{folder / name} is missing (named in {index.name})", "download the missing shard")
    return _open_file(folder / name)


def _check_shards(index: Path, weight_map: dict[str, str], files: dict[str, WeightFile]) -> None:
    hint = "index and shards are of different versions: download the folder again, whole"
    for name, shard in weight_map.items():
        if name not in files[shard].infos:
            raise UserError(f"{index.parent / shard} has no tensor {name}, which {index.name} says it has", hint)
    seen: dict[str, str] = {}
    for shard, file in files.items():
        for name in file.infos:
            if name in seen:
                raise UserError(f"tensor {name} stands in two shards of {index.parent}: {seen[name]} and {shard}", hint)
            seen[name] = shard
