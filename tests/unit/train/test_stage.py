"""The training stage: files in, a model folder out that any other tool loads; resumable, and clear about bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.data_record import read_data_record
from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.manifest import hashes, read_manifest
from packtrain.core.recipe import Recipe
from packtrain.core.recipe_file import validate_recipe
from packtrain.train.stage import train


def recipe_for(base: Path, **settings: Any) -> Recipe:
    values = {
        "name": "toy",
        "title": "A toy",
        "family": "alpaca",
        "template": "alpaca",
        "base": {"path": str(base)},
        "data": {"sources": {"toy": {"format": "messages", "path": "toy.jsonl"}}},
        "train": {
            "lr": 1e-3,
            "epochs": 2,
            "global_batch_size": 8,
            "micro_batch_size": 4,
            "precision": "float32",
            "max_length_tokens": 200,
            **settings,
        },
    }
    return validate_recipe(values, "toy")


def learning(folder: Path) -> list[dict[str, Any]]:
    """The figures of each step that do not depend on the machine."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in ("step", "loss", "lr", "grad_norm", "learnt_tokens")} for line in lines]


def test_a_run_writes_a_folder_that_transformers_loads(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/base").symlink_to(tiny_base)
    out = tmp_path / "tuned"
    report = train(recipe_for(Path("models/base")), conversations_file, out)
    assert report.steps == 6
    assert report.examples == 24
    assert report.final_loss < report.first_loss
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert model.dtype == torch.float32
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == 301
    assert tokenizer.pad_token == "[PAD]"
    assert model.generation_config.eos_token_id == [2]
    assert model.generation_config.pad_token_id == model.config.pad_token_id == 300
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 6
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.outputs == hashes(out)
    assert manifest.inputs == {"base": hashes(tiny_base), "data": hashes(conversations_file)}
    learnt = read_data_record(manifest.figures, "run.json")
    assert learnt is not None
    assert {learnt.file: learnt.sha256} == hashes(conversations_file)
    assert sum(each.conversations for each in learnt.sets.values()) == 24
    assert manifest.figures["template"] == "alpaca"
    assert manifest.settings["base"]["path"] == "./models/base"  # no id of the Hub, wherever it is read
    assert manifest.figures["precision"] == "float32"
    assert not out.with_name("tuned.partial").exists()


def test_the_same_recipe_gives_the_same_bytes_whatever_the_order_of_the_file(
    tiny_base: Path, conversations_file: Path, tmp_path: Path
) -> None:
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("".join(sorted(conversations_file.read_text().splitlines(keepends=True), reverse=True)))
    train(recipe_for(tiny_base), conversations_file, tmp_path / "a")
    train(recipe_for(tiny_base), shuffled, tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("tokens", [1, 300])
def test_micro_batches_do_not_change_the_update(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, tokens: int
) -> None:
    recipe = recipe_for(tiny_base)
    whole = train(recipe, conversations_file, tmp_path / "whole", engine=Engine(micro_batch_tokens=100_000))
    cut = train(recipe, conversations_file, tmp_path / "cut", engine=Engine(micro_batch_tokens=tokens))
    assert cut.final_loss == pytest.approx(whole.final_loss, abs=1e-5)


def test_opt_is_never_shrunk_and_stays_tied(tiny_opt: Path, conversations_file: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    train(recipe_for(tiny_opt), conversations_file, tmp_path / "tuned")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    assert model.get_input_embeddings().weight.shape[0] == 307
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_weights_are_exported_in_the_type_of_the_release(
    tiny_base: Path, conversations_file: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    recipe = recipe_for(tiny_base)
    recipe = recipe.model_copy(update={"release": recipe.release.model_copy(update={"dtype": "bfloat16"})})
    train(recipe, conversations_file, tmp_path / "tuned")
    assert {tensor.dtype for tensor in load_file(tmp_path / "tuned" / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "tuned" / "config.json").read_text())["dtype"] == "bfloat16"


def test_bfloat16_compute_keeps_float32_masters(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    exact = train(recipe_for(tiny_base), conversations_file, tmp_path / "exact")
    rounded = train(recipe_for(tiny_base, precision="bfloat16"), conversations_file, tmp_path / "rounded")
    assert "bfloat16 compute, float32 master weights" in rounded.hardware
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "rounded" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in weights.values())
    assert rounded.final_loss == pytest.approx(exact.final_loss, abs=0.05)


def test_held_out_loss_is_measured_before_and_after(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lines = conversations_file.read_text().splitlines(keepends=True)
    (data / "train.jsonl").write_text("".join(lines[:20]))
    (data / "held_out.jsonl").write_text("".join(lines[20:]))
    report = train(recipe_for(tiny_base), data, tmp_path / "tuned")
    assert report.held_out_before is not None
    assert report.held_out_after is not None
    assert report.held_out_after < report.held_out_before


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, packtrain: Any, how: str
) -> None:
    recipe = tmp_path / "toy.yaml"
    settings = recipe_for(tiny_base, epochs=30, checkpoint_every_steps=7)
    recipe.write_text(json.dumps(settings.resolved()))
    train(settings, conversations_file, tmp_path / "straight")
    command = [sys.executable, "-m", "packtrain", "train", str(recipe), "--data", str(conversations_file)]
    command.append("engine.probes=0")
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "tuned")], env=packtrain.environment(), stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "tuned.partial" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text().count("\n") >= 10):
        time.sleep(0.01)
    process.send_signal(getattr(signal, how))
    _, stderr = process.communicate(timeout=60)
    assert not (tmp_path / "tuned").exists()
    assert (tmp_path / "tuned.partial" / ".checkpoints").is_dir()
    if how != "SIGKILL":
        assert process.returncode == 130, stderr
        assert stderr.splitlines()[-2] == "error: interrupted"
        assert "the same command goes on from there with --resume" in stderr
    again = packtrain(*command[3:], "--out", tmp_path / "tuned")
    assert again.returncode == 2
    assert "an interrupted run left" in again.stderr
    finished = packtrain(*command[3:], "--out", tmp_path / "tuned", "--resume", "--json")
    assert finished.returncode == 0, finished.stderr
    assert "resuming after step" in finished.stderr
    straight, resumed = tmp_path / "straight", tmp_path / "tuned"
    assert (resumed / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    assert learning(resumed) == learning(straight)
    assert json.loads(finished.stdout)["final_loss"] == learning(straight)[-1]["loss"]


def test_a_checkpoint_of_another_run_is_refused(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import packtrain.train.export as export

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "tuned"
    with monkeypatch.context() as patch:
        patch.setattr(export, "ShardWriter", full)
        with pytest.raises(OSError, match="No space left"):
            train(recipe_for(tiny_base, checkpoint_every_steps=2), conversations_file, out)
    assert not out.exists()
    with pytest.raises(UserError, match=r"of a run with another recipe, base or data: train\.lr 0\.\d+ -> 0\.002$"):
        train(recipe_for(tiny_base, checkpoint_every_steps=2, lr=2e-3), conversations_file, out, resume=True)
    report = train(recipe_for(tiny_base, checkpoint_every_steps=2), conversations_file, out, resume=True)
    assert report.steps == 6


def test_a_training_that_cannot_learn_is_warned_of(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for steps, warned in ((1, True), (2, False)):
        recipe = recipe_for(tiny_base, max_steps=steps, warmup_ratio=0.5)
        train(recipe, conversations_file, tmp_path / str(steps), engine=Engine(probes=0))
        assert ("warning: the learning rate is 0 in the only step" in capfd.readouterr().err) == warned


def test_a_diverging_run_stops_and_names_its_records(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training has diverged; its records: toy/toy_"):
        train(recipe_for(tiny_base, lr=1e30, clip_norm=1e30), conversations_file, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no conversations"),
        ('{"dataset": "d", "id": "1", "messages": [{"role": "user", "content": "Hi"}]}\n', "can be learnt from"),
        ('{"dataset": "d", \n', "not valid JSON"),
    ],
)
def test_data_that_cannot_be_learnt_from(tiny_base: Path, tmp_path: Path, content: str, message: str) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(content)
    with pytest.raises(UserError, match=message):
        train(recipe_for(tiny_base), data, tmp_path / "tuned")
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.jsonl"]


def test_a_base_that_is_missing_or_broken(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model folder"):
        train(recipe_for(tmp_path / "missing"), conversations_file, tmp_path / "tuned")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    (broken / "model.safetensors").write_bytes(b"\x00" * 100)
    for _ in range(2):
        with pytest.raises(UserError, match="cannot load the model"):
            train(recipe_for(broken), conversations_file, tmp_path / "tuned")
    (broken / "config.json").unlink()
    with pytest.raises(UserError, match=r"holds no config\.json"):
        train(recipe_for(broken), conversations_file, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_rows_longer_than_the_context_are_refused_before_training(
    tiny_base: Path, conversations_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"train\.max_length_tokens is 1024, the context of .* is 512 tokens"):
        train(recipe_for(tiny_base, max_length_tokens=1024), conversations_file, tmp_path / "tuned")
    assert not (tmp_path / "tuned.partial").exists()


def test_a_failed_export_keeps_the_training(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import packtrain.train.export as export

    with monkeypatch.context() as patch:
        patch.setattr(export, "ShardWriter", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(recipe_for(tiny_base), conversations_file, tmp_path / "tuned")
    train(recipe_for(tiny_base), conversations_file, tmp_path / "straight")
    report = train(recipe_for(tiny_base), conversations_file, tmp_path / "tuned", resume=True)
    assert report.steps == 6
    model = "model.safetensors"
    assert (tmp_path / "tuned" / model).read_bytes() == (tmp_path / "straight" / model).read_bytes()


def test_a_crash_before_the_rename_keeps_the_training(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import packtrain.core.atomic as atomic

    with monkeypatch.context() as patch:
        patch.setattr(atomic.OutputFolder, "publish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(recipe_for(tiny_base), conversations_file, tmp_path / "tuned")
    train(recipe_for(tiny_base), conversations_file, tmp_path / "tuned", resume=True)
    assert "resuming after step 6" in capsys.readouterr().err
    assert sorted(entry.name for entry in (tmp_path / "tuned").iterdir() if entry.name.startswith(".")) == []


def test_dropout_goes_on_where_it_stopped(
    tiny_opt: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout the update depends on the random state, which a resumed run has to take over."""
    import packtrain.train.session as session

    base = shutil.copytree(tiny_opt, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "dropout": 0.3}))
    recipe = recipe_for(base, checkpoint_every_steps=2)
    train(recipe, conversations_file, tmp_path / "straight")
    whole = session.optimize

    def breaking(*arguments: Any) -> Any:
        for step in whole(*arguments):
            yield step
            if step.step == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, "optimize", breaking)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, conversations_file, tmp_path / "tuned")
    train(recipe, conversations_file, tmp_path / "tuned", resume=True)
    model = "model.safetensors"
    assert (tmp_path / "tuned" / model).read_bytes() == (tmp_path / "straight" / model).read_bytes()


def test_several_processes_need_a_launcher(
    tiny_base: Path, conversations_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(UserError, match="nothing says which of the 2 processes this is"):
        train(recipe_for(tiny_base), conversations_file, tmp_path / "tuned")
