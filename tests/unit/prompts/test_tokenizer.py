"""Tokenizer folders: special tokens found, mended or refused, and written so that others read the same ids."""

import json
import shutil
from pathlib import Path

import pytest

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.prompts.encode import encode
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import load_tokenizer

MESSAGES = (
    Message("user", "Name a colour."),
    Message("assistant", "red"),
    Message("user", "and  two   spaces"),
    Message("assistant", "ten."),
)


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copy(tiny_base / name, tmp_path / name)
    return tmp_path


def declare(folder: Path, **tokens: str | None) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **tokens}))


def test_special_tokens_of_a_folder(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.eos_token, tokenizer.eos_id, tokenizer.bos_token, tokenizer.pad_token) == ("</s>", 2, "<s>", None)
    assert tokenizer.first_token == "<s>"
    assert tokenizer.pad_id == tokenizer.eos_id


@pytest.mark.parametrize("declared", [None, ""])
def test_an_undeclared_end_of_sequence_is_found_and_said(
    folder: Path, declared: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    declare(folder, eos_token=declared)
    assert load_tokenizer(folder).eos_token == "</s>"
    assert "declares no end-of-sequence token; using </s>" in " ".join(capsys.readouterr().err.split())


def test_no_end_of_sequence_at_all_is_refused(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "</s>"]
    content["model"]["vocab"]["<notend>"] = content["model"]["vocab"].pop("</s>")
    (folder / "tokenizer.json").write_text(json.dumps(content))
    declare(folder, eos_token=None)
    with pytest.raises(UserError, match="has no end-of-sequence token"):
        load_tokenizer(folder)
    declare(folder, eos_token="</s>")
    with pytest.raises(UserError, match="is not in its vocabulary"):
        load_tokenizer(folder)


@pytest.mark.parametrize("break_it", ["remove", "empty", "cut"])
def test_an_unreadable_tokenizer_is_a_clear_error(folder: Path, break_it: str) -> None:
    path = folder / "tokenizer.json"
    content = path.read_text()
    path.unlink()
    if break_it != "remove":
        path.write_text("" if break_it == "empty" else content[:500])
    with pytest.raises(UserError, match=r"cannot read the tokenizer"):
        load_tokenizer(folder)


def test_padding_is_added_once_and_never_over_an_existing_one(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    padded = tokenizer.with_pad("[PAD]")
    assert (len(tokenizer), len(padded), padded.pad_id) == (300, 301, 300)
    assert padded.with_pad("<pad>") is padded
    declare(folder, pad_token="<unk>")
    assert load_tokenizer(folder).with_pad("[PAD]").pad_token == "<unk>"


def test_others_read_the_same_ids_from_a_saved_folder(folder: Path, tmp_path: Path) -> None:
    """What transformers makes of the exported chat template is what training saw, first token included."""
    from transformers import AutoTokenizer

    template, tokenizer = load_template("tulu"), load_tokenizer(folder).with_pad("<pad>")
    saved = tmp_path / "saved"
    saved.mkdir()
    shutil.copy(folder / "config.json", saved)
    tokenizer.save(saved, template.chat_template(tokenizer.first_token))
    [example] = encode([Conversation("d", "1", MESSAGES)], template, tokenizer, 512).examples
    theirs = AutoTokenizer.from_pretrained(saved)
    plain = [message.as_json() for message in MESSAGES]
    masked = theirs.apply_chat_template(plain, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    assert masked["input_ids"] == example.input_ids
    learnt = [int(label != -100) for label in example.labels]
    assert masked["assistant_masks"] == learnt
    assert theirs.pad_token == "<pad>"
    asked = theirs.apply_chat_template(plain[:1], tokenize=True, add_generation_prompt=True, return_dict=True)
    assert asked["input_ids"] == tokenizer.ids(template.render(MESSAGES[:1], "</s>", for_answer=True).text)
    again = load_tokenizer(saved)
    assert again.ids("Hello  world </s> x") == tokenizer.ids("Hello  world </s> x")


def test_an_undeclared_padding_token_of_the_vocabulary_is_used(folder: Path) -> None:
    """Galactica's folder: `<pad>` is in the vocabulary, and nothing says so. No row is added."""
    backend = load_tokenizer(folder).backend
    backend.add_special_tokens(["<pad>"])
    backend.save(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token is None
    padded = tokenizer.with_pad("[PAD]")
    assert (padded.pad_token, len(padded)) == ("<pad>", len(tokenizer))
