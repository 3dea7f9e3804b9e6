"""Which ids end an answer."""

import tokenizers

from packtrain.prompts.stop_tokens import answer_end, stop_ids
from packtrain.prompts.template import PromptTemplate, load_template
from packtrain.prompts.tokenizer import Tokenizer


def tokenizer(*special: str, eos: str = "</s>") -> Tokenizer:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.add_special_tokens(list(special))
    return Tokenizer(backend, eos)


def learning(text: str) -> PromptTemplate:
    return PromptTemplate("mine", "{% generation %}{{ " + text + " }}{% endgeneration %}")


def test_end_of_sequence_and_every_known_stop_token_in_the_vocabulary() -> None:
    assert stop_ids(tokenizer("<s>", "</s>", "<|user|>")) == [1]
    assert stop_ids(tokenizer("<|im_end|>", "<s>", "</s>", "<|endoftext|>")) == [0, 2, 3]
    assert stop_ids(tokenizer("<|im_end|>", "<|endoftext|>", eos="<|endoftext|>")) == [0, 1]


def test_the_end_that_a_template_writes() -> None:
    mine = tokenizer("</s>", "<turn|>", "<long turn|>")
    assert stop_ids(mine, learning("messages[1].content + '<turn|>\\n'")) == [0, 1]
    assert answer_end(mine, learning("messages[1].content + '<long turn|>'")) == "<long turn|>"
    assert answer_end(mine, learning("messages[1].content + eos_token")) == "</s>"
    assert answer_end(mine, learning("messages[1].content")) is None
    assert answer_end(mine, PromptTemplate("mine", "{{ messages[1].content }}")) is None
    assert answer_end(mine, PromptTemplate("mine", "{{ raise_exception('no') }}")) is None
    assert [answer_end(mine, load_template(name)) for name in ("tulu", "alpaca")] == ["</s>", "</s>"]
