"""Proves that folders and records that contradict themselves are told in two lines and never recovered from."""

from pathlib import Path
from typing import Any

import pytest
import torch

import packtrain.diff
from packtrain.core.atomic import JOURNAL, mark_stage
from packtrain.core.errors import UserError
from packtrain.diff.make import make_diff
from packtrain.diff.recover import recover

HEAD = "lm_head.weight"


@pytest.fixture
def made(tmp_path: Path, llama: Any, llama_config: Any, tuned_of: Any, write_model: Any) -> Path:
    """A folder with a base, a tuned model, and diffs of it: `exact` and `float`."""
    base = llama()
    write_model(tmp_path / "base", base, llama_config)
    write_model(tmp_path / "tuned", tuned_of(base, torch.bfloat16, 1), llama_config)
    make_diff(tmp_path / "base", tmp_path / "tuned", tmp_path / "exact")
    make_diff(tmp_path / "base", tmp_path / "tuned", tmp_path / "float", form="float")
    return tmp_path


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("exact", {"tensors": {}}, "tensors: "),
        ("exact", {"arithmetic": "float32"}, "arithmetic and growth_rule of the exact form are ulp and literal"),
        ("float", {"arithmetic": "ulp"}, "arithmetic and growth_rule of the float form are float32 and mean"),
        ("float", {"tied": {"a": "b"}}, "a name is tied to 'b', which is no tensor"),
        ("exact", {"files": {"\x1b[31mx": "0" * 64}}, "files."),
        ("exact", {"files": {"..": "0" * 64}}, "files."),
    ],
)
def test_a_record_that_contradicts_itself(
    made: Path, edit_manifest: Any, form: str, change: dict[str, Any], message: str
) -> None:
    edit_manifest(made / form, lambda record: record.update(change))
    for use in (
        lambda: recover(made / "base", made / form, made / "out"),
        lambda: packtrain.diff.load(str(made / "base"), str(made / form)),
    ):
        with pytest.raises(UserError, match=r"manifest\.json is not a valid record") as caught:
            use()
        assert message in caught.value.message
        assert caught.value.message.isprintable()


@pytest.mark.parametrize("form", ["exact", "float"])
def test_a_folder_without_tensors(tmp_path: Path, llama_config: Any, write_model: Any, form: Any) -> None:
    for name in ("one", "two"):
        write_model(tmp_path / name, {}, llama_config)
    with pytest.raises(UserError, match="one holds no tensors"):
        make_diff(tmp_path / "one", tmp_path / "two", tmp_path / "out", form=form)


@pytest.mark.parametrize("form", ["exact", "float"])
def test_a_table_without_rows_does_not_grow(
    made: Path, llama: Any, llama_config: Any, write_model: Any, form: Any
) -> None:
    write_model(made / "rowless", llama() | {HEAD: torch.zeros(0, 32).half()}, llama_config)
    with pytest.raises(UserError, match=rf"tensor {HEAD} is \[97, 32\] in the tuned model .*, \[0, 32\] in the base"):
        make_diff(made / "rowless", made / "tuned", made / "out", form=form)


def test_tables_that_differ_though_they_are_tied_have_no_float_diff(
    tmp_path: Path, llama: Any, llama_config: Any, tuned_of: Any, write_model: Any
) -> None:
    config, base = llama_config | {"tie_word_embeddings": True}, llama()
    tuned = tuned_of(base, torch.float32)
    write_model(tmp_path / "base", base, config)
    write_model(tmp_path / "tuned", tuned, config)
    with pytest.raises(UserError, match=f"holds {HEAD} and model.embed_tokens.weight, which differ"):
        make_diff(tmp_path / "base", tmp_path / "tuned", tmp_path / "out", form="float")
    write_model(tmp_path / "equal", tuned | {HEAD: tuned["model.embed_tokens.weight"].clone()}, config)
    make_diff(tmp_path / "base", tmp_path / "equal", tmp_path / "out", form="float")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_sum_that_no_model_has_is_told_first(made: Path, text: str) -> None:
    with pytest.raises(UserError, match="is neither a number nor a model whose sum is known"):
        recover(made / "base", made / "exact", made / "out", expect_sum=text)
    assert not (made / "out.partial").exists()


@pytest.mark.parametrize(
    "content", [b"garbage\n", b"[1]\n", b"\xff\xfe\n", b"", b'{"identity": 5}\n', b'{"a": 1}\n{"b"']
)
def test_a_journal_of_any_content_gives_way_to_overwrite(made: Path, content: bytes) -> None:
    partial = made / "out.partial"
    partial.mkdir()
    mark_stage(partial, "diff recover")
    (partial / JOURNAL).write_bytes(content)
    if content:
        with pytest.raises(UserError):
            recover(made / "base", made / "exact", made / "out", resume=True)
    if not partial.exists():
        partial.mkdir()
        mark_stage(partial, "diff recover")
        (partial / JOURNAL).write_bytes(content)
    report = recover(made / "base", made / "exact", made / "out", resume=True, overwrite=True)
    assert report.verified
    assert (made / "out" / "run.json").is_file()
