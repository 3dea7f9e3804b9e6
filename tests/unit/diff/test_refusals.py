"""Proves that folders that do not fit are refused before anything is written, and that nothing is lost."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from packtrain.core.errors import UserError
from packtrain.diff import recover as recover_module
from packtrain.diff.make import make_diff
from packtrain.diff.recover import recover

NORM = "model.norm.weight"


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change the tensors of a folder in place."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refused(action: Callable[[], Any], work: Path) -> UserError:
    """The error of `action`, which must leave `work` as it was."""
    before = snapshot(work)
    with pytest.raises(UserError) as raised:
        action()
    assert snapshot(work) == before
    assert "\n" not in raised.value.message + raised.value.hint
    return raised.value


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_folder_twice(models: Any) -> None:
    base, _, work = models
    error = refused(lambda: make_diff(base, base / ".." / "base", work / "diff"), work)
    assert error.message.startswith("base and tuned model are the same folder")


def test_a_diff_given_as_base_or_as_tuned_model(models: Any) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    error = refused(lambda: recover(work / "diff", base, work / "out"), work)
    assert error.message == f"the base {work / 'diff'} is itself a diff (it has a diff.json)"
    assert refused(lambda: make_diff(base, work / "diff", work / "out"), work).message.endswith(
        "is a diff already (it has a diff.json)"
    )


def test_an_output_that_would_replace_an_input(models: Any) -> None:
    base, tuned, _ = models
    for out in (base, tuned, base.parent):
        before = snapshot(base.parent)
        with pytest.raises(UserError, match="would replace the input"):
            make_diff(base, tuned, out, overwrite=True)
        assert snapshot(base.parent) == before


def test_swapped_folders_show_in_the_rows(models: Any) -> None:
    base, tuned, work = models
    error = refused(lambda: make_diff(tuned, base, work / "diff"), work)
    assert f"tensor lm_head.weight is [96, 32] in the tuned model {base}, [97, 32] in the base {tuned}" in error.message
    assert "were the two folders swapped" in error.hint


def test_a_diff_without_record_with_more_new_rows_than_its_family_adds(make_models: Callable[..., Any]) -> None:
    base, tuned, work = make_models(rows=2)
    make_diff(base, tuned, work / "diff")
    (work / "diff/diff.json").unlink()
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert "tensor lm_head.weight is [98, 32]" in error.message
    assert "add 1 token row" in error.hint


def test_a_missing_tensor_is_named_with_its_side(models: Any) -> None:
    base, tuned, work = models
    edit(tuned, lambda tensors: tensors.pop(NORM))
    error = refused(lambda: make_diff(base, tuned, work / "diff"), work)
    assert error.message == f"the tuned model {tuned} has no tensor {NORM}, which the base {base} has"
    edit(base, lambda tensors: (tensors.pop(NORM), tensors.pop("model.layers.0.mlp.up_proj.weight")))
    error = refused(lambda: make_diff(base, tuned, work / "diff"), work)
    assert error.message.startswith(f"the base {base} has no tensor model.layers.0.mlp.up_proj.weight")


def test_a_base_of_another_size_names_tensor_and_cause(models: Any) -> None:
    base, tuned, work = models
    edit(base, lambda tensors: tensors.update({name: tensor[..., :16].clone() for name, tensor in tensors.items()}))
    edit_config(base, hidden_size=16)
    error = refused(lambda: make_diff(base, tuned, work / "diff"), work)
    assert "[97, 32]" in error.message
    assert "the base says hidden_size 16, the other 32" in error.hint


def test_another_architecture_is_named(make_models: Callable[..., Any], tmp_path: Path) -> None:
    base, tuned, work = make_models()
    edit(base, lambda tensors: tensors.update({f"other.{name}": tensors.pop(name) for name in list(tensors)}))
    edit_config(base, model_type="gpt2")
    assert "different architectures" in refused(lambda: make_diff(base, tuned, work / "diff"), work).hint


def test_quantised_weights_are_refused(models: Any) -> None:
    base, tuned, work = models
    edit(tuned, lambda tensors: tensors.update({NORM: tensors[NORM].to(torch.int8)}))
    assert f"tensor {NORM} has type int8" in refused(lambda: make_diff(base, tuned, work / "diff"), work).message


def test_a_folder_without_configuration(models: Any) -> None:
    base, tuned, work = models
    (base / "config.json").unlink()
    assert str(base / "config.json") in refused(lambda: make_diff(base, tuned, work / "diff"), work).message
    (base / "config.json").write_text("{")
    assert "is not valid JSON" in refused(lambda: make_diff(base, tuned, work / "diff"), work).message


def test_an_unknown_dtype(models: Any) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    error = refused(lambda: recover(base, work / "diff", work / "out", dtype="int8"), work)
    assert error.message == "unknown dtype: int8"


def test_an_existing_output_is_kept_unless_told_otherwise(models: Any) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    (work / "diff/mine.txt").write_text("mine")
    assert "exists already" in refused(lambda: make_diff(base, tuned, work / "diff"), work).message
    recover(base, work / "diff", work / "out")
    assert "exists already" in refused(lambda: recover(base, work / "diff", work / "out"), work).message
    make_diff(base, tuned, work / "diff", overwrite=True)
    assert not (work / "diff/mine.txt").exists()


def test_a_wrong_base_is_told_from_a_damaged_diff(models: Any) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    edit(base, lambda tensors: tensors[NORM].view(torch.int16)[3:4].bitwise_xor_(1))
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message.startswith(f"wrong base: tensor {NORM} of {base} is not the one")
    edit(base, lambda tensors: tensors[NORM].view(torch.int16)[3:4].bitwise_xor_(1))
    recover(base, work / "diff", work / "out")
    edit(work / "diff", lambda tensors: tensors["lm_head.weight"].view(torch.int32)[96, 31:].bitwise_xor_(1))
    error = refused(lambda: recover(base, work / "diff", work / "again"), work)
    assert error.message.startswith(
        f"damaged diff: tensor lm_head.weight of {work / 'diff'} is not what diff.json says"
    )


def test_headers_that_differ_from_the_record_are_found_before_reading(models: Any) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    shutil.copytree(base, work / "base32")
    edit(work / "base32", lambda tensors: tensors.update({k: t.float() for k, t in tensors.items()}))
    error = refused(lambda: recover(work / "base32", work / "diff", work / "out"), work)
    assert "is float32 [" in error.message
    assert "but diff.json says float16 [" in error.message
    shutil.copytree(work / "diff", work / "less")
    edit(work / "less", lambda tensors: tensors.pop(NORM))
    assert f"lacks tensor {NORM}" in refused(lambda: recover(base, work / "less", work / "out"), work).message
    shutil.copytree(work / "diff", work / "more")
    edit(work / "more", lambda tensors: tensors.update(extra=torch.zeros(1)))
    assert "has a tensor extra" in refused(lambda: recover(base, work / "more", work / "out"), work).message


def test_changed_files_beside_the_weights_are_named(models: Any) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    (work / "diff/tokenizer_config.json").write_text("{}")
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message == f"{work / 'diff/tokenizer_config.json'} is not the file that was published"
    (work / "diff/tokenizer_config.json").unlink()
    assert "is missing" in refused(lambda: recover(base, work / "diff", work / "out"), work).message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: "{", "the whole file"),
        (lambda record: json.dumps(record | {"version": 2}), "version"),
        (lambda record: json.dumps(record | {"surprise": 1}), "surprise"),
        (lambda record: json.dumps(record | {"form": "exact"}), "unknown form of diff: exact"),
        (lambda record: json.dumps(record | {"files": {"../x": "0" * 64}}), "files"),
        (lambda record: json.dumps(record | {"base": {}}), "contradicts itself"),
    ],
)
def test_a_record_that_is_not_one(models: Any, change: Callable[[dict[str, Any]], str], message: str) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    path = work / "diff/diff.json"
    path.write_text(change(json.loads(path.read_text())))
    assert message in refused(lambda: recover(base, work / "diff", work / "out"), work).message


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_too_little_disk_is_found_before_the_first_byte(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100, 90, 10))
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message.startswith("not enough disk space in")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_the_earlier_result(
    models: Any, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    recover(base, work / "diff", work / "out")
    before = snapshot(work)
    calls = 0

    class Failing(recover_module.ShardWriter):
        def write(self, name: str, piece: torch.Tensor) -> None:
            nonlocal calls
            calls += 1
            if calls == 5:
                raise failure
            super().write(name, piece)

    monkeypatch.setattr(recover_module, "ShardWriter", Failing)
    with pytest.raises(type(failure)):
        recover(base, work / "diff", work / "out", dtype="bfloat16", overwrite=True)
    assert snapshot(work) == before
