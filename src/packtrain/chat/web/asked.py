"""What the page asks for: one side's conversation so far, the new message, and how the answer is drawn.

The page holds the conversation and sends it whole with each request; the server remembers nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from packtrain.chat.session import ROLE_MARKERS, ChatSession
from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.models.base import Sampling
from packtrain.models.local import LocalModel
from packtrain.prompts.template import PromptTemplate


@dataclass(frozen=True)
class Side:
    """A model and the format in which it is talked to."""

    model: LocalModel
    template: PromptTemplate


@dataclass(frozen=True)
class Round:
    """A message and its answer."""

    message: str
    answer: str
    cut: bool = False
    """Whether the answer ended by the limit of new tokens."""


@dataclass(frozen=True)
class Asked:
    """One request about one side."""

    side: Side
    system: str
    rounds: tuple[Round, ...]
    message: str
    sampling: Sampling

    def session(self) -> ChatSession:
        """The conversation so far as the terminal would hold it."""
        history = [
            said
            for one in self.rounds
            for said in (Message("user", one.message), Message("assistant", one.answer, learnt=not one.cut))
        ]
        return ChatSession(self.side.model, self.side.template, self.system, self.sampling, history)


def parse_asked(asked: Mapping[str, Any], sides: tuple[Side, ...]) -> Asked:
    """The request in a decoded JSON object; UserError when it is none of this page's, or a setting is out of bounds."""
    number = asked.get("side")
    if type(number) is not int or not 0 <= number < len(sides):
        raise UserError("`side` names no model of this page", "reload the page")
    side = sides[number]
    rounds = asked.get("rounds")
    if not isinstance(rounds, list):
        raise UserError("`rounds` is missing or of another kind", "reload the page")
    return Asked(
        side,
        _text(asked, "system"),
        tuple(_round(one) for one in rounds),
        _text(asked, "message"),
        _sampling(asked.get("sampling"), side.model.max_context),
    )


def _round(value: object) -> Round:
    if not isinstance(value, dict) or type(value.get("cut")) is not bool:
        raise UserError("a round of the conversation is of another kind", "reload the page")
    return Round(_text(value, "message"), _text(value, "answer"), value["cut"])


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise UserError(f"`{name}` is missing or of another kind", "reload the page")
    return text.encode("utf-8", "replace").decode("utf-8")


def _sampling(value: object, max_context: int) -> Sampling:
    if not isinstance(value, dict):
        raise UserError("`sampling` is missing or of another kind", "reload the page")
    new_tokens, seed = value.get("max_new_tokens"), value.get("seed")
    if type(new_tokens) is not int or not 1 <= new_tokens <= max_context:
        raise UserError("the longest answer is out of bounds", f"give a whole number from 1 to {max_context:,}")
    if type(seed) is not int or not 0 <= seed < 2**53:
        raise UserError("the seed is out of bounds", "give a whole number from 0 on")
    temperature, top_p = _number(value, "temperature"), _number(value, "top_p")
    if not 0 <= temperature <= 100:
        raise UserError("the temperature is out of bounds", "give a number from 0 (greedy) to 100")
    if not 0 < top_p <= 1:
        raise UserError("top p is out of bounds", "give a number above 0, up to 1")
    return Sampling(new_tokens, temperature, top_p, ROLE_MARKERS, seed)


def _number(value: Mapping[str, Any], name: str) -> float:
    number = value.get(name)
    if not isinstance(number, int | float) or isinstance(number, bool) or not isfinite(number):
        raise UserError(f"`{name}` must be a number", "correct the setting")
    return float(number)
