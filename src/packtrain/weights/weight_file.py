"""What every file of tensors can do, whatever its form."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch

from packtrain.weights.info import TensorInfo, torch_dtype
from packtrain.weights.pieces import empty_piece


class WeightFile(ABC):
    """One file of tensors: `infos` from its header, and reads of any range, from any number of threads at once.

    `aliases` maps the second and later names of a shared tensor to the first one. Nothing is held or
    mapped between reads.
    """

    path: Path
    infos: dict[str, TensorInfo]
    aliases: dict[str, str]

    def read_into(self, name: str, start: int, stop: int, buffer: memoryview) -> None:
        """Fill `buffer` with elements `start` to `stop` of a tensor, row-major, little-endian.

        ValueError when the range leaves the tensor or does not fit the buffer; UserError naming tensor
        and file when the file ends before.
        """
        info = self.infos[name]
        if not 0 <= start <= stop <= info.numel:
            raise ValueError(f"tensor {name} has {info.numel} elements, not {start} to {stop}")
        data = buffer.cast("B")
        if len(data) != (stop - start) * torch_dtype(info.dtype).itemsize:
            raise ValueError(f"{len(data)} bytes do not hold elements {start} to {stop} of {info}")
        if data:
            self._read(name, start, stop, data)

    def flat(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Elements `start` to `stop` of a tensor in row-major order, as a new tensor `[stop - start]`."""
        dtype = torch_dtype(self.infos[name].dtype)
        piece = empty_piece(stop - start, dtype)
        self.read_into(name, start, stop, piece.view(torch.uint8).numpy().data)
        return piece

    @abstractmethod
    def _read(self, name: str, start: int, stop: int, data: memoryview) -> None:
        """Fill `data`, whose length is that of the range."""
