"""Stages of a run: what is done again and why, what is skipped, what an interruption at any moment leaves."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packtrain.core.atomic import OutputFolder
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, hashes
from packtrain.pipeline import stages as stages_module
from packtrain.pipeline.stage_outlook import EDITED, UNCHANGED, FileHashes, Reads, Stage
from packtrain.pipeline.stages import RECORDS, dry_run_stages, plan_stages, run_stages
from packtrain.train.doctor_checks import error, fine, warning


class Killed(BaseException):
    """Stands for the end of the process."""


class Copying:
    """A stage that writes what it reads, with a word before it."""

    def __init__(self, name: str, work: Path, source: Path, word: str = "a") -> None:
        self.name, self.work, self.source, self.word = name, work, source, word
        self.resumed: list[bool] = []
        self.dies: str = ""
        """Where it is killed: `before`, `half`, `published`."""
        self.card = ""
        """What its README says; "" for none."""

    @property
    def out(self) -> Path:
        return self.work / f"{self.name}_out"

    def make(self, resume: bool) -> Mapping[str, Any]:
        self.resumed.append(resume)
        if self.dies == "before":
            raise Killed
        folder = OutputFolder(self.out, "train", overwrite=True, resume=resume)
        file = self.source / "text" if self.source.is_dir() else self.source
        (folder.partial / "text").write_text(self.word + file.read_text())
        if self.card:
            (folder.partial / "README.md").write_text(self.card)
        if self.dies == "half":
            folder.keep()
            raise Killed
        figures = {"length": len(self.word)}
        Manifest("train", {}, {}, hashes(folder.partial), figures).write(folder.partial)
        folder.publish()
        if self.dies == "published":
            raise Killed
        return figures

    def stage(self, **changes: Any) -> Stage:
        settings = {"word": self.word, "sources": {"x": {"path": "p", "kept": None}}}
        stage = Stage(self.name, self.out, settings, {"source": self.source}, self.make, resumable=True)
        return replace(stage, what=f"copies {self.source.name}", **changes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source.txt"
    file.write_text("x")
    return file


@pytest.fixture
def pair(tmp_path: Path, source: Path) -> tuple[Copying, Copying]:
    """Two stages, the second reading what the first makes."""
    work = tmp_path / "work"
    first = Copying("first", work, source)
    return first, Copying("second", work, first.out)


def outcomes(*stages: Stage, work: Path) -> dict[str, str]:
    """Stage to `done` or the reason why it was left alone."""
    return {
        result.name: "done" if result.done else result.reason for result in run_stages(stages, work, "toy", _nothing)
    }


def planned(*stages: Stage, work: Path) -> dict[str, tuple[str, str]]:
    """Stage to action and reason, of a dry run."""
    results, _ = dry_run_stages(stages, work, "toy")
    return {result.name: (result.action, result.reason) for result in results}


def _nothing(names: object) -> list[Any]:
    return []


def test_first_time_then_nothing(pair: tuple[Copying, Copying]) -> None:
    first, second = pair
    both, work = (first.stage(), second.stage()), first.work
    assert planned(*both, work=work) == {"first": ("run", "not made yet"), "second": ("run", "not made yet")}
    assert not work.exists()
    assert outcomes(*both, work=work) == {"first": "done", "second": "done"}
    assert (second.out / "text").read_text() == "aax"
    assert outcomes(*both, work=work) == {"first": UNCHANGED, "second": UNCHANGED}
    assert planned(*both, work=work) == {"first": ("skip", UNCHANGED), "second": ("skip", UNCHANGED)}


Change = Callable[[Copying, Copying], None]


def _setting(first: Copying, second: Copying) -> None:
    first.word = "b"


def _later_setting(first: Copying, second: Copying) -> None:
    second.word = "a word that is far longer than forty characters of text"


def _input(first: Copying, second: Copying) -> None:
    first.source.write_text("y")


def _same_input(first: Copying, second: Copying) -> None:
    first.source.write_text("x")


def _deleted(first: Copying, second: Copying) -> None:
    shutil.rmtree(first.out)


def _file_deleted(first: Copying, second: Copying) -> None:
    (second.out / "text").unlink()


def _changed(first: Copying, second: Copying) -> None:
    (first.out / "text").write_text("other")


def _added(first: Copying, second: Copying) -> None:
    (second.out / "notes").write_text("mine")


PERHAPS = ("depends", "only if first makes something else than before")
SKIP = ("skip", UNCHANGED)


@pytest.mark.parametrize(
    ("change", "plan", "then"),
    [
        (_setting, [("run", "changed: word a -> b"), PERHAPS], ["done", "done"]),
        (
            _later_setting,
            [SKIP, ("run", "changed: word a -> a word that is far longer than forty cha...")],
            [UNCHANGED, "done"],
        ),
        (_input, [("run", "changed input: source (source.txt)"), PERHAPS], ["done", "done"]),
        (_same_input, [SKIP, SKIP], [UNCHANGED, UNCHANGED]),
        (_deleted, [("run", "its output is gone"), PERHAPS], ["done", UNCHANGED]),
        (_file_deleted, [SKIP, ("run", "its output was changed: text")], [UNCHANGED, "done"]),
        (_changed, [("run", "its output was changed: text"), PERHAPS], ["done", UNCHANGED]),
        (_added, [SKIP, SKIP], [UNCHANGED, UNCHANGED]),
    ],
)
def test_what_changed_is_done_again_and_what_depends_on_it(
    pair: tuple[Copying, Copying], change: Change, plan: list[tuple[str, str]], then: list[str]
) -> None:
    first, second = pair
    outcomes(first.stage(), second.stage(), work=first.work)
    change(first, second)
    both = (first.stage(), second.stage())
    assert list(planned(*both, work=first.work).values()) == plan
    assert list(outcomes(*both, work=first.work).values()) == then
    given = first.source.read_text()
    assert (second.out / "text").read_text() == f"{second.word}{first.word}{given}"


def test_nested_settings_are_named_and_the_reason_stays_short(pair: tuple[Copying, Copying]) -> None:
    first, _ = pair
    stage = first.stage()
    outcomes(stage, work=first.work)
    one = replace(stage, settings={"word": "a", "sources": {"x": {"path": "q", "kept": 3}, "y": {"path": "r"}}})
    assert planned(one, work=first.work)["first"] == (
        "run",
        'changed: sources.x.path p -> q, sources.x.kept nothing -> 3, sources.y nothing -> {"path": "r"}',
    )
    text = replace(stage, settings={**stage.settings, "word": "{{ a }}\n{{ b }}"})
    assert planned(text, work=first.work)["first"] == ("run", "changed: word, another text")
    five = replace(stage, settings={"word": "a", "sources": {"x": {"path": "p"}}, **dict.fromkeys("pqrst", 1)})
    assert planned(five, work=first.work)["first"][1] == (
        "changed: p nothing -> 1, q nothing -> 1, r nothing -> 1 and 2 more"
    )


@pytest.mark.parametrize("dies", ["before", "half", "published"])
@pytest.mark.parametrize("adoptable", [True, False])
def test_a_stage_killed_at_any_moment_goes_on(pair: tuple[Copying, Copying], dies: str, adoptable: bool) -> None:
    first, second = pair
    second.dies = dies
    both = (first.stage(), second.stage(adoptable=adoptable, left=lambda: "after step 3"))
    with pytest.raises(Killed):
        run_stages(both, first.work, "toy")
    second.dies = ""
    expected = {
        "before": ("resume", "interrupted before anything could be kept"),
        "half": ("resume", "interrupted, resuming after step 3"),
        "published": ("resume", "interrupted before anything could be kept"),
    }[dies]
    if dies == "published" and adoptable:
        expected = ("skip", "finished by the run before")
    assert planned(*both, work=first.work) == {"first": SKIP, "second": expected}
    done = "done" if expected[0] == "resume" else UNCHANGED
    assert outcomes(*both, work=first.work) == {"first": UNCHANGED, "second": done}
    assert second.resumed == [False, True][: len(second.resumed)]
    assert outcomes(*both, work=first.work) == {"first": UNCHANGED, "second": UNCHANGED}
    assert (second.out / "text").read_text() == "aax"


def test_a_kill_while_the_output_is_hashed_costs_nothing(
    pair: tuple[Copying, Copying], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = pair

    def dies(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(stages_module, "_write_record", dies)
        with pytest.raises(Killed):
            run_stages([first.stage()], first.work, "toy")
    assert outcomes(first.stage(), work=first.work) == {"first": UNCHANGED}
    assert first.resumed == [False]
    assert "  first  finished by the run before" in capsys.readouterr().err
    record = json.loads((first.work / RECORDS / "first.json").read_text())
    assert record["figures"] == {"length": 1}
    assert list(record["outputs"]) == ["text"]


def test_other_settings_after_an_interruption_begin_anew(pair: tuple[Copying, Copying]) -> None:
    first, _ = pair
    first.dies = "half"
    with pytest.raises(Killed):
        run_stages([first.stage()], first.work, "toy")
    first.dies, first.word = "", "b"
    again = ("run", "interrupted, and settings or inputs are others now: begins anew")
    assert planned(first.stage(), work=first.work)["first"] == again
    assert outcomes(first.stage(), work=first.work) == {"first": "done"}
    assert first.resumed == [False, False]


def test_going_back_to_the_old_settings_after_an_interruption_makes_nothing(pair: tuple[Copying, Copying]) -> None:
    first, second = pair
    outcomes(first.stage(), second.stage(), work=first.work)
    first.dies, first.word = "half", "b"
    with pytest.raises(Killed):
        run_stages([first.stage(), second.stage()], first.work, "toy")
    first.dies, first.word = "", "a"
    assert planned(first.stage(), second.stage(), work=first.work) == {"first": SKIP, "second": SKIP}


def test_what_is_edited_by_hand_is_kept(pair: tuple[Copying, Copying], capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = pair
    outcomes(first.stage(edited_by_hand=True), work=first.work)
    (first.out / "text").write_text("mine")
    assert outcomes(first.stage(edited_by_hand=True), work=first.work) == {"first": EDITED}
    for number in (1, 2):
        first.word += "b"
        assert outcomes(first.stage(edited_by_hand=True), work=first.work) == {"first": "done"}
        aside = first.work / f"first_out.edited-{number}"
        assert f"first: what was edited by hand is kept in {aside}" in capsys.readouterr().err
        assert (aside / "text").read_text() == "mine"
        assert (first.out / "text").read_text() == f"{first.word}x"
        (first.out / "text").write_text("mine")


def people_add(folder: Path, *more: str) -> None:
    """What people put into a folder before they publish it."""
    for name in ("README.md", "LICENSE.txt", ".eval_results/x.yaml", *more):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")


def files(folder: Path) -> dict[str, str]:
    """Name to text of all files but the manifest."""
    found = (file for file in folder.rglob("*") if file.is_file() and file.name != "run.json")
    return {file.relative_to(folder).as_posix(): file.read_text() for file in found}


ADDED = {"README.md": "mine", "LICENSE.txt": "mine", ".eval_results/x.yaml": "mine"}


@pytest.mark.parametrize("links", [True, False])
def test_cards_and_licences_decide_nothing_and_outlive_the_folder(
    pair: tuple[Copying, Copying], links: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*arguments: object, **how: object) -> None:
        raise OSError("no links on this disk")

    if not links:
        monkeypatch.setattr("packtrain.pipeline.kept_files.os.link", refuses)
    first, second = pair
    first.card = second.card = "made"
    outcomes(first.stage(), second.stage(), work=first.work)
    people_add(first.out)
    people_add(second.out, "images/curve.png", "old.bin", "text.gguf")
    for word in ("a", "b", "c"):  # at the third time, too, they are told from what was made
        first.word = word
        done = UNCHANGED if word == "a" else "done"
        assert outcomes(first.stage(), second.stage(), work=first.work) == {"first": done, "second": done}
        assert files(first.out) == {**ADDED, "text": f"{word}x"}
    assert files(second.out) == {**ADDED, "text": "acx", "images/curve.png": "mine"}
    assert files(first.work / "second_out.added-1") == {"old.bin": "mine", "text.gguf": "mine"}
    assert sorted(path.name for path in first.work.iterdir() if path != first.work / RECORDS) == [
        "first_out",
        "second_out",
        "second_out.added-1",
    ]
    told = capsys.readouterr().err
    assert f"first: kept in {first.out}: .eval_results/x.yaml, LICENSE.txt, README.md" in told
    assert f"second: of the former second_out, kept in {first.work}/second_out.added-1: old.bin, text.gguf" in told


@pytest.mark.parametrize("dies", ["before", "half", "published", "_write_record", "_give_back"])
@pytest.mark.parametrize("back", [False, True])
def test_what_people_added_outlives_a_kill(
    pair: tuple[Copying, Copying], dies: str, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = pair
    first.card = "made"
    outcomes(first.stage(), work=first.work)
    people_add(first.out)
    first.dies, first.word = dies, "b"

    def kill(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if dies.startswith("_"):
            patch.setattr(stages_module, dies, kill)
        with pytest.raises(Killed):
            run_stages([first.stage()], first.work, "toy")
    first.dies, first.word = "", "a" if back else "b"
    outcomes(first.stage(), work=first.work)
    assert files(first.out) == {**ADDED, "text": f"{first.word}x"}
    first.word = "c"
    outcomes(first.stage(), work=first.work)
    assert files(first.out) == {**ADDED, "text": "cx"}
    assert sorted(path.name for path in (first.work / RECORDS).iterdir() if path.name.startswith("first")) == [
        "first.json"
    ]


def test_files_added_to_what_people_edit_are_kept_with_it(pair: tuple[Copying, Copying]) -> None:
    first, _ = pair
    outcomes(first.stage(edited_by_hand=True), work=first.work)
    people_add(first.out)
    assert outcomes(first.stage(edited_by_hand=True), work=first.work) == {"first": UNCHANGED}
    first.word = "b"
    assert outcomes(first.stage(edited_by_hand=True), work=first.work) == {"first": "done"}
    assert files(first.out) == {"text": "bx"}
    assert files(first.work / "first_out.edited-1") == {**ADDED, "text": "ax"}


def test_a_stage_may_read_less_than_all_of_an_input(pair: tuple[Copying, Copying]) -> None:
    _, second = pair
    second.source.mkdir(parents=True)
    (second.source / "text").write_text("X")
    (second.source / "notes").write_text("one")

    def read(names: list[str]) -> Stage:
        return second.stage(reads={"source": Reads(names.__contains__, lambda file: file.read_text().lower())})

    assert outcomes(read(["text"]), work=second.work) == {"second": "done"}
    (second.source / "notes").write_text("two")
    (second.source / "text").write_text("x")  # other bytes, the same content
    assert planned(read(["text"]), work=second.work) == {"second": SKIP}
    assert planned(read(["text", "notes"]), work=second.work) == {
        "second": ("run", "changed input: source (text, notes)")
    }
    (second.source / "text").write_text("y")
    assert planned(read(["text"]), work=second.work) == {"second": ("run", "changed input: source (text)")}
    (second.source / "text").write_text("X")
    assert planned(second.stage(), work=second.work) == {"second": ("run", "changed input: source (notes)")}


def test_nothing_of_others_is_replaced(pair: tuple[Copying, Copying]) -> None:
    first, second = pair
    second.out.mkdir(parents=True)
    both = (first.stage(), second.stage())
    results, findings = dry_run_stages(both, first.work, "toy")
    assert [result.action for result in results] == ["run", "blocked"]
    assert [finding.what for finding in findings] == [f"{second.out} exists, but no run here made it"]
    with pytest.raises(UserError, match="exists, but no run here made it"):
        run_stages(both, first.work, "toy")
    assert first.resumed == []


def test_what_later_stages_lack_is_told_before_the_first(
    pair: tuple[Copying, Copying], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = pair
    both, asked = (first.stage(), second.stage()), []

    def check(names: Any) -> list[Any]:
        asked.append(list(names))
        lacks = [error("no key", "KEY", "set it"), error("no file", "FILE", "fetch it")]
        return [fine("well"), warning("slow", "CPU", "wait"), *(lacks if "second" in names else [])]

    with pytest.raises(UserError) as refused:
        run_stages(both, first.work, "toy", check)
    assert refused.value.message == "2 things are missing or wrong: KEY, FILE"
    assert capsys.readouterr().err.splitlines() == [
        "warning: slow (CPU): wait",
        "missing: no key (KEY): set it",
        "missing: no file (FILE): fetch it",
    ]
    assert first.resumed == []
    outcomes(*both, work=first.work)
    _, findings = dry_run_stages(both, first.work, "toy", check)
    assert findings == []  # what is done needs nothing
    assert asked == [["first", "second"]]


def test_a_work_folder_belongs_to_one_recipe(pair: tuple[Copying, Copying]) -> None:
    first, _ = pair
    outcomes(first.stage(), work=first.work)
    with pytest.raises(UserError, match="belongs to the recipe toy"):
        dry_run_stages([first.stage()], first.work, "other")


def test_files_are_hashed_once(pair: tuple[Copying, Copying], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pair
    both = (first.stage(), second.stage())
    outcomes(*both, work=first.work)

    def refuses(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr("packtrain.pipeline.stage_outlook.sha256_of_file", refuses)
    known = FileHashes(first.work / RECORDS / "hashes.json")
    assert [result.action for result in plan_stages(both, first.work, known)] == ["skip", "skip"]
