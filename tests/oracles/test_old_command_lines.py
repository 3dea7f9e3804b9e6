"""Proves that the old command lines, typed as the cards print them, give the tensors of the original scripts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from packtrain.cli.old_command_lines import ALPACA, OPEN_INSTRUCT, Original, run

pytestmark = pytest.mark.real_data

COMPAT = Path(__file__).resolve().parents[2] / "compat"


class Script(NamedTuple):
    """One of the two scripts, with its family as the oracle names it and its command as its card prints it."""

    original: Original
    family: str
    folder: Path
    command: str


SCRIPTS = {
    "alpaca": Script(
        ALPACA,
        "alpaca",
        COMPAT / "alpaca",
        "python weight_diff.py recover --path_raw ${raw} --path_diff ${diff} --path_tuned ${out}",
    ),
    "open-instruct": Script(
        OPEN_INSTRUCT,
        "open_instruct",
        COMPAT / "open_instruct",
        "python scripts/weight_diff.py recover --path_raw ${raw} --path_tuned ${out} --path_diff ${diff}",
    ),
}
SCRIPT = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
MODEL = pytest.mark.parametrize("model", ["llama", "opt"])


def typed(script: Script, command: str, packtrain: Any, **variables: Path) -> subprocess.CompletedProcess[str]:
    """The finished process of a command typed in the script's folder, with shell variables for the paths."""
    environment = packtrain.environment(**{name: str(path) for name, path in variables.items()})
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=script.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@SCRIPT
@pytest.mark.parametrize(("model", "form"), [("llama", "bin"), ("opt", "safetensors")])
def test_recover_as_the_card_prints_it(
    diff_oracle: Any, packtrain: Any, tmp_path: Path, script: Script, model: str, form: str
) -> None:
    folder, out = diff_oracle.folder(model), tmp_path / "out"
    diff = folder / f"diff_{script.family}_{form}"
    with_text = (script.family, model) == ("alpaca", "llama")
    command = script.command + ("" if with_text else " --test_inference=False")
    finished = typed(script, command, packtrain, raw=folder / "raw", diff=diff, out=out)
    assert finished.returncode == 0, finished.stderr
    oracles = diff_oracle.expected(model, script.family)
    assert diff_oracle.headers_of(out, model, script.family) == diff_oracle.recorded(oracles["recovered"])
    assert ("recovered model, answer:\n" in finished.stdout) is with_text
    assert ("sum of all weights is not checked: it is known for Alpaca 7B only" in finished.stderr) is (
        script.original is ALPACA
    )


@SCRIPT
@MODEL
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_recover_gives_the_tensors_of_the_original(
    diff_oracle: Any, tmp_path: Path, script: Script, model: str, form: str
) -> None:
    folder, out = diff_oracle.folder(model), tmp_path / "out"
    words = [f"--path_raw={folder}/raw", f"--path-diff={folder}/diff_{script.family}_{form}", f"--path_tuned={out}"]
    run(script.original, ["recover", *words, "--notest_inference"])
    oracles = diff_oracle.expected(model, script.family)
    assert diff_oracle.headers_of(out, model, script.family) == diff_oracle.recorded(oracles["recovered"])


@SCRIPT
@MODEL
def test_make_diff_gives_the_tensors_of_the_original(
    diff_oracle: Any, tmp_path: Path, script: Script, model: str
) -> None:
    """But for the row of the padding token, which Open-Instruct's script fills at random: it is Alpaca's."""
    folder, diff = diff_oracle.folder(model), tmp_path / "diff"
    run(script.original, ["make_diff", str(folder / "raw"), str(folder / "tuned"), str(diff)])
    made = diff_oracle.headers_of(diff, model, "alpaca")
    assert made == diff_oracle.recorded(diff_oracle.expected(model, "alpaca")["diff"])
    expected = diff_oracle.recorded(diff_oracle.expected(model, script.family)["diff"])
    differing = {name for name in expected if made[name] != expected[name]}
    grown = {name for name, (shape, _, _) in expected.items() if shape[0] == 321}
    assert differing == (grown if script.original is OPEN_INSTRUCT else set())


def test_make_diff_typed_and_recovered_by_position(diff_oracle: Any, packtrain: Any, tmp_path: Path) -> None:
    """The recovered tensors are those of Alpaca's script, for Open-Instruct's too; spaces in names do no harm."""
    folder = diff_oracle.folder("opt")
    command = 'python scripts/weight_diff.py make_diff --path_raw ${raw} --path_tuned ${tuned} --path_diff "${diff}"'
    folders = {"raw": folder / "raw", "tuned": folder / "tuned", "diff": tmp_path / "a diff"}
    finished = typed(SCRIPTS["open-instruct"], command, packtrain, **folders)
    assert finished.returncode == 0, finished.stderr
    words = [folders["raw"], folders["diff"], tmp_path / "a model", "None", "cpu", False]
    run(OPEN_INSTRUCT, ["recover", *map(str, words)])
    expected = diff_oracle.expected("opt", "alpaca")["recovered"]
    assert diff_oracle.headers_of(tmp_path / "a model", "opt", "alpaca") == diff_oracle.recorded(expected)


@pytest.mark.parametrize(("script", "model"), [("alpaca", "opt"), ("open-instruct", "llama"), ("open-instruct", "opt")])
def test_the_sample_text_is_made(
    diff_oracle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, model: str
) -> None:
    _, family, *_ = SCRIPTS[script]
    folder = diff_oracle.folder(model)
    words = [str(folder / "raw"), str(folder / f"diff_{family}_bin"), str(tmp_path / "out"), "--test_inference"]
    run(SCRIPTS[script].original, ["recover", *words])
    _, answer = capsys.readouterr().out.split("recovered model, answer:\n")
    assert answer.strip()


@SCRIPT
def test_a_failure_is_two_lines_and_exit_status_2(packtrain: Any, tmp_path: Path, script: Script) -> None:
    finished = typed(script, script.command, packtrain, raw=tmp_path / "absent", diff=tmp_path, out=tmp_path / "out")
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == [
        f"error: no model folder at {tmp_path / 'absent'}",
        "hint: check the path; a Hub id looks like org/name and needs the network once (HF_TOKEN for gated ones)",
    ]
    finished = typed(script, script.command, packtrain)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[0] == "error: --path_raw has no value"


@SCRIPT
def test_help_typed(packtrain: Any, script: Script) -> None:
    program = " ".join(script.command.split()[:2])
    finished = typed(script, f"{program} --help", packtrain)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"{program} make_diff --path_raw ..." in finished.stdout
    assert f"{program} recover --path_raw ..." in finished.stdout
