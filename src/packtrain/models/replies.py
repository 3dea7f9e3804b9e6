"""What an OpenAI-compatible endpoint sent back: an answer, trouble that may pass, or a pause that it asks for."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from packtrain.core.json_text import as_unicode
from packtrain.models.base import Completion, Sampling, cut_at_stop
from packtrain.models.flow import Unanswered

if TYPE_CHECKING:
    from openai import APIStatusError

Api = Literal["chat", "completion"]
_OPTIONAL = ("seed", "stop", "response_format")
"""Parameters that some endpoints refuse and that answers can do without: stop texts are cut here too."""
HINTS = {
    401: "set OPENAI_API_KEY to a valid key for this endpoint",
    402: "the account has no credit left; add some, then go on with --resume",
    403: "the key may not use this model here; choose another model or key",
    404: "check the model's name, and OPENAI_BASE_URL (it usually ends in /v1)",
}
"""What to do about a refusal of that HTTP status."""
_GATEWAY_TIMEOUTS = (504, 524)
"""What stands before the endpoint did not wait for it: the answer may have been made and billed."""
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size_error|maximum context length|maximum model length"
    r"|(longer than|exceeds) the (model's|available) context|prompt is too long"
    r"|`inputs` (tokens \+ `max_new_tokens` must be <=|must have less than \d+ tokens)",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, SGLang, llama.cpp, Anthropic and TGI say that a prompt leaves no room for the answer."""


class PassingTrouble(Exception):
    """Worth another attempt; `wait_s` is the pause that the server asks for, None when it says nothing."""

    def __init__(self, outcome: Unanswered, wait_s: float | None = None) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.wait_s = wait_s


def decoded(response: Any) -> Any:
    """The JSON value of a response; PassingTrouble when it is none."""
    try:
        return response.json()
    except ValueError:
        raise PassingTrouble(Unanswered("the answer is not valid JSON", True)) from None


def read_completion(body: Any, api: Api, sampling: Sampling) -> Completion:
    """The answer in a decoded response; PassingTrouble when it does not hold one."""
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        text = choice["message"]["content"] if api == "chat" else choice["text"]
        text = as_unicode(text or "")
        prompt_tokens, completion_tokens = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        cut_short = choice.get("finish_reason") in ("length", "max_tokens", "content_filter")
    except (KeyError, IndexError, TypeError, AttributeError):
        problem = body.get("error") if isinstance(body, dict) else None
        said = f" ({problem})" if problem else ""
        outcome = Unanswered(f"the answer holds no text{said}", not problem, *(_usage(body) or (None, None)))
        raise PassingTrouble(outcome) from None
    text, stopped = cut_at_stop(text, sampling.stop)
    reason: Literal["stop", "length"] = "length" if cut_short and not stopped else "stop"
    return Completion(text, reason, prompt_tokens, completion_tokens)


def _usage(body: Any) -> tuple[int, int] | None:
    """Tokens billed according to a response that holds no answer."""
    usage = body.get("usage") if isinstance(body, dict) else None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens")) if isinstance(usage, dict) else ()
    whole = [count for count in counts if isinstance(count, int)]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def passing_trouble(error: "APIStatusError", message: str) -> PassingTrouble | None:
    """The trouble that an HTTP error means where it may pass; None where no repetition mends it."""
    status = error.status_code
    if status not in (408, 409, 429) and status < 500:
        return None
    outcome = Unanswered(f"HTTP {status}, {message}", status in _GATEWAY_TIMEOUTS)
    return PassingTrouble(outcome, retry_after_s(error.response.headers))


def options_refused(error: "APIStatusError", sent: Mapping[str, Any]) -> list[str]:
    """The parameters that a refusal is about, of those that answers can do without."""
    return [name for name in _OPTIONAL if name in sent and _names_parameter(error, name)]


def _names_parameter(error: "APIStatusError", parameter: str) -> bool:
    quoted = f"'{parameter}'" in error.message or f'"{parameter}"' in error.message
    return error.param == parameter or quoted or (parameter == "response_format" and parameter in error.message)


def says_too_long(error: "APIStatusError") -> bool:
    """Whether a refusal says that prompt and answer do not fit into the model's context."""
    said = f"{error.code} {error.type} {error.message}"
    return error.status_code in (400, 413, 422) and _TOO_LONG.search(said) is not None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
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
