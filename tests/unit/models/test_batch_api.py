"""The batch API against a small fake of it: answers come back, and nothing is submitted, and paid, twice."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.http_server import Handler, serving

from packtrain.core.errors import UserError
from packtrain.models.base import Completion, Sampling
from packtrain.models.batch_api import BatchModel
from packtrain.models.flow import Request, Unanswered
from packtrain.models.openai import OpenAIModel

SAMPLING = Sampling(9, stop=("END",))


@dataclass
class Fake:
    """Files and batches of an endpoint; a batch is done after it was looked at `looks` times."""

    url: str = ""
    looks: int = 2
    cut_submission: bool = False
    status: str = "completed"
    broken: dict[str, Any] = field(default_factory=dict)
    """Line of the output by prompt, in the place of an answer."""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)

    def model(self, folder: Path) -> BatchModel:
        return BatchModel(OpenAIModel("small", self.url), folder / "batches.jsonl", look_every_s=0.001)

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "status": "validating",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "created_at": 0,
            "metadata": body["metadata"],
            "looked": 0,
        }
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        batch["looked"] += 1
        if batch["looked"] >= self.looks and batch["status"] == "validating":
            self._work(batch)
        return batch

    def _work(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.status
        if self.status == "failed":
            batch["errors"] = {"object": "list", "data": [{"message": "line 1 is no JSON"}]}
            return
        lines = []
        for line in self.files[batch["input_file_id"]].splitlines():
            request = json.loads(line)
            prompt = request["body"]["messages"][0]["content"]
            self.answered.append(prompt)
            body = {
                "choices": [{"message": {"content": f"{prompt}! END x"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 4},
            }
            made = self.broken.get(prompt, {"response": {"status_code": 200, "body": body}, "error": None})
            if made is not None:
                lines.append(json.dumps({"custom_id": request["custom_id"], **made}))
        batch["output_file_id"] = f"{batch['id']}_output"
        self.files[batch["output_file_id"]] = "\n".join(reversed(lines)).encode()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    endpoint = Fake()

    class Answering(Handler):
        def do_POST(self) -> None:
            content = self.body()
            if self.path == "/v1/files":
                name = f"file_{len(endpoint.files)}"
                endpoint.files[name] = re.split(
                    rb"\r\n--", content.split(b"requests.jsonl")[1].split(b"\r\n\r\n", 1)[1]
                )[0]
                self.answer_json(
                    {"id": name, "object": "file", "bytes": 1, "created_at": 0, "filename": "f", "purpose": "batch"}
                )
            else:
                made = endpoint.submit(json.loads(content))
                if not endpoint.cut_submission:
                    self.answer_json(made)

        def do_GET(self) -> None:
            kind, *rest = self.path.split("?")[0].removeprefix("/v1/").split("/")
            if kind == "files":
                self.answer(endpoint.files[rest[0]])
            elif rest:
                self.answer_json(endpoint.look(rest[0]))
            else:
                self.answer_json({"object": "list", "data": list(endpoint.batches.values()), "has_more": False})

    with serving(Answering) as address:
        endpoint.url = f"{address}/v1"
        yield endpoint


def ask(model: BatchModel, prompts: list[str], repeat: bool = False) -> dict[str, Completion | Unanswered]:
    """What became of each prompt; with `repeat` those without an answer are asked again."""
    waiting = [Request(number, prompt, SAMPLING) for number, prompt in enumerate(prompts)]
    became = {}
    for request, outcome in model.flow(lambda: waiting.pop(0) if waiting else None):
        became[request.prompt] = outcome
        if repeat and isinstance(outcome, Unanswered):
            waiting.append(request.again())
    return became


def answer(prompt: str) -> Completion:
    return Completion(f"{prompt}! ", "stop", 3, 4)


def test_all_requests_go_in_one_batch_and_every_answer_finds_its_request(fake: Fake, tmp_path: Path) -> None:
    prompts = ["one", "two", "drei \u00fc\n"]
    assert ask(fake.model(tmp_path), prompts) == {prompt: answer(prompt) for prompt in prompts}
    assert len(fake.batches) == 1
    assert fake.batches["batch_0"]["endpoint"] == "/v1/chat/completions"
    lines = [json.loads(line) for line in fake.files["file_0"].splitlines()]
    assert [(line["method"], line["url"]) for line in lines] == [("POST", "/v1/chat/completions")] * 3
    assert lines[0]["body"] == {
        "model": "small",
        "messages": [{"role": "user", "content": "one"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "stop": ["END"],
    }


def test_a_run_that_was_stopped_takes_the_answers_of_its_batch(fake: Fake, tmp_path: Path) -> None:
    waiting = [Request(number, prompt, SAMPLING) for number, prompt in enumerate(["a", "b", "c"])]
    first, outcome = next(fake.model(tmp_path).flow(lambda: waiting.pop(0) if waiting else None))
    assert outcome == answer(first.prompt)
    left = [prompt for prompt in ["a", "b", "c"] if prompt != first.prompt]
    requests = [Request(number, prompt, SAMPLING) for number, prompt in enumerate(["a", "b", "c"]) if prompt in left]
    taken = list(fake.model(tmp_path).flow(lambda: requests.pop(0) if requests else None))
    assert {request.prompt: outcome for request, outcome in taken} == {prompt: answer(prompt) for prompt in left}
    assert fake.answered == ["a", "b", "c"]


def test_a_submission_whose_reply_was_lost_is_found_again(fake: Fake, tmp_path: Path) -> None:
    fake.cut_submission = True
    assert ask(fake.model(tmp_path), ["a"]) == {"a": answer("a")}
    assert len(fake.batches) == 1


@pytest.mark.parametrize("length", range(0, 400, 7))
def test_killed_while_the_store_was_written(fake: Fake, tmp_path: Path, length: int) -> None:
    """Whatever part of the store is there, no request is submitted twice once the endpoint has its batch."""
    ask(fake.model(tmp_path), ["a", "b"])
    store = tmp_path / "batches.jsonl"
    content = store.read_bytes()
    begun = content.index(b"\n") + 1
    store.write_bytes(content[: begun + length])
    if b'"done"' not in store.read_bytes() or not store.read_bytes().endswith(b"\n"):
        assert ask(fake.model(tmp_path), ["a", "b"]) == {"a": answer("a"), "b": answer("b")}
    assert len(fake.batches) == 1


def test_what_a_batch_could_not_do_is_asked_again_and_not_for_ever(fake: Fake, tmp_path: Path) -> None:
    fake.broken = {"b": {"response": {"status_code": 500, "body": {"error": {"message": "boom"}}}, "error": None}}
    with pytest.raises(UserError, match="batch API: HTTP 500, boom"):
        ask(fake.model(tmp_path), ["a", "b"], repeat=True)
    assert sorted(fake.answered) == ["a", "b", "b", "b"]


def test_lines_that_never_came_are_asked_again(fake: Fake, tmp_path: Path) -> None:
    fake.status, fake.broken = "expired", {"b": None}
    assert ask(fake.model(tmp_path), ["a", "b"]) == {"a": answer("a"), "b": Unanswered("the batch expired", False)}


def test_a_refused_request_ends_the_run_after_the_answers(fake: Fake, tmp_path: Path) -> None:
    refused = {"response": {"status_code": 400, "body": {"error": {"message": "too long"}}}, "error": None}
    fake.broken = {"a": refused}
    waiting = [Request(number, prompt, SAMPLING) for number, prompt in enumerate(["a", "b"])]
    flow = fake.model(tmp_path).flow(lambda: waiting.pop(0) if waiting else None)
    assert [next(flow)[1] for _ in range(2)] == [answer("b"), Unanswered("HTTP 400, too long", False)]
    with pytest.raises(UserError, match="HTTP 400, too long"):
        next(flow)


def test_a_refused_batch_says_why(fake: Fake, tmp_path: Path) -> None:
    fake.status = "failed"
    with pytest.raises(UserError, match="the batch failed: line 1 is no JSON"):
        ask(fake.model(tmp_path), ["a"])


def test_an_endpoint_without_batches(tmp_path: Path, fake: Fake) -> None:
    class Absent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Absent)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    fake.url = f"http://127.0.0.1:{http.server_port}/v1"
    with pytest.raises(UserError, match="has no batch API"):
        ask(fake.model(tmp_path), ["a"])
    http.shutdown()
    http.server_close()
