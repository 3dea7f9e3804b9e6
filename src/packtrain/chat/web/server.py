"""The chat page over HTTP: the page, and four requests in JSON that it makes.

`about` says which models there are, `prompt` what the model would be given, `answer` streams an answer line by line,
`export` gives the conversation as training records. docs/serving.md describes the page.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from packtrain.chat.web.asked import Asked, Side, parse_asked
from packtrain.chat.web.page import PAGE_SECURITY_POLICY, page
from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.json_text import json_text
from packtrain.core.page_server import PageExchange, PageServer
from packtrain.core.progress import say
from packtrain.models.base import Sampling

DEFAULT_PORT = 8322
_LARGEST_REQUEST_BYTES = 8 * 1024 * 1024
_LAST_WORD_S = 5.0
"""How long the server waits at its end for answers to notice that they are no longer wanted."""


class _NobodyListens(Exception):
    """The page stopped the answer or was closed, or the server ends."""


class ChatServer(PageServer):
    """Serves one model, or two side by side; `sampling` and `system` are what the page begins with.

    UserError when the address cannot be used.
    """

    def __init__(
        self,
        sides: Sequence[Side],
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        system: str = "",
        sampling: Sampling | None = None,
    ) -> None:
        self.sides, self.system, self.sampling = tuple(sides), system, sampling or Sampling()
        self.busy = [threading.Lock() for _ in self.sides]
        """A model answers one request at a time."""
        self.ending = threading.Event()
        super().__init__(
            (host, port),
            _Exchange,
            token=secrets.token_urlsafe(12),
            page=page(),
            policy=PAGE_SECURITY_POLICY,
            largest_request_bytes=_LARGEST_REQUEST_BYTES,
        )

    def server_close(self) -> None:
        """Give the address back, and end the answers that are under way."""
        super().server_close()
        self.ending.set()
        for lock in self.busy:
            if lock.acquire(timeout=_LAST_WORD_S):
                lock.release()


class _Exchange(PageExchange):
    """One request and its answer."""

    server: ChatServer

    def answers(self) -> Mapping[str, Callable[[Mapping[str, Any]], None]]:
        """The four requests."""
        return {"about": self._about, "prompt": self._prompt, "answer": self._answer, "export": self._export}

    def _about(self, asked: Mapping[str, Any]) -> None:
        sampling = self.server.sampling
        models = [
            {
                "name": side.model.name.removeprefix("local:"),
                "template": side.template.name,
                "one_round": side.template.one_round,
                "max_context": side.model.max_context,
            }
            for side in self.server.sides
        ]
        drawn = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": min(sampling.max_new_tokens, *(side.model.max_context for side in self.server.sides)),
            "seed": sampling.seed,
        }
        self.send_json({"models": models, "system": self.server.system, "sampling": drawn})

    def _prompt(self, asked: Mapping[str, Any]) -> None:
        self.send_json(_given(parse_asked(asked, self.server.sides)))

    def _export(self, asked: Mapping[str, Any]) -> None:
        parsed = parse_asked(asked, self.server.sides)
        records = parsed.session().conversations()
        text = "".join(json_text(record.as_json()) + "\n" for record in records)
        not_learnt = sum(one.cut for one in parsed.rounds)
        self.send_json({"name": f"chat-{records[0].id}.jsonl", "text": text, "not_learnt": not_learnt})

    def _answer(self, asked: Mapping[str, Any]) -> None:
        parsed = parse_asked(asked, self.server.sides)
        given = _given(parsed)
        send = self.begin_lines()
        busy = self.server.busy[self.server.sides.index(parsed.side)]
        try:
            if not busy.acquire(blocking=False):
                send({"waiting": True})
                busy.acquire()
            try:
                self._stream(parsed, given, send)
            finally:
                busy.release()
        except (OSError, _NobodyListens):
            return

    def _stream(self, parsed: Asked, given: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]) -> None:
        def on_text(text: str) -> None:
            if self.server.ending.is_set():
                raise _NobodyListens
            send({"text": text})

        send(given)
        try:
            completion = parsed.side.model.stream(given["prompt"], parsed.sampling, on_text)
        except UserError as error:
            send({"error": error.message, "hint": error.hint})
        except (RuntimeError, MemoryError) as error:  # out of memory is the likeliest
            reason = " ".join(str(error).split())[:300]
            say(f"{parsed.side.model.name} failed: {type(error).__name__}: {reason}")
            send({"error": f"the model failed: {reason}", "hint": "shorten the conversation or the answer"})
        else:
            send(
                {
                    "finish": completion.finish_reason,
                    "answer": completion.text,
                    "answer_tokens": completion.completion_tokens,
                }
            )


def _given(asked: Asked) -> dict[str, Any]:
    """The exact text that the model is given, how many tokens it is, and what the tokenizer puts before it."""
    session = asked.session()
    text = session.prompt(Message("user", asked.message))
    tokenizer = asked.side.model.tokenizer
    return {
        "prompt": text,
        "tokens": len(tokenizer.ids(text)),
        "first_token": tokenizer.first_token,
        "forgotten": session.forgotten // 2,
    }
