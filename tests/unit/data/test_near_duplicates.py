"""Near duplicates: what is found is true, nearly all that is true is found, the same on every run."""

import random
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.data.overlap import near_duplicates
from packtrain.data.overlap.near_duplicates import (
    RECALL,
    NearDuplicates,
    UserText,
    bands_for,
    jaccard,
    shingles,
    signature,
    similarity,
    text_signature,
    user_text,
)
from packtrain.data.overlap.words import gram_hashes, word_hashes, words

VOCABULARY = [f"word{number}" for number in range(400)]


def text(questions: str, contexts: str = "") -> UserText:
    return UserText(questions, contexts)


def alike(first: UserText, second: UserText) -> float:
    return similarity(shingles(first), shingles(second))


def firsts_of(texts: list[UserText], threshold: float) -> list[int | None]:
    seen = NearDuplicates(threshold, texts.__getitem__)
    return [seen.first_of(row, text_signature(each, threshold)) for row, each in enumerate(texts)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", []),
        ("  \n", []),
        ("Don't stop: it's 3.5, ok?", ["dont", "stop", "its", "3", "5", "ok"]),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t", ["dont"]),
        ("2+2 != f(x_1)", ["2", "+", "2", "=", "f", "(", "x_1", ")"]),
        ("ＡＢＣ ﬁne Straße", ["abc", "fine", "strasse"]),
        ("Cafe\N{COMBINING ACUTE ACCENT} “noir” – ici…", ["café", "noir", "ici"]),
        ("中国人 speak", ["中", "国", "人", "speak"]),
        ("ภาษาไทย", list("ภาษาไทย")),
        ("한국어 문장", ["한국어", "문장"]),
        ("తెలుగు భాష", ["తెలుగు", "భాష"]),
        ("co\N{SOFT HYPHEN}operate \ud800 now", ["cooperate", "now"]),
    ],
)
def test_words(said: str, expected: list[str]) -> None:
    assert words(said) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_the_same_by_either_way(said: str) -> None:
    assert words(said + " é") == [*words(said), "é"]


@given(st.text(), st.integers(1, 4))
def test_gram_hashes_tell_runs_of_words_apart(said: str, size: int) -> None:
    sequence = words(said)
    runs = [tuple(sequence[start : start + size]) for start in range(max(0, len(sequence) - size + 1))]
    hashes = gram_hashes(word_hashes(sequence), size).tolist()
    assert len(hashes) == len(runs)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a b c d", "a b c d", 1.0),
        ("A, b c: d!", "a b c d", 1.0),
        ("a b c d", "a b c e", 1 / 3),
        ("Calculate 2 + 2 now", "Calculate 2 * 2 now", 0.0),
        ("Summarise this", "summarise  this.", 1.0),
        ("Summarise this", "Summarise that", 0.0),
        ("Summarise this", "Summarise this text", 0.0),
        ("Hello", "hello", 1.0),
        ("Hello", "Hi", 0.0),
    ],
)
def test_similarity_of_short_texts(first: str, second: str, expected: float) -> None:
    assert alike(text(first), text(second)) == pytest.approx(expected)


def test_two_questions_about_one_passage_are_two() -> None:
    passage = " ".join(VOCABULARY[:200])
    assert alike(text("When was he born in Rome", passage), text("When was he born in Rome", passage)) == 1
    assert alike(text("When was he born in Rome", passage), text("What did she paint in Paris", passage)) == 0
    flattened = text("When was he born in Rome\n\n" + passage)
    assert alike(text("When was he born in Rome", passage), flattened) == 1


def test_only_what_the_user_says_counts() -> None:
    def conversation(system: str, answer: str) -> Conversation:
        said = (
            Message("user", "Name a colour.", "of the sea"),
            Message("assistant", answer),
            Message("user", "Go on."),
        )
        return Conversation("toy", answer, (Message("system", system), *said, Message("assistant", "Yes.")))

    assert user_text(conversation("a", "Blue.")) == ("Name a colour.\nGo on.", "of the sea")
    assert signature(conversation("a", "Blue.")) == signature(conversation("b", "Green."))


def test_who_says_no_words_repeats_nobody() -> None:
    assert text_signature(text("?!")) == b""
    assert firsts_of([text("?!"), text("?!"), text("")], 0.8) == [None, None, None]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])
def test_bands_find_a_pair_at_the_threshold_and_stay_small(threshold: float) -> None:
    bands = bands_for(threshold)
    assert bands.probability(threshold) >= RECALL
    assert bands.count <= 13
    assert len(text_signature(text("a b c d"), threshold)) == 36 + 4 * bands.count


@pytest.mark.parametrize("threshold", [0.0, 0.29, 1.01, float("nan")])
def test_a_threshold_must_make_sense(threshold: float) -> None:
    with pytest.raises(UserError, match="near-duplicate threshold"):
        bands_for(threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_recall_and_precision_against_brute_force(threshold: float) -> None:
    """Of pairs at or above the threshold (most of them close to it) 98 in 100 are found, and nothing else."""
    draw = random.Random(7)
    texts = []
    for _ in range(120):
        sequence = draw.choices(VOCABULARY, k=draw.randrange(12, 200))
        texts.append(text(" ".join(sequence)))
        for _ in range(3):
            changed = list(sequence)
            for _ in range(draw.randrange(1, 2 + len(sequence) // 20)):
                changed[draw.randrange(len(changed))] = draw.choice(VOCABULARY)
            texts.append(text(" ".join(changed)))
    sets = [shingles(each) for each in texts]
    true = {
        (first, second)
        for first, second in combinations(range(len(texts)), 2)
        if similarity(sets[first], sets[second]) >= threshold
    }
    marks = [text_signature(each, threshold) for each in texts]
    found = set()
    for first, second in combinations(range(len(texts)), 2):
        if set_bits(marks[first]) & set_bits(marks[second]):
            seen = NearDuplicates(threshold, texts.__getitem__)
            seen.first_of(first, marks[first])
            if seen.first_of(second, marks[second]) == first:
                found.add((first, second))
    assert len(true) > 60
    assert found <= true
    assert len(found) >= 0.98 * len(true)


def set_bits(mark: bytes) -> set[tuple[int, int]]:
    """Bands of a signature with their keys."""
    return set(enumerate(np.frombuffer(mark, np.uint32)[9:].tolist()))


SHORT = st.lists(st.sampled_from("abc"), max_size=7).map(" ".join)


@given(st.lists(st.builds(UserText, SHORT, SHORT), max_size=15), st.sampled_from([0.5, 0.8, 1.0]))
def test_a_duplicate_is_true_and_its_first_is_kept(texts: list[UserText], threshold: float) -> None:
    firsts = firsts_of(texts, threshold)
    kept = [row for row, first in enumerate(firsts) if first is None]
    for row, first in enumerate(firsts):
        if first is not None:
            assert first in kept
            assert first < row
            assert alike(texts[first], texts[row]) >= threshold
            assert words(" ".join(texts[row]))
    same = [row for row, first in enumerate(firsts) if first is None and words(" ".join(texts[row]))]
    assert len({(tuple(words(texts[row].questions)), tuple(words(texts[row].contexts))) for row in same}) == len(same)


def test_the_earliest_match_is_named_and_texts_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_REMEMBERED_SHINGLES", 40)
    sequence = VOCABULARY[:30]
    near = [text(" ".join([*sequence[:-1], end])) for end in ("red", "green", "blue")]
    other = [text(" ".join(VOCABULARY[start : start + 30])) for start in range(40, 200, 30)]
    assert firsts_of([near[0], *other, near[1], near[2], *other], 0.8) == [
        *[None] * 7,
        *[0, 0],
        *range(1, 7),
    ]


def test_many_records_are_found_again_after_the_tables_have_grown() -> None:
    texts = [text(f"number{number} of many records") for number in range(5000)]
    assert set(firsts_of(texts, 0.8)) == {None}
    assert firsts_of(texts + texts, 0.8)[5000:] == list(range(5000))


def test_a_long_text_has_the_signature_of_all_its_shingles(monkeypatch: pytest.MonkeyPatch) -> None:
    long = text(" ".join(str(number) for number in range(5000)))
    expected = text_signature(long)
    monkeypatch.setattr(near_duplicates, "_CHUNK_SHINGLES", 7)
    assert text_signature(long) == expected


def test_signatures_are_the_same_in_every_process() -> None:
    code = "from packtrain.data.overlap.near_duplicates import *\n"
    code += "print(text_signature(UserText('one two three four', '')).hex())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {text_signature(text("one two three four")).hex()}
    head, sketch, keys = (
        "02000000",
        "0000000000001000000000000000000000000000000000000000000000100000",
        "2e89f94f7e9050a7ba4fbf7e266b887ed86342e87affd5b26b8d8b142228666baecbe86d",
    )
    assert outputs == {head + sketch + keys}


def test_jaccard_of_empty_sets() -> None:
    nothing, something = shingles(text("")).everything, shingles(text("a b c d")).everything
    assert jaccard(nothing, nothing) == 1
    assert jaccard(nothing, something) == 0
