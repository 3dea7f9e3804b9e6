"""Tokens by words are the tokens of the tokenizers library, wherever the fast way is taken."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

from packtrain.prompts import flat
from packtrain.prompts.flat import flat_tokens
from packtrain.prompts.sentencepiece import tokenizer_from_sentencepiece
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.prompts.words import word_tokenizer

TEXTS = (
    "The lamp is red, the river is wide.\n\nCount to ten: one, two, three.",
    "def add(a, b):\n    return a + b  # 12,345\n" * 3,
    "Wörter mit Umlauten, über alles; naïve café.",
)


def llama_like() -> Tokenizer:
    """A BPE of LLaMA's make: spaces become part of words, unknown characters bytes, and `<s>` comes first."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=names, show_progress=False)
    backend.train_from_iterator([line for text in TEXTS for line in text.split("\n")], trainer)
    description = json.loads(backend.to_str())
    description["added_tokens"] = [token for token in description["added_tokens"] if token["id"] < 3]
    description["pre_tokenizer"] = None
    backend = tokenizers.Tokenizer.from_str(json.dumps(description))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A"], pair=["<s>", "$A", "$B"], special_tokens=[("<s>", 1)]
    )
    return Tokenizer(backend, "</s>", "<s>", None, "<unk>").with_pad("<pad>")


@pytest.fixture(scope="module")
def llama() -> Tokenizer:
    return llama_like()


def by_library(tokenizer: Tokenizer, texts: list[str]) -> list[list[tuple[int, int]]]:
    """Id and place of every token; -1 for tokens before the text."""
    return [
        [(token, start if end > start else -1) for token, (start, end) in zip(found.ids, found.offsets, strict=True)]
        for found in tokenizer.encode(texts)
    ]


def by_words(tokenizer: Tokenizer, texts: list[str]) -> list[list[tuple[int, int]]]:
    words = word_tokenizer(tokenizer)
    assert words is not None
    ids, starts, counts = words.encode(texts)
    pairs = list(zip(ids.tolist(), starts.tolist(), strict=True))
    ends = np.cumsum(counts).tolist()
    return [pairs[end - count : end] for end, count in zip(ends, counts.tolist(), strict=True)]


CONTROL = ("</s>", "<s>", "<pad>", "<unk>", "</", "s>", "<0x0A>", "<|user|>")
WHITE = ("\n", "\n\n", " ", "  ", "\t", "\r\n", "\u2581", "\0", "\u2028", "\ufeff")
WORDS = (
    "the",
    "The lamp",
    " river",
    "\xe9",
    "e\u0301",
    "\u4f60\u597d",
    "\U0001f469\u200d\U0001f680",
    "x" * 70,
    "\ufffd",
)
PIECES = st.sampled_from((*CONTROL, *WHITE, *WORDS))


@given(st.lists(st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join), max_size=5))
def test_ids_and_places_of_any_text(texts: list[str]) -> None:
    tokenizer = _shared_llama
    assert by_words(tokenizer, texts) == by_library(tokenizer, texts)


_shared_llama = llama_like()


def test_words_are_remembered_and_forgotten_without_a_trace(llama: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packtrain.prompts.words._MOST_WORDS", 5)
    for _ in range(3):
        for text in TEXTS:
            assert by_words(llama, [text, "", text]) == by_library(llama, [text, "", text])


def test_no_texts_and_empty_ones(llama: Tokenizer) -> None:
    assert by_words(llama, []) == []
    assert by_words(llama, ["", ""]) == [[(1, -1)], [(1, -1)]]


def test_tokenizers_of_another_make_go_through_the_library(tiny_base: Path, llama: Tokenizer) -> None:
    byte_level = load_tokenizer(tiny_base)
    assert word_tokenizer(byte_level) is None
    tokens = flat_tokens(byte_level, list(TEXTS))
    pairs = list(zip(tokens.ids.tolist(), tokens.starts.tolist(), strict=True))
    assert pairs == [pair for found in by_library(byte_level, list(TEXTS)) for pair in found]

    def variant(**changes: object) -> Tokenizer:
        description = json.loads(llama.backend.to_str())
        for key, value in changes.items():
            section, _, name = key.rpartition("__")
            (description[section] if section else description)[name] = value
        return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(description)), "</s>")

    assert word_tokenizer(variant()) is not None
    assert word_tokenizer(variant(normalizer=None)) is None
    assert word_tokenizer(variant(model__byte_fallback=False)) is None
    assert word_tokenizer(variant(model__dropout=0.1)) is None
    assert word_tokenizer(variant(pre_tokenizer={"type": "Whitespace"})) is None
    stripping = Tokenizer(tokenizers.Tokenizer.from_str(llama.backend.to_str()), "</s>")
    stripping.backend.add_special_tokens([AddedToken("<mark>", lstrip=True, normalized=False, special=True)])
    assert word_tokenizer(stripping) is None


def test_a_merge_over_a_space_forbids_it(llama: Tokenizer) -> None:
    description = json.loads(llama.backend.to_str())
    description["model"]["vocab"]["e▁"] = len(description["model"]["vocab"]) + 1
    description["model"]["merges"].append(["e", "▁"])
    crossing = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(description)), "</s>", "<s>")
    assert word_tokenizer(crossing) is None
    assert flat._by_library(crossing, ["the lamp"]).ids.tolist() == crossing.ids("the lamp")


@pytest.mark.real_data
def test_the_real_vocabulary_on_real_texts(shared: Path) -> None:
    backend = tokenizer_from_sentencepiece(shared / "data/tokenizers/llama/tokenizer.model")
    tokenizer = Tokenizer(backend, "</s>", "<s>", None, "<unk>")
    strings = json.loads((shared / "data/oracles/encoding/strings.json").read_text("utf-8"))
    talks = json.loads((shared / "data/sharegpt/sharegpt_1k_from_enriched.json").read_text("utf-8"))[:150]
    texts = [turn["value"] for talk in talks for turn in talk["conversations"]]
    texts += ["</s>".join(texts[:3]), json.dumps(strings, ensure_ascii=False)]
    assert by_words(tokenizer, texts) == by_library(tokenizer, texts)


def test_a_tokenizer_without_control_tokens_has_no_seams(llama: Tokenizer) -> None:
    description = json.loads(llama.backend.to_str())
    description["added_tokens"] = []
    plain = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(description)), "</s>", "<s>")
    texts = ["", "The lamp</s> is red.\n\n", "<s>"]
    assert by_words(plain, texts) == by_library(plain, texts)
