"""What several oracle tests share."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.diff.pairing import ModelFolder, open_model
from packtrain.weights.fingerprint import sha256_of_pieces

Header = tuple[list[int], str, str]
"""Shape, dtype and SHA-256 of a tensor."""


class WeightDiffOracle:
    """Base, tuned model, diffs and recovered tensors of the original weight_diff.py (README beside them)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, model: str) -> Path:
        """The folder of `llama` or `opt`."""
        return self.root / model

    def expected(self, model: str, family: str) -> dict[str, Any]:
        """What the script of `family` gave."""
        content: dict[str, Any] = json.loads((self.folder(model) / "expected.json").read_text())[family]
        return content

    @staticmethod
    def recorded(tensors: dict[str, Any]) -> dict[str, Header]:
        """Headers of the tensors of the original script."""
        return {name: (entry["shape"], entry["dtype"], entry["sha256"]) for name, entry in tensors.items()}

    @staticmethod
    def state_dict(model: ModelFolder, names: list[str]) -> dict[str, torch.Tensor]:
        """The tensors as a loaded model has them: tied names stand for the same tensor."""
        found = {name: model.find(name) for name in names}
        missing = [name for name, target in found.items() if target is None]
        assert not missing
        return {name: model.store[target] for name, target in found.items() if target is not None}

    @staticmethod
    def headers(tensors: dict[str, torch.Tensor]) -> dict[str, Header]:
        """Headers of our tensors."""
        return {
            name: (list(tensor.shape), str(tensor.dtype).removeprefix("torch."), sha256_of_pieces([tensor]))
            for name, tensor in tensors.items()
        }

    def headers_of(self, folder: Path, model: str, family: str) -> dict[str, Header]:
        """Headers of a folder of ours, for every name in the state dict of the original script."""
        names = self.expected(model, family)["state_dict_keys"]
        return self.headers(self.state_dict(open_model(folder), names))


@pytest.fixture(scope="session")
def diff_oracle(shared: Path) -> WeightDiffOracle:
    """The weight diffs of the original scripts; only for tests that carry the marker `real_data`."""
    return WeightDiffOracle(shared / "data/oracles/weight_diff")
