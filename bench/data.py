"""Data: encoding against the original way, the token cache, near duplicates, and the memory of a conversion.

python bench/data.py encode --rows FILE.json --tokenizer DIR     Alpaca rows, LLaMA's tokenizer (3 runs each)
python bench/data.py duplicates --rows FILE.json                 near duplicates among their instructions
python bench/data.py memory [--largest 1000000]                  peak memory of `data prepare`, 10,000 rows to a million
python bench/data.py diversity --rows FILE.json                  verbs and objects of their instructions

The original way is what Stanford Alpaca's train.py does to a row, re-enacted on today's transformers: prompt and
whole text are tokenised by a call each.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = 3
MAX_LENGTH_TOKENS = 512
BOUND_ENCODE, GOAL_ENCODE = 4.0, 8.0


def median_s(work: Callable[[], object], runs: int = RUNS) -> tuple[float, list[float]]:
    """Median and single wall times of `work`."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), times


def shown(times: list[float]) -> str:
    """The single runs, for the reader to judge the spread."""
    return ", ".join(f"{seconds:.2f}" for seconds in times)


def conversation_file(rows: Path, folder: Path) -> Path:
    """The rows as a conversation file: those that training keeps."""
    from packtrain.core.recipe import Source
    from packtrain.data.prepare import prepare

    prepare({"alpaca": Source(format="alpaca", path=str(rows))}, folder / "rows.jsonl", seed=42)
    return folder / "rows.jsonl"


def original_way(data: Path, tokenizer: Any, template: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Ids and labels as `preprocess` of Stanford Alpaca makes them: two calls of the tokenizer for each row."""
    from packtrain.core.conversation import read_conversations

    ids, labels = [], []
    for conversation in read_conversations(data):
        source = template.render(conversation.messages[:1], "</s>", for_answer=True).text
        whole = source + conversation.messages[1].content + "</s>"
        tokenized = [
            tokenizer(
                text, return_tensors="pt", padding="longest", max_length=MAX_LENGTH_TOKENS, truncation=True
            ).input_ids[0]
            for text in (source, whole)
        ]
        label = tokenized[1].clone()
        label[: tokenized[0].ne(tokenizer.pad_token_id).sum().item()] = -100
        ids.append(tokenized[1].tolist())
        labels.append(label.tolist())
    return ids, labels


def encode(arguments: argparse.Namespace) -> bool:
    """Rows per second of the original way and of ours, both modes, from the file on disk to the cache on disk."""
    from transformers import PreTrainedTokenizerFast

    from packtrain.prompts.encode import Mode
    from packtrain.prompts.template import load_template
    from packtrain.prompts.token_cache import Encoding, encode_file
    from packtrain.prompts.tokenizer import load_tokenizer

    template = load_template("alpaca")
    ours = load_tokenizer(arguments.tokenizer).with_pad("[PAD]")
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=ours.backend, bos_token="<s>", eos_token="</s>", pad_token="[PAD]", padding_side="right"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = conversation_file(arguments.rows, folder)
        expected: list[tuple[list[list[int]], list[list[int]]]] = []
        original, runs = median_s(lambda: expected.append(original_way(data, theirs, template)))
        count = len(expected[0][0])
        print(f"{count:,} rows; original way: {original:.2f} s ({shown(runs)}), {count / original:,.0f} rows/s")
        faster = {}
        modes: tuple[Mode, ...] = ("compat", "default")
        for mode in modes:
            settings = Encoding(template, ours, MAX_LENGTH_TOKENS, mode)

            def fresh(settings: Any = settings) -> None:
                shutil.rmtree(folder / "cache", ignore_errors=True)
                encode_file(data, settings, cache=folder / "cache")

            seconds, runs = median_s(fresh)
            faster[mode] = original / seconds
            print(f"{mode}: {seconds:.2f} s ({shown(runs)}), {count / seconds:,.0f} rows/s, {faster[mode]:.1f} x")
            again, runs = median_s(lambda settings=settings: encode_file(data, settings, cache=folder / "cache"))
            print(f"{mode}, from the cache: {again:.3f} s ({', '.join(f'{run:.3f}' for run in runs)})")
            found = encode_file(data, settings, cache=folder / "cache")
            if mode == "compat":
                equal = check_equal(found, *expected[0])
                print(f"ids and labels equal in all {equal:,} rows that have something to learn")
    print(f"bound {BOUND_ENCODE:g} x, goal {GOAL_ENCODE:g} x")
    return faster["compat"] >= BOUND_ENCODE


def check_equal(found: Any, ids: list[list[int]], labels: list[list[int]]) -> int:
    """How many rows were compared; SystemExit when one differs. Ours leaves out rows with nothing to learn."""
    useful = [row for row, label in enumerate(labels) if any(value != -100 for value in label[1:])]
    if len(useful) != len(found):
        sys.exit(f"{len(found)} examples instead of {len(useful)}")
    for row, example in zip(useful, found, strict=True):
        if list(example.input_ids) != ids[row] or list(example.labels) != labels[row]:
            sys.exit(f"row {row} differs")
    return len(useful)


def duplicates(arguments: argparse.Namespace) -> bool:
    """Seconds of exact and near-duplicate removal in one process and as the command runs it."""
    from packtrain.core.recipe import Data, Source
    from packtrain.data.prepare import prepare

    with tempfile.TemporaryDirectory() as place:
        source = {"alpaca": Source(format="alpaca", path=str(arguments.rows))}
        for kind in ("keep", "exact", "near"):
            data = Data(sources=source, duplicates=kind)
            reports: list[Any] = []

            def run(data: Data = data, reports: list[Any] = reports) -> None:
                reports.append(prepare(data, Path(place) / "out.jsonl", seed=1, overwrite=True))

            seconds, runs = median_s(run)
            counts = reports[-1].sources["alpaca"]
            print(f"duplicates={kind}: {seconds:.2f} s ({shown(runs)}), {counts.read:,} rows, {dict(counts.dropped)}")
    return True


def memory(arguments: argparse.Namespace) -> bool:
    """Peak memory of `packtrain data prepare` on synthetic Alpaca rows of about 700 bytes, all processes together."""
    peaks = {}
    for rows in (10_000, 100_000, arguments.largest):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
            raw = Path(place) / "rows.jsonl"
            with open(raw, "w", encoding="utf-8") as file:
                for number in range(rows):
                    words = " ".join(str(hash_of(number, word)) for word in range(60))
                    row = {"instruction": f"Tell me about {words[:80]}.", "input": "", "output": words}
                    file.write(json.dumps(row) + "\n")
            command = [sys.executable, "-m", "packtrain", "data", "prepare", "alpaca", str(raw)]
            options = ["--out", str(Path(place) / "out.jsonl"), "--clean", "clean", "--wording", "random"]
            begun = time.perf_counter()
            parent, workers = peak_mb([*command, *options, *arguments.option])
            seconds = time.perf_counter() - begun
        peaks[rows] = parent
        rate = rows / seconds
        sizes = f"parent {parent:.0f} MB, largest worker {workers:.0f} MB"
        print(f"{rows:>9,} rows: {sizes}, {seconds:.1f} s, {rate:,.0f} rows/s")
    growth = peaks[arguments.largest] / peaks[10_000]
    print(f"growth of the parent from 10,000 rows: {growth:.2f} x")
    return growth < 1.2


def hash_of(number: int, word: int) -> int:
    """Some digits, the same in every run."""
    return (number * 2654435761 + word * 40503) % 99991


def peak_mb(command: list[str]) -> tuple[float, float]:
    """Peak resident memory of a command, and of the largest of its children, in MB."""
    inside = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
        "try:\n    runpy.run_module('packtrain', run_name='__main__')\n"
        "finally:\n"
        "    both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN\n"
        "    print(*(resource.getrusage(who).ru_maxrss for who in both), file=sys.stderr)"
    )
    arguments = [command[0], "-c", inside, *command[2:]]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
    own, children = done.stderr.split()[-2:]
    return int(own) / 1024, int(children) / 1024


def diversity(arguments: argparse.Namespace) -> bool:
    """Seconds of counting verbs and objects."""
    with tempfile.TemporaryDirectory() as place:
        data = conversation_file(arguments.rows, Path(place))
        command = [sys.executable, "-m", "packtrain", "data", "diversity", str(data), "--json"]
        seconds, runs = median_s(lambda: subprocess.run(command, check=True, capture_output=True))
    print(f"diversity: {seconds:.2f} s ({shown(runs)}), start of Python included")
    return True


def main() -> None:
    """Run one bench; exit status 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=["encode", "duplicates", "memory", "diversity"])
    parser.add_argument("--rows", type=Path, help="Alpaca rows: a JSON list of instruction, input, output")
    parser.add_argument("--tokenizer", type=Path, help="folder with LLaMA's tokenizer")
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the synthetic rows go")
    parser.add_argument("--option", action="append", default=[], help="a further option of `data prepare`")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    benches = {"encode": encode, "duplicates": duplicates, "memory": memory, "diversity": diversity}
    sys.exit(0 if benches[arguments.bench](arguments) else 1)


if __name__ == "__main__":
    main()
