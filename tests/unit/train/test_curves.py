"""Runs are read line by line, summed up, smoothed and drawn."""

import json
from pathlib import Path

import pytest

from packtrain.core.errors import UserError
from packtrain.train.curves import (
    TrainingRun,
    distinct_names,
    epoch_ends,
    in_run,
    read_run,
    smoothed,
    usual_smoothing,
)
from packtrain.train.curves_axes import short
from packtrain.train.curves_plot import check_figure, draw, write_figure


def figures(steps: int, **more: object) -> list[dict[str, object]]:
    return [
        {
            "step": step,
            "loss": 1.0 + 1.0 / step,
            "lr": 1e-5,
            "grad_norm": 2.0,
            "learnt_tokens": 50,
            "tokens": 100,
            "seconds": 0.5,
            "tokens_per_s": 200.0,
            "mfu": 0.1 * step,
            "memory_gb": 3.0 + step,
            "epoch": step / 4,
            **more,
        }
        for step in range(1, steps + 1)
    ]


def write(folder: Path, lines: list[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_finished_run(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "tuned", figures(8)))
    assert (run.name, run.label, run.finished, len(run.figures)) == ("tuned", "tuned", True, 8)
    assert run.curve("loss").steps == list(range(1, 9))
    assert run.curve("loss").values[:2] == [2.0, 1.5]
    assert run.curve("nothing").values == []
    assert run.summary() == {
        "run": "tuned",
        "metrics": str(tmp_path / "tuned" / "metrics.jsonl"),
        "finished": True,
        "steps": 8,
        "first_loss": 2.0,
        "last_loss": 1.125,
        "min_loss": 1.125,
        "min_loss_step": 8,
        "tokens": 800,
        "learnt_tokens": 400,
        "seconds": 4,
        "tokens_per_s": 200.0,
        "median_mfu": pytest.approx(0.45),
        "memory_gb": 11.0,
    }


def test_an_unfinished_run_is_found_by_the_name_that_it_will_have(tmp_path: Path) -> None:
    write(tmp_path / "tuned.partial", figures(3))
    run = read_run(tmp_path / "tuned")
    assert (run.name, run.label, run.finished) == ("tuned", "tuned (unfinished)", False)
    assert read_run(tmp_path / "tuned.partial").figures == run.figures
    assert read_run(tmp_path / "tuned.partial" / "metrics.jsonl").label == "tuned (unfinished)"
    write(tmp_path / "tuned", figures(5))
    assert len(read_run(tmp_path / "tuned").figures) == 5


def test_a_file_of_figures_by_itself(tmp_path: Path) -> None:
    write(tmp_path, figures(2))
    (tmp_path / "metrics.jsonl").rename(tmp_path / "copied.jsonl")
    run = read_run(tmp_path / "copied.jsonl")
    assert (run.name, run.folder, run.finished) == ("copied", None, True)


def test_figures_of_an_older_version_lack_some(tmp_path: Path) -> None:
    lines = [
        {"step": step, "loss": 1.0, "lr": 0.0, "grad_norm": 2.0, "learnt_tokens": 1, "tokens": 2} for step in (1, 2)
    ]
    run = read_run(write(tmp_path / "old", lines))
    found = run.summary()
    assert (found["tokens"], found["seconds"], found["tokens_per_s"], found["median_mfu"]) == (4, None, None, None)
    assert len(draw([run], 1).axes) == 3


def test_losses_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "tuned", [*figures(2), {"step": 3, "loss": float("nan")}, {"step": 4, "loss": None}])
    run = read_run(folder)
    assert run.curve("loss").steps == [1, 2]
    assert run.summary()["steps"] == 4
    assert run.summary()["tokens"] is None, "not all steps have it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no step"),
        ("\n\n", "holds no step"),
        ('{"step": 1, "lo', "holds no step"),
        ('{"step": 1}\n{"step": 2, "lo\n{"step": 3}\n', "line 2: not valid JSON"),
        ('{"step": 1}\n[2]\n', "line 2: not an object"),
        ('{"loss": 1.0}\n', "line 1: no step in it"),
        ('{"step": "1"}\n', "line 1: no step in it"),
        ('{"step": 0}\n', "line 1: no step in it"),
        ('{"step": 1' + "0" * 30 + "}\n", "line 1: no step in it"),
        ('{"step": true}\n', "line 1: no step in it"),
        ('{"step": 1, "loss": "low"}\n', "line 1: the loss is no number"),
        ('{"step": 2}\n\n{"step": 1}\n', "line 3: step 1 after step 2"),
        ('{"step": 2}\n{"step": 2}', "line 2: step 2 after step 2"),
        ('{"a": ' * 100_000 + "\n", "line 1: nested too deeply"),
    ],
)
def test_what_is_no_file_of_figures(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_run(file)
    assert str(file) in caught.value.message
    assert message in caught.value.message


def test_what_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "tuned.partial", figures(3))
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "loss": 1.')
    assert len(read_run(folder).figures) == 3
    (folder / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}')
    assert len(read_run(folder).figures) == 2, "whole but for its end of line"


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no training run"):
        read_run(tmp_path / "absent")
    with pytest.raises(UserError, match=r"has no metrics\.jsonl"):
        read_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_run(tmp_path)


def test_running_means() -> None:
    assert smoothed([1.0, 2.0, 6.0, 4.0], 1) == [1.0, 2.0, 6.0, 4.0]
    assert smoothed([1.0, 2.0, 6.0, 4.0, 5.0], 3) == [1.0, 3.0, 4.0, 5.0, 4.5]
    assert smoothed([5.0] * 10, 100) == [5.0] * 10
    assert smoothed([], 3) == []
    line = [float(value) for value in range(20)]
    assert smoothed(line, 5)[:18] == line[:18], "a slope stays where it is, also at the beginning"


def test_smoothing_follows_the_length_of_the_run(tmp_path: Path) -> None:
    short_run, long_run = (read_run(write(tmp_path / str(steps), figures(steps))) for steps in (10, 400))
    assert usual_smoothing([short_run]) == 1
    assert usual_smoothing([short_run, long_run]) == 10


def test_epochs_end_where_they_end(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "tuned", figures(12)))
    assert epoch_ends(run) == [4, 8]
    uneven = [{"step": step, "loss": 1.0, "epoch": step / 3.5} for step in range(1, 9)]
    assert epoch_ends(read_run(write(tmp_path / "uneven", uneven))) == [4, 7]
    assert epoch_ends(read_run(write(tmp_path / "old", [{"step": 1, "loss": 1.0}]))) == []


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "tuned", tmp_path / "b" / "tuned", tmp_path / "other"]
    runs = [read_run(write(folder, figures(2))) for folder in folders]
    assert distinct_names(runs) == ["a/tuned", "b/tuned", "other"]
    assert [name[-4:] for name in distinct_names([runs[0], runs[0]])] == [" (1)", " (2)"]


def mixture(tmp_path: Path, name: str, sets: int, steps: int = 30) -> TrainingRun:
    lines = figures(steps)
    for line in lines:
        line["loss_by_dataset"] = {f"set{each}": 1.0 + each for each in range(sets) if (each + line["step"]) % 3}
    return read_run(write(tmp_path / name, lines))


def titles(runs: list[TrainingRun], smooth_steps: int = 5) -> list[str]:
    return [axes.get_title(loc="left") for axes in draw(runs, smooth_steps).axes]


def test_what_is_drawn(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "tuned", figures(12)))
    below = ["learning rate", "gradient norm before clipping", "tokens per second", "model FLOPs utilisation"]
    assert titles([run]) == ["loss per learnt token, nats", *below]
    drawn = draw([run], 5)
    single, mean = drawn.axes[0].lines[:2]
    assert list(single.get_ydata()) == run.curve("loss").values
    assert list(mean.get_ydata()) == smoothed(run.curve("loss").values, 5)
    assert [text.get_text() for text in drawn.axes[0].texts] == ["epoch 2", "epoch 3"]
    written = [text.get_text() for text in drawn.texts]
    assert written[0] == "tuned"
    for fact in ("12 steps", "loss 2.000 → 1.083", "1.2k tokens", "6 s", "200 tokens/s", "running mean of 5 steps"):
        assert fact in written[1]


def test_losses_by_data_set(tmp_path: Path) -> None:
    runs = [mixture(tmp_path, "one", 3), mixture(tmp_path, "two", 2)]
    assert runs[0].datasets == ["set0", "set1", "set2"]
    assert titles(runs)[:2] == ["loss per learnt token, nats", "loss by data set, nats"]
    legend = draw(runs, 5).axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "3.00 / -  set2",
        "2.00 / 2.00  set1",
        "1.00 / 1.00  set0",
    ]
    many = draw([mixture(tmp_path, "many", 20)], 5).axes[1].get_legend()
    assert many.get_title().get_text() == "at the end  (8 more are not shown)"
    assert len(many.get_texts()) == 12


def test_norms_that_explode_are_drawn_on_a_logarithmic_scale(tmp_path: Path) -> None:
    lines = figures(20)
    lines[15]["grad_norm"] = 5000.0
    axes = draw([read_run(write(tmp_path / "tuned", lines))], 1).axes
    assert axes[2].get_yscale() == "log"
    assert axes[2].get_ylim()[1] > 5000
    assert axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("steps", [1, 2, 6000])
def test_runs_of_any_length_are_drawn(tmp_path: Path, steps: int) -> None:
    run = read_run(write(tmp_path / "tuned", figures(steps)))
    write_figure([run], tmp_path / "figure.png", smooth_steps=usual_smoothing([run]))
    assert (tmp_path / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    run = mixture(tmp_path, "tuned $x^2$ {\\alpha}", 3)
    for name in ("a.svg", "b.svg"):
        write_figure([run, run], tmp_path / name, smooth_steps=3)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_where_no_figure_can_be(tmp_path: Path) -> None:
    folder = write(tmp_path / "tuned", figures(2))
    (folder / "run.json").write_text("{}")
    run = read_run(folder)
    unfinished = read_run(write(tmp_path / "other.partial", figures(2)))
    (tmp_path / "there.png").write_text("")
    for path, message in (
        (tmp_path / "a.pdf", "cannot tell what to draw"),
        (folder / "a.png", "would lie in the folder of the run"),
        (folder / "plots" / "a.png", "would lie in the folder of the run"),
        (tmp_path / "other.partial" / "a.png", "would lie in the folder of the run"),
        (tmp_path / "there.png", "exists already"),
    ):
        with pytest.raises(UserError, match=message):
            check_figure(path, [run, unfinished], overwrite=False)
    check_figure(tmp_path / "there.png", [run], overwrite=True)
    assert not in_run(tmp_path / "a.png", [run, unfinished])


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.5, "0.5"), (2e-5, "2e-5"), (1200.0, "1.2k"), (5e6, "5M"), (1.5e-4, "0.00015")]
)
def test_numbers_on_axes(value: float, text: str) -> None:
    assert short(value) == text
