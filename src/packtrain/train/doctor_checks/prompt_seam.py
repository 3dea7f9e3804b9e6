"""Finds templates that ask in another way than they train.

A model answers well only behind the very bytes that stood before its answers in training. The newline behind the
assistant's header is the classic: where the prompt lacks it, the model must begin with a token that it never learnt to
say ("can affect quality quite a bit", say the cards of Open-Instruct; LlamaFactory#2509: 26 % instead of 57 %).
"""

from collections.abc import Iterator, Sequence

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.prompts.template import PromptTemplate, Rendered
from packtrain.prompts.tokenizer import Tokenizer
from packtrain.train.doctor_checks import Finding, error, warning
from packtrain.train.examined import Examined

NEEDS = ("tokenizer", "template")
BEFORE_TRAINING = True
FINE = "prompts end where the learnt answers begin, token by token"
_ONE_ROUND = tuple((Message("user", "Name one."), Message("assistant", text)) for text in ("Red.", "7", "def f():"))
_TWO_ROUNDS = (*_ONE_ROUND[0], Message("user", "Another?"), Message("assistant", "Blue."))
_SHOWN_CHARACTERS = 24


def check(examined: Examined) -> Iterator[Finding]:
    """At most one finding: the first conversation for which the prompt is not the beginning of what is trained."""
    tokenizer, template = examined.tokenizer, examined.template
    if tokenizer is None or template is None:
        return
    for messages in (*_ONE_ROUND, _TWO_ROUNDS):
        try:
            whole = template.render(messages, tokenizer.eos_token)
            prompt = template.render(messages[:-1], tokenizer.eos_token, for_answer=True).text
            question = template.render(messages[:-1], tokenizer.eos_token).text
        except UserError:  # a format of one round cannot show two
            continue
        if whole.spans:
            found = _compared(prompt, question, whole, template, tokenizer)
            if found is not None:
                yield found
                return


def _compared(
    prompt: str, question: str, whole: Rendered, template: PromptTemplate, tokenizer: Tokenizer
) -> Finding | None:
    """What is wrong with a `prompt`; `question` is the same text without the assistant's header."""
    where = f"template {template.name}"
    mend = "let add_generation_prompt end the text with the very characters that stand before {% generation %}"
    start, end = whole.spans[-1]
    if not whole.text.startswith(prompt):
        place = next(
            place for place, pair in enumerate(zip(prompt, whole.text + "\0", strict=False)) if len({*pair}) > 1
        )
        asked, trained = (text[place : place + _SHOWN_CHARACTERS] for text in (prompt, whole.text))
        return error(f"the model is asked with {asked!r} where it is trained with {trained!r}", where, mend)
    gap = whole.text[len(prompt) : start]
    if gap:
        what = f"the prompt ends before {gap!r}, which stands before every answer in training and is never learnt"
        # an unlearnt block behind the header (empty thoughts) may be wanted; a missing header or line end never is
        return (error if not gap.strip() or prompt == question else warning)(what, where, mend)
    if start < len(prompt) < end:
        what = f"{whole.text[start : len(prompt)]!r} is learnt although every prompt holds it already"
        return warning(what, where, "begin {% generation %} behind the assistant's header")
    asked_ids, trained_ids = tokenizer.ids(prompt), tokenizer.ids(whole.text)
    if not _begins(trained_ids, asked_ids):
        what = f"the end of the prompt and the beginning of {whole.text[start : start + 8]!r} become one token"
        return warning(what, where, "end the assistant's header with a line end or a control token")
    return None


def _begins(ids: Sequence[int], beginning: Sequence[int]) -> bool:
    return list(ids[: len(beginning)]) == list(beginning)
