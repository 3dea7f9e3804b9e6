"""Proves that a `.bin` is read where its tensors lie, by any number of threads, in the memory of a piece."""

import os
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.weights import bin_file
from packtrain.weights.bin_file import BinFile
from packtrain.weights.info import SAFETENSORS_CODES, torch_dtype


def saved(tmp_path: Path, content: object) -> Path:
    torch.save(content, tmp_path / "x.bin")
    return tmp_path / "x.bin"


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel()).float().reshape(shape)


WHOLE = numbers(3, 3, 4)
LAYOUTS = {
    "row-major": WHOLE,
    "transposed": WHOLE.transpose(0, 2),
    "permuted": WHOLE.permute(1, 2, 0),
    "sliced": WHOLE[1:3, ::2, 1:],
    "tail": WHOLE[2:],
    "column": WHOLE[:, 1, 2],
    "repeated": numbers(4, 1).expand(4, 3),
    "one row": numbers(7, 3).t()[None],
    "odd strides": numbers(5).as_strided((1, 5), (99, 1)),
    "scalar": WHOLE[2, 1, 3],
    "empty": WHOLE[:, :0],
    "parameter": torch.nn.Parameter(numbers(3, 3)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_in_memory_is_read_row_major(tmp_path: Path, layout: str) -> None:
    tensor = LAYOUTS[layout]
    file = BinFile(saved(tmp_path, {"before": numbers(9), "w": tensor, "after": numbers(2)}))
    flat = tensor.detach().reshape(-1)
    assert file.infos["w"].shape == tuple(tensor.shape)
    for start in range(tensor.numel()):
        for stop in range(start, tensor.numel() + 1):
            assert file.flat("w", start, stop).equal(flat[start:stop]), (start, stop)


@pytest.mark.parametrize("dtype", SAFETENSORS_CODES)
def test_every_type_is_read_as_torch_saves_it(tmp_path: Path, dtype: str) -> None:
    values = torch.arange(60).remainder(2 if dtype == "bool" else 50).to(torch_dtype(dtype))
    file = BinFile(saved(tmp_path, {"w": values}))
    buffer = bytearray(24 * values.itemsize)
    file.read_into("w", 7, 31, memoryview(buffer))
    assert bytes(buffer) == values[7:31].view(torch.uint8).numpy().tobytes()
    assert file.flat("w", 7, 31).dtype == values.dtype


def test_row_major_tensors_are_never_read_through_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Linear(40, 7)).state_dict()
    file = BinFile(saved(tmp_path, model))
    monkeypatch.setattr(bin_file, "_load", lambda path: pytest.fail("read through a mapping"))
    for name, tensor in model.items():
        assert file.flat(name, 0, tensor.numel()).equal(tensor.reshape(-1))


def test_a_file_whose_places_are_not_certain_is_read_all_the_same(tmp_path: Path) -> None:
    """A storage that belongs to no entry: the mapped storages are not those of the pickle."""
    content = OrderedDict(w=numbers(3, 5))
    content._metadata = {"of the module": numbers(4)}  # type: ignore[attr-defined]
    file = BinFile(saved(tmp_path, content))
    assert file._begins == {}
    assert list(file.infos) == ["w"]
    assert file.flat("w", 4, 11).equal(numbers(15)[4:11])


@pytest.mark.parametrize(("start", "stop", "size"), [(-1, 3, 16), (3, 2, 0), (0, 11, 44), (0, 3, 11), (0, 3, 13)])
def test_a_range_or_buffer_that_does_not_fit_is_the_caller_s_error(
    tmp_path: Path, start: int, stop: int, size: int
) -> None:
    file = BinFile(saved(tmp_path, {"w": numbers(10)}))
    with pytest.raises(ValueError, match="elements"):
        file.read_into("w", start, stop, memoryview(bytearray(size)))


def test_many_threads_read_one_store(tmp_path: Path) -> None:
    content = {f"w{number}": torch.randn(50, 60) for number in range(8)} | {"t": torch.randn(60, 50).t()}
    file = BinFile(saved(tmp_path, content))

    def read(job: tuple[str, int]) -> bool:
        name, start = job
        return file.flat(name, start, start + 100).equal(content[name].reshape(-1)[start : start + 100])

    jobs = [(name, start) for start in range(0, 3000, 100) for name in content]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, jobs))


def test_a_file_cut_after_opening_is_an_error_that_names_tensor_and_file(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.ones(1000), "t": torch.ones(30, 20).t()})
    file = BinFile(path)
    with open(path, "r+b") as handle:
        handle.truncate(2000)
    for name in ("a", "t"):
        with pytest.raises(UserError) as raised:
            file.flat(name, 0, 600)
        assert str(path) in raised.value.message
        assert f"tensor {name}" in raised.value.message


STREAM = """
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from packtrain.weights.store import open_store
store = open_store(Path(sys.argv[1]))
def status(field): return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) * 1024
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak so far, a parent's included, is forgotten
def read(name): return sum(len(piece) for piece in store.chunks(name, 1 << 20))
with ThreadPoolExecutor(2) as threads: total = sum(threads.map(read, store))
print(total, status("VmHWM") - before)
"""


def test_reading_a_large_bin_takes_the_memory_of_a_piece(tmp_path: Path) -> None:
    content: dict[str, Any] = {f"w{number}": torch.zeros(25_000_000) for number in range(3)}
    torch.save(content, tmp_path / "pytorch_model.bin")
    command = [sys.executable, "-c", STREAM, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    (tmp_path / "pytorch_model.bin").unlink()
    read, grown = map(int, done.stdout.split())
    assert read == 75_000_000
    assert grown < 40 * 2**20
