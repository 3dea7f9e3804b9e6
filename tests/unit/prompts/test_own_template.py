"""A model's own chat template: what it shows is what transformers shows, and what is learnt is found exactly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers.processors
from tests.conftest import build_tokenizer
from tokenizers import AddedToken

from packtrain.core.conversation import Conversation, Message
from packtrain.core.errors import UserError
from packtrain.prompts.encode import IGNORED, encode
from packtrain.prompts.own_template import OwnTemplate, own_template
from packtrain.prompts.template import PromptTemplate, folder_template, load_template, template_for, template_names
from packtrain.prompts.token_cache import Encoding
from packtrain.prompts.tokenizer import Tokenizer, load_tokenizer

TEMPLATES = Path(__file__).parent / "chat_templates"
SPECIALS = {
    # template: end-of-sequence, token that the tokenizer puts first, further tokens of the chat format
    "chatml": ("<|im_end|>", None, ["<|im_start|>", "<|im_end|>"]),
    "thinking": ("<|im_end|>", None, ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]),
    "llama3": ("<|end_of_text|>", "<s>", ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"]),
    "gemma": ("</s>", "<s>", ["<start_of_turn>", "<end_of_turn>"]),
    "mistral": ("</s>", "<s>", ["[INST]", "[/INST]"]),
    "zephyr": ("</s>", None, []),
    "phi": ("<|endoftext|>", None, ["<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]),
}
TWO_ROUNDS = ("Name a colour.", "red", "Count.", "one,\n\ntwo")
LEARNT = {
    "chatml": ["red<|im_end|>", "one,\n\ntwo<|im_end|>"],
    "thinking": ["red<|im_end|>", "<think>\n\n</think>\n\none,\n\ntwo<|im_end|>"],
    "llama3": ["red<|eot_id|>", "one,\n\ntwo<|eot_id|>"],
    "gemma": ["red<end_of_turn>", "one,\n\ntwo<end_of_turn>"],
    "mistral": [" red</s>", " one,\n\ntwo</s>"],
    "zephyr": ["red</s>", "one,\n\ntwo</s>"],
    "phi": ["red<|end|>", "one,\n\ntwo<|end|>"],
}


def build_base(folder: Path, source: str | None, eos: str, first: str | None, tokens: list[str]) -> Path:
    """The tokenizer files of a base with a chat template."""
    tokenizer = build_tokenizer()
    for token in tokens:  # a mark of thinking is no control token: data may hold it
        added = AddedToken(token, normalized=False, special="think" not in token)
        (tokenizer.add_special_tokens if added.special else tokenizer.add_tokens)([added])
    if first is None:
        tokenizer.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {"eos_token": eos, "unk_token": "<unk>"} | ({"bos_token": first} if first else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if source is not None:
        (folder / "chat_template.jinja").write_text(source)
    return folder


@pytest.fixture
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The base whose template is named by the parameter."""
    name: str = request.param
    return build_base(tmp_path / name, (TEMPLATES / f"{name}.jinja").read_text(), *SPECIALS[name])


def talk(*turns: str, system: str | None = None) -> Conversation:
    messages = [Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns)]
    return Conversation("d", "1", ((Message("system", system),) if system else ()) + tuple(messages))


def learnt_texts(template: PromptTemplate, tokenizer: Tokenizer, conversation: Conversation) -> list[str]:
    """Runs of learnt tokens, decoded."""
    [example] = encode([conversation], template, tokenizer, 512).examples
    runs: list[list[int]] = [[]]
    for label in example.labels:
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(label)
    return [tokenizer.decode(run, skip_special=False) for run in runs if run]


def library_ids(folder: Path, conversation: Conversation, **settings: Any) -> list[int]:
    """What transformers' apply_chat_template makes of the conversation."""
    from transformers import AutoTokenizer

    library: Any = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
    return list(library.apply_chat_template(messages, date_string="26 Jul 2024", return_dict=False, **settings))


@pytest.mark.parametrize(("base", "expected"), LEARNT.items(), indirect=["base"], ids=list(LEARNT))
def test_every_answer_is_learnt_with_the_token_that_ends_it(base: Path, expected: list[str]) -> None:
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    assert learnt_texts(template, tokenizer, talk(*TWO_ROUNDS)) == expected
    single = ["<think>\n\n</think>\n\nred<|im_end|>"] if base.name == "thinking" else expected[:1]
    assert learnt_texts(template, tokenizer, talk(*TWO_ROUNDS[:2])) == single


@pytest.mark.parametrize("base", SPECIALS, indirect=True)
def test_the_tokens_are_those_of_transformers(base: Path) -> None:
    """In training and before an answer; a first token that both template and tokenizer write comes once."""
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    conversation = talk(*TWO_ROUNDS)
    [example] = encode([conversation], template, tokenizer, 512).examples
    assert list(example.input_ids) == library_ids(base, conversation)
    question = replace(conversation, messages=conversation.messages[:3])
    prompt = template.render(question.messages, tokenizer.eos_token, for_answer=True)
    assert prompt.spans == ()
    assert tokenizer.ids(prompt.text) == library_ids(base, question, add_generation_prompt=True)


@pytest.mark.parametrize("base", SPECIALS, indirect=True)
def test_what_is_learnt_is_what_stands_behind_the_prompt(base: Path) -> None:
    """The last answer, as the model will be asked for it, to the token."""
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    conversation = talk(*TWO_ROUNDS)
    [example] = encode([conversation], template, tokenizer, 512).examples
    prompt = tokenizer.ids(template.render(conversation.messages[:3], tokenizer.eos_token, for_answer=True).text)
    assert list(example.input_ids)[: len(prompt)] == prompt
    assert example.labels[len(prompt)] != IGNORED
    assert example.labels[len(prompt) - 1] == IGNORED


@pytest.mark.parametrize("base", ["thinking"], indirect=True)
def test_an_answer_whose_thinking_is_hidden_later_is_shown_and_not_learnt(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    assert "such answers are shown, not learnt" in capsys.readouterr().err
    thought = "<think>\nSo be it.\n</think>\n\n"
    conversation = talk("Name a colour.", f"{thought}red", "Count.", f"{thought}one")
    assert learnt_texts(template, tokenizer, conversation) == [f"{thought}one<|im_end|>"]
    rendered = template.render(conversation.messages, tokenizer.eos_token)
    assert "<|im_start|>assistant\nred<|im_end|>" in rendered.text


def test_an_answer_that_the_template_cuts_is_not_learnt_in_parts(tmp_path: Path) -> None:
    source = (TEMPLATES / "chatml.jinja").read_text().replace("message['content']", "message['content'][-12:]")
    base = build_base(tmp_path / "cut", source, *SPECIALS["chatml"])
    template = own_template("cut", source, load_tokenizer(base))
    assert "does not show what the assistant says" in template.problem
    source = (TEMPLATES / "thinking.jinja").read_text().replace("content.lstrip('\\n') }}", "content[:30] }}")
    template = own_template("cut", source, load_tokenizer(base))
    assert template.problem == ""
    encoded = encode([talk("Count.", "one " * 20)], template, load_tokenizer(base), 512)
    assert dict(encoded.dropped) == {"template cut: an answer is not shown whole": 1}


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("gemma", "template gemma/chat_template: System role not supported"),
        ("mistral", "template mistral/chat_template: the question is shown otherwise once it is answered"),
    ],
    indirect=["base"],
)
def test_what_cannot_be_shown_exactly_is_dropped_and_counted(base: Path, reason: str) -> None:
    given = [talk(*TWO_ROUNDS[:2]), talk(*TWO_ROUNDS[:2], system="Be kind."), talk(*TWO_ROUNDS[:2], system="Be quick.")]
    encoded = encode(given, template_for(base, "own"), load_tokenizer(base), 512)
    assert len(encoded.examples) == 1
    assert dict(encoded.dropped) == {reason: 2}


@pytest.mark.parametrize("base", ["chatml", "llama3", "zephyr"], indirect=True)
def test_a_system_message_is_shown_where_the_template_knows_it(base: Path) -> None:
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    conversation = talk(*TWO_ROUNDS, system="Be kind.")
    assert "Be kind." in template.render(conversation.messages, tokenizer.eos_token).text
    assert learnt_texts(template, tokenizer, conversation) == LEARNT[base.name]


@pytest.mark.parametrize("base", ["llama3"], indirect=True)
def test_today_is_the_same_day_in_every_run(base: Path) -> None:
    text = template_for(base, "own").render(talk(*TWO_ROUNDS).messages, "<|end_of_text|>").text
    assert "Today Date: 26 Jul 2024" in text


@pytest.mark.parametrize("base", ["chatml"], indirect=True)
def test_contexts_unlearnt_answers_and_open_questions(base: Path) -> None:
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    messages = (
        Message("user", "Sort these.", "b a"),
        Message("assistant", "a b", learnt=False),
        Message("user", "And back?"),
        Message("assistant", " b a\n"),
        Message("user", "Thanks."),
    )
    rendered = template.render(messages, tokenizer.eos_token)
    assert "Sort these.\n\nb a<|im_end|>" in rendered.text
    assert [rendered.text[start:end] for start, end in rendered.spans] == [" b a\n<|im_end|>"]
    assert template.render(messages[:1], tokenizer.eos_token).spans == ()
    begun = template.render(messages[:1], tokenizer.eos_token, for_answer=True, answer_prefix="a")
    assert begun.text.endswith("<|im_start|>assistant\na")


@pytest.mark.parametrize("name", template_names())
def test_rendering_finds_what_the_marks_of_the_shipped_formats_say(name: str, tiny_base: Path) -> None:
    marked, tokenizer = load_template(name), load_tokenizer(tiny_base)
    found = own_template(name, marked.source, tokenizer)
    assert found.problem == ""
    conversations = [
        ("a", "b"),
        ("Q: ", "A"),
        ("x", ""),
        (" a\n", " b \n"),
        ("é", "</s"),
        ("one", "two", "three", "four"),
    ]
    for turns in conversations if not marked.one_round else conversations[:-1]:
        messages = talk(*turns).messages
        assert found.render(messages, "</s>") == marked.render(messages, "</s>"), turns


@pytest.mark.parametrize("base", SPECIALS, indirect=True)
def test_the_exported_folder_asks_as_training_did(base: Path, tmp_path: Path) -> None:
    template, tokenizer = template_for(base, "own"), load_tokenizer(base).with_pad("<pad>")
    out = tmp_path / "tuned"
    tokenizer.save(out, template.chat_template(tokenizer.first_token))
    messages = talk(*TWO_ROUNDS).messages[:3]
    stored = template_for(out, None)
    asked = stored.render(messages, tokenizer.eos_token, for_answer=True)
    assert asked == template.render(messages, tokenizer.eos_token, for_answer=True)
    question = Conversation("d", "1", messages)
    assert load_tokenizer(out).ids(asked.text) == library_ids(out, question, add_generation_prompt=True)


def test_a_first_token_that_only_the_tokenizer_writes_is_exported(tmp_path: Path) -> None:
    source = (TEMPLATES / "zephyr.jinja").read_text()
    base = build_base(tmp_path / "base", source, "</s>", "<s>", [])
    template, tokenizer = template_for(base, "own"), load_tokenizer(base)
    tokenizer.save(tmp_path / "tuned", template.chat_template(tokenizer.first_token))
    question = Conversation("d", "1", talk(*TWO_ROUNDS).messages[:3])
    prompt = template_for(tmp_path / "tuned", None).render(question.messages, "</s>", for_answer=True).text
    assert tokenizer.ids(prompt) == library_ids(tmp_path / "tuned", question, add_generation_prompt=True)
    assert tokenizer.ids(prompt).count(1) == 1


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}", "with no token of its own"),
        ("{% for m in messages %}{{ m.content.__class__.__mro__ }}{% endfor %}", "unsafe"),
        ("{% for m in messages %}{{ m.text }}{% endfor %}", "does not show what the assistant says"),
        ("{% for m in messages %}{{ '[' + m.role + ']' + m.content + eos_token }}{% endfor %}", ""),
        (
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + eos_token }}{% endfor %}",
            "knows no request for an answer",
        ),
        (
            "{% for m in messages %}{{ m.role + m.content + eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant<think>\\n' }}{% endif %}",
            "asks for an answer otherwise than it shows one",
        ),
        ("{% for m in messages %}{{ m.content", "unexpected end of template"),
        ("{{ messages[7].content }}", "list object has no element 7"),
        ("{{ raise_exception('only with tools') }}", "only with tools"),
        ("{{ 1 / 0 }}", "division"),
    ],
)
def test_a_template_that_can_teach_nothing_is_refused_with_its_fault(source: str, problem: str, tmp_path: Path) -> None:
    base = build_base(tmp_path / "base", source, "<|im_end|>", None, ["<|im_start|>", "<|im_end|>"])
    if not problem:
        assert isinstance(template_for(base, "own"), OwnTemplate)
        return
    with pytest.raises(UserError, match=problem) as caught:
        template_for(base, "own")
    assert "template=tulu" in caught.value.hint
    asked = folder_template(base)
    assert isinstance(asked, OwnTemplate)  # to chat with the base there is no need to learn
    with pytest.raises(UserError, match=problem):
        asked.render(talk("a", "b").messages, "<|im_end|>")


@pytest.mark.parametrize("base", ["chatml"], indirect=True)
def test_names_of_the_bases_own(base: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = template_for(base, "own")
    assert template_for(base, "auto").fingerprint == own.fingerprint
    assert "prompt format: the base's chat template" in capsys.readouterr().err
    assert template_for(tiny_base, "auto").source == load_template("tulu").source
    assert "prompt format: tulu, " in capsys.readouterr().err
    assert template_for(base, "alpaca").source == load_template("alpaca").source
    with pytest.raises(UserError, match="stores no prompt format") as caught:
        template_for(tiny_base, "own")
    assert caught.value.hint == "train with template=tulu"
    for name in ("own", "auto"):
        with pytest.raises(UserError, match="means the chat template of a model"):
            load_template(name)


@pytest.mark.parametrize("base", ["chatml"], indirect=True)
def test_a_users_file_needs_no_marks(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text((TEMPLATES / "zephyr.jinja").read_text())
    template, tokenizer = template_for(base, str(file)), load_tokenizer(base)
    assert learnt_texts(template, tokenizer, talk("a", "red")) == ["red<|im_end|>"]
    file.write_text("{{ messages }}")
    with pytest.raises(UserError, match="template mine"):
        template_for(base, str(file))
    with pytest.raises(UserError, match="cannot read template"):
        template_for(base, str(tmp_path / "gone.jinja"))


def test_of_several_stored_templates_the_default_is_taken(tmp_path: Path) -> None:
    source = (TEMPLATES / "chatml.jinja").read_text()
    base = build_base(tmp_path / "base", None, *SPECIALS["chatml"])
    config = json.loads((base / "tokenizer_config.json").read_text())
    several = [{"name": "tool_use", "template": "{{ 1 }}"}, {"name": "default", "template": source}]
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": several}))
    assert template_for(base, "own").source == source
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": several[:1]}))
    with pytest.raises(UserError, match="stores no prompt format"):
        template_for(base, "own")
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": ["odd"]}))
    with pytest.raises(UserError, match=r"tokenizer_config\.json"):
        template_for(base, "own")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (  # in the way of Command R7B: two tokens in a row end every answer
            "{% for m in messages %}{{ '<|turn|>' + m.role + '<|start|>' + m.content }}{{ '<|end|><|turn_end|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|turn|>assistant<|start|>' }}{% endif %}",
            ["red<|end|><|turn_end|>", "one,\n\ntwo<|end|><|turn_end|>"],
        ),
        (  # one token for every answer, another right behind it at the end of the text
            "{% for m in messages %}{{ '<|turn|>' + m.role + '\n' + m.content + '<|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% else %}{{ '<|turn_end|>' }}{% endif %}",
            ["red<|end|>", "one,\n\ntwo<|end|>"],
        ),
        (  # in the way of gpt-oss: the newest answer ends otherwise than earlier ones
            "{% for m in messages %}{{ '<|turn|>' + m.role + '<|start|>' + m.content }}"
            "{{ '<|turn_end|>' if loop.last and m.role == 'assistant' else '<|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|turn|>assistant' }}{% endif %}",
            ["<|start|>one,\n\ntwo<|turn_end|>"],
        ),
    ],
)
def test_ends_of_several_tokens(source: str, expected: list[str], tmp_path: Path) -> None:
    tokens = ["<|turn|>", "<|start|>", "<|end|>", "<|turn_end|>"]
    base = build_base(tmp_path / "base", source, "</s>", None, tokens)
    assert learnt_texts(template_for(base, "own"), load_tokenizer(base), talk(*TWO_ROUNDS)) == expected


def test_marks_of_other_programs_are_not_taken_for_ours(tmp_path: Path) -> None:
    """Some mark the header of the answer, some leave out its end: what is learnt is found by rendering all the same."""
    source = (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ '<|im_start|>assistant\\n' + m.content }}{% endgeneration %}{{ '<|im_end|>\\n' }}"
        "{% else %}{{ '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    base = build_base(tmp_path / "base", source, *SPECIALS["chatml"])
    assert learnt_texts(template_for(base, "own"), load_tokenizer(base), talk("a", "red")) == ["red<|im_end|>"]


@pytest.mark.parametrize("base", ["chatml"], indirect=True)
def test_the_token_cache_knows_how_answers_were_found(base: Path) -> None:
    own, tokenizer = template_for(base, "own"), load_tokenizer(base)
    other = PromptTemplate(own.name, own.source)
    assert Encoding(own, tokenizer, 64).key("0") != Encoding(other, tokenizer, 64).key("0")
