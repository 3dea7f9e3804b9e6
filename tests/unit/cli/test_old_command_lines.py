"""The old weight_diff.py on tiny models: what it keeps, replaces, refuses, checks and prints."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from packtrain.cli import old_command_lines
from packtrain.cli.old_command_lines import ALPACA, INSTRUCTION, OPEN_INSTRUCT, Original, run
from packtrain.core import machine_memory
from packtrain.core.errors import UserError
from packtrain.diff import sums

ORIGINALS = pytest.mark.parametrize("original", [ALPACA, OPEN_INSTRUCT], ids=lambda original: original.family)
PROMPTS = {
    "alpaca": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{INSTRUCTION}\n\n### Response:"
    ),
    "open-instruct": f"<|user|>\n{INSTRUCTION}\n<|assistant|>\n",
}


class Pair(NamedTuple):
    """Folders of a base and of its tuned version."""

    raw: Path
    tuned: Path


def tuned_version(raw: Path, tuned: Path) -> Pair:
    shutil.copytree(raw, tuned)
    torch.manual_seed(1)
    tensors = load_file(raw / "model.safetensors")
    moved = {name: tensor + 1e-3 * torch.randn_like(tensor) for name, tensor in tensors.items()}
    save_file(moved, tuned / "model.safetensors", {"format": "pt"})
    return Pair(raw, tuned)


@pytest.fixture(scope="module")
def pair(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return tuned_version(tiny_base, tmp_path_factory.mktemp("pair") / "tuned")


@pytest.fixture(scope="module")
def old_diff(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diff as the original scripts left it: without a manifest."""
    folder = tmp_path_factory.mktemp("old") / "diff"
    run(ALPACA, ["make_diff", *map(str, pair), str(folder)])
    (folder / "manifest.json").unlink()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@ORIGINALS
@pytest.mark.parametrize("manifest", [True, False])
def test_a_model_comes_back(original: Original, manifest: bool, pair: Pair, tmp_path: Path) -> None:
    diff, out = tmp_path / "diff", tmp_path / "out"
    run(original, ["make_diff", *map(str, pair), str(diff)])
    if not manifest:
        (diff / "manifest.json").unlink()
    run(original, ["recover", str(pair.raw), str(diff), str(out), "--notest_inference"])
    tuned, found = load_file(pair.tuned / "model.safetensors"), load_file(out / "model.safetensors")
    assert found.keys() == tuned.keys()
    for name, tensor in tuned.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-7)
    assert json.loads((out / "run.json").read_text())["figures"]["verified"] is manifest


@ORIGINALS
def test_what_packtrain_made_is_replaced_and_nothing_else(original: Original, pair: Pair, tmp_path: Path) -> None:
    diff, out = tmp_path / "diff", tmp_path / "out"
    for task, words, made in (
        ("make_diff", [*pair, diff], diff),
        ("recover", [pair.raw, diff, out, "--notest_inference"], out),
    ):
        run(original, [task, *map(str, words)])
        (made / "stale.txt").write_text("of the run before")
        run(original, [task, *map(str, words)])
        assert not (made / "stale.txt").exists()

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years")
    for task, words, option in (
        ("make_diff", pair, "--path_diff"),
        ("recover", [pair.raw, diff], "--path_tuned"),
    ):
        with pytest.raises(UserError, match="was not made by packtrain and is not replaced") as caught:
            run(original, [task, *map(str, words), str(theirs)])
        assert caught.value.hint == f"choose another {option}, or move it away"
    assert files(theirs) == {"thesis.txt": b"years"}


@ORIGINALS
def test_without_path_tuned_nothing_is_kept(
    original: Original,
    pair: Pair,
    old_diff: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run(original, ["recover", "--path_raw", str(pair.raw), "--path_diff", str(old_diff)])
    output = capsys.readouterr()
    assert output.err.startswith("warning: no --path_tuned is given: the recovered model is not kept\n")
    assert "recovered: not kept" in output.out
    assert f"recovered model, prompt:\n{PROMPTS[original.family]}\nrecovered model, answer:\n" in output.out
    assert list(tmp_path.iterdir()) == []


def test_the_reference_model_is_asked_the_same(
    pair: Pair, old_diff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recover", str(pair.raw), str(old_diff), str(tmp_path / "out"), f"--original_model={pair.tuned}"]
    run(OPEN_INSTRUCT, words)
    _, *answers = capsys.readouterr().out.split("model, answer:\n")
    assert len(answers) == 2
    assert answers[0].removesuffix(f"original model, prompt:\n{PROMPTS['open-instruct']}\noriginal ") == answers[1]
    run(OPEN_INSTRUCT, [*words, "--test_inference=False"])
    output = capsys.readouterr()
    assert "is not asked, because --test_inference is off" in output.err
    assert "answer" not in output.out


def test_a_reference_model_that_is_not_there_is_refused_before_the_work(
    pair: Pair, old_diff: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no model folder at"):
        run(OPEN_INSTRUCT, ["recover", str(pair.raw), str(old_diff), str(tmp_path / "out"), str(tmp_path / "absent")])
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_into_memory_is_not_asked(
    pair: Pair, old_diff: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine_memory, "free_memory_bytes", lambda: 1000)
    run(ALPACA, ["recover", str(pair.raw), str(old_diff), str(tmp_path / "out")])
    output = capsys.readouterr()
    assert "recovered model: no sample text, that takes 0.0 GB of memory and 0.0 GB are free" in output.err
    assert "answer" not in output.out
    assert (tmp_path / "out/run.json").is_file()


def test_a_prompt_beyond_the_context_is_said(
    tiny_opt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opt = tuned_version(tiny_opt, tmp_path / "tuned")
    monkeypatch.setattr(old_command_lines, "INSTRUCTION", "xyz" * 200)
    run(ALPACA, ["make_diff", *map(str, opt), str(tmp_path / "diff")])
    run(ALPACA, ["recover", str(opt.raw), str(tmp_path / "diff"), str(tmp_path / "out")])
    assert "tokens and the model's context 512" in capsys.readouterr().err


class TestSumOfAllWeights:
    """The naive check of Stanford Alpaca, which knows one number."""

    @pytest.fixture
    def as_alpaca_7b(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> float:
        """The tiny model passes for Alpaca 7B; its sum."""
        config = json.loads((pair.tuned / "config.json").read_text())
        shape = {key: config[key] for key in old_command_lines.ALPACA_7B}
        monkeypatch.setattr(old_command_lines, "ALPACA_7B", shape)
        total, _ = sums.weight_sum(sums.open_model(pair.tuned))
        monkeypatch.setitem(sums.KNOWN_SUMS, "alpaca-7b", total)
        return total

    def test_the_shape_is_that_of_the_published_model(self) -> None:
        assert (
            old_command_lines._not_alpaca_7b(
                {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32001, "rope": None}
            )
            == ""
        )
        assert sums.KNOWN_SUMS == {"alpaca-7b": 50637.1836}

    def test_another_model_is_not_checked(
        self, pair: Pair, old_diff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(ALPACA, ["recover", str(pair.raw), str(old_diff), str(tmp_path / "out"), "--notest_inference"])
        assert (
            "the sum of all weights is not checked: it is known for Alpaca 7B only, and this is another model "
            "(model_type llama, hidden_size 32, num_hidden_layers 2, vocab_size 300)"
        ) in capsys.readouterr().err

    def test_a_right_sum_passes(
        self, as_alpaca_7b: float, pair: Pair, old_diff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(ALPACA, ["recover", str(pair.raw), str(old_diff), str(tmp_path / "out"), "--notest_inference"])
        output = capsys.readouterr()
        assert "not checked" not in output.err
        assert "weight sum" in output.out
        figures = json.loads((tmp_path / "out/run.json").read_text())["figures"]
        assert figures["weight_sum"] == pytest.approx(as_alpaca_7b, abs=1e-2)

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_wrong_sum_is_an_error_and_leaves_no_model(
        self,
        as_alpaca_7b: float,
        kept: bool,
        pair: Pair,
        old_diff: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(sums.KNOWN_SUMS, "alpaca-7b", as_alpaca_7b + 1)
        with pytest.raises(UserError, match="the sum of all weights is") as caught:
            run(ALPACA, ["recover", str(pair.raw), str(old_diff), *([str(tmp_path / "out")] if kept else [])])
        assert not (tmp_path / "out").exists()
        option = "--resume" if kept else "--path_tuned"
        assert caught.value.hint.endswith(
            f"; give {option} --check_integrity_naively=False to keep the result all the same"
        )

    @pytest.mark.parametrize("resume", [True, False])
    def test_a_run_that_stopped_goes_on_or_begins_again(
        self,
        as_alpaca_7b: float,
        resume: bool,
        pair: Pair,
        old_diff: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setitem(sums.KNOWN_SUMS, "alpaca-7b", as_alpaca_7b + 1)
        words = ["recover", str(pair.raw), str(old_diff), str(tmp_path / "out"), "--notest_inference"]
        with pytest.raises(UserError, match="the sum of all weights is"):
            run(ALPACA, words)
        run(ALPACA, [*words, "--check_integrity_naively=False", *(["--resume"] if resume else [])])
        assert ("resumed: 1 of 1 files" in capsys.readouterr().err) is resume
        assert (tmp_path / "out/run.json").is_file()

    def test_a_manifest_says_more_than_the_sum(
        self, as_alpaca_7b: float, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sums.KNOWN_SUMS, "alpaca-7b", as_alpaca_7b + 1)
        run(ALPACA, ["make_diff", *map(str, pair), str(tmp_path / "diff")])
        run(ALPACA, ["recover", str(pair.raw), str(tmp_path / "diff"), str(tmp_path / "out"), "--notest_inference"])
        assert json.loads((tmp_path / "out/run.json").read_text())["figures"]["verified"] is True

    def test_open_instruct_has_no_such_option(self, pair: Pair, old_diff: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="recover has no option --check_integrity_naively"):
            run(OPEN_INSTRUCT, ["recover", str(pair.raw), str(old_diff), "--check_integrity_naively"])


@ORIGINALS
@pytest.mark.parametrize(
    ("words", "tasks"),
    [
        ("", ["make_diff", "recover"]),
        ("--help", ["make_diff", "recover"]),
        ("-h", ["make_diff", "recover"]),
        ("recover --help", ["recover"]),
        ("recover -- --help", ["recover"]),
        ("make_diff -h", ["make_diff"]),
    ],
)
def test_help(original: Original, words: str, tasks: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(original, words.split())
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.startswith("python")]
    assert [line.removeprefix(f"{original.command} ").split()[0] for line in commands] == tasks


def test_help_imports_nothing_heavy(packtrain: Any) -> None:
    code = (
        "import sys\n"
        "from packtrain.cli.old_command_lines import ALPACA, run\n"
        "run(ALPACA, ['--help'])\n"
        "print([name for name in ('torch', 'transformers', 'pydantic', 'numpy', 'jinja2') if name in sys.modules])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=packtrain.environment()
    )
    assert finished.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_another_device_is_accepted_and_said_once(
    device: str, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(OPEN_INSTRUCT, ["make_diff", *map(str, pair), str(tmp_path / "diff"), "--device", device])
    assert capsys.readouterr().err.count("the weights are streamed on the CPU") == 1


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "tpu"])
def test_an_unknown_device_is_refused(device: str, pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"unknown --device: {device}"):
        run(ALPACA, ["make_diff", *map(str, pair), str(tmp_path / "diff"), device])
    assert not (tmp_path / "diff").exists()
