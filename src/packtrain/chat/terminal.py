"""Chat in the terminal: answers stream to stdout, everything else goes to stderr."""

import io
import sys
from pathlib import Path

from packtrain.chat.session import ChatSession
from packtrain.core.conversation import write_conversations
from packtrain.core.errors import UserError
from packtrain.core.progress import say

HELP = "/clear forgets the conversation, /prompt shows what the model was last given, /save FILE, /quit"


def chat(session: ChatSession) -> None:
    """Read messages from stdin until it ends or `/quit`.

    A piped stdin is answered line by line; there, a message that cannot be answered raises its UserError, and Ctrl-C
    ends the whole. At a terminal, Ctrl-C stops an answer.
    """
    interactive = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if interactive:
        say(f"{session.model.name}, format {session.template.name}. {HELP}")
    while True:
        if interactive:
            print("\n> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line or line.strip() in ("/quit", "/exit"):
            return
        message = line.strip()
        if not message:
            continue
        if message == "/clear":
            session.clear()
        elif message == "/prompt":
            say(session.last_prompt or "nothing was asked yet")
        elif message.split()[0] == "/save":
            _save(session, message.removeprefix("/save").strip())
        elif message.startswith("/"):
            say(HELP)
        else:
            _answer(session, message, interactive)


def _answer(session: ChatSession, message: str, interactive: bool) -> None:
    forgotten = session.forgotten
    try:
        completion = session.ask(message, lambda text: print(text, end="", flush=True))
    except UserError as error:
        if not interactive:
            raise
        say(f"error: {error.message}\nhint: {error.hint}")
        return
    except KeyboardInterrupt:
        print(flush=True)
        if not interactive:
            raise
        say("answer stopped; it is not in the history")
        return
    print(flush=True)
    if completion.finish_reason == "length":
        say("(cut at --max-new-tokens)")
    if session.forgotten > forgotten and not session.template.one_round:
        say("(the oldest messages no longer fit the model's context and were left out)")


def _save(session: ChatSession, name: str) -> None:
    path = Path(name or "chat.jsonl")
    if path.exists():
        say(f"{path} exists already; name another file: /save FILE")
        return
    try:
        records = session.conversations()
        write_conversations(path, records)
    except UserError as error:
        say(f"{error.message}: {error.hint}")
    except OSError as error:
        say(f"cannot write {path}: {error.strerror}; name another file: /save FILE")
    else:
        say(f"saved to {path}" if len(records) == 1 else f"saved to {path}: {len(records)} records, one for each round")
