"""Everything that needs a GPU, in one command of under nine minutes, into one JSON.

PYTHONPATH=src python bench/gpu.py --out gpu.json [--rows FILE.json --tokenizer DIR] [--minutes 8.8]

It uses the torch (2.11 to 2.13) and transformers (5.17 to 5.23) that are installed; packtrain itself need not be, but
pydantic must. TRL, datasets, peft, flash-attn and bitsandbytes are measured where they are and named where they are
not. --rows are Alpaca's (instruction, input, output), --tokenizer is a folder of LLaMA's; without them conversations
are random words of like lengths. Sections, the most important first:

environment  the machine, its packages, its speed in matrix products
self_test    the packing self-test for every attention on LLaMA, OPT and GPT-NeoX; the attention kernels themselves
equality     packed = padded = accumulated = recomputed = sharded = resumed = compiled; adapters learn
main         LLaMA-7B in full, recipe alpaca-7b: memory, tokens/s, MFU, minutes of the whole recipe, at several settings
memory       peak memory of smaller models beside packtrain's plan
trainer      the original recipe on the Hugging Face Trainer
trl          TRL's SFTTrainer with packing
tests        tests/gpu

Sections that could spoil each other run in processes of their own, which are ended when a section's share of the time
is over; the JSON is written after every measurement, so nothing that was measured is lost. `--tiny --device cpu` goes
through all of it with tiny models.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_summary import summary, told
from gpu_worker import LONGEST_ERROR, NO_GPU, Record, note, plain, records_in

SECTIONS = {
    "environment": 0.06,
    "self_test": 0.06,
    "equality": 0.16,
    "main": 0.44,
    "memory": 0.07,
    "trainer": 0.09,
    "trl": 0.09,
    "tests": 0.03,
}
"""Shares of the whole time; what a section leaves over goes to those after it."""
PROCESSES = (("environment", "self_test", "equality"), ("main", "memory"), ("trainer",), ("trl",), ("tests",))
"""What is measured in one process after another; a process that dies is followed by one that goes on."""
REPOSITORY = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).with_name("gpu_worker.py")
GRACE_S = 2
"""Beyond its deadline, before a process is ended."""


class Bench:
    """The whole run: starts a process for each section and keeps the JSON up to date."""

    def __init__(self, arguments: argparse.Namespace, work: Path) -> None:
        self.arguments, self.records = arguments, work / "records.jsonl"
        self.work = work
        self.begun = time.time()
        self.deadlines: dict[str, float] = {}
        self.found: dict[str, Any] = {
            "command": sys.argv,
            "begun": time.strftime("%Y-%m-%d %H:%M:%S"),
            "minutes": arguments.minutes,
            "tiny": arguments.tiny,
            "device": arguments.device,
        }

    def run(self) -> None:
        """All sections, each until its share of the time is over."""
        wanted = self.arguments.sections
        for name in SECTIONS:
            if name in wanted:
                before = max(self.deadlines.values(), default=self.begun)
                share = SECTIONS[name] / sum(SECTIONS[one] for one in wanted)
                self.deadlines[name] = before + 60 * self.arguments.minutes * share
        processes = (tuple(self.deadlines),) if self.arguments.tiny else PROCESSES
        for group in processes:
            left = [name for name in group if name in self.deadlines]
            while left:
                left = self._measure(left)
        self.found["finished_after_s"] = time.time() - self.begun
        self.write()

    def _measure(self, sections: list[str]) -> list[str]:
        """Measure sections in one process; those that another one has to go on with because this one died."""
        log = self.work / f"{sections[0]}.log"
        given = [f"{name}={self.deadlines[name]}" for name in sections]
        command = [sys.executable, str(WORKER), str(self.work), *given]
        with open(log, "wb") as file:
            environment = self._environment(sections[0])
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        late = False
        while process.poll() is None:
            time.sleep(0.5)
            self.write()
            late = time.time() > self.deadlines[self._current(sections)] + GRACE_S
            if late:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode == NO_GPU:
            sys.exit(
                "error: torch finds no such GPU on this machine\nhint: --tiny --device cpu goes through it without one"
            )
        if not process.returncode:
            return []
        current = self._current(sections)
        rest = sections[sections.index(current) :]
        status = "out of time" if late else f"its process died ({process.returncode})"
        error = log.read_text(errors="replace")[-LONGEST_ERROR:]
        under_way = [name for name, one in self._records().items() if one["status"] == "under way"]
        for name in under_way or [f"{current}.start"]:
            note(self.records, {"name": name, "status": status, "error": error})
        self.write()
        return rest[1:] if late or not under_way else rest

    def _current(self, sections: Sequence[str]) -> str:
        """The section that is being measured."""
        begun = {name.partition(".")[0] for name in self._records()}
        return next((name for name in reversed(sections) if name in begun), sections[0])

    def _environment(self, section: str) -> dict[str, str]:
        found = dict(os.environ)
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), found.get("PYTHONPATH", "")]))
        found |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
        found.setdefault("PACKTRAIN_CACHE", str(self.work / "cache"))
        if self._done("environment").get("expandable_segments", {}).get("works"):
            found |= dict.fromkeys(("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"), "expandable_segments:True")
        if section in ("environment", "self_test", "equality", "tests"):
            found["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # matrix products that always add alike
        return found

    def _records(self) -> dict[str, Record]:
        return records_in(self.records)

    def _done(self, section: str) -> dict[str, Record]:
        prefix = f"{section}."
        return {name.removeprefix(prefix): one for name, one in self._records().items() if name.startswith(prefix)}

    def write(self) -> None:
        """Replace the JSON by what is known now, if anything is new."""
        records = self._records()
        found = self.found | {"summary": summary(records)}
        for name in SECTIONS:
            if self._done(name):
                found[name] = {item: {**one, "name": f"{name}.{item}"} for item, one in self._done(name).items()}
        text = json.dumps(plain(found), indent=1, allow_nan=False)
        target: Path = self.arguments.out
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            partial = target.with_name(f".{target.name}.partial")
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, target)


def main() -> None:
    """Run the bench and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON")
    parser.add_argument("--rows", type=Path, help="Alpaca rows, JSON")
    parser.add_argument("--tokenizer", type=Path, help="folder of LLaMA's tokenizer")
    parser.add_argument("--minutes", type=float, default=8.8, help="when to stop at the latest")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models: to see that everything runs")
    arguments = parser.parse_args()
    if bool(arguments.rows) != bool(arguments.tokenizer):
        parser.error("--rows and --tokenizer belong together")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        paths = {
            name: str(value.resolve()) if value else None
            for name, value in vars(arguments).items()
            if name in ("rows", "tokenizer")
        }
        (work / "arguments.json").write_text(json.dumps({"device": arguments.device, "tiny": arguments.tiny, **paths}))
        bench = Bench(arguments, work)
        bench.run()
        print("\n".join(told(json.loads(arguments.out.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
