"""Which tokens end an answer: end-of-sequence, the ends of the known chat formats, and that of the template at hand."""

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.prompts.encode import control_tokens
from packtrain.prompts.own_template import OwnTemplate
from packtrain.prompts.template import PromptTemplate
from packtrain.prompts.tokenizer import Tokenizer

STOP_TOKENS = ("</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>")
"""End-of-sequence and end-of-turn of LLaMA and OPT, GPT-2 and NeoX, ChatML, Llama 3 and Gemma."""
_ROUND = (Message("user", "Name a colour."), Message("assistant", "Red."))


def stop_ids(tokenizer: Tokenizer, template: PromptTemplate | None = None) -> list[int]:
    """Sorted ids that end an answer: what a `generation_config.json` has to name.

    They are the end-of-sequence, every stop token of a known chat format that the vocabulary holds, and the control
    token by which the learnt text of `template` ends.
    """
    tokens = [tokenizer.eos_token, *STOP_TOKENS]
    end = None if template is None else answer_end(tokenizer, template)
    ids = (tokenizer.backend.token_to_id(token) for token in (*tokens, *([] if end is None else [end])))
    return sorted({found for found in ids if found is not None})


def answer_end(tokenizer: Tokenizer, template: PromptTemplate) -> str | None:
    """The control token by which what is learnt of an answer ends, white space behind it left out; None without one."""
    if isinstance(template, OwnTemplate):
        return template.answer_end or None
    try:
        rendered = template.render(_ROUND, tokenizer.eos_token)
    except UserError:
        return None
    if not rendered.spans:
        return None
    start, end = rendered.spans[-1]
    learnt = rendered.text[start:end].rstrip()
    ends = [token for token in control_tokens(tokenizer) if learnt.endswith(token)]
    return max(ends, key=len, default=None)
