"""Finds prompt formats that there are not, that teach no end, or that hold one round where the data have more.

What depends on the base's tokenizer is looked at with the base (`answers_end`, `prompt_seam`, `stops_named`).
"""

from collections.abc import Iterator
from pathlib import Path

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.data.format import AUTO as ANY_FORMAT
from packtrain.data.format import open_format
from packtrain.pipeline.doctor.wanted import Wanted
from packtrain.prompts.template import AUTO, OWN, PromptTemplate, template_for
from packtrain.train.doctor_checks import Finding, error, fine, warning

STAGES = ("train", "evaluate")
MORE_ROUNDS = 1.05
"""Mean number of rounds from which a data set is one of conversations."""
_END = "</s>"
_WHERE = "template"


def check(wanted: Wanted) -> Iterator[Finding]:
    """What is wrong with the format, or how it ends an answer."""
    name = wanted.recipe.template
    if wanted.base is None and name in (OWN, AUTO):
        yield fine(f"the prompt format is the base's own ({name}): it can be looked at when the base is here")
        return
    if wanted.base is None and name.endswith(".jinja"):
        if Path(name).expanduser().is_file():
            yield fine(f"the prompt format {name}: it can be looked at when the base is here")
        else:
            yield error(f"there is no template file {name}", _WHERE, "name another: packtrain ls template")
        return
    try:
        template = template_for(wanted.base or Path(), name)
    except UserError as problem:
        yield error(problem.message, _WHERE, problem.hint)
        return
    yield from _ends(template)
    yield from _rounds(wanted, template)


def _ends(template: PromptTemplate) -> Iterator[Finding]:
    """How what is learnt of an answer ends, in a format that the package ships."""
    if not template.shipped:
        yield fine(f"prompt format {template.name}")
        return
    shown = template.render((Message("user", "Name one."), Message("assistant", "Red and blue")), _END)
    ends = [shown.text[begin:end].endswith(_END) for begin, end in shown.spans]
    if ends and all(ends):
        yield fine(f"prompt format {template.name}: what is learnt of an answer ends by the end-of-sequence")
    else:
        mend = "write eos_token before {% endgeneration %}"
        yield error(f"the prompt format {template.name} teaches no end of an answer", _WHERE, mend)


def _rounds(wanted: Wanted, template: PromptTemplate) -> Iterator[Finding]:
    if not template.one_round:
        return
    for name, source in wanted.recipe.data.sources.items():
        if source.format == ANY_FORMAT:
            continue
        try:
            rounds = open_format(source.format).about.rounds
        except UserError:  # said by `formats`
            continue
        if rounds is not None and rounds > MORE_ROUNDS:
            what = f"{template.name} shows one round, and conversations of {name} have {rounds:g} on the average"
            yield warning(what, f"{_WHERE}, data.sources.{name}", "take a format for more rounds: template=tulu")
