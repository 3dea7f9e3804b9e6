"""A conversation as the model sees it in training: tokens, what is learnt of them, and what the limit takes away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from packtrain.core.conversation import Conversation
from packtrain.core.errors import UserError
from packtrain.core.json_text import NOT_UNICODE
from packtrain.data.inspection.token_text import TokenText
from packtrain.prompts.encode import IGNORED, Mode, encode
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class SeenToken:
    """One token where it stands."""

    id: int
    piece: str
    """The entry of the vocabulary."""
    text: str
    """What it stands for, made visible."""
    special: bool
    learnt: bool


@dataclass(frozen=True, slots=True)
class Inspected:
    """A conversation as the model sees it."""

    conversation: Conversation
    text: str | None
    """As the template lays it out; None when it cannot."""
    tokens: tuple[SeenToken, ...]
    """Of the whole text, those behind the limit included."""
    input_ids: tuple[int, ...]
    """Within the limit: what the training loop gets."""
    labels: tuple[int, ...]
    """Token ids where learnt, -100 elsewhere; all -100 for what is left out."""
    learnt_tokens: int
    """Tokens that contribute to the loss."""
    dropped: str | None
    """Why training leaves the conversation out; None when it does not."""

    @property
    def cut_at_limit(self) -> bool:
        """True when some of the text lies behind the limit."""
        return len(self.tokens) > len(self.input_ids)

    def as_json(self) -> dict[str, Any]:
        """One object; `tokens` are the pieces of `input_ids`."""
        return {
            "dataset": self.conversation.dataset,
            "id": self.conversation.id,
            "text": self.text,
            "input_ids": list(self.input_ids),
            "labels": list(self.labels),
            "tokens": [token.piece for token in self.tokens[: len(self.input_ids)]],
            "learnt_tokens": self.learnt_tokens,
            "cut_at_limit": self.cut_at_limit,
            "dropped": self.dropped,
        }


class Inspector:
    """Shows conversations as one template, tokenizer and length limit present them to a model."""

    def __init__(
        self, template: PromptTemplate, tokenizer: Tokenizer, max_length_tokens: int, mode: Mode = "default"
    ) -> None:
        self.template = template
        self.tokenizer = tokenizer
        self.max_length_tokens = max_length_tokens
        self.mode: Mode = mode
        self._token_text = TokenText(tokenizer)

    def inspect(self, conversation: Conversation) -> Inspected:
        """The conversation as training sees it; what training leaves out is shown too, with the reason and unlearnt."""
        encoded = encode([conversation], self.template, self.tokenizer, self.max_length_tokens, self.mode)
        dropped = next(iter(encoded.dropped), None)
        if dropped == NOT_UNICODE:
            return Inspected(conversation, None, (), (), (), 0, dropped)
        try:
            text = self.template.render(conversation.messages, self.tokenizer.eos_token).text
        except UserError:
            return Inspected(conversation, None, (), (), (), 0, dropped)
        ids = self.tokenizer.ids(text)
        seen = ids[: self.max_length_tokens]
        labels, learnt_tokens = [IGNORED] * len(seen), 0
        for example in encoded.examples:
            seen, labels, learnt_tokens = list(example.input_ids), list(example.labels), example.learnt_tokens
        tokens = self._tokens([*seen, *ids[len(seen) :]], labels)
        return Inspected(conversation, text, tokens, tuple(seen), tuple(labels), learnt_tokens, dropped)

    def _tokens(self, ids: Sequence[int], labels: Sequence[int]) -> tuple[SeenToken, ...]:
        kind = self._token_text
        return tuple(
            SeenToken(token_id, kind.piece(token_id), text, kind.is_special(token_id), learnt)
            for token_id, text, learnt in zip(
                ids,
                kind.texts(ids),
                [*(label != IGNORED for label in labels), *[False] * (len(ids) - len(labels))],
                strict=True,
            )
        )
