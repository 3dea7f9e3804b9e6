"""Open Assistant 1: conversation trees, one per line, written by volunteers in many languages.

Source: 2023-04-12_oasst_ready.trees.jsonl of huggingface.co/datasets/OpenAssistant/oasst1. Licence: Apache-2.0.
Expected: about 34,000 paths (arXiv 2306.04751 counts 34,795).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packtrain.core.conversation import Conversation, Message, Role
from packtrain.core.errors import UserError
from packtrain.data.records import Dropped, Record, not_text, read_records

_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


def read(path: Path, dataset: str = "oasst1") -> Iterator[Conversation | Dropped]:
    """One conversation per path from the root to an assistant leaf, depth first, replies in file order.

    Deleted nodes are taken out with everything below them; a node whose replies are all deleted is a
    leaf. A path that ends in a question is dropped. The rule `leaf` of Open-Instruct since 8 August 2023.
    Raises UserError for a node of unknown shape.
    """
    number = 0
    for record in read_records(path):
        record.require("prompt")
        for found in _paths(record):
            if isinstance(found, Dropped):
                yield found
            else:
                yield Conversation(dataset, f"{dataset}_{number}", found)
                number += 1


def _paths(tree: Record) -> Iterator[tuple[Message, ...] | Dropped]:
    """Messages of each path to an assistant leaf, and what was left out."""
    pending: list[tuple[Any, tuple[Message, ...]]] = [(tree.fields["prompt"], ())]
    while pending:
        node, above = pending.pop()
        if not isinstance(node, dict) or not {"text", "role"} <= node.keys():
            found = ", ".join(node) if isinstance(node, dict) else type(node).__name__
            raise UserError(
                f"{tree.where}: a message without text and role (found: {found}; expected: text, role, replies)",
                "oasst1 reads the file of trees, whose name ends in trees.jsonl",
            )
        identity = str(node.get("message_id") or tree.fields.get("message_tree_id") or f"tree {tree.number}")
        if node.get("deleted"):
            yield Dropped(identity, "deleted message, with all below it")
            continue
        if node["role"] not in _ROLES:
            raise UserError(f"{tree.where}: unknown role {node['role']!r}", f"roles are {', '.join(_ROLES)}")
        wrong = not_text(("text", node["text"]))
        if wrong:
            yield Dropped(identity, wrong)
            continue
        messages = (*above, Message(_ROLES[node["role"]], node["text"]))
        replies = node.get("replies") or []
        if all(isinstance(reply, dict) and reply.get("deleted") for reply in replies):
            yield messages if messages[-1].role == "assistant" else Dropped(identity, "path ends in a question")
        pending.extend((reply, messages) for reply in reversed(replies))
