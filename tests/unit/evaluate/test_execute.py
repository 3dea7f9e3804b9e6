"""The stage that runs programs: each once, kept as they come, resumed after a kill, apart from torch; its command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from packtrain.cli.evaluate_execute import execute as execute_command
from packtrain.core.errors import UserError
from packtrain.evaluate import execute as execution
from packtrain.evaluate.execute import check_sandbox, execute, execute_samples
from packtrain.evaluate.sandbox import choice, stage
from packtrain.evaluate.sandbox.layers import Layer
from packtrain.evaluate.sandbox.program import Program, Verdict

SOURCE = Path(__file__).resolve().parents[3] / "src"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n"
PROBLEMS: list[dict[str, str]] = [
    {"task_id": "Own/0", "prompt": "def double(x):\n    '''Twice.'''\n", "entry_point": "double", "test": TEST},
    {"task_id": "Own/1", "prompt": "def square(x):\n    '''Squared.'''\n", "entry_point": "square", "test": TEST},
]
RIGHT, WRONG, BROKEN = "    return 2 * x", "    return x", "    return ("
HALF = "    return '\ud83d'"
"""With half a character in it, which no file of Python can hold."""


def program(item: str, sample: int, body: str) -> Program:
    return Program(item, sample, f"def double(x):\n{body}\n", TEST, "double")


@pytest.fixture(autouse=True)
def _no_torch_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the command: whatever other tests of this process have loaded."""
    with_modules(monkeypatch)


def with_modules(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Only these modules are loaded, as far as the stage can see."""
    monkeypatch.setattr(execution, "sys", SimpleNamespace(modules=names, executable=sys.executable))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources of the programs that were run, in order, in a sandbox without canaries."""
    found: list[str] = []
    real = stage.try_program

    def remembered(program: Program, layer: Layer, timeout_s: float) -> Verdict:
        found.append(program.source.splitlines()[1])
        return real(program, layer, timeout_s)

    monkeypatch.setattr(stage, "try_program", remembered)
    monkeypatch.setattr(choice, "escapes", lambda layer: [])
    return found


def test_every_sample_has_a_verdict_and_equal_programs_run_once(tmp_path: Path, tried: list[str]) -> None:
    bodies = {("a", 0): RIGHT, ("a", 1): WRONG, ("a", 2): RIGHT, ("b", 0): BROKEN, ("b", 1): HALF}
    programs = [program(*key, body) for key, body in bodies.items()]
    verdicts = execute(programs, tmp_path / "v.jsonl", workers=1)
    assert {key: verdict.kind for key, verdict in verdicts.items()} == {
        ("a", 0): "passed",
        ("a", 1): "assertion",
        ("a", 2): "passed",
        ("b", 0): "syntax",
        ("b", 1): "syntax",
    }
    assert tried == [RIGHT, WRONG, BROKEN, HALF]
    written = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [(record["item"], record["verdict"]) for record in written] == [
        ("a", "passed"),
        ("a", "assertion"),
        ("b", "syntax"),
        ("b", "syntax"),
    ]
    assert [record["program"] for record in written] == [programs[n].digest(3.0) for n in (0, 1, 3, 4)]


def test_what_has_a_verdict_is_not_run_again(
    tmp_path: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "v.jsonl"
    first = execute([program("a", 0, RIGHT)], log)
    again = execute([program("a", 0, RIGHT), program("a", 1, WRONG)], log)
    assert tried == [RIGHT, WRONG]
    assert again["a", 0] == first["a", 0]
    assert "1 of 2 different programs have a verdict already\n" in capsys.readouterr().err
    execute([program("a", 0, RIGHT)], log, timeout_s=5.0)  # with more time it could pass
    assert tried == [RIGHT, WRONG, RIGHT]


def test_modules_that_are_not_there_are_counted(
    tmp_path: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = ("    import numpy", "    import numpy.linalg as l", "    import pandas; return x", RIGHT)
    execute([program("a", n, body) for n, body in enumerate(bodies)], tmp_path / "v.jsonl", workers=1)
    said = "note: 3 different programs want modules beyond the standard library: numpy (2), pandas (1)\n"
    assert capsys.readouterr().err.endswith(said)
    assert len(tried) == 4


def test_canaries_come_before_the_first_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    monkeypatch.setattr(choice, "escapes", lambda layer: happened.append("canaries") or [])
    monkeypatch.setattr(stage, "try_program", lambda *_: happened.append("program") or Verdict("passed"))
    execute([program("a", 0, RIGHT)], tmp_path / "v.jsonl")
    assert happened == ["canaries", "program"]


def with_verdicts(monkeypatch: pytest.MonkeyPatch, answers: Callable[[str, int], Verdict]) -> None:
    """Programs get what `answers` says of their source and of how often they ran before."""
    runs: dict[str, int] = {}

    @contextmanager
    def layer_for(*, accept_unsandboxed: bool) -> Iterator[Layer]:
        yield Layer("fake", ())

    def fake(program: Program, layer: Layer, timeout_s: float) -> Verdict:
        name = program.source.splitlines()[1].strip()
        runs[name] = runs.get(name, -1) + 1
        return answers(name, runs[name])

    monkeypatch.setattr(stage, "layer_for", layer_for)
    monkeypatch.setattr(stage, "try_program", fake)


def test_what_took_too_long_runs_once_more_when_all_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"slow": 1, "endless": 9}
    with_verdicts(monkeypatch, lambda name, run: Verdict("timeout" if run < late.get(name, 0) else "passed"))
    programs = [program(name, 0, f"    {name}") for name in ("slow", "endless", "quick")]
    verdicts = execute(programs, tmp_path / "v.jsonl")
    assert {item: verdict.kind for (item, _), verdict in verdicts.items()} == {
        "slow": "passed",
        "endless": "timeout",
        "quick": "passed",
    }
    written = [json.loads(line)["item"] for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert written == ["quick", "slow", "endless"]


def test_a_failing_sandbox_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_verdicts(
        monkeypatch, lambda name, run: Verdict("sandbox-error", "no luck") if name == "bad" else Verdict("passed")
    )
    programs = [program(name, 3, f"    {name}") for name in ("good", "bad", "other")]
    with pytest.raises(UserError) as failed:
        execute(programs, tmp_path / "v.jsonl", workers=1)
    assert failed.value.message == "the sandbox (fake) failed at bad, sample 3: no luck"
    assert [json.loads(line)["item"] for line in (tmp_path / "v.jsonl").read_text().splitlines()] == ["good"]


KILLED = """
import sys
from pathlib import Path
from packtrain.evaluate.execute import execute
from packtrain.evaluate.sandbox import choice
from packtrain.evaluate.sandbox.program import Program
choice.escapes = lambda layer: []
programs = [
    Program(f"p{n}", 0, f"import time\\ntime.sleep({0.0 if n < 3 else float(sys.argv[2])})\\ndef f(): return {n}\\n",
            f"def check(f):\\n    assert f() == {n}\\n", "f")
    for n in range(8)
]
execute(programs, Path(sys.argv[1]), workers=2)
assert "torch" not in sys.modules
"""


def test_a_killed_run_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}

    def start(log: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", KILLED, str(log), "0.3"]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    assert start(whole).wait() == 0
    process = start(killed)
    while not killed.exists() or killed.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = killed.read_bytes()
    assert 3 <= kept.count(b"\n") < 8
    with open(killed, "ab") as file:
        file.write(b'{"item": "p')  # a write that was cut short
    assert start(killed).wait() == 0
    lines = killed.read_bytes().splitlines(keepends=True)
    assert b"".join(line for line in lines if line != b'{"item": "p\n') == whole.read_bytes()


def test_where_torch_is_loaded_another_process_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> str:
        raise RuntimeError("in this process")

    with_modules(monkeypatch, "torch")
    monkeypatch.setattr(execution, "run_programs", never)
    monkeypatch.setattr(execution, "layer_for", never)
    verdicts = execute([program("a", 0, RIGHT), program("a", 1, WRONG)], tmp_path / "v.jsonl")
    assert [verdict.kind for verdict in verdicts.values()] == ["passed", "assertion"]
    assert check_sandbox() in ("bwrap", "landlock+userns")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_sandbox() == "landlock+userns"


def test_what_the_other_process_says_is_said_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_modules(monkeypatch, "torch")
    (tmp_path / "v.jsonl").mkdir()
    with pytest.raises(UserError) as failed:
        execute([program("a", 0, RIGHT)], tmp_path / "v.jsonl")
    assert failed.value.message == "the process that runs programs ended with status 1"
    with stage.VerdictLog(tmp_path / "held.jsonl"), pytest.raises(UserError) as failed:
        execute([program("a", 0, RIGHT)], tmp_path / "held.jsonl")
    assert failed.value.message == f"another command is writing {tmp_path}/held.jsonl"


# The command.


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    return lines(tmp_path / "problems.jsonl", PROBLEMS)


def samples_of(folder: Path, *bodies: str, task: str = "Own/0") -> Path:
    return lines(folder / "samples.jsonl", [{"task_id": task, "completion": body} for body in bodies])


def run(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(execute_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("tried")
def test_the_command_writes_samples_with_verdicts_and_reports_pass_at_k(tmp_path: Path, problems: Path) -> None:
    out = tmp_path / "out.jsonl"
    samples = samples_of(tmp_path, RIGHT, WRONG, RIGHT, BROKEN, WRONG)
    finished = run(samples, "--problems", problems, "--out", out, "--json")
    assert finished.exit_code == 0
    report = json.loads(finished.stdout)
    assert report.pop("sandbox") in ("bwrap", "landlock+userns")
    assert report == {
        "out": str(out),
        "samples": 5,
        "passed": 2,
        "problems": 1,
        "problems_without_samples": 1,
        "verdicts": {"assertion": 2, "passed": 2, "syntax": 1},
        "pass_at": {"pass@1": pytest.approx(40.0), "pass@5": 100.0},
    }
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [list(record) for record in written] == [
        ["task_id", "sample", "completion", "passed", "result", "detail"]
    ] * 5
    assert [(record["sample"], record["completion"], record["passed"]) for record in written] == [
        (0, RIGHT, True),
        (1, WRONG, False),
        (2, RIGHT, True),
        (3, BROKEN, False),
        (4, WRONG, False),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "problems.jsonl", "samples.jsonl"]
    table = run(samples, "--problems", problems, "--out", out, "--overwrite").stdout
    for row in ("problems without samples, left out", "verdict assertion", "40.000 %"):
        assert row in table


@pytest.mark.usefixtures("tried")
def test_whole_functions(tmp_path: Path, problems: Path) -> None:
    whole = "def double(x):\n    return x + x\n"
    report = execute_samples(samples_of(tmp_path, whole), problems, tmp_path / "o", whole=True)
    assert report.passed == 1
    report = execute_samples(samples_of(tmp_path, "def other():\n    pass\n"), problems, tmp_path / "p", whole=True)
    assert report.verdicts == {"exception": 1}


def test_an_interrupted_run_is_kept_and_resumed(
    tmp_path: Path, problems: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, samples = tmp_path / "out.jsonl", samples_of(tmp_path, RIGHT, WRONG)
    with monkeypatch.context() as patch:
        patch.setattr(execution, "atomic_file", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            execute_samples(samples, problems, out)
    with pytest.raises(UserError) as refused:
        execute_samples(samples, problems, out)
    assert refused.value.message == f"an interrupted run left {out}.partial"
    assert execute_samples(samples, problems, out, resume=True).passed == 1
    assert len(tried) == 2
    with pytest.raises(UserError, match="exists already"):
        execute_samples(samples, problems, out)
    (tmp_path / "out.jsonl.partial").write_text("left")
    assert execute_samples(samples, problems, out, overwrite=True).samples == 2
    assert len(tried) == 4


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"task_id": "Own/9", "completion": ""}], "{path}:1: there is no problem 'Own/9'"),
        ([{"task_id": "Own/0", "completion": ""}, {"task_id": "Own/0"}], "{path}:2: no text under `completion`"),
        ([["Own/0", ""]], "{path}:1: no text under `task_id`"),
        ([], "{path} holds no sample"),
    ],
    ids=["unknown problem", "no completion", "a list", "empty"],
)
def test_broken_samples_are_named(tmp_path: Path, problems: Path, records: list[Any], message: str) -> None:
    path = lines(tmp_path / "samples.jsonl", records)
    with pytest.raises(UserError) as refused:
        execute_samples(path, problems, tmp_path / "out.jsonl")
    assert refused.value.message == message.format(path=path)
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_missing_files_are_named(tmp_path: Path, problems: Path) -> None:
    with pytest.raises(UserError, match="^cannot read .*none.jsonl: "):
        execute_samples(tmp_path / "none.jsonl", problems, tmp_path / "out.jsonl")
    with pytest.raises(UserError, match="^cannot read .*none.gz: "):
        execute_samples(samples_of(tmp_path, RIGHT), tmp_path / "none.gz", tmp_path / "out.jsonl")


def test_the_stage_does_not_load_torch() -> None:
    code = (
        "import sys, packtrain.evaluate.execute, packtrain.evaluate.sandbox.__main__; sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
