"""Signs of keys and tokens in files that are about to be published: in their names, and in what they say."""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packtrain.core.errors import UserError
from packtrain.core.progress import progress
from packtrain.pipeline.push.contents import File

NAMES = (
    *(".env", ".env.*", "*.env", ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "*.kdbx"),
    *("credentials", "credentials.*", "secrets", "secrets.*", "token", "token.txt", "api_key*", "*_history"),
)
"""What files are called that hold keys, in any case."""
TEXT = (".json", ".jsonl", ".yaml", ".yml", ".md", ".txt", ".jinja", ".csv", ".tsv", ".html", ".js", ".py", ".toml", "")
"""Endings of the files that are read for keys."""
PATTERNS = {
    "a token of the Hugging Face Hub": (rb"hf_", rb"\bhf_[A-Za-z0-9]{30,}\b"),
    "an API key (sk-...)": (
        rb"sk-",
        rb"\bsk-(?:(?:[a-z]+-)*[A-Za-z0-9_]{20,}|(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{20,})",
    ),
    "an access key of AWS": (rb"AKIA|ASIA", rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a token of GitHub": (
        rb"ghp_|gho_|ghu_|ghs_|ghr_|github_pat_",
        rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})\b",
    ),
    "a token of GitLab": (rb"glpat-", rb"\bglpat-[\w-]{20,}"),
    "a token of npm": (rb"npm_", rb"\bnpm_[A-Za-z0-9]{36}\b"),
    "a key of Google": (rb"AIza", rb"\bAIza[A-Za-z0-9_-]{35}\b"),
    "a token of Slack": (rb"xox", rb"\bxox[abprs]-[A-Za-z0-9-]{20,}"),
    "a private key": (rb"PRIVATE KEY", rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a password in an address": (rb"://", rb"\b[a-z][a-z0-9+.-]*://[^\s/:@\"']+:[^\s/:@\"']{4,}@[\w.-]+"),
}
"""What it is to words of which one is in it, and how it looks: a word is found many times as fast as a pattern."""
_EACH = {what: (tuple(words.split(b"|")), re.compile(pattern)) for what, (words, pattern) in PATTERNS.items()}
_BLOCK_BYTES = 1 << 20
_MOST_SIGNS = 5
"""Told of one file."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that looks like a secret; what it says is told nowhere."""

    file: str
    line: int | None
    """None where the name itself is the sign."""
    what: str

    def __str__(self) -> str:
        """Where, and what it looks like."""
        return f"{self.file}{'' if self.line is None else f', line {self.line}'}: {self.what}"


def signs(files: Iterable[File]) -> list[Sign]:
    """Everything in the names and texts of `files` that looks like a key or a token."""
    files = list(files)
    found = [
        Sign(file.name, None, "a name that files with keys have")
        for file in files
        if any(fnmatch.fnmatchcase(part.lower(), name) for part in file.name.split("/") for name in NAMES)
    ]
    read = [file for file in files if Path(file.name).suffix.lower() in TEXT]
    with progress("looking for keys", sum(file.size for file in read), unit="bytes") as advance:
        for file in read:
            found += _in_text(file)
            advance(file.size, note=file.name)
    return found


def _in_text(file: File) -> list[Sign]:
    found: list[Sign] = []
    before = 0
    with open(file.path, "rb") as lines:
        while block := lines.readlines(_BLOCK_BYTES):
            for what, pattern in _in_block(b"".join(block)):
                numbers = (number for number, line in enumerate(block, before + 1) if pattern.search(line))
                found += (Sign(file.name, number, what) for number in numbers)
            if len(found) >= _MOST_SIGNS:
                break
            before += len(block)
    return sorted(found, key=lambda sign: sign.line or 0)[:_MOST_SIGNS]


def _in_block(text: bytes) -> list[tuple[str, re.Pattern[bytes]]]:
    return [
        (what, pattern)
        for what, (words, pattern) in _EACH.items()
        if any(word in text for word in words) and pattern.search(text)
    ]


def check_secrets(files: Iterable[File], accepted: Sequence[str] = ()) -> None:
    """Raise UserError naming every sign of a secret, but for files that somebody has `accepted` by name."""
    files = list(files)
    names = {file.name for file in files}
    for name in accepted:
        if name not in names:
            raise UserError(f"--accept {name}: no such file is to be sent", "give a name as it stands in the list")
    found = [sign for sign in signs(files) if sign.file not in accepted]
    if found:
        raise UserError(
            f"this looks like secrets: {'; '.join(map(str, found))}",
            "take them out (a key that was ever shown should be replaced), or say that you looked: --accept FILE",
        )
