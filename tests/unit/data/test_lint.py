"""Every lint rule: what it finds, where, and what looks alike and is passed; the command and its output."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message, write_conversations
from packtrain.core.errors import UserError
from packtrain.core.folder import module, names
from packtrain.data.cleaning import load_rules
from packtrain.data.lint import RULES, Finding, lint, lint_file, load_lint_rules

Turn = str | tuple[str, str]
CLEANING = [rule.name for rule in load_rules()]
ROSE = "A rose is a flower of many colours."


def talk(*turns: Turn, identity: str = "toy_0") -> Conversation:
    """A conversation of alternating turns; a pair is a question with its context."""
    messages = []
    for index, turn in enumerate(turns):
        text, context = (turn, None) if isinstance(turn, str) else turn
        messages.append(Message(("user", "assistant")[index % 2], text, context))
    return Conversation("toy", identity, tuple(messages))


def find(name: str, *conversations: Conversation) -> list[Finding]:
    return list(lint(conversations, load_lint_rules([name])))


STORY = "The river runs to the sea. " * 3 + "Many people live along its banks and fish there every day. "
CHAPTERS = " ".join(f"Chapter {n} tells of the year {1900 + n}, of a king and his {n} ships." for n in range(30))
LONG = CHAPTERS + " In the end they were grateful for all that had happened"
CAT = "Жила-была кошка, и жила-была собака, и они очень дружили."
LOOP = "It is what it is, and so it goes on. "

FOUND: list[tuple[str, Conversation, str, str]] = [
    ("unusable", talk("Hi", ""), "empty answer", ""),
    ("unusable", talk("Hi"), "last turn is not the assistant's", ""),
    ("boilerplate", talk("Hi", "Well, as an AI language model, I cannot."), "", "as an AI language model"),
    ("boilerplate", talk("Hi", "I'm just an AI assistant."), "", "I'm just an AI assistant"),
    ("boilerplate", talk("Draw.", "It cannot be completed by a GPT model."), "", "cannot be completed by a GPT"),
    ("current_data", talk("Report the current temperature in Dubai.", "30"), "", "Report the current temperature"),
    ("current_data", talk("Tell me the weather in Rome today.", "Sunny"), "", "Tell me the weather in Rome today"),
    ("current_data", talk("What time is it?", "It is noon."), "", "What time is it"),
    ("cut_off", talk("Tell it.", STORY + "And then they all came down to the river and saw the"), "", "the"),
    ("cut_off", talk("Tell it.", LONG), "", "d"),
    ("echo", talk("Name three lakes.", " Name three lakes"), "repeats the instruction", " Name three lakes"),
    ("echo", talk(("Match them.", "Fir - A\nOak - B"), " Fir - A\nOak - B"), "repeats the input", " Fir - A\nOak - B"),
    ("entities", talk("Quote him.", "He said &quot;yes&quot;."), "", "&quot;"),
    ("entities", talk("Quote him.", "Use `&lt;` here, &amp; there."), "", "&amp;"),
    (
        "instruction_leak",
        talk("Write a function that adds numbers.", '"""Write a function that adds numbers.\n"""\ndef add(): ...'),
        "",
        "Write a function that adds numbers.",
    ),
    ("invisible_characters", talk("Hi", "a\x0bb"), "U+000B", "\x0b"),
    ("invisible_characters", talk(("Hi", "a\u200bb"), "c"), "U+200B", "\u200b"),
    ("invisible_characters", talk("\u202eHi", "c"), "U+202E", "\u202e"),
    ("link_in_question", talk("Summarize this article:\nhttps://e.org/a", ROSE), "", "https://e.org/a"),
    ("loop", talk("Go on.", "Well. " + LOOP * 8), "", (LOOP * 5).strip()[:160]),
    ("loop", talk("Sing.", "ja " * 100), "", ("ja " * 54)[:160]),
    ("mojibake", talk("Hi", "donâ€™t"), "", "â€™"),
    ("mojibake", talk("Hi", "cafÃ©s"), "", "Ã©"),
    ("mojibake", talk("Hi", "25Â°C"), "", "Â°"),
    ("mojibake", talk("Hi", "what\ufffd"), "", "\ufffd"),
    ("other_script", talk("Tell me a rather long story about a small cat and a big dog.", CAT), "", CAT),
    ("prompt_marks", talk("Do it. ### Instruction: Sing.", "La"), "", "### Instruction:"),
    ("prompt_marks", talk("Sing.", "La\n\n## Input : x"), "", "## Input :"),
    ("prompt_marks", talk("[INST] Sing. [/INST]", "La"), "", "[INST]"),
    ("prompt_marks", talk("Sing.", "La\nUser: Again!\nAssistant: La"), "", "User: Again!\nAssistant:"),
    ("repeated_input", talk(("Rewrite: 'She liked running.'", "She liked running."), "x"), "", "She liked running."),
    ("unclosed_fence", talk("Code?", "Here:\n```python\nx = 1\n"), "", "```python"),
    ("unclosed_fence", talk("Code?", "```\na\n```\n\n- b\n  ~~~~\n  c\n  ~~~"), "", "~~~~"),
    *(
        ("wrong_arithmetic", talk("Add up.", f"So we get {text}."), "", text)
        for text in (
            "2 + 2 = 5", "12 * 12 = 140", "1,000 - 1 = 998", "$2.49 × 0.5 = $4.98", "10 / 4 = 4", "2 + 3 x 4 = 20",
            "1.5 + 1.5 = 3.5",
            "2 * 3 + 4 = 6 + 4 = 11", "7 - 10 = 3", "100 ÷ 3 = 34.5",
        )
    ),
]  # fmt: skip

PASSED: list[tuple[str, Conversation]] = [
    ("unusable", talk("Hi", "Ho")),
    ("boilerplate", talk("Hi", "I am an AI researcher, as an artificial lake is a lake.")),
    ("boilerplate", talk("As an AI language model, hi", "Ho")),
    ("boilerplate", talk("Count vowels.", 'count("I am an AI language model");\n')),
    ("current_data", talk("What is the current exchange rate of the yen?", "I'm sorry, I cannot know.")),
    ("current_data", talk("Find the price of gold today.", "It is impossible to say.")),
    ("current_data", talk("Translate: What is the weather today?", "Wie ist das Wetter heute?")),
    ("current_data", talk("Write Python code to get the current date.", "import datetime")),
    ("current_data", talk("What is the weather like in Rome?", "Mild")),
    ("current_data", talk("What was the news in 1989?", "The wall fell.")),
    ("current_data", talk(("What is the latest news?", "The wall fell."), "It fell.")),
    ("cut_off", talk("Tell it.", STORY + "And then they all came down to the river and saw the.")),
    ("cut_off", talk("Name things.", "- one thing\n- another thing that is made of")),
    ("cut_off", talk("Code?", "```\nfor every one of the lines in all of the files of the\n```")),
    ("cut_off", talk("Tell it.", STORY + "And then they all came down to the river and saw it")),
    ("cut_off", talk("Tell it. " + LONG, "Yes, they did come down to the river and they saw everything there!")),
    ("echo", talk(("Correct the grammar.", "She is right about it."), "She is right about it.")),
    ("echo", talk(("Write it in capitals.", "this is a test case"), "THIS IS A TEST CASE")),
    ("echo", talk(("Insert commas.", "apples pears and plums"), "apples, pears, and plums")),
    ("echo", talk(("What is in it?", "tea"), "tea")),
    ("echo", talk(("Put a full stop.", "I ate a plum for lunch"), "I ate a plum for lunch.")),
    ("echo", talk(("Divide it into paragraphs.", "It is sunny. Birds sing."), "It is sunny.\n\nBirds sing.")),
    ("entities", talk("How does HTML write a quote?", "As &quot;.")),
    ("entities", talk("Name them.", "AT&T; R&D; `&lt;`")),
    ("entities", talk("Show code.", "```\na &amp;&amp; b\n```")),
    ("instruction_leak", talk("Write about rain in the spring", "Write about rain in the spring is what I do.")),
    ("instruction_leak", talk("Sing a song", "Sing a song\nla la la")),
    ("invisible_characters", talk("Hi\tthere\r\n", "👩\u200d👧 क\u200dष é")),
    ("link_in_question", talk("Is https://e.org/a a valid URL?", "Yes")),
    ("link_in_question", talk("Summarize https://e.org/a", "I'm unable to open links.")),
    ("link_in_question", talk("Read [ISO](https://e.org/iso) dates: 1, 2", "1, 2")),
    ("link_in_question", talk("Summarize https://e.org/a:\n" + STORY * 3, ROSE)),
    ("link_in_question", talk("Write Python that reads https://e.org/a", "import requests")),
    ("loop", talk("Sing.", "la la la " * 10)),
    ("loop", talk("Tell it.", LONG)),
    ("loop", talk(LOOP * 20, "Yes")),
    ("loop", talk("Table?", "| 1 | 2 | 3 | 4 |\n" * 60)),
    ("mojibake", talk("Hi", "naïve café Ångström – “quoted” €5 … ÂME Ã")),
    ("other_script", talk("Translate into Russian: the cat and the dog are friends now.", CAT)),
    ("other_script", talk("Расскажи мне длинную сказку про кошку и про собаку.", CAT)),
    ("other_script", talk("Hi", "Привет")),
    ("prompt_marks", talk("Use # Instruction: and instructions: both", "### Instructions\n1. Preheat")),
    ("prompt_marks", talk("Write a dialogue.", "User: Hi\nAssistant: Ho")),
    ("repeated_input", talk(("Rewrite the sentence.", "She liked running."), "x")),
    ("repeated_input", talk(("Define the word lake.", "lake"), "x")),
    ("unclosed_fence", talk("Code?", "```python\nx = 1\n```\nand ```y``` too\n~~~\nz\n~~~")),
    ("unclosed_fence", talk("```\nopen", "closed")),
    *(
        ("wrong_arithmetic", talk("Add up.", text))
        for text in (
            "2 + 2 = 4", "So 10 / 3 = 3.33.", "10 / 3 = 3 remainder 1", "1 + 1 = 2 + 1 = 3 is not right",
            "x + 2 = 4", "3x - 3 = 4 - 3",
            "(1 + 2) * 3 = 9", "2^3 + 1 = 9", "3 2 + 2 = 5", "1/2 + 1/3 = 5/6", "= 2 + 2 = 5", "5 + 3 = 8%",
            "17 / 5 = 3 R2", "2 + 2 = 5x",
            "20 / 100 = 20%", "Take a + 2 + 2 = 5", "7 + 8 = 3 (mod 12)", "2 / 0 = 1", "1.25 + 1.25 = 2.5",
            "2023-01-05 = 2017", "5 = 6",
            "f(2) = 5 + 1 = 6", "```\n2 + 2 = 5\n```", "1,5 + 1 = 2,5", "3 × 1/3 = 1", "1/3 = 0.33", "2/3 = 0.67",
            "0.1 + 0.2 = 0.3", "$5 - $2 = $3",
            "100 * 1.05 = 105.00", "22 / 7 = 3.14", "1 + 2... = 5", "A1 + 2 = 9", "2.5.3 + 1 = 9",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", names(RULES, ".py"))
def test_every_rule_says_what_it_finds_and_what_to_do(name: str) -> None:
    found = module(RULES, name, "lint rule")
    assert (found.__doc__ or "").startswith("Finds ")
    assert found.SEVERITY in ("error", "warning", "note")
    assert found.MEND
    assert hasattr(found, "find") != hasattr(found, "start")


@pytest.mark.parametrize(("name", "conversation", "what", "marked"), FOUND)
def test_finds(name: str, conversation: Conversation, what: str, marked: str) -> None:
    [finding] = find(name, conversation)
    assert (finding.rule, finding.what, finding.marked) == (name, what, marked)
    if marked:
        message = conversation.messages[finding.message]
        around = finding.before + finding.marked + finding.after
        assert around in message.content or around in (message.context or "")


@pytest.mark.parametrize(("name", "conversation"), PASSED)
def test_passes(name: str, conversation: Conversation) -> None:
    assert find(name, conversation) == []


def test_every_rule_is_tried_both_ways() -> None:
    assert {entry[0] for entry in FOUND} == {entry[0] for entry in PASSED} == set(names(RULES, ".py")) - {"duplicate"}


def test_duplicates_are_those_that_ask_the_same_in_all_rounds() -> None:
    records = [
        talk(("Add", "1 2"), "3", identity="a"),
        talk(("Add", "1 3"), "4", identity="b"),
        talk((" ADD\n", "1  2"), "5", identity="c"),
        talk(("Add", "1 2"), "3", "And 4?", "7", identity="d"),
        talk(("Add", "1 2"), "3", identity="a"),
    ]
    found = find("duplicate", *records)
    assert [(finding.record, finding.id, finding.what) for finding in found] == [
        (3, "c", "first in a"),
        (5, "a", "first in a"),
    ]
    assert find("duplicate", *records[:2]) == []  # every run begins with an empty memory


def test_cleaning_rules_are_findings_too() -> None:
    [mended] = find("placeholder_input", talk(("Name a lake.", "Say: \n<noinput>"), "Como"))
    assert (mended.severity, mended.what, mended.before, mended.marked) == (
        "warning",
        "would be mended",
        "Say:",
        " \n<noinput>",
    )
    [dropped] = find("merged_item", talk("Say it.", "A rose.\n7. Instruction: Sing."))
    assert dropped.severity == "error"
    assert dropped.what == "an answer runs on into another task"
    assert (dropped.before, dropped.marked, dropped.after) == ("A rose.\n", "7. Instruction:", " Sing.")
    [cut] = find("empty_answer", talk("a", "b", "c", "\u200b"))
    assert (cut.message, cut.what) == (2, "would be cut off from here")
    [short] = find("too_short", talk("Hi", "Ho"))
    assert (short.severity, short.marked, short.after) == ("note", "", "Hi | Ho")
    assert {rule.name for rule in load_lint_rules()} == {*names(RULES, ".py"), *CLEANING}


def test_rules_come_errors_first_and_an_unknown_name_is_told() -> None:
    severities = [rule.severity for rule in load_lint_rules()]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    with pytest.raises(UserError, match="unknown lint rule: merged") as caught:
        load_lint_rules(["merged"])
    assert caught.value.hint.startswith("did you mean merged_item? there are: boilerplate, control_tokens, copy_code, ")


ROLES = st.sampled_from(["system", "user", "assistant"])
TEXT = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([*"1+ =,x/Ã©\n\ud800", "2.5", "```", "~~~", "&lt;", "ja "]), max_size=60).map("".join),
)
MESSAGES = st.lists(st.builds(Message, ROLES, TEXT, st.one_of(st.none(), TEXT)), min_size=1, max_size=5)


@given(MESSAGES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_rule_fails_and_every_finding_can_be_written(messages: list[Message]) -> None:
    for finding in lint([Conversation("toy", "toy_\ud800", tuple(messages))], load_lint_rules()):
        assert 0 <= finding.message < len(messages)
        (finding.id + finding.what + finding.before + finding.marked + finding.after).encode("utf-8")


def write(path: Path, *conversations: Conversation) -> Path:
    write_conversations(path, conversations)
    return path


def test_a_file_is_counted_and_every_finding_written(tmp_path: Path) -> None:
    sound = talk("Name a lake in Europe.", "Lake Como", identity="a")
    wrong = [talk("Add two numbers.", f"So {n} + 1 = 0.", identity=f"w{n}") for n in range(1, 6)]
    path, out = write(tmp_path / "toy.jsonl", sound, *wrong), tmp_path / "found.jsonl"
    rules = load_lint_rules(["wrong_arithmetic", "duplicate", "loop"])
    report = lint_file(path, rules, examples=2, out=out)
    assert report.records == 6
    assert report.counts == {"wrong_arithmetic": 5, "duplicate": 4, "loop": 0}
    assert [finding.id for finding in report.examples["wrong_arithmetic"]] == ["w1", "w2"]
    assert report.examples["loop"] == []
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 9
    assert lines[0] == {
        "rule": "wrong_arithmetic", "severity": "error", "dataset": "toy", "id": "w1", "record": 2, "message": 1,
        "what": "", "before": "So ", "marked": "1 + 1 = 0", "after": ".",
    }  # fmt: skip
    with pytest.raises(UserError, match="exists already"):
        lint_file(path, rules, out=out)


def test_an_empty_file_is_told_and_the_file_itself_never_replaced(tmp_path: Path) -> None:
    path, out = tmp_path / "empty.jsonl", tmp_path / "found.jsonl"
    path.write_text("")
    with pytest.raises(UserError, match=r"empty\.jsonl holds no conversations"):
        lint_file(path, load_lint_rules(), out=out)
    assert not out.exists()
    with pytest.raises(UserError, match="would replace its own input"):
        lint_file(path, load_lint_rules(), out=path, overwrite=True)


def test_a_broken_line_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path, out = write(tmp_path / "toy.jsonl", talk("Hi there, you", "Ho there, me")), tmp_path / "found.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"dataset": "toy"\n')
    with pytest.raises(UserError, match=r"toy.jsonl:2: not valid JSON"):
        lint_file(path, load_lint_rules(), out=out)
    assert not out.exists()


def test_the_command_prints_a_table_and_marks_examples(packtrain: Any, tmp_path: Path) -> None:
    path = write(
        tmp_path / "toy.jsonl",
        talk("Add two numbers.", "So 2 + 2 = 5.", identity="sum"),
        talk("Say it.", "a\x1b[31mb\u202e and more", identity="escape"),
    )
    done = packtrain("data", "lint", path, "--show", 1)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("│┃ ").replace("│", " ").split() for line in done.stdout.splitlines()]
    assert ["wrong_arithmetic", "error", "1", "50.00", "%", "sum"] in rows
    assert ["invisible_characters", "warning", "1", "50.00", "%", "escape"] in rows
    lines = done.stdout.splitlines()
    assert "  sum message 1: So »2 + 2 = 5«." in lines
    assert "  escape message 1: U+001B: a»‹U+001B›«[31mb‹U+202E› and more" in lines
    assert "mend: correct the sum and what follows from it, or drop the record" in lines
    assert "\x1b" not in done.stdout


def test_the_command_gives_json_and_fails_when_strict(packtrain: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "toy.jsonl", talk("Add two numbers.", "So 2 + 2 = 5.", identity="sum"))
    loose = packtrain("data", "lint", path, "--json", "--rule", "wrong_arithmetic", "--rule", "loop")
    strict = packtrain("data", "lint", path, "--strict", "--json", "--rule", "wrong_arithmetic", "--rule", "loop")
    assert (loose.returncode, strict.returncode) == (0, 1)
    assert loose.stdout == strict.stdout
    result = json.loads(loose.stdout)
    assert result["records"] == 1
    assert {name: entry["records"] for name, entry in result["rules"].items()} == {"loop": 0, "wrong_arithmetic": 1}
    [example] = result["rules"]["wrong_arithmetic"]["examples"]
    assert (example["id"], example["marked"]) == ("sum", "2 + 2 = 5")
    assert packtrain("data", "lint", path, "--strict", "--rule", "duplicate").returncode == 0


def test_the_command_names_what_is_wrong(packtrain: Any, tmp_path: Path) -> None:
    missing = packtrain("data", "lint", tmp_path / "no.jsonl")
    assert missing.returncode == 2
    assert missing.stderr.splitlines()[0] == f"error: cannot read {tmp_path / 'no.jsonl'}: No such file or directory"
    unknown = packtrain("data", "lint", tmp_path / "no.jsonl", "--rule", "lop")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines()[0] == "error: unknown lint rule: lop"
    assert unknown.stderr.splitlines()[1].startswith("hint: did you mean loop? there are: ")


LONG_TEXTS = (
    " ", "\n", "\t", "a ", "1+1", "1 + ", "1", "1,111", "1=1", "<", "<a ", "<ab> ", "(", "[", "![", '"', "```",
    "```\n", "\n#", "\n1.", "\n<noinput>",
    "https://", "www.", "&amp;", "Ã©", "Copy code", "Copy1 chars / 1 words ", "1 / 1\n\n", "User: a\n", "Claude ",
    "language model Bard ",
    "the following ", "as an AI ", "what is the current ", '<div class="hljs"><td>',
)  # fmt: skip


@pytest.mark.timeout(60)  # a hang is the failure: a rule that is quadratic in the length needs hours
@pytest.mark.parametrize("piece", LONG_TEXTS)
def test_long_monotonous_texts_do_not_hang(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    answer = f"{text} end Assistant: Instruction Copy code = chars /"
    conversations = [talk(text, "Fine."), talk(("Describe it.", text), "Fine."), talk("Describe it.", answer)]
    assert all(finding.record <= 3 for finding in lint(conversations, load_lint_rules()))
