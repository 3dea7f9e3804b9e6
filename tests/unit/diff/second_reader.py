"""A second reader of exact diffs, written from docs/formats.md alone: plain Python, and zstandard for zstd frames.

It shares no code with the package. It is slow and simple on purpose: the steps stand in the order of the page.
"""

import hashlib
import itertools
import json
import math
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

CHUNK, RUN = 1 << 20, 4096
CODES = {1: "B", 2: "H", 4: "I"}
NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NUMBERS = {"F64": "d", "F16": "e", "I64": "q", "U64": "Q", "I32": "i", "U32": "I", "I16": "h", "U16": "H", "I8": "b"}
NUMBERS |= {"U8": "B", "BOOL": "?"}  # what struct reads; the others are read as patterns


class Type(NamedTuple):
    """What a difference needs to know of its type: w, p, E, M, and the only NaN that a cast makes."""

    bits: int
    mantissa: int
    exponents: int
    magnitude: int
    nan: int


TYPES = {
    "float16": Type(16, 10, 31, 2**15 - 1, 0x7E00),
    "bfloat16": Type(16, 7, 255, 2**15 - 1, 0x7FC0),
    "float32": Type(32, 23, 255, 2**31 - 1, 0x7FC00000),
}


def sha256(data: bytes) -> str:
    """As the manifest writes it."""
    return hashlib.sha256(data).hexdigest()


def read_tensors(file: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Type, shape and bytes of every tensor of a safetensors file."""
    data = file.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, field in header.items():
        first, end = field["data_offsets"]
        tensors[name] = (field["dtype"], field["shape"], data[start + first : start + end])
    return tensors


def integers(data: bytes, size: int) -> list[int]:
    """Little-endian unsigned integers of 1, 2 or 4 bytes."""
    numbers = array(CODES[size], data)
    assert numbers.itemsize == size
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def zstd(frame: bytes, size: int) -> bytes:
    """The content of one frame, which must say that it has this size and name no dictionary."""
    parameters = zstandard.get_frame_parameters(frame)
    assert (parameters.content_size, parameters.dict_id) == (size, 0)
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    content = decompressor.decompress(frame)
    assert decompressor.eof
    assert not decompressor.unused_data
    return content


def float32_of(number: float) -> int:
    """The float32 pattern nearest to a number, ties to even."""
    if isinstance(number, int) and (more := abs(number).bit_length() - 50) > 0:  # what float() may not round
        number = number >> more << more | bool(number & (1 << more) - 1) << more
    try:
        return struct.unpack("<I", struct.pack("<f", number))[0]
    except OverflowError:
        return 0x7F800000 | (number < 0) << 31


def float8(byte: int) -> float:
    """The number of a pattern F8_E4M3, which has no infinity."""
    exponent, mantissa = byte >> 3 & 15, byte & 7
    size = (mantissa + 8) * 2.0 ** (exponent - 10) if exponent else mantissa * 2.0**-9
    return math.copysign(math.nan if byte & 127 == 127 else size, -(byte >> 7) or 1)


def rounded(pattern: int, kind: str) -> int:
    """A float32 pattern in the tuned type, to nearest, ties to even."""
    if pattern & 0x7FFFFFFF > 0x7F800000:
        return TYPES[kind].nan
    if kind == "float32":
        return pattern
    if kind == "bfloat16":
        return (pattern + 0x7FFF + (pattern >> 16 & 1)) >> 16
    try:
        return struct.unpack("<H", struct.pack("<e", struct.unpack("<f", struct.pack("<I", pattern))[0]))[0]
    except OverflowError:
        return 0x7C00 | pattern >> 31 << 15


def cast(data: bytes, source: str, kind: str) -> list[int]:
    """Step 1: the patterns of the base's elements, of a type of safetensors, in the tuned type."""
    if NAMES.get(source) == kind:
        return integers(data, TYPES[kind].bits // 8)
    if source == "BF16":
        wide = [pattern << 16 for pattern in integers(data, 2)]
    elif source == "F32":
        wide = integers(data, 4)
    elif source == "F8_E4M3":
        wide = [float32_of(float8(byte)) for byte in data]
    elif source == "F8_E5M2":  # the upper byte of a float16
        wide = [
            float32_of(number) for [number] in struct.iter_unpack("<e", b"".join(bytes([0, byte]) for byte in data))
        ]
    else:
        wide = [float32_of(number) for [number] in struct.iter_unpack("<" + NUMBERS[source], data)]
    return [rounded(pattern, kind) for pattern in wide]


class Body:
    """The bytes of a chunk's body, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        self.place += size
        assert self.place <= len(self.data)
        return self.data[self.place - size : self.place]


def run_of_values(body: Body, count: int, bits: int, seen: Counter[str]) -> list[int]:
    """One run: symbols, low bits, escapes."""
    shift, per_byte, zero, symbol_bytes, escapes = struct.unpack("<BBHII", body.take(12))
    assert zero == 0
    width = 8 // per_byte
    last = (1 << width) - 1
    table = [tuple(byte >> place & last for place in range(0, 8, width)) for byte in range(256)]
    packed = zstd(body.take(symbol_bytes), -(-count // per_byte))
    symbols = list(itertools.chain.from_iterable(map(table.__getitem__, packed)))
    assert not any(symbols[count:])
    values = [symbol << shift for symbol in symbols[:count]]
    for place in range(shift // 8):
        values = [value | byte << 8 * place for value, byte in zip(values, body.take(count), strict=True)]
    for place in range(shift // 8 * 8, shift):
        low = body.take(-(-count // 8))
        values = [value | (low[i >> 3] >> (i & 7) & 1) << place for i, value in enumerate(values)]
    wholes = iter(integers(body.take(escapes * bits // 8), bits // 8))
    for i, symbol in enumerate(symbols[:count]):
        if symbol == last:
            values[i] = next(wholes)
    assert next(wholes, None) is None
    seen.update(["run", f"packing {per_byte}"])
    seen.update({"shift": shift > 0, "low byte": shift >= 8, "low bit": shift % 8 > 0, "escape": escapes})
    return values


def run_lengths(exponents: list[int]) -> list[int]:
    """Step 3: how many elements each run has."""
    counts = Counter(exponents)
    runs, open_run = [], 0
    for exponent in sorted(counts):
        open_run += counts[exponent]
        if open_run >= RUN:
            runs.append(open_run)
            open_run = 0
    if open_run and runs:
        runs[-1] += open_run
    elif open_run:
        runs.append(open_run)
    return runs


def difference(body: Body, base: list[int], kind: Type, fold: int, runs: int, seen: Counter[str]) -> bytes:
    """Steps 2 to 7: the tuned elements of a chunk."""
    bits, _, _, magnitude, _ = kind
    top, ones = 1 << bits - 1, (1 << bits) - 1
    exponents = [pattern >> kind.mantissa & kind.exponents for pattern in base]
    order = sorted(range(len(base)), key=exponents.__getitem__)  # stable
    lengths = run_lengths(exponents)
    assert len(lengths) == runs
    values = [value for length in lengths for value in run_of_values(body, length, bits, seen)]
    seen.update({"fold": fold > 0, "chunk of several runs": runs > 1, "chunk without a change": not any(values)})
    tuned = array(CODES[bits // 8], bytes(len(base) * bits // 8))
    for i, value in zip(order, values, strict=True):
        x = base[i]
        place = (x & magnitude) - fold & magnitude
        if x & top:
            place ^= ones
        place = place + (value >> 1 ^ -(value & 1)) & ones
        if place & top:
            tuned[i] = ((place ^ ones) + fold & magnitude) | top
        else:
            tuned[i] = place + fold & magnitude
    if sys.byteorder == "big":
        tuned.byteswap()
    return tuned.tobytes()


def chunk(stream: Body, base: bytes, source: str, dtype: str, count: int, seen: Counter[str]) -> bytes:
    """The tuned elements of the stream's next chunk; `source` is the type of the base's elements, empty without."""
    nbytes, method, size, runs, fold = struct.unpack("<IBBHI", stream.take(12))
    body = Body(stream.take(nbytes))
    word = ("literal", "difference")[method]
    seen.update([word, f"{word} {dtype} from {source or 'nothing'}"])
    if method == 0:
        assert (runs, fold) == (0, 0)
        planes = zstd(body.take(nbytes), count * size)
        elements = bytearray(count * size)
        for place in range(size):
            elements[place::size] = planes[place * count : (place + 1) * count]
        return bytes(elements)
    assert size == 0
    assert source
    tuned = difference(body, cast(base, source, dtype), TYPES[dtype], fold, runs, seen)
    assert body.place == nbytes, "a body has nothing behind its last run"
    return tuned


def read_stream(
    data: bytes, shape: list[int], dtype: str, base: tuple[str, list[int], bytes] | None, seen: Counter[str]
) -> bytes:
    """All elements of a tuned tensor."""
    source, base_shape, below = base or ("", [0], b"")
    n, m = math.prod(shape), math.prod(base_shape)
    size = len(below) // m if m else 0
    stream, parts = Body(data), []
    for first in range(0, m, CHUNK):
        end = min(first + CHUNK, m)
        parts.append(chunk(stream, below[first * size : end * size], source, dtype, end - first, seen))
    for first in range(m, n, CHUNK):
        parts.append(chunk(stream, b"", "", dtype, min(first + CHUNK, n) - first, seen))
    assert stream.place == len(data)
    seen.update({"tensor of several chunks": max(m, n - m) > CHUNK, "new rows": 0 < m < n, "empty tensor": n == 0})
    return b"".join(parts)


def fingerprint(tensors: dict[str, dict[str, Any]]) -> str:
    """One hash for a model, of the headers and hashes of its tensors."""
    lines = (
        f"{name} {tensor['dtype']} {','.join(map(str, tensor['shape']))} {tensor['sha256']}\n"
        for name, tensor in sorted(tensors.items())
    )
    return sha256("".join(lines).encode())


def read_manifest(diff: Path) -> dict[str, Any]:
    """manifest.json, compared with all that can be compared with it without the base."""
    manifest = json.loads((diff / "manifest.json").read_text(encoding="utf-8"))
    assert [manifest[key] for key in ("format", "version", "form")] == ["packtrain-diff", 1, "exact"]
    rest = {key: value for key, value in manifest.items() if key != "sha256_of_the_rest"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False)
    assert sha256(text.encode()) == manifest["sha256_of_the_rest"]
    assert fingerprint(manifest["base"]) == manifest["fingerprints"]["base"]
    for key in ("tuned", "diff"):
        tensors = {name: record[key] for name, record in manifest["tensors"].items()}
        assert fingerprint(tensors) == manifest["fingerprints"][key]
    for path, digest in manifest["files"].items():
        assert sha256((diff / path).read_bytes()) == digest, path
    return manifest


def read_diff(base: Path, diff: Path, seen: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every tuned tensor that is stored; counts in `seen` which parts of the format occurred."""
    manifest = read_manifest(diff)
    below = {name: tensor for file in sorted(base.glob("*.safetensors")) for name, tensor in read_tensors(file).items()}
    files = {name: read_tensors(diff / name) for name in {record["file"] for record in manifest["tensors"].values()}}
    seen["file"] += len(files)
    for name, record in manifest["tensors"].items():
        dtype, shape, stream = files[record["file"]][name]
        assert (dtype, shape, sha256(stream)) == ("U8", record["diff"]["shape"], record["diff"]["sha256"]), name
        for base_name in record["base"]:
            assert sha256(below[base_name][2]) == manifest["base"][base_name]["sha256"], base_name
        [under] = [below[base_name] for base_name in record["base"]] or [None]
        tuned = read_stream(stream, record["tuned"]["shape"], record["tuned"]["dtype"], under, seen)
        assert sha256(tuned) == record["tuned"]["sha256"] == record["recovered"]["sha256"], name
        yield name, tuned
