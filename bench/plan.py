"""Peak memory of training against what `packtrain plan` says beforehand, on a grid of tiny and small models.

python bench/plan.py [--only NAME ...] [--json FILE] [--work DIR] [--threads 1]

Each case is a process of its own: `packtrain train` on a random base and random conversations, two steps of several
micro-batches, checkpoint and export included. On a CPU its peak is that of the whole process (resident memory, Python
and libraries counted), beside the plan's total. On a GPU it is what torch allocated at most
(torch.cuda.max_memory_allocated, from metrics.jsonl), beside the plan without CUDA's own and the allocator's reserve.
Prints planned, measured and their ratio for each case, without Python and libraries too, and the worst.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LLAMA = {"model_type": "llama", "max_position_embeddings": 4096}
MODELS: dict[str, dict[str, Any]] = {
    "llama-1M": {**LLAMA, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "vocab_size": 1000},
    "llama-10M-deep": {
        **LLAMA,
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 12,
        "vocab_size": 300,
    },
    "llama-39M": {**LLAMA, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "vocab_size": 32000},
    "llama-58M": {**LLAMA, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8, "vocab_size": 32000},
    "opt-7M": {
        "model_type": "opt",
        "hidden_size": 256,
        "word_embed_proj_dim": 256,
        "ffn_dim": 1024,
        "num_hidden_layers": 6,
        "vocab_size": 8000,
        "max_position_embeddings": 4096,
    },
    "neox-9M": {
        "model_type": "gpt_neox",
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "vocab_size": 8000,
        "max_position_embeddings": 4096,
    },
    "qwen3-16M": {
        "model_type": "qwen3",
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 8000,
        "max_position_embeddings": 4096,
    },
    "gpt2-5M": {
        "model_type": "gpt2",
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "vocab_size": 2000,
        "max_position_embeddings": 4096,
    },
}
"""Configurations; heads are 64 wide."""
LARGE: dict[str, dict[str, Any]] = {
    "llama-1.1B": {
        **LLAMA,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "vocab_size": 32000,
    },
    "llama-3B": {**LLAMA, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "vocab_size": 32000},
}
"""For GPUs beside the others."""
TEMPLATE = "tulu"
STEPS, MICRO_BATCHES = 2, 2


@dataclass(frozen=True)
class Case:
    """One training."""

    model: str
    precision: str
    tokens: int
    length: int = 256
    """Tokens of each conversation, about."""
    recomputed: bool = False
    adapter: str = "none"
    engine: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """For the table and --only."""
        parts = [self.model, self.precision, str(self.tokens)]
        parts += ["recomputed"] if self.recomputed else []
        parts += [self.adapter] if self.adapter != "none" else []
        return " ".join([*parts, *self.engine])


FP32, BF16 = "float32", "bfloat16"
ON_CPU = (
    Case("llama-1M", FP32, 512),
    Case("llama-1M", BF16, 2048),
    Case("llama-1M", FP32, 4096, recomputed=True),
    Case("llama-10M-deep", FP32, 2048),
    Case("llama-10M-deep", BF16, 4096, length=500),
    Case("llama-10M-deep", BF16, 1024, recomputed=True),
    Case("llama-39M", FP32, 1024),
    Case("llama-39M", FP32, 2048, recomputed=True),
    Case("llama-39M", BF16, 2048),
    Case("llama-39M", BF16, 4096, recomputed=True),
    Case("llama-39M", BF16, 2048, adapter="lora"),
    Case("llama-58M", FP32, 512),
    Case("llama-58M", BF16, 1024, recomputed=True),
    Case("opt-7M", FP32, 2048),
    Case("opt-7M", BF16, 2048, recomputed=True),
    Case("neox-9M", FP32, 1024),
    Case("neox-9M", BF16, 2048),
    Case("neox-9M", FP32, 2048, engine=("engine.packing=off",)),
    Case("qwen3-16M", BF16, 2048, length=700),
    Case("qwen3-16M", FP32, 1024, recomputed=True),
    Case("gpt2-5M", FP32, 4096, length=100),
    Case("llama-58M", BF16, 4096),
    Case("llama-39M", BF16, 1024, engine=("engine.attention=eager",)),
    Case("llama-10M-deep", FP32, 2048, recomputed=True, adapter="lora"),
    Case("llama-58M", FP32, 1024, adapter="lora:r=8,targets=q_proj+v_proj"),
    Case("llama-10M-deep", FP32, 2048, adapter="lora"),
    Case("llama-39M", BF16, 2048, recomputed=True, adapter="lora"),
    Case("opt-7M", FP32, 1024, recomputed=True, adapter="lora"),
    Case("llama-39M", BF16, 1024, adapter="qlora"),
)
ON_GPU = (
    *(Case("llama-58M", precision, 16384) for precision in (FP32, BF16)),
    *(Case("llama-1.1B", BF16, tokens, recomputed=again) for tokens in (4096, 16384) for again in (False, True)),
    Case("llama-1.1B", FP32, 4096),
    Case("llama-3B", BF16, 16384, recomputed=True),
    Case("llama-3B", BF16, 8192, recomputed=True, adapter="lora"),
    Case("opt-7M", BF16, 16384),
    Case("neox-9M", BF16, 16384),
)


def make_base(model: str, folder: Path) -> Path:
    """A random base with a tokenizer that makes a token of every character."""
    import tokenizers
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    values = dict({**MODELS, **LARGE}[model])
    values["num_attention_heads"] = values["hidden_size"] // 64
    torch.manual_seed(0)
    config = CONFIG_MAPPING[values.pop("model_type")](**values, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    dtype = torch.bfloat16 if model in LARGE else torch.float32
    AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(words, [], unk_token="<pad>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    specials = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(specials))
    return folder


def make_data(case: Case, file: Path) -> int:
    """Conversations for the steps of a case; how many there are in a step."""
    import random

    draw = random.Random(0)
    in_a_step = max(2, MICRO_BATCHES * case.tokens // case.length)
    with open(file, "w", encoding="utf-8") as out:
        for number in range(STEPS * in_a_step):
            text = "".join(draw.choices("abcdefghij", k=max(8, case.length - 30)))
            cut = len(text) // 2
            messages = [{"role": "user", "content": text[:cut]}, {"role": "assistant", "content": text[cut:]}]
            out.write(json.dumps({"dataset": "random", "id": str(number), "messages": messages}) + "\n")
    return in_a_step


def arguments(case: Case, base: Path, in_a_step: int) -> list[str]:
    """What a case is, as KEY=VALUE of the recipe `default`."""
    return [
        f"base.path={base}",
        f"template={TEMPLATE}",
        f"train.global_batch_size={in_a_step}",
        f"train.max_steps={STEPS}",
        f"train.max_length_tokens={case.length + 20}",
        f"train.precision={case.precision}",
        f"train.adapter={case.adapter}",
        f"engine.micro_batch_tokens={case.tokens}",
        f"engine.activation_checkpointing={str(case.recomputed).lower()}",
        "engine.probes=0",
        *case.engine,
    ]


def measured(case: Case, given: list[str], data: Path, out: Path, threads: int) -> tuple[int, int]:
    """Peak bytes of the whole process, and of tensors on the GPU as metrics.jsonl has them."""
    command = [sys.executable, "-m", "packtrain", "train", "default", "--data", str(data), "--out", str(out), *given]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PACKTRAIN_CACHE": str(out.parent / "cache")}
    log = out.parent / "log"
    with open(log, "w") as said, subprocess.Popen(command, stdout=said, stderr=said, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{case.name} failed: {log.read_text()[-2000:]}")
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return usage.ru_maxrss * 1024, round(last["memory_gb"] * 1e9)


def planned(given: list[str], data: Path, base: Path) -> Any:
    """The plan for the machine at hand."""
    from packtrain.core.engine import split_engine
    from packtrain.core.recipe_file import load_recipe
    from packtrain.train.plan.hardware import parse_hardware
    from packtrain.train.plan.plan import plan
    from packtrain.train.plan.workload import measured_workload

    engine, of_the_recipe = split_engine(given)
    recipe = load_recipe("default", of_the_recipe)
    return plan(recipe, engine, parse_hardware("this"), measured_workload(data, recipe, base))


def run(case: Case, work: Path, threads: int) -> dict[str, Any]:
    """One case, planned and measured."""
    base = work / case.model
    if not base.exists():
        make_base(case.model, base)
    folder = Path(tempfile.mkdtemp(dir=work))
    data = folder / "data.jsonl"
    given = arguments(case, base, make_data(case, data))
    found = planned(given, data, base)
    process_peak, tensors_peak = measured(case, given, data, folder / "out", threads)
    on_gpu = found.setting.hardware.kind == "gpu"
    libraries = 0 if on_gpu else found.memory.device["Python and libraries"]
    before = found.memory.allocated if on_gpu else found.memory.device_peak
    after = tensors_peak if on_gpu else process_peak
    return {
        "case": case.name,
        "planned": before,
        "measured": after,
        "ratio": before / after,
        "ratio_of_the_rest": (before - libraries) / (after - libraries),
        "terms": dict(found.memory.device),
    }


def main() -> None:
    """Run the grid, or the cases named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of cases")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--work", type=Path, help="folder for bases and outputs")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    cases = ON_GPU if torch.cuda.is_available() else ON_CPU
    chosen = [case for case in cases if not options.only or any(part in case.name for part in options.only)]
    results = []
    print(f"{'case':48} {'planned':>10} {'measured':>10} {'ratio':>7} {'without libraries':>18}   (MB)")
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for case in chosen:
            figures = run(case, work, options.threads)
            results.append(figures)
            print(
                f"{case.name:48} {figures['planned'] / 1e6:10.0f} {figures['measured'] / 1e6:10.0f} "
                f"{figures['ratio']:7.3f} {figures['ratio_of_the_rest']:18.3f}",
                flush=True,
            )
            if options.json:
                options.json.write_text(json.dumps(results, indent=2))
    worst = max(results, key=lambda one: abs(one["ratio"] - 1))
    print(f"worst of {len(results)}: {worst['case']}, planned / measured = {worst['ratio']:.3f} (bound 0.90 to 1.10)")


if __name__ == "__main__":
    main()
