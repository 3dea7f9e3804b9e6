"""`packtrain push`, against huggingface_hub itself and a small Hub on this machine."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from packtrain.cli.main import main
from packtrain.core.errors import UserError
from packtrain.core.manifest import Manifest, hashes
from packtrain.pipeline.push.contents import File, contents
from packtrain.pipeline.push.front_matter import read_front_matter
from packtrain.pipeline.push.plan import plan_push
from packtrain.pipeline.push.secrets import signs
from packtrain.pipeline.push.send import BYTES_PER_PART, _parts
from packtrain.pipeline.push.tensors import check_tensors

CARD = """---
license: apache-2.0
base_model: toy/base
tags: [packtrain]
---

# A toy
"""
FORM = """---
license: other
license_name: toy-licence
base_model: toy/base
extra_gated_prompt: Say who you are.
extra_gated_fields:
  Name: text
  I agree: checkbox
---
"""
FILES = {
    "config.json": b'{"model_type": "llama"}\n',
    "generation_config.json": b"{}\n",
    "model-00001-of-00002.safetensors": b"first" * 5000,
    "model-00002-of-00002.safetensors": b"second" * 5000,
    "tokenizer.json": b'{"model": {}}\n',
}
SENT = sorted([*FILES, "README.md", "run.json"])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as training leaves one, with a card and what training kept beside it."""
    return write_model(tmp_path / "tuned")


def write_model(folder: Path, files: dict[str, bytes] | None = None, stage: str = "train") -> Path:
    folder.mkdir()
    for name, content in (FILES if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events.out.machine").write_bytes(b"events")
    Manifest(stage, {"recipe": "toy"}, {}, hashes(folder), {}).write(folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def environment(hub: Any, tmp_path: Path) -> dict[str, str]:
    """What the command needs to find the Hub on this machine, and nothing of the user's."""
    return {
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub.token,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "200",
    }


@pytest.fixture
def push(
    environment: dict[str, str],
    hub: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, run in this process; no output may ever hold the token."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object, token: str = hub.token, offline: bool = False) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("HF_TOKEN", token)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(sys, "argv", ["packtrain", "push", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert not token or token not in told.out + told.err
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), told.out, told.err)

    return run


def held(hub: Any, name: str, branch: str = "main") -> dict[str, bytes]:
    """The files of a repository, without the one that the Hub itself puts there."""
    files: dict[str, bytes] = hub.repositories[name].branches[branch]
    return {key: value for key, value in sorted(files.items()) if key != ".gitattributes"}


def on_disk(folder: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(names)}


def received_once(hub: Any) -> bool:
    """Whether no content arrived twice."""
    contents = {hashlib.sha256(each).hexdigest(): len(each) for each in hub.stored.values()}
    return all(hub.received[sha256] == size for sha256, size in contents.items())


# What would be sent


def test_a_dry_run_shows_everything_and_asks_nobody(model: Path, push: Any, hub: Any) -> None:
    done = push(model, "--repo", "org/toy", "--gated", "--private")
    shown = re.sub(r"[0-9a-f]{12}$", "HASH", re.sub(r"(run\.json +)[\d,]+", r"\1 N", done.stdout), flags=re.MULTILINE)
    shown = re.sub(r"[\d,]+ bytes", "N bytes", shown)
    listed = shown[shown.index("README.md") :]
    assert (done.returncode, hub.asked) == (0, [])
    assert "http" in shown
    assert "private; each reader approved by hand" in shown
    assert [line.split() for line in listed.splitlines()[:8]] == [
        ["README.md", "76", "HASH"],
        ["config.json", "24", "HASH"],
        ["generation_config.json", "3", "HASH"],
        ["model-00001-of-00002.safetensors", "25,000", "HASH"],
        ["model-00002-of-00002.safetensors", "30,000", "HASH"],
        ["run.json", "N", "HASH"],
        ["tokenizer.json", "14", "HASH"],
        ["left", "out:", "tensorboard/events.out.machine"],
    ]
    assert listed.splitlines()[8:] == [
        "",
        "front matter of the card:",
        "license: apache-2.0",
        "base_model: toy/base",
        "tags: [packtrain]",
        "note: the card has no form: the Hub will ask for the reader's name and address alone",
        "nothing was sent; --yes sends it",
    ]


def test_a_dry_run_for_machines(model: Path, push: Any, hub: Any) -> None:
    plan = json.loads(push(model, "--repo", "org/toy", "--branch", "v1", "--json").stdout)
    files = plan.pop("files")
    assert {each["name"]: each["sha256"] for each in files} == {
        name: hashlib.sha256((model / name).read_bytes()).hexdigest() for name in SENT
    }
    assert plan == {
        "sent": False,
        "repo": "org/toy",
        "repo_type": "model",
        "branch": "v1",
        "url": f"{hub.url}/org/toy",
        "private": False,
        "gate": None,
        "stage": "train",
        "licence": "apache-2.0",
        "front_matter": {"license": "apache-2.0", "base_model": "toy/base", "tags": ["packtrain"]},
        "bytes": sum(each["size"] for each in files),
        "left_out": ["tensorboard/events.out.machine"],
        "tensors_checked": False,
        "notes": [],
    }


def test_a_form_in_the_card_closes_the_gate(model: Path) -> None:
    (model / "README.md").write_text(FORM)
    plan = plan_push(model, "org/toy")
    assert (plan.gated, plan.card.licence) == (True, "toy-licence")
    assert plan.notes == ("the licence is one of its own (license: other), and no LICENSE file lies beside the card",)
    (model / "LICENSE.txt").write_text("licence")
    assert plan_push(model, "org/toy").notes == ()
    assert "LICENSE.txt" in [file.name for file in plan_push(model, "org/toy").files]


def test_notes(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tuned")
    Manifest("train", {"base": {"path": "/data/base"}, "x": ["~/y"]}, {}, hashes(folder), {}).write(folder)
    place = "run.json names places on this machine: /data/base, ~/y"
    assert plan_push(folder, "org/toy").notes == (place,)
    (folder / "README.md").write_text("---\ntags: [x]\n---\n")
    no_base = "the card names no base_model"
    no_licence = "the card names no licence: without one nobody may use the files"
    assert plan_push(folder, "org/toy").notes == (no_licence, no_base, place)
    recipe = {"base": {"license": "llama"}, "release": {"form": "diff"}}
    Manifest("train", recipe, {}, hashes(folder), {}).write(folder)
    whole = (
        "the recipe publishes a diff, and these are whole weights: the licence of the base has to allow that (llama)"
    )
    assert plan_push(folder, "org/toy").notes == (no_licence, no_base, whole)
    Manifest("diff make", {"base": {"path": "/data/base"}, "x": ["~/y"]}, {}, hashes(folder), {}).write(folder)
    untagged = "the card's tags do not have weight-diff: some will take the diff for a model"
    assert plan_push(folder, "org/toy").notes == (no_licence, no_base, untagged, place)
    (folder / "README.md").write_text("---\ntags: [weight-diff]\n---\n")
    assert plan_push(folder, "org/toy").notes == (no_licence, no_base, place)
    Manifest("train", {}, {}, hashes(folder), {}).write(folder)
    of_diff = "the card is that of a diff, and these are whole weights: write it anew with packtrain card --model"
    assert plan_push(folder, "org/toy").notes == (no_licence, no_base, of_diff)
    Manifest("diff make", {"base": {"path": "/data/base"}, "x": ["~/y"]}, {}, hashes(folder), {}).write(folder)
    (folder / "README.md").write_text("# Only text\n")
    bare = "README.md has no front matter: the Hub would show neither licence nor base"
    assert plan_push(folder, "org/toy").notes == (bare, place)


# What is refused


def refusal(folder: Path, **options: Any) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        plan_push(folder, options.pop("repo", "org/toy"), **options)
    return caught.value.message.replace(str(folder), "DIR"), caught.value.hint.replace(str(folder), "DIR")


def test_what_is_no_output_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "absent")[0] == "DIR is no folder"
    assert refusal(tmp_path / "empty") == (
        "DIR was not made by packtrain: it has no run.json",
        "what packtrain makes holds a run.json",
    )
    assert refusal(tmp_path) == (
        "DIR was not made by packtrain: it has no run.json",
        "perhaps you mean one in it: tuned",
    )
    unfinished = model.rename(tmp_path / "tuned.partial")
    assert refusal(unfinished)[0] == "DIR is not finished"
    marked = unfinished.rename(tmp_path / "marked")
    (marked / ".stage").write_text("train")
    assert refusal(marked)[0] == "DIR is not finished"


def test_what_is_not_as_recorded_is_refused(model: Path) -> None:
    (model / "config.json").write_text("{}")
    (model / "tokenizer.json").unlink()
    (model / "model-00001-of-00002.safetensors").write_bytes(b"First" + b"first" * 4999)
    assert refusal(model)[0] == (
        "DIR is not what its run.json says: tokenizer.json is missing, config.json has other bytes than recorded, "
        "model-00001-of-00002.safetensors has other bytes than recorded"
    )


def test_a_published_folder_can_be_published_again(model: Path) -> None:
    (model / "tensorboard" / "events.out.machine").unlink()
    assert [file.name for file in contents(model).files] == SENT
    Manifest("train", {}, {}, {**hashes(model), "sub/config.json": "0" * 64}, {}).write(model)
    assert refusal(model)[0] == "DIR is not what its run.json says: sub/config.json is missing"


def test_the_card_may_be_another_than_was_made(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "diff", {**FILES, "README.md": b"as made\n"})
    assert (folder / "README.md").read_text() == CARD
    assert "README.md" in [file.name for file in plan_push(folder, "org/toy").files]


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "optimizer.safetensors", "checkpoint-500/model.safetensors", "x.distcp", "rng_state_0.pth"]
)
def test_states_of_a_run_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "tuned", {**FILES, name: b"state"})
    assert refusal(folder)[0] == f"DIR holds states of a run, which are not for publishing: {name}"


def test_what_packtrain_did_not_make_stays_here_unless_asked_for(model: Path) -> None:
    (model / "notes.txt").write_text("mine")
    (model / ".cache").mkdir()
    (model / ".cache" / "x.json").write_text("{}")
    (model / ".eval_results").mkdir()
    (model / ".eval_results" / "mmlu.yaml").write_text("- value: 1\n")
    found = contents(model)
    assert [file.name for file in found.files] == sorted([*SENT, ".eval_results/mmlu.yaml"])
    assert found.left_out == (".cache/x.json", "notes.txt", "tensorboard/events.out.machine")
    assert "notes.txt" in [file.name for file in contents(model, ["*.txt"]).files]
    assert refusal(model, include=["*.png"])[0] == "no file of DIR is called *.png"


def test_a_link_out_of_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    (model / "LICENSE").symlink_to(tmp_path / "key")
    assert refusal(model)[0] == "links out of DIR: LICENSE"


def test_data_are_not_sent_as_a_model_nor_the_other_way_round(tmp_path: Path, model: Path) -> None:
    data = write_model(tmp_path / "data", {"train.jsonl": b"{}\n"}, stage="data")
    assert refusal(data) == ("a folder of packtrain data is data, not a model", "give --dataset")
    assert refusal(model, dataset=True)[0] == "a folder of packtrain train is a model, not data"
    scores = write_model(tmp_path / "scores", {"scores.json": b"{}\n"}, stage="evaluate")
    assert refusal(scores)[0] == "a folder of packtrain evaluate is neither a model nor data"
    assert plan_push(data, "org/toy", dataset=True).url.endswith("/datasets/org/toy")


@pytest.mark.parametrize("repo", ["toy", "org/", "org/toy/x", "org/to y", "org/toy.git", "org/a--b", "../x", "-o/x"])
def test_bad_names_of_repositories(model: Path, repo: str) -> None:
    assert refusal(model, repo=repo)[0] == f"--repo {repo} is no name of a repository"


@pytest.mark.parametrize("branch", ["", "-x", "a b", "a..b", "refs/pr/1", "a/", "x~1"])
def test_bad_names_of_branches(model: Path, branch: str) -> None:
    assert refusal(model, branch=branch)[0] == f"--branch {branch!r} is no name of a branch"


# Secrets

SECRETS = {
    "a token of the Hugging Face Hub": "hf_" + "aB3" * 11,
    "an API key (sk-...)": "sk-proj-" + "aB3_" * 8,
    "an access key of AWS": "AKIA" + "ABCD1234" * 2,
    "a token of GitHub": "ghp_" + "aB3d" * 9,
    "a token of GitLab": "glpat-" + "aB3-d" * 4,
    "a token of npm": "npm_" + "aB3d" * 9,
    "a key of Google": "AIza" + "aB3d5" * 7,
    "a token of Slack": "xoxb-" + "12345-" * 5,
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "a password in an address": "https://me:" + "pass1234@host.example/x",
}


OTHER_SECRETS = [
    ("an API key (sk-...)", "sk-proj-abc_DEF-1234567890abcdefghij"),
    ("an API key (sk-...)", "sk-ant-api03-aB3-cD4-eF5-gH6-iJ7"),
    ("a password in an address", "postgres://me:pass1234@host.example/x"),
]


@pytest.mark.parametrize(("what", "secret"), [*SECRETS.items(), *OTHER_SECRETS])
def test_a_secret_is_named_and_not_shown(model: Path, what: str, secret: str) -> None:
    (model / "README.md").write_text(f"{CARD}\nkey: {secret}\n")
    message, hint = refusal(model)
    line = CARD.count("\n") + 2
    assert message == f"this looks like secrets: README.md, line {line}: {what}"
    assert "--accept FILE" in hint
    assert plan_push(model, "org/toy", accept=["README.md"]).repo == "org/toy"
    assert refusal(model, accept=["config.json"])[0] == message
    assert refusal(model, accept=["other.json"])[0] == "--accept other.json: no such file is to be sent"


@pytest.mark.parametrize("name", [".env", "id_rsa", "server.pem", "keys/credentials.json", "Secrets.yaml", "token"])
def test_names_that_files_with_keys_have(model: Path, name: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("x")
    message = f"this looks like secrets: {name}: a name that files with keys have"
    assert refusal(model, include=[name])[0] == message


def test_ordinary_texts_are_no_secrets(tmp_path: Path) -> None:
    text = "sk-learn-based_model-v2_small, npm_package\n"
    text += "task-1234567890, sk-learn, hf_hub_download, https://host.example/a:b@c, risk-free-assessment_of_all_x\n"
    path = tmp_path / "train.jsonl"
    path.write_text(text * 3)
    assert signs([File("train.jsonl", path, path.stat().st_size, "")]) == []


def test_lines_of_secrets_are_counted_through_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    line = "x" * 99 + "\n"
    path.write_text(line * 30_000 + SECRETS["a token of GitHub"] + "\n" + line * 3 + SECRETS["a key of Google"])
    found = [str(sign) for sign in signs([File("train.jsonl", path, path.stat().st_size, "")])]
    assert found == ["train.jsonl, line 30001: a token of GitHub", "train.jsonl, line 30005: a key of Google"]
    path.write_text(f"{SECRETS['a private key']}\n" * 9)
    assert len(signs([File("train.jsonl", path, path.stat().st_size, "")])) == 5


# The card's front matter


@pytest.mark.parametrize(
    ("front", "told"),
    [
        ("license: [", "the front matter is not YAML"),
        ("- a\n- b", "the front matter is no mapping"),
        ("extra_gated_fields: [a]", "extra_gated_fields is no mapping"),
        ("extra_gated_fields:\n  Name: txt", "the field Name of the form has the type txt"),
        ("extra_gated_fields:\n  Name: {type: what}", "the field Name of the form has the type what"),
        ("model-index:\n- name: x\n  results:\n  - task: 1", "the Hub would not take the front matter"),
    ],
)
def test_front_matter_that_the_hub_would_refuse(model: Path, front: str, told: str) -> None:
    (model / "README.md").write_text(f"---\n{front}\n---\n")
    assert told in refusal(model)[0]


def test_blank_lines_before_front_matter_are_nothing_as_on_the_hub(model: Path) -> None:
    (model / "README.md").write_text(f"\n \n{FORM}")
    found = read_front_matter(model / "README.md", dataset=False)
    assert found.has_form
    assert found.licence == "toy-licence"


def test_front_matter_that_does_not_end(model: Path) -> None:
    (model / "README.md").write_text("---\nlicense: mit\n")
    assert refusal(model)[0] == "DIR/README.md: the front matter does not end"
    (model / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    assert refusal(model)[0] == "DIR/README.md: not valid UTF-8 (byte 13)"
    (model / "README.md").write_text("")
    assert read_front_matter(model / "README.md", dataset=False).values == {}


# Sending


def test_a_model_arrives_whole_gated_and_verified(model: Path, push: Any, hub: Any) -> None:
    (model / "README.md").write_text(FORM)
    done = push(model, "--repo", "org/toy", "--private", "--yes", "--json", "--message", "First")
    report = json.loads(done.stdout)
    plan = report.pop("plan")
    repository = hub.repositories["models/org/toy"]
    assert done.returncode == 0
    assert plan["gate"] == "manual"
    assert report == {
        "url": f"{hub.url}/org/toy",
        "commit": repository.sha("main"),
        "created": True,
        "sent": SENT,
        "already_there": [],
        "others": [".gitattributes"],
        "private": True,
        "gate": "manual",
        "problems": [],
        "ok": True,
    }
    assert held(hub, "models/org/toy") == on_disk(model, SENT)
    assert (repository.messages, repository.private, repository.gated) == (["First"], True, "manual")
    gate = next(number for number, each in enumerate(hub.asked) if each.endswith("/settings"))
    assert gate < next(number for number, each in enumerate(hub.asked) if "/store/" in each or "/commit/" in each)
    assert received_once(hub)


def test_nothing_is_sent_again(model: Path, push: Any, hub: Any) -> None:
    assert push(model, "--repo", "org/toy", "--yes").returncode == 0
    before = len(hub.asked)
    again = json.loads(push(model, "--repo", "org/toy", "--yes", "--json").stdout)
    assert (again["sent"], again["already_there"], again["created"]) == ([], SENT, False)
    assert not [each for each in hub.asked[before:] if re.search(r"/store/|/commit/|/preupload/|create", each)]
    (model / "README.md").write_text(CARD + "More.\n")
    changed = json.loads(push(model, "--repo", "org/toy", "--yes", "--json").stdout)
    assert (changed["sent"], len(changed["already_there"])) == (["README.md"], len(SENT) - 1)
    assert held(hub, "models/org/toy")["README.md"].endswith(b"More.\n")
    assert received_once(hub)


def test_data_go_to_a_branch_of_a_data_set(tmp_path: Path, push: Any, hub: Any) -> None:
    data = write_model(tmp_path / "data", {"train.jsonl": b'{"id": 1}\n', "held_out.jsonl": b""}, stage="data")
    done = push(data, "--repo", "org/data", "--dataset", "--branch", "v1", "--yes")
    sent = ["README.md", "held_out.jsonl", "run.json", "train.jsonl"]
    assert done.returncode == 0, done.stderr
    assert held(hub, "datasets/org/data", "v1") == on_disk(data, sent)
    assert held(hub, "datasets/org/data") == {}
    assert "every file" in done.stdout


def test_an_existing_repository_keeps_its_other_files(model: Path, push: Any, hub: Any) -> None:
    assert push(model, "--repo", "org/toy", "--yes").returncode == 0
    repository = hub.repositories["models/org/toy"]
    repository.branches["main"]["other.txt"] = b"theirs"
    repository.gated = "auto"
    (model / "README.md").write_text(FORM)
    report = json.loads(push(model, "--repo", "org/toy", "--yes", "--json").stdout)
    assert report["others"] == [".gitattributes", "other.txt"]
    assert report["gate"] == "auto", "a gate that is closed already stays as its owner has it"
    assert repository.branches["main"]["other.txt"] == b"theirs"


def test_a_public_repository_is_no_place_for_what_is_private(model: Path, push: Any, hub: Any) -> None:
    assert push(model, "--repo", "org/toy", "--yes").returncode == 0
    before = len(hub.asked)
    refused = push(model, "--repo", "org/toy", "--private", "--yes")
    assert refused.returncode == 2
    assert "error: org/toy exists and is public" in refused.stderr
    assert not [each for each in hub.asked[before:] if not each.startswith("GET")]


def test_an_upload_that_is_cut_goes_on_by_itself(model: Path, push: Any, hub: Any) -> None:
    hub.cut_uploads = 1
    done = push(model, "--repo", "org/toy", "--yes")
    assert done.returncode == 0, done.stderr
    assert held(hub, "models/org/toy") == on_disk(model, SENT)
    assert received_once(hub)


def test_a_commit_that_is_cut_goes_on_with_the_same_command(model: Path, push: Any, hub: Any) -> None:
    hub.cut_commits = 1
    cut = push(model, "--repo", "org/toy", "--yes")
    assert cut.returncode == 2
    assert re.search(r"^error: cannot publish org/toy: .+$", cut.stderr, re.MULTILINE)
    assert "what has arrived is not sent a second time" in cut.stderr
    assert held(hub, "models/org/toy") == {}, "readers see the folder whole or not at all"
    assert len(hub.stored) == 3
    uploads = hub.times("PUT /store/")
    done = json.loads(push(model, "--repo", "org/toy", "--yes", "--json").stdout)
    assert (done["ok"], done["created"], done["sent"]) == (True, False, SENT)
    assert hub.times("PUT /store/") == uploads
    assert received_once(hub)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(model: Path, push: Any, hub: Any) -> None:
    hub.cut_commits = -1
    assert push(model, "--repo", "org/toy", "--yes").returncode == 2
    done = json.loads(push(model, "--repo", "org/toy", "--yes", "--json").stdout)
    assert (done["ok"], done["sent"], done["already_there"]) == (True, [], SENT)
    assert len(hub.repositories["models/org/toy"].messages) == 1


def test_a_push_that_is_killed_between_two_files_goes_on(
    model: Path, hub: Any, packtrain: Any, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "packtrain", "push", str(model), "--repo", "org/toy", "--yes"]
    hub.refuse["POST /api/models/org/toy/commit"] = 503
    running = subprocess.Popen(
        command, env=packtrain.environment(**environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not hub.stored and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    arrived = set(hub.stored)
    hub.refuse.clear()
    assert arrived
    done = packtrain(*command[3:], **environment)
    assert done.returncode == 0, done.stderr
    assert hub.token not in done.stdout + done.stderr
    assert held(hub, "models/org/toy") == on_disk(model, SENT)
    assert received_once(hub)


def test_a_file_that_arrives_damaged_is_found(model: Path, push: Any, hub: Any) -> None:
    hub.damage = "model-00002-of-00002.safetensors"
    done = push(model, "--repo", "org/toy", "--yes", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"] == ["model-00002-of-00002.safetensors has other bytes in the repository"]


@pytest.mark.parametrize(
    ("refuse", "changed", "told", "advice"),
    [
        ({}, {"token": "hf_wrongwrongwrong"}, "the Hub does not take the token", "hf auth login"),
        ({"POST /api/repos/create": 403}, {}, "the token may not do that", "a member of org"),
        ({"POST /api/models/org/toy/commit": 403}, {}, "the token may not do that", "a member of org"),
        ({"POST /api/repos/create": 500}, {}, "cannot publish org/toy", "the Hub answered 500"),
        ({}, {"offline": True}, "HF_HUB_OFFLINE is set", "a dry run needs no network"),
        ({}, {"token": ""}, "no token for the Hub", "hf auth login"),
    ],
)
def test_what_the_hub_refuses(
    model: Path, push: Any, hub: Any, refuse: dict[str, int], changed: dict[str, Any], told: str, advice: str
) -> None:
    hub.refuse.update(refuse)
    done = push(model, "--repo", "org/toy", "--yes", **changed)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: ")
    assert told in error
    assert hint.startswith("hint: ")
    assert advice in hint


def test_no_connection(model: Path, push: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = push(model, "--repo", "org/toy", "--yes")
    error, hint = done.stderr.splitlines()[-2:]
    assert (done.returncode, error.startswith("error: cannot publish org/toy: ")) == (2, True)
    advice = "check the network and HF_ENDPOINT; run the same command again: what has arrived is not sent a second time"
    assert hint == f"hint: {advice}"


def test_a_card_that_the_hub_refuses_is_told_before_anything_is_sent(model: Path, push: Any, hub: Any) -> None:
    hub.bad_card = "licence"
    done = push(model, "--repo", "org/toy", "--yes")
    assert done.returncode == 2
    assert "bad licence" in done.stderr
    assert (hub.stored, held(hub, "models/org/toy")) == ({}, {})


def test_parts_hold_no_more_than_they_should() -> None:
    sizes = [1, BYTES_PER_PART, BYTES_PER_PART - 2, 1, 1, 3 * BYTES_PER_PART, 1]
    parts = list(_parts([File(str(size), Path(), size, "") for size in sizes]))
    assert [[file.size for file in part] for part in parts] == [
        [1],
        [BYTES_PER_PART],
        [BYTES_PER_PART - 2, 1, 1],
        [3 * BYTES_PER_PART],
        [1],
    ]


# Tensors


def test_tensors_of_diffs_and_of_recovered_and_converted_models(tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from packtrain.diff.make import make_diff
    from packtrain.diff.recover import recover

    tuned = tmp_path / "tuned"
    tuned.mkdir()
    for file in tiny_base.iterdir():
        (tuned / file.name).write_bytes(file.read_bytes())
    weights = {name: tensor + 0.01 for name, tensor in load_file(tuned / "model.safetensors").items()}
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    make_diff(tiny_base, tuned, tmp_path / "diff")
    recover(tiny_base, tmp_path / "diff", tmp_path / "recovered")
    for name, weight in (("diff", "diff.safetensors"), ("recovered", "model.safetensors")):
        folder = tmp_path / name
        plan = plan_push(folder, "org/toy")
        assert plan.tensors_checked
        assert weight in [file.name for file in plan.files]
        assert not plan.left_out
        content = bytearray((folder / weight).read_bytes())
        content[-1] ^= 1
        (folder / weight).write_bytes(content)
        assert refusal(folder)[0].startswith("DIR is not what its record says: ")
    from packtrain.weights.fingerprint import model_fingerprint, tensor_records
    from packtrain.weights.store import open_store

    fingerprint = model_fingerprint(tensor_records(open_store(tuned)))
    converted = Manifest("convert llama", {}, {}, {"tensors": fingerprint}, {})
    assert check_tensors(tuned, converted)
    save_file({name: torch.zeros_like(each) for name, each in weights.items()}, tuned / "model.safetensors")
    with pytest.raises(UserError, match="other bytes than recorded in the weights"):
        check_tensors(tuned, converted)
