"""Before hours of work: refusals and doubts that cost seconds, and what the work will take.

Only headers are read, and the small tensors: their hashes, where a manifest has them, tell a wrong base
at once, and the weights of the norms tell a diff from a model.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.progress import say
from packtrain.diff.causes import cause_of_differing
from packtrain.diff.manifest import MANIFEST_FILE, DiffRecord
from packtrain.diff.pairing import ModelFolder
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, sha256_of_pieces
from packtrain.weights.writer import amount

SMALL_BYTES = 1_000_000
"""A tensor that is looked into before the work begins: norms and biases."""
SAMPLE_BYTES = 512_000_000
"""Bytes that are looked into at most: a second or two."""
WORKER_BYTES = 48_000_000
"""What one thread holds: its pieces of base, diff and result, and the arrays in between (bench/diff.py)."""
NORM_OF_A_MODEL = 0.1
"""Norm weights of models have a root mean square far above this (they start at 1), those of diffs far below."""


def refuse_confusion(base: Path, other: Path, out: Path | None, other_name: str) -> None:
    """UserError when two of the folders are the same, or when the base is itself a diff."""
    if base.resolve() == other.resolve():
        raise UserError(f"base and {other_name} are the same folder: {base}", f"give the base, then the {other_name}")
    for given in (base, other):
        if out is not None and (out.resolve() == given.resolve() or given.resolve().is_relative_to(out.resolve())):
            raise UserError(f"the output folder {out} would replace the input {given}", "choose another --out")
    if (base / MANIFEST_FILE).exists():
        raise UserError(
            f"the base {base} is itself a diff (it has a {MANIFEST_FILE})",
            "give the original base model first, then the " + other_name,
        )


def refuse_diff_as_model(model: ModelFolder, role: str) -> None:
    """UserError when the norms of a model are next to nothing, as they are in a diff that has no manifest.

    A model whose norms are zero altogether is a placeholder, or a diff of frozen norms: that is a warning.
    """
    size = norm_size(model)
    if size == 0:
        say(f"warning: all norm weights of the {role} {model.folder} are zero: a diff, or files without content?")
    elif size is not None and size < NORM_OF_A_MODEL:
        raise UserError(
            f"the {role} {model.folder} looks like a diff: the weights of its norms are next to nothing "
            f"(root mean square {size:.2g}, models have about 1)",
            f"give the {role} itself; a diff is recovered first: packtrain diff recover",
        )


def refuse_tables_apart(tuned: ModelFolder) -> None:
    """UserError when a tuned model's files hold two tables that differ, but that its configuration ties to one.

    The float form has room for one, as the original scripts; transformers would load both.
    """
    for name, target in tuned.tied.items():
        if name in tuned.store and name not in tuned.store.aliases and target in tuned.store:
            hashes = {sha256_of_pieces(tuned.store.chunks(each, CHUNK_ELEMENTS)) for each in (name, target)}
            if len(hashes) > 1:
                raise UserError(
                    f"{tuned.folder} holds {name} and {target}, which differ, but its configuration says that they are "
                    "tied",
                    "use the exact form, or set tie_word_embeddings to false in its config.json",
                )


def refuse_model_as_diff(diff: ModelFolder, base: ModelFolder) -> None:
    """UserError when the norms of what is given as a diff without manifest are as large as those of its base."""
    size, base_size = norm_size(diff), norm_size(base)
    if size is not None and base_size is not None and size > base_size / 2 > NORM_OF_A_MODEL:
        raise UserError(
            f"{diff.folder} looks like a model, not like a diff: the weights of its norms (root mean square "
            f"{size:.2g}) are as large as the base's ({base_size:.2g})",
            "give the published diff; if this is the tuned model itself, nothing needs to be recovered",
        )


def check_sample(base: ModelFolder, record: DiffRecord, likely: str | None) -> None:
    """UserError when small tensors, or projections of the first layer, of the base are not the recorded ones.

    `likely` is what the configurations say against each other, if they do.
    """
    compared, differing, left = [], [], SAMPLE_BYTES
    for name, expected in record.base.items():
        found = base.find(name)
        if found is None:
            continue
        nbytes = base.store.info(found).nbytes
        first = ".layers.0." in name and name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))
        if nbytes <= (left if first else min(left, SMALL_BYTES)):
            left -= nbytes
            compared.append(name)
            if sha256_of_pieces(base.store.chunks(found, CHUNK_ELEMENTS)) != expected.sha256:
                differing.append(name)
    if differing:
        raise UserError(
            f"wrong base: tensor {differing[0]} of {base.folder} is not the one that the diff was made with "
            f"({len(differing)} of the {len(compared)} looked into differ)",
            likely or cause_of_differing(differing, compared) or wrong_base_hint(base),
        )


def wrong_base_hint(base: ModelFolder) -> str:
    """What to do about a base whose contents are not the recorded ones."""
    return (
        f"give exactly the base that the diff was made with ({base.config.get('_name_or_path') or base.folder} is not "
        "it), in its original type; if it is, its files are damaged: download them again"
    )


def norm_size(model: ModelFolder) -> float | None:
    """Root mean square over all small norm weights; None when the model has none, or counts them from zero (Gemma)."""
    if "gemma" in str(model.config.get("model_type")):
        return None
    squares, count = 0.0, 0
    for name in model.store:
        info = model.store.info(name)
        if "norm" in name and name.endswith("weight") and 0 < info.nbytes <= SMALL_BYTES:
            squares += float(model.store[name].double().square().sum())
            count += info.numel
    return (squares / count) ** 0.5 if count else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the work will take."""

    parameters: int
    bytes_read: int
    bytes_written: int
    """At most."""
    workers: int
    peak_memory_bytes: int
    seconds: float
    """On these processors, if the disk keeps up."""


def plan(parameters: int, bytes_read: int, bytes_written: int, workers: int, bytes_coded: int = 0) -> Plan:
    """What reading, hashing, adding and writing so many bytes will take, from a measurement of a few milliseconds.

    `bytes_coded` are those of tensors that are encoded or decoded in the exact form.
    """
    data = bytes(4_000_000)
    started = time.perf_counter()
    sha256(data)
    second_per_byte = (time.perf_counter() - started) / len(data)
    # measured in units of hashing a byte: copying in or out, adding and casting cost about as much again
    work = 2 * (bytes_read + bytes_written) + 8 * bytes_coded
    peak = resident_bytes() + workers * WORKER_BYTES
    return Plan(parameters, bytes_read, bytes_written, workers, peak, round(work * second_per_byte / workers, 1))


def announce(what: str, plan: Plan) -> None:
    """Tell the user what is about to be done, in a line."""
    billions = f"{plan.parameters / 1e9:.2f} billion" if plan.parameters >= 10_000_000 else f"{plan.parameters:,}"
    say(
        f"{what}: {billions} weights, reading {amount(plan.bytes_read)}, writing {amount(plan.bytes_written)} at most; "
        f"about {plan.seconds:.0f} s on {plan.workers} threads if the disk keeps up, "
        f"peak memory about {plan.peak_memory_bytes / 1e9:.2f} GB"
    )


def resident_bytes() -> int:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 60_000
    return pages * 4096


def default_shard_bytes(total: int) -> int:
    """Largest shard of an output of `total` bytes: sixteen shards or more where that leaves 256 MB each, 5 GB at most.

    Shards are written at once and kept on a resume, so there should be some; they do not depend on the machine.
    """
    return min(max(256_000_000, -(-total // 16)), 5_000_000_000)


def total_bytes(stores: Iterable[ModelFolder]) -> int:
    """Bytes of all tensors of some models."""
    return sum(info.nbytes for model in stores for info in model.store.infos().values())
