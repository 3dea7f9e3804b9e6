"""A tuned model in memory, straight from its base and a diff: nothing is written."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.core.progress import progress
from packtrain.diff.chunk import ChunkCodec
from packtrain.diff.opened import OpenedDiff, open_pair
from packtrain.diff.pairing import Pair
from packtrain.diff.shard import infos
from packtrain.diff.verify import verify
from packtrain.weights.cast import cast, check_dtype
from packtrain.weights.fingerprint import TensorHash
from packtrain.weights.info import torch_dtype
from packtrain.weights.shard_jobs import one_torch_thread, worker_count


def load_tuned(base: Path, diff: Path, *, dtype: str | None, family: str | None, jobs: int | None) -> Any:
    """As `packtrain.diff.load`, given folders."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    check_dtype(dtype)
    opened = open_pair(base, diff, family=family)
    tensors = _tensors(opened, dtype, worker_count(jobs))
    for alias, name in (opened.record.tied if opened.record is not None else opened.diff.tied).items():
        tensors.setdefault(alias, tensors[name])
    config = AutoConfig.from_pretrained(opened.model_files)
    first = next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    try:
        model, found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
            None, config=config, state_dict=tensors, dtype=first, output_loading_info=True
        )
    except Exception as error:  # transformers raises many kinds
        raise UserError(
            f"transformers cannot build the model of {diff}: {' '.join(str(error).split())[:200]}",
            "recover it to a folder instead: packtrain diff recover",
        ) from error
    if found["missing_keys"]:
        raise UserError(f"the diff {diff} lacks the tensor {min(found['missing_keys'])}", "get it again, whole")
    return model


def _tensors(opened: OpenedDiff, dtype: str | None, workers: int) -> dict[str, torch.Tensor]:
    """Every tensor of the tuned model, verified where there is a manifest."""
    total = sum(pair.info.nbytes for pair in opened.pairs)
    with progress("recover", total, unit="bytes") as advance, one_torch_thread():

        def recovered(pair: Pair) -> torch.Tensor:
            torch.set_num_threads(1)
            tensor, filled = opened.tensor(pair, ChunkCodec()), 0
            kind = torch_dtype(infos([pair], dtype)[0].dtype)
            whole = torch.empty(pair.info.numel, dtype=kind)
            digest = TensorHash()
            for piece in tensor.pieces():
                if opened.record is not None:
                    digest.add(piece)
                whole[filled : filled + piece.numel()] = cast(piece, kind, pair.info.name)
                filled += piece.numel()
            verify(opened, pair.info.name, tensor.base_records(), tensor.diff_record(), digest.hexdigest())
            advance(pair.info.nbytes, note=pair.info.name)
            return whole.reshape(pair.info.shape)

        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(recovered, opened.pairs)
            return {pair.info.name: tensor for pair, tensor in zip(opened.pairs, found, strict=True)}
