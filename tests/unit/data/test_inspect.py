"""`data inspect`: tokens and labels are exactly those of training, and no byte of the data acts on the terminal."""

import json
import shutil
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.conversation import parse_conversation
from packtrain.core.errors import UserError
from packtrain.data.inspection.find_conversations import by_row, row_of
from packtrain.data.inspection.inspect import Inspector
from packtrain.data.inspection.token_text import TokenText
from packtrain.data.inspection.visible_text import harmless, harmless_json, visible
from packtrain.prompts.encode import IGNORED, Mode, encode
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer

HOSTILE = "\x00\x07\x1b[31m\x1b]0;title\x07\x9b2J\u202etxt\u2066\u200b\ufeff\u00ad\r\x7f\u2028"


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Tokenizer:
    return load_tokenizer(tiny_base)


def row(identity: str, *turns: str, dataset: str = "d") -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": turn} for number, turn in enumerate(turns)]
    return {"dataset": dataset, "id": identity, "messages": messages}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("mode", ["default", "compat"])
@pytest.mark.parametrize("limit", [512, 40, 20])
def test_ids_and_labels_are_those_of_training(tokenizer: Tokenizer, mode: Mode, limit: int) -> None:
    conversation = parse_conversation(row("a", "Name  a\tcolour.", "The €.", "q", "z" * 9), "here")
    template = load_template("tulu")
    seen = Inspector(template, tokenizer, limit, mode).inspect(conversation)
    encoded = encode([conversation], template, tokenizer, limit, mode)
    assert seen.cut_at_limit == bool(encoded.cut_at_limit)
    assert seen.text == template.render(conversation.messages, "</s>").text
    assert [token.id for token in seen.tokens] == tokenizer.ids(seen.text)
    assert [token.id for token in seen.tokens[:limit]] == list(seen.input_ids)
    if limit == 20:
        assert encoded.examples == []
        assert seen.dropped == "nothing to learn within the length limit"
        assert set(seen.labels) == {IGNORED}
        assert seen.learnt_tokens == 0
        return
    [example] = encoded.examples
    assert list(seen.input_ids) == list(example.input_ids)
    assert list(seen.labels) == list(example.labels)
    assert [token.learnt for token in seen.tokens[:limit]] == [label != IGNORED for label in example.labels]
    assert not any(token.learnt for token in seen.tokens[limit:])
    assert seen.learnt_tokens == example.learnt_tokens
    assert seen.dropped is None


def test_exactly_at_the_limit_nothing_is_cut(tokenizer: Tokenizer) -> None:
    conversation = parse_conversation(row("a", "q", "z"), "here")
    template = load_template("tulu")
    whole = len(tokenizer.ids(template.render(conversation.messages, "</s>").text))
    at, over = (Inspector(template, tokenizer, whole - less).inspect(conversation) for less in (0, 1))
    assert (at.cut_at_limit, over.cut_at_limit) == (False, True)
    assert at.tokens == (*over.tokens[:-1], at.tokens[-1])
    assert (at.tokens[-1].piece, at.tokens[-1].special, at.tokens[-1].learnt) == ("</s>", True, True)
    assert (over.tokens[-1].piece, over.tokens[-1].learnt) == ("</s>", False)


@pytest.mark.parametrize(
    ("record", "template", "reason", "shown"),
    [
        (row("a", "say </s>", "z"), "tulu", "control token in the text", True),
        (row("a", "q"), "tulu", "nothing to learn within the length limit", True),
        (row("a", "q", "\ud800"), "tulu", "text is not valid Unicode", False),
        (row("a", "q", "z", "q", "z"), "alpaca", "template alpaca: the Alpaca format has one", False),
    ],
)
def test_what_training_leaves_out_is_shown_with_the_reason(
    tokenizer: Tokenizer, record: dict[str, Any], template: str, reason: str, shown: bool
) -> None:
    seen = Inspector(load_template(template), tokenizer, 512).inspect(parse_conversation(record, "here"))
    assert seen.dropped is not None
    assert seen.dropped.startswith(reason)
    assert (seen.text is not None) == bool(seen.input_ids) == shown
    assert set(seen.labels) <= {IGNORED}
    assert len(seen.labels) == len(seen.input_ids)


def test_tokens_are_shown_as_what_they_stand_for(tokenizer: Tokenizer) -> None:
    """Byte-level: `€` is three bytes, each a token; what cannot become a character stays bytes."""
    shown = TokenText(tokenizer)

    def texts(text: str) -> list[str]:
        return list(shown.texts(tokenizer.backend.encode(text, add_special_tokens=False).ids))

    assert texts("z\n\tq") == ["z", "⏎", "→", "q"]
    assert texts("z€q") == ["z", "‹0xE2›", "‹0x82›", "‹0xAC=€›", "q"]
    assert texts("z</s>") == ["z", "</s>"]
    assert texts("·⟦") == ["‹0xC2›", "‹0xB7=U+00B7›", "‹0xE2›", "‹0x9F›", "‹0xA6=U+27E6›"]
    euro = tokenizer.backend.encode("€", add_special_tokens=False).ids
    letter = tokenizer.id_of("z")
    assert list(shown.texts([*euro[:2], letter])) == ["‹0xE2›", "‹0x82›", "z"]
    assert list(shown.texts([*euro[1:], letter])) == ["‹0x82›", "‹0xAC›", "z"]
    assert list(shown.texts([*euro[:1], tokenizer.eos_id, *euro])) == [
        "‹0xE2›", "</s>", "‹0xE2›", "‹0x82›", "‹0xAC=€›",
    ]  # fmt: skip


@pytest.mark.real_data
def test_sentencepiece_tokens_are_shown_as_what_they_stand_for(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "data" / "tokenizers" / "llama")
    shown = list(TokenText(tokenizer).texts(tokenizer.ids("Hi  you\n🎉e\u0301")))
    assert shown == ["<s>", "·Hi", "·", "·you", "⏎", "‹0xF0›", "‹0x9F›", "‹0x8E›", "‹0x89=🎉›", "e", "◌\u0301"]


def test_visible_text_has_nothing_that_acts_or_hides() -> None:
    assert visible("a b\n\tc") == "a·b⏎→c"
    assert visible("·‹\u200b\ufe0f\u3164") == "‹U+00B7›‹U+2039›‹U+200B›‹U+FE0F›‹U+3164›"
    assert harmless("a · b\x1b\u202e\n") == "a · b‹U+001B›‹U+202E›⏎"
    every = "".join(map(chr, range(0x30000)))
    for shown in (visible(every), harmless(every)):
        assert {unicodedata.category(char) for char in shown if char != " "}.isdisjoint(
            {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
        )


def test_json_text_is_harmless_and_means_the_same() -> None:
    value = {"text": HOSTILE + "\ud800é", "list": [1, None, True]}
    text = harmless_json(value)
    assert json.loads(text) == value
    assert "é" in text
    assert {unicodedata.category(char) for char in text}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


def test_a_conversation_is_found_by_its_id(tmp_path: Path) -> None:
    rows = [row("a", "q"), row("b", "q"), row("a", "q", dataset="e"), row("x/y", "q"), row("b", "q")]
    path = written(tmp_path / "f.jsonl", *rows)
    assert row_of(path, "d/a") == 1
    assert row_of(path, "e/a") == 3
    assert row_of(path, "x/y") == row_of(path, "d/x/y") == 4
    with pytest.raises(UserError, match=r"2 conversations a: d/a \(row 1\), e/a \(row 3\)"):
        row_of(path, "a")
    with pytest.raises(UserError, match=r"2 conversations d/b: d/b \(row 2\), d/b \(row 5\)"):
        row_of(path, "d/b")
    with pytest.raises(UserError, match=r"has no conversation x/z") as caught:
        row_of(path, "x/z")
    assert caught.value.hint.startswith("the closest are: d/x/y")


def test_a_conversation_is_found_by_its_row(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", *(row(str(number), "q") for number in range(1, 6)))
    assert [found.id for found in by_row(path, 2, 2)] == ["2", "3"]
    assert [found.id for found in by_row(path, 5, 9)] == ["5"]
    with pytest.raises(UserError, match="has no row 6") as caught:
        list(by_row(path, 6, 1))
    assert caught.value.hint == "its last row is 5"
    with pytest.raises(UserError, match="holds no conversations"):
        list(by_row(written(tmp_path / "empty.jsonl"), 1, 1))
    (tmp_path / "broken.jsonl").write_text('{"dataset":')
    with pytest.raises(UserError, match=r"broken\.jsonl:1: not valid JSON"):
        list(by_row(tmp_path / "broken.jsonl", 1, 1))


def test_the_command_shows_what_is_learnt_in_brackets(tmp_path: Path, tiny_base: Path, packtrain: Any) -> None:
    path = written(tmp_path / "f.jsonl", row("a", "q", "z z\nj"))
    inspect = ("data", "inspect", path, "--tokenizer", tiny_base, "--template", "tulu")
    finished = packtrain(*inspect)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[2:] == [
        "d/a",
        "30 tokens, 6 learnt (20.0 %)",
        "<s><|user|>⏎",
        "q⏎",
        "<|assistant|>⏎",
        "⟦z·z⏎",
        "j</s>⟧",
    ]
    cut = packtrain(*inspect, "--max-length", 26).stdout.splitlines()
    assert cut[3] == "26 tokens, 2 learnt (7.7 %) of 30, cut at the limit of 26"
    assert cut[7] == "⟦z·⟧"
    assert cut[8].strip("- ") == "the limit: the model does not see the 4 tokens behind it"
    assert cut[9:] == ["z⏎", "j</s>"]
    table = packtrain(*inspect, "--ids").stdout.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table if line.startswith("│")]
    assert len(cells) == 30
    assert cells[0] == ["0", "1", "<s>", "<s>", ""]
    assert cells[-1] == ["29", "2", "</s>", "</s>", "learnt"]


def test_hostile_text_never_reaches_the_terminal(tmp_path: Path, tiny_base: Path, packtrain: Any) -> None:
    """In the answer, in the name and in the id; in every view, on stdout and on stderr."""
    path = written(
        tmp_path / "f.jsonl",
        row("i" + HOSTILE, "q", "z" + HOSTILE, dataset="d" + HOSTILE),
        row("half", "q", HOSTILE + "\ud800"),
    )
    common = ("data", "inspect", path, "--tokenizer", tiny_base, "--template", "tulu")
    for views in (("--count", 2), ("--count", 2, "--ids"), ("--count", 2, "--json"), ("--id", "nothing")):
        finished = packtrain(*common, *views)
        assert finished.returncode == (2 if "--id" in views else 0), finished.stderr
        for text in (finished.stdout, finished.stderr):
            found = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")}
            assert found <= {"\n"}, views


def test_json_of_the_command(tmp_path: Path, tiny_base: Path, packtrain: Any) -> None:
    path = written(tmp_path / "f.jsonl", row("a", "q", "z"), row("b", "q </s>", "z"), row("c", "q", "z"))
    common = ("data", "inspect", path, "--tokenizer", tiny_base / "tokenizer.json", "--template", "tulu", "--json")
    one = packtrain(*common, "--id", "a", "--max-length", 25)
    found = json.loads(one.stdout)
    assert list(found) == [
        "dataset", "id", "text", "input_ids", "labels", "tokens", "learnt_tokens", "cut_at_limit", "dropped",
    ]  # fmt: skip
    assert (found["dataset"], found["id"]) == ("d", "a")
    assert found["text"] == "<|user|>\nq\n<|assistant|>\nz</s>"
    assert len(found["input_ids"]) == len(found["labels"]) == len(found["tokens"]) == 25
    assert found["tokens"][0] == "<s>"
    assert found["labels"] == [*[IGNORED] * 24, found["input_ids"][24]]
    assert (found["learnt_tokens"], found["cut_at_limit"], found["dropped"]) == (1, True, None)

    several = [json.loads(line) for line in packtrain(*common, "--row", 2, "--count", 9).stdout.splitlines()]
    assert [entry["id"] for entry in several] == ["b", "c"]
    assert several[0]["dropped"] == "control token in the text"
    assert set(several[0]["labels"]) == {IGNORED}

    both = packtrain(*common, "--row", 2, "--id", "a")
    assert (both.returncode, both.stderr.splitlines()[0]) == (2, "error: both --id and --row are given")


def test_the_stored_format_is_taken_when_none_is_named(tmp_path: Path, tiny_base: Path, packtrain: Any) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_base / name, folder / name)
    path = written(tmp_path / "f.jsonl", row("a", "q", "z"))
    without = packtrain("data", "inspect", path, "--tokenizer", folder)
    assert without.returncode == 2
    assert "stores no prompt format" in without.stderr
    (folder / "chat_template.jinja").write_text(load_template("alpaca").source)
    found = json.loads(packtrain("data", "inspect", path, "--tokenizer", folder, "--json").stdout)
    assert found["text"].endswith("### Instruction:\nq\n\n### Response:z</s>")


@pytest.mark.real_data
def test_the_command_gives_the_ids_and_labels_of_the_original_code(
    tmp_path: Path, shared: Path, packtrain: Any
) -> None:
    """Open-Instruct's and Stanford Alpaca's own functions of 2023, token by token, in both prompt formats."""
    oracles, llama = shared / "data" / "oracles" / "encoding", shared / "data" / "tokenizers" / "llama"
    published = tmp_path / "published"
    published.mkdir()
    shutil.copy(oracles / "llama_2023_tokenizer" / "tokenizer.json", published)
    (published / "tokenizer_config.json").write_text('{"eos_token": "</s>", "pad_token": "<pad>"}')
    compared = 0
    for template, file, encoding, folder, limits in (
        ("tulu", "messages", "llama_finetune", published, (512, 64)),
        ("tulu", "messages", "llama_original_specials", llama, (1024,)),
        ("alpaca", "alpaca", "llama", llama, (512, 64, 32)),
    ):
        by_limit = defaultdict(list)
        for case in json.loads((oracles / f"{file}.json").read_text())["cases"]:
            by_limit[case.get("max_seq_length", case.get("model_max_length"))].append(case)
        for limit in limits:
            cases = by_limit[limit]
            rows = [_of_case(case, str(number)) for number, case in enumerate(cases)]
            options = ("--tokenizer", folder, "--template", template, "--max-length", limit, "--count", len(rows))
            path = written(tmp_path / f"{template}-{limit}.jsonl", *rows)
            finished = packtrain("data", "inspect", path, *options, "--compat", "--json")
            found = [json.loads(line) for line in finished.stdout.splitlines()]
            assert len(found) == len(cases), finished.stderr
            for entry, case in zip(found, cases, strict=True):
                expected = case["encodings"][encoding]
                assert entry["input_ids"] == expected["input_ids"], case["name"]
                learnt = sum(label != IGNORED for label in expected["labels"][1:])
                assert (entry["dropped"] is None) == bool(learnt), case["name"]
                assert entry["labels"] == (expected["labels"] if learnt else [IGNORED] * len(expected["labels"]))
                assert entry["learnt_tokens"] == learnt
                compared += 1
    assert compared >= 36


def _of_case(case: dict[str, Any], identity: str) -> dict[str, Any]:
    if "messages" in case:
        return {"dataset": "oracle", "id": identity, "messages": case["messages"]}
    asked = {"role": "user", "content": case["row"]["instruction"]}
    if case["row"].get("input"):
        asked["context"] = case["row"]["input"]
    answered = {"role": "assistant", "content": case["row"]["output"]}
    return {"dataset": "oracle", "id": identity, "messages": [asked, answered]}
