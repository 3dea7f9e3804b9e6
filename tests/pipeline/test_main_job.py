"""The main job on real input: Alpaca's recipe on a real pretrained LLaMA and 9,229 real Alpaca rows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.real_data


def test_alpaca_recipe_end_to_end(shared: Path, tmp_path: Path, packtrain: Any) -> None:
    """Trains, publishes, recovers and writes a card; the loss on 200 held-out rows falls by more than 0.8 nats."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    work = tmp_path / "work"
    finished = packtrain(
        "run",
        "alpaca-7b",
        "--work",
        work,
        "--json",
        f"base.path={shared}/data/stories260k",
        f"data.sources.stanford_alpaca.path={shared}/data/alpaca/random_9k.json",
        "data.held_out=200",
        "train.lr=1e-3",
        "train.max_length_tokens=512",
        "train.global_batch_size=32",
        "train.max_steps=24",
    )
    assert finished.returncode == 0, finished.stderr
    figures = {stage["name"]: stage["figures"] for stage in json.loads(finished.stdout)["stages"]}
    counts = figures["data"]["sources"]["stanford_alpaca"]
    assert counts["read"] == 9229
    assert counts["dropped"] == {"empty answer": 4}
    assert (counts["train"], counts["held_out"]) == (9025, 200)
    assert figures["train"]["steps"] == 24
    assert figures["train"]["held_out_before"] - figures["train"]["held_out_after"] > 0.8
    assert figures["recover"] == {"share_equal": 1.0, "max_abs_difference": 0.0}

    recovered = work / "recovered"
    model = AutoModelForCausalLM.from_pretrained(recovered)
    tokenizer = AutoTokenizer.from_pretrained(recovered)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == 513
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name three trees."}], add_generation_prompt=True, tokenize=False
    )
    assert prompt == (
        "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName three trees.\n\n### Response:"
    )
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    assert torch.isfinite(model(**ids).logits).all()
    card = (work / "card" / "README.md").read_text()
    assert "weight diff" in card
    assert "9,025" in card
