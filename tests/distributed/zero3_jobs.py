"""The jobs of `jobs.py` with DeepSpeed: `torchrun ... zero3_jobs.py JOBS.json RESULTS`, and what each process held.

Chunks of logits are made so small that processes need different numbers of them, as they do with large vocabularies.
"""

import importlib.util
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus

from packtrain.cli.main import end
from packtrain.train import loss
from packtrain.train.strategies import deepspeed

CHUNK_LOGITS = 40 * 300
"""Forty learnt tokens of the tiny models: less than a micro-batch has, and not the same number of chunks in each."""

spec = importlib.util.spec_from_file_location("jobs", Path(__file__).with_name("jobs.py"))
assert spec is not None
assert spec.loader is not None
jobs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(jobs)

run, build = jobs.run, deepspeed.Strategy.build
chunks: list[int] = []
"""Learnt tokens of every micro-batch, in chunks."""


def counting(hidden: Any, head: Any, labels: Any, weights: Any, rows: int) -> Any:
    """The loss of a micro-batch, whose chunks are counted."""
    chunks.append(-(-len(labels) // (CHUNK_LOGITS // rows)))
    return loss.weighted_loss(hidden, head, labels, weights, rows)


def observed(job: dict[str, Any]) -> dict[str, Any]:
    """What a job gave, the numbers of chunks, and name to (elements held, elements in all) of every parameter."""
    parts: dict[str, tuple[int, int]] = {}
    chunks.clear()

    def proving(self: Any, source: Any, *given: Any) -> None:
        build(self, source, *given)
        base = dict(jobs.whole_base(source.folder, source.tokens).named_parameters())
        tables = {id(self.objective.language_model.get_input_embeddings().weight)}
        tables |= {id(self.objective.language_model.get_output_embeddings().weight)}
        for name, weight in self.objective.model.named_parameters():
            part = self.parts[name]
            assert part.parameter is weight, name
            assert id(weight) in tables or weight.ds_status is ZeroParamStatus.NOT_AVAILABLE, name
            assert id(weight) in tables or weight.numel() == 0, name
            mine = base[name].flatten()[part.start : part.start + part.length]
            assert torch.equal(part.own(part.master), mine), name
            assert torch.equal(weight.ds_tensor[: part.length], mine.to(weight.dtype)), name
            parts[name] = part.length, weight.ds_numel

    with patch.object(deepspeed.Strategy, "build", proving), patch("packtrain.train.objective.weighted_loss", counting):
        return run(job) | {"parts": parts, "chunks": list(chunks)}


def main() -> None:
    """Run all jobs; what they gave lies in the folder of results."""
    with patch.object(jobs, "run", observed), patch.object(loss, "CHUNK_LOGITS", CHUNK_LOGITS):
        jobs.main()


if __name__ == "__main__":
    end(main, debug=False)
