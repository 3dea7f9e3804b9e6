"""The base's side of a difference: its tensors piece by piece, grown where the tuned model has more rows."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.diff.pairing import ModelFolder, Pair
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, TensorHash, TensorRecord, record_of
from packtrain.weights.vocabulary import mean_row


class BaseTensor:
    """One base tensor, read once from front to back and hashed on the way.

    `grown_rows` rows are appended to it, each the mean of its own rows (weights/vocabulary.py) or zeros, as
    `growth` says; the hash is that of the file's tensor, without them, XXH3 if `fast_hash`.
    """

    def __init__(self, base: ModelFolder, name: str, grown_rows: int, growth: str, fast_hash: bool) -> None:
        found = base.find(name)
        if found is None:
            raise KeyError(name)
        self._store = base.store
        self._info = base.store.info(found)
        self._hash = TensorHash(fast_hash)
        self._grown = torch.empty(0)
        if grown_rows:
            row = mean_row(base.store, found) if growth == "mean" else torch.zeros(self._info.shape[1])
            self._grown = row.repeat(grown_rows)

    def piece(self, start: int, stop: int) -> torch.Tensor:
        """Elements `start` to `stop` of the grown tensor, `[stop - start]`; pieces follow one another.

        In the file's type, or in float32 where grown rows are among them or the type is wider.
        """
        own = self._info.numel
        if start >= own:
            return self._grown[start - own : stop - own]
        raw = self._store.flat(self._info.name, start, min(stop, own))
        self._hash.add(raw)
        if stop > own:
            return torch.cat([raw.float(), self._grown[: stop - own]])
        return raw.float() if raw.dtype == torch.float64 else raw

    def record(self) -> TensorRecord:
        """Header and hash of the file's tensor, after all pieces were read."""
        return record_of(self._info, self._hash.hexdigest())


class BaseSide:
    """All that the base contributes to one tensor of a pair."""

    def __init__(self, base: ModelFolder, pair: Pair, growth: str, fast_hash: bool = False) -> None:
        self._pair = pair
        self._tensors = {
            name: BaseTensor(base, name, pair.grown_rows, growth, fast_hash) for name in dict.fromkeys(pair.base)
        }
        self._computed = rotary_frequencies(base, pair) if pair.computed else None

    def pieces(self, start: int, stop: int) -> list[torch.Tensor]:
        """Pieces `[stop - start]` to be subtracted or added one after the other, as often as the pair says."""
        if self._computed is not None:
            return [self._computed[start:stop]]
        once = {name: tensor.piece(start, stop) for name, tensor in self._tensors.items()}
        return [once[name] for name in self._pair.base]

    def records(self) -> dict[str, TensorRecord]:
        """Record of every base tensor that was read, after all pieces."""
        return {name: tensor.record() for name, tensor in self._tensors.items()}


def ranges(numel: int) -> Iterator[tuple[int, int]]:
    """Start and stop of the pieces in which a tensor of `numel` elements is streamed."""
    for start in range(0, numel, CHUNK_ELEMENTS):
        yield start, min(start + CHUNK_ELEMENTS, numel)


def rotary_frequencies(base: ModelFolder, pair: Pair) -> torch.Tensor:
    """`inv_freq` as LLaMA's model code of 2023 fills its buffer when a checkpoint has none, float32 `[head_dim / 2]`.

    transformers 4.31, modeling_llama.py, LlamaRotaryEmbedding. UserError when the base's configuration
    does not give a buffer of the pair's shape.
    """
    frequencies = _inverse_frequencies(base.config)
    if pair.info.shape != tuple(frequencies.shape):
        raise UserError(
            f"the base {base.folder} has no tensor {pair.info.name}, and its configuration gives another size",
            "give the base model that the other one was tuned from",
        )
    return frequencies


def rotary_sum(config: Mapping[str, Any]) -> float:
    """Sum of one layer's `inv_freq`."""
    return float(_inverse_frequencies(config).double().sum())


def _inverse_frequencies(config: Mapping[str, Any]) -> torch.Tensor:
    heads = config.get("num_attention_heads") or 1
    width = config.get("head_dim") or config.get("hidden_size", 0) // heads
    theta = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta") or 10000.0
    exponents = torch.arange(0, width, 2).float() / max(1, width)
    return 1.0 / torch.pow(float(theta), exponents)
