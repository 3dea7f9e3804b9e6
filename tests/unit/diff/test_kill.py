"""Proves that a make or recover killed at any moment, with a real signal, can be gone on with and gives the same bytes.

`PACKTRAIN_KILLS=200` kills that many times; each time at another moment, drawn from the number of the kill.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from packtrain.core.atomic import JOURNAL
from packtrain.diff.make import make_diff
from packtrain.diff.recover import recover

KILLS = int(os.environ.get("PACKTRAIN_KILLS", "8"))
CASES = [("make", "exact"), ("recover", "exact"), ("make", "float"), ("recover", "float")]
BOUND = {"exact": 65_000, "float": 130_000}

SERVER = """
import json, os, signal, sys, time, traceback
from pathlib import Path
from packtrain.diff import blob_file, make, recover
from packtrain.weights import shard_file

def slowed(write, pause_s):
    def slow(*arguments):
        time.sleep(pause_s)
        write(*arguments)
        time.sleep(pause_s)
    return slow

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            for kind in (shard_file.ShardFile, blob_file.BlobFile):
                kind.write = slowed(kind.write, job["pause_s"])
            command = {"make": make.make_diff, "recover": recover.recover}[job["verb"]]
            command(*map(Path, job["folders"]), **job["options"])
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    started, ended = time.monotonic(), (0, 0)
    while ended[0] == 0 and (job["kill_after_s"] is None or time.monotonic() - started < job["kill_after_s"]):
        time.sleep(0.001)
        ended = os.waitpid(child, os.WNOHANG)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    print(ended[1], time.monotonic() - started, flush=True)
"""
"""Forks a process for every line of its input; what takes long, the import of torch, is done once."""


class Killer:
    """Runs commands in processes of their own, and kills them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def run(self, job: dict[str, Any], kill_after_s: float | None) -> tuple[bool, float]:
        """Whether the process ended of its own accord, and well, and the seconds that it took."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({**job, "kill_after_s": kill_after_s}) + "\n")
        self._server.stdin.flush()
        status, seconds = self._server.stdout.readline().split()
        assert status in ("0", str(int(signal.SIGKILL)))
        return status == "0", float(seconds)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


class Stage(NamedTuple):
    """Two models, their diffs, and what each command gives when it is not killed."""

    folder: Path
    killer: Killer
    whole: dict[tuple[str, str], dict[str, Any]]
    seconds: dict[tuple[str, str], float]

    def job(self, verb: str, form: str, out: Path) -> dict[str, Any]:
        """What to send to the killer."""
        options: dict[str, Any] = {"jobs": 2, "max_shard_bytes": BOUND[form]}
        options |= {"form": form} if verb == "make" else {}
        other = self.folder / ("tuned" if verb == "make" else form)
        folders = [str(self.folder / "base"), str(other), str(out)]
        return {"verb": verb, "folders": folders, "options": options, "pause_s": 0.004}


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, packtrain: Any, models_of_megabytes: Any, comparable: Any
) -> Iterator[Stage]:
    """`Stage`, and a measurement of every command."""
    folder = tmp_path_factory.mktemp("kill")
    base, tuned = models_of_megabytes(folder)
    killer = Killer(packtrain.environment(OMP_NUM_THREADS="1"))
    stage = Stage(folder, killer, {}, {})
    for form in ("exact", "float"):
        make_diff(base, tuned, folder / form, form=form, max_shard_bytes=BOUND[form])
    try:
        for case in CASES:
            out = folder / "-".join(case)
            well, stage.seconds[case] = killer.run(stage.job(*case, out), None)
            assert well
            found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
            assert len([name for name in found if "-of-" in name]) > 20
            stage.whole[case] = comparable(found)
        yield stage
    finally:
        killer.close()


def shards(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {path.name: path.stat() for path in folder.glob("*-of-*.safetensors")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def journaled(partial: Path) -> list[str]:
    """The shards that the journal of an unfinished folder says are complete, a torn last line left out."""
    path = partial / JOURNAL
    lines = path.read_text().split("\n")[1:-1] if path.exists() else []
    return [json.loads(line)["file_name"] for line in lines]


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_and_gone_on_with(
    stage: Stage, tmp_path: Path, content: Any, comparable: Any, refused: Any, number: int
) -> None:
    """Killed once, and every third time once more while it goes on; then it is let run to its end."""
    verb, form = case = CASES[number % len(CASES)]
    chance = random.Random(number)
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    job = stage.job(verb, form, out)
    finished, kept = False, []
    for _ in range(2 if number % 3 == 2 else 1):
        finished, _ = stage.killer.run(job, chance.uniform(0, stage.seconds[case]))
        if finished or out.exists():
            break
        kept = journaled(partial)
        job["options"]["resume"] = True
    if out.exists():  # the signal came after the last rename: all is there, at most with marks that are removed next
        found = content(out)
        assert comparable({name: found[name] for name in stage.whole[case]}) == stage.whole[case]
        assert found.keys() - stage.whole[case].keys() <= {".lock", ".stage", JOURNAL}
        return
    before = shards(partial)
    assert set(kept) <= before.keys()
    again = {**job["options"], "jobs": 1}
    base, other, _ = map(Path, job["folders"])
    command: Callable[..., Any] = make_diff if verb == "make" else recover
    if partial.exists() and any(partial.iterdir()):
        error = refused(lambda: command(base, other, out, **{**again, "resume": False}), tmp_path)
        assert error.message == f"an interrupted run left {partial}"
        assert "--resume" in error.hint
    command(base, other, out, **{**again, "resume": True})
    assert comparable(content(out)) == stage.whole[case]
    after = shards(out)
    for name in kept:
        assert after[name] == before[name], f"{name} was complete and was written again"
    print(f"{verb} {form}: {len(kept)} of {len(after)} shards were complete")
