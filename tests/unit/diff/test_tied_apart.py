"""Proves that exact diffs keep every tensor of the files, whatever the configuration says of ties."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from packtrain.diff.check import check
from packtrain.diff.make import make_diff
from packtrain.diff.manifest import MANIFEST_FILE
from packtrain.diff.recover import recover

HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"


@pytest.mark.parametrize("base_has_head", [True, False])
@pytest.mark.parametrize("equal", [True, False])
def test_a_head_that_is_tied_by_the_configuration_but_stands_in_the_files(
    tmp_path: Path, llama: Any, llama_config: Any, tuned_of: Any, write_model: Any, base_has_head: bool, equal: bool
) -> None:
    config = llama_config | {"tie_word_embeddings": True}
    base = llama()
    tuned = tuned_of(base, torch.bfloat16, 1)
    if equal:
        tuned[HEAD] = tuned[TABLE].clone()
    if not base_has_head:
        del base[HEAD]
    write_model(tmp_path / "base", base, config)
    write_model(tmp_path / "tuned", tuned, config)
    make_diff(tmp_path / "base", tmp_path / "tuned", tmp_path / "diff")
    assert check(tmp_path / "diff", tmp_path / "base").ok
    recover(tmp_path / "base", tmp_path / "diff", tmp_path / "out")
    recovered = load_file(tmp_path / "out" / "model.safetensors")
    assert recovered.keys() == tuned.keys()
    assert all(torch.equal(recovered[name], tensor) for name, tensor in tuned.items())
    record = json.loads((tmp_path / "diff" / MANIFEST_FILE).read_text())
    assert record["tensors"][HEAD]["base"] == [HEAD if base_has_head else TABLE]


@pytest.mark.parametrize("tie", [True, False, None])
def test_tables_that_share_memory_in_a_bin(
    tmp_path: Path, llama: Any, llama_config: Any, tuned_of: Any, write_model: Any, tie: bool | None
) -> None:
    config = {key: value for key, value in llama_config.items() if key != "tie_word_embeddings"}
    config |= {} if tie is None else {"tie_word_embeddings": tie}
    base = llama()
    tuned = tuned_of(base, torch.float16)
    tuned[HEAD] = tuned[TABLE]
    write_model(tmp_path / "base", base, config)
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").write_text(json.dumps(config))
    torch.save(tuned, tmp_path / "tuned" / "pytorch_model.bin")
    make_diff(tmp_path / "base", tmp_path / "tuned", tmp_path / "diff")
    recover(tmp_path / "base", tmp_path / "diff", tmp_path / "out")
    recovered = load_file(tmp_path / "out" / "model.safetensors")
    assert (HEAD in recovered) == (tie is False)
    assert all(torch.equal(recovered[name], tensor) for name, tensor in tuned.items() if name in recovered)
