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
        OutputFolder(out, "train")
    with pytest.raises(UserError, match="exists already"):
        check_output_file(out / "precious", overwrite=False)
    assert (out / "precious").read_text() == "keep"


def test_overwrite_keeps_the_old_folder_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    (out / "run.json").write_text("{}")
    folder = OutputFolder(out, "train", overwrite=True)
    (folder.partial / "new").write_text("new")
    assert (out / "old").exists()
    folder.publish()
    assert [entry.name for entry in out.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_an_interrupted_run_left_is_named_resumed_or_thrown_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (OutputFolder(out, "train").partial / "half").write_text("half")
    with pytest.raises(UserError, match="interrupted run left") as caught:
        OutputFolder(out, "train")
    assert "--resume" in caught.value.hint
    resumed = OutputFolder(out, "train", resume=True)
    assert resumed.resumed
    assert (resumed.partial / "half").exists()
    with pytest.raises(UserError, match="another command is writing"):
        OutputFolder(out, "train", overwrite=True)
    resumed.keep()
    assert not OutputFolder(out, "train", overwrite=True).resumed


def test_a_block_that_fails_discards_its_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "out", "data") as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_overwrite_replaces_only_what_packtrain_made(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    (tmp_path / "file").write_text("text")
    for name in ("photos", "file"):
        with pytest.raises(UserError, match="was not made by packtrain"):
            OutputFolder(tmp_path / name, "train", overwrite=True)
    with pytest.raises(UserError, match="cannot be an output folder"):
        OutputFolder(Path("/"), "train", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "cat"


def test_an_output_never_replaces_its_own_input(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run.json").write_text("{}")
    (tmp_path / "data" / "raw.json").write_text("[]")
    for given in ("data", "data/raw.json"):
        with pytest.raises(UserError, match="would replace its own input"):
            OutputFolder(tmp_path / "data", "data", inputs=[tmp_path / given], overwrite=True)


def test_what_another_stage_left_is_never_touched(tmp_path: Path) -> None:
    left = OutputFolder(tmp_path / "out", "generate")
    (left.partial / "journal.jsonl").write_text("paid for")
    left.keep()
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UserError, match="was left by generate"):
            OutputFolder(tmp_path / "out", "train", **options)
    with pytest.raises(UserError, match="was left by generate"), output_folder(tmp_path / "out", "data"):
        pass
    assert (left.partial / "journal.jsonl").read_text() == "paid for"


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    old = tmp_path / ".out.4711.replaced"
    old.mkdir()
    (old / "run.json").write_text("{}")
    with pytest.raises(UserError, match="exists already"):
        OutputFolder(tmp_path / "out", "data")
    assert (tmp_path / "out" / "run.json").exists()


def test_a_resume_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    OutputFolder(tmp_path / "out", "train", resume=True).discard()
    assert "nothing to resume" in capsys.readouterr().err


def test_what_another_output_left_is_not_brought_back(tmp_path: Path) -> None:
    """`.out.v2.4711.replaced` belongs to an output called `out.v2`."""
    for name in (".out.v2.4711.replaced", ".out..replaced", ".out.x.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "important").write_text("old")
    OutputFolder(tmp_path / "out", "train", overwrite=True).publish()
    assert not (tmp_path / "out" / "important").exists()
    assert (tmp_path / ".out.v2.4711.replaced" / "important").read_text() == "old"
    with pytest.raises(UserError, match="exists already"):
        OutputFolder(tmp_path / "out.v2", "train")
    assert (tmp_path / "out.v2" / "important").exists()
