"""Fixtures of tests that go through several stages."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@contextmanager
def _serving(model: Path, log: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", model]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("w") as file:
        process = subprocess.Popen([*command, *options], stdout=file, stderr=file, env=environment)
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def transformers_serve() -> Callable[[Path, Path], AbstractContextManager[str]]:
    """Gives, for a model folder and a file for its log, the address of `transformers serve`, once it answers."""
    return _serving


@pytest.fixture
def toy_recipe(tiny_base: Path, conversations_file: Path, tmp_path: Path) -> Path:
    """A recipe file over the tiny base and the toy conversations, with a benchmark of the same kind."""
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    lines = conversations_file.read_text().splitlines(keepends=True)
    (benchmark / "exact_match.jsonl").write_text("".join(lines[:5]))
    content = {
        "name": "toy",
        "title": "A toy that counts",
        "family": "packtrain",
        "template": "tulu",
        "base": {"path": str(tiny_base)},
        "data": {"sources": {"toy": {"format": "messages", "path": str(conversations_file)}}, "held_out": 4},
        "train": {"lr": 1e-3, "epochs": 4, "global_batch_size": 8, "precision": "float32", "max_length_tokens": 200},
        "evaluate": {"columns": ["exact_match", "alpacafarm"], "data": str(benchmark)},
    }
    path = tmp_path / "toy.yaml"
    path.write_text(json.dumps(content))
    return path
