"""The records that make a diff verifiable: `manifest.json` in a diff folder, `recovery.json` in a recovered one.

`manifest.json` holds the SHA-256 of every tensor of base, tuned model and diff and of what recovery gives.
It stays with the diff: a recovered folder has a `recovery.json` instead, so that neither is taken for
the other.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from packtrain.core.atomic import atomic_file
from packtrain.core.errors import UserError
from packtrain.core.manifest import digest
from packtrain.weights.fingerprint import FAST, TensorRecord
from packtrain.weights.info import SAFETENSORS_CODES, TensorInfo

MANIFEST_FILE = "manifest.json"
RECOVERY_FILE = "recovery.json"
SELF = "sha256_of_the_rest"
"""The key under which a record states the SHA-256 of its other contents (core/manifest.py: digest)."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[
    str, Field(pattern=r"^(tuned/)?[^/\\\x00-\x1f\x7f-\x9f.][^/\\\x00-\x1f\x7f-\x9f]*$", max_length=255)
]
"""A file in the folder, or in its subfolder `tuned`."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stored(_Record):
    """One tensor as it lies in a file."""

    dtype: Annotated[str, Field(pattern=f"^({'|'.join(SAFETENSORS_CODES)})$")]
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    sha256: Annotated[str, Field(pattern=f"^([0-9a-f]{{64}}|{FAST}[0-9a-f]{{32}})$")]
    """Of its row-major little-endian bytes; XXH3 after `xxh3:` where a recovered model has no manifest behind it."""

    def info(self) -> TensorInfo:
        """Its header, without the name."""
        return TensorInfo("", self.dtype, self.shape)

    def record(self) -> TensorRecord:
        """The same as weights/fingerprint.py has it."""
        return TensorRecord(self.dtype, self.shape, self.sha256)

    def same_header(self, info: TensorInfo) -> bool:
        """Whether a file's header says the same type and shape."""
        return self.dtype == info.dtype and self.shape == info.shape


class Recovered(_Record):
    """What recovery gives, before any cast to another type."""

    sha256: Sha256
    """Of the row-major little-endian bytes in the type of the arithmetic (exact form: the tuned tensor's)."""
    equal: Annotated[int, Field(ge=0)]
    """Elements equal to the tuned ones to the bit."""
    max_abs_difference: float
    """Largest absolute difference from the tuned elements."""


class DiffTensor(_Record):
    """One tensor of the diff."""

    base: tuple[str, ...]
    """Names of the base tensors that were subtracted, in this order; in the float form a tied tensor stands
    once for each of its names (the original scripts subtract it as often); empty: stored as it is."""
    grown_rows: Annotated[int, Field(ge=0)] = 0
    """Rows that each base tensor lacked: the growth rule says what they got."""
    tuned: Stored
    diff: Stored
    """As it lies in the files: float32 differences, or a stream of bytes (exact form)."""
    file: FileName | None = None
    """The file that holds the stream; None in the float form, whose files are those of a model."""
    recovered: Recovered


class Fingerprints(_Record):
    """One hash for each of the models (weights/fingerprint.py: model_fingerprint)."""

    base: Sha256
    """Over the base tensors that the diff refers to."""
    tuned: Sha256
    diff: Sha256


class DiffRecord(_Record):
    """`manifest.json`."""

    format: Literal["packtrain-diff"] = "packtrain-diff"
    version: Literal[1] = 1
    form: Literal["exact", "float"]
    arithmetic: Literal["ulp", "float32"]
    """Steps from float to float (diff/ulp.py), after the base was cast to the tuned tensor's type through float32,
    to nearest, ties to even; or differences in float32."""
    growth_rule: Literal["literal", "mean"]
    """New rows of a table are stored as they are, or as differences to the mean of the base's rows
    (weights/vocabulary.py: mean_of_rows)."""
    fingerprints: Fingerprints
    share_equal: float
    """Share of all tuned elements that recovery gives back to the bit, 0 to 1."""
    max_abs_difference: float
    tied: Mapping[str, str]
    """Names that stand for another tensor of the tuned model, to that one."""
    base: Mapping[str, Stored]
    tensors: Annotated[Mapping[str, DiffTensor], Field(min_length=1)]
    files: Mapping[FileName, Sha256]
    """Configuration, tokenizer and README of the diff folder, by their paths in it."""
    versions: Mapping[str, str]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        rules = ("ulp", "literal") if self.form == "exact" else ("float32", "mean")
        if (self.arithmetic, self.growth_rule) != rules:
            raise ValueError(f"arithmetic and growth_rule of the {self.form} form are {' and '.join(rules)}")
        if unknown := set(self.tied.values()) - self.tensors.keys():
            raise ValueError(f"a name is tied to {min(unknown)!r}, which is no tensor")
        return self


class RecoveryRecord(_Record):
    """`recovery.json`."""

    format: Literal["packtrain-recovery"] = "packtrain-recovery"
    version: Literal[1] = 1
    verified: bool
    """Whether base and diff were checked against a `manifest.json`; false for diffs that have none."""
    base_fingerprint: Sha256
    diff_fingerprint: Sha256
    tensors: Mapping[str, Stored]
    files: Mapping[FileName, Sha256]


_R = TypeVar("_R", DiffRecord, RecoveryRecord)


def stored(record: TensorRecord) -> Stored:
    """The record of a tensor as the files hold it."""
    return Stored(dtype=record.dtype, shape=record.shape, sha256=record.sha256)


def read_diff_record(folder: Path) -> DiffRecord | None:
    """The `manifest.json` of a folder; None when there is none; UserError when it cannot be read."""
    return _read(folder / MANIFEST_FILE, DiffRecord)


def read_recovery_record(folder: Path) -> RecoveryRecord | None:
    """The `recovery.json` of a folder; None when there is none; UserError when it cannot be read."""
    return _read(folder / RECOVERY_FILE, RecoveryRecord)


def write_record(folder: Path, record: DiffRecord | RecoveryRecord) -> None:
    """Write `manifest.json` or `recovery.json` atomically."""
    name = MANIFEST_FILE if isinstance(record, DiffRecord) else RECOVERY_FILE
    content = record.model_dump(mode="json")
    with atomic_file(folder / name) as file:
        json.dump(content | {SELF: digest(content)}, file, indent=1, ensure_ascii=False)
        file.write("\n")


def _read(path: Path, kind: type[_R]) -> _R | None:
    if not path.exists():
        return None
    hint = "get the file again; a newer packtrain may have written it"
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.pop(SELF, None) != digest(content):
            raise UserError(
                f"{path} is damaged or was edited: its contents do not have the SHA-256 that it states", hint
            )
        return kind.model_validate(content)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise UserError(f"{path} is not a valid record: {_first(error)}", hint) from error
        raise UserError(f"{path} is not valid JSON", hint) from error


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors()[0]
    text = f"{'.'.join(map(str, first['loc'])) or 'the whole file'}: {first['msg']}"
    return text if text.isprintable() else ascii(text)
