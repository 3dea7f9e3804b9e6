"""One `pytorch_model.bin`: a pickle that may hold tensors and nothing else, mapped and read lazily."""

import math
import pickle
from pathlib import Path

import torch

from packtrain.core.errors import UserError
from packtrain.weights.info import SAFETENSORS_CODES, TensorInfo, dtype_name


class BinFile:
    """Tensors of one `.bin` file, through `torch.load(mmap=True, weights_only=True)` and no other way.

    `aliases` maps the second and later names of a shared tensor to the first one. Raises UserError
    naming the file when it is not a dictionary of tensors, or holds code.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loaded: dict[str, torch.Tensor] | None = None
        self.infos: dict[str, TensorInfo] = {}
        self.aliases: dict[str, str] = {}
        first_of: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
        for name, tensor in self._tensors().items():
            self.infos[name] = TensorInfo(name, dtype_name(tensor.dtype), tuple(tensor.shape))
            place = tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
            first = first_of.setdefault(place, name)
            if first != name and tensor.numel():
                self.aliases[name] = first
        self.release()

    def flat(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Elements `start` to `stop` of a tensor in row-major order, `[stop - start]`; shares memory with the file."""
        tensor = self._tensors()[name].detach()
        if start == stop or tensor.dim() == 0:
            return tensor.reshape(-1)[start:stop]
        row = math.prod(tensor.shape[1:])
        first_row = start // row
        rows = tensor[first_row : -(-stop // row)].reshape(-1)
        return rows[start - first_row * row : stop - first_row * row]

    def release(self) -> None:
        """Unmap the file until it is read again, so that its pages do not count as memory in use."""
        self._loaded = None

    def _tensors(self) -> dict[str, torch.Tensor]:
        if self._loaded is None:
            self._loaded = _load(self.path)
        return self._loaded


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds something other than tensors: refused",
            "a weights file never needs code to be run; get it again from a source you trust",
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    except Exception as error:  # torch.load has no error class of its own for damaged files
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} cannot be read as PyTorch weights: {first_line}",
            "get it again; files from before PyTorch 1.6 must be saved again with a newer one",
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a dictionary of tensors", "give a folder in the Hugging Face layout")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise UserError(f"{path}: entry {name!r} is not a plain tensor", "give a folder in the Hugging Face layout")
        if dtype_name(tensor.dtype) not in SAFETENSORS_CODES:
            raise UserError(f"{path}: tensor {name} has type {tensor.dtype}", "quantised weights are not supported")
    return content
