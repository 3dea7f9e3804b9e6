"""A model behind an OpenAI-compatible HTTP endpoint, asked through the `openai` client.

The client sends; what is repeated, and when, is decided here, because an answer costs money: errors
that no repetition mends stop at once, passing ones are repeated after the time that the server asks
for. The key stays inside the client: it is in no name, message or representation.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.models.base import Completion, Sampling, cut_at_stop

if TYPE_CHECKING:
    from openai import APIStatusError

Api = Literal["chat", "completion"]

MAX_ATTEMPTS = 8
LONGEST_BACKOFF_S = 30.0
LONGEST_WAIT_S = 300.0
"""A server that asks for a longer pause is not waited for."""

_NO_KEY = "no-key-needed"
_OPTIONAL = ("seed", "stop")
"""Parameters that some endpoints refuse and that answers can do without: stop texts are cut here too."""
_HINTS = {
    401: "set OPENAI_API_KEY to a valid key for this endpoint",
    402: "the account has no credit left; add some, then go on with --resume",
    403: "the key may not use this model here; choose another model or key",
    404: "check the model's name, and OPENAI_BASE_URL (it usually ends in /v1)",
}


class _Abandoned(Exception):
    """The caller wants no more answers."""


class _PassingTrouble(Exception):
    """Worth another attempt; `wait_s` is the pause that the server asks for, None when it says nothing."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class OpenAIModel:
    """`name` at `base_url`, by default at OPENAI_BASE_URL or OpenAI itself, with the key in OPENAI_API_KEY.

    `api`: a prompt is sent as one user message (`chat`) or as text to be continued (`completion`).
    `concurrency`: at most so many requests are under way. Raises UserError when OpenAI itself is
    meant and there is no key; other endpoints may do without.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        api: Api = "chat",
        concurrency: int = 8,
        *,
        timeout_s: float = 600.0,
        first_backoff_s: float = 0.5,
    ) -> None:
        from openai import OpenAI

        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key.isascii():
            raise UserError("OPENAI_API_KEY holds characters that no key has", "copy the key again")
        if not key and not base_url and not os.environ.get("OPENAI_BASE_URL"):
            raise UserError(
                f"no key for the model openai:{name}", "set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint"
            )
        self.name = f"openai:{name}"
        self._model = name
        self._api = api
        self._concurrency = concurrency
        self._first_backoff_s = first_backoff_s
        self._client = OpenAI(api_key=key or _NO_KEY, base_url=base_url, timeout=timeout_s, max_retries=0)
        if self._client.base_url.scheme not in ("http", "https") or not self._client.base_url.host:
            raise UserError(
                "the endpoint's address is not an http address", "OPENAI_BASE_URL looks like http://localhost:8000/v1"
            )
        self._limit_name = "max_tokens"
        self._refused: set[str] = set()

    def __repr__(self) -> str:
        return f"OpenAIModel({self._model!r}, api={self._api!r})"

    @property
    def identity(self) -> str:
        """The name: nothing else is known of what answers."""
        return self.name

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order; UserError when the endpoint refuses or stays unreachable."""
        answers = dict(self.generate_each(prompts, sampling))
        return [answers[index] for index in range(len(prompts))]

    def generate_each(self, prompts: Sequence[str], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        """Index of a prompt and its answer, in order of arrival.

        After a failure nothing new is asked; the answers that are under way are handed over first,
        since they are paid for, then the failure is raised.
        """
        waiting: SimpleQueue[int] = SimpleQueue()
        arrived: SimpleQueue[tuple[int, Completion] | BaseException | None] = SimpleQueue()
        abandoned = threading.Event()

        def work() -> None:
            try:
                while not abandoned.is_set():
                    index = waiting.get_nowait()
                    arrived.put((index, self._answer(prompts[index], sampling, abandoned)))
            except (Empty, _Abandoned):
                pass
            except BaseException as error:
                abandoned.set()
                arrived.put(error)
            finally:
                arrived.put(None)

        for index in range(len(prompts)):
            waiting.put(index)
        at_work = min(self._concurrency, len(prompts))
        for _ in range(at_work):
            threading.Thread(target=work, daemon=True).start()
        failure: BaseException | None = None
        try:
            while at_work:
                item = arrived.get()
                if item is None:
                    at_work -= 1
                elif isinstance(item, BaseException):
                    failure = failure or item
                else:
                    yield item
        finally:
            abandoned.set()
        if failure is not None:
            raise failure

    def choose(self, prompts: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        """Never an answer: UserError, because endpoints do not tell how likely a given continuation is."""
        raise UserError(
            f"{self.name} cannot rank choices: the endpoint does not score a given continuation",
            "use a local model (local:DIR) for multiple-choice columns",
        )

    def _answer(self, prompt: str, sampling: Sampling, abandoned: threading.Event) -> Completion:
        backoff_s = self._first_backoff_s
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._attempt(prompt, sampling)
            except _PassingTrouble as trouble:
                if attempt == MAX_ATTEMPTS or (trouble.wait_s or 0) > LONGEST_WAIT_S:
                    asked = f"; it asks for a pause of {trouble.wait_s:.0f} s" if trouble.wait_s else ""
                    raise UserError(
                        f"{self._where()}: {trouble} (attempt {attempt} of {MAX_ATTEMPTS}{asked})",
                        "check the endpoint, then go on later with --resume",
                    ) from None
                wait_s = backoff_s if trouble.wait_s is None else trouble.wait_s
            if abandoned.wait(wait_s):
                raise _Abandoned
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(self, prompt: str, sampling: Sampling) -> Completion:
        import openai

        while True:
            sent = self._parameters(sampling)
            try:
                if self._api == "chat":
                    messages: Any = [{"role": "user", "content": prompt}]
                    raw: Any = self._client.chat.completions.with_raw_response.create(messages=messages, **sent)
                else:
                    raw = self._client.completions.with_raw_response.create(prompt=prompt, **sent)
                return self._read(_json(raw.http_response), sampling)
            except openai.APIStatusError as error:
                if not self._adapt(error, sent):
                    raise self._judge(error) from None
            except openai.APIConnectionError as error:
                raise _PassingTrouble(str(error).rstrip(".").lower()) from None

    def _parameters(self, sampling: Sampling) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "model": self._model,
            self._limit_name: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if sampling.stop:
            parameters["stop"] = list(sampling.stop)
        return {key: value for key, value in parameters.items() if key not in self._refused}

    def _read(self, body: Any, sampling: Sampling) -> Completion:
        """The answer in a decoded response; _PassingTrouble when it does not hold one."""
        try:
            choice, usage = body["choices"][0], body.get("usage") or {}
            text = choice["message"]["content"] if self._api == "chat" else choice["text"]
            # Half of a surrogate pair can be named in JSON and cannot be written to a file.
            text = (text or "").encode("utf-8", "replace").decode("utf-8")
            prompt_tokens, completion_tokens = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
            cut_short = choice.get("finish_reason") in ("length", "max_tokens", "content_filter")
        except (KeyError, IndexError, TypeError, AttributeError):
            problem = body.get("error") if isinstance(body, dict) else None
            said = f" ({self._clean(str(problem))})" if problem else ""
            raise _PassingTrouble(f"the answer holds no text{said}") from None
        text, stopped = cut_at_stop(text, sampling.stop)
        reason: Literal["stop", "length"] = "length" if cut_short and not stopped else "stop"
        return Completion(text, reason, prompt_tokens, completion_tokens)

    def _adapt(self, error: "APIStatusError", sent: dict[str, Any]) -> bool:
        """Whether a refused request can be put differently: another name for the limit, or one option fewer."""
        if error.status_code not in (400, 422):
            return False
        if "max_completion_tokens" in error.message and "max_tokens" in sent:
            self._limit_name = "max_completion_tokens"
            return True
        named = [name for name in _OPTIONAL if name in sent and _names(error, name)]
        for name in named:
            if name not in self._refused:
                say(f"{self.name} does not take `{name}`; going on without it")
            self._refused.add(name)
        return bool(named)

    def _judge(self, error: "APIStatusError") -> Exception:
        """What an HTTP error means: a UserError, or trouble that may pass."""
        status = error.status_code
        body = error.body if isinstance(error.body, dict) else {}
        message = self._clean(str(body.get("message") or error.message))
        if status in (408, 409, 429) or status >= 500:
            if error.code == "insufficient_quota":
                return UserError(f"{self._where()}: {message}", _HINTS[402])
            return _PassingTrouble(f"HTTP {status}, {message}", _retry_after_s(error.response.headers))
        hint = _HINTS.get(status, "the prompt may be too long for the model, or a setting not allowed")
        return UserError(f"{self._where()}: HTTP {status}, {message}", hint)

    def _where(self) -> str:
        url = self._client.base_url
        return f"{self.name} at {url.host}" + (f":{url.port}" if url.port else "")

    def _clean(self, message: str) -> str:
        """`message` on one line, of bounded length, without the key or what looks like one."""
        message = " ".join(message.replace(self._client.api_key, "***").split())
        return re.sub(r"\bsk-[\w*-]{4,}", "sk-***", message)[:300]


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        raise _PassingTrouble("the answer is not valid JSON") from None


def _names(error: "APIStatusError", parameter: str) -> bool:
    return error.param == parameter or f"'{parameter}'" in error.message or f'"{parameter}"' in error.message


def _retry_after_s(headers: Any) -> float | None:
    """Seconds that a response asks to wait: a number or a date in Retry-After; None when it does not say."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
