"""Proves that a wrong base is told in seconds, before anything is written, with the tensor and the likely cause."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from packtrain.core.errors import UserError
from packtrain.diff import preflight
from packtrain.diff.make import FORMS, make_diff
from packtrain.diff.recover import plan_recovery, recover

NORM = "model.norm.weight"
Tensors = dict[str, torch.Tensor]


class Folders(NamedTuple):
    """A base, a tuned model, and the diff of them."""

    base: Path
    tuned: Path
    diff: Path
    work: Path

    def refused(self, base: Path | None = None, diff: Path | None = None, **options: Any) -> UserError:
        """Why recovery of another base or diff is refused, and the same without writing; nothing is written."""
        given = base or self.base, diff or self.diff
        with pytest.raises(UserError) as raised:
            recover(*given, self.work / "out", **options)
        with pytest.raises(UserError, match="^") as planned:
            plan_recovery(*given, **options)
        assert (planned.value.message, planned.value.hint) == (raised.value.message, raised.value.hint)
        assert not list(self.work.glob("out*"))
        return raised.value


@pytest.fixture(params=FORMS)
def folders(request: pytest.FixtureRequest, tmp_path: Path, llama_pair: Callable[..., tuple[Path, Path]]) -> Folders:
    """`Folders` for each form."""
    base, tuned = llama_pair(tmp_path, torch.float16)
    make_diff(base, tuned, tmp_path / "diff", form=request.param)
    return Folders(base, tuned, tmp_path / "diff", tmp_path)


@pytest.fixture
def other_base(
    folders: Folders, llama: Callable[..., Tensors], llama_config: dict[str, Any], write_model: Callable[..., Path]
) -> Callable[..., Path]:
    """`other_base(change, key=value)`: a folder with the base's tensors, changed, and configuration, changed."""

    def write(change: Callable[[Tensors], Any] = lambda tensors: None, **config: Any) -> Path:
        tensors = llama()
        change(tensors)
        return write_model(folders.work / "other", tensors, llama_config | config)

    return write


def permute(weight: torch.Tensor) -> torch.Tensor:
    """The rows of a query or key projection of two heads in the order of another conversion."""
    return weight.view(2, 8, 2, 32).transpose(1, 2).reshape(32, 32)


def test_an_older_conversion_is_told_by_its_queries_and_keys(folders: Folders, other_base: Callable[..., Path]) -> None:
    def older(tensors: Tensors) -> None:
        for name in tensors:
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                tensors[name] = permute(tensors[name])

    base = other_base(older)
    error = folders.refused(base)
    first = next(name for name in json.loads((folders.diff / "manifest.json").read_text())["base"] if "k_proj" in name)
    assert error.message == (
        f"wrong base: tensor {first} of {base} is not the one that the diff was made with (4 of the 21 looked into "
        "differ)"
    )
    assert error.hint == (
        "only query and key projections differ: this is an older conversion of the same weights, with their rows in "
        "another order; convert Meta's files again (packtrain convert llama), or get a newer conversion"
    )


def test_changed_token_tables_are_told(folders: Folders, other_base: Callable[..., Path]) -> None:
    base = other_base(lambda tensors: tensors["model.embed_tokens.weight"][-1].zero_())
    error = folders.refused(base)
    assert error.message == (
        f"wrong base: tensor model.embed_tokens.weight of {base} is not the one that the diff was made with (1 of the "
        "21 looked into differ)"
    )
    assert error.hint == (
        "only token tables differ: rows were added or changed after the conversion; get the unchanged base"
    )


def test_llama_2_instead_of_llama(
    folders: Folders, other_base: Callable[..., Path], llama: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same shapes; the context is another, and so are the weights."""
    base = other_base(lambda tensors: tensors.update(llama(seed=9)), max_position_embeddings=4096)
    cause = (
        "the base looks like Llama-2 (context 4096), the other like LLaMA (context 2048): their shapes may be the "
        "same, their weights are not; give the base it was tuned from"
    )
    error = folders.refused(base)
    assert error.message == (
        f"wrong base: tensor lm_head.weight of {base} is not the one that the diff was made with (21 of the 21 looked "
        "into differ)"
    )
    assert error.hint == cause
    make_diff(base, folders.tuned, folders.work / "another")
    assert f"warning: {cause}" in capsys.readouterr().err


def test_a_base_with_a_damaged_tensor(folders: Folders, other_base: Callable[..., Path]) -> None:
    base = other_base(lambda tensors: tensors[NORM][3:4].mul_(2))
    error = folders.refused(base)
    assert error.message == (
        f"wrong base: tensor {NORM} of {base} is not the one that the diff was made with (1 of the 21 looked into "
        "differ)"
    )
    assert error.hint == (
        f"give exactly the base that the diff was made with ({base} is not it), in its original type; if it is, its "
        "files are damaged: download them again"
    )


def test_what_is_not_looked_into_is_found_while_the_work_goes_on(
    folders: Folders, other_base: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "SAMPLE_BYTES", 0)
    base = other_base(lambda tensors: tensors[NORM][3:4].mul_(2))
    with pytest.raises(UserError) as raised:
        recover(base, folders.diff, folders.work / "out")
    assert raised.value.message in {
        f"wrong base: tensor {NORM} of {base} is not the one that the diff was made with",
        f"tensor {NORM} cannot be recovered: the header of a chunk does not fit the base",
    }
    assert not list(folders.work.glob("out*"))


def test_a_base_that_has_the_new_row_already(folders: Folders, other_base: Callable[..., Path], llama: Any) -> None:
    """As when 32001 rows are given for 32000."""
    base = other_base(lambda tensors: tensors.update(llama(rows=97)))
    error = folders.refused(base)
    assert error.message == (
        f"tensor lm_head.weight is float16 [97, 32] in the base {base}, but manifest.json says float16 [96, 32]"
    )
    assert error.hint == "give the base model that the diff was made with, in its original type"


def test_a_base_of_another_depth(folders: Folders, other_base: Callable[..., Path], llama: Any) -> None:
    def shorter(tensors: Tensors) -> None:
        tensors.clear()
        tensors.update(llama(layers=1))

    base = other_base(shorter, num_hidden_layers=1)
    error = folders.refused(base)
    assert error.message == f"the base {base} lacks tensor model.layers.1.input_layernorm.weight"
    assert error.hint == (
        "different numbers of layers: the base says num_hidden_layers 1, the other 2; give the base it was tuned from"
    )


def test_a_diff_given_as_base(folders: Folders) -> None:
    error = folders.refused(folders.diff, folders.tuned)
    assert error.message == f"the base {folders.diff} is itself a diff (it has a manifest.json)"
    assert error.hint == "give the original base model first, then the diff"
    with pytest.raises(UserError) as raised:
        make_diff(folders.diff, folders.tuned, folders.work / "another")
    assert (raised.value.message, raised.value.hint) == (
        error.message,
        "give the original base model first, then the tuned model",
    )


def test_a_diff_without_manifest_given_as_base(folders: Folders) -> None:
    (folders.diff / "manifest.json").unlink()
    error = folders.refused(folders.diff, folders.tuned)
    if (folders.diff / "model.safetensors").exists():
        assert error.message == (
            f"the base {folders.diff} looks like a diff: the weights of its norms are next to nothing (root mean "
            "square 0.00065, models have about 1)"
        )
        assert error.hint == "give the base itself; a diff is recovered first: packtrain diff recover"
    else:
        assert error.message.startswith(f"{folders.diff} holds no weights (looked for model.safetensors, ")


def test_a_model_given_as_diff_and_a_diff_without_manifest_as_tuned_model(
    folders: Folders, llama: Any, llama_config: Any, tuned_of: Any, write_model: Any
) -> None:
    error = folders.refused(diff=folders.tuned, family="alpaca")
    assert error.message.startswith(f"{folders.tuned} looks like a model, not like a diff: the weights of its norms")
    assert error.message.endswith("are as large as the base's (1)")
    assert error.hint == ("give the published diff; if this is the tuned model itself, nothing needs to be recovered")
    base = llama()
    bare = {name: (tensor - base[name].float()) for name, tensor in tuned_of(base, torch.float32).items()}
    write_model(folders.work / "bare", bare, llama_config)
    with pytest.raises(UserError) as raised:
        make_diff(folders.base, folders.work / "bare", folders.work / "another")
    assert raised.value.message.startswith(f"the tuned model {folders.work / 'bare'} looks like a diff: ")


def test_doubts_are_said_and_the_work_goes_on(
    folders: Folders, other_base: Callable[..., Path], tuned_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    base = other_base(bos_token_id=0, eos_token_id=1)
    for folder, text in ((base, "one"), (folders.tuned, "other")):
        (folder / "tokenizer.model").write_text(text)
    make_diff(base, folders.tuned, folders.work / "another")
    said = capsys.readouterr().err
    assert (
        "warning: the base's configuration has bos_token_id 0 and eos_token_id 1, as third-party conversions of March "
        "2023 (decapoda-research) do, whose weights may have older orders too; a newer conversion says 1 and 2"
    ) in said
    assert "warning: the base's tokenizer.model is not the other's: another conversion, or another model" in said


@pytest.mark.parametrize("folders", ["float"], indirect=True)
def test_a_diff_without_manifest_is_doubted_too(
    folders: Folders, other_base: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders.diff / "manifest.json").unlink()
    base = other_base(bos_token_id=0, eos_token_id=1, max_position_embeddings=4096)
    recover(base, folders.diff, folders.work / "out")
    said = capsys.readouterr().err
    assert "warning: the base looks like Llama-2 (context 4096), the other like LLaMA (context 2048)" in said
    assert "decapoda-research" in said


def test_a_tuned_model_that_is_its_base(folders: Folders, other_base: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_diff(folders.base, other_base(), folders.work / "another")
    assert "warning: base and tuned model are the same to the bit: nothing was learnt" in capsys.readouterr().err


def test_norms_of_zeros_are_doubted_but_taken(
    folders: Folders, other_base: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def empty(tensors: Tensors) -> None:
        for name in tensors:
            if "norm" in name:
                tensors[name].zero_()

    base = other_base(empty)
    make_diff(base, folders.tuned, folders.work / "another")
    assert f"warning: all norm weights of the base {base} are zero" in capsys.readouterr().err


def test_a_plan_writes_nothing_and_tells_what_it_will_take(folders: Folders, content: Any, packtrain: Any) -> None:
    before = content(folders.work)
    plan = plan_recovery(folders.base, folders.diff, jobs=3)
    halved = plan_recovery(folders.base, folders.diff, dtype="float16")
    elements = sum(tensor.numel() for tensor in torch_tensors(folders.tuned).values())
    exact = not (folders.diff / "model.safetensors").exists()
    assert (plan.parameters, plan.workers) == (elements, 3)
    assert plan.bytes_written == (2 if exact else 4) * elements
    assert halved.bytes_written == 2 * elements
    inputs = list(folders.diff.glob("*.safetensors"))
    header = sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in inputs)
    assert plan.bytes_read == 2 * sum(t.numel() for t in torch_tensors(folders.base).values()) + (
        sum(path.stat().st_size for path in inputs) - header
    )
    assert plan.peak_memory_bytes > 3 * preflight.WORKER_BYTES
    shown = packtrain("diff", "recover", folders.base, folders.diff, folders.work / "out", "--dry-run", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["bytes_written"] == plan.bytes_written
    assert content(folders.work) == before


def torch_tensors(folder: Path) -> Tensors:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
