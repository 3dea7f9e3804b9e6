"""The texts of a conversation: listed, and rewritten one by one."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from packtrain.core.conversation import Conversation, Message, Role

_DECLINES = re.compile(
    r"""\b(?:sorry|unfortunately|apologi[sz]e)\b
    |\b(?:can(?:no|['’])t|can[ ]not|unable[ ]to|not[ ](?:able|capable|possible)|impossible)\b
    |\b(?:do(?:es)?[ ]not|do(?:es)?n['’]t)[ ](?:have|possess|support)\b
    |\bas[ ]an?[ ](?:\w+[ ])?(?:AI|language[ ]model)\b
    |\b(?:no|without)[ ](?:image|picture|photo|video|audio|link|article|text|file)[ ](?:is|was|has|provided|attached)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ABOUT_CODE = re.compile(
    r"""\b(?:code|coding|program(?:s|ming|mer)?|function|script|algorithm|API|endpoint|HTTPS?|GET|POST|JSON|XML|SVG
    |HTML5?|CSS|SQL|query|regex|regular[ ]expression|Python|Java(?:Script)?|PHP|Ruby|Rust|Perl|Bash|shell|Linux|curl
    |Node|React|Vue|Angular|Swift|Kotlin|MATLAB|LaTeX|TikZ|ASCII|canvas|matplotlib|turtle|tkinter|pygame|library
    |command|tag|class|method|markdown|mermaid|graphviz|OpenCV|Pillow|scrap(?:e|er|ing)|parser?|variable)\b
    |[CF]\#|C\+\+""",
    re.IGNORECASE | re.VERBOSE,
)
_CODE = re.compile(
    r"""```
    |^[ \t]*(?:def|class|import|from|function|const|let|var|public|SELECT|INSERT|CREATE|\#include)\s
    |[;{][ \t]*$|</\w+>|\w\(\)|=>|\$\(|://[^\s?]{1,300}\?|^[ \t]*\$\s""",
    re.MULTILINE | re.VERBOSE,
)


def texts(conversation: Conversation) -> Iterator[tuple[int, str, bool]]:
    """Message number, text, and whether it is the context, of every text in order."""
    for number, message in enumerate(conversation.messages):
        yield number, message.content, False
        if message.context:
            yield number, message.context, True


def answers(conversation: Conversation) -> Iterator[tuple[int, str]]:
    """Number and content of each message of the assistant."""
    for number, message in enumerate(conversation.messages):
        if message.role == "assistant":
            yield number, message.content


def rounds(conversation: Conversation) -> Iterator[tuple[int, str, str, str]]:
    """Number of each user message that is answered, its content, its context ("" for none) and the answer."""
    for number, (message, after) in enumerate(pairwise(conversation.messages)):
        if message.role == "user" and after.role == "assistant":
            yield number, message.content, message.context or "", after.content


def rewritten(conversation: Conversation, rewrite: Callable[[str], str], role: Role = "assistant") -> Conversation:
    """The conversation with `rewrite` applied to the contents of one role; the same object if nothing changes."""
    return with_messages(
        conversation,
        [
            with_content(message, rewrite(message.content)) if message.role == role else message
            for message in conversation.messages
        ],
    )


def with_content(message: Message, content: str) -> Message:
    """The message with another content; the same object if it is the same, or if nothing would be left."""
    return message if content == message.content or not content.strip() else replace(message, content=content)


def with_messages(conversation: Conversation, messages: Sequence[Message]) -> Conversation:
    """The conversation with other messages, as many as before; the same object if all are the same objects."""
    unchanged = all(new is old for new, old in zip(messages, conversation.messages, strict=True))
    return conversation if unchanged else replace(conversation, messages=tuple(messages))


def has_code(text: str) -> bool:
    """Whether a text looks like, or holds, program code."""
    return _CODE.search(text) is not None


def declines(answer: str) -> bool:
    """Whether an answer begins by saying that the thing asked for cannot be done."""
    return _DECLINES.search(answer[:400]) is not None


def asks_for_code(question: str) -> bool:
    """Whether a question is about programs, mark-up or commands."""
    return _ABOUT_CODE.search(question) is not None
