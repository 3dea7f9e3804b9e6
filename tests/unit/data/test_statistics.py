"""`data stats`: every figure against one that can be worked out on paper, and what is at and over the limit.

The letters q, z and j occur in no sentence that the tests' tokenizer was trained on: each is one token.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packtrain.core.errors import UserError
from packtrain.data.statistics.distribution import LONGEST, Distribution, Longest
from packtrain.data.statistics.statistics import LONGER_THAN, Statistics, published, statistics
from packtrain.data.tokenizer_path import tokenizer_at, tokenizer_folder
from packtrain.prompts.template import PromptTemplate, load_template
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer
from packtrain.weights.source import model_folder

TEMPLATE = PromptTemplate(
    "letters",
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + eos_token }}{% endgeneration %}"
    "{% else %}{{ 'J' + m.content + (m.context or '') }}{% endif %}{% endfor %}",
)
"""One token, J, before each question. A conversation is: BOS, then J, question, answer, EOS for each round."""


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Tokenizer:
    return load_tokenizer(tiny_base)


def row(identity: str, *turns: str | tuple[str, str], dataset: str = "d", system: str | None = None) -> dict[str, Any]:
    """A record of questions and answers in turn; a pair is a question and its context."""
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
    for number, turn in enumerate(turns):
        content, context = turn if isinstance(turn, tuple) else (turn, None)
        message = {"role": ("user", "assistant")[number % 2], "content": content}
        messages.append(message if context is None else {**message, "context": context})
    return {"dataset": dataset, "id": identity, "messages": messages}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def counted(tmp_path: Path, tokenizer: Tokenizer, limit: int, *rows: dict[str, Any]) -> Statistics:
    return statistics([written(tmp_path / "f.jsonl", *rows)], tokenizer, TEMPLATE, limit)


def test_rounds_and_lengths_per_data_set_and_in_total(tmp_path: Path, tokenizer: Tokenizer) -> None:
    first = written(tmp_path / "a.jsonl", row("a", "qqq", "zzzzz"), row("b", "q", "z", "qq", "zz", dataset="e"))
    second = written(tmp_path / "b.jsonl", row("c", ("q", "jj"), "zzz", system="zzzzzz"))
    found = statistics([first, second], tokenizer, TEMPLATE, 100)

    d, e, total = found.datasets["d"], found.datasets["e"], found.total
    assert list(found.datasets) == ["d", "e"]
    assert [part.conversations for part in (d, e, total)] == [2, 1, 3]
    assert [part.mean_rounds for part in (d, e, total)] == [1.0, 2.0, 4 / 3]
    assert d.prompts.counts == {3: 1, 5: 1}, "a context counts behind a blank line: 1 + 2 + 2"
    assert d.completions.counts == {5: 1, 3: 1}
    assert e.prompts.mean == 1.5
    assert total.prompts.mean == (3 + 1 + 2 + 5) / 4
    assert total.content.counts == {8: 2, 6: 1}
    assert d.rendered.counts == {1 + 1 + 3 + 5 + 1: 1, 1 + (1 + 6) + (1 + 3) + 3 + 1: 1}
    assert e.rendered.counts == {1 + (1 + 1 + 1 + 1) + (1 + 2 + 2 + 1): 1}
    assert (d.prompt_characters, d.completion_characters, d.bytes) == (3 + 5, 8, 3 + 5 + 6 + 3 + 3)

    training = total.training
    assert training is not None
    assert (training.examples, training.tokens) == (3, 11 + 16 + 11)
    assert training.learnt_tokens == 6 + 4 + (2 + 3)
    assert training.left_out == {}
    assert total.longest.figures() == [
        {"dataset": "d", "id": "c", "length": 16},
        {"dataset": "d", "id": "a", "length": 11},
        {"dataset": "e", "id": "b", "length": 11},
    ]


TWO_ROUNDS = ("q", "z", "q", "zz")


@pytest.mark.parametrize(
    ("limit", "cut", "eos_lost", "rounds_lost", "rounds_cut", "learnt"),
    [
        (11, 0, 0, 0, 0, 5),
        (10, 0, 0, 0, 0, 5),  # exactly at the limit
        (9, 1, 1, 0, 1, 4),  # the final end-of-sequence is lost, the answer is whole
        (8, 1, 1, 0, 1, 3),
        (7, 1, 1, 1, 0, 2),  # not a token of the second answer
        (5, 1, 1, 1, 0, 2),
        (4, 1, 1, 1, 1, 1),
        (3, 1, 1, 2, 0, 0),  # nothing to learn
    ],
)
def test_what_the_limit_takes_away(
    tmp_path: Path,
    tokenizer: Tokenizer,
    limit: int,
    cut: int,
    eos_lost: int,
    rounds_lost: int,
    rounds_cut: int,
    learnt: int,
) -> None:
    """BOS J q | z EOS | J q | z z EOS: ten tokens."""
    seen = counted(tmp_path, tokenizer, limit, row("a", *TWO_ROUNDS)).total.training
    assert seen is not None
    assert (seen.cut_at_limit, seen.eos_lost) == (cut, eos_lost)
    assert (seen.rounds_lost, seen.rounds_cut) == (rounds_lost, rounds_cut)
    assert seen.learnt_tokens == learnt
    assert seen.tokens == (min(limit, 10) if learnt else 0)
    assert (seen.examples, seen.no_trainable_token) == ((1, 0) if learnt else (0, 1))
    assert seen.left_out == ({} if learnt else {"nothing to learn within the length limit": 1})


def test_thresholds_are_strict(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [row(str(over), "q", "z" * (512 - 4 + over)) for over in (-1, 0, 1)]
    found = counted(tmp_path, tokenizer, 512, *rows)
    assert sorted(found.total.rendered.counts) == [511, 512, 513]
    assert found.total.rendered.more_than(512) == 1
    assert found.figures()["total"]["rendered_length"]["longer_than"] == {
        str(limit): int(limit == 512) for limit in LONGER_THAN
    }


def test_records_that_training_leaves_out_are_counted_by_reason(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [
        row("control", "q </s> q", "z"),
        row("half", "q", "z\ud800"),
        row("question", "q"),
        row("escapes", "\x00\x1b[31m\u202eq", "z"),
        row("good", "q", "z"),
    ]
    found = counted(tmp_path, tokenizer, 64, *rows).total
    assert found.conversations == 5
    assert found.control_tokens == {"</s>": 1}
    assert found.completions.counts == {1: 3, 1 + 3: 1}, "half a surrogate pair counts as U+FFFD, three bytes"
    seen = found.training
    assert seen is not None
    assert seen.left_out == {
        "control token in the text": 1,
        "text is not valid Unicode": 1,
        "nothing to learn within the length limit": 1,
    }
    assert (seen.examples, seen.no_trainable_token) == (2, 1)
    assert found.rendered.count == 2, "the lengths are those of what the template and the tokenizer can show"


def test_what_the_template_cannot_show_is_counted_in_its_words(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = written(tmp_path / "f.jsonl", row("a", *TWO_ROUNDS), row("b", "q", "z"))
    seen = statistics([path], tokenizer, load_template("alpaca"), 512).total.training
    assert seen is not None
    assert seen.examples == 1
    [(reason, count)] = seen.left_out.items()
    assert "one instruction and one answer" in reason
    assert count == 1


def test_two_records_of_one_id_are_measured_apart(tmp_path: Path, tokenizer: Tokenizer) -> None:
    found = counted(tmp_path, tokenizer, 64, row("a", "q </s>", "zzzz"), row("a", "q", "z")).total
    assert found.rendered.counts == {5: 1}
    assert found.training is not None
    assert found.training.left_out == {"control token in the text": 1}


def test_without_a_tokenizer_lengths_are_words(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", row("a", ("two words", "and\nthree more"), "é <s>"))
    found = statistics([path])
    assert (found.unit, found.template, found.max_length_tokens) == ("words", None, None)
    total = found.total
    assert total.prompts.counts == {5: 1}
    assert total.completions.counts == {2: 1}
    assert total.length.counts == {7: 1}
    assert total.completion_characters == 5
    assert total.bytes == len("two words") + len("and\nthree more") + 6
    assert total.control_tokens == {"<s>": 1}
    assert total.training is None


def test_without_a_template_the_length_is_that_of_the_script_of_2023(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = written(tmp_path / "f.jsonl", row("a", "qq", "zzz", system="jjjj"))
    found = statistics([path], tokenizer)
    assert found.unit == "tokens"
    assert found.total.length.counts == {5: 1}, "prompts and completions alone"
    assert found.figures()["total"]["rendered_length"] is None


def test_an_empty_file_has_no_means(tmp_path: Path, tokenizer: Tokenizer) -> None:
    found = counted(tmp_path, tokenizer, 8).figures()
    assert found["datasets"] == {}
    total = found["total"]
    assert (total["conversations"], total["mean_rounds"], total["prompt"]["mean"]) == (0, None, None)
    assert total["rendered_length"]["percentiles"] == {}
    assert total["training"]["share_learnt"] is None


def test_a_broken_line_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = written(tmp_path / "f.jsonl", row("a", "q", "z"))
    path.write_text(path.read_text() + '{"dataset": "d", "id"')
    with pytest.raises(UserError, match=r"f\.jsonl:2: not valid JSON"):
        statistics([path], tokenizer, TEMPLATE)
    with pytest.raises(UserError, match="cannot read .*none"):
        statistics([tmp_path / "none.jsonl"])


def test_percentiles_are_those_of_numpy_without_interpolation() -> None:
    for size in (1, 2, 7, 100, 101, 1000):
        values = np.random.default_rng(size).integers(0, 50, size)
        distribution = Distribution()
        distribution.counts.update(values.tolist())
        found = distribution.percentiles()
        assert (found.pop("min"), found.pop("max")) == (values.min(), values.max())
        expected = {name: np.percentile(values, int(name), method="inverted_cdf") for name in found}
        assert found == expected
        assert distribution.mean == pytest.approx(values.mean())


def test_the_longest_are_kept_and_of_equal_ones_the_earliest() -> None:
    longest = Longest()
    for number in range(1000):
        longest.add(number % 250, "d", str(number))
    found = [(entry["length"], entry["id"]) for entry in longest.figures()]
    assert len(found) == LONGEST
    assert found[:5] == [(249, "249"), (249, "499"), (249, "749"), (249, "999"), (248, "248")]
    assert found[-1] == (225, "975")


def test_published_figures_come_from_the_formats() -> None:
    known = published()
    assert {"stanford_alpaca", "dolly", "oasst1", "sharegpt", "baize", "super_ni"} <= known.keys()
    assert all(about.rows and about.prompt_tokens and about.completion_tokens for about in known.values())


def test_a_tokenizer_may_be_named_by_its_file(tmp_path: Path, tiny_base: Path) -> None:
    assert tokenizer_at(tiny_base / "tokenizer.json").eos_token == tokenizer_at(tiny_base).eos_token == "</s>"
    with pytest.raises(UserError, match=r"config\.json is not a tokenizer"):
        tokenizer_at(tiny_base / "config.json")
    with pytest.raises(UserError, match="no tokenizer at"):
        tokenizer_at(tmp_path / "none")


def test_a_tokenizer_may_be_that_of_a_model_of_the_package() -> None:
    named = Path("packtrain:demo_base")
    assert tokenizer_folder(named) == model_folder("packtrain:demo_base")
    assert tokenizer_at(named).eos_token == "</s>"
    with pytest.raises(UserError, match="no model folder at packtrain:no_base"):
        tokenizer_folder(Path("packtrain:no_base"))


def test_json_of_the_command(tmp_path: Path, tiny_base: Path, packtrain: Any) -> None:
    path = written(
        tmp_path / "f.jsonl", row("a\u009b", "q", "z", dataset="dolly"), row("b", "q", "z" * 30, dataset="mine\x1b[2J")
    )
    finished = packtrain("data", "stats", path, "--tokenizer", tiny_base, "--template", "tulu", "--json")
    assert finished.returncode == 0, finished.stderr
    assert "\u009b" not in finished.stdout
    found = json.loads(finished.stdout)
    assert list(found) == ["files", "unit", "template", "max_length_tokens", "datasets", "total"]
    assert found["files"] == [str(path)]
    assert (found["unit"], found["template"], found["max_length_tokens"]) == ("tokens", "tulu", 2048)
    dolly, mine = found["datasets"]["dolly"], found["datasets"]["mine\x1b[2J"]
    about = published()["dolly"]
    assert dolly.pop("paper") == {
        "conversations": about.rows,
        "mean_rounds": about.rounds,
        "mean_prompt_tokens": about.prompt_tokens,
        "mean_completion_tokens": about.completion_tokens,
    }
    assert mine.pop("paper") is None
    assert list(dolly) == list(mine) == list(found["total"])
    assert mine["completion"] == {
        "count": 1,
        "mean": 30.0,
        "percentiles": dict.fromkeys(["min", "5", "25", "50", "75", "90", "95", "99", "max"], 30),
        "characters": 30,
    }
    assert set(mine["training"]) == {
        "examples", "tokens", "learnt_tokens", "share_learnt", "cut_at_limit", "eos_lost", "rounds_lost", "rounds_cut",
        "no_trainable_token", "left_out",
    }  # fmt: skip
    assert [entry["id"] for entry in found["total"]["longest"]] == ["b", "a\u009b"]


def test_tables_of_the_command(tmp_path: Path, tiny_base: Path, packtrain: Any) -> None:
    path = written(tmp_path / "f.jsonl", row("a", "q </s>", "z", dataset="dolly"), row("\x1b[2Jb", "q", "z"))
    finished = packtrain("data", "stats", path, "--tokenizer", tiny_base, "--template", "tulu", COLUMNS="80")
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert any(line.split()[:3] == ["arXiv", "2306.04751", "15,011"] for line in lines)
    assert any(line.split()[:2] == ["total", "2"] for line in lines)
    assert "left out of training, control token in the text: 1" in lines
    assert "\x1b" not in finished.stdout
    assert "d/‹U+001B›[2Jb" in finished.stdout

    words = packtrain("data", "stats", path)
    assert "--tokenizer DIR gives tokens" in words.stderr
    assert "in words" in words.stdout
    without = packtrain("data", "stats", path, "--template", "tulu")
    assert without.returncode == 2
    assert "--template needs a tokenizer" in without.stderr


@pytest.mark.real_data
def test_turn_lengths_are_those_of_the_original_tokenizer(tmp_path: Path, shared: Path) -> None:
    """SentencePiece itself, which the tokenizer of the 2023 script wraps, counts the same tokens."""
    from sentencepiece import SentencePieceProcessor

    raw = json.loads((shared / "data" / "code_alpaca" / "code_alpaca_2k.json").read_text())[:500]
    rows = [row(str(number), one["instruction"], one["output"]) for number, one in enumerate(raw)]
    model = shared / "data" / "tokenizers" / "llama" / "tokenizer.model"
    found = statistics([written(tmp_path / "f.jsonl", *rows)], tokenizer_at(model)).total
    original = SentencePieceProcessor(model_file=str(model))
    assert found.prompts.total == sum(len(original.encode(one["instruction"])) for one in raw)
    assert found.completions.total == sum(len(original.encode(one["output"])) for one in raw)
    assert found.completions.count == 500
