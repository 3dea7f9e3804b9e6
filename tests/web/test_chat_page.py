"""The chat page in Chromium: streaming, stopping, both models, the prompt to the byte, export, text as text."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from packtrain.chat.web.asked import Side
from packtrain.chat.web.server import ChatServer
from packtrain.core.conversation import Conversation, Message, read_conversations
from packtrain.models.base import Completion, Sampling
from packtrain.models.local import LocalModel
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import load_tokenizer

pytestmark = pytest.mark.web

HOSTILE = (
    "<script>window.broken = 1</script><img src=x onerror='window.broken = 1'><b>bold</b> &amp;\n"
    "**strong** [link](javascript:window.broken=1)</s><|assistant|>\n\t end"
)
ANSWERS = {"Hi": "Hello.", "hostile": HOSTILE, "nothing": "", "long": "line\n" * 400 + "W" * 3000}


class KnowingModel:
    """Answers what it is asked by heart, a piece at a time; `endless` until nobody listens; notes what it was given."""

    max_context = 512

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.tokenizer = f"local:{name}", load_tokenizer(folder)
        self.given: list[tuple[str, Sampling]] = []
        self.stopped = threading.Event()

    def stream(self, prompt: str, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        self.given.append((prompt, sampling))
        question = prompt.rpartition("<|user|>\n")[2].partition("\n<|assistant|>")[0]
        try:
            while question == "endless":
                on_text("on and on ")
                time.sleep(0.01)
        except BaseException:
            self.stopped.set()
            raise
        answer = ANSWERS.get(question, f"{self.name.removeprefix('local:')} heard {question}, seed {sampling.seed}.")
        for start in range(0, len(answer), 50):
            on_text(answer[start : start + 50])
        return Completion(answer, "length" if question == "cut" else "stop", 10, len(answer.split()))


@dataclass
class Chatting:
    """A server with its models, and the pages that were opened on it."""

    browser: Browser
    server: ChatServer
    models: list[Any]
    wrong: list[str] = field(default_factory=list)
    """Errors that the browser reported, and requests to anywhere else."""

    def open(self, **options: Any) -> Page:
        """A page in a browser profile of its own, ready to be written in."""
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._check(request.url))
        page.goto(self.server.link)
        expect(page.locator("#draft")).to_be_focused()
        return page

    def _check(self, url: str) -> None:
        if not url.startswith((self.server.link, "data:", f"blob:{self.server.link.partition('/')[0]}")):
            self.wrong.append(url)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def chatting(browser: Browser, tiny_base: Path) -> Iterator[Callable[..., Chatting]]:
    """Serves models; in the end no page may have reported an error that the test did not expect."""
    started: list[Chatting] = []

    def start(*names: str, template: str = "tulu", model: Any = None, **options: Any) -> Chatting:
        models = [model] if model else [KnowingModel(name, tiny_base) for name in names or ("tuned",)]
        server = ChatServer([Side(each, load_template(template)) for each in models], port=0, **options)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        started.append(Chatting(browser, server, models))
        return started[-1]

    yield start
    for context in browser.contexts:
        context.close()
    for each in started:
        each.stop()
    assert [each.wrong for each in started] == [[] for _ in started]


def say(page: Page, text: str) -> None:
    """Write a message, send it, and wait for the end of the answers."""
    page.locator("#draft").fill(text)
    page.keyboard.press("Enter")
    finished(page)


def finished(page: Page) -> None:
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator(".answer.streaming")).to_have_count(0)


def answers(page: Page) -> list[str]:
    return page.locator(".answer .text").all_text_contents()


def prompt(page: Page, number: int = 0) -> Locator:
    return page.locator(".prompt pre").nth(number)


def exact(page: Page, number: int, text: str) -> None:
    """The prompt that is shown is `text`, to the byte."""
    page.wait_for_function(
        "([number, text]) => document.querySelectorAll('.prompt pre')[number].textContent === text", arg=[number, text]
    )


def test_a_real_model_answers_as_in_the_terminal(
    chatting: Callable[..., Chatting], tiny_base: Path, packtrain: Any, tmp_path: Path
) -> None:
    run = chatting(model=LocalModel(tiny_base), system="Be kind.", sampling=Sampling(12))
    page = run.open()
    expect(page.locator("#system")).to_have_value("Be kind.")
    assert page.locator("#page").evaluate("page => document.title") == "Chat: tiny-llama"
    say(page, "Name a colour.")
    say(page, "And another?")
    terminal = packtrain(
        *["chat", tiny_base, "--template", "tulu", "--max-new-tokens", 12, "--system", "Be kind."],
        stdin="Name a colour.\nAnd another?\n/prompt\n",
        cwd=tmp_path,
    )
    assert "".join(f"{answer}\n" for answer in answers(page)) == terminal.stdout
    shown = page.evaluate("models[0].shown.text")
    assert shown.endswith("<|user|>\nAnd another?\n<|assistant|>\n")
    assert shown in terminal.stderr
    assert (
        page.locator(".prompt .muted").text_content()
        == f"{len(load_tokenizer(tiny_base).ids(shown))} tokens, <s> first"
    )


def test_two_models_side_by_side_each_with_its_own_history(chatting: Callable[..., Chatting]) -> None:
    run = chatting("tuned", "base")
    page = run.open(viewport={"width": 1300, "height": 800})
    say(page, "one")
    say(page, "two")
    expected = [f"{name} heard {asked}, seed 0." for asked in ("one", "two") for name in ("tuned", "base")]
    assert answers(page) == expected
    for number, (model, name) in enumerate(zip(run.models, ("tuned", "base"), strict=True)):
        history = f"<|user|>\none\n<|assistant|>\n{name} heard one, seed 0.</s>\n<|user|>\ntwo\n<|assistant|>\n"
        assert [given for given, _ in model.given] == ["<|user|>\none\n<|assistant|>\n", history]
        exact(page, number, history)
    boxes = [page.locator(".answer").nth(number).bounding_box() for number in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    page.set_viewport_size({"width": 380, "height": 700})
    boxes = [page.locator(".answer").nth(number).bounding_box() for number in (0, 1)]
    assert boxes[0]["x"] == boxes[1]["x"]
    expect(page.locator(".answer h2").first).to_be_visible()


def test_the_prompt_is_shown_as_one_types(chatting: Callable[..., Chatting]) -> None:
    page = chatting(template="alpaca").open()
    head = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    )
    exact(page, 0, f"{head}### Instruction:\n\n\n### Response:")
    page.locator("#draft").press_sequentially("a  b")
    exact(page, 0, f"{head}### Instruction:\na  b\n\n### Response:")
    page.locator("#draft").fill("tab\there\u202eand\u200b\u00a0<b>")
    expect(prompt(page).locator(".code")).to_have_count(3)
    assert prompt(page).text_content() == (
        f"{head}### Instruction:\ntab\thereU+202EandU+200BU+00A0<b>\n\n### Response:"
    )
    marks = prompt(page).locator(".mark").evaluate_all("marks => marks.map(mark => [mark.className, mark.textContent])")
    assert marks[-8:] == [
        ["mark newline", "\n"],
        ["mark tab", "\t"],
        *(["mark code", code] for code in ("U+202E", "U+200B", "U+00A0")),
        *(["mark newline", "\n"],) * 2,
        ["mark space", " "],
    ]


def test_what_is_said_is_shown_as_text_and_runs_nowhere(chatting: Callable[..., Chatting]) -> None:
    run = chatting("<img src=x onerror=window.broken=1>")
    page = run.open()
    say(page, "hostile")
    say(page, HOSTILE)
    assert answers(page)[0] == HOSTILE
    assert page.locator(".said").all_text_contents() == ["hostile", HOSTILE.strip()]
    exact(page, 0, run.models[0].given[-1][0])
    assert page.locator("#page :is(script, img, b, strong, a)").count() == 0
    assert page.evaluate("window.broken") is None
    refused = page.evaluate("() => { try { document.body.innerHTML = '<p>x'; return false } catch { return true } }")
    assert refused, "the policy forbids making markup of text at all"
    assert run.wrong == ["This document requires 'TrustedHTML' assignment. The action has been blocked."]
    run.wrong.clear()


def test_an_answer_is_stopped_and_does_not_join_the_conversation(chatting: Callable[..., Chatting]) -> None:
    run = chatting("tuned", "base")
    page = run.open()
    say(page, "one")
    page.locator("#draft").fill("endless")
    page.get_by_role("button", name="Send").click()
    for answer in page.locator(".answer").all()[2:]:
        expect(answer).to_contain_text("on and on on and on")
    page.get_by_role("button", name="Stop").click()
    finished(page)
    for model in run.models:
        assert model.stopped.wait(15)
    expect(page.locator(".answer.stopped .foot .muted")).to_have_text(["stopped; not part of the conversation"] * 2)
    expect(page.locator("#draft")).to_have_value("endless")
    say(page, "two")
    assert run.models[0].given[-1][0] == (
        "<|user|>\none\n<|assistant|>\ntuned heard one, seed 0.</s>\n<|user|>\ntwo\n<|assistant|>\n"
    )


def test_settings_reach_the_model(chatting: Callable[..., Chatting]) -> None:
    run = chatting()
    page = run.open()
    expect(page.locator("#drawn")).to_have_text("Temperature 0: always the likeliest token; the seed does nothing.")
    for name, value in {"temperature": "0.7", "top_p": "0.9", "max_new_tokens": "20", "seed": "5"}.items():
        page.locator(f"#{name}").fill(value)
    page.locator("#system").fill("Be brief.")
    say(page, "one")
    given, sampling = run.models[0].given[-1]
    assert given == "<|system|>\nBe brief.\n<|user|>\none\n<|assistant|>\n"
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens, sampling.seed) == (0.7, 0.9, 20, 5)
    page.get_by_role("button", name="Again").click()
    finished(page)
    assert answers(page) == ["tuned heard one, seed 6."]
    page.locator("#top_p").fill("0")
    say(page, "two")
    expect(page.locator(".answer.error .foot .muted")).to_have_text(
        "top p is out of bounds: give a number above 0, up to 1"
    )
    assert len(run.models[0].given) == 2
    run.wrong.clear()  # the browser reports the status of the refusal


def test_the_conversation_is_exported_and_copied_as_training_data(
    chatting: Callable[..., Chatting], tmp_path: Path
) -> None:
    run = chatting("tuned", "base", system="Be kind.")
    page = run.open(permissions=["clipboard-read", "clipboard-write"])
    say(page, "Hi")
    say(page, "cut")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export the conversation with base as training data").click()
    download.value.save_as(tmp_path / "chat.jsonl")
    [record] = read_conversations(tmp_path / "chat.jsonl")
    assert download.value.suggested_filename == f"chat-{record.id}.jsonl"
    assert record.messages == (
        Message("system", "Be kind."),
        Message("user", "Hi"),
        Message("assistant", "Hello."),
        Message("user", "cut"),
        Message("assistant", "base heard cut, seed 0.", learnt=False),
    )
    assert record == Conversation("chat", record.id, record.messages, {"model": "local:base", "template": "tulu"})
    expect(page.locator("#message")).to_have_text(
        f"Exported as chat-{record.id}.jsonl. 1 answer that was cut will not be learnt."
    )
    page.get_by_role("button", name="Copy the conversation with base as training data").click()
    expect(page.locator("#message")).to_contain_text("Conversation copied.")
    assert page.evaluate("navigator.clipboard.readText()") == (tmp_path / "chat.jsonl").read_text(encoding="utf-8")
    page.get_by_role("button", name="Copy this answer of tuned").first.click()
    expect(page.locator("#message")).to_have_text("Answer copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "Hello."
    page.get_by_role("button", name="Copy what tuned sees").click()
    expect(page.locator("#message")).to_have_text("Prompt copied.")
    assert page.evaluate("navigator.clipboard.readText()") == run.models[0].given[-1][0]
    page.get_by_role("button", name="New conversation").click()
    assert answers(page) == []
    page.get_by_role("button", name="Export the conversation with base as training data").click()
    expect(page.locator("#message")).to_have_text("there is nothing to keep yet: ask something first")
    run.wrong.clear()


def test_a_round_is_taken_back_and_a_reload_keeps_the_rest(chatting: Callable[..., Chatting]) -> None:
    run = chatting()
    page = run.open()
    for message in ("one", "two", "nothing"):
        say(page, message)
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("#draft")).to_have_value("nothing")
    assert len(answers(page)) == 2
    page.reload()
    expect(page.locator("#draft")).to_have_value("nothing")
    assert answers(page) == ["tuned heard one, seed 0.", "tuned heard two, seed 0."]
    page.locator("#draft").fill("three\nlines")
    page.locator("#draft").press("End")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("more")
    page.keyboard.press("Enter")
    finished(page)
    assert run.models[0].given[-1][0].endswith("seed 0.</s>\n<|user|>\nthree\nlines\nmore\n<|assistant|>\n")


def test_long_texts_stay_in_their_place(chatting: Callable[..., Chatting]) -> None:
    run = chatting("tuned", "base")
    for width, height in ((1280, 800), (360, 640)):
        page = run.open(viewport={"width": width, "height": height})
        say(page, "long")
        assert answers(page) == [ANSWERS["long"]] * 2
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing reaches beyond the side"
        expect(page.locator("#send")).to_be_in_viewport()
        foot = page.locator(".answer .foot").last
        expect(foot).to_be_in_viewport()


def test_when_the_server_is_gone_what_was_said_stays(chatting: Callable[..., Chatting]) -> None:
    run = chatting()
    page = run.open()
    say(page, "one")
    run.stop()
    say(page, "two")
    assert answers(page) == ["tuned heard one, seed 0.", ""]
    note = "The server does not answer. What was said is kept on this page."
    expect(page.locator(".answer.error .foot .muted")).to_have_text(note)
    expect(page.locator("#draft")).to_have_value("two")
    run.wrong.clear()
