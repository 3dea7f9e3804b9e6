"""`packtrain plot`: figures and summaries of training runs."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a finished run and one that is still at work."""
    for name, steps in (("tuned", 4), ("other.partial", 3)):
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"step": n, "loss": 2.0 / n, "lr": 1e-5, "tokens": 10, "seconds": 0.5} for n in range(1, steps + 1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "tuned" / "run.json").write_text("{}")
    return tmp_path


def test_a_figure_lies_where_one_stands(packtrain: Any, runs: Path) -> None:
    drawn = packtrain("plot", "tuned", "other", cwd=runs)
    assert drawn.returncode == 0, drawn.stderr
    assert (runs / "tuned-other-curves.png").stat().st_size > 10_000
    assert "drawn: tuned-other-curves.png" in drawn.stderr
    assert "(unfinished)" in drawn.stdout
    assert "2.000  0.500" in drawn.stdout
    assert sorted(file.name for file in (runs / "tuned").iterdir()) == ["metrics.jsonl", "run.json"]
    again = packtrain("plot", "tuned", "other", cwd=runs)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_summary_for_machines_draws_nothing_unless_asked(packtrain: Any, runs: Path) -> None:
    told = packtrain("plot", runs / "tuned", "--json", cwd=runs)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["figure"] is None
    assert [run["run"] for run in found["runs"]] == ["tuned"]
    summary = {"steps": 4, "first_loss": 2.0, "last_loss": 0.5, "min_loss": 0.5, "tokens": 40, "seconds": 2}
    assert summary.items() <= found["runs"][0].items()
    assert found["runs"][0]["tokens_per_s"] == 20.0
    assert found["runs"][0]["median_mfu"] is None
    assert not list(runs.glob("*.png"))
    (runs / "a.svg").write_text("old")
    drawn = packtrain("plot", runs / "tuned", "--json", "--out", runs / "a.svg", "--overwrite", "--smooth", 3, cwd=runs)
    assert json.loads(drawn.stdout)["figure"] == str(runs / "a.svg")
    assert (runs / "a.svg").read_text().startswith("<?xml")


def test_what_is_wrong_is_told_in_two_lines(packtrain: Any, runs: Path) -> None:
    (runs / "tuned" / "metrics.jsonl").write_text('{"step": 1}\nbroken\n')
    for arguments, message in (
        (["absent"], "error: there is no training run absent"),
        (["tuned"], "metrics.jsonl, line 2: not valid JSON"),
        (["other", "--out", "other.partial/a.png"], "would lie in the folder of the run"),
    ):
        told = packtrain("plot", *arguments, cwd=runs)
        assert told.returncode == 2
        assert message in told.stderr
        assert len(told.stderr.strip().splitlines()) == 2
        assert told.stdout == ""
