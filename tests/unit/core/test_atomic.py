"""Files and folders appear whole or not at all, and never replace anything unasked."""

from pathlib import Path

import pytest

from packtrain.core.atomic import OutputFolder, atomic_file, check_output_file, output_folder
from packtrain.core.errors import UserError


def test_a_file_that_fails_halfway_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.txt"]


def test_a_file_that_ends_well_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.bin"
    with atomic_file(path, "wb") as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_an_existing_output_is_refused_unless_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("keep")
    with pytest.raises(UserError, match="exists already"):
        OutputFolder(out)
    with pytest.raises(UserError, match="exists already"):
        check_output_file(out / "precious", overwrite=False)
    assert (out / "precious").read_text() == "keep"


def test_overwrite_keeps_the_old_folder_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    folder = OutputFolder(out, overwrite=True)
    (folder.partial / "new").write_text("new")
    assert (out / "old").exists()
    folder.publish()
    assert [entry.name for entry in out.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_an_interrupted_run_left_is_named_resumed_or_thrown_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (OutputFolder(out).partial / "half").write_text("half")
    with pytest.raises(UserError, match="interrupted run left") as caught:
        OutputFolder(out)
    assert "--resume" in caught.value.hint
    resumed = OutputFolder(out, resume=True)
    assert resumed.resumed
    assert (resumed.partial / "half").exists()
    assert not OutputFolder(out, overwrite=True).resumed


def test_a_block_that_fails_discards_its_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
