"""Resampling FLAN V2: the lines that the original script draws, from files of any spelling, in constant memory."""

import gzip
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import zstandard

from packtrain.core.errors import UserError
from packtrain.data.resample import SHARES, quotas, resample

FLAN = SHARES["flan_v2"]


def lines(submix: str, count: int) -> list[str]:
    return [json.dumps({"inputs": f"{submix} {number}", "targets": "ü"}, ensure_ascii=False) for number in range(count)]


def collection(folder: Path, count: int = 40, spelling: str = "{}.jsonl", **counts: int) -> dict[str, list[str]]:
    """A folder of all submixes and the lines of each."""
    made = {submix: lines(submix, counts.get(submix, count)) for submix in FLAN}
    for submix, texts in made.items():
        path = folder / spelling.format(submix, task=submix[:-2])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return made


def drawn_by_the_script(made: dict[str, list[str]], total: int, seed: int) -> str:
    """The rule of Open-Instruct's scripts/resample_flan_v2.py, for files that fit in memory."""
    generator, chosen = random.Random(seed), []
    for submix, share in FLAN.items():
        numbers = set(generator.sample(range(len(made[submix])), int(share * total)))
        chosen += [line for number, line in enumerate(made[submix]) if number in numbers]
    return "".join(f"{line}\n" for line in chosen)


def test_the_lines_are_those_of_the_original_script(tmp_path: Path) -> None:
    made = collection(tmp_path / "flan", count=40, flan_zsopt=300, t0_fsnoopt=41)
    out = tmp_path / "out.jsonl"
    report = resample("flan_v2", tmp_path / "flan", out, total=200)
    assert out.read_text("utf-8") == drawn_by_the_script(made, 200, 42)
    assert report.rows == 200
    assert report.figures()["rows"] == 200
    assert {name: one.taken for name, one in report.submixes.items()} == {
        name: int(share * 200) for name, share in FLAN.items()
    }
    assert (report.submixes["flan_zsopt"].lines, report.submixes["t0_fsnoopt"].lines) == (300, 41)
    resample("flan_v2", tmp_path / "flan", out, total=200, seed=7, overwrite=True)
    assert out.read_text("utf-8") == drawn_by_the_script(made, 200, 7)


@pytest.mark.parametrize("spelling", ["{}_data/train.jsonl", "{0}/{0}.jsonl", "{}_train.jsonl", "{}_data.jsonl"])
def test_files_may_lie_and_be_called_differently(tmp_path: Path, spelling: str) -> None:
    made = collection(tmp_path / "flan", spelling=spelling)
    resample("flan_v2", tmp_path / "flan", tmp_path / "out.jsonl", total=200)
    assert (tmp_path / "out.jsonl").read_text("utf-8") == drawn_by_the_script(made, 200, 42)


def test_public_copies_are_packed_and_in_parts(tmp_path: Path) -> None:
    """Blank lines, a missing last line feed and the order of part 10 included; other files are left alone."""
    folder = tmp_path / "flan"
    made = collection(folder)
    for number, submix in enumerate(made):
        plain = folder / f"{submix}.jsonl"
        text = plain.read_bytes().rstrip(b"\n").replace(b"\n", b"\n\n")
        plain.unlink()
        public = submix.replace("zs", "zs_").replace("fs", "fs_")
        if number % 2:
            (folder / f"{public}_train.jsonl.zst").write_bytes(zstandard.compress(text))
            continue
        for start, part in enumerate((1, 2, 10)):
            piece = b"\n".join(text.split(b"\n\n")[start * 13 : start * 13 + (13 if start < 2 else 99)])
            (folder / f"{public}_train_part{part}.jsonl.gz").write_bytes(gzip.compress(piece))
    for other in ("README.md", "flan_zs_opt_train.csv", "flan_zsopt_old.jsonl", "cot_zs_noopt_train.jsonl"):
        (folder / other).write_text("x\n")
    resample("flan_v2", folder, tmp_path / "out.jsonl", total=200)
    assert (tmp_path / "out.jsonl").read_text("utf-8") == drawn_by_the_script(made, 200, 42)


@pytest.mark.parametrize("total", [1, 7, 333, 1000, 99_999, 100_000])
def test_the_shares_come_to_the_total(total: int) -> None:
    rows = quotas(FLAN, total)
    assert sum(rows.values()) == total
    assert all(abs(rows[name] - share * total) < 1 for name, share in FLAN.items())
    assert quotas(FLAN, 100_000) == {name: round(share * 100_000) for name, share in FLAN.items()}


def test_shares_must_add_up_to_one() -> None:
    assert len(FLAN) == 14
    assert sum(FLAN.values()) == pytest.approx(1)
    assert quotas({"a": 0.1, "b": 0.2, "c": 0.7 + 1e-12}, 10) == {"a": 1, "b": 2, "c": 7}
    with pytest.raises(UserError, match=r"add up to 0.9"):
        quotas({"a": 0.5, "b": 0.4}, 10)


def test_all_that_is_too_short_is_named_at_once(tmp_path: Path) -> None:
    made = collection(tmp_path / "flan", flan_zsopt=3, cot_fsopt=0)
    with pytest.raises(UserError) as caught:
        resample("flan_v2", tmp_path / "flan", tmp_path / "out.jsonl", total=400)
    assert caught.value.message == "too few lines: flan_zsopt has 3 of 40, cot_fsopt has 0 of 10"
    assert "--allow-short" in caught.value.hint
    assert not (tmp_path / "out.jsonl").exists()
    report = resample("flan_v2", tmp_path / "flan", tmp_path / "out.jsonl", total=400, allow_short=True)
    assert report.rows == 400 - 37 - 10
    written = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert written[:3] == made["flan_zsopt"]


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "flan"
    collection(folder)
    for submix in ("t0_fsopt", "dialog_zsopt"):
        (folder / f"{submix}.jsonl").unlink()
    with pytest.raises(UserError, match="for 2 of 14 submixes: t0_fsopt, dialog_zsopt") as caught:
        resample("flan_v2", folder, tmp_path / "out.jsonl", total=100)
    assert "flan_zs_opt_train.jsonl.gz" in caught.value.hint
    report = resample("flan_v2", folder, tmp_path / "out.jsonl", total=200, allow_short=True)
    assert report.rows == 200 - 16 - 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="for 14 of 14 submixes"):
        resample("flan_v2", tmp_path / "empty", tmp_path / "o.jsonl", allow_short=True)
    with pytest.raises(UserError, match="cannot read .*none: No such file"):
        resample("flan_v2", tmp_path / "none", tmp_path / "o.jsonl")


def test_bad_requests_and_files_leave_nothing_behind(tmp_path: Path) -> None:
    folder, out = tmp_path / "flan", tmp_path / "out.jsonl"
    collection(folder)
    with pytest.raises(UserError, match="unknown set to resample: flan"):
        resample("flan", folder, out)
    with pytest.raises(UserError, match="would replace its own input"):
        resample("flan_v2", folder, folder / "t0_zsopt.jsonl", overwrite=True)
    (folder / "t0_zs_opt_train.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(UserError, match=r"t0_zsopt is there more than once: t0_zs_opt_train.jsonl.gz, t0_zsopt.jsonl"):
        resample("flan_v2", folder, out, total=200)
    (folder / "t0_zsopt.jsonl").unlink()
    (folder / "t0_zs_opt_train.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 999)[:-9])
    with pytest.raises(UserError, match=r"t0_zs_opt_train.jsonl.gz is cut short"):
        resample("flan_v2", folder, out, total=200)
    (folder / "t0_zs_opt_train.jsonl.gz").unlink()
    (folder / "t0_zsopt.jsonl").write_text("[{}]")
    with pytest.raises(UserError, match=r"t0_zsopt.jsonl is a JSON list"):
        resample("flan_v2", folder, out, total=200)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        resample("flan_v2", folder, out)
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flan", "out.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ('{"inputs": "q"}\n'.encode("utf-16"), "is UTF-16"),
        (b'{"inputs": "q", "targets": \n' * 99, r"record \d+: not valid JSON"),
        (b'{"inputs": "\xfc"}\n' * 99, r"record \d+: not valid UTF-8"),
        (b'{"inputs": "q"}\n' * 99, r"record \d+: missing targets \(found: inputs; expected: inputs, targets\)"),
        (b"[1]\n", "is a JSON list"),
        (b"5\n" * 99, r"record \d+: expected a JSON object, found a number"),
    ],
)
def test_a_submix_that_is_something_else_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    collection(tmp_path / "flan")
    (tmp_path / "flan" / "t0_zsopt.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=f"t0_zsopt.jsonl.*{message}"):
        resample("flan_v2", tmp_path / "flan", tmp_path / "out.jsonl", total=200, allow_short=True)
    assert [path.name for path in tmp_path.iterdir()] == ["flan"]


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "flan"
    collection(folder)
    (folder / "flan_zsopt.jsonl").write_bytes(b'{"targets": "", "inputs": "' + b"x" * 8000 + b'"}\n')
    with open(folder / "flan_zsopt.jsonl", "ab") as file:
        for _ in range(4000):
            file.write(b'{"targets": "", "inputs": "' + b"x" * 8000 + b'"}\n')
    tracemalloc.start()
    resample("flan_v2", folder, tmp_path / "out.jsonl", total=200)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (folder / "flan_zsopt.jsonl").stat().st_size > 30e6
    assert peak_bytes < 8e6


def test_the_command_prints_what_it_took(tmp_path: Path, packtrain: Callable[..., CompletedProcess[str]]) -> None:
    made = collection(tmp_path / "flan", niv2_zsopt=4)
    out = tmp_path / "out.jsonl"
    refused = packtrain("data", "resample", "flan_v2", tmp_path / "flan", "--out", out, "--total", 200)
    assert refused.returncode == 2
    assert "niv2_zsopt has 4 of 20" in refused.stderr
    done = packtrain(
        "data", "resample", "flan_v2", tmp_path / "flan", "--out", out, "--total", 200, "--allow-short", "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["out"], result["rows"]) == (str(out), 184)
    assert result["submixes"]["niv2_zsopt"] == {"lines": 4, "rows": 4}
    assert len(out.read_text("utf-8").splitlines()) == 184
    assert made["niv2_zsopt"][0] in out.read_text("utf-8")
