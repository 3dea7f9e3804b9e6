"""Whether two conversation files say the same: their provenance, licences among it, decides nothing that is learnt."""

import hashlib
import json
from pathlib import Path

from packtrain.core.conversation import read_json_lines
from packtrain.core.errors import UserError
from packtrain.core.manifest import sha256_of_file


def conversations_digest(path: Path) -> str:
    """Hex digest of the conversations in a file, in their order, without `provenance`.

    Of a file that is none of conversations it is the SHA-256 of its bytes.
    """
    found = hashlib.sha256()
    try:
        for number, record in read_json_lines(path):
            if not isinstance(record, dict):
                raise UserError(f"{path}:{number}: no conversation", "see docs/formats.md")
            said = {key: value for key, value in record.items() if key != "provenance"}
            found.update(json.dumps(said, sort_keys=True).encode() + b"\n")
    except UserError:
        return sha256_of_file(path)
    return found.hexdigest()
