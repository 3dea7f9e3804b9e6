"""A conversation with a model in its own prompt format: what is shown to it is what it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest
from packtrain.models.base import Completion, Sampling
from packtrain.models.local import LocalModel
from packtrain.prompts.template import PromptTemplate

ROLE_MARKERS = ("<|user|>", "<|system|>", "### Instruction:")
"""Where a model that runs on into the next turn is stopped."""
_ID_DIGITS = 16


@dataclass
class ChatSession:
    """History, budget and format of one conversation.

    Each answer stands in the history with its end-of-sequence, as in training. Whole rounds are
    forgotten, oldest first, when the history no longer fits the context; system message and the
    newest message always stay. A format of one round shows the newest message alone.
    """

    model: LocalModel
    template: PromptTemplate
    system: str = ""
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=512, stop=ROLE_MARKERS))
    history: list[Message] = field(default_factory=list)
    forgotten: int = 0
    """Messages of the history that the model no longer sees."""
    last_prompt: str = ""
    """What the model was last given, to the byte."""

    def prompt(self, newest: Message) -> str:
        """The exact text that the model is given for `newest`; UserError when even that does not fit."""
        eos, room = self.model.tokenizer.eos_token, self.model.max_context - self._answer_tokens()
        if self.template.one_round:
            self.forgotten = len(self.history)
        while True:
            shown = [*self._system(), *self.history[self.forgotten :], newest]
            text = self.template.render(shown, eos, for_answer=True).text
            if len(self.model.tokenizer.ids(text)) <= room:
                return text
            if self.forgotten >= len(self.history):
                raise UserError(
                    f"the message does not fit: the model's context is {self.model.max_context} tokens",
                    "shorten the message, or lower --max-new-tokens",
                )
            self.forgotten = min(len(self.history), self.forgotten + 2)

    def ask(self, content: str, on_text: Callable[[str], None]) -> Completion:
        """The answer to `content`, streamed to `on_text`; both turns join the history when it is complete."""
        newest = Message("user", content)
        self.last_prompt = self.prompt(newest)
        completion = self.model.stream(self.last_prompt, self.sampling, on_text)
        self.history += [newest, Message("assistant", completion.text, learnt=completion.finish_reason != "length")]
        return completion

    def clear(self) -> None:
        """Forget everything said so far."""
        self.history.clear()
        self.forgotten = 0

    def conversations(self) -> list[Conversation]:
        """The conversation so far as training records; UserError when there is no answer to learn.

        A format of one round gives one record for each round, any other one for the whole. An answer that was cut is
        marked as not to be learnt, for it would teach to end where the limit was, and a record without any other is
        left out. The id is a digest of what was said.
        """
        if not self.history:
            raise UserError("there is nothing to keep yet", "ask something first")
        length = 2 if self.template.one_round else len(self.history)
        parts = [self.history[start : start + length] for start in range(0, len(self.history), length)]
        taught = [part for part in parts if any(one.role == "assistant" and one.learnt for one in part)]
        if not taught:
            raise UserError("there is nothing to keep: every answer was cut", "allow longer answers and ask again")
        return [self._record((*self._system(), *part)) for part in taught]

    def _record(self, messages: tuple[Message, ...]) -> Conversation:
        identity = digest([message.as_json() for message in messages])[:_ID_DIGITS]
        return Conversation("chat", identity, messages, {"model": self.model.name, "template": self.template.name})

    def _system(self) -> list[Message]:
        return [Message("system", self.system)] if self.system else []

    def _answer_tokens(self) -> int:
        return min(self.sampling.max_new_tokens, self.model.max_context // 2)
