"""Weight diffs: time, memory and size, each beside a peer in the same run.

python bench/diff.py legacy   float diff of 1.2 billion weights: recover against the original way and against cp
python bench/diff.py memory   peak memory of recovering at 0.3, 1.2 and 3 billion weights
python bench/diff.py exact    exact diff of a bfloat16 pair: size, and make and recover in MB/s per core
python bench/diff.py large    pre-flight of a LLaMA of 65 billion weights, and memory on its largest tensors

--work is a folder on a disk with room (legacy: 30 GB); --runs is for the medians.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from llama_folders import SHAPES, Shape, tuned, updates, weights, write_folder

REFERENCE = """
    import sys, torch
    from transformers import AutoModelForCausalLM
    raw_path, diff_path, out = sys.argv[1:]
    raw = AutoModelForCausalLM.from_pretrained(raw_path, dtype=torch.float32, low_cpu_mem_usage=True)
    diff = AutoModelForCausalLM.from_pretrained(diff_path, dtype=torch.float32, low_cpu_mem_usage=True)
    state, raw_state = diff.state_dict(), raw.state_dict()
    for key in state:
        state[key].add_(raw_state[key])
    diff.save_pretrained(out)
"""
"""What recover in weight_diff.py of stanford_alpaca does, tokenizers and the added row left out, on today's library."""


def run(command: list[str], threads: int | None = None) -> tuple[float, float, str]:
    """Wall time in seconds, peak resident memory in MB, and standard output of a command."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1000, output


def packtrain(*arguments: object) -> list[str]:
    """A packtrain command."""
    return [sys.executable, "-m", "packtrain", *map(str, arguments)]


def warm(*folders: Path) -> None:
    """Bring files into memory, and what was written to the disk, so that every command begins alike."""
    subprocess.run(["sync"], check=True)
    for folder in folders:
        subprocess.run(f"cat {shlex.quote(str(folder))}/* > /dev/null", shell=True, check=True)


def median(values: list[float]) -> float:
    """Median, for tables."""
    return statistics.median(values)


def make_legacy(work: Path, size: str) -> tuple[Path, Path]:
    """A float16 base in three shards and a float32 diff without manifest, of the same random weights each time."""
    shape = SHAPES[size]
    base, diff = work / f"base-{size}", work / f"diff-{size}"
    if not base.exists():
        write_folder(base, shape, "float16", weights, sum(i.nbytes for i in shape.plan("float16")) // 3 + 200_000_000)
    if not diff.exists():
        write_folder(diff, shape, "float32", updates, 5_000_000_000)
    return base, diff


def legacy(work: Path, runs: int, size: str) -> None:
    """Recover against the reference and against cp."""
    base, diff = make_legacy(work, size)
    ours, reference, copies, peaks, reference_peaks = [], [], [], [], []
    for number in range(runs):
        out = work / "out"
        warm(base, diff)
        seconds, peak, _ = run(packtrain("diff", "recover", base, diff, out, "--json"))
        ours.append(seconds)
        peaks.append(peak)
        output_bytes = sum(path.stat().st_size for path in out.iterdir())
        copy = work / "copy"
        warm(out)
        copies.append(run(["cp", "-r", str(out), str(copy)])[0])
        shutil.rmtree(copy)
        shutil.rmtree(out)
        warm(base, diff)
        seconds, peak, _ = run([sys.executable, "-c", textwrap.dedent(REFERENCE), str(base), str(diff), str(out)])
        reference.append(seconds)
        reference_peaks.append(peak)
        shutil.rmtree(out)
        print(
            f"  run {number + 1}: ours {ours[-1]:.1f} s, reference {seconds:.1f} s, cp {copies[-1]:.1f} s", flush=True
        )
    print(f"float diff, {size}, output {output_bytes / 1e9:.2f} GB, medians of {runs} runs")
    print(f"  recover   {median(ours):6.1f} s  {median(peaks):8.0f} MB peak")
    print(f"  reference {median(reference):6.1f} s  {median(reference_peaks):8.0f} MB peak")
    print(f"  cp        {median(copies):6.1f} s")
    print(f"  recover / reference = 1/{median(reference) / median(ours):.1f} (bound 1/6)")
    print(f"  recover / cp        = {median(ours) / median(copies):.2f} (bound 1.5)")


def memory(work: Path, runs: int, sizes: list[str]) -> None:
    """Peak memory against the size of the model."""
    peaks = {}
    for size in sizes:
        base, diff = make_legacy(work, size)
        measured = []
        for _ in range(runs):
            measured.append(run(packtrain("diff", "recover", base, diff, work / "out", "--json"))[1])
            shutil.rmtree(work / "out")
        peaks[size] = median(measured)
        print(f"  {size}: {peaks[size]:.0f} MB (bound 400 MB)", flush=True)
    print(f"  largest / smallest = {max(peaks.values()) / min(peaks.values()):.3f} (bound 1.15)")


def exact(work: Path, runs: int, size: str) -> None:
    """Size and speed of the exact form on a bfloat16 pair."""
    base, model = work / f"base-bf16-{size}", work / f"tuned-bf16-{size}"
    shape = SHAPES[size]
    if not base.exists():
        write_folder(base, shape, "bfloat16", weights, 5_000_000_000)
    if not model.exists():
        write_folder(model, shape, "bfloat16", tuned("bfloat16"), 5_000_000_000)
    made, recovered, peaks = [], [], []
    for _ in range(runs):
        _, peak, output = run(packtrain("diff", "make", base, model, work / "diff", "--jobs", 1, "--json"), threads=1)
        report = json.loads(output)
        made.append(report["seconds"])
        peaks.append(peak)
        _, peak, output = run(
            packtrain("diff", "recover", base, work / "diff", work / "out", "--jobs", 1, "--json"), threads=1
        )
        recovered.append(json.loads(output)["seconds"])
        peaks.append(peak)
        shutil.rmtree(work / "diff")
        shutil.rmtree(work / "out")
    megabytes = 2 * report["parameters"] / 1e6
    print(f"exact diff, bfloat16, {size}, updates of RMS 6e-4, medians of {runs} runs")
    print(f"  size      {100 * report['share_of_tuned']:.2f} % of the tuned bytes (bound 36 %)")
    print(f"  make      {megabytes / median(made):.0f} MB/s of tuned bytes on one core (bound 150)")
    print(f"  recover   {megabytes / median(recovered):.0f} MB/s of tuned bytes on one core (bound 200)")
    print(f"  peak      {max(peaks):.0f} MB")


def large(work: Path, size: str) -> None:
    """Pre-flight at 65 billion weights, on files with holes, and memory on the largest tensors of that shape."""
    from llama_folders import write_sparse_folder

    shape = SHAPES[size]
    base, diff = work / f"sparse-base-{size}", work / f"sparse-diff-{size}"
    for folder, dtype in ((base, "float16"), (diff, "float32")):
        if not folder.exists():
            write_sparse_folder(folder, shape, dtype, 10_000_000_000)
    command = ["diff", "recover", base, diff, work / "out", "--dry-run", "--json"]
    seconds, peak, output = run(packtrain(*command))
    planned = json.loads(output)
    print(
        f"pre-flight of {planned['parameters'] / 1e9:.1f} billion weights: {seconds:.1f} s (bound 10 s), {peak:.0f} MB"
    )
    print(f"  planned peak: {planned['peak_memory_bytes'] / 1e6:.0f} MB on {planned['workers']} threads")
    small = Shape(layers=1, hidden=shape.hidden, intermediate=shape.intermediate, heads=shape.heads)
    base, diff = work / "one-base", work / "one-diff"
    for folder, dtype, draw in ((base, "float16", weights), (diff, "float32", updates)):
        if not folder.exists():
            write_folder(folder, small, dtype, draw, 10_000_000_000)
    _, peak, _ = run(packtrain("diff", "recover", base, diff, work / "out", "--json"))
    shutil.rmtree(work / "out")
    print(f"  peak on a layer, embedding and head of that width: {peak:.0f} MB")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["legacy", "memory", "exact", "large"])
    parser.add_argument("--work", type=Path, default=Path("bench-work"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", choices=list(SHAPES))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    if options.part == "legacy":
        legacy(options.work, options.runs, options.size or "1.2b")
    elif options.part == "memory":
        memory(options.work, options.runs, [options.size] if options.size else ["0.3b", "1.2b", "3b"])
    elif options.part == "exact":
        exact(options.work, options.runs, options.size or "0.3b")
    else:
        large(options.work, options.size or "65b")


if __name__ == "__main__":
    main()
