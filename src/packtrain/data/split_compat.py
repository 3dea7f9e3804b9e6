"""The splitter of ShareGPT conversations of July 2023, its defects included.

Source: scripts/split_sharegpt_conversations.py of Open-Instruct (commit cd06c6fb0), after split_long_conversation.py
of FastChat.
"""

from collections.abc import Iterator, Sequence

from packtrain.data.split import Piece
from packtrain.prompts.tokenizer import Tokenizer

WRAPPER_TOKENS = 6
"""What a message is taken to need beside its text and the tokenizer's first token."""


def message_lengths(texts: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    """What each message counts, in tokens; half of a surrogate pair, which has no token, is one `?`."""
    whole = [text.encode(errors="replace").decode() for text in texts]
    return [len(encoding.ids) + WRAPPER_TOKENS for encoding in tokenizer.encode(whole)]


def windows(lengths: Sequence[int], limit_tokens: int) -> list[tuple[int, int]]:
    """First pair of messages and the one behind the last, of each piece, as the original gave them: some are empty.

    An odd last message is left out. Pairs are put together while they are within the limit. Lost are a pair that is
    too long by itself; the last pair when it opens a new piece; and pairs behind one that is too long, whose length
    still counts.
    """
    found = []
    start, length = 0, 0
    pairs = len(lengths) // 2
    for place in range(pairs):
        pair = lengths[2 * place] + lengths[2 * place + 1]
        if length + pair > limit_tokens:
            found.append((start, place))
            start = place + 1 if pair > limit_tokens else place
            length = pair
        elif place == pairs - 1:
            found.append((start, pairs))
        else:
            length += pair
    return found


def split_as_published(texts: Sequence[str], tokenizer: Tokenizer, limit_tokens: int) -> Iterator[Piece]:
    """The original's pieces without the empty ones, and between them the pairs that it loses."""
    pairs, done = len(texts) // 2, 0
    for start, stop in (*windows(message_lengths(texts, tokenizer), limit_tokens), (pairs, pairs)):
        if done < start:
            yield Piece(done, start, kept=False)
        if start < stop:
            yield Piece(start, stop, kept=True)
        done = stop
