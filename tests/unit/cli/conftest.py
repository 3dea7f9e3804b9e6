"""An endpoint on this machine that writes tasks, for commands that generate."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.http_server import Handler, serving

SYLLABLES = [consonant + vowel for consonant in "bdfglmnprstv" for vowel in "aeiou"]
SOURCE = Path(__file__).parents[3] / "src"


def words(random: Random) -> str:
    return " ".join("".join(random.choices(SYLLABLES, k=3)) for _ in range(7))


def numbered(prompt: str) -> str:
    """Tasks 4 to 20; number 6 asks for a picture."""
    random = Random(prompt)
    first = int(prompt.rsplit(".", 1)[0].rsplit("\n", 1)[-1])
    blocks = []
    for number in range(first, 21):
        verb = "Draw a picture of" if number == 6 else "Describe"
        blocks.append(
            f"{number}. Instruction: {verb} {words(random)}.\n{number}. Input:\n<noinput>\n{number}. Output:\nx\n"
        )
    return "###\n".join(blocks).removeprefix(f"{first}. Instruction:")


def as_json(prompt: str) -> str:
    """Seventeen tasks as JSON; the third lacks its output."""
    random = Random(prompt)
    tasks: list[dict[str, str]] = [
        {"instruction": f"Describe {words(random)}.", "input": "", "output": "x"} for _ in range(17)
    ]
    del tasks[2]["output"]
    return json.dumps({"tasks": tasks})


@dataclass
class Endpoint:
    """Where it is, and what was asked."""

    url: str
    monkeypatch: pytest.MonkeyPatch
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    refuses: tuple[str, ...] = ()
    """Parameters that it does not take."""
    status: int = 200

    def environment(self) -> dict[str, str]:
        """For a command that is to ask it."""
        own = {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "none", "PYTHONPATH": str(SOURCE)}
        return {**os.environ, **own}

    def use(self) -> None:
        """Make it the endpoint of this process."""
        for name, value in self.environment().items():
            self.monkeypatch.setenv(name, value)

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.paths.add(path)
        self.bodies.append(body)
        refused = [name for name in self.refuses if name in body]
        if self.status != 200 or refused:
            return self.status if not refused else 400, {"error": {"message": f"no '{', '.join(refused)}'"}}
        if path.endswith("/chat/completions"):
            prompt = body["messages"][0]["content"]
            text = as_json(prompt) if "The first 3 tasks, as JSON" in prompt else numbered(prompt)
            answer: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
        else:
            answer = {"text": numbered(body["prompt"])}
        usage = {"prompt_tokens": 500, "completion_tokens": 1000}
        return 200, {"choices": [{"index": 0, "finish_reason": "stop", **answer}], "usage": usage}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A running endpoint that writes tasks."""
    script = Endpoint("", monkeypatch)

    class Answering(Handler):
        def do_POST(self) -> None:
            status, value = script.reply(self.path, json.loads(self.body()))
            self.answer_json(value, status)

    with serving(Answering) as address:
        script.url = f"{address}/v1"
        yield script
