"""A model's own chat template: what it shows, and which of it is learnt, although it marks nothing.

Most chat templates carry no generation marks. What the model itself has to say is then found by rendering: the text of
the messages before an answer, with the request for one (`add_generation_prompt`), is what the model is given; where the
text of the whole conversation goes on from there, the answer begins. It ends with the token by which the template ends
answers (`<|im_end|>`, `<|eot_id|>`, `<end_of_turn>`, `</s>`), which a trial conversation tells. The line feed behind
that token is not learnt. Nothing is guessed: an answer that is not found exactly is shown and not learnt, and a
conversation without any other is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.prompts.template import PromptTemplate, Rendered
from packtrain.prompts.tokenizer import Tokenizer

DAY = date(2024, 7, 26)
"""Today, for templates that name the day: the one that Llama 3's take when they are told none. Training and evaluation
must not depend on when they run."""
OTHER = "train with template=tulu, or with a Jinja file that marks the answers by {% generation %}: template=FILE.jinja"
HIDDEN = "the question is shown otherwise once it is answered"
NOT_FOUND = "an answer is not shown whole"
_RULE = "answers by rendering, 1"
"""Part of the name under which tokens are cached: to be changed when the same template would teach something else."""
_NOW = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<form>.*?)(?P=quote)\s*\)""")
_BLANKS = re.compile(r"\s*")
_TRIAL = (Message("user", "Which colour has the sky?"), Message("assistant", "It is blue today."))
_THOUGHT = Message("assistant", "<think>\nThe sky was asked for.\n</think>\n\nIt is blue today.")


@dataclass(frozen=True)
class OwnTemplate(PromptTemplate):
    """A chat template without marks, with what its tokenizer tells it; made by `own_template`."""

    special_tokens: tuple[tuple[str, str], ...] = ()
    """Variables of the template: `bos_token` and the like, by name."""
    first_token: str | None = None
    """What the tokenizer puts before every text: taken off the template's text, which may begin with it, too."""
    writes_first_token: bool = False
    """Whether the template's text begins with it."""
    answer_end: str = ""
    """The token, or the tokens in a row, by which the template ends an answer."""
    trailer: str = ""
    """What the template writes behind that token when the answer is the last message."""
    problem: str = ""
    """Why nothing can be learnt with this template; "" when something can."""

    @property
    def fingerprint(self) -> str:
        """The source, the day and the rule by which answers are found."""
        return "\0".join((self.source, *map(str, self.special_tokens), DAY.isoformat(), _RULE))

    def render(
        self, messages: Sequence[Message], eos_token: str, *, for_answer: bool = False, answer_prefix: str = ""
    ) -> Rendered:
        """Text of `messages` without the tokenizer's own first token, and the spans of what is learnt of them.

        With `for_answer` there are no spans. A `context` stands behind its instruction, a blank line between. Raises
        UserError when the template cannot show these messages, and when none of the answers is found in its text.
        """
        text = self.text(messages, eos_token, for_answer=for_answer)
        if for_answer:
            return Rendered(text + answer_prefix, ())
        if self.problem:
            raise UserError(self.problem, OTHER)
        return Rendered(text + answer_prefix, tuple(self._spans(messages, text, eos_token)))

    def text(self, messages: Sequence[Message], eos_token: str, *, for_answer: bool = False) -> str:
        """What the template makes of `messages`, the tokenizer's own first token left out."""
        whole = self.written(messages, eos_token, for_answer=for_answer)
        return whole if self.first_token is None else whole.removeprefix(self.first_token)

    def written(self, messages: Sequence[Message], eos_token: str, *, for_answer: bool = False) -> str:
        """What the template makes of `messages`; UserError when it cannot show them."""
        from transformers.utils.chat_template_utils import render_jinja_template

        plain = [{"role": message.role, "content": _content(message)} for message in messages]
        variables: dict[str, Any] = {**dict(self.special_tokens), "eos_token": eos_token}
        try:
            texts, _ = render_jinja_template(
                [plain], chat_template=self._dated_source, add_generation_prompt=for_answer, **variables
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"template {self.name}: {error}", "use a template that can show this conversation"
            ) from error
        text: str = texts[0]
        return text

    @cached_property
    def _dated_source(self) -> str:
        """The source with the day written in where it asks for today."""
        return _NOW.sub(lambda call: repr(DAY.strftime(call["form"])), self.source)

    def _spans(self, messages: Sequence[Message], text: str, eos_token: str) -> list[tuple[int, int]]:
        """Where in `text` the answers to be learnt stand, each with its end; those that are not found are left out."""
        wanted = [place for place, message in enumerate(messages) if message.role == "assistant" and message.learnt]
        spans, reason = [], ""
        for place in wanted:
            asked = self.text(messages[:place], eos_token, for_answer=True)
            if not text.startswith(asked):
                reason = HIDDEN
                continue
            end = self._end_of_answer(messages, place, text, len(asked), eos_token)
            if end is None:
                reason = reason or NOT_FOUND
            else:
                spans.append((len(asked), end))
        if wanted and not spans:
            raise UserError(f"template {self.name}: {reason}", OTHER)
        return spans

    def _end_of_answer(
        self, messages: Sequence[Message], place: int, text: str, start: int, eos_token: str
    ) -> int | None:
        """The character behind the end of the answer that begins at `start`; None when that is not certain.

        Either the answer stands there as it was given, or as it does when it is the newest message, white space apart
        with all that was given.
        """
        said = messages[place].content.strip()
        begin = _behind_blanks(text, start)
        if text.startswith(said, begin):
            last = _behind_blanks(text, begin + len(said))
            if text.startswith(self.answer_end, last):
                return last + len(self.answer_end)
        newest = text if place == len(messages) - 1 else self.text(messages[: place + 1], eos_token)
        end = len(newest) - len(self.trailer)
        ends = newest.endswith(self.answer_end + self.trailer) and text.startswith(newest[:end])
        return end if ends and _squeezed(said) in _squeezed(newest[start:end]) else None

    def chat_template(self, first_token: str | None) -> str:
        """The Jinja text for a model folder: as it was found, begun with the first token unless it writes it itself."""
        return self.source if self.writes_first_token else super().chat_template(first_token)

    def shows_all_answers(self) -> bool:
        """Whether answers before the last are learnt as well: thinking in them is often taken out.

        True, too, when the template refuses several rounds: then such conversations are left out and counted.
        """
        trials = ((_TRIAL[0], earlier, *_TRIAL) for earlier in (_TRIAL[1], _THOUGHT))
        try:
            return all(len(self.render(messages, self.answer_end).spans) == 2 for messages in trials)
        except UserError:
            return True


def own_template(name: str, source: str, tokenizer: Tokenizer) -> OwnTemplate:
    """The template with what a trial conversation tells of it; its `problem` says why it can teach nothing, if so."""
    roles = {"bos_token": tokenizer.bos_token, "unk_token": tokenizer.unk_token, "pad_token": tokenizer.pad_token}
    special = tuple((role, token) for role, token in roles.items() if token is not None)
    template = OwnTemplate(name, source, special_tokens=special, first_token=tokenizer.first_token)
    tokens = [token.content for token in tokenizer.backend.get_added_tokens_decoder().values() if token.content]
    try:
        return _tried(template, tokenizer.eos_token, tokens)
    except UserError as error:
        return replace(template, problem=error.message)


def _tried(template: OwnTemplate, eos_token: str, tokens: Sequence[str]) -> OwnTemplate:
    """The template with its end of an answer, which is one of the tokenizer's `tokens`; UserError without one."""
    whole, text = template.written(_TRIAL, eos_token), template.text(_TRIAL, eos_token)
    asked, unasked = (template.text(_TRIAL[:1], eos_token, for_answer=wanted) for wanted in (True, False))
    before, said, behind = text.rpartition(_TRIAL[1].content)
    end = _end_behind(behind, tokens, _behind_an_earlier_answer(template, eos_token))
    opening = before[len(asked) :]
    if not said:
        problem = "does not show what the assistant says"
    elif not before.startswith(asked):
        problem = "asks for an answer otherwise than it shows one"
    elif not end:
        problem = "ends an answer with no token of its own, so that the model would never stop"
    elif asked == unasked and any(token in opening for token in tokens):
        problem = "knows no request for an answer (add_generation_prompt)"
    else:
        trailer = behind[behind.index(end) + len(end) :]
        return replace(template, answer_end=end, trailer=trailer, writes_first_token=len(whole) > len(text))
    raise UserError(f"template {template.name} {problem}", OTHER)


def _behind_an_earlier_answer(template: OwnTemplate, eos_token: str) -> str:
    """What stands between an answer and the next question; "" when the template refuses several rounds."""
    question, answer = "And when it rains?", "It is grey then."
    rounds = (*_TRIAL, Message("user", question), Message("assistant", answer))
    try:
        _, _, rest = template.text(rounds, eos_token).partition(_TRIAL[1].content)
    except UserError:
        return ""
    return rest.partition(question)[0]


def _end_behind(behind: str, tokens: Sequence[str], between: str) -> str:
    """The first of the tokens `behind` an answer, with those right behind it that earlier answers have, too; or ""."""
    places = sorted((behind.index(token), -len(token), token) for token in tokens if token in behind)
    if not places:
        return ""
    start, _, end = places[0]
    while True:
        rest = behind[start + len(end) :]
        longer = max((end + token for token in tokens if rest.startswith(token)), key=len, default="")
        if not longer or longer not in between:
            return end
        end = longer


def ready_to_teach(template: PromptTemplate) -> PromptTemplate:
    """The same template; UserError when nothing can be learnt with it. What it keeps from being learnt is said."""
    if isinstance(template, OwnTemplate):
        if template.problem:
            raise UserError(template.problem, OTHER)
        if not template.shows_all_answers():
            say(
                f"note: {template.name} shows some answers otherwise once others follow (without their thinking, say); "
                "such answers are shown, not learnt"
            )
    return template


def _behind_blanks(text: str, start: int) -> int:
    found = _BLANKS.match(text, start)
    return found.end() if found else start


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _content(message: Message) -> str:
    return f"{message.content}\n\n{message.context}" if message.context else message.content
