"""The chat page's server: whom it answers, what it streams, what it refuses, and what it exports as training data."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from packtrain.chat.session import ROLE_MARKERS, ChatSession
from packtrain.chat.web.asked import Side
from packtrain.chat.web.server import ChatServer
from packtrain.core.conversation import Conversation, Message, read_conversations
from packtrain.core.errors import UserError
from packtrain.models.base import Completion, Sampling
from packtrain.models.local import LocalModel
from packtrain.prompts.encode import encode
from packtrain.prompts.template import load_template

SAMPLING = {"temperature": 0, "top_p": 1, "max_new_tokens": 8, "seed": 0}


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LocalModel:
    return LocalModel(tiny_base)


@dataclass
class Served:
    """A server and what it answers."""

    server: ChatServer

    def request(
        self, name: str, content: Any = None, *, method: str = "POST", **headers: str
    ) -> tuple[int, str, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=30)
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = {"Content-Type": "application/json", "Host": "localhost", **headers}
        connection.request(method, f"/{self.server.token}/{name}", None if content is None else body, sent)
        response = connection.getresponse()
        return response.status, response.read().decode(), response

    def json(self, name: str, content: Any) -> Any:
        status, text, _ = self.request(name, content)
        assert status == 200, text
        return json.loads(text)

    def lines(self, content: Any) -> list[dict[str, Any]]:
        status, text, _ = self.request("answer", content)
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines()]


def asked(message: Any, rounds: Any = None, **other: Any) -> dict[str, Any]:
    return {
        "side": 0,
        "system": "",
        "message": message,
        "rounds": [] if rounds is None else rounds,
        "sampling": SAMPLING,
        **other,
    }


def said(message: str, answer: Any, cut: bool = False) -> dict[str, Any]:
    return {"message": message, "answer": answer, "cut": cut}


@pytest.fixture
def serve(model: LocalModel) -> Iterator[Callable[..., Served]]:
    started: list[ChatServer] = []

    def start(*names: str, sides: tuple[Side, ...] = (), **options: Any) -> Served:
        chosen = sides or tuple(Side(model, load_template(name)) for name in names or ("tulu",))
        server = ChatServer(chosen, port=0, **options)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        started.append(server)
        return Served(server)

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_what_the_page_is_told_of_the_models(serve: Callable[..., Served]) -> None:
    served = serve("tulu", "alpaca", system="Be kind.", sampling=Sampling(9000, 0.5, 0.9, ROLE_MARKERS, 7))
    assert served.json("about", {}) == {
        "models": [
            {"name": "tiny-llama", "template": "tulu", "one_round": False, "max_context": 512},
            {"name": "tiny-llama", "template": "alpaca", "one_round": True, "max_context": 512},
        ],
        "system": "Be kind.",
        "sampling": {"temperature": 0.5, "top_p": 0.9, "max_new_tokens": 512, "seed": 7},
    }


def test_an_answer_streams_and_is_the_terminals(serve: Callable[..., Served], model: LocalModel) -> None:
    served, pieces = serve(), []
    rounds = [said("Hi", "Hello.")]
    session = ChatSession(model, load_template("tulu"), "Be kind.", Sampling(8, 0.0, 1.0, ROLE_MARKERS))
    session.history = [Message("user", "Hi"), Message("assistant", "Hello.")]
    completion = session.ask("Name a colour.", pieces.append)
    given, *texts, last = served.lines(asked("Name a colour.", rounds, system="Be kind."))
    assert given == {
        "prompt": "<|system|>\nBe kind.\n<|user|>\nHi\n<|assistant|>\nHello.</s>\n"
        "<|user|>\nName a colour.\n<|assistant|>\n",
        "tokens": completion.prompt_tokens,
        "first_token": "<s>",
        "forgotten": 0,
    }
    assert given["prompt"] == session.last_prompt
    assert texts == [{"text": piece} for piece in pieces]
    assert last == {
        "finish": completion.finish_reason,
        "answer": completion.text,
        "answer_tokens": completion.completion_tokens,
    }


def test_the_prompt_can_be_seen_before_it_is_sent(serve: Callable[..., Served]) -> None:
    served = serve("tulu", "alpaca")
    shown = served.json("prompt", asked("</s><|assistant|>\n\u202e"))
    assert shown["prompt"] == "<|user|>\n</s><|assistant|>\n\u202e\n<|assistant|>\n"
    long = [said(f"question {number} word word", f"answer {number}") for number in range(30)]
    shown = served.json("prompt", asked("Now?", long))
    assert 0 < shown["forgotten"] < 30
    assert shown["prompt"].startswith(f"<|user|>\nquestion {shown['forgotten']} ")
    assert served.json("prompt", asked("Now?", long, side=1))["prompt"] == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nNow?\n\n### Response:"
    )


def test_the_export_is_training_data(serve: Callable[..., Served], model: LocalModel, tmp_path: Path) -> None:
    served = serve("tulu", "alpaca")
    rounds = [said("Hi\u2028", "Hello <b>.\n"), said("Bye", "Bye, and then it was", cut=True)]
    exported = served.json("export", asked("a draft", rounds, system="Be kind."))
    (tmp_path / "whole.jsonl").write_text(exported["text"], encoding="utf-8")
    [record] = read_conversations(tmp_path / "whole.jsonl")
    assert record == Conversation(
        "chat",
        record.id,
        (
            Message("system", "Be kind."),
            Message("user", "Hi\u2028"),
            Message("assistant", "Hello <b>.\n"),
            Message("user", "Bye"),
            Message("assistant", "Bye, and then it was", learnt=False),
        ),
        {"model": "local:tiny-llama", "template": "tulu"},
    )
    assert (exported["name"], exported["not_learnt"]) == (f"chat-{record.id}.jsonl", 1)
    assert served.json("export", asked("", rounds, system="Be kind.")) == exported, "what was said decides the id"
    [example] = encode([record], load_template("tulu"), model.tokenizer, 512).examples
    learnt = [label for label in example.labels if label != -100]
    assert model.tokenizer.decode(learnt, skip_special=False).strip() == "Hello <b>.</s>"

    rounds.append(said("Again", "Bye."))
    exported = served.json("export", asked("", rounds, side=1))
    (tmp_path / "rounds.jsonl").write_text(exported["text"], encoding="utf-8")
    records = list(read_conversations(tmp_path / "rounds.jsonl"))
    assert [[message.content for message in one.messages] for one in records] == [
        ["Hi\u2028", "Hello <b>.\n"],
        ["Again", "Bye."],
    ]
    assert exported["not_learnt"] == 1
    assert len({one.id for one in records}) == 2


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("export", asked(""), "there is nothing to keep yet: ask something first"),
        ("export", asked("", [said("a", "b", cut=True)]), "there is nothing to keep: every answer was cut: allow"),
        ("prompt", asked("", side=1), "`side` names no model of this page: reload the page"),
        ("prompt", asked("", side=True), "`side` names no model of this page: reload the page"),
        ("prompt", asked("", rounds={}), "`rounds` is missing or of another kind: reload the page"),
        ("prompt", asked("", [{"message": "a", "answer": "b"}]), "a round of the conversation is of another kind"),
        ("prompt", asked("", [said("a", 3)]), "`answer` is missing or of another kind"),
        ("prompt", asked(None), "`message` is missing or of another kind"),
        ("prompt", asked("", sampling=None), "`sampling` is missing or of another kind"),
        ("answer", asked("word " * 600), "the message does not fit: the model's context is 512 tokens"),
        *(
            ("answer", asked("a", sampling={**SAMPLING, field: value}), f"{reason}: give a")
            for field, value, reason in [
                ("temperature", -0.1, "the temperature is out of bounds"),
                ("top_p", 0, "top p is out of bounds"),
                ("top_p", 1.01, "top p is out of bounds"),
                ("max_new_tokens", 0, "the longest answer is out of bounds"),
                ("max_new_tokens", 513, "the longest answer is out of bounds"),
                ("max_new_tokens", 1.5, "the longest answer is out of bounds"),
                ("seed", -1, "the seed is out of bounds"),
            ]
        ),
        ("answer", asked("a", sampling={**SAMPLING, "temperature": float("nan")}), "`temperature` must be a number"),
        ("answer", asked("a", sampling={**SAMPLING, "top_p": None}), "`top_p` must be a number: correct the setting"),
        ("prompt", b"[]", "not a request of this page"),
        ("prompt", b"{", "not a request of this page"),
        ("prompt", b"{}" + b" " * 8 * 1024 * 1024, "that is too long: shorten the text"),
    ],
)
def test_what_cannot_be_answered_is_refused(serve: Callable[..., Served], name: str, content: Any, error: str) -> None:
    status, text, _ = serve().request(name, content)
    answer = json.loads(text)
    assert status == 400
    assert f"{answer['error']}: {answer['hint']}".startswith(error)


def test_half_a_surrogate_pair_is_replaced(serve: Callable[..., Served]) -> None:
    assert serve().json("prompt", asked("a\ud800b"))["prompt"] == "<|user|>\na?b\n<|assistant|>\n"


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("", {}, 200),
        ("", {"Host": "127.0.0.1:9"}, 200),
        ("", {"Host": "evil.example"}, 421),
        ("", {"Host": "10.0.0.1"}, 421),
        ("", {"Host": "["}, 421),
        ("", {"Origin": "http://evil.example"}, 403),
        ("about", {}, 404),
        ("../x", {}, 404),
    ],
)
def test_who_is_given_the_page(serve: Callable[..., Served], name: str, headers: dict[str, str], status: int) -> None:
    found, text, response = serve().request(name, method="GET", **headers)
    assert found == status
    assert text.startswith("<!doctype html>") == (status == 200)
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_no_other_page_can_ask(serve: Callable[..., Served], headers: dict[str, str], status: int) -> None:
    assert serve().request("about", {}, **headers)[0] == status


def test_a_link_without_its_last_stroke_leads_to_the_page(serve: Callable[..., Served]) -> None:
    server = serve().server
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", f"/{server.token}", headers={"Host": "localhost"})
    response = connection.getresponse()
    assert (response.status, response.headers["Location"]) == (302, f"/{server.token}/")
    connection.close()


def test_another_token_leads_nowhere(serve: Callable[..., Served]) -> None:
    served, other = serve(), serve()
    assert len({served.server.token, other.server.token}) == 2
    served.server.token, kept = "x" * 16, served.server.token
    connection = http.client.HTTPConnection("127.0.0.1", served.server.server_port, timeout=30)
    connection.request("GET", f"/{kept}/", headers={"Host": "localhost"})
    assert connection.getresponse().status == 404


class SlowModel:
    """Says one word after the other until nobody listens; counts how often it was asked."""

    name, max_context = "local:slow", 512

    def __init__(self, tokenizer: Any, words: int = 10**9, error: Exception | None = None) -> None:
        self.tokenizer, self.words, self.error = tokenizer, words, error
        self.asked, self.stopped = 0, threading.Event()

    def stream(self, prompt: str, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        self.asked += 1
        if self.error is not None:
            raise self.error
        try:
            for _ in range(self.words):
                on_text("word ")
                time.sleep(0.001)
        except BaseException:
            self.stopped.set()
            raise
        return Completion("word " * self.words, "length", 1, self.words)


def begun(served: Served, message: str) -> tuple[socket.socket, Any]:
    """A connection on which an answer was asked for, and what comes after the head of the reply."""
    content = json.dumps(asked(message)).encode()
    connection = socket.create_connection(("127.0.0.1", served.server.server_port), timeout=30)
    head = f"POST /{served.server.token}/answer HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    reader = connection.makefile("rb")
    while reader.readline().strip():
        pass
    return connection, reader


def test_an_answer_that_nobody_reads_ends_and_frees_the_model(serve: Callable[..., Served], model: LocalModel) -> None:
    slow = SlowModel(model.tokenizer)
    served = serve(sides=(Side(slow, load_template("tulu")),))
    connection, reader = begun(served, "a")
    assert [*json.loads(reader.readline())] == ["prompt", "tokens", "first_token", "forgotten"]
    assert json.loads(reader.readline()) == {"text": "word "}
    reader.close()
    connection.close()
    assert slow.stopped.wait(30)
    slow.words = 2
    given, *texts, last = served.lines(asked("b"))
    assert given["prompt"] == "<|user|>\nb\n<|assistant|>\n"
    assert texts == [{"text": "word "}] * 2
    assert last == {"finish": "length", "answer": "word word ", "answer_tokens": 2}


def test_one_answer_at_a_time_and_whoever_waits_is_told(serve: Callable[..., Served], model: LocalModel) -> None:
    slow = SlowModel(model.tokenizer)
    served = serve(sides=(Side(slow, load_template("tulu")),))
    connection, reader = begun(served, "a")
    reader.readline()
    assert json.loads(reader.readline()) == {"text": "word "}
    slow.words = 1  # of the second answer; the first one counts to its own end
    _, second = begun(served, "b")
    assert json.loads(second.readline()) == {"waiting": True}
    assert slow.asked == 1
    reader.close()
    connection.close()
    given, text, last = (json.loads(line) for line in second.read().splitlines())
    assert given["prompt"] == "<|user|>\nb\n<|assistant|>\n"
    assert text == {"text": "word "}
    assert last == {"finish": "length", "answer": "word ", "answer_tokens": 1}


def test_the_end_of_the_server_ends_its_answers(serve: Callable[..., Served], model: LocalModel) -> None:
    slow = SlowModel(model.tokenizer)
    served = serve(sides=(Side(slow, load_template("tulu")),))
    _, reader = begun(served, "a")
    reader.readline()
    assert json.loads(reader.readline()) == {"text": "word "}
    served.server.shutdown()
    served.server.server_close()
    assert slow.stopped.is_set()
    assert b"finish" not in reader.read()


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (UserError("no room", "shorten it"), {"error": "no room", "hint": "shorten it"}),
        (
            RuntimeError("out of\nmemory"),
            {"error": "the model failed: out of memory", "hint": "shorten the conversation or the answer"},
        ),
    ],
)
def test_a_model_that_fails_says_so(
    serve: Callable[..., Served], model: LocalModel, error: Exception, last: dict[str, str]
) -> None:
    failing = SlowModel(model.tokenizer, error=error)
    served = serve(sides=(Side(failing, load_template("tulu")),))
    assert served.lines(asked("a"))[1:] == [last]


def test_an_address_that_cannot_be_used(serve: Callable[..., Served]) -> None:
    served = serve()
    sides = served.server.sides
    with pytest.raises(UserError, match=r"cannot serve at 127\.0\.0\.1, port \d+: Address already in use"):
        ChatServer(sides, port=served.server.server_port)
    assert served.server.is_local
    assert served.server.link == f"http://127.0.0.1:{served.server.server_port}/{served.server.token}/"
