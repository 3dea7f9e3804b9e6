"""Every tensor against the manifest while it streams by: the first that is wrong is named, and whose fault it is."""

from collections.abc import Mapping

from packtrain.core.errors import UserError
from packtrain.diff.manifest import MANIFEST_FILE
from packtrain.diff.opened import OpenedDiff
from packtrain.diff.preflight import wrong_base_hint
from packtrain.weights.fingerprint import TensorRecord


def verify(
    opened: OpenedDiff,
    name: str,
    base_records: Mapping[str, TensorRecord],
    diff_record: TensorRecord,
    sha256: str,
) -> None:
    """UserError when a tensor of the diff, of the base or of the result (`sha256`) is not the recorded one.

    Nothing can be verified without a manifest.
    """
    record = opened.record
    if record is None:
        return
    for base_name, base_record in base_records.items():
        if base_record.sha256 != record.base[base_name].sha256:
            raise UserError(
                f"wrong base: tensor {base_name} of {opened.base.folder} is not the one that the diff was made with",
                wrong_base_hint(opened.base),
            )
    if diff_record.sha256 != record.tensors[name].diff.sha256:
        raise UserError(
            f"damaged diff: tensor {name} of {opened.diff.folder} is not what {MANIFEST_FILE} says",
            "download the diff again",
        )
    if sha256 != record.tensors[name].recovered.sha256:
        raise UserError(
            f"recovered tensor {name} is not what {MANIFEST_FILE} predicts, though base and diff are right",
            "memory or processor of this machine may be faulty: try again, or on another one",
        )
