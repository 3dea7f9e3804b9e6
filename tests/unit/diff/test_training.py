"""A diff takes along what the tuned model's training recorded, and recovery hands it on; weights need none of it."""

from typing import Any

import pytest

from packtrain.core.manifest import Manifest, read_manifest
from packtrain.core.training_record import TrainingRecord, read_training
from packtrain.diff.make import FORMS, Form, make_diff
from packtrain.diff.recover import recover

SETTINGS = {
    "name": "mine",
    "train": {"lr": 2e-05},
    "base": {"path": "/models/llama-7b-hf"},
    "engine": {"strategy": "auto"},
}
FINISHED = "2025-01-31T10:00:00Z"


@pytest.mark.parametrize("form", FORMS)
def test_the_record_of_the_training_goes_along(models: Any, form: Form) -> None:
    Manifest("train", SETTINGS, {}, {}, {"steps": 3}, 42, {"torch": "2.13.0"}, FINISHED).write(models.tuned)
    diff, out = models.work / "diff", models.work / "out"
    make_diff(models.base, models.tuned, diff, form=form)
    recover(models.base, diff, out)
    settings = {"name": "mine", "train": {"lr": 2e-05}, "base": {"path": "llama-7b-hf"}}
    expected = TrainingRecord(settings, {"steps": 3}, {"torch": "2.13.0"}, FINISHED)
    assert read_training(diff) == read_training(out) == expected


def test_without_a_record_there_is_none_and_a_broken_one_is_told(models: Any, capsys: Any) -> None:
    make_diff(models.base, models.tuned, models.work / "diff")
    made = read_manifest(models.work / "diff")
    assert made is not None
    assert made.settings == {"form": "exact", "growth_rule": "literal"}
    (models.work / "diff" / "run.json").write_text("[]")
    assert recover(models.base, models.work / "diff", models.work / "out").verified
    assert "will not say how it was trained" in capsys.readouterr().err
    assert read_training(models.work / "out") is None
