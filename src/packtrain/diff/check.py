"""Checking folders against their records without recovering anything, and comparing two models."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file
from packtrain.core.progress import progress
from packtrain.diff.agreement import Agreement
from packtrain.diff.base_tensor import ranges
from packtrain.diff.diff_folder import open_diff
from packtrain.diff.manifest import MANIFEST_FILE, RECOVERY_FILE, Stored, read_diff_record, read_recovery_record
from packtrain.diff.pairing import ROTARY_BUFFER, ModelFolder, open_model
from packtrain.weights.fingerprint import CHUNK_ELEMENTS, hash_of_pieces, is_fast
from packtrain.weights.shard_jobs import worker_count


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as recorded."""

    where: str
    """`base`, `diff` or `recovered`."""
    name: str
    """Tensor or file."""
    what: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was checked, and all that was wrong."""

    kind: str
    """`diff` or `recovered`."""
    tensors: int
    """Tensors whose bytes were compared with their record, those of the base included."""
    files: int
    """Configuration and tokenizer files likewise."""
    base_checked: bool
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as recorded."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class TensorComparison:
    """How nearly two models agree in one tensor."""

    name: str
    share_equal: float
    max_abs_difference: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How nearly two models agree."""

    tensors: int
    parameters: int
    """Elements compared; a tied tensor counts once."""
    share_equal: float
    """Share of elements equal to the bit, 0 to 1."""
    max_abs_difference: float
    """Infinite where one is NaN and the other is not."""
    per_tensor: tuple[TensorComparison, ...]


def check(folder: Path, base: Path | None = None) -> CheckReport:
    """Whether a diff folder is what its manifest says (and `base` too), or a recovered one its `recovery.json`.

    All tensors and files are read and every problem is reported. UserError when the folder has neither
    record, cannot be read at all, or when a base is given for a folder that is no diff.
    """
    record = read_diff_record(folder)
    if record is not None:
        tensors = {name: tensor.diff for name, tensor in record.tensors.items()}
        problems = _check_tensors(open_diff(folder, record), tensors, "diff") + _check_files(
            folder, record.files, "diff"
        )
        if base is not None:
            problems += _check_tensors(open_model(base, as_stored=record.form == "exact"), record.base, "base")
        count = len(tensors) + (len(record.base) if base is not None else 0)
        return CheckReport("diff", count, len(record.files), base is not None, tuple(problems))
    recovery = read_recovery_record(folder)
    if recovery is None:
        raise UserError(
            f"{folder} has neither {MANIFEST_FILE} nor {RECOVERY_FILE}: nothing to check it against",
            "folders made by packtrain diff make and diff recover have one; diffs of the original scripts do not",
        )
    if base is not None:
        raise UserError(f"{folder} is a recovered model, not a diff", "leave --base out, or give the diff's folder")
    problems = _check_tensors(open_model(folder, as_stored=True), recovery.tensors, "recovered")
    problems += _check_files(folder, recovery.files, "recovered")
    return CheckReport("recovered", len(recovery.tensors), len(recovery.files), False, tuple(problems))


def compare(a: Path, b: Path) -> Comparison:
    """How nearly the models in two folders agree, tensor by tensor, streaming.

    Tensors of different types are compared as float32. Rotary buffers that only one of them holds are
    left out. UserError naming the first tensor that only one of them has, or whose shapes differ.
    """
    model_a, model_b = open_model(a), open_model(b)
    names = _common_names(model_a, model_b)
    total = Agreement()
    per_tensor = []
    with progress("compare", len(names)) as advance:
        for name, other in names.items():
            agreement = Agreement()
            for start, stop in ranges(model_a.store.info(name).numel):
                agreement.add(model_a.store.flat(name, start, stop), model_b.store.flat(other, start, stop))
            total.include(agreement)
            per_tensor.append(TensorComparison(name, agreement.share_equal, agreement.max_abs_difference))
            advance(note=name)
    return Comparison(len(names), total.total, total.share_equal, total.max_abs_difference, tuple(per_tensor))


def _common_names(a: ModelFolder, b: ModelFolder) -> dict[str, str]:
    names = {}
    for name in a.own_names():
        other = b.find(name)
        if other is not None:
            names[name] = other
        elif not name.endswith(ROTARY_BUFFER):
            raise UserError(f"{b.folder} has no tensor {name}, which {a.folder} has", "compare models of one kind")
    for name in b.own_names():
        if a.find(name) is None and not name.endswith(ROTARY_BUFFER):
            raise UserError(f"{a.folder} has no tensor {name}, which {b.folder} has", "compare models of one kind")
    for name, other in names.items():
        shapes = list(a.store.info(name).shape), list(b.store.info(other).shape)
        if shapes[0] != shapes[1]:
            raise UserError(
                f"tensor {name} is {shapes[0]} in {a.folder} and {shapes[1]} in {b.folder}",
                "only models with the same number of token rows can be compared",
            )
    return names


def _check_tensors(model: ModelFolder, expected: Mapping[str, Stored], where: str) -> list[Problem]:
    total = sum(tensor.info().nbytes for tensor in expected.values())
    with progress(f"check {where}", total, unit="bytes") as advance, ThreadPoolExecutor(worker_count()) as pool:

        def problem(name: str) -> Problem | None:
            what = _problem(model, name, expected[name])
            advance(expected[name].info().nbytes, note=name)
            return Problem(where, name, what) if what else None

        problems = [found for found in pool.map(problem, expected) if found is not None]
    if where != "base":
        problems += [Problem(where, name, "not recorded") for name in model.own_names() if name not in expected]
    return problems


def _problem(model: ModelFolder, name: str, expected: Stored) -> str:
    """What is wrong with a tensor; empty when nothing is."""
    found = model.find(name)
    if found is None:
        return "missing"
    info = model.store.info(found)
    if not expected.same_header(info):
        return f"is {info.dtype} {list(info.shape)}, recorded {expected.dtype} {list(expected.shape)}"
    if hash_of_pieces(model.store.chunks(found, CHUNK_ELEMENTS), fast=is_fast(expected.sha256)) != expected.sha256:
        return "other bytes than recorded"
    return ""


def _check_files(folder: Path, expected: Mapping[str, str], where: str) -> list[Problem]:
    problems = []
    for name, sha256 in expected.items():
        if not (folder / name).is_file():
            problems.append(Problem(where, name, "missing"))
        elif sha256_of_file(folder / name) != sha256:
            problems.append(Problem(where, name, "other bytes than recorded"))
    return problems
