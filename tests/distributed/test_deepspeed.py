"""DeepSpeed's ZeRO-3 trains the model that one process trains, holds parts alone, and resumes on any number of them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from packtrain.core.engine import Engine
from packtrain.core.errors import UserError
from packtrain.core.recipe import Train
from packtrain.train.distributed import Processes

WORKER = Path(__file__).with_name("zero3_jobs.py")
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    # one example at a time: 4 and 4 of 8, then 1 and a stand-in
    "opt, accumulated": ("opt", {"activation_checkpointing": True, "micro_batch_tokens": 1}),
}
"""Base and engine."""
EXACT = {"loss": 4e-6, "loss_by_dataset": 4e-6, "held_out": 4e-6, "norm": 1e-6, "weights": 1e-6}
"""Differences that come from adding in another order, as between other ways of training."""
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "replicas": ({"engine": {"replicas": 2}}, "engine.replicas belongs to engine.strategy=fsdp", "take fsdp"),
    "compile": ({"engine": {"compile": True}}, "engine.compile is not for engine.strategy=deepspeed", "take fsdp"),
    "offload": ({"engine": {"cpu_offload": True}}, "engine.cpu_offload moves weights off GPUs", "leave it out"),
    "adapter": ({"adapter": "lora"}, "engine.strategy=deepspeed trains all weights, no adapter", "strategy=auto"),
    "qlora": ({"adapter": "qlora"}, "engine.strategy=deepspeed trains all weights, no adapter", "strategy=auto"),
}


def within(found: dict[str, float], bounds: dict[str, float] = EXACT) -> bool:
    """Whether differences stay within bounds; they are printed, for when they do not."""
    print(found)
    return all(found[key] <= bound for key, bound in bounds.items())


@pytest.fixture(scope="module")
def bases(tiny_base: Path, tiny_opt: Path) -> dict[str, Path]:
    return {"llama": tiny_base, "opt": tiny_opt}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deepspeed")


@pytest.fixture(scope="module")
def zero3_job(job_of: Any) -> Callable[..., dict[str, Any]]:
    """Makes a job for DeepSpeed."""

    def make(base: Path, out: Path, *, engine: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
        job: dict[str, Any] = job_of(base, out, engine={"strategy": "deepspeed"} | (engine or {}), **settings)
        return job

    return make


@pytest.fixture(scope="module")
def launch(launcher: Any, folder: Path) -> Callable[..., list[list[dict[str, Any]]]]:
    """Does jobs in processes of their own; for each job what every process found."""

    def run(jobs: list[dict[str, Any]], processes: int) -> list[list[dict[str, Any]]]:
        results = folder / f"results of {processes}"
        results.mkdir()
        (results / "jobs.json").write_text(json.dumps(jobs, default=str))
        launched = launcher.start(processes, WORKER, results / "jobs.json", results)
        assert launched.end() == 0, launched.stderr
        ranks = [json.loads((results / f"rank_{rank}.json").read_text()) for rank in range(processes)]
        return [list(found) for found in zip(*ranks, strict=True)]

    return run


@pytest.fixture(scope="module")
def alone(bases: dict[str, Path], folder: Path, launcher: Any, job_of: Any, trained: Any) -> Callable[..., Any]:
    """A run in one process without DeepSpeed, computed once."""
    made: dict[str, Any] = {}

    def run(base: str, **settings: Any) -> Any:
        name = f"alone {base} {settings}"
        if name not in made:
            found = launcher.alone(job_of(bases[base], folder / name, **settings))
            made[name] = trained(folder / name, found["held_out"])
        return made[name]

    return run


@pytest.fixture(scope="module")
def in_two(bases: dict[str, Path], folder: Path, zero3_job: Any, launch: Any) -> dict[str, Any]:
    """All runs in two processes, from one launch: name to (folder, what each process found)."""
    jobs = {way: zero3_job(bases[base], folder / way, engine=engine) for way, (base, engine) in WAYS.items()}
    jobs["bfloat16"] = zero3_job(bases["llama"], folder / "bfloat16", precision="bfloat16")
    for name, (settings, _, _) in REFUSED.items():
        jobs[name] = zero3_job(bases["llama"], folder / name, **settings) | {"may_fail": True}
    stop = [{"kind": "interrupt", "step": 2}]
    for out in ("resumed", "resumed in three"):
        stopped = zero3_job(bases["llama"], folder / out, faults=stop, checkpoint_every_steps=1)
        jobs[f"{out}, stopped"] = stopped | {"may_fail": True}
    resumed = zero3_job(bases["llama"], folder / "resumed", checkpoint_every_steps=1)
    jobs["resumed"] = resumed | {"resume": True}
    found = launch(list(jobs.values()), 2)
    return {name: (Path(job["out"]), ranks) for (name, job), ranks in zip(jobs.items(), found, strict=True)}


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_with_deepspeed_are_one_without(
    way: str, in_two: dict[str, Any], alone: Any, trained: Any
) -> None:
    out, ranks = in_two[way]
    assert within(trained(out, ranks[0]["held_out"]).off(alone(WAYS[way][0])))
    assert {found["hardware"] for found in ranks} == {
        "2 x CPU, DeepSpeed ZeRO-3, float32 compute, float32 master weights"
    }


def test_processes_may_differ_in_their_chunks_of_the_head(in_two: dict[str, Any]) -> None:
    first, second = (found["chunks"] for found in in_two["llama"][1])
    assert first != second
    assert max(first) > 1


def test_every_process_holds_its_part_alone(in_two: dict[str, Any]) -> None:
    """That they are the right parts, and partitioned, the workers have asserted."""
    for name in (*WAYS, "bfloat16"):
        first, second = (found["parts"] for found in in_two[name][1])
        assert len(first) > 10
        for weight, (mine, whole) in first.items():
            assert mine == -(-whole // 2)
            assert second[weight] == [whole - mine, whole]


def test_bfloat16_is_close_to_one_process(in_two: dict[str, Any], alone: Any, trained: Any) -> None:
    out, ranks = in_two["bfloat16"]
    bounds = {"loss": 2e-3, "norm": 1e-2, "weights": 3e-3}
    assert within(trained(out, ranks[0]["held_out"]).off(alone("llama", precision="bfloat16")), bounds)
    assert {tensor.dtype for tensor in trained(out).weights.values()} == {torch.float32}
    assert "bfloat16 compute, float32 master" in ranks[0]["hardware"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_deepspeed_cannot_be_is_refused(name: str, in_two: dict[str, Any]) -> None:
    _, message, hint = REFUSED[name]
    for found in in_two[name][1]:
        assert message in found["error"][0]
        assert hint in found["error"][1]


def test_a_run_resumes_in_two_processes_and_in_three(
    in_two: dict[str, Any], bases: dict[str, Path], folder: Path, zero3_job: Any, launch: Any, trained: Any
) -> None:
    uninterrupted = trained(in_two["llama"][0])
    assert in_two["resumed, stopped"][1][0]["error"] == ["interrupted", ""]
    resumed = trained(in_two["resumed"][0])
    assert resumed.off(uninterrupted) == dict.fromkeys(EXACT, 0.0), "bit for bit"
    again = zero3_job(bases["llama"], folder / "resumed in three", checkpoint_every_steps=1) | {"resume": True}
    found = launch([again], 3)[0]
    assert [one["hardware"].split(",")[0] for one in found] == ["3 x CPU"] * 3
    assert within(trained(folder / "resumed in three").off(uninterrupted))


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from packtrain.train.strategies.deepspeed import Strategy

    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(UserError, match="engine.strategy=deepspeed: deepspeed is not installed") as caught:
        Strategy(Processes(0, 1, 0, torch.device("cpu")), Train(lr=1e-3, epochs=1), Engine(strategy="deepspeed"))
    assert caught.value.hint == "pip install 'packtrain[deepspeed]'"
