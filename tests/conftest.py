"""Fixtures that all tests share."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import tokenizers
import tokenizers.decoders
import tokenizers.models
import tokenizers.pre_tokenizers
import tokenizers.processors
import tokenizers.trainers
from tests.command_server import CommandServer

REPOSITORY = Path(__file__).resolve().parent.parent

# No test asks the Hub, whoever runs it and however: those of the Hub serve one of their own.
os.environ["HF_HUB_OFFLINE"] = "1"

# The same examples in every run; PACKTRAIN_RANDOM=1 draws others, to look for what these miss.
hypothesis.settings.register_profile("the same", derandomize=True)
if not os.environ.get("PACKTRAIN_RANDOM"):
    hypothesis.settings.load_profile("the same")


def shared_folder() -> Path:
    """Where the reference data lie: `PACKTRAIN_SHARED`, by default `../shared` beside the repository."""
    return (REPOSITORY / os.environ.get("PACKTRAIN_SHARED", "../shared")).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, tests of real data where the data are not, and of GPUs where there is none."""
    reasons = {}
    if not shared_folder().is_dir():
        reasons["real_data"] = f"reference data not found at {shared_folder()} (set PACKTRAIN_SHARED)"
    if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        reasons["gpu"] = "torch finds no GPU on this machine"
    for marker, reason in reasons.items():
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests keep what they cache to themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACKTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data; only for tests that carry the marker `real_data`."""
    return shared_folder()


SENTENCES = (
    "The lamp is red. The river runs to the sea, and the sea is wide.",
    "Below is an instruction that describes a task. Write a response.",
    "Name a colour. Count to ten: one, two, three, four, five, six, seven, eight, nine, ten.",
)


def build_tokenizer(*, eos: bool = True) -> tokenizers.Tokenizer:
    """A byte-level BPE of 300 tokens that puts `<s>` first, as LLaMA's does."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>"] if eos else ["<unk>", "<s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=["<s>", "$A"], pair=["<s>", "$A", "<s>", "$B"], special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def build_model_folder(folder: Path, *, architecture: str = "llama", seed: int = 0) -> Path:
    """A random two-layer model with its tokenizer in `folder`.

    `architecture` is llama, opt (tied, spare rows) or neox (GPT-NeoX).
    """
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    rows = tokenizer.get_vocab_size()
    model: Any
    if architecture == "llama":
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=rows,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
    elif architecture == "neox":
        model = GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=rows,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=512,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
    else:
        model = OPTForCausalLM(
            OPTConfig(
                vocab_size=rows + 7,
                hidden_size=32,
                ffn_dim=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                word_embed_proj_dim=32,
                max_position_embeddings=512,
                dropout=0.0,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny LLaMA with 300 token rows and no padding token; read only."""
    return build_model_folder(tmp_path_factory.mktemp("base") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny OPT: tied embeddings, seven token rows more than tokens; read only."""
    return build_model_folder(tmp_path_factory.mktemp("base") / "tiny-opt", architecture="opt")


@pytest.fixture(scope="session")
def tiny_neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny GPT-NeoX with 300 token rows; read only."""
    return build_model_folder(tmp_path_factory.mktemp("base") / "tiny-neox", architecture="neox")


@pytest.fixture
def conversations_file(tmp_path: Path) -> Path:
    """Twenty-four short conversations in Alpaca's shape."""
    rows = [
        {
            "dataset": "toy",
            "id": f"toy_{number}",
            "messages": [
                {"role": "user", "content": f"Count to {number}."},
                {"role": "assistant", "content": " ".join(map(str, range(1, number + 1)))},
            ],
        }
        for number in range(1, 25)
    ]
    path = tmp_path / "toy.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


SET_BY_TORCH = "TORCHINDUCTOR_CACHE_DIR"
"""In the environment of a process that imports it, of which its commands know nothing."""


class CommandLine:
    """Runs the installed command as a user would."""

    def __init__(self) -> None:
        self._server: CommandServer | None = None

    def __call__(
        self, *arguments: object, cwd: Path | None = None, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The finished process; its output is captured."""
        return self._run(None, list(map(str, arguments)), cwd, stdin, self.environment(**environment))

    def script(self, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`python -c CODE ARGUMENTS`, for what is to happen to the command while it runs."""
        return self._run(code, list(map(str, arguments)), None, None, self.environment())

    def _run(
        self, code: str | None, words: list[str], cwd: Path | None, stdin: str | None, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        if self._server is None:
            self._server = CommandServer(self.environment())
        if self._server.serves(environment):
            return self._server.run(words, code=code, cwd=cwd, stdin=stdin, environment=environment, timeout=600)
        return subprocess.run(
            [sys.executable, *(("-m", "packtrain") if code is None else ("-c", code)), *words],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
            check=False,
        )

    def close(self) -> None:
        """No more commands."""
        if self._server is not None:
            self._server.close()

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of the command: the source tree first, no network."""
        own = {name: value for name, value in os.environ.items() if name != SET_BY_TORCH}
        return {**own, "PYTHONPATH": str(REPOSITORY / "src"), "HF_HUB_OFFLINE": "1", **extra}


@pytest.fixture(scope="session")
def packtrain() -> Iterator[CommandLine]:
    """The command line."""
    command_line = CommandLine()
    yield command_line
    command_line.close()
