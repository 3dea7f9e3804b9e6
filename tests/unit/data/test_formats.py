"""Every data format: what becomes of its records, what is dropped, and what a wrong schema is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names
from packtrain.data.prepare import FORMATS
from packtrain.data.records import Dropped


def read(tmp_path: Path, name: str, rows: list[Any], dataset: str = "d") -> list[Conversation | Dropped]:
    path = tmp_path / f"{name}.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return list(module(FORMATS, name, "data format").read(path, dataset))


def talk(identity: str, *turns: str | tuple[str, str], dataset: str = "d") -> Conversation:
    """A conversation of alternating turns; a pair is a question with its context."""
    messages = []
    for index, turn in enumerate(turns):
        text, context = (turn, None) if isinstance(turn, str) else turn
        messages.append(Message(("user", "assistant")[index % 2], text, context))
    return Conversation(dataset, identity, tuple(messages))


def test_every_format_says_where_its_data_come_from() -> None:
    found = names(FORMATS, ".py")
    assert found == [
        "alpaca", "code_alpaca", "cot", "dolly", "flan_v2", "gpt4_alpaca", "messages", "oasst1", "prompt_completion",
        "sharegpt",
    ]  # fmt: skip
    for name in found:
        text = module(FORMATS, name, "data format").__doc__ or ""
        assert "Source:" in text, name
        assert "Licence" in text, name


@pytest.mark.parametrize("name", ["alpaca", "code_alpaca", "gpt4_alpaca"])
def test_alpaca_keeps_the_input_apart(tmp_path: Path, name: str) -> None:
    rows = [
        {"instruction": "Add.", "input": "1 {2}", "output": "3"},
        {"instruction": "Sing.", "input": "", "output": " la "},
        {"instruction": "Space.", "input": " ", "output": "x"},
        {"instruction": "None.", "input": None, "output": "y", "extra": 1},
        {"instruction": "Absent.", "output": "z"},
        {"instruction": "Number.", "input": "", "output": 3},
    ]
    assert read(tmp_path, name, rows) == [
        talk("d_0", ("Add.", "1 {2}"), "3"),
        talk("d_1", "Sing.", " la "),
        talk("d_2", ("Space.", " "), "x"),
        talk("d_3", "None.", "y"),
        talk("d_4", "Absent.", "z"),
        Dropped("d_5", "output is not text"),
    ]


def test_dolly_keeps_the_context_apart(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Who?", "context": "Ann came.", "response": "Ann", "category": "closed_qa"},
        {"instruction": "Why?", "context": "", "response": "Because.", "category": "open_qa"},
    ]
    assert read(tmp_path, "dolly", rows) == [talk("d_0", ("Who?", "Ann came."), "Ann"), talk("d_1", "Why?", "Because.")]


@pytest.mark.parametrize("name", ["cot", "flan_v2"])
@pytest.mark.parametrize(
    ("inputs", "prompt"),
    [("Q", "Q\n"), ("Q\n", "Q\n"), ("A:", "A:"), ("A: ", "A: "), ("A:\n\n", "A:\n\n"), ("Q ", "Q \n")],
)
def test_flan_prompts_end_in_a_line_feed_or_a_colon(tmp_path: Path, name: str, inputs: str, prompt: str) -> None:
    assert read(tmp_path, name, [{"inputs": inputs, "targets": " yes \n"}]) == [talk("d_0", prompt, " yes \n")]


def node(role: str, text: str, *replies: dict[str, Any], deleted: bool = False) -> dict[str, Any]:
    return {"message_id": f"id-{text}", "role": role, "text": text, "deleted": deleted, "replies": list(replies)}


def test_oasst1_gives_the_paths_to_assistant_leaves(tmp_path: Path) -> None:
    asked_again = node("prompter", "q2", node("assistant", "a3"), node("assistant", "a4", deleted=True))
    tree = node(
        "prompter",
        "q1",
        node("assistant", "a1", asked_again, node("prompter", "q3")),
        node("assistant", "a2", node("prompter", "gone", node("assistant", "below"), deleted=True)),
    )
    assert read(tmp_path, "oasst1", [{"message_tree_id": "t", "prompt": tree}]) == [
        talk("d_0", "q1", "a1", "q2", "a3"),
        Dropped("id-a4", "deleted message, with all below it"),
        Dropped("id-q3", "path ends in a question"),
        talk("d_1", "q1", "a2"),
        Dropped("id-gone", "deleted message, with all below it"),
    ]


def test_oasst1_takes_trees_of_any_depth(tmp_path: Path) -> None:
    tree = node("assistant", "end")
    for turn in range(119):
        tree = node(("prompter", "assistant")[turn % 2], str(turn), tree)
    found = read(tmp_path, "oasst1", [{"prompt": tree}])
    assert [len(conversation.messages) for conversation in found if isinstance(conversation, Conversation)] == [120]


def test_oasst1_names_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"oasst1.jsonl:1: unknown role 'bot'"):
        read(tmp_path, "oasst1", [{"prompt": node("bot", "hi")}])
    with pytest.raises(UserError, match=r"oasst1.jsonl:2: a message without text and role \(found: body; expected"):
        read(tmp_path, "oasst1", [{"prompt": node("assistant", "hi")}, {"prompt": {"body": "x"}}])


def said(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": sender, "value": text} for sender, text in turns]


def test_sharegpt_keeps_whole_rounds_and_drops_other_senders(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "conversations": said(("gpt", "x"), ("human", " h "), ("gpt", "g\n"), ("human", "bye"))},
        {"id": "b", "conversations": said(("user", "h"), ("chatgpt", "g"))},
        {"id": "c", "conversations": said(("system", "s"), ("human", "h"), ("gpt", "g"))},
        {"id": "d", "conversations": said(("human", "h"), ("bing", "b"))},
        {"id": "e", "conversations": []},
        {"id": "f", "conversations": said(("gpt", "only"))},
        {"id": "g", "conversations": [{"from": "human", "value": None}]},
        {"conversations": said(("human", "h"), ("human", "h2"), ("gpt", "g"))},
    ]
    found = read(tmp_path, "sharegpt", rows)
    assert found[:-1] == [
        talk("d_a", " h ", "g\n"),
        talk("d_b", "h", "g"),
        Dropped("d_c", "sender system"),
        Dropped("d_d", "sender bing"),
        Dropped("d_e", "no question with an answer"),
        Dropped("d_f", "no question with an answer"),
        Dropped("d_g", "value is not text"),
    ]
    assert isinstance(found[-1], Conversation)
    assert [message.role for message in found[-1].messages] == ["user", "user", "assistant"]


def test_messages_keep_their_own_ids_and_name_their_data_set(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q", "context": "c"}, {"role": "assistant", "content": "a"}]
    rows = [
        {"messages": turns, "id": "own", "dataset": "other"},
        {"messages": turns, "provenance": {"by": "me"}},
        {"messages": []},
    ]
    messages = talk("", ("q", "c"), "a").messages
    assert read(tmp_path, "messages", rows) == [
        Conversation("d", "own", messages, {"dataset": "other"}),
        Conversation("d", "d_1", messages, {"by": "me"}),
        Dropped("d_2", "no messages"),
    ]
    with pytest.raises(UserError, match=r"messages.jsonl:1: message 0: unknown role 'tool'"):
        read(tmp_path, "messages", [{"messages": [{"role": "tool", "content": "x"}]}])


def test_prompt_completion_loses_the_end_mark_of_gpt3_files(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": " c<|endoftext|>"}, {"prompt": "p", "completion": "c"}]
    assert read(tmp_path, "prompt_completion", rows) == [talk("d_0", "p", " c"), talk("d_1", "p", "c")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpaca", "missing instruction, output (found: text; expected: instruction, output)"),
        ("dolly", "missing instruction, response (found: text; expected: instruction, response)"),
        ("cot", "missing inputs, targets (found: text; expected: inputs, targets)"),
        ("oasst1", "missing prompt (found: text; expected: prompt)"),
        ("sharegpt", "missing conversations (found: text; expected: conversations)"),
        ("messages", "missing messages (found: text; expected: messages)"),
        ("prompt_completion", "missing prompt, completion (found: text; expected: prompt, completion)"),
    ],
)
def test_a_wrong_schema_is_told_what_was_found_and_expected(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, name, [{"text": "x"}])
    assert caught.value.message == f"{tmp_path / (name + '.jsonl')}:1: {expected}"
