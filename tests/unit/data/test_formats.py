"""Every data format but oasst1 and sharegpt: what becomes of its records, what is dropped, what a wrong one is told."""

from collections.abc import Mapping
from typing import Any

import pytest

from packtrain.card import known
from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.core.folder import names
from packtrain.data.conversion import Conversion
from packtrain.data.fitting import fitting_formats
from packtrain.data.format import FORMATS, converted, open_format
from packtrain.data.records import Dropped, Record

ALPACA_SHAPED = ["alpaca", "code_alpaca", "gpt4_alpaca", "self_instruct"]


def read(name: str, rows: list[Mapping[str, Any]], **settings: Any) -> list[Conversation | Dropped]:
    records = [Record(number, f"raw:{number + 1}", dict(row)) for number, row in enumerate(rows)]
    return list(converted(records, open_format(name), Conversion("d", **settings)))


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
        "alpaca", "baize", "code_alpaca", "cot", "dolly", "flan_v2", "gpt4_alpaca", "messages", "oasst1",
        "prompt_completion", "self_instruct", "sharegpt", "super_ni", "unnatural_instructions",
    ]  # fmt: skip
    for name in found:
        about = open_format(name).about
        assert about.title, name
        assert about.source, name
        if name in ("messages", "prompt_completion"):
            assert about.license == "", name
            continue
        assert about.license in known.read("licences"), name
        assert not about.citation or about.citation in known.citations(), name
        assert about.files, name
        assert None not in (about.rows, about.rounds, about.prompt_tokens, about.completion_tokens), name


def test_cards_know_every_published_data_set_by_its_format() -> None:
    datasets = known.read("known")["datasets"]
    for name in names(FORMATS, ".py"):
        about = open_format(name).about
        if about.license:
            facts = datasets[about.dataset]
            assert (facts.get("format") == name) is not about.common_shape, name
            assert facts["title"].startswith(about.title), name
            assert facts["citations"] == ([about.citation] if about.citation else []), name


def test_a_format_is_found_by_its_own_name_and_by_that_of_its_data_set() -> None:
    assert open_format("stanford_alpaca").name == open_format("alpaca").name == "alpaca"


@pytest.mark.parametrize("name", ALPACA_SHAPED)
def test_alpaca_keeps_the_input_apart(name: str) -> None:
    rows = [
        {"instruction": "Add.", "input": "1 {2}", "output": "3"},
        {"instruction": "Sing.", "input": "", "output": " la "},
        {"instruction": "Space.", "input": " ", "output": "x"},
        {"instruction": "None.", "input": None, "output": "y", "extra": 1},
        {"instruction": "Absent.", "output": "z"},
        {"instruction": "Number.", "input": "", "output": 3},
        {"instruction": "Zero.", "input": 0, "output": "0"},
    ]
    assert read(name, rows) == [
        talk("d_0", ("Add.", "1 {2}"), "3"),
        talk("d_1", "Sing.", " la "),
        talk("d_2", ("Space.", " "), "x"),
        talk("d_3", "None.", "y"),
        talk("d_4", "Absent.", "z"),
        Dropped("d_5", "output is not text"),
        Dropped("d_6", "input is not text"),
    ]


def test_dolly_keeps_the_context_apart() -> None:
    rows = [
        {"instruction": "Who?", "context": "Ann came.", "response": "Ann", "category": "closed_qa"},
        {"instruction": "Why?", "context": "", "response": "Because.", "category": "open_qa"},
    ]
    assert read("dolly", rows) == [talk("d_0", ("Who?", "Ann came."), "Ann"), talk("d_1", "Why?", "Because.")]


@pytest.mark.parametrize("name", ["cot", "flan_v2"])
@pytest.mark.parametrize(
    ("inputs", "prompt"),
    [("Q", "Q\n"), ("Q\n", "Q\n"), ("A:", "A:"), ("A: ", "A: "), ("A:\n\n", "A:\n\n"), ("Q ", "Q \n")],
)
def test_flan_prompts_end_in_a_line_feed_or_a_colon(name: str, inputs: str, prompt: str) -> None:
    assert read(name, [{"inputs": inputs, "targets": " yes \n"}]) == [talk("d_0", prompt, " yes \n")]


def test_unnatural_instructions_give_a_round_per_instance() -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "instruction": "Name it. ",
            "instances": [
                {"input": "i", "constraints": "None.", "output": "a"},
                {"input": "", "constraints": "One word.", "output": " b "},
                {"input": None, "constraints": " NONE ", "output": "c"},
                {"input": "i", "constraints": None, "output": None},
                {"output": "d"},
                {"input": "i", "constraints": ["x"], "output": "e"},
            ],
        },
        {"instruction": "Nothing.", "instances": []},
        {"instruction": 5, "instances": [{"input": "", "output": "x"}]},
    ]
    assert read("unnatural_instructions", rows) == [
        talk("d_0", ("Name it. ", "i"), "a"),
        talk("d_1", "Name it. \nOne word.", " b "),
        talk("d_2", "Name it. ", "c"),
        Dropped("d record 0 instance 3", "output is not text"),
        talk("d_3", "Name it. ", "d"),
        Dropped("d record 0 instance 5", "constraints is not text"),
        Dropped("d record 1", "no instances"),
        Dropped("d record 2 instance 0", "instruction is not text"),
    ]
    with pytest.raises(UserError, match="raw:1: instance 1 has no output"):
        read("unnatural_instructions", [{"instruction": "x", "instances": [{"output": "a"}, {"input": "b"}]}])


def baize(text: str, **settings: Any) -> list[Conversation | Dropped]:
    return read("baize", [{"input": text, "topic": "t"}], **settings)


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("Preamble.\n[|Human|] a \n[|AI|] b\n[|Human|] ", ("a", "b")),
        ("[|AI|] first [|Human|] a [|AI|] b", ("a", "b")),
        ("[|Human|] no answer [|Human|] a [|AI|] b", ("a", "b")),
        ("[|Human|] a [|AI|] b [|Human|]  [|AI|]  [|Human|] c [|AI|] d", ("a", "b", "c", "d")),
        ("[|Human|] a [|AI|] [|Human|] c [|AI|] d", ("c", "d")),
        ("[|Human|] [|AI|] b [|Human|] c [|AI|] d", ("c", "d")),
        ("[|Human|] a [|AI|] b [|AI|] [|AI|] c [|Human|] d [|AI|] e", ("a", "b\n\nc", "d", "e")),
    ],
)
def test_baize_keeps_whole_rounds(text: str, turns: tuple[str, ...]) -> None:
    assert baize(text) == [talk("d_0", *turns)]


@pytest.mark.parametrize("text", ["", "no marks", "[|Human|]", "[|Human|] a", "[|AI|] b", "[|Human|] [|AI|] "])
def test_baize_drops_transcripts_without_a_whole_round(text: str) -> None:
    assert baize(text) == [Dropped("d_0", "no whole round")]


def test_baize_in_compat_keeps_blank_rounds_and_stops_where_the_original_does() -> None:
    assert baize("no marks", compat=True) == [Conversation("d", "d_0", ())]
    assert baize("[|Human|] [|AI|] ", compat=True) == [talk("d_0", "", "")]
    with pytest.raises(UserError, match="raw:1: two answers in one round") as caught:
        baize("[|Human|] a [|AI|] b [|AI|] c", compat=True)
    assert "without compat" in caught.value.hint


def test_messages_keep_their_own_ids_and_name_their_data_set() -> None:
    turns = [{"role": "user", "content": "q", "context": "c"}, {"role": "assistant", "content": "a"}]
    rows: list[Mapping[str, Any]] = [
        {"messages": turns, "id": "own", "dataset": "other"},
        {"messages": turns, "provenance": {"by": "me"}},
        {"messages": []},
    ]
    messages = talk("", ("q", "c"), "a").messages
    assert read("messages", rows) == [
        Conversation("d", "own", messages, {"dataset": "other"}),
        Conversation("d", "d_1", messages, {"by": "me"}),
        Dropped("d_2", "no messages"),
    ]
    with pytest.raises(UserError, match=r"raw:1: message 0: unknown role 'tool'"):
        read("messages", [{"messages": [{"role": "tool", "content": "x"}]}])


def test_prompt_completion_loses_the_end_mark_of_gpt3_files() -> None:
    rows = [{"prompt": "p", "completion": " c<|endoftext|>"}, {"prompt": "p", "completion": "c"}]
    assert read("prompt_completion", rows) == [talk("d_0", "p", " c"), talk("d_1", "p", "c")]


def test_prompt_completion_takes_lists_of_messages() -> None:
    """The conversational form of TRL."""
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    answered = [{"role": "assistant", "content": "a<|endoftext|>"}]
    rows: list[Mapping[str, Any]] = [
        {"prompt": asked, "completion": answered},
        {"prompt": asked, "completion": "a"},
        {"prompt": "q", "completion": answered},
        {"prompt": [], "completion": []},
        {"prompt": None, "completion": answered},
        {"prompt": "q", "completion": {"content": "a"}},
    ]
    system = Message("system", "s")
    assert read("prompt_completion", rows) == [
        Conversation("d", "d_0", (system, *talk("", "q", "a<|endoftext|>").messages)),
        Conversation("d", "d_1", (system, *talk("", "q", "a").messages)),
        talk("d_2", "q", "a<|endoftext|>"),
        Dropped("d_3", "no messages"),
        Dropped("d_4", "prompt is neither text nor a list of messages"),
        Dropped("d_5", "completion is neither text nor a list of messages"),
    ]
    with pytest.raises(UserError, match=r"raw:1: message 1: unknown role 'bot'"):
        read("prompt_completion", [{"prompt": "q", "completion": [{"role": "bot", "content": "x"}]}])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, "missing instruction, output (found: text; expected: instruction, output)") for name in ALPACA_SHAPED),
        ("dolly", "missing instruction, response (found: text; expected: instruction, response)"),
        ("cot", "missing inputs, targets (found: text; expected: inputs, targets)"),
        ("flan_v2", "missing inputs, targets (found: text; expected: inputs, targets)"),
        ("baize", "missing input (found: text; expected: input)"),
        (
            "unnatural_instructions",
            "missing instruction, instances (found: text; expected: instruction, instances)",
        ),
        ("messages", "missing messages (found: text; expected: messages)"),
        ("prompt_completion", "missing prompt, completion (found: text; expected: prompt, completion)"),
    ],
)
def test_a_wrong_schema_is_told_what_was_found_and_expected(name: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read(name, [{"text": "x"}])
    assert caught.value.message == f"raw:1: {expected}"


@pytest.mark.parametrize(
    ("fields", "formats"),
    [
        (("instruction", "input", "output"), ALPACA_SHAPED),
        (("instruction", "context", "response", "category"), ["dolly"]),
        (("instruction", "instances"), ["unnatural_instructions"]),
        (("inputs", "targets", "task"), ["cot", "flan_v2"]),
        (("prompt", "completion"), ["prompt_completion"]),
        (("messages", "prompt", "completion"), ["prompt_completion"]),
        (("id", "dataset", "messages"), ["messages"]),
        (("input", "topic"), ["baize"]),
        (("Definition", "Positive Examples", "Negative Examples", "Instances"), ["super_ni"]),
        (("text",), []),
        ((), []),
    ],
)
def test_fields_suggest_the_formats_that_they_fit(fields: tuple[str, ...], formats: list[str]) -> None:
    assert fitting_formats(fields) == formats
