"""Damage done to valid weights files, on the level of bytes, JSON, zip and pickle; what `fuzz_readers.py` feeds."""

import io
import json
import pickletools
import random
import re
import struct
import warnings
import zipfile
from typing import Any

import torch
from safetensors.torch import save

SHARDS = {"a.safetensors": {"x": torch.ones(3), "y": torch.zeros(2, 2)}, "b.safetensors": {"z": torch.arange(5)}}
"""What an index is mutated beside."""

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 16, 63, 64, 127, 128, 255, 256, 4096, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]
NUMBERS += [2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
WORDS = [
    "",
    "a",
    "x",
    "__metadata__",
    "F32",
    "BF16",
    "U8",
    "BOOL",
    "..",
    "/etc/passwd",
    "../a.safetensors",
    "\0",
    "\ud800",
]
WORDS += [
    "a.safetensors",
    "b.safetensors",
    "dtype",
    "shape",
    "data_offsets",
    "weight_map",
    "storage",
    "cpu",
    "cuda:7",
    "9" * 99,
]
GLOBALS = ["collections OrderedDict", "collections Counter", "torch._utils _rebuild_parameter", "torch FloatStorage"]
GLOBALS += ["torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch HalfStorage", "torch uint16"]
GLOBALS += ["torch._utils _rebuild_sparse_tensor", "torch Tensor", "torch Size", "builtins bytearray", "os getpid"]
GLOBALS += ["torch.storage UntypedStorage", "torch.nn.parameter Parameter", "torch LongStorage", "torch BoolStorage"]


def seeds(form: str) -> list[bytes]:
    """Valid files of a form."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3)).state_dict()
    table = torch.randn(4, 6)
    kinds = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.uint16, torch.bool]
    typed = {str(kind)[6:]: torch.arange(5).to(kind) for kind in kinds}
    shared = {
        "embed": table,
        "head": table,
        "row": table[1],
        "turned": table.t(),
        "none": table[:0],
        "one": table[2, 3],
    }
    if form == "safetensors":
        loose = {name: tensor.clone().contiguous() for name, tensor in shared.items()}
        return [save(dict(model)), save(typed), save(loose, {"format": "pt"}), save({})]
    if form == "index":
        weight_map = {name: shard for shard, tensors in SHARDS.items() for name in tensors}
        return [json.dumps({"metadata": {"total_size": 68}, "weight_map": weight_map}).encode()]
    found = []
    for content in (model, typed, shared, {"p": torch.nn.Parameter(torch.ones(2))}, {}):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        found.append(buffer.getvalue())
    return found


def mutate_bytes(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Bits flipped, ranges cut out, doubled or taken from another file, numbers written over."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice([1, 2, 8, 64, 512]))
        other = chance.choice(others)
        begin = chance.randrange(len(other) + 1)
        size = chance.choice([1, 2, 4, 8])
        match chance.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at:to]
            case 3:
                data[at:at] = data[at:to]
            case 4:
                data[at:to] = other[begin : begin + to - at]
            case 5:
                data[at:] = other[begin:]
            case 6:
                data[at : at + size] = (chance.choice(NUMBERS) % 256**size).to_bytes(size, "little")
            case _ if at < len(data):
                data[at] = chance.randrange(256)
    return bytes(data)


def mutate_value(value: Any, chance: random.Random) -> Any:
    """JSON with one thing in it changed: a number, a word, a type, a key, the nesting."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        rest = {name: each for name, each in value.items() if name != key}
        match chance.randrange(8):
            case 0:
                return rest
            case 1:
                return rest | {chance.choice(WORDS): value[key]}
            case 2:
                return value | {chance.choice(WORDS): value[key]}
            case _:
                return value | {key: mutate_value(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        changed = [mutate_value(value[at], chance)]
        return [*value[:at], *chance.choice([changed, changed, changed, [], changed * 2]), *value[at + 1 :]]
    if type(value) is int and chance.random() < 0.6:
        return value + chance.choice([-8, -4, -1, 1, 4, 8])
    plain = [None, True, False, 1.0, -1, 1e400, [], {}, chance.choice(NUMBERS), chance.choice(WORDS)]
    return chance.choice([*plain, -chance.choice(NUMBERS), [value], {"a": value}])


def mutate_json(text: bytes, chance: random.Random) -> bytes:
    """JSON text of which one or a few things are changed, and now and then a key stands twice."""
    value = json.loads(text)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        value = mutate_value(value, chance)
    changed = json.dumps(value)
    if chance.random() < 0.1:
        changed = re.sub(r'"(\w+)": ', lambda match: match[0] + chance.choice(["", f'1, "{match[1]}": ']), changed)
    return changed.encode()


def mutate_safetensors(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """A header edited as JSON, its length, or bytes anywhere."""
    length = int.from_bytes(content[:8], "little")
    way = chance.random()
    if way < 0.1:
        return struct.pack("<Q", chance.choice([*NUMBERS, length - 1, length + 1]) % 2**64) + content[8:]
    if way < 0.7:
        text = mutate_json(content[8 : 8 + length], chance)
        return struct.pack("<Q", len(text)) + text + content[8 + length :]
    return mutate_bytes(content, chance, others)


def mutate_bin(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """A pickle edited by instructions, a zip by fields, records exchanged, or bytes anywhere."""
    way = chance.random()
    if way < 0.25:
        return mutate_bytes(content, chance, others)
    if way < 0.5:
        return mutate_zip(content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    for at, (name, data) in enumerate(records):
        if name.endswith("data.pkl"):
            records[at] = name, mutate_pickle(data, chance)
        elif chance.random() < 0.02:
            records[at] = chance.choice([(name, b""), (name, data[:-1]), (name.upper(), data), (name + "/../x", data)])
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        for name, data in records:
            archive.writestr(name, data, chance.choice([0] * 99 + [8]))
    return buffer.getvalue()


def mutate_zip(content: bytes, chance: random.Random) -> bytes:
    """A zip of which one or two fields of a header, a directory entry or the end are changed."""
    data = bytearray(content)
    headers = [match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", content)]
    for _ in range(chance.choice([1, 1, 2])):
        at = chance.choice(headers) + 4 + 2 * chance.randrange(24)
        size = chance.choice([2, 4, 8])
        old = int.from_bytes(data[at : at + size], "little")
        new = chance.choice([*NUMBERS, old + 1, old - 1, old + 64, old * 2, chance.choice(headers)])
        if at + size <= len(data):
            data[at : at + size] = (new % 256**size).to_bytes(size, "little")
    return bytes(data)


def mutate_pickle(pickled: bytes, chance: random.Random) -> bytes:
    """A pickle of which instructions are dropped, doubled, exchanged, or given other arguments."""
    starts = [position for _, _, position in pickletools.genops(pickled)]
    steps = [pickled[begin:end] for begin, end in zip(starts, [*starts[1:], len(pickled)], strict=True)]
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        at, other = chance.randrange(len(steps)), chance.randrange(len(steps))
        number = chance.choice([*NUMBERS, -1, -(2**31), -(2**63)])
        word = chance.choice(WORDS).encode("utf-8", "surrogatepass")
        match chance.randrange(7):
            case 0:
                del steps[at]
            case 1:
                steps.insert(at, steps[other])
            case 2:
                steps[at], steps[other] = steps[other], steps[at]
            case 3:
                steps[at] = b"c" + chance.choice(GLOBALS).replace(" ", "\n").encode() + b"\n"
            case 4:
                numeric = [place for place, step in enumerate(steps) if step[:1] in b"KMJ\x8a"]
                steps[chance.choice(numeric or [at])] = b"\x8a\x09" + number.to_bytes(9, "little", signed=True)
            case 5:
                steps[at] = b"X" + struct.pack("<I", len(word)) + word
            case _:
                steps.insert(
                    at, chance.choice([b"(", b"t", b"R", b"}", b"]", b")", b"0", b"2", b"N", b"u", b"b", b"Q", b"h\0"])
                )
        steps = steps or [b"."]
    return b"".join(steps)


def mutate_index(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """An index edited as JSON, or bytes anywhere."""
    return mutate_json(content, chance) if chance.random() < 0.8 else mutate_bytes(content, chance, others)


MUTATIONS = {"bin": mutate_bin, "safetensors": mutate_safetensors, "index": mutate_index}
