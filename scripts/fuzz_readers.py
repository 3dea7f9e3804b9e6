"""Feeds the readers of weights with damaged files until something other than tensors or a UserError comes out.

    python scripts/fuzz_readers.py --format bin --minutes 5 --seed 1 --corpus tests/unit/weights/corpus

Valid files are mutated: bits, lengths, cuts and splices; JSON edited as JSON; zip directories field by field; pickles
instruction by instruction. Cases are read in a process of their own, so that a crash, more than 5 seconds, and more
than 500 MB of memory are findings like an exception, a tensor of another shape than its header says, or one of other
bytes than the format's own library reads. A finding is saved in the corpus; the exit status is 1 when there is one.
"""

import argparse
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from fuzz_mutations import MUTATIONS, SHARDS, seeds
from safetensors.torch import load_file, save

from packtrain.core.errors import UserError
from packtrain.weights.store import TensorStore, open_store

MAX_SECONDS = 5
MAX_GROWTH_BYTES = 500_000_000
SUFFIXES = {"bin": ".bin", "safetensors": ".safetensors", "index": ".index.json"}
PLACES = {
    ".bin": "pytorch_model.bin",
    ".safetensors": "model.safetensors",
    ".index.json": "model.safetensors.index.json",
}


def place(folder: Path, suffix: str, content: bytes) -> None:
    """Write a case as the one weights file, or index, of `folder`."""
    if suffix == ".index.json":
        for name, tensors in SHARDS.items():
            (folder / name).write_bytes(save(tensors))
    (folder / PLACES[suffix]).write_bytes(content)


def read(folder: Path) -> str:
    """`refused` or `read`: how a folder's weights come out; AssertionError when they are not what was said."""
    try:
        tensors = _read(open_store(folder))
    except UserError as error:
        message = error.message + error.hint
    else:
        reference = _by_library(folder)
        if reference is None:
            return "read, but not by the library"
        for name, tensor in reference.items():
            assert tensors[name].dtype == tensor.dtype, f"{name} has another type than the library says"
            assert _bytes(tensors[name]) == _bytes(tensor.detach()), f"{name} differs from what the library reads"
        return "read"
    assert str(folder) in message, "the file is not named"
    assert message.isprintable(), "the message is not one printable line"
    return "refused"


def _read(store: TensorStore) -> dict[str, torch.Tensor]:
    tensors = dict(store)
    for name, tensor in tensors.items():
        info = store.info(name)
        assert tuple(tensor.shape) == info.shape, f"{name} has another shape than its header says"
        assert tensor.nbytes == info.nbytes, f"{name} has another size than its header says"
        pieces = [_bytes(piece) for piece in store.chunks(name, max(1, info.numel // 3))]
        assert b"".join(pieces) == _bytes(tensor), f"{name} in pieces is another than whole"
    return tensors


def _bytes(tensor: torch.Tensor) -> bytes:
    flat = tensor.clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""


def _by_library(folder: Path) -> dict[str, torch.Tensor] | None:
    try:
        if (folder / PLACES[".bin"]).exists():
            return dict(torch.load(folder / PLACES[".bin"], map_location="cpu", weights_only=True))
        if (folder / PLACES[".safetensors"]).exists():
            return load_file(folder / PLACES[".safetensors"])
    except Exception:
        return None
    return {}


class Reader:
    """A process that reads cases one by one and is replaced when it dies or does not answer."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._start()

    def outcome(self, suffix: str, content: bytes) -> str:
        """What `read` says of a case, or `finding: ` and why."""
        self._connection.send((suffix, content))
        try:
            if self._connection.poll(MAX_SECONDS):
                return str(self._connection.recv())
            reason = f"no answer in {MAX_SECONDS} seconds"
        except EOFError:
            self._process.join()
            reason = f"the process died with exit code {self._process.exitcode}"
        self._process.kill()
        self._start()
        return f"finding: {reason}"

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def _serve(connection: Connection) -> None:
    warnings.simplefilter("ignore")
    limit = _memory("VmSize") + 4 * MAX_GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "case"
        folder.mkdir()
        while True:
            suffix, content = connection.recv()
            place(folder, suffix, content)
            before = _memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
            try:
                outcome = read(folder)
            except BaseException:
                outcome = f"finding: {traceback.format_exc()}"
            if _memory("VmHWM") - before > MAX_GROWTH_BYTES:
                outcome = f"finding: {_memory('VmHWM') - before} bytes of memory"
            connection.send(outcome)


def _memory(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024


def fuzz(form: str, minutes: float, seed: int, corpus: Path | None) -> tuple[Counter[str], dict[str, str]]:
    """How many cases came out how, and the findings: their file in the corpus and why."""
    chance, originals, reader = random.Random(f"{form} {seed}"), seeds(form), Reader()
    counts: Counter[str] = Counter()
    findings: dict[str, str] = {}
    end, next_report = time.monotonic() + 60 * minutes, 0.0
    for original in originals:
        outcome = reader.outcome(SUFFIXES[form], original)
        if outcome != "read":
            raise SystemExit(f"a valid {form} file comes out as: {outcome}")
    while time.monotonic() < end:
        content = MUTATIONS[form](chance.choice(originals), chance, originals)
        outcome = reader.outcome(SUFFIXES[form], content)
        counts[outcome.partition(":")[0]] += 1
        if outcome.startswith("finding"):
            kind = re.sub(r"\d+|/tmp/\S+", "#", outcome[-300:])
            if kind not in findings:
                findings[kind] = outcome
                name = f"{form}-{sha256(kind.encode()).hexdigest()[:8]}{SUFFIXES[form]}"
                print(f"{name}: {outcome}", flush=True)
                if corpus is not None:
                    corpus.mkdir(parents=True, exist_ok=True)
                    (corpus / name).write_bytes(content)
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 30
            print(form, dict(counts), file=sys.stderr, flush=True)
    return counts, findings


def main() -> None:
    """Fuzz the forms that are asked for and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=[*MUTATIONS, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=5, help="for each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder in which findings are saved")
    options = parser.parse_args()
    found = 0
    for form in MUTATIONS if options.format == "all" else [options.format]:
        counts, findings = fuzz(form, options.minutes, options.seed, options.corpus)
        found += len(findings)
        print(f"{form}: {sum(counts.values())} cases, {dict(counts)}, {len(findings)} kinds of findings")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
