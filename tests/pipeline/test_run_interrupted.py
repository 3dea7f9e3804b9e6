"""kill -9 in every stage of a real run, before and after its output gets its name: the next run goes on to the same."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DRIVER = '''
import json, os, signal, sys
from pathlib import Path

from packtrain.core.atomic import OutputFolder
from packtrain.core.recipe import Recipe
from packtrain.pipeline import stages
from packtrain.pipeline.demo import world_teacher
from packtrain.pipeline.run import run_recipe
import packtrain.generate.loop, packtrain.data.prepare, packtrain.diff.make, packtrain.diff.recover
import packtrain.evaluate.run
import packtrain.models.local, packtrain.train.stage, packtrain.card.card

recipe, work = Recipe.model_validate_json(sys.argv[1]), Path(sys.argv[2])


def dies(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def run(point):
    """The run in a process of its own, which is killed at a point; what its stages did where it is not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        kind, _, name = point.partition(" ")
        if kind == "unpublished":
            publish = OutputFolder.publish
            OutputFolder.publish = lambda folder: dies() if folder.path.name == name else publish(folder)
        if kind == "unrecorded":
            write = stages._write_record
            stages._write_record = lambda *given: dies() if given[3].name == name else write(*given)
        report = run_recipe(recipe, work, teacher=world_teacher())
        os.write(writer, json.dumps([[one.name, one.action, one.reason] for one in report.results]).encode())
        os._exit(0)
    os.close(writer)
    told = os.read(reader, 1 << 20)
    _, status = os.waitpid(child, 0)
    return {"point": point, "signal": os.WTERMSIG(status), "stages": json.loads(told) if told else None}


print(json.dumps([run(point) for point in [*json.loads(sys.argv[3]), "no kill", "again"]]))
'''
FOLDERS = {
    "generate": "generated",
    "data": "data",
    "train": "tuned",
    "diff": "diff",
    "recover": "recovered",
    "evaluate": "scores",
    "card": "card",
}


def driven(recipe: dict[str, Any], work: Path, points: list[str], packtrain: Any) -> tuple[list[Any], str]:
    """What each of the runs did, and what they said."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(recipe), str(work), json.dumps(points)],
        env=packtrain.environment(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def toy(base: Path, conversations: Path, folder: Path) -> dict[str, Any]:
    """A recipe with all stages."""
    benchmark = folder / "benchmark"
    benchmark.mkdir()
    lines = conversations.read_text().splitlines(keepends=True)
    (benchmark / "exact_match.jsonl").write_text("".join(lines[:2]))
    return {
        "name": "toy",
        "title": "A toy that counts",
        "family": "packtrain",
        "template": "tulu",
        "base": {"path": str(base)},
        "generate": {"model": "scripted:world", "count": 24, "novelty": 1.0},
        "data": {"sources": {"toy": {"format": "messages", "path": "stage:generate"}}},
        "train": {
            "lr": 1e-3,
            "epochs": 2,
            "global_batch_size": 8,
            "precision": "float32",
            "max_length_tokens": 200,
            "checkpoint_every_steps": 2,
        },
        "evaluate": {"columns": ["exact_match"], "data": str(benchmark)},
    }


def test_every_stage_killed_twice(tiny_base: Path, conversations_file: Path, tmp_path: Path, packtrain: Any) -> None:
    recipe = toy(tiny_base, conversations_file, tmp_path)
    points = [point for name, folder in FOLDERS.items() for point in (f"unpublished {folder}", f"unrecorded {name}")]
    runs, said = driven(recipe, tmp_path / "killed", points, packtrain)
    assert [run["signal"] for run in runs] == [9] * len(points) + [0, 0]
    expected = [[name, "skip", "unchanged"] for name in FOLDERS]
    assert [run["stages"] for run in runs[-2:]] == [expected, expected]
    for name in FOLDERS:
        for reason in ("interrupted", "finished by the run before"):
            assert re.search(rf"^ *{name}:? +{reason}", said, re.MULTILINE), (name, reason)
    assert re.search(r"^ *train:? +interrupted, resuming after step 6", said, re.MULTILINE)

    straight, _ = driven(recipe, tmp_path / "straight", [], packtrain)
    assert [[action, reason] for _, action, reason in straight[0]["stages"]] == [["run", "not made yet"]] * len(FOLDERS)
    for file in ("data/train.jsonl", "tuned/model.safetensors", "recovered/model.safetensors", "scores/grades.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes(), file
