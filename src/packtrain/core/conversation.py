"""Conversations: the one record type that flows between the stages, as JSON Lines.

One object per line: `{"dataset": ..., "id": ..., "messages": [{"role": ..., "content": ...}]}`, the
interchange form of Open-Instruct, plus an optional `context` in a message (Alpaca's `input`, kept
apart until a template lays it out), an optional `learnt: false` in an answer that is only shown, and an optional
`provenance` object. docs/formats.md has the details.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.json_text import json_text, json_value

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str
    context: str | None = None
    """Material that the instruction is about (Alpaca's `input`); None when there is none."""
    learnt: bool = True
    """False for an answer that is shown and not learnt: another conversation teaches it."""

    def as_json(self) -> dict[str, Any]:
        """The message as it stands in a file; `context` only when there is one, `learnt` only when it is not."""
        record: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.context is not None:
            record["context"] = self.context
        return record if self.learnt else {**record, "learnt": False}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One training or evaluation record; (`dataset`, `id`) is its identity."""

    dataset: str
    id: str
    messages: tuple[Message, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as one JSON object of a conversation file."""
        record: dict[str, Any] = {"dataset": self.dataset, "id": self.id}
        record["messages"] = [message.as_json() for message in self.messages]
        if self.provenance:
            record["provenance"] = self.provenance
        return record


def parse_conversation(record: object, where: str) -> Conversation:
    """The conversation in a decoded JSON value; UserError naming `where` if it is not one."""
    hint = 'each line must be {"dataset": "...", "id": "...", "messages": [{"role": "user", "content": "..."}, ...]}'
    if not isinstance(record, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(record).__name__}", hint)
    missing = [key for key in ("dataset", "id", "messages") if key not in record]
    if missing:
        found = ", ".join(map(str, record)) or "nothing"
        raise UserError(f"{where}: missing {', '.join(missing)} (found: {found})", hint)
    messages = record["messages"]
    if not isinstance(messages, list) or not messages:
        raise UserError(f"{where}: `messages` must be a list with at least one message", hint)
    provenance = record.get("provenance") or {}
    if not isinstance(provenance, dict):
        raise UserError(f"{where}: `provenance` must be an object", hint)
    parsed = tuple(_parse_message(message, f"{where}: message {index}") for index, message in enumerate(messages))
    for key in ("dataset", "id"):
        if not isinstance(record[key], str | int):
            raise UserError(f"{where}: `{key}` must be text", hint)
    return Conversation(str(record["dataset"]), str(record["id"]), parsed, provenance)


def _parse_message(message: object, where: str) -> Message:
    hint = f"roles are {', '.join(ROLES)}; content is a string"
    if not isinstance(message, dict):
        raise UserError(f"{where}: expected an object, found {type(message).__name__}", hint)
    role, content, context = message.get("role"), message.get("content"), message.get("context")
    if role not in ROLES:
        raise UserError(f"{where}: unknown role {role!r}", hint)
    if not isinstance(content, str) or not (context is None or isinstance(context, str)):
        raise UserError(f"{where}: `content` and `context` must be strings", hint)
    learnt = message.get("learnt", True)
    if not isinstance(learnt, bool):
        raise UserError(f"{where}: `learnt` must be true or false", hint)
    return Message(role, content, context, learnt)


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number (from 1) and decoded value of each non-empty line; UserError naming file and line."""
    try:
        with open(path, encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                yield number, json_value(line, f"{path}:{number}")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start})", "convert the file to UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


def check_no_pipe(path: Path) -> None:
    """Raise UserError for a pipe: for what reads its file more than once."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a pipe, and is read more than once", "write the conversations into a file first")


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Conversations of a JSON Lines file in file order; a UserError names file and line."""
    for number, record in read_json_lines(path):
        yield parse_conversation(record, f"{path}:{number}")


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> int:
    """Write `path` atomically, one conversation per line; the number of conversations written."""
    count = 0
    with atomic_file(path) as file:
        for conversation in conversations:
            file.write(json_text(conversation.as_json()) + "\n")
            count += 1
    return count
