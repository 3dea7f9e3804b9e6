"""An exported folder is served unchanged: the same prompt to the byte, the same answer, the same end, as in `chat`."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest

from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.prompts.template import PromptTemplate, folder_template, load_template
from packtrain.prompts.tokenizer import load_tokenizer

TAUGHT = {"Name a river.": "The river runs to the sea.", "Spell the word hill with hyphens.": "h-i-l-l"}
CONVERSATIONS = [
    [Message("user", "Name a river.")],
    [Message("system", "Be kind."), Message("user", "  Name a river.\n\n")],
    [Message("user", "Hi"), Message("assistant", " Hello.\n"), Message("user", "</s> <s> and </s> ends é 水 \t?")],
]
LONGEST_TOKENS = 24


class Serve(Protocol):
    def __call__(self, model: Path, log: Path) -> AbstractContextManager[str]: ...


@pytest.fixture(scope="module")
def exported(packtrain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo base, taught two answers by `packtrain train`, in the tulu format."""
    folder = tmp_path_factory.mktemp("serving")
    rows = [
        Conversation("taught", str(number), (Message("user", asked), Message("assistant", answer)))
        for number in range(20)
        for asked, answer in TAUGHT.items()
    ]
    write_conversations(folder / "taught.jsonl", rows)
    options = ["--data", folder / "taught.jsonl", "--out", folder / "tuned"]
    done = packtrain("train", "demo", *options, "train.epochs=6", "train.global_batch_size=8")
    assert done.returncode == 0, done.stderr
    return folder / "tuned"


@pytest.fixture(scope="module")
def address(exported: Path, transformers_serve: Serve) -> Iterator[str]:
    with transformers_serve(exported, exported.parent / "server.log") as url:
        yield url


def own_format(folder: Path) -> PromptTemplate:
    template = folder_template(folder)
    assert template is not None
    return template


def ask(url: str, content: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def assert_same_bytes(folder: Path, conversations: list[list[Message]]) -> None:
    """What transformers renders and tokenises for a server is what packtrain shows the model."""
    from transformers import AutoTokenizer

    theirs: Any = AutoTokenizer.from_pretrained(folder)
    ours, template = load_tokenizer(folder), own_format(folder)
    for messages in conversations:
        prompt = template.render(messages, ours.eos_token, for_answer=True).text
        plain = [message.as_json() for message in messages]
        rendered = theirs.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        assert rendered == f"{ours.first_token}{prompt}"
        assert theirs.apply_chat_template(plain, add_generation_prompt=True)["input_ids"] == ours.ids(prompt)


def test_servers_render_the_same_bytes_and_tokens(exported: Path) -> None:
    from transformers import GenerationConfig

    assert_same_bytes(exported, CONVERSATIONS)
    generation = GenerationConfig.from_pretrained(exported)
    assert generation.eos_token_id == [load_tokenizer(exported).eos_id]
    assert not generation.do_sample


def test_the_format_of_one_round_is_rendered_the_same(exported: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(exported)
    shutil.copy(exported / "config.json", tmp_path)
    tokenizer.save(tmp_path, load_template("alpaca").chat_template(tokenizer.first_token))
    assert_same_bytes(tmp_path, [[Message("user", "Name a river.")], [Message("user", "</s> \t水\n")]])


def test_transformers_serve_answers_as_chat_does(exported: Path, address: str, packtrain: Any, tmp_path: Path) -> None:
    asked = list(TAUGHT)
    talk = packtrain(
        *["chat", exported, "--max-new-tokens", LONGEST_TOKENS],
        stdin="".join(f"{line}\n" for line in [*asked, "/save talk.jsonl"]),
        cwd=tmp_path,
    )
    assert talk.returncode == 0, talk.stderr
    said = json.loads((tmp_path / "talk.jsonl").read_text())["messages"]
    answers = [message["content"] for message in said if message["role"] == "assistant"]
    template, tokenizer = own_format(exported), load_tokenizer(exported)
    for number, expected in enumerate(answers):
        messages = said[: 2 * number + 1]
        content = {"model": str(exported), "messages": messages, "temperature": 0, "max_tokens": LONGEST_TOKENS}
        found = ask(f"{address}/v1/chat/completions", content)
        [choice] = found["choices"]
        assert choice["message"]["content"] == expected
        prompt = template.render([Message(**one) for one in messages], tokenizer.eos_token, for_answer=True).text
        assert found["usage"]["prompt_tokens"] == len(tokenizer.ids(prompt))
        assert (choice["finish_reason"] == "stop") == (found["usage"]["completion_tokens"] < LONGEST_TOKENS)
    assert answers[0] == TAUGHT[asked[0]], "taught, and ended by its end-of-sequence"


def test_transformers_chat_talks_to_it(exported: Path, address: str, tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("transformers"), "chat", exported, address]
    environment = {
        name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"
    }  # it refuses any address
    done = subprocess.run(
        [*command, f"max_new_tokens={LONGEST_TOKENS}", "do_sample=False"],
        input="Name a river.\n!exit\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "HF_ENDPOINT": address, "COLUMNS": "200"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TAUGHT["Name a river."] in done.stdout
