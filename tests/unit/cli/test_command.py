"""The command as a user meets it: quick help, two-line errors, exit statuses, nothing lost."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VERBS = [
    ["demo"],
    ["run"],
    ["generate"],
    *(["data", verb] for verb in ("prepare", "resample", "mix", "dedup", "decontaminate")),
    *(["data", verb] for verb in ("stats", "lint", "inspect", "diversity")),
    ["train"],
    ["diff", "make"],
    ["diff", "recover"],
    ["diff", "check"],
    ["diff", "explain"],
    ["convert", "llama"],
    ["convert", "merge-lora"],
    ["chat"],
    ["evaluate"],
    *(["evaluate", verb] for verb in ("fetch", "prompts", "score", "execute", "winrate", "diff", "show")),
    *(["evaluate", verb] for verb in ("human", "human-export", "export-lm-eval")),
    ["card"],
    ["card", "data"],
    ["push"],
    ["env"],
    ["generate", "novelty"],
    ["ls"],
    ["show"],
]


def error_of(finished: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The two last lines of stderr, which are all that an error prints."""
    lines = finished.stderr.strip().splitlines()
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    assert lines[-2].startswith("error: ")
    assert lines[-1].startswith("hint: ")
    return lines[-2], lines[-1]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(verb: list[str], packtrain: Any) -> None:
    finished = packtrain(*verb, "--help")
    assert finished.returncode == 0
    assert re.search(f"Examples?: packtrain {' '.join(verb)}", " ".join(finished.stdout.split()))


def test_help_imports_nothing_heavy(packtrain: Any) -> None:
    code = (
        "import sys, contextlib, io\n"
        "from packtrain.cli.main import main\n"
        "sys.argv = ['packtrain', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main()\n"
        "print([name for name in ('torch', 'transformers', 'pydantic', 'numpy', 'jinja2') if name in sys.modules])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=packtrain.environment()
    )
    assert finished.stdout.strip() == "[]"


def test_wrong_words_on_the_command_line(packtrain: Any) -> None:
    assert error_of(packtrain("tune"))[0] == "error: No such command 'tune'."
    assert error_of(packtrain("show", "alpaca-7"))[1].startswith("hint: did you mean alpaca-7b (recipe)")
    error, _ = error_of(packtrain("show", "alpaca-7b", "train.lrr=1", "train.epochs=many", "tarin.x=1"))
    for part in ("train.lrr", "did you mean train.lr", "train.epochs", "did you mean train?"):
        assert part in error
    assert "not an override: 'lr'" in error_of(packtrain("show", "alpaca-7b", "lr"))[0]


def test_debug_shows_the_traceback(packtrain: Any) -> None:
    finished = packtrain("show", "nope", "--debug")
    assert finished.returncode == 2
    assert "Traceback" in finished.stderr
    assert "UserError" in finished.stderr


def test_ls_and_show(packtrain: Any) -> None:
    listed = json.loads(packtrain("ls", "--json").stdout)
    assert {"alpaca-7b", "tulu-65b", "demo"} <= set(listed["recipes"])
    assert {"alpaca", "tulu"} <= set(listed["prompt formats"])
    shown = packtrain("show", "alpaca-7b").stdout
    assert shown.startswith("# ")
    assert "lr: 2.0e-5" in shown
    assert json.loads(packtrain("show", "alpaca-7b", "--json", "train.lr=3e-6").stdout)["train"]["lr"] == 3e-6


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["train", "alpaca-7b", "--data", "missing.jsonl", "--out", "out"], "no training data at missing.jsonl"),
        (["evaluate", "missing", "--data", ".", "--out", "out"], "no model folder at missing"),
        (["chat", "missing"], "no model folder at missing"),
        (["diff", "recover", "missing", "missing", "out"], "no model folder at missing"),
        (["diff", "make", "missing", "missing", "out"], "no model folder at missing"),
        (["diff", "check", "missing"], "missing"),
        (["data", "prepare", "alpaca", "missing.json", "--out", "out"], "missing.json"),
        (["data", "prepare", "alpacca", "missing.json", "--out", "out"], "alpacca"),
        (["card", "alpaca-7b", "--scores", "missing.json", "--out", "card.md"], "cannot read missing.json"),
        (["generate", "--model", "nobody:x", "--count", "3", "--out", "out"], "nobody"),
        (["run", "missing.yaml", "--work", "out"], "cannot read recipe missing.yaml"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:3]),
)
def test_missing_inputs_are_named_and_nothing_is_made(
    arguments: list[str], error: str, tmp_path: Path, packtrain: Any
) -> None:
    assert error in error_of(packtrain(*arguments, cwd=tmp_path))[0]
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_by_every_verb_that_writes(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, packtrain: Any
) -> None:
    out, tuned = tmp_path / "out", shutil.copytree(tiny_base, tmp_path / "tuned")
    out.mkdir()
    (out / "precious").write_text("keep")
    for arguments in (
        ["train", "alpaca-7b", "--data", conversations_file, "--out", out, f"base.path={tiny_base}"],
        ["data", "prepare", "messages", conversations_file, "--out", out],
        ["diff", "make", tiny_base, tuned, out],
        ["generate", "--model", "local:" + str(tiny_base), "--count", 1, "--out", out],
        ["card", "alpaca-7b", "--out", out / "precious"],
    ):
        assert "exists" in error_of(packtrain(*arguments))[0], arguments
    assert (out / "precious").read_text() == "keep"
    assert [entry.name for entry in out.iterdir()] == ["precious"]


NO_LARGE_FILES = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
from packtrain.cli.main import main
sys.argv[0] = "packtrain"
main()
"""


def test_a_full_disk_is_two_lines_and_leaves_no_model(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, packtrain: Any
) -> None:
    """A limit on file size stands in for the full disk: the write of the weights fails in the middle."""

    arguments = ["train", "alpaca-7b", "--data", conversations_file, "--out", tmp_path / "tuned"]
    arguments += [f"base.path={tiny_base}", "train.precision=float32", "train.max_steps=2", "engine.probes=0"]
    finished = packtrain.script(NO_LARGE_FILES, *arguments)
    error, _ = error_of(finished)
    assert "full" in error or "no space" in error or "cannot write" in error
    assert not (tmp_path / "tuned").exists()
    assert not (tmp_path / "tuned.partial").exists(), "the rehearsal came before the first step: nothing to keep"
    assert packtrain(*arguments).returncode == 0


INTERRUPT = """
import sys
from contextlib import contextmanager
import packtrain.core.progress

@contextmanager
def interrupted(description, total, unit=""):
    def advance(amount=1, note=""):
        raise KeyboardInterrupt
    yield advance

packtrain.core.progress.progress = interrupted
from packtrain.cli.main import main
sys.argv[0] = "packtrain"
main()
"""
"""The command with Ctrl-C pressed at the first progress of any stage."""


@pytest.mark.parametrize("verb", ["data", "train", "diff make", "diff recover", "evaluate", "run"])
def test_ctrl_c_in_every_stage_is_two_lines_and_leaves_no_half_output(
    verb: str, tiny_base: Path, conversations_file: Path, tmp_path: Path, packtrain: Any
) -> None:
    tuned, diff = shutil.copytree(tiny_base, tmp_path / "in" / "tuned"), tmp_path / "in" / "diff"
    benchmark = tmp_path / "in" / "benchmark"
    benchmark.mkdir()
    shutil.copy(conversations_file, benchmark / "exact_match.jsonl")
    assert packtrain("diff", "make", tiny_base, tuned, diff).returncode == 0
    out, many = tmp_path / "out", tmp_path / "in" / "many.jsonl"
    many.write_text(conversations_file.read_text() * 100)
    settings = [f"base.path={tiny_base}", "train.precision=float32"]
    source = f"data.sources.stanford_alpaca.path={tmp_path}/in/rows.json"
    (tmp_path / "in" / "rows.json").write_text(json.dumps([{"instruction": "Hi", "input": "", "output": "Ho"}]))
    arguments = {
        "data": ["data", "prepare", "messages", many, "--out", out],
        "train": ["train", "alpaca-7b", "--data", conversations_file, "--out", out, *settings],
        "diff make": ["diff", "make", tiny_base, tuned, out],
        "diff recover": ["diff", "recover", tiny_base, diff, out],
        "evaluate": ["evaluate", tiny_base, "exact_match", "--template", "tulu", "--data", benchmark, "--out", out],
        "run": ["run", "alpaca-7b", "--work", out / "work", *settings, source],
    }[verb]
    finished = packtrain.script(INTERRUPT, *arguments)
    assert finished.returncode == 130, finished.stderr
    assert finished.stderr.strip().splitlines()[-2] == "error: interrupted"
    made = {entry.name for entry in (out / "work" if verb == "run" else tmp_path).iterdir()}
    assert not made & {"out", "tuned", "diff", "recovered"}
