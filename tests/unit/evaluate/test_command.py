"""`packtrain evaluate` from the command line: which columns are asked, what is refused before anything is asked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.benchmark_files import write_benchmark_files

EIGHT = "tulu-7b,tulu-13b,tulu-30b,tulu-65b,oasst1-13b,code-alpaca-7b,opt-6.7b-tulu,pythia-6.9b-tulu"
QUICK = ("--dtype", "float32", "--template", "tulu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark_files(tmp_path_factory.mktemp("data"))


def test_without_columns_all_that_can_be_had_are_asked(
    tiny_base: Path, data: Path, tmp_path: Path, packtrain: Any
) -> None:
    some = tmp_path / "some"
    shutil.copytree(data / "gsm8k", some / "gsm8k")
    done = packtrain("evaluate", tiny_base, "--data", some, "--out", tmp_path / "out", *QUICK, "--limit", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(score["column"], score["n"]) for score in result["scores"]] == [("gsm:direct", 1), ("gsm:cot", 1)]
    assert all(score["notes"][-1] == "computed in float32" for score in result["scores"])
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["precision"] == "float32"
    assert result["average"] is None
    assert "leaving out alpacafarm: alpacafarm needs a judge" in done.stderr
    again = packtrain("evaluate", tiny_base, "gsm", "--data", some, "--out", tmp_path / "out", *QUICK)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["mmluu"], "unknown column: mmluu"),
        (["alpacafarm"], "alpacafarm needs a judge"),
        (["gsm", "--compare", "nobody"], "unknown published model: nobody"),
        (["gsm", "--profile", "fixed", "--compare", "tulu-7b"], "was measured under the profile paper-2023"),
        (["gsm", "--profile", "newest"], "unknown profile: newest"),
        (["gsm", "--dtype", "int3"], "unknown number type: int3"),
        (["alpacafarm", "--judge", "longest", "--judge-form", "triple"], "unknown form of judging: triple"),
        (["alpacafarm", "--judge", "openai:nobody", "--judge-prompt", "MODEL/config.json"], "no place for instruction"),
        (["alpacafarm", "--judge", "openai:nobody-knows", "--budget-usd", "1"], "a budget needs a price"),
        (["alpacafarm", "--judge", "openai:nobody-knows", "--price-in", "1"], "a price has two parts"),
        (["gsm", "--figure", "scores.txt"], "cannot tell what to draw"),
        (["gsm", "--figure", "scores.png", "--compare", EIGHT], "9 models in one figure"),
    ],
)
def test_refused_before_anything_is_asked(
    tiny_base: Path, data: Path, tmp_path: Path, packtrain: Any, given: list[str], said: str
) -> None:
    given = [part.replace("MODEL", str(tiny_base)) for part in given]
    where = [] if "--data" in given else ["--data", data]
    command = ["evaluate", tiny_base, *given, *where, "--out", tmp_path / "out", "--template", "tulu"]
    done = packtrain(*command, OPENAI_API_KEY="key")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert not list(tmp_path.glob("out*"))


def test_a_base_model_is_asked_in_bare_text(tiny_base: Path, data: Path, tmp_path: Path, packtrain: Any) -> None:
    refused = packtrain("evaluate", tiny_base, "gsm", "--data", data, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "--template none" in refused.stderr
    shown = packtrain("evaluate", "prompts", "bbh:direct", "--data", data, "--limit", 1, "--json")
    assert shown.returncode == 0, shown.stderr
    [line] = shown.stdout.splitlines()
    assert json.loads(line)["prompt"] == (
        "Say the number.\n\nQ: 1?\nA: 1.\n\nQ: 2?\nA: 2.\n\nQ: 3?\nA: 3.\n\nQ: 4?\nA:"
    )
    endpoint = ["evaluate", "prompts", "codex:pass@1", "--data", data, "--endpoint", "--limit", 1]
    told = packtrain(*endpoint)
    assert (told.returncode, "Complete this Python function." in told.stdout) == (0, True)
    both = packtrain(*endpoint, "--template", "tulu")
    assert (both.returncode, "an endpoint's prompt format and tokenizer are its own" in both.stderr) == (2, True)


def test_a_column_that_needs_a_format_is_left_out_of_bare_text(
    tiny_base: Path, data: Path, tmp_path: Path, packtrain: Any
) -> None:
    some = tmp_path / "some"
    shutil.copytree(data / "gsm8k", some / "gsm8k")
    asked = {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}
    (some / "exact_match.jsonl").write_text(json.dumps({"dataset": "d", "id": "1", "messages": asked}) + "\n")
    given = ["--template", "none", "--dtype", "float32", "--limit", 1, "--json"]
    done = packtrain("evaluate", tiny_base, "--data", some, "--out", tmp_path / "out", *given)
    assert done.returncode == 0, done.stderr
    assert [score["column"] for score in json.loads(done.stdout)["scores"]] == ["gsm:direct", "gsm:cot"]
    assert "leaving out exact_match: exact_match needs a prompt format" in done.stderr


def test_differences_end_with_status_one(tiny_base: Path, data: Path, tmp_path: Path, packtrain: Any) -> None:
    for out, template in (("a", "tulu"), ("b", "none")):
        given = ["--template", template, "--dtype", "float32", "--limit", 1]
        done = packtrain("evaluate", tiny_base, "gsm:cot", "--data", data, "--out", tmp_path / out, *given)
        assert done.returncode == 0, done.stderr
    same = packtrain("evaluate", "diff", tmp_path / "a", tmp_path / "a", "--json")
    assert (same.returncode, json.loads(same.stdout)["columns"][0]["causes"]) == (0, {})
    other = packtrain("evaluate", "diff", tmp_path / "a", tmp_path / "b", "--json")
    assert (other.returncode, json.loads(other.stdout)["columns"][0]["causes"]) == (1, {"prompt": 1})
    shown = packtrain("evaluate", "diff", tmp_path / "a", tmp_path / "b")
    assert "1 of 1 columns differ: gsm:cot" in shown.stdout
    answers = packtrain(
        "evaluate",
        "score",
        "gsm:cot",
        "--data",
        data,
        "--answers",
        tmp_path / "a/answers.jsonl",
        "--template",
        "tulu",
        "--limit",
        1,
        "--json",
    )
    assert answers.returncode == 0, answers.stderr
    [score] = json.loads(answers.stdout)["scores"]
    assert score["n"] == 1
    assert score["whole_n"] == len((data / "gsm8k" / "test.jsonl").read_text().splitlines())
