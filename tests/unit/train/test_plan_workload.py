"""What is known of the data of a run, and what follows for steps and micro-batches."""

import json
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import load_recipe
from packtrain.pipeline.plan_data import published_workload, workload_for
from packtrain.prompts.template import load_template
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.tokenizer import load_tokenizer
from packtrain.train.plan import workload
from packtrain.train.plan.workload import (
    fullest_row,
    measured_workload,
    stated_workload,
    steps_of,
    unknown_workload,
)


def recipe(*overrides: str) -> Recipe:
    return load_recipe("default", ["template=tulu", "base.path=x", *overrides])


@pytest.mark.parametrize(
    ("name", "steps"),
    [("alpaca-7b", 1218), ("alpaca-13b", 2030), ("code-alpaca-7b", 314), ("oasst1-13b", 544), ("tulu-7b", 7668)],
)
def test_steps_of_the_published_runs(name: str, steps: int) -> None:
    chosen = load_recipe(name)
    found = published_workload(chosen)
    assert found is not None
    assert steps_of(found, chosen.train) == steps
    assert 0.1 < found.learnt_share < 0.9


def test_the_published_length_of_alpaca_is_near_the_measured_one() -> None:
    """512 rows are 64.4 thousand tokens."""
    found = published_workload(load_recipe("alpaca-7b"))
    assert found is not None
    assert found.mean_tokens == pytest.approx(64_400 / 512, rel=0.1)


def test_own_data_are_not_published() -> None:
    assert published_workload(recipe()) is None
    assert published_workload(load_recipe("demo")) is None


def test_a_file_is_counted_in_its_tokens(tiny_base: Path, conversations_file: Path) -> None:
    found = measured_workload(conversations_file, recipe(), tiny_base)
    encoding = Encoding(load_template("tulu"), load_tokenizer(tiny_base), 2048)
    exact = encode_file(conversations_file, encoding)
    assert found.conversations == len(exact) == 24
    assert sorted(found.lengths) == sorted(len(one.input_ids) for one in exact)
    learnt = sum(one.learnt_tokens for one in exact)
    assert found.learnt_share == pytest.approx(learnt / sum(found.lengths))
    assert "24 of 24 conversations" in found.source


def test_a_large_file_is_sampled(tiny_base: Path, conversations_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "SAMPLE", 6)
    found = measured_workload(conversations_file, recipe(), tiny_base)
    whole = json.loads(conversations_file.read_text().splitlines()[4])
    assert whole["id"] == "toy_5"
    assert (len(found.lengths), found.conversations) == (6, 24)
    assert "6 of 24 conversations" in found.source


def test_without_a_tokenizer_characters_are_counted(conversations_file: Path, tmp_path: Path) -> None:
    for base in (None, tmp_path):
        found = measured_workload(conversations_file, recipe(), base)
        assert found.conversations == 24
        assert "4 characters taken for a token" in found.source
        assert 0 < found.learnt_share < 1


def test_a_folder_holds_its_training_file(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.jsonl").write_text(conversations_file.read_text())
    assert measured_workload(folder, recipe(), tiny_base).conversations == 24


def test_wrong_data_are_told(tiny_base: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    with pytest.raises(UserError, match="no training data at"):
        measured_workload(file, recipe(), tiny_base)
    file.write_text("\n")
    with pytest.raises(UserError, match="holds no conversations"):
        measured_workload(file, recipe(), tiny_base)
    file.write_text('\n{"dataset": 1}\n')
    with pytest.raises(UserError, match=r"data.jsonl:2: missing id, messages"):
        measured_workload(file, recipe(), tiny_base)
    file.write_bytes(b'{"dataset": "\xff"}\n')
    with pytest.raises(UserError, match=r"data.jsonl:1: not valid UTF-8"):
        measured_workload(file, recipe(), tiny_base)
    only_asked = {"dataset": "d", "id": "1", "messages": [{"role": "user", "content": "Why?"}]}
    file.write_text(json.dumps(only_asked) + "\n")
    with pytest.raises(UserError, match="none of 1 conversations"):
        measured_workload(file, recipe(), tiny_base)


def test_figures_beside_a_file_are_refused(conversations_file: Path) -> None:
    with pytest.raises(UserError, match="--data says how many"):
        workload_for(recipe(), conversations_file, 10, None, None)


def test_what_is_stated_goes_before_what_is_published() -> None:
    alpaca = load_recipe("alpaca-7b")
    published = published_workload(alpaca)
    assert published is not None
    assert workload_for(alpaca, None, None, None, None) == published
    both = workload_for(alpaca, None, 1000, 200.0, None)
    assert (both.conversations, both.lengths, both.source) == (1000, (200,), "as stated")
    one = workload_for(alpaca, None, 1000, None, None)
    assert (one.conversations, one.lengths) == (1000, published.lengths)
    assert workload_for(recipe(), None, 1000, None, None).lengths == (2048,)
    assert workload_for(recipe(), None, None, None, None) == unknown_workload(recipe().train)


def test_steps_without_known_data() -> None:
    assert steps_of(unknown_workload(recipe().train), recipe().train) is None
    limited = recipe("train.max_steps=7").train
    assert steps_of(unknown_workload(limited), limited) == 7
    assert steps_of(stated_workload(10_000, 10, limited, 0.5, ""), limited) == 7


def test_no_length_is_over_the_limit() -> None:
    assert stated_workload(10, 9_999, recipe("train.max_length_tokens=128").train, 0.5, "").lengths == (128,)


def of(lengths: tuple[int, ...], tokens: int, processes: int, *, packed: bool, **settings: Any) -> Any:
    found = workload.Workload(100, lengths, 0.5, "")
    given = [f"train.{key}={value}" for key, value in settings.items()]
    return fullest_row(found, recipe(*given).train, tokens, processes, packed=packed)


def test_the_fullest_micro_batch() -> None:
    row, count = of((100,), 1000, 1, packed=True, global_batch_size=32)
    assert (row.tokens, len(row.lengths), row.learnt_tokens, count) == (1000, 10, 500, 4)
    row, count = of((100,), 10_000, 4, packed=True, global_batch_size=32)
    assert (row.tokens, count) == (800, 1)
    row, count = of((100, 3000), 1000, 1, packed=True, global_batch_size=32)
    assert row.lengths == (3000,)
    row, _ = of((50, 100), 1000, 1, packed=False, global_batch_size=32)
    assert row.lengths == (100,) * 10
    assert row.tokens == 1000
