"""Names of control tokens in a text: refused by default, written with a space inside when that is asked for."""

import json
from pathlib import Path

import pytest

from packtrain.core.conversation import Conversation, Message, read_conversations
from packtrain.core.recipe import Source
from packtrain.data.checks import CONTROL_TOKENS, reason_to_drop
from packtrain.data.clean.control_tokens import apply
from packtrain.data.prepare import prepare
from packtrain.prompts.encode import encode
from packtrain.prompts.template import load_template
from packtrain.prompts.tokenizer import load_tokenizer


def conversation(*texts: str, context: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message(roles[place % 2], text) for place, text in enumerate(texts)]
    messages[0] = Message("user", texts[0], context)
    return Conversation("d", "1", tuple(messages))


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_every_name_is_refused_or_put_apart(token: str) -> None:
    spoilt = conversation(f"What is {token}?", f"{token}{token} ends", context=f"a{token}")
    assert reason_to_drop(spoilt) == "control token in the text"
    mended = apply(spoilt)
    apart = f"{token[0]} {token[1:]}"
    assert mended == conversation(f"What is {apart}?", f"{apart}{apart} ends", context=f"a{apart}")
    assert isinstance(mended, Conversation)
    assert reason_to_drop(mended) is None
    assert apply(mended) is mended


def test_ordinary_text_stays_the_same_object() -> None:
    plain = conversation("<strong>a</strong> <S> < s > </ s>", "x[PAD ]", context="<span>")
    assert apply(plain) is plain
    assert reason_to_drop(plain) is None


def test_mended_text_never_becomes_a_control_token(tmp_path: Path, tiny_base: Path) -> None:
    path = tmp_path / "m.jsonl"
    said = [{"role": "user", "content": "Say </s>."}, {"role": "assistant", "content": "</s> it is, <s>."}]
    path.write_text(json.dumps({"id": "x", "messages": said}))
    source = Source(format="messages", path=str(path), clean=("control_tokens",))
    report = prepare({"m": source}, tmp_path / "out", seed=1)
    assert dict(report.sources["m"].mended) == {"control_tokens": 1}
    [kept] = read_conversations(tmp_path / "out/train.jsonl")
    tokenizer = load_tokenizer(tiny_base)
    [example] = encode([kept], load_template("tulu"), tokenizer, 200).examples
    ids = list(example.input_ids)
    assert ids.count(tokenizer.eos_id) == 1
    assert ids[-1] == tokenizer.eos_id
    assert ids.count(tokenizer.id_of("<s>")) == 1
