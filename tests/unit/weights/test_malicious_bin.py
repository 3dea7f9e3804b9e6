"""Proves that a `.bin` made to mislead is refused, with the file named and its tensor, before anything in it runs."""

import io
import os
import pickle
import re
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.weights.bin_file import BinFile


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(max(1, (value.bit_length() + 8) // 8), "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def storage(count: int = 4, key: str = "0", kind: str = "FloatStorage", word: str = "storage") -> bytes:
    return b"(" + text(word) + named("torch", kind) + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(
    offset: int = 0, size: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,), stored: bytes | None = None
) -> bytes:
    hooks = named("collections", "OrderedDict") + b")R"
    arguments = (stored or storage()) + number(offset) + numbers(size) + numbers(stride) + b"\x89" + hooks
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def pickled(value: bytes, key: bytes | None = None) -> bytes:
    """A dictionary `{"good": tensor, "w": value}`, or with another key than "w"."""
    return b"\x80\x02}(" + text("good") + tensor() + (key or text("w")) + value + b"u."


RECORDS = {"data/0": bytes(16), "version": b"3\n", "byteorder": b"little"}


def archive(path: Path, content: bytes, changes: dict[str, bytes] | None = None, compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in ({"data.pkl": content} | RECORDS | (changes or {})).items():
            file.writestr(f"x/{name}", data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        BinFile(path)
    message = raised.value.message
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < len(str(path)) + 600
    return message


def test_the_file_that_the_malicious_ones_are_made_from_is_good(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.bin", pickled(tensor(size=(2, 2), stride=(1, 2))), {"data/0": bytes(range(16))})
    file = BinFile(path)
    assert {name: info.shape for name, info in file.infos.items()} == {"good": (4,), "w": (2, 2)}
    whole = torch.load(path, weights_only=True)
    assert all(file.flat(name, 0, 4).equal(tensor.reshape(-1)) for name, tensor in whole.items())


CALL = named("os", "getpid") + b")R"
CODE: dict[str, tuple[bytes, str]] = {
    "a function": (CALL, "entry 'w' needs 'os.getpid'"),
    "a system call": (named("posix", "system") + text("true") + b"\x85R", "entry 'w' needs 'posix.system'"),
    "eval": (named("builtins", "eval") + text("1") + b"\x85R", "entry 'w' needs 'builtins.eval'"),
    "python 2's eval": (named("__builtin__", "eval") + text("1") + b"\x85R", "needs '__builtin__.eval'"),
    "inside a list": (b"](" + tensor() + CALL + b"e", "entry 'w' needs 'os.getpid'"),
    "inside a dictionary": (b"}" + text("deep") + CALL + b"s", "entry 'deep' needs 'os.getpid'"),
    "as a tensor's hook": (tensor(stored=CALL), "entry 'w' needs 'os.getpid'"),
    "by attribute": (tensor() + CALL + b"b", "needs 'os.getpid'"),
    "by the stack": (text("os") + text("getpid") + b"\x93)R", "instruction STACK_GLOBAL"),
    "by class": (named("torch", "FloatStorage") + b")\x81", "instruction NEWOBJ"),
    "by instance": (b"(ios\ngetpid\n", "instruction INST"),
    "by object": (b"(" + named("torch", "float8_e5m2") + b"o", "instruction OBJ"),
    "by a number without end": (b"\x8b\x00\x08\x00\x00" + bytes(2047) + b"\x01", "instruction LONG4"),
    "by extension": (b"\x82\x01", "instruction EXT1"),
    "of torch": (named("torch.hub", "load") + b")R", "needs 'torch.hub.load'"),
    "a storage as a function": (named("torch", "FloatStorage") + number(10**12) + b"\x85R", "makes no tensor"),
    "a type as a function": (named("torch", "uint16") + b")R", "makes no tensor"),
    "attributes of a tensor": (tensor() + b"}b", "sets attributes of something other than a dictionary"),
    "a name of two lines": (b"cos\nget pid\n)R", "needs 'os.get.pid'"),
}


@pytest.mark.parametrize("code", CODE)
def test_code_is_named_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(os, "getpid", lambda: pytest.fail("the code was run"))
    value, message = CODE[code]
    path = archive(tmp_path / "x.bin", pickled(value))
    assert re.search(f"holds something other than tensors: .*{re.escape(message)}", refusal(path))


BOMBS: dict[str, tuple[bytes, str]] = {
    "a trillion bytes": (named("builtins", "bytearray") + number(10**12) + b"\x85R", "needs 'builtins.bytearray'"),
    "a repeated text": (named("_codecs", "encode") + text("x") + b"\x85R", "needs '_codecs.encode'"),
    "a tensor of a trillion": (named("torch", "Tensor") + number(10**12) + b"\x85R", "needs 'torch.Tensor'"),
    "a terabyte of repeats": (tensor(size=(10**12,), stride=(0,)), "entry 'w' repeats its elements"),
    "a long instruction list": (b"]" * 1_000_001, "more than 1000000 instructions"),
    "a product past 64 bits": (tensor(size=(2**40, 2**40), stride=(0, 0)), "no machine can hold"),
    "nothing times a lot": (tensor(size=(2**40, 2**40, 0), stride=(0, 0, 0)), "no machine can hold"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path, bomb: str) -> None:
    value, message = BOMBS[bomb]
    assert message in refusal(archive(tmp_path / "x.bin", pickled(value)))


def test_a_key_that_takes_for_ever_to_hash_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.bin", pickled(b"N", key=b")" + b"q\x00h\x00\x86" * 60))
    assert "a key that is neither text nor number" in refusal(path)


LAYOUTS: dict[str, tuple[bytes, str]] = {
    "too long": (tensor(size=(5,)), "entry 'w' reaches to byte 20 of 16"),
    "offset": (tensor(offset=1), "entry 'w' reaches to byte 20 of 16"),
    "offset of nothing": (tensor(offset=9, size=(0,)), "entry 'w' reaches to byte 36 of 16"),
    "stride": (tensor(size=(2,), stride=(4,)), "entry 'w' reaches to byte 20 of 16"),
    "huge stride": (tensor(size=(2,), stride=(2**62,)), "entry 'w' reaches to byte"),
    "negative stride": (tensor(offset=3, stride=(-1,)), "entry 'w' has sizes or strides that no tensor has"),
    "negative size": (tensor(size=(-4,)), "entry 'w' has sizes or strides"),
    "negative offset": (tensor(offset=-1), "entry 'w' has sizes or strides"),
    "past 64 bits": (tensor(offset=2**64), "entry 'w' has sizes or strides"),
    "strides missing": (tensor(size=(2, 2)), "entry 'w' has sizes or strides"),
    "100 dimensions": (tensor(size=(1,) * 100, stride=(1,) * 100), "entry 'w' has sizes or strides"),
    "storage too long": (tensor(stored=storage(5)), "disagree about the size of their common storage"),
    "own storage too long": (tensor(stored=storage(5, "1")), "entry 'w' needs 20 bytes, its record data/1 has 8"),
    "no record": (tensor(stored=storage(4, "7")), "entry 'w' needs 16 bytes, its record data/7 is not there"),
    "record outside": (tensor(stored=storage(4, "../data.pkl")), "its record data/../data.pkl is not there"),
    "negative storage": (tensor(stored=storage(-4, "1")), "entry 'w' has no proper storage"),
    "another pickle": (tensor(stored=storage(word="module")), "entry 'w' has no proper storage"),
    "complex": (tensor(stored=storage(kind="ComplexFloatStorage")), "needs 'torch.ComplexFloatStorage'"),
    "quantised": (tensor(stored=storage(kind="QInt8Storage")), "entry 'w' needs 'torch.QInt8Storage'"),
    "no storage": (tensor(stored=b"N"), "entry 'w' is made in a way in which torch.save makes no tensor"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_that_leaves_its_storage_is_refused_and_named(tmp_path: Path, layout: str) -> None:
    value, message = LAYOUTS[layout]
    assert message in refusal(archive(tmp_path / "x.bin", pickled(value), {"data/1": bytes(8)}))


def test_a_damaged_pickle_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = pickled(tensor())
    for length in range(len(whole)):
        assert "pickle" in refusal(archive(tmp_path / "x.bin", whole[:length]))


DAMAGES: dict[str, tuple[bytes, str]] = {
    "empty stack": (b"\x80\x020.", "instruction POP"),
    "nothing to return": (b"\x80\x02.", ""),
    "no mark": (b"\x80\x02t.", "its pickle is damaged"),
    "unset memo": (b"\x80\x02h\x07.", "its pickle is damaged"),
    "protocol 5": (b"\x80\x05N.", "instruction PROTO"),
    "odd items": (b"\x80\x02}(Nu.", "its pickle is damaged"),
    "items of nothing": (b"\x80\x02N(NNu.", "its pickle is damaged"),
    "appends to nothing": (b"\x80\x02N(Ne.", "its pickle is damaged"),
    "same name twice": (pickled(tensor(), text("good")), "entry 'good' stands there twice"),
    "list": (b"\x80\x02].", "is not a dictionary of tensors"),
    "number as key": (pickled(tensor(), number(7)), "int cannot be a tensor's name"),
    "two lines as key": (pickled(tensor(), text("a\nb")), r"'a\nb' cannot be a tensor's name"),
    "endless key": (pickled(tensor(), text("a" * 10_000)), "cannot be a tensor's name"),
    "half a character as key": (pickled(tensor(), b"X\x03\0\0\0\xed\xa0\x80"), r"'\ud800' cannot be a tensor's name"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path: Path, damage: str) -> None:
    content, message = DAMAGES[damage]
    assert message in refusal(archive(tmp_path / "x.bin", content))


KINDS: dict[str, Callable[[], object]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "on no device": lambda: torch.ones(3, device="meta"),
    "of numbers": lambda: 3,
    "a dictionary": lambda: {"w": torch.ones(2)},
    "a counter": lambda: Counter("abc"),
    "a set": lambda: {1, 2},
    "nothing": lambda: None,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_that_is_no_plain_tensor_is_refused_and_named(tmp_path: Path, kind: str) -> None:
    torch.save({"good": torch.ones(2), "w": KINDS[kind]()}, tmp_path / "x.bin")
    assert re.search(r"entry 'w'|tensor w", refusal(tmp_path / "x.bin"))


def test_a_model_with_the_dictionary_s_own_attributes_is_read(tmp_path: Path) -> None:
    content = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict()
    assert isinstance(content, OrderedDict)
    torch.save(content, tmp_path / "x.bin")
    assert list(BinFile(tmp_path / "x.bin").infos) == list(content)


GOOD = pickled(tensor())


def edited(path: Path, find: bytes, replacement: bytes, count: int = -1) -> None:
    content = path.read_bytes()
    assert find in content
    path.write_bytes(content.replace(find, replacement, count))


def bigger(path: Path, field: int, value: int) -> None:
    """Write `value` as the size at `field` of the directory's entry of data/0."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"x/data/0") - 46
    content[at + field : at + field + 4] = value.to_bytes(4, "little")
    path.write_bytes(content)


ARCHIVES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "no zip archive"),
    "nothing but an end": (
        lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)),
        "archive that torch.save does not",
    ),
    "pickle alone": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), "no zip archive"),
    "compressed": (lambda path: archive(path, GOOD, compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    "climbing": (lambda path: archive(path, GOOD, {"../../y": b""}), "has a name that torch.save does not write"),
    "rooted": (lambda path: edited(archive(path, GOOD), b"x/data/0", b"//data/0"), "has a name that"),
    "backslash": (lambda path: archive(path, GOOD, {"data\\..\\0": b""}), "has a name that"),
    "two tops": (lambda path: edited(archive(path, GOOD), b"x/version", b"y/version"), "has a name that"),
    "in upper case": (lambda path: archive(path, GOOD, {"DATA.PKL": pickled(CALL)}), "has a name that"),
    "twice": (lambda path: edited(archive(path, GOOD), b"x/version", b"x/data/0\0"[:9]), "x/data/0"),
    "huge in the directory": (lambda path: bigger(archive(path, GOOD), 24, 2**32 - 2), "compressed or encrypted"),
    "huge twice": (
        lambda path: (archive(path, GOOD), bigger(path, 20, 2**31), bigger(path, 24, 2**31)),
        "leave the file",
    ),
    "overlapping": (lambda path: bigger(archive(path, GOOD), 42, 0), "overlap"),
    "no header there": (lambda path: bigger(archive(path, GOOD), 42, 7), "has no header"),
    "far away": (lambda path: bigger(archive(path, GOOD), 42, 2**31), ""),
    "no pickle": (lambda path: edited(archive(path, GOOD), b"data.pkl", b"data.pki"), "it has no pickle"),
    "pickle too long": (lambda path: archive(path, bytes(17_000_000)), "its pickle has 17000000 bytes"),
    "program": (lambda path: archive(path, GOOD, {"constants.pkl": b""}), "it is a program"),
    "big-endian": (lambda path: archive(path, GOOD, {"byteorder": b"big"}), "its numbers are not little-endian"),
    "of no order": (
        lambda path: archive(path, GOOD, {"byteorder": b"middle" * 99}),
        "its numbers are not little-endian",
    ),
    "with a comment": (lambda path: commented(archive(path, GOOD)), "archive that torch.save does not write"),
    "after something else": (
        lambda path: path.write_bytes(b"PK\x03\x04" + archive(path, GOOD).read_bytes()),
        "archive that",
    ),
    "directory too long": (lambda path: many_records(path), "its directory claims"),
}


def commented(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"a comment may hide another directory"


def many_records(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", GOOD)
        for number in range(140):
            file.writestr(f"x/{number}" + "y" * 60_000, b"")


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_torch_does_not_write_is_refused(tmp_path: Path, case: str) -> None:
    make, message = ARCHIVES[case]
    make(tmp_path / "x.bin")
    assert message in refusal(tmp_path / "x.bin")


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3)}, buffer)
    whole = buffer.getvalue()
    for length in range(0, len(whole), 7):
        (tmp_path / "x.bin").write_bytes(whole[:length])
        assert refusal(tmp_path / "x.bin")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "absent", "loop"])
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_what_is_no_file_is_refused_and_nothing_waits(tmp_path: Path, kind: str, suffix: str) -> None:
    from packtrain.weights.safetensors_file import SafetensorsFile

    path: Any = tmp_path / f"x{suffix}"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(UserError) as raised:
        (BinFile if suffix == ".bin" else SafetensorsFile)(path)
    assert str(path) in raised.value.message
