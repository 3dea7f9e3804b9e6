"""A missing package is named; one of an extra by every command that needs it, with the line that installs it."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from packtrain.cli.main import app, end
from packtrain.core.extras import EXTRAS, install_line
from packtrain.core.score import Score, write_scores

REPOSITORY = Path(__file__).parents[3]
FORMER_NAMES = {"qlora": "quant", "spacy": "parser"}
"""Earlier names of extras, which go on working."""
SOURCE = REPOSITORY / "src" / "packtrain"
METRICS = ", or leave it out: metrics.jsonl is written always"
TRAIN = "train default --data toy.jsonl --out tuned base.path=base"
COMMANDS = [
    ("plot", "plot run --out a.png", "figures: matplotlib is", ""),
    ("plot", "data diversity toy.jsonl --out a.svg", "figures: matplotlib is", ", or give --out a name in .html"),
    ("plot", "evaluate show scores.json --figure a.png", "figures: matplotlib is", ""),
    ("plot", "diff explain base --plot a.pdf", "figures: matplotlib is", ""),
    ("tensorboard", f"{TRAIN} engine.trackers=tensorboard", "engine.trackers=tensorboard: tensorboard is", METRICS),
    ("wandb", f"{TRAIN} engine.trackers=wandb", "engine.trackers=wandb: wandb is", METRICS),
    ("deepspeed", f"{TRAIN} engine.strategy=deepspeed", "engine.strategy=deepspeed: deepspeed is", ""),
    ("lora", f"{TRAIN} train.adapter=lora:r=4", "train.adapter=lora: peft is", ""),
    ("quant", f"{TRAIN} train.adapter=qlora", "train.adapter=qlora: peft and bitsandbytes are", ""),
    (
        "parser",
        "data diversity toy.jsonl --parser spacy",
        "--parser spacy: spacy is",
        ", or give --parser lexicon",
    ),
    (
        "language",
        "data prepare alpaca raw.json --out out.jsonl --clean language=en",
        "stanford_alpaca: the cleaning rule language: py3langid is",
        "",
    ),
    ("vllm", "generate --model vllm:base --count 2 --out out", "vllm:base: vllm is", ", or give local:base"),
]
"""Extra, a command that needs it, what is missing, and what can be done otherwise."""


@pytest.fixture
def working_folder(tiny_base: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands name: a base, conversations, raw data, a run and scores."""
    (tmp_path / "base").symlink_to(tiny_base)
    (tmp_path / "raw.json").write_text('[{"instruction": "Count.", "input": "", "output": "One."}]')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    write_scores(tmp_path / "scores.json", "base", [Score("gsm:cot", 5.0, 20, 1.0)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("extra", "command", "missing", "otherwise"), COMMANDS, ids=[each[1] for each in COMMANDS])
def test_a_command_names_the_package_and_the_line_that_installs_it(
    extra: str,
    command: str,
    missing: str,
    otherwise: str,
    working_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, package, None)
    before = sorted(working_folder.iterdir())
    with pytest.raises(SystemExit) as ended:
        end(lambda: app(shlex.split(command), standalone_mode=False), debug=False)
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.err.splitlines()[-2:] == [
        f"error: {missing} not installed",
        f"hint: pip install 'packtrain[{extra}]'{otherwise}",
    ]
    assert "Traceback" not in told.err
    assert told.out == ""
    assert sorted(working_folder.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        (
            "torch.nn",
            2,
            "error: the package torch is not installed\nhint: see what the installation lacks with: packtrain doctor\n",
        ),
        (
            "packtrain.nothing",
            70,
            "error: unexpected ModuleNotFoundError: gone\n"
            "hint: this is a bug: run it again with --debug and report it\n",
        ),
    ],
)
def test_a_missing_package_that_all_need_is_no_bug(
    name: str, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise ModuleNotFoundError("gone", name=name)

    with pytest.raises(SystemExit) as ended:
        end(command, debug=False)
    assert (ended.value.code, capsys.readouterr().err) == (status, told)


def test_every_extra_is_asked_for_by_a_command() -> None:
    assert {each[0] for each in COMMANDS} == {extra for extra, packages in EXTRAS.items() if packages}


def test_extras_are_those_of_the_package() -> None:
    """Names and packages as in pyproject.toml; what is beside them is for those who work on packtrain."""
    lists = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {extra: [re.split(r"[\[>=]", line)[0] for line in lines] for extra, lines in lists.items()}
    assert {extra: tuple(packages[extra]) for extra in EXTRAS} == dict(EXTRAS)
    former = {old: [f"packtrain[{new}]"] for old, new in FORMER_NAMES.items()}
    assert {old: lists[old] for old in FORMER_NAMES} == former
    assert set(lists) - set(EXTRAS) - set(FORMER_NAMES) == {"test", "docs", "dev"}


def test_no_line_that_installs_is_written_by_hand() -> None:
    texts = {path.relative_to(SOURCE): path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
    by_hand = re.compile(r"pip install '?\w")
    assert [str(path) for path, text in texts.items() if by_hand.search(text)] == ["core/extras.py"]
    assert install_line("plot") == "pip install 'packtrain[plot]'"
