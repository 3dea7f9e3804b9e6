"""Data sets of the Hub, read from a small Hub on this machine: its files as they are, errors told, no network twice."""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from packtrain.data.reading.hub import HubReference, hub_reference
from packtrain.data.sources import Located

COMMIT, OTHER, TOKEN = "a" * 40, "b" * 40, "hf_secretsecretsecret"
CARD = b"""---
configs:
- config_name: english
  default: true
  data_files:
  - split: train
    path: [data/train-0.jsonl, data/train-1.jsonl.gz]
  - split: test
    path: data/test.jsonl
- config_name: french
  data_files: french.csv
---
"""
FILES = {
    "README.md": CARD,
    "data/train-0.jsonl": b'{"text": "one"}\n{"text": null}\n',
    "data/train-1.jsonl.gz": gzip.compress(b'{"text": "two"}\n{"other": [1, "x"]}\n'),
    "data/test.jsonl": b'{"text": "three"}\n',
    "french.csv": b"text\nun\n",
}
REPOSITORIES = {
    "toy/set": FILES,
    "toy/plain": {"train.jsonl": b'{"text": "four"}\n'},
    "toy/choice": {**FILES, "README.md": CARD.replace(b"  default: true\n", b"")},
    "toy/texts": {"train.txt": b"text"},
    "toy/script": {"script.py": b"raise SystemExit('this was run')"},
    "toy/nothing": {"README.md": b""},
    "toy/damaged": {"train.jsonl": b'{"text": "five"}\n{"text": '},
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's API as reading a data set takes."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self._answer_get()

    def do_HEAD(self) -> None:
        self._answer_get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = json.loads(body) if body.startswith("{") else parse_qs(body)
        files = REPOSITORIES[self.path.removeprefix("/api/datasets/").split("/paths-info/")[0]]
        self._json([self._entry(files, path) for path in asked["paths"] if path in files])

    def _answer_get(self) -> None:
        path = urlsplit(self.path).path
        self.asked.append(f"{self.command} {path}")
        found = re.match(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/(\w+)/([^/]+)/?(.*))?$", path)
        repository, action, revision, rest = found.groups() if found else ("", None, None, "")
        if repository == "toy/gated":
            self._error(403, "GatedRepo")
        elif repository not in REPOSITORIES:
            self._error(404, "RepoNotFound")
        elif revision not in (None, "main", COMMIT, "v1"):
            self._error(404, "RevisionNotFound")
        elif action == "resolve":
            self._file(REPOSITORIES[repository], rest)
        elif action == "tree":
            self._tree(REPOSITORIES[repository], rest)
        else:
            siblings = [{"rfilename": name} for name in REPOSITORIES[repository]]
            self._json({"id": repository, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})

    def _file(self, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            self._error(404, "EntryNotFound")
            return
        tag = hashlib.sha1(files[name]).hexdigest()
        self._send(200, files[name], {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        inside = [name.removeprefix(f"{folder}/" if folder else "") for name in files if name.startswith(folder)]
        folders = {name.split("/")[0] for name in inside if "/" in name}
        entries = [{"type": "directory", "oid": "0", "size": 0, "path": name} for name in sorted(folders)]
        prefix = f"{folder}/" if folder else ""
        self._json(entries + [self._entry(files, prefix + name) for name in inside if "/" not in name])

    def _entry(self, files: dict[str, bytes], name: str) -> dict[str, Any]:
        return {"type": "file", "oid": hashlib.sha1(files[name]).hexdigest(), "size": len(files[name]), "path": name}

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, "X-Repo-Commit": COMMIT})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


READ = """
import json, sys
from packtrain.core.errors import UserError
from packtrain.data.reading.containers import input_bytes, read_chunks, records_of, source_files
for text in sys.argv[1:]:
    try:
        (reference,) = source_files(text, [])
        size = input_bytes([reference])
        found = [record for chunk in read_chunks([reference]) for record in records_of(chunk)]
        answer = {
            "commit": reference.resolved_revision, "name": str(reference), "size": size,
            "numbers": [record.number for record in found], "where": [record.where for record in found],
            "rows": [record.fields for record in found],
        }
    except UserError as error:
        answer = {"error": error.message, "hint": error.hint}
    print(json.dumps(answer))
"""
Answers = dict[str, dict[str, Any]]


def read(home: Path, endpoint: str, references: list[str], **environment: str) -> tuple[Answers, str]:
    """What a fresh process makes of the references, and all that it printed."""
    variables = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, *references],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "HOME": str(home), **variables, **environment},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(references, map(json.loads, done.stdout.splitlines()), strict=True)), done.stdout + done.stderr


ONLINE = [
    "toy/set",
    "toy/set:english:test@v1",
    "toy/set:french",
    "toy/plain",
    "toy/set::nope",
    "toy/set:nope",
    f"toy/set@{OTHER}",
    "toy/choice",
    "toy/texts",
    "toy/script",
    "toy/nothing",
    "toy/damaged",
    "toy/none",
    "toy/gated",
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Answers, str, list[str]]:
    """Cache and endpoint of a Hub from which everything in ONLINE was asked, the answers, the output, the requests."""
    home = tmp_path_factory.mktemp("hub")
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("AskedHub", (Hub,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    answers, output = read(home, endpoint, ONLINE)
    server.shutdown()
    server.server_close()
    return home, endpoint, answers, output, asked


Asked = tuple[Path, str, Answers, str, list[str]]
ROWS = [{"text": "one"}, {"text": None}, {"text": "two"}, {"other": [1, "x"]}]


def test_records_are_those_of_the_files_in_the_cards_order_at_a_commit(hub: Asked) -> None:
    answer = hub[2]["toy/set"]
    assert answer["rows"] == ROWS
    assert answer["numbers"] == [0, 1, 2, 3]
    assert answer["commit"] == COMMIT
    assert answer["name"] == f"toy/set@{COMMIT}"
    assert answer["size"] == len(FILES["data/train-0.jsonl"]) + len(FILES["data/train-1.jsonl.gz"])
    assert [where.rsplit("/", 1)[1] for where in answer["where"]] == [
        "train-0.jsonl:1",
        "train-0.jsonl:2",
        "train-1.jsonl.gz:1",
        "train-1.jsonl.gz:2",
    ]


def test_configurations_splits_and_revisions_are_chosen(hub: Asked) -> None:
    assert hub[2]["toy/set:english:test@v1"]["rows"] == [{"text": "three"}]
    assert hub[2]["toy/set:english:test@v1"]["name"] == f"toy/set:english:test@{COMMIT}"
    assert hub[2]["toy/set:french"]["rows"] == [{"text": "un"}]
    assert hub[2]["toy/plain"]["rows"] == [{"text": "four"}]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("toy/set::nope", "has no split nope (found: train, test)"),
        ("toy/set:nope", "'nope' not found. Available: ['english', 'french']"),
        (f"toy/set@{OTHER}", f"the data set toy/set has no revision {OTHER}"),
        ("toy/choice", "pick one among the available configs: ['english', 'french']"),
        ("toy/texts", "consists of text files"),
        ("toy/script", "scripts are no longer supported"),
        ("toy/nothing", "cannot be read from the Hub"),
        ("toy/damaged", "train.jsonl:2: not valid JSON"),
        ("toy/none", "there is neither a file or folder nor a data set on the Hub called toy/none"),
        ("toy/gated", "the data set toy/gated is gated"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(hub: Asked, reference: str, message: str) -> None:
    answer = hub[2][reference]
    assert message in answer["error"]
    assert answer["hint"]
    assert ("HF_TOKEN" in answer["hint"]) == (reference in ("toy/none", "toy/gated"))


def test_no_code_is_run_no_token_shown_and_nothing_fetched_twice_or_in_vain(hub: Asked) -> None:
    _, _, _, output, asked = hub
    assert "this was run" not in output
    assert TOKEN not in output
    fetched = [
        line for line in asked if line.startswith(f"GET /datasets/toy/set/resolve/{COMMIT}/") and "README" not in line
    ]
    names = [line.rsplit("/", 1)[1] for line in fetched]
    assert names == ["train-0.jsonl", "train-1.jsonl.gz", "test.jsonl", "french.csv"]


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["no answer", "offline"])
def test_what_was_read_once_needs_no_network(hub: Asked, environment: dict[str, str]) -> None:
    home, endpoint, *_ = hub  # the server is down by now
    references = [
        "toy/set",
        f"toy/set:english:test@{COMMIT}",
        "toy/set:french",
        "toy/plain",
        "toy/other",
        "toy/set:french:test",
    ]
    answers, output = read(home, endpoint, references, **environment)
    assert answers["toy/set"]["rows"] == ROWS
    assert answers["toy/set"]["commit"] == COMMIT
    assert answers[references[1]]["rows"] == [{"text": "three"}]
    assert answers["toy/set:french"]["rows"] == [{"text": "un"}]
    assert answers["toy/plain"]["rows"] == [{"text": "four"}]
    assert "no connection to the Hub: toy/set is read from the cache" in output
    assert "toy/other is no local file and not in the Hub's cache" in answers["toy/other"]["error"]


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("a/b", HubReference("a/b")),
        ("a/b:c", HubReference("a/b", "c")),
        ("a/b:c:d[:10]", None),
        ("a/b:c:d@v1", HubReference("a/b", "c", "d", "v1")),
        ("a/b::d@refs/convert/parquet", HubReference("a/b", None, "d", "refs/convert/parquet")),
        ("a-1/b.c_d", HubReference("a-1/b.c_d")),
        ("a", None),
        ("a/b/c", None),
        ("./a", None),
        ("/a/b", None),
        ("a/b.json", None),
        ("a/b.jsonl.gz", None),
        ("../a", None),
        ("a/b@", None),
    ],
)
def test_references_are_told_from_paths(text: str, reference: HubReference | None) -> None:
    assert hub_reference(text) == reference


def test_the_commit_that_was_read_is_recorded_and_not_asked_for_again() -> None:
    reference = HubReference("owner/set", revision="main", resolved_revision="0123abc")
    assert Located(Path("owner/set"), [reference]).hashes() == {"owner/set@0123abc": "commit 0123abc"}
