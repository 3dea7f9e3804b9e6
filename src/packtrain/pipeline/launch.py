"""The training stage of a run on several processes: a launcher such as torchrun starts `packtrain train`."""

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from packtrain.core.adapter import parse_adapter
from packtrain.core.atomic import atomic_file
from packtrain.core.engine import Engine, engine_words
from packtrain.core.errors import UserError
from packtrain.core.manifest import read_manifest, utc_now
from packtrain.core.progress import say
from packtrain.core.recipe import Recipe, Train
from packtrain.core.workers import end_with_parent

TORCHRUN = "torchrun"
NEVER_STOPS = 1
"""Status of a training whose model is there, and never ends an answer."""


def launcher_words(given: str | None, settings: Train, engine: Engine) -> list[str]:
    """The words that start several processes: of `given`, or torchrun with the GPUs here; none for this process alone.

    Nothing being given, all GPUs are used that the training can use, and the reason for leaving some idle is told.
    UserError when the first word is no program.
    """
    if given is None:
        import torch

        devices = torch.cuda.device_count()
        most, why = _most_processes(settings, engine)
        if most < devices:
            say(f"train: on {most} of {devices} GPUs, because {why}")
            devices = most
        return [TORCHRUN, "--standalone", f"--nproc_per_node={devices}"] if devices > 1 else []
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise UserError(f"--launch {given!r} cannot be read: {error}", "quote it as for a shell") from error
    if words and words[0] != TORCHRUN and shutil.which(words[0]) is None:
        raise UserError(f"--launch: there is no program {words[0]}", "such as --launch 'torchrun --nproc_per_node 8'")
    return words


def _most_processes(settings: Train, engine: Engine) -> tuple[int, str]:
    """How many processes can train together, and why no more.

    What is more than that is refused by `train/stage.py` (the batch) and `train/strategies`.
    """
    adapter = parse_adapter(settings.adapter)
    if adapter is not None and adapter.kind == "qlora":
        return 1, "qlora trains on one"
    if engine.strategy == "single":
        return 1, "engine.strategy=single is one process"
    return settings.global_batch_size, f"train.global_batch_size is {settings.global_batch_size}"


def train_launched(
    words: Sequence[str], recipe: Recipe, recipe_file: Path, data: Path, out: Path, *, resume: bool, engine: Engine
) -> Mapping[str, Any]:
    """Train with the launcher `words`; the figures of the training.

    The recipe is written to `recipe_file`, from which every process reads it. UserError when the training fails; what
    it has finished stays, and `resume` goes on from it.
    """
    with atomic_file(recipe_file) as file:
        yaml.safe_dump(recipe.resolved(), file, sort_keys=False, allow_unicode=True)
    verb = ["-m", "packtrain", "train", str(recipe_file), "--data", str(data), "--out", str(out), "--overwrite"]
    command = [*words, *verb, *(["--resume"] if resume else []), *engine_words(engine)]
    say(f"train: {shlex.join(command)}")
    begun = utc_now()
    status = _status(command)
    manifest = read_manifest(out)
    if status not in (0, NEVER_STOPS) or manifest is None or manifest.finished < begun:
        raise UserError(
            f"training ended with status {status}: {shlex.join(words)}",
            "what was wrong stands above; once it is mended, the same command goes on from the last checkpoint, if any",
        )
    return manifest.figures


def _status(command: Sequence[str]) -> int:
    """Exit status of a command that writes to stderr, ends when this process does, and is left to end by Ctrl-C."""
    start = [sys.executable, "-m", "torch.distributed.run", *command[1:]] if command[0] == TORCHRUN else [*command]
    interrupted = False
    with subprocess.Popen(start, stdout=sys.stderr, preexec_fn=partial(end_with_parent, signal.SIGTERM)) as process:
        while True:
            try:
                status = process.wait()
                break
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True  # the launcher has heard it too and saves what is there
    if interrupted:
        raise KeyboardInterrupt
    return status
