"""Any base, any data in one line: `packtrain train default base.path=BASE data.sources.mine.path=F --out tuned`."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Recipe
from packtrain.pipeline.train_recipe import load_fitting_recipe, train_recipe
from packtrain.prompts.encode import IGNORED
from packtrain.prompts.template import template_for
from packtrain.prompts.token_cache import Encoding, encode_file
from packtrain.prompts.tokenizer import load_tokenizer

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Training:
    """Stands in for the training stage, and keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Recipe, Path, Path]] = []

    def __call__(self, recipe: Recipe, data: Path, out: Path, **given: Any) -> None:
        assert given["engine"] == Engine()
        self.calls.append((recipe, data, out))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    stand_in = Training()
    monkeypatch.setattr("packtrain.train.stage.train", stand_in)
    return stand_in


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Twenty rows in Alpaca's shape, one of them with nothing to learn."""
    path = tmp_path / "my.jsonl"
    rows = [{"instruction": f"Count to {number}.", "input": "", "output": "1 2"} for number in range(19)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"instruction": "Say nothing.", "output": ""}]))
    return path


@pytest.fixture
def chat_base(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny base with ChatML as its chat template, whose marks its tokenizer knows as tokens."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "chat_template.jinja").write_text(CHATML)
    backend = load_tokenizer(base).backend
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    backend.save(str(base / "tokenizer.json"))
    return base


def recipe(base: Path, mine: Path, *more: str) -> Recipe:
    return load_fitting_recipe("default", [f"base.path={base}", f"data.sources.mine.path={mine}", *more])


def test_one_line_gives_data_template_and_labels(
    chat_base: Path, mine: Path, tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    train_recipe(recipe(chat_base, mine), None, tmp_path / "tuned")
    [(used, data, out)] = training.calls
    assert (data, out) == (tmp_path / "tuned-data", tmp_path / "tuned")
    said = " ".join(capsys.readouterr().err.split())
    assert f"mine: {mine} is read as alpaca" in said
    assert "data: 19 conversations to train on, 1 left out" in said
    template, tokenizer = template_for(chat_base, used.template), load_tokenizer(chat_base)
    assert "prompt format: the base's chat template" in capsys.readouterr().err
    encoded = encode_file(data / "train.jsonl", Encoding(template, tokenizer, used.train.max_length_tokens))
    assert len(encoded) == 19
    learnt = [int(label) for label in encoded[0].labels if label != IGNORED]
    assert tokenizer.decode(learnt, skip_special=False) == "1 2<|im_end|>"
    assert encoded[0].input_ids[0] == tokenizer.id_of("<s>")


def test_in_the_command_what_is_in_the_way_is_kept(chat_base: Path, mine: Path, tmp_path: Path, packtrain: Any) -> None:
    (tmp_path / "tuned-data").mkdir()
    (tmp_path / "tuned-data" / "precious").touch()
    line = ("train", "default", "--out", "tuned", f"base.path={chat_base}", "data.sources.mine.path=my.jsonl")
    finished = packtrain(*line, "--overwrite", cwd=tmp_path)
    assert finished.returncode == 2
    error, hint = finished.stderr.strip().splitlines()[-2:]
    assert error == f"error: {tmp_path / 'tuned-data'}, where the data would be prepared, is something else"
    assert hint == "hint: move it away, or choose another --out"
    assert (tmp_path / "tuned-data" / "precious").exists()


def test_prepared_once_for_every_run_of_the_same_data(
    chat_base: Path, mine: Path, tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    train_recipe(recipe(chat_base, mine), None, out)
    made = (tmp_path / "tuned-data" / "run.json").read_bytes()
    train_recipe(recipe(chat_base, mine, "train.lr=1e-4"), None, out, resume=True)
    assert "data: prepared before" in capsys.readouterr().err
    assert (tmp_path / "tuned-data" / "run.json").read_bytes() == made

    mine.write_text(mine.read_text() + json.dumps({"instruction": "New?", "output": "Yes."}) + "\n")
    with pytest.raises(UserError, match=r"prepared from other data; changed: mine") as caught:
        train_recipe(recipe(chat_base, mine), None, out, resume=True)
    assert f"--data {tmp_path / 'tuned-data'}" in caught.value.hint
    with pytest.raises(UserError, match="changed: the data section or the seed"):
        train_recipe(recipe(chat_base, mine, "data.held_out=2"), None, out)
    train_recipe(recipe(chat_base, mine, "data.held_out=2"), None, out, overwrite=True)
    assert len((tmp_path / "tuned-data" / "held_out.jsonl").read_text().splitlines()) == 2

    (tmp_path / "tuned-data" / "train.jsonl").write_text("")
    with pytest.raises(UserError, match="changed: its own files"):
        train_recipe(recipe(chat_base, mine, "data.held_out=2"), None, out)
    assert len(training.calls) == 3


def test_an_interrupted_preparation_is_resumed(
    chat_base: Path, mine: Path, tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def interrupted(*given: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr("packtrain.data.prepare.distribute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_recipe(recipe(chat_base, mine), None, tmp_path / "tuned")
    assert (tmp_path / "tuned-data.partial").exists()
    with pytest.raises(UserError, match=r"an interrupted run left .*tuned-data\.partial") as caught:
        train_recipe(recipe(chat_base, mine), None, tmp_path / "tuned")
    assert "--resume" in caught.value.hint
    train_recipe(recipe(chat_base, mine), None, tmp_path / "tuned", resume=True)
    assert len((tmp_path / "tuned-data" / "train.jsonl").read_text().splitlines()) == 19


def test_what_is_in_the_way_or_missing_is_found_before_the_data(
    chat_base: Path, mine: Path, tmp_path: Path, training: Training
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="there exists already"):
        train_recipe(recipe(chat_base, mine), None, tmp_path / "there")
    with pytest.raises(UserError, match="no model folder at gone"):
        recipe(Path("gone"), mine)
    no_base = load_fitting_recipe("alpaca-7b", ["base.path=gone", f"data.sources.stanford_alpaca.path={mine}"])
    with pytest.raises(UserError, match="no model folder at gone"):
        train_recipe(no_base, None, tmp_path / "tuned")
    with pytest.raises(UserError, match="mine: there is no file or folder"):
        train_recipe(recipe(chat_base, tmp_path / "gone.jsonl"), None, tmp_path / "tuned")
    with pytest.raises(UserError, match=r"no model folder at name-a-base-by-base\.path"):
        load_fitting_recipe("default")
    with pytest.raises(UserError, match=r"name-your-data-by-data\.sources\.mine\.path"):
        train_recipe(load_fitting_recipe("default", [f"base.path={chat_base}"]), None, tmp_path / "tuned")
    assert not training.calls
    assert not (tmp_path / "tuned-data").exists()


def test_the_length_limit_of_the_default_gives_way_to_a_shorter_context(
    chat_base: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipe(chat_base, mine).train.max_length_tokens == 512
    assert "train.max_length_tokens=512: the context of" in capsys.readouterr().err
    assert recipe(chat_base, mine, "train.max_length_tokens=600").train.max_length_tokens == 600
    assert recipe(chat_base, mine, "train.max_length_tokens=100").train.max_length_tokens == 100
    config = json.loads((chat_base / "config.json").read_text())
    (chat_base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 40_960}))
    assert recipe(chat_base, mine).train.max_length_tokens == 2048
    del config["max_position_embeddings"]
    (chat_base / "config.json").write_text(json.dumps(config | {"n_positions": 1024}))
    assert recipe(chat_base, mine).train.max_length_tokens == 1024
    named = load_fitting_recipe("alpaca-7b", [f"base.path={chat_base}", "train.max_length_tokens=4096"])
    assert named.train.max_length_tokens == 4096
    assert capsys.readouterr().err.count("train.max_length_tokens=") == 1


TWO_PROCESSES = """
import sys
from unittest.mock import patch
from packtrain.pipeline.train_recipe import load_fitting_recipe, train_recipe
from pathlib import Path

def train(recipe, data, out, **given):
    print(data.name, len((data / "train.jsonl").read_text().splitlines()))

with patch("packtrain.train.stage.train", train):
    train_recipe(load_fitting_recipe("default", sys.argv[2:]), None, Path(sys.argv[1]))
"""


def test_of_several_processes_one_prepares_and_the_others_wait(chat_base: Path, mine: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(tmp_path / "tuned"), f"base.path={chat_base}", f"data.sources.mine.path={mine}"]
    launcher = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, *arguments],
            env=launcher | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert [printed for printed, _ in ends] == ["tuned-data 19\n", "tuned-data 19\n"]
    assert ["data: 19 conversations" in said for _, said in ends] == [True, False]
    assert [said.count("train.max_length_tokens=512") for _, said in ends] == [1, 0]
