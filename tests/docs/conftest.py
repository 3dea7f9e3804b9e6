"""Small stand-ins under the names that README and tutorials use: bases, data, a diff, benchmarks, an endpoint."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from tests.http_server import Handler, serving

REPOSITORY = Path(__file__).resolve().parents[2]


IN_A_BATCH = 5
"""Comparisons of one prompt of the judge."""


def _answer(number: int) -> str:
    """Six tasks that nobody has seen, in the form that the prompt of generation asks for."""
    words = [f"{letter}{number}{letter}x" for letter in "abcdefgh"]
    tasks = [
        f"{n}. Instruction: Explain {a} to {b} near {c}\n{n}. Input:\n<noinput>\n{n}. Output:\n{a}"
        for n, (a, b, c) in enumerate(zip(words, words[1:], words[2:], strict=False), start=4)
    ]
    return "\n###\n".join(tasks).removeprefix("4. Instruction:")


class _Endpoint(Handler):
    asked = iter(range(1_000_000))

    def do_POST(self) -> None:
        judges = b"Output (a)" in self.body()
        said = "Output (a)\n" * IN_A_BATCH if judges else _answer(next(self.asked))
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        about = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        self.answer_json({**about, "choices": [choice], "usage": usage})


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of an OpenAI-compatible endpoint here: new tasks every time, or as a judge always the first."""
    with serving(_Endpoint) as address:
        yield f"{address}/v1"


def _make_meta_folder(folder: Path) -> None:
    """A random LLaMA of one layer in Meta's own layout."""
    params = {"dim": 16, "multiple_of": 16, "n_heads": 2, "n_layers": 1, "norm_eps": 1e-6, "vocab_size": -1}
    wide = {"attention.wq": 16, "attention.wk": 16, "attention.wv": 16, "attention.wo": 16}
    wide |= {"feed_forward.w1": 48, "feed_forward.w3": 48}
    tensors = {f"layers.0.{name}.weight": torch.randn(rows, 16) for name, rows in wide.items()}
    tensors |= {"layers.0.feed_forward.w2.weight": torch.randn(16, 48)}
    tensors |= {f"layers.0.{name}_norm.weight": torch.ones(16) for name in ("attention", "ffn")}
    tensors |= {"norm.weight": torch.ones(16)}
    tensors |= {f"{name}.weight": torch.randn(300, 16) for name in ("tok_embeddings", "output")}
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    torch.save(tensors, folder / "consolidated.00.pth")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the lamp is red", "hello world"] * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )


def _make_base(tiny: Path, folder: Path) -> None:
    """The tiny LLaMA with room for long prompts, and with few words: it ends each answer, or its line, at once.

    Of the logits those of end-of-sequence and line end are opposite numbers and all others 0, so one of the two wins.
    """
    shutil.copytree(tiny, folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 8192}))
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    weights = load_file(folder / "model.safetensors")
    head = weights["lm_head.weight"]
    loudest = head[0].clone()
    head.zero_()
    head[vocabulary["</s>"]], head[vocabulary["\u010a"]] = loudest, -loudest
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _make_adapter(base: Path, folder: Path) -> None:
    """A LoRA adapter on a base, moved as by training."""
    import peft
    from transformers import AutoModelForCausalLM

    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(r=2))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.01
    model.save_pretrained(folder)


def _make_raw_data(folder: Path) -> None:
    """Small raw files under the published names, and the mixture that docs/data.md prints, which is of these."""
    alpaca = [{"instruction": f"Write {n} words.", "input": "", "output": "one " * (n % 9 + 1)} for n in range(1, 241)]
    (folder / "alpaca_data.json").write_text(json.dumps(alpaca))
    dolly = [
        {"instruction": f"Name lamp {n}.", "context": "", "response": f"Lamp {n} is red.", "category": "x"}
        for n in range(8)
    ]
    (folder / "databricks-dolly-15k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dolly))
    reply = {"text": "It is wide.", "role": "assistant", "lang": "en", "replies": []}
    prompt = {"text": "The sea?", "role": "prompter", "lang": "en", "replies": [reply]}
    (folder / "trees.jsonl").write_text(json.dumps({"message_tree_id": "t", "prompt": prompt}) + "\n")
    page = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    [mixture] = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    (folder / "mine.yaml").write_text(mixture)


def _make_benchmarks(folder: Path) -> None:
    """Three problems in GSM8K's form, and a benchmark of one's own with one question for an exact answer."""
    (folder / "benchmarks" / "gsm8k").mkdir(parents=True)
    problems = [{"question": f"What is {n} and {n}?", "answer": f"Added.\n#### {2 * n}"} for n in (1, 2, 3)]
    lines = "".join(json.dumps(problem) + "\n" for problem in problems)
    (folder / "benchmarks" / "gsm8k" / "test.jsonl").write_text(lines)
    messages = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
    record = {"dataset": "d", "id": "1", "messages": messages}
    for name in ("benchmark", "my-benchmark"):
        (folder / name).mkdir()
        (folder / name / "exact_match.jsonl").write_text(json.dumps(record) + "\n")


@pytest.fixture(scope="session")
def stand_ins(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages presuppose; to be copied."""
    folder = tmp_path_factory.mktemp("stand-ins")
    _make_base(tiny_base, folder / "llama-7b-hf")
    for size in ("7B", "65B"):
        _make_meta_folder(folder / "LLaMA" / size)
    _make_adapter(tiny_base, folder / "adapter")
    _make_raw_data(folder)
    _make_benchmarks(folder)
    return folder
