"""Proves that what an interrupted make or recover left is taken up again, verified, and gives the same bytes."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from packtrain.core.atomic import JOURNAL
from packtrain.diff.blob_file import BlobFile
from packtrain.diff.make import FORMS, Form, make_diff
from packtrain.diff.recover import recover
from packtrain.weights.shard_file import ShardFile

CASES = [(verb, form) for verb in ("make", "recover") for form in FORMS]
BOUND = 5000
"""Bytes of a shard: there are over twenty."""
MARKS = {".lock", ".stage"}


class Work(NamedTuple):
    """A base, a tuned model, one of the two commands that is to be interrupted, and what it gives if it is not."""

    folder: Path
    run: Callable[..., Any]
    inputs: tuple[Path, Path]
    whole: dict[str, bytes]

    @property
    def partial(self) -> Path:
        """What an interrupted run leaves."""
        return self.folder / "out.partial"

    def shards(self) -> dict[str, tuple[int, int]]:
        """Place on the disk and time of change of every finished shard."""
        stats = {path.name: path.stat() for path in self.partial.glob("*-of-*.safetensors")}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


class Setting(NamedTuple):
    """What the tests of one command and form share: its inputs, and what it gives when it is not interrupted."""

    command: Callable[..., Any]
    options: dict[str, Any]
    inputs: tuple[Path, Path]
    whole: dict[str, bytes]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, llama_pair: Any) -> Setting:
    """`Setting` for each command and form."""
    verb, form = request.param
    folder = tmp_path_factory.mktemp("setting")
    base, tuned = llama_pair(folder, torch.float16, layers=4)
    make_diff(base, tuned, folder / "diff", form=form)
    command: Callable[..., Any] = make_diff if verb == "make" else recover
    options = {"jobs": 2, "max_shard_bytes": BOUND} | ({"form": form} if verb == "make" else {})
    inputs = (base, tuned if verb == "make" else folder / "diff")
    command(*inputs, folder / "whole", **options)
    paths = [path for path in (folder / "whole").rglob("*") if path.is_file()]
    whole = {str(path.relative_to(folder / "whole")): path.read_bytes() for path in paths}
    return Setting(command, options, inputs, whole)


@pytest.fixture
def work(setting: Setting, tmp_path: Path) -> Work:
    """`Work` for each command and form."""

    def run(**options: Any) -> None:
        setting.command(*setting.inputs, tmp_path / "out", **(setting.options | options))

    return Work(tmp_path, run, setting.inputs, setting.whole)


@pytest.fixture
def interrupted(work: Work, monkeypatch: pytest.MonkeyPatch) -> Work:
    """`work` after a Ctrl-C while its twentieth tensor was being written."""
    with interruption(20, monkeypatch), pytest.raises(KeyboardInterrupt):
        work.run()
    assert 3 < len(work.shards()) < 20
    assert not (work.folder / "out").exists()
    return work


@contextmanager
def interruption(tensors: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    seen = 0

    def stopping(write: Callable[..., None]) -> Callable[..., None]:
        def stop(*arguments: Any) -> None:
            nonlocal seen
            seen += 1
            if seen >= tensors:
                raise KeyboardInterrupt
            write(*arguments)

        return stop

    with monkeypatch.context() as patch:
        for kind in (ShardFile, BlobFile):
            patch.setattr(kind, "write", stopping(kind.write))
        yield


@pytest.fixture
def assert_finishes(comparable: Any, content: Any) -> Callable[[Work], None]:
    """`assert_finishes(work)` goes on with what was left; the result must be that of the uninterrupted run."""

    def assert_finishes(work: Work) -> None:
        work.run(resume=True)
        assert comparable(content(work.folder / "out")) == comparable(work.whole)
        assert not work.partial.exists()

    return assert_finishes


def test_the_result_is_the_same_and_finished_shards_are_kept(
    interrupted: Work, assert_finishes: Any, capsys: Any
) -> None:
    before = interrupted.shards()
    assert_finishes(interrupted)
    out = interrupted.folder / "out"
    for name, (place, changed) in before.items():
        stat = (out / name).stat()
        assert (stat.st_ino, stat.st_mtime_ns) == (place, changed), name
    total = len(list(out.glob("*-of-*")))
    assert f"resumed: {len(before)} of {total} files were complete and verified" in capsys.readouterr().err
    assert total > 20


def test_without_resume_an_error_says_what_to_do(interrupted: Work, assert_finishes: Any, refused: Any) -> None:
    error = refused(lambda: interrupted.run(), interrupted.folder)
    assert error.message == f"an interrupted run left {interrupted.partial}"
    assert error.hint == "give --resume to go on with it, or --overwrite to start again"
    assert_finishes(interrupted)


def test_overwrite_starts_again(interrupted: Work, content: Any, comparable: Any) -> None:
    before = interrupted.shards()
    interrupted.run(overwrite=True)
    out = interrupted.folder / "out"
    assert comparable(content(out)) == comparable(interrupted.whole)
    assert not any((out / name).stat().st_mtime_ns == changed for name, (_, changed) in before.items())


def test_several_interruptions_one_after_the_other(
    interrupted: Work, assert_finishes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = interrupted.shards()
    for tensors in (1, 3, 7):
        with interruption(tensors, monkeypatch), pytest.raises(KeyboardInterrupt):
            interrupted.run(resume=True)
        now = interrupted.shards()
        assert kept.items() <= now.items()
        kept = now
    assert_finishes(interrupted)


@pytest.mark.parametrize("side", [0, 1])
def test_inputs_that_were_changed_meanwhile_are_refused(interrupted: Work, refused: Any, side: int) -> None:
    for path in interrupted.inputs[side].glob("*.safetensors"):
        os.utime(path, ns=(1, 1))
    error = refused(lambda: interrupted.run(resume=True), interrupted.folder)
    assert error.message == f"{interrupted.partial} was begun with other inputs, other settings or another version"
    assert error.hint == "give these again to go on with it, or --overwrite to start from the beginning"


@pytest.mark.parametrize("verb", ["make", "recover"])
@pytest.mark.parametrize("form", FORMS)
def test_as_many_shards_of_other_tensors_are_refused(
    tmp_path: Path,
    write_model: Any,
    tuned_of: Any,
    refused: Any,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    form: Form,
) -> None:
    """Of 2, 2, 1 and 3 kilobytes, those of at most 4 are a, b and c, d; those of at most 5 are a, b, c and d."""
    width = 1 if form == "exact" else 2
    sizes = {"a": 2, "b": 2, "c": 1, "d": 3}
    base = {name: torch.randn(size, 512).half() for name, size in sizes.items()}
    folders = [
        write_model(tmp_path / "base", base, {}),
        write_model(tmp_path / "tuned", tuned_of(base, torch.half), {}),
    ]
    make_diff(*folders, tmp_path / "diff", form=form)

    def run(kilobytes: int, **options: Any) -> Any:
        options |= {"jobs": 1, "max_shard_bytes": 1024 * width * kilobytes}
        if verb == "make":
            return make_diff(*folders, tmp_path / "out", form=form, **options)
        return recover(folders[0], tmp_path / "diff", tmp_path / "out", **options)

    with interruption(3, monkeypatch), pytest.raises(KeyboardInterrupt):
        run(4)
    error = refused(lambda: run(5, resume=True), tmp_path)
    assert error.message == f"{tmp_path / 'out.partial'} was begun with other inputs, other settings or another version"
    run(4, resume=True)


def test_a_kept_shard_with_a_flipped_bit_is_noticed_and_written_again(interrupted: Work, assert_finishes: Any) -> None:
    before = interrupted.shards()
    name = sorted(before)[1]
    data = bytearray((interrupted.partial / name).read_bytes())
    data[-1] ^= 4
    (interrupted.partial / name).write_bytes(data)
    assert_finishes(interrupted)
    assert (interrupted.folder / "out" / name).stat().st_ino != before[name][0]


@pytest.mark.parametrize("damage", ["header", "shortened", "gone"])
def test_a_kept_shard_that_cannot_be_read_is_written_again(
    interrupted: Work, assert_finishes: Any, damage: str
) -> None:
    path = interrupted.partial / sorted(interrupted.shards())[0]
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-5] if damage == "shortened" else b"\xff" + data[1:])
    assert_finishes(interrupted)


@pytest.mark.parametrize("torn", [b'{"file_name": "diff-00', b"\x00\x00", b"{"])
def test_a_torn_line_of_the_journal_is_survived(interrupted: Work, assert_finishes: Any, torn: bytes) -> None:
    with open(interrupted.partial / JOURNAL, "ab") as file:
        file.write(torn)
    assert_finishes(interrupted)


def test_a_journal_that_was_torn_in_its_first_line_means_to_start_again(
    interrupted: Work, assert_finishes: Any
) -> None:
    path = interrupted.partial / JOURNAL
    path.write_bytes(path.read_bytes()[:20])
    assert_finishes(interrupted)


def test_what_a_kill_left_under_temporary_names_is_not_published(interrupted: Work, assert_finishes: Any) -> None:
    for name in (".manifest.json.99999.tmp", ".run.json.99999.tmp", ".config.json.1.tmp", "tuned/.x.2.tmp"):
        (interrupted.partial / name).parent.mkdir(exist_ok=True)
        (interrupted.partial / name).write_text("half a fi")
    assert_finishes(interrupted)


@pytest.mark.parametrize("setting", CASES[2:], ids="-".join, indirect=True)
def test_what_is_there_needs_no_more_space(
    interrupted: Work, assert_finishes: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sum(path.stat().st_size for path in interrupted.partial.iterdir())
    whole = sum(len(data) for name, data in interrupted.whole.items() if "-of-" in name)
    free = 10
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9 - free, free))
    error = refused(lambda: interrupted.run(resume=True), interrupted.folder)
    assert error.message.startswith(f"not enough disk space in {interrupted.partial}: ")
    free = whole - there
    assert free < whole / 1.5
    assert_finishes(interrupted)


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


def test_nothing_to_resume_is_said_and_the_work_done(work: Work, assert_finishes: Any, capsys: Any) -> None:
    assert_finishes(work)
    assert f"nothing to resume in {work.partial}: starting from the beginning" in capsys.readouterr().err


def test_what_another_command_left_is_not_touched(interrupted: Work, refused: Any) -> None:
    stage = (interrupted.partial / ".stage").read_text()
    (interrupted.partial / ".stage").write_text("train")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        error = refused(lambda options=options: interrupted.run(**options), interrupted.folder)
        assert error.message == f"{interrupted.partial} was left by train"
    (interrupted.partial / ".stage").write_text(stage)


@pytest.mark.parametrize("setting", CASES[:2], ids="-".join, indirect=True)
def test_another_form_is_refused(interrupted: Work, refused: Any, setting: Setting) -> None:
    [other] = set(FORMS) - {setting.options["form"]}
    error = refused(lambda: interrupted.run(resume=True, form=other), interrupted.folder)
    assert "was begun with other inputs, other settings" in error.message
