"""A model behind an OpenAI-compatible HTTP endpoint, asked through the `openai` client.

The client sends; what is repeated, and when, is decided here, because an answer costs money: errors
that no repetition mends stop at once, passing ones are repeated after the time that the server asks
for. The key stays inside the client: it is in no name, message or representation.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.models.base import Choice, Completion, Options, Sampling
from packtrain.models.flow import NextRequest, Request, Unanswered
from packtrain.models.named_option import named_option
from packtrain.models.replies import (
    HINTS,
    Api,
    PassingTrouble,
    decoded,
    options_refused,
    passing_trouble,
    read_completion,
    says_too_long,
)

if TYPE_CHECKING:
    from openai import APIStatusError

MAX_ATTEMPTS = 8
LONGEST_BACKOFF_S = 30.0
LONGEST_WAIT_S = 300.0
"""A server that asks for a longer pause is not waited for."""
TOLD_FROM_S = 2.0
"""A wait that is shorter is not told."""

CHOICE_TOKENS = 8
"""Enough for an option, with a repetition of the prompt's last words before it."""
OPENAI_HOST = "api.openai.com"
_NO_KEY = "no-key-needed"
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")


class _Abandoned(Exception):
    """The caller wants no more answers."""


class OpenAIModel:
    """`name` at `base_url`, by default at OPENAI_BASE_URL or OpenAI itself, with the key in OPENAI_API_KEY.

    `api`: a prompt is sent as one user message (`chat`) or as text to be continued (`completion`).
    `concurrency`: at most so many requests are under way. `response_format` is sent as it is (a JSON
    schema, say), and left out once the endpoint refuses it. Raises UserError when OpenAI itself is
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
        response_format: Mapping[str, Any] | None = None,
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
        self.tokenizer = None
        self.max_context = None
        self.precision = None
        self._model = name
        self.api = api
        self._concurrency = concurrency
        self._first_backoff_s = first_backoff_s
        self._quiet_until = 0.0
        self._response_format = response_format
        self.client = OpenAI(api_key=key or _NO_KEY, base_url=base_url, timeout=timeout_s, max_retries=0)
        if self.client.base_url.scheme not in ("http", "https") or not self.client.base_url.host:
            raise UserError(
                "the endpoint's address is not an http address", "OPENAI_BASE_URL looks like http://localhost:8000/v1"
            )
        self._limit_name = "max_tokens"
        self._refused: set[str] = set()

    def __repr__(self) -> str:
        return f"OpenAIModel({self._model!r}, api={self.api!r})"

    @property
    def identity(self) -> str:
        """The name, and where it is not OpenAI itself the endpoint's address; neither key nor user."""
        url = self.client.base_url
        return self.name if url.host == OPENAI_HOST else self.clean(f"{self._where()}{url.path.rstrip('/')}")

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """One answer per prompt, in order; UserError when the endpoint refuses or stays unreachable."""
        answers = dict(self.generate_each(prompts, sampling))
        return [answers[index] for index in range(len(prompts))]

    def generate_each(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int] = ()
    ) -> Iterator[tuple[int, Completion]]:
        """Index of a prompt and its answer, in order of arrival.

        After a failure nothing new is asked; the answers that are under way are handed over first,
        since they are paid for, then the failure is raised.
        """
        waiting = deque(
            Request(index, prompt, replace(sampling, seed=seeds[index]) if seeds else sampling)
            for index, prompt in enumerate(prompts)
        )
        with closing(self.flow(lambda: waiting.popleft() if waiting else None)) as answers:
            for request, outcome in answers:
                if isinstance(outcome, Completion):
                    yield request.number, outcome
                else:
                    waiting.append(request.again())

    def flow(self, next_request: NextRequest) -> Generator[tuple[Request, Completion | Unanswered], None, None]:
        """Each request with what became of it, as it is ready; see models/flow.py."""
        arrived: SimpleQueue[tuple[Request, Completion | Unanswered, BaseException | None]] = SimpleQueue()
        abandoned = threading.Event()

        def work(request: Request) -> None:
            failure: BaseException | None = None
            outcome: Completion | Unanswered
            try:
                outcome = self._answer(request, abandoned)
            except PassingTrouble as trouble:
                outcome, failure = trouble.outcome, self._endless(trouble, request.attempt)
            except _Abandoned:
                outcome = Unanswered("not sent", False)
            except BaseException as error:
                outcome, failure = Unanswered(str(error), False), error
            if failure is not None:
                abandoned.set()
            arrived.put((request, outcome, failure))

        failure: BaseException | None = None
        under_way = 0
        try:
            while True:
                while failure is None and under_way < self._concurrency and (request := next_request()) is not None:
                    threading.Thread(target=work, args=(request,), daemon=True).start()
                    under_way += 1
                if not under_way:
                    break
                request, outcome, failed = arrived.get()
                under_way -= 1
                failure = failure or failed
                yield request, outcome
        finally:
            abandoned.set()
        if failure is not None:
            raise failure

    def choose_each(
        self, prompts: Sequence[str], options: Sequence[Options], sampling: Sampling
    ) -> Iterator[tuple[int, Choice]]:
        """Index of a prompt and the option that the answer begins with, -1 where it names none; no scores.

        Endpoints do not tell how likely a continuation is, so a few tokens are asked for at temperature 0. The code
        of 2023 forced one of the options with `logit_bias`, which most endpoints lack.
        """
        few = Sampling(CHOICE_TOKENS, too_long=sampling.too_long)
        for index, given in self.generate_each(prompts, few):
            chosen = named_option(given.text, options[index].texts, prompts[index])
            yield index, Choice(chosen, prompt_tokens=given.prompt_tokens, too_long=given.too_long)

    def _answer(self, request: Request, abandoned: threading.Event) -> Completion | Unanswered:
        """The answer, or that the attempt brought none and may be paid; refusals that may pass are repeated here."""
        if request.attempt > 1 and abandoned.wait(self._backoff_s(request.attempt - 1)):
            raise _Abandoned
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._attempt(request.prompt, request.sampling)
            except PassingTrouble as trouble:
                if trouble.outcome.may_be_paid:
                    if request.attempt >= MAX_ATTEMPTS:
                        raise
                    return trouble.outcome
                if attempt == MAX_ATTEMPTS or (trouble.wait_s or 0) > LONGEST_WAIT_S:
                    raise self._endless(trouble, attempt) from None
                wait_s = self._backoff_s(attempt) if trouble.wait_s is None else trouble.wait_s
                self._tell(trouble, attempt, wait_s)
            if abandoned.wait(wait_s):
                raise _Abandoned
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _tell(self, trouble: PassingTrouble, attempt: int, wait_s: float) -> None:
        """Say that a request is repeated; once for all requests that wait at the same time."""
        now = time.monotonic()
        if wait_s < TOLD_FROM_S or now < self._quiet_until:
            return
        self._quiet_until = now + wait_s
        say(f"{self._where()}: {trouble}; trying again in {wait_s:.0f} s (attempt {attempt + 1} of {MAX_ATTEMPTS})")

    def _backoff_s(self, attempt: int) -> float:
        return min(self._first_backoff_s * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S)

    def _endless(self, trouble: PassingTrouble, attempt: int) -> UserError:
        """Trouble that did not pass."""
        asked = f"; it asks for a pause of {trouble.wait_s:.0f} s" if trouble.wait_s else ""
        return UserError(
            f"{self._where()}: {trouble} (attempt {attempt} of {MAX_ATTEMPTS}{asked})",
            "check the endpoint, then go on later with --resume",
        )

    def _attempt(self, prompt: str, sampling: Sampling) -> Completion:
        import openai

        while True:
            sent = self.body(prompt, sampling)
            asked = self.client.chat.completions if self.api == "chat" else self.client.completions
            try:
                raw: Any = asked.with_raw_response.create(**sent)
                return self.read(decoded(raw.http_response), sampling)
            except openai.APIStatusError as error:
                if sampling.too_long == "cut" and says_too_long(error):
                    return Completion("", "length", too_long=True)
                if not self._adapt(error, sent):
                    raise self.refused(error) from None
            except openai.APIConnectionError as error:
                sent_at_all = type(error.__cause__).__name__ not in _NEVER_SENT
                raise PassingTrouble(Unanswered(str(error).rstrip(".").lower(), sent_at_all)) from None

    def body(self, prompt: str, sampling: Sampling) -> dict[str, Any]:
        """What a request says, without the parameters that the endpoint has refused."""
        parameters: dict[str, Any] = {
            "model": self._model,
            **({"messages": [{"role": "user", "content": prompt}]} if self.api == "chat" else {"prompt": prompt}),
            self._limit_name: sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if sampling.stop:
            parameters["stop"] = list(sampling.stop)
        if self._response_format is not None:
            parameters["response_format"] = self._response_format
        return {key: value for key, value in parameters.items() if key not in self._refused}

    def read(self, body: Any, sampling: Sampling) -> Completion:
        """The answer in a decoded response; PassingTrouble when it does not hold one."""
        try:
            return read_completion(body, self.api, sampling)
        except PassingTrouble as trouble:
            outcome = replace(trouble.outcome, reason=self.clean(trouble.outcome.reason))
            raise PassingTrouble(outcome) from None

    def _adapt(self, error: "APIStatusError", sent: dict[str, Any]) -> bool:
        """Whether a refused request can be put differently: another name for the limit, or one option fewer."""
        if error.status_code not in (400, 422):
            return False
        if "max_completion_tokens" in error.message and "max_tokens" in sent:
            self._limit_name = "max_completion_tokens"
            return True
        named = options_refused(error, sent)
        for name in named:
            if name not in self._refused:
                say(f"{self.name} does not take `{name}`; going on without it")
            self._refused.add(name)
        return bool(named)

    def refused(self, error: "APIStatusError") -> Exception:
        """What an HTTP error means: a UserError, or trouble that may pass."""
        body = error.body if isinstance(error.body, dict) else {}
        message = self.clean(str(body.get("message") or error.message))
        if error.code == "insufficient_quota":
            return UserError(f"{self._where()}: {message}", HINTS[402])
        hint = HINTS.get(error.status_code, "the prompt may be too long for the model, or a setting not allowed")
        refusal = UserError(f"{self._where()}: HTTP {error.status_code}, {message}", hint)
        return passing_trouble(error, message) or refusal

    def _where(self) -> str:
        url = self.client.base_url
        return f"{self.name} at {url.host}" + (f":{url.port}" if url.port else "")

    def clean(self, message: str) -> str:
        """`message` on one line, of bounded length, without the key or what looks like one."""
        message = " ".join(message.replace(self.client.api_key, "***").split())
        return re.sub(r"\bsk-[\w*-]{4,}", "sk-***", message)[:300]
