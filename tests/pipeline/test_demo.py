"""The demo: the whole pipeline on the embedded base, held to its two bounds."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.manifest import hashes
from packtrain.pipeline.demo import DemoReport, run_demo, world_teacher
from packtrain.pipeline.run import RunReport

REPOSITORY = Path(__file__).resolve().parents[2]


def report(base: float, tuned: float) -> DemoReport:
    return DemoReport(RunReport(Path("work"), []), base, tuned, [], 1.0)


@pytest.mark.parametrize(
    ("base", "tuned", "passed"), [(0.0, 99.0, True), (4.9, 85.1, True), (5.0, 99.0, False), (0.0, 85.0, False)]
)
def test_the_bounds(base: float, tuned: float, passed: bool) -> None:
    assert report(base, tuned).passed == passed
    assert ("MISSED" not in report(base, tuned).verdict()) == passed


def test_the_teacher_answers_every_prompt_the_same_way_each_time() -> None:
    teacher = world_teacher()
    answers = [teacher._answer(prompt) for prompt in ("a", "b", "a")]
    assert answers[0] == answers[2] != answers[1]
    assert answers[0].count("Instruction:") == 16  # the first one belongs to the prompt


def test_overwrite_removes_nothing_that_the_demo_did_not_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import packtrain.pipeline.demo as demo

    (tmp_path / "stages").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    monkeypatch.setattr(demo, "run_stages", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, overwrite=True)
    assert (tmp_path / "data" / "mine.txt").read_text() == "mine"


def test_the_embedded_base_is_small_and_needs_no_network() -> None:
    folder = REPOSITORY / "src" / "packtrain" / "assets" / "demo_base"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 6_000_000
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(hashes(folder))


def test_the_demo_reaches_its_bounds(tmp_path: Path, packtrain: Any) -> None:
    """Base below 5 %, tuned above 85 % on unseen instructions; a second run does nothing again."""
    work = tmp_path / "demo"
    finished = packtrain("demo", "--work", work, "--json", PACKTRAIN_SHARED=os.devnull)
    assert finished.returncode == 0, finished.stderr + finished.stdout
    result = json.loads(finished.stdout)
    assert result["passed"]
    assert result["base_exact_match"] < 5
    assert result["tuned_exact_match"] > 85
    assert [stage["name"] for stage in result["stages"]] == [
        "evaluate base",
        "generate",
        "data",
        "train",
        "diff",
        "recover",
        "evaluate",
        "card",
    ]
    answers = (work / "scores" / "answers.jsonl").read_text().splitlines()
    ended = [json.loads(line)["finish_reason"] == "stop" for line in answers]
    assert sum(ended) / len(ended) > 0.95
    again = json.loads(packtrain("demo", "--work", work, "--json").stdout)
    assert not any(stage["done"] for stage in again["stages"])
