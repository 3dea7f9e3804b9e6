"""Finds texts that would begin without their first token, or with two of it.

A template that writes what the tokenizer adds by itself doubles it: OPT's tokenizer puts `</s>` first, LLaMA's `<s>`;
two of them cost six points of MMLU (retaining-by-doing#5). A `tokenizer.json` that adds none although the folder's
config says so shows the base texts as it never saw them.
"""

from collections.abc import Iterator

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.train.doctor_checks import Finding, error, warning
from packtrain.train.examined import Examined

NEEDS = ("tokenizer",)
BEFORE_TRAINING = True
FINE = "texts begin with the tokenizer's first token once, where it has one"
_PROMPT = (Message("user", "Name a colour."),)


def check(examined: Examined) -> Iterator[Finding]:
    """At most one finding."""
    tokenizer, template = examined.tokenizer, examined.template
    if tokenizer is None:
        return
    first = tokenizer.first_token
    if first is None:
        if (examined.tokenizer_config or {}).get("add_bos_token") is True and tokenizer.bos_token is not None:
            what = f"add_bos_token is true, but tokenizer.json does not put {tokenizer.bos_token} before a text"
            mend = "write tokenizer.json again with its post-processor, or set add_bos_token to false"
            yield warning(what, str(examined.folder), mend)
        return
    if template is None:
        return
    try:
        ids = tokenizer.ids(template.render(_PROMPT, tokenizer.eos_token, for_answer=True).text)
    except UserError:  # a format that cannot show one question has nothing to be doubled here
        return
    if ids[:2] == [tokenizer.id_of(first)] * 2:
        what = f"texts would begin with {first} twice: the tokenizer adds it, and the template writes it"
        yield error(what, f"template {template.name}", f"take {first} out of the beginning of the template")
