"""Token ids and labels equal those of the original code of 2023, token by token, in `compat` mode."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from packtrain.core.conversation import Conversation, Message
from packtrain.prompts.encode import IGNORED, encode
from packtrain.prompts.sentencepiece import tokenizer_from_sentencepiece
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.attention import attention_inputs
from packtrain.train.packing import Layout, micro_batches

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def oracles(shared: Path) -> dict[str, Any]:
    folder = shared / "data" / "oracles" / "encoding"
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in (*TEMPLATES, "strings")}


@pytest.fixture(scope="module")
def by_encoding(shared: Path) -> dict[str, Tokenizer]:
    """The tokenizers under the names that the oracles give them."""
    data = shared / "data"
    published = tokenizers.Tokenizer.from_file(
        str(data / "oracles" / "encoding" / "llama_2023_tokenizer" / "tokenizer.json")
    )
    original = tokenizer_from_sentencepiece(data / "tokenizers" / "llama" / "tokenizer.model")
    llama = Tokenizer(original, "</s>", "<s>", None, "<unk>")
    return {
        "llama_finetune": Tokenizer(published, "</s>", "<s>", "<pad>", "<unk>"),
        "llama_original_specials": llama,
        "llama": llama.with_pad("[PAD]"),
        "opt": Tokenizer(opt_tokenizer(data / "tokenizers" / "opt"), "</s>", "</s>", "<pad>", "<unk>"),
    }


def opt_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """OPT's byte-level BPE as open-instruct set it up: `<unk>` re-declared as a string swallows white space."""
    bpe = models.BPE.from_file(str(folder / "gpt2-vocab.json"), str(folder / "gpt2-merges.txt"))
    tokenizer = tokenizers.Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ("<pad>", "</s>")])
    tokenizer.add_special_tokens([AddedToken("<unk>", lstrip=True, rstrip=True, normalized=False, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["</s>", "$A"], pair=["</s>", "$A", "</s>", "$B"], special_tokens=[("</s>", 2)]
    )
    return tokenizer


def of_messages(case: dict[str, Any]) -> tuple[tuple[Message, ...], int]:
    return tuple(Message(turn["role"], turn["content"]) for turn in case["messages"]), case["max_seq_length"]


def of_alpaca(case: dict[str, Any]) -> tuple[tuple[Message, ...], int]:
    row = case["row"]
    asked = Message("user", row["instruction"], row.get("input") or None)
    return (asked, Message("assistant", row["output"])), case["model_max_length"]


def of_prompt_completion(case: dict[str, Any]) -> tuple[tuple[Message, ...], int]:
    return (Message("user", case["prompt"]), Message("assistant", case["completion"])), case["max_seq_length"]


TEMPLATES = {
    "messages": ("tulu", of_messages),
    "alpaca": ("alpaca", of_alpaca),
    "prompt_completion": ("prompt_completion", of_prompt_completion),
}


@pytest.mark.parametrize("file", TEMPLATES)
def test_ids_and_labels_of_every_case(oracles: dict[str, Any], by_encoding: dict[str, Tokenizer], file: str) -> None:
    template_name, conversation_of = TEMPLATES[file]
    template = load_template(template_name)
    compared = 0
    for case in oracles[file]["cases"]:
        messages, limit = conversation_of(case)
        for name, expected in case["encodings"].items():
            encoded = encode([Conversation("d", "i", messages)], template, by_encoding[name], limit, "compat")
            kept = any(label != IGNORED for label in expected["labels"][1:])
            assert expected.get("kept_by_filter", kept) == bool(encoded.examples), (case["name"], name)
            if encoded.examples:
                assert encoded.examples[0].input_ids == expected["input_ids"], (case["name"], name)
                assert encoded.examples[0].labels == expected["labels"], (case["name"], name)
            compared += 1
    assert compared == sum(len(case["encodings"]) for case in oracles[file]["cases"]) >= 36


@pytest.mark.parametrize("name", ["llama_finetune", "llama_original_specials", "opt"])
def test_ids_of_every_string(oracles: dict[str, Any], by_encoding: dict[str, Tokenizer], name: str) -> None:
    tokenizer = by_encoding[name]
    for case in oracles["strings"]["cases"]:
        assert tokenizer.ids(case["text"]) == case[name]["ids"], case["text"]


def test_rendered_alpaca_prompts_to_the_byte(oracles: dict[str, Any]) -> None:
    template = load_template("alpaca")
    for case in oracles["alpaca"]["cases"]:
        messages, _ = of_alpaca(case)
        assert template.render(messages[:1], "</s>", for_answer=True).text == case["source_text"], case["name"]


def test_padded_batch_of_the_original_collator(oracles: dict[str, Any], by_encoding: dict[str, Tokenizer]) -> None:
    expected = oracles["alpaca"]["batch_of_first_three"]
    tokenizer = by_encoding[expected["tokenizer"]]
    rows = [of_alpaca(case)[0] for case in oracles["alpaca"]["cases"][:3]]
    conversations = [Conversation("d", str(index), row) for index, row in enumerate(rows)]
    examples = encode(conversations, load_template("alpaca"), tokenizer, 512, "compat").examples
    layout = Layout(tokens=3 * 512, packed=False, pad_id=tokenizer.pad_id)
    (batch,) = micro_batches(examples, [1.0] * 3, layout)
    longest_first = sorted(range(3), key=lambda row: -len(examples[row].input_ids))
    assert batch.input_ids.tolist() == [expected["input_ids"][row] for row in longest_first]
    assert batch.labels.tolist() == [expected["labels"][row] for row in longest_first]
    mask = attention_inputs(batch, "sdpa", torch.float32)["attention_mask"]
    assert mask.tolist() == [[int(value) for value in expected["attention_mask"][row]] for row in longest_first]


def test_default_mode_gives_the_same_ids_and_learns_what_the_assistant_says(
    oracles: dict[str, Any], by_encoding: dict[str, Tokenizer]
) -> None:
    """Where the original code has none of its quirks, default and compat are equal; the quirks are named here."""
    quirks = {
        "sharegpt_starts_with_assistant",  # the header of a first assistant turn is learnt by the original
        "sharegpt_emoji",  # likewise
        "two_assistant_turns_in_a_row",  # the header of the second is learnt by the original
        "special_tokens_in_the_text",  # refused by default
        "empty_assistant",  # the original masks or keeps its end-of-sequence, depending on the tokenizer
    }
    template = load_template("tulu")
    for case in oracles["messages"]["cases"]:
        messages, limit = of_messages(case)
        if case["name"] in quirks:
            continue
        for name, expected in case["encodings"].items():
            encoded = encode([Conversation("d", "i", messages)], template, by_encoding[name], limit)
            if not expected["kept_by_filter"]:
                assert not encoded.examples
                continue
            [example] = encoded.examples
            assert example.input_ids == expected["input_ids"], (case["name"], name)
            differ = [place for place, label in enumerate(expected["labels"]) if example.labels[place] != label]
            eos = by_encoding[name].eos_id
            for place in differ:
                before = example.input_ids[:place]
                assert example.labels[place] == IGNORED
                assert eos in before[-2:], "only what follows a non-final end-of-sequence may differ"
