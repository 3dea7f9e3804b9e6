"""Size of exact diffs, and speed of the codec alone, beside other lossless layouts on the same tensors in the same run.

python bench/diff_size.py                                  Gaussian weights and updates
python bench/diff_size.py --pair BASE TUNED                a real pair, as it is stored
python bench/diff_size.py --pair BASE TUNED --as bfloat16  the same, both rounded to bfloat16 first

Layouts: zstd of the tuned bytes, by byte planes; XOR with the base, planes, zstd; BitX (ZipLLM, arXiv 2505.06252):
XOR, the exponent apart from sign and mantissa, zstd; ours. Level 3 of zstd for the others, 1 for ours.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import zstandard

from packtrain.diff import kernels
from packtrain.diff.chunk import CHUNK_ELEMENTS, HEADER, ChunkCodec
from packtrain.diff.ulp import LAYOUTS, FloatLayout, bits_of, canonical_cast
from packtrain.weights.store import open_store

ELEMENTS = 8 * CHUNK_ELEMENTS
WEIGHT_STD = 0.02

Chunk = tuple[torch.Tensor, torch.Tensor]


def synthetic(dtype: str, rms: float) -> Iterator[Chunk]:
    """Chunks of base and tuned: weights of standard deviation 0.02, updates of root mean square `rms`."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(ELEMENTS // CHUNK_ELEMENTS):
        base = (torch.randn(CHUNK_ELEMENTS, generator=generator) * WEIGHT_STD).to(getattr(torch, dtype))
        update = torch.randn(CHUNK_ELEMENTS, generator=generator) * rms
        yield base, (base.float() + update).to(getattr(torch, dtype))


def pair(base: Path, tuned: Path, dtype: str | None) -> Iterator[Chunk]:
    """Chunks of two models, tensor by tensor, as far as both have rows."""
    bases, tuneds = open_store(base), open_store(tuned)
    for name in tuneds:
        if name not in bases:
            continue
        before, after = bases[name].reshape(-1), tuneds[name].reshape(-1)
        for start in range(0, min(before.numel(), after.numel()), CHUNK_ELEMENTS):
            chunk = before[start : start + CHUNK_ELEMENTS], after[start : start + CHUNK_ELEMENTS]
            length = min(map(len, chunk))
            cast = [part[:length].to(getattr(torch, dtype or str(after.dtype)[6:])).contiguous() for part in chunk]
            yield cast[0], cast[1]


def planes(bits: np.ndarray) -> bytes:
    """Byte planes."""
    return np.ascontiguousarray(bits.view(np.uint8).reshape(-1, bits.itemsize).T).tobytes()


def bitx(bits: np.ndarray, layout: FloatLayout) -> bytes:
    """Exponent bytes, then sign and mantissa; byte planes for float16, whose exponent is no byte."""
    if layout.exponent_mask != 0xFF:
        return planes(bits)
    unsigned = bits.view(layout.unsigned)
    sign = (unsigned >> (layout.bits - 1)).astype(unsigned.dtype) << layout.mantissa_bits
    rest = sign | (unsigned & layout.unsigned((1 << layout.mantissa_bits) - 1))
    exponent = ((unsigned >> layout.mantissa_bits) & 0xFF).astype(np.uint8)
    kept = layout.bits // 8 - 1
    return exponent.tobytes() + planes(rest)[: kept * len(bits)]


def measure(chunks: Iterator[Chunk], title: str) -> None:
    """Sizes as shares of the tuned bytes, and the speed of our codec."""
    sizes = dict.fromkeys(("tuned alone", "XOR, planes", "BitX", "ours"), 0)
    total, encoding, decoding = 0, 0.0, 0.0
    codec, level3 = ChunkCodec(), zstandard.ZstdCompressor(level=3)
    for base, tuned in chunks:
        layout = LAYOUTS[str(tuned.dtype)[6:]]
        after = bits_of(tuned, layout)
        begun = time.perf_counter()
        before = canonical_cast(base, layout)
        encoded = b"".join(codec.difference(after, before, layout))
        encoding += time.perf_counter() - begun
        begun = time.perf_counter()
        body = memoryview(encoded)[HEADER.size :]
        decoded = codec.read(encoded[: HEADER.size], body, len(after), before, layout, after.itemsize)
        decoding += time.perf_counter() - begun
        assert np.array_equal(decoded, after)
        total += after.nbytes
        different = before ^ after
        sizes["tuned alone"] += len(level3.compress(planes(after)))
        sizes["XOR, planes"] += len(level3.compress(planes(different)))
        sizes["BitX"] += len(level3.compress(bitx(different, layout)))
        sizes["ours"] += len(encoded)
    shares = "  ".join(f"{name} {100 * size / total:5.2f} %" for name, size in sizes.items())
    best_peer = min(sizes["XOR, planes"], sizes["BitX"])
    print(
        f"{title:24} {shares}  x{total / sizes['ours']:.2f}; {best_peer / sizes['ours']:.2f} times smaller than the "
        f"better XOR layout; {total / encoding / 1e6:.0f} MB/s in, {total / decoding / 1e6:.0f} MB/s out"
    )


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, type=Path, metavar=("BASE", "TUNED"))
    parser.add_argument("--as", dest="dtype", choices=list(LAYOUTS))
    parser.add_argument("--numpy", action="store_true", help="without the compiled loops")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.numpy:
        kernels.LIBRARY = Path("none")
    print(f"one core, loops {'by NumPy' if kernels.compiled() is None else 'compiled'}")
    if options.pair:
        measure(pair(*options.pair, options.dtype), options.dtype or "as stored")
        return
    for dtype in LAYOUTS:
        for rms in (1e-4, 3e-4, 6e-4, 1e-3):
            measure(synthetic(dtype, rms), f"{dtype} {rms:g}")


if __name__ == "__main__":
    main()
