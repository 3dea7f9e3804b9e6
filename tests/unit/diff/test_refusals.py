"""Proves that folders that do not fit are refused before anything is written, and that nothing is lost."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import torch

import packtrain.diff
from packtrain.core.errors import UserError
from packtrain.diff import blob_file, exact_form, float_form
from packtrain.diff import recover as recover_module
from packtrain.diff.make import FORMS, Form, make_diff
from packtrain.diff.recover import plan_recovery, recover
from packtrain.weights.shard_file import ShardFile

NORM = "model.norm.weight"
Edit = Callable[..., None]
Refused = Callable[..., UserError]
Content = Callable[[Path], dict[str, bytes]]


def test_the_same_folder_twice(models: Any, refused: Refused) -> None:
    base, _, work = models
    error = refused(lambda: make_diff(base, base / ".." / "base", work / "diff"), work)
    assert error.message == f"base and tuned model are the same folder: {base}"
    (work / "link").symlink_to(base)
    error = refused(lambda: make_diff(work / "link", base, work / "diff"), work)
    assert error.message == f"base and tuned model are the same folder: {work / 'link'}"
    error = refused(lambda: recover(base, work / "link", work / "out"), work)
    assert error.message == f"base and diff are the same folder: {base}"
    assert error.hint == "give the base, then the diff"


@pytest.mark.parametrize("form", FORMS)
def test_a_diff_given_as_base_or_as_tuned_model(models: Any, refused: Refused, form: Form) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    error = refused(lambda: recover(work / "diff", base, work / "out"), work)
    assert error.message == f"the base {work / 'diff'} is itself a diff (it has a manifest.json)"
    assert error.hint == "give the original base model first, then the diff"
    error = refused(lambda: make_diff(base, work / "diff", work / "out"), work)
    assert error.message == f"{work / 'diff'} is a diff already (it has a manifest.json)"
    assert error.hint == "recover it first: packtrain diff recover"


def test_an_output_that_would_replace_an_input(models: Any, content: Content) -> None:
    base, tuned, _ = models
    for out in (base, tuned, base.parent):
        before = content(base.parent)
        with pytest.raises(UserError, match="would replace the input"):
            make_diff(base, tuned, out, overwrite=True)
        assert content(base.parent) == before


@pytest.mark.parametrize("form", FORMS)
def test_swapped_folders_show_in_the_rows(models: Any, refused: Refused, form: Form) -> None:
    base, tuned, work = models
    error = refused(lambda: make_diff(tuned, base, work / "diff", form=form), work)
    assert error.message == (
        f"tensor lm_head.weight is [96, 32] in the tuned model {base}, [97, 32] in the base {tuned}"
    )
    assert error.hint == (
        "the base has 1 more token rows: were the two folders swapped, or is the base itself a tuned model or a diff?"
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_tensor_is_named_with_its_side(models: Any, edit: Edit, refused: Refused, form: Form) -> None:
    base, tuned, work = models
    edit(tuned, lambda tensors: tensors.pop(NORM))
    error = refused(lambda: make_diff(base, tuned, work / "diff", form=form), work)
    assert error.message == f"the tuned model {tuned} has no tensor {NORM}, which the base {base} has"
    edit(base, lambda tensors: (tensors.pop(NORM), tensors.pop("model.layers.0.mlp.up_proj.weight")))
    error = refused(lambda: make_diff(base, tuned, work / "diff", form=form), work)
    assert error.message == (
        f"the base {base} has no tensor model.layers.0.mlp.up_proj.weight, which the tuned model {tuned} has"
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_base_of_another_size_names_tensor_and_cause(
    models: Any, edit: Edit, edit_config: Callable[..., None], refused: Refused, form: Form
) -> None:
    base, tuned, work = models
    edit(base, lambda tensors: tensors.update({name: tensor[..., :16].clone() for name, tensor in tensors.items()}))
    edit_config(base, hidden_size=16)
    error = refused(lambda: make_diff(base, tuned, work / "diff", form=form), work)
    assert error.message == (
        f"tensor lm_head.weight is [97, 32] in the tuned model {tuned}, [96, 16] in the base {base}"
    )
    assert error.hint == (
        "different widths: the base says hidden_size 16, the other 32; give the base it was tuned from"
    )


@pytest.mark.parametrize("form", FORMS)
def test_another_architecture_is_named(
    models: Any, edit: Edit, edit_config: Callable[..., None], refused: Refused, form: Form
) -> None:
    base, tuned, work = models
    edit(base, lambda tensors: tensors.update({f"other.{name}": tensors.pop(name) for name in list(tensors)}))
    edit_config(base, model_type="gpt2")
    error = refused(lambda: make_diff(base, tuned, work / "diff", form=form), work)
    assert error.hint.startswith("different architectures: the base says model_type gpt2, the other llama;")


def test_the_float_form_refuses_quantised_weights(models: Any, edit: Edit, refused: Refused) -> None:
    base, tuned, work = models
    edit(tuned, lambda tensors: tensors.update({NORM: tensors[NORM].to(torch.int8)}))
    error = refused(lambda: make_diff(base, tuned, work / "diff", form="float"), work)
    assert error.message == f"{tuned}: tensor {NORM} has type int8"


def test_a_folder_without_configuration(models: Any, refused: Refused) -> None:
    base, tuned, work = models
    (base / "config.json").unlink()
    assert str(base / "config.json") in refused(lambda: make_diff(base, tuned, work / "diff"), work).message
    (base / "config.json").write_text("{")
    assert "is not valid JSON" in refused(lambda: make_diff(base, tuned, work / "diff"), work).message


def test_an_unknown_dtype_form_or_family(models: Any, refused: Refused) -> None:
    base, tuned, work = models
    error = refused(lambda: make_diff(base, tuned, work / "diff", form=cast(Form, "xor")), work)
    assert (error.message, error.hint) == ("unknown form of diff: xor", "there are: exact, float")
    make_diff(base, tuned, work / "diff", form="float")
    for command in (
        lambda: recover(base, work / "diff", work / "out", dtype="int8"),
        lambda: plan_recovery(base, work / "diff", dtype="int8"),
        lambda: packtrain.diff.load(str(base), str(work / "diff"), dtype="int8"),
    ):
        error = refused(command, work)
        assert (error.message, error.hint) == ("unknown dtype: int8", "there are: float16, bfloat16, float32")
    error = refused(lambda: recover(base, work / "diff", work / "out", family="alpaca"), work)
    assert error.message == f"{work / 'diff'} has a manifest: it needs no --family"
    (work / "diff/manifest.json").unlink()
    error = refused(lambda: recover(base, work / "diff", work / "out", family="llama"), work)
    assert (error.message, error.hint) == (
        "unknown family of diffs: llama",
        "there are: alpaca, open-instruct, alpaca-farm, fastchat-v0, fastchat",
    )


def test_an_existing_output_is_kept_unless_told_otherwise(models: Any, refused: Refused) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    (work / "diff/mine.txt").write_text("mine")
    assert "exists already" in refused(lambda: make_diff(base, tuned, work / "diff"), work).message
    recover(base, work / "diff", work / "out")
    assert "exists already" in refused(lambda: recover(base, work / "diff", work / "out"), work).message
    make_diff(base, tuned, work / "diff", overwrite=True)
    assert not (work / "diff/mine.txt").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_base_is_told_from_a_damaged_diff(models: Any, edit: Edit, refused: Refused, form: Form) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    edit(base, lambda tensors: tensors[NORM].view(torch.int16)[3:4].bitwise_xor_(1))
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message.startswith(f"wrong base: tensor {NORM} of {base} is not the one that the diff was made with")
    edit(base, lambda tensors: tensors[NORM].view(torch.int16)[3:4].bitwise_xor_(1))
    recover(base, work / "diff", work / "out")
    edit(work / "diff", lambda tensors: tensors["lm_head.weight"].view(-1)[-1:].view(torch.uint8)[:1].bitwise_xor_(1))
    error = refused(lambda: recover(base, work / "diff", work / "again"), work)
    assert error.message in {
        f"damaged diff: tensor lm_head.weight of {work / 'diff'} is not what manifest.json says",
        "tensor lm_head.weight cannot be recovered: compressed symbols cannot be read: zstd decompress error: "
        "Data corruption detected",
    }


@pytest.mark.parametrize("form", FORMS)
def test_headers_that_differ_from_the_record_are_found_before_reading(
    models: Any, edit: Edit, refused: Refused, form: Form
) -> None:
    base, tuned, work = models
    diff, base32 = work / "diff", work / "base32"
    make_diff(base, tuned, diff, form=form)
    shutil.copytree(base, base32)
    edit(base32, lambda tensors: tensors.update({name: tensor.float() for name, tensor in tensors.items()}))
    error = refused(lambda: recover(base32, diff, work / "out"), work)
    assert error.message == (
        f"tensor lm_head.weight is float32 [96, 32] in the base {base32}, but manifest.json says float16 [96, 32]"
    )
    shutil.copytree(diff, work / "less")
    edit(work / "less", lambda tensors: tensors.pop(NORM))
    error = refused(lambda: recover(base, work / "less", work / "out"), work)
    assert error.message == f"the diff {work / 'less'} lacks tensor {NORM}"
    shutil.copytree(diff, work / "more")
    edit(work / "more", lambda tensors: tensors.update(extra=torch.zeros(1)))
    error = refused(lambda: recover(base, work / "more", work / "out"), work)
    assert error.message == f"the diff {work / 'more'} has a tensor extra that manifest.json does not know"


@pytest.mark.parametrize("form", FORMS)
def test_changed_files_beside_the_weights_are_named(models: Any, refused: Refused, form: Form) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    path = work / "diff" / ("tuned/" if form == "exact" else "") / "tokenizer_config.json"
    path.write_text("{}")
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message == f"{path} is not the file that was published"
    path.unlink()
    assert refused(lambda: recover(base, work / "diff", work / "out"), work).message == f"{path} is missing"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"version": 2}, "is not a valid record: version: Input should be 1"),
        ({"surprise": 1}, "is not a valid record: surprise: Extra inputs are not permitted"),
        ({"form": "xor"}, "is not a valid record: form: Input should be 'exact' or 'float'"),
        ({"files": {"../x": "0" * 64}}, "is not a valid record: files.../x.[key]: String should match pattern"),
        ({"files": {"config.json": "0" * 63}}, "is not a valid record: files.config.json: String should match pattern"),
        ({"base": {}}, "contradicts itself about the base of tensor lm_head.weight"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_record_that_is_not_one(
    models: Any, edit_manifest: Callable[..., None], refused: Refused, form: Form, change: Any, what: str
) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    edit_manifest(work / "diff", lambda record: record.update(change))
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message.startswith(f"{work / 'diff/manifest.json'} {what}")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "7", "{}", None])
def test_a_record_that_was_not_written_by_us(models: Any, refused: Refused, text: str | None) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff")
    path = work / "diff/manifest.json"
    path.write_text(path.read_text().replace('"python": "3', '"python": "2') if text is None else text)
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    if text is not None and text[0] in "{[" and text != "{}":
        assert error.message == f"{path} is not valid JSON"
    else:
        what = "is damaged or was edited: its contents do not have the SHA-256 that it states"
        assert error.message == f"{path} {what}"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("form", FORMS)
def test_too_little_disk_is_found_before_the_first_byte(
    models: Any, refused: Refused, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100, 90, 10))
    error = refused(lambda: recover(base, work / "diff", work / "out"), work)
    assert error.message == f"not enough disk space in {work / 'out.partial'}: 0.10 MB needed, 0.00 MB free"
    error = refused(lambda: make_diff(base, tuned, work / "again", form=form), work)
    assert error.message.startswith(f"not enough disk space in {work / 'again.partial'}: 0.1")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("form", FORMS)
def test_a_failure_half_way_leaves_the_earlier_result(
    models: Any, content: Content, monkeypatch: pytest.MonkeyPatch, form: Form, failure: BaseException
) -> None:
    base, tuned, work = models
    make_diff(base, tuned, work / "diff", form=form)
    recover(base, work / "diff", work / "out")
    before = content(work)

    def failing(kind: type) -> type:
        class Failing(kind):
            def write(self, name: str, piece: Any) -> None:
                if len(self.records) == 5:
                    raise failure
                super().write(name, piece)

        return Failing

    monkeypatch.setattr(recover_module, "ShardFile", failing(ShardFile))
    monkeypatch.setattr(float_form, "ShardFile", failing(ShardFile))
    monkeypatch.setattr(exact_form, "BlobFile", failing(blob_file.BlobFile))
    with pytest.raises(type(failure)):
        recover(base, work / "diff", work / "out", dtype="bfloat16", overwrite=True)
    with pytest.raises(type(failure)):
        make_diff(base, tuned, work / "diff", form=form, overwrite=True)
    assert content(work) == before
