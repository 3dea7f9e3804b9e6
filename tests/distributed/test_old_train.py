"""The commands of Stanford Alpaca's README as they stand there, with two processes on the CPU in place of four GPUs."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = [
    {"instruction": f"Count to {n}.", "input": "" if n % 3 else "slowly", "output": " ".join(map(str, range(1, n + 1)))}
    for n in range(1, 41)
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("name", "layer"), [("llama", "LlamaDecoderLayer"), ("opt", "OPTDecoderLayer")])
def test_a_command_of_the_readme(
    name: str, layer: str, tiny_base: Path, tiny_opt: Path, tmp_path: Path, packtrain: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "alpaca"
    shutil.copytree(REPOSITORY / "compat/alpaca", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "alpaca_data.json").write_text(json.dumps(ROWS))
    (folder / "facebook").mkdir()
    (folder / "facebook/opt-6.7b").symlink_to(tiny_opt)  # the OPT command names its model
    command = (REPOSITORY / f"tests/readme_commands/alpaca_{name}.sh").read_text()
    environment = packtrain.environment(port=str(free_port()), llama=str(tiny_base), out="tuned", OMP_NUM_THREADS="1")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    finished = subprocess.run(
        ["bash", "-c", command.replace("--nproc_per_node=4", "--nproc_per_node=2")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("# The recipe of this command line.") == 1
    assert f"no effect: the layers are found from the model: {layer}" in finished.stderr
    assert "engine.strategy is fsdp" in finished.stderr
    record = json.loads((folder / "tuned/run.json").read_text())
    assert record["settings"]["train"]["global_batch_size"] == 64
    assert record["figures"]["hardware"] == "2 x CPU, FSDP2, bfloat16 compute, float32 master weights"
    assert (record["figures"]["steps"], record["figures"]["examples"]) == (3, 40)
    model = AutoModelForCausalLM.from_pretrained(folder / "tuned")
    assert type(model).__name__ == layer.removesuffix("DecoderLayer") + "ForCausalLM"
    assert AutoTokenizer.from_pretrained(folder / "tuned").eos_token == "</s>"
