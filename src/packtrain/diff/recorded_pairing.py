"""Pairing by the manifest: a diff and its base against what was recorded when the diff was made."""

from packtrain.core.errors import UserError
from packtrain.diff.causes import likely_cause
from packtrain.diff.manifest import MANIFEST_FILE, DiffRecord, DiffTensor, Stored
from packtrain.diff.pairing import ModelFolder, Pair
from packtrain.weights.info import TensorInfo


def pair_by_record(diff: ModelFolder, base: ModelFolder, record: DiffRecord) -> list[Pair]:
    """A pair for every tensor of a diff as its manifest says; UserError where the headers of diff or base differ."""
    for name in diff.own_names():
        if name not in record.tensors:
            raise UserError(f"the diff {diff.folder} has a tensor {name} that {MANIFEST_FILE} does not know", _GET_DIFF)
    pairs = []
    for name, tensor in record.tensors.items():
        if name not in diff.store:
            raise UserError(f"the diff {diff.folder} lacks tensor {name}", _GET_DIFF)
        _check_header(diff.store.info(name), tensor.diff, "diff", diff, _GET_DIFF)
        for source in tensor.base:
            _check_growth(diff, name, record.base.get(source), tensor)
        pairs.append(Pair(TensorInfo(name, *_type_and_shape(record, tensor)), tensor.base, tensor.grown_rows))
    for name, expected in record.base.items():
        found = base.find(name)
        likely = likely_cause(diff.config, base.config)
        if found is None:
            raise UserError(f"the base {base.folder} lacks tensor {name}", likely or _GET_BASE)
        _check_header(base.store.info(found), expected, "base", base, likely or _GET_BASE)
    return pairs


def _check_growth(diff: ModelFolder, name: str, base: Stored | None, tensor: DiffTensor) -> None:
    """Raise UserError when a record contradicts itself about a base tensor and the rows that it lacks."""
    shape = list(base.shape) if base is not None else []
    if shape and tensor.grown_rows:
        shape[0] += tensor.grown_rows
    if base is None or shape != list(tensor.tuned.shape):
        raise UserError(f"{diff.folder / MANIFEST_FILE} contradicts itself about the base of tensor {name}", _GET_DIFF)


def _type_and_shape(record: DiffRecord, tensor: DiffTensor) -> tuple[str, tuple[int, ...]]:
    """Of the recovered tensor: in the exact form what the tuned one was, else the type of the arithmetic."""
    return (tensor.tuned.dtype if record.form == "exact" else record.arithmetic), tensor.tuned.shape


_GET_DIFF = "download the diff again, whole"
_GET_BASE = "give the base model that the diff was made with, in its original type"


def _check_header(info: TensorInfo, expected: Stored, role: str, model: ModelFolder, hint: str) -> None:
    if not expected.same_header(info):
        raise UserError(
            f"tensor {info.name} is {info.dtype} {list(info.shape)} in the {role} {model.folder}, "
            f"but {MANIFEST_FILE} says {expected.dtype} {list(expected.shape)}",
            hint,
        )
