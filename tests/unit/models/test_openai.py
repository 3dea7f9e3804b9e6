"""The client against a server on this machine that answers, refuses and fails as real ones do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.http_server import Handler, serving

from packtrain.core.errors import UserError
from packtrain.models import openai as ours
from packtrain.models.base import Choice, Completion, Options, Sampling
from packtrain.models.openai import Api, OpenAIModel

KEY = "-".join(["sk", "verysecretkey0123456789"])

Reply = tuple[int, dict[str, str], bytes]


def chat(text: str | None, reason: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    return 200, {}, json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def error(status: int, message: str = "no", headers: dict[str, str] | None = None, **fields: str) -> Reply:
    return status, headers or {}, json.dumps({"error": {"message": message, **fields}}).encode()


@dataclass
class Server:
    """Replies to each request with what `reply` returns for its decoded body; keeps paths, headers and bodies."""

    url: str = ""
    reply: Callable[[dict[str, Any]], Reply] = lambda body: chat("hello")
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def in_turn(self, *replies: Reply) -> None:
        """Give these replies one after another; the last one stays."""
        waiting = list(replies)
        self.reply = lambda body: waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def model(self, api: Api = "chat", **settings: Any) -> OpenAIModel:
        return OpenAIModel("small", self.url, api, **{"concurrency": 1, "first_backoff_s": 0.01, **settings})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    script = Server()

    class Answering(Handler):
        def do_POST(self) -> None:
            body = json.loads(self.body())
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.requests.append((self.path, headers, body))
            script.times.append(time.monotonic())
            status, headers, content = script.reply(body)
            self.answer(content, status, headers)

    with serving(Answering) as address:
        script.url = f"{address}/v1"
        yield script


def ask(model: OpenAIModel, **sampling: Any) -> Completion:
    return model.generate(["say hello"], Sampling(**sampling))[0]


def test_chat(server: Server) -> None:
    sampling = {"max_new_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ("END",), "seed": 3}
    assert ask(server.model(), **sampling) == Completion("hello", "stop", prompt_tokens=5, completion_tokens=7)
    path, headers, body = server.requests[0]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "small",
        "messages": [{"role": "user", "content": "say hello"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 3,
    }


def test_completion(server: Server) -> None:
    server.reply = lambda body: (
        200,
        {},
        json.dumps({"choices": [{"text": " hi", "finish_reason": "length"}]}).encode(),
    )
    assert ask(server.model("completion")) == Completion(" hi", "length", 0, 0)
    path, _, body = server.requests[0]
    assert (path, body["prompt"], "stop" in body) == ("/v1/completions", "say hello", False)


def test_an_endpoint_that_ignores_stop_texts_is_cut_here(server: Server) -> None:
    server.reply = lambda body: chat("one END two", "length")
    assert ask(server.model(), stop=("END",)).text == "one "
    assert ask(server.model(), stop=("END",)).finish_reason == "stop"
    assert ask(server.model()).finish_reason == "length"


def test_a_refusal_is_an_empty_answer_and_half_a_surrogate_pair_is_replaced(server: Server) -> None:
    server.in_turn(chat(None, "content_filter"), chat("a\ud83d"))
    model = server.model()
    assert ask(model) == Completion("", "length", 5, 7)
    assert ask(model).text == "a?"


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "OPENAI_API_KEY"), (402, "credit"), (403, "may not use"), (404, "OPENAI_BASE_URL"), (400, "too long")],
)
def test_what_no_repetition_mends_stops_at_once(server: Server, status: int, hint: str) -> None:
    server.reply = lambda body: error(status, f"no,\nnot with {KEY} nor sk-other***1234")
    with pytest.raises(UserError) as caught:
        ask(server.model())
    assert len(server.requests) == 1
    assert caught.value.message == f"openai:small at {server.url[7:-3]}: HTTP {status}, no, not with *** nor sk-***"
    assert hint in caught.value.hint
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        error(400, "The decoder prompt (length 5000) is longer than the maximum model length of 2048."),
        error(400, "The input (5000 tokens) is longer than the model's context length (2048 tokens)."),
        error(400, "the request exceeds the available context size", type="exceed_context_size_error"),
        error(413, "prompt is too long: 210000 tokens > 200000 maximum"),
        error(422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 and 512"),
    ],
)
def test_a_prompt_over_the_context_is_an_empty_answer_where_it_would_be_cut(server: Server, refusal: Reply) -> None:
    server.in_turn(refusal, chat("hello"), refusal)
    long, short = server.model().generate(["long", "short"], Sampling(too_long="cut"))
    assert (long, short.text) == (Completion("", "length", too_long=True), "hello")
    with pytest.raises(UserError, match=r"HTTP 4\d\d"):
        ask(server.model())
    assert len(server.requests) == 3


def test_an_exhausted_quota_is_not_waited_for_although_it_is_a_429(server: Server) -> None:
    server.reply = lambda body: error(429, "You exceeded your quota", code="insufficient_quota")
    with pytest.raises(UserError, match="exceeded your quota") as caught:
        ask(server.model())
    assert len(server.requests) == 1
    assert "credit" in caught.value.hint


def test_retry_after_is_honoured(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for told_from_s, said in ((0.5, 1), (2.0, 0)):
        monkeypatch.setattr("packtrain.models.openai.TOLD_FROM_S", told_from_s)
        server.times.clear()
        server.in_turn(error(429, "slow down", {"Retry-After": "0.6"}), chat("hello"))
        assert ask(server.model()).text == "hello"
        assert server.times[1] - server.times[0] >= 0.6
        told = capsys.readouterr().err
        assert told.count("HTTP 429, slow down; trying again in 1 s (attempt 2 of 8)") == said


def test_retry_after_may_be_a_date_and_may_not_be_too_long(server: Server) -> None:
    server.in_turn(
        error(429, "slow", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        error(429, "slow", {"Retry-After": "soon"}),
        error(429, "daily limit", {"Retry-After": "7200"}),
    )
    with pytest.raises(UserError, match=r"daily limit.*attempt 3 of 8; it asks for a pause of 7200 s") as caught:
        ask(server.model())
    assert len(server.requests) == 3
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize(
    "trouble",
    [
        error(500),
        error(503),
        error(408),
        (200, {}, b'{"choices": [{"mess'),
        (200, {"Content-Type": "text/html"}, b"<html>busy</html>"),
        (200, {}, b'{"choices": []}'),
        (200, {}, b'{"error": {"message": "upstream failed"}}'),
        (200, {}, b"[]"),
        (200, {"Content-Length": "5000"}, b'{"choices": ['),
    ],
)
def test_trouble_that_may_pass_is_tried_again(server: Server, trouble: Reply) -> None:
    server.in_turn(trouble, trouble, chat("hello"))
    assert ask(server.model(timeout_s=2.0)).text == "hello"
    assert len(server.requests) == 3


def test_trouble_that_does_not_pass_ends_after_a_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "LONGEST_BACKOFF_S", 0.02)
    server.reply = lambda body: error(500, "boom")
    with pytest.raises(UserError, match=r"HTTP 500, boom \(attempt 8 of 8\)"):
        ask(server.model())
    assert len(server.requests) == 8


def test_a_slow_answer_is_given_up_and_asked_again(server: Server) -> None:
    def slow_once(body: dict[str, Any]) -> Reply:
        time.sleep(1.0 if len(server.requests) == 1 else 0)
        return chat("hello")

    server.reply = slow_once
    assert ask(server.model(timeout_s=0.3)).text == "hello"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "LONGEST_BACKOFF_S", 0.01)
    with pytest.raises(UserError, match="connection error"):
        ask(OpenAIModel("small", "http://127.0.0.1:9/v1", first_backoff_s=0.01))


def test_an_endpoint_may_want_another_name_for_the_limit_and_fewer_options(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def strict(body: dict[str, Any]) -> Reply:
        if "max_tokens" in body:
            return error(400, "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
        if "stop" in body:
            return error(400, "Unsupported parameter: 'stop' is not supported with this model.", param="stop")
        if "seed" in body:
            return error(422, 'extra fields not permitted: "seed"')
        return chat("hello END")

    server.reply = strict
    model = server.model()
    assert ask(model, stop=("END",), seed=4).text == "hello "
    assert "does not take `stop`" in capsys.readouterr().err
    assert ask(model, stop=("END",), seed=4).text == "hello "
    assert len(server.requests) == 5
    assert server.requests[-1][2].keys() == {"model", "messages", "max_completion_tokens", "temperature", "top_p"}


def test_answers_are_in_order_and_no_more_than_the_limit_are_under_way(server: Server) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def reply(body: dict[str, Any]) -> Reply:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        number = int(body["messages"][0]["content"])
        time.sleep(0.02 * (number % 3))
        with lock:
            under_way -= 1
        return chat(f"answer {number}")

    server.reply = reply
    answers = server.model(concurrency=4).generate([str(number) for number in range(20)], Sampling())
    assert [answer.text for answer in answers] == [f"answer {number}" for number in range(20)]
    assert 2 <= most <= 4


def test_after_a_failure_what_is_under_way_is_still_handed_over(server: Server) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        if body["messages"][0]["content"] == "bad":
            time.sleep(0.1)
            return error(401)
        time.sleep(0.3)
        return chat("paid")

    server.reply = reply
    answers = server.model(concurrency=2).generate_each(["good", "bad", "never", "never"], Sampling())
    index, answer = next(answers)
    assert (index, answer.text) == (0, "paid")
    with pytest.raises(UserError, match="401"):
        next(answers)
    assert len(server.requests) == 2


def test_the_key_is_nowhere(server: Server) -> None:
    model = server.model()
    ask(model)
    assert KEY not in repr(model) + str(model) + model.name
    assert "sk-" not in repr(vars(model))


def test_without_a_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(server.model()).text == "hello"
    with pytest.raises(UserError, match="no key for the model openai:small") as caught:
        OpenAIModel("small")
    assert "OPENAI_API_KEY" in caught.value.hint
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert ask(OpenAIModel("small")).text == "hello"
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    ask(OpenAIModel("small"))
    assert server.requests[-1][1]["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("OPENAI_API_KEY", "schlüssel")
    with pytest.raises(UserError, match="no key has"):
        OpenAIModel("small")


def test_what_cannot_be_done_is_said(server: Server) -> None:
    with pytest.raises(UserError, match="not an http address"):
        OpenAIModel("small", "localhost:8000/v1")


def test_a_choice_is_read_from_a_few_tokens_at_temperature_0(server: Server) -> None:
    given = {"first": "B.", "second": "The answer is: A", "third": "It depends", "fourth": "no"}

    def reply(body: dict[str, Any]) -> Reply:
        return chat(given[body["messages"][0]["content"].split("\n")[0]])

    server.reply = reply
    prompts = [f"{name}\nThe answer is:" for name in given]
    letters, words = Options((" A", " B")), Options((" yes", " no"))
    options = [letters, letters, letters, words]
    chosen = dict(server.model(concurrency=4).choose_each(prompts, options, Sampling(500, temperature=1.0, seed=9)))
    assert chosen == {
        0: Choice(1, prompt_tokens=5),
        1: Choice(0, prompt_tokens=5),
        2: Choice(-1, prompt_tokens=5),
        3: Choice(1, prompt_tokens=5),
    }
    asked = {(body["max_tokens"], body["temperature"], body["top_p"], body["seed"]) for _, _, body in server.requests}
    assert asked == {(ours.CHOICE_TOKENS, 0.0, 1.0, 0)}
    assert len(server.requests) == 4


def test_a_choice_that_fails_is_an_error_and_never_a_choice(server: Server) -> None:
    server.reply = lambda body: error(401)
    with pytest.raises(UserError, match="HTTP 401"):
        list(server.model().choose_each(["p"], [Options((" A", " B"))], Sampling()))
    server.reply = lambda body: chat(None, "content_filter")
    assert list(server.model().choose_each(["p"], [Options((" A",))], Sampling())) == [(0, Choice(-1, prompt_tokens=5))]
    server.reply = lambda body: error(400, "too many", code="context_length_exceeded")
    cut = Sampling(too_long="cut")
    assert list(server.model().choose_each(["p"], [Options((" A",))], cut)) == [(0, Choice(-1, too_long=True))]


def test_another_address_is_another_model_and_keys_are_in_no_identity() -> None:
    def identity(address: str) -> str:
        return OpenAIModel("small", address).identity

    assert identity("https://api.openai.com/v1") == "openai:small"
    assert identity("http://here:8000/v1/") == identity("http://here:8000/v1") == "openai:small at here:8000/v1"
    assert identity("http://me:secret@here:8001/v1?api-key=secret") == "openai:small at here:8001/v1"
    assert identity("https://here/team/v1") == "openai:small at here/team/v1"
