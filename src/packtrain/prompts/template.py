"""Prompt formats: a Jinja file gives the text, and the marks in it give what is to be learnt.

One object serves training, chat, evaluation and the `chat_template` that goes into a model folder,
so that all of them show the model the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from packtrain.core.conversation import Message
from packtrain.core.errors import UserError
from packtrain.core.folder import names, resource
from packtrain.core.progress import say
from packtrain.prompts.shipped import render_shipped

PROMPTS = "packtrain.prompts"
ONE_ROUND_MARK = "{#- rounds: one -#}"
FIRST_TOKEN_MARK = "{#- end of first token -#}"
"""Between the tokenizer's first token, which a model folder's template has to carry, and the format itself."""
SHIPPED_MARK = "{#- rounds: "
"""How the formats of this package begin."""
OWN, AUTO, FALLBACK = "own", "auto", "tulu"
"""Names for what lies in the model's folder: its own chat template, and that or else the fallback."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Character ranges [start, end) of what the assistant says, end-of-sequence included: what is learnt."""


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt format; `source` is Jinja in the dialect of Hugging Face chat templates."""

    name: str
    source: str
    shipped: bool = False
    """Whether it is part of this package, and so needs no sandbox."""

    @cached_property
    def one_round(self) -> bool:
        """True when the format knows one instruction and one answer only: earlier turns cannot be shown."""
        return self.source.startswith(ONE_ROUND_MARK)

    @property
    def fingerprint(self) -> str:
        """What decides the text and what is learnt of it: a cache goes by it."""
        return self.source

    def render(
        self,
        messages: Sequence[Message],
        eos_token: str,
        *,
        for_answer: bool = False,
        answer_prefix: str = "",
    ) -> Rendered:
        """Text and learnt spans of `messages`.

        `for_answer` ends the text where the assistant begins to speak, then puts `answer_prefix`
        (the first words of the answer) behind it. Raises UserError when the format cannot show
        these messages, for example several rounds in the Alpaca format.
        """
        plain = [message.as_json() for message in messages]
        try:
            text, spans = self._rendered(plain, {"add_generation_prompt": for_answer, "eos_token": eos_token})
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"template {self.name}: {error}", "use a template that can show this conversation"
            ) from error
        if not all(message.learnt for message in messages):
            answers = [message for message in messages if message.role == "assistant"]
            if len(answers) != len(spans):
                raise UserError(
                    f"template {self.name} does not mark every answer, so single ones cannot be left unlearnt",
                    "use a template that puts {% generation %} around each answer",
                )
            spans = tuple(span for span, answer in zip(spans, answers, strict=True) if answer.learnt)
        return Rendered(text + answer_prefix, spans)

    def _rendered(
        self, messages: list[dict[str, str]], settings: dict[str, Any]
    ) -> tuple[str, tuple[tuple[int, int], ...]]:
        if self.shipped:
            return render_shipped(self.source, {"messages": messages, **settings})
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, spans = render_jinja_template(
            [messages], chat_template=self.source, return_assistant_tokens_mask=True, **settings
        )
        return texts[0], tuple((int(start), int(end)) for start, end in spans[0])

    def chat_template(self, first_token: str | None) -> str:
        """The Jinja text for a model folder; begins with the token that the tokenizer itself would put first.

        Servers tokenise rendered chat templates without adding special tokens, so the text has to
        carry what the tokenizer adds in training.
        """
        if first_token is None:
            return self.source
        quoted = first_token.replace("\\", "\\\\").replace("'", "\\'")
        return f"{{{{- '{quoted}' -}}}}{FIRST_TOKEN_MARK}" + self.source


def template_names() -> list[str]:
    """Names of the prompt formats that the package ships."""
    return names(PROMPTS, ".jinja")


def load_template(name_or_path: str) -> PromptTemplate:
    """A shipped format by name, or a Jinja file by path; UserError when there is none or it marks nothing to learn."""
    if name_or_path.endswith(".jinja"):
        source = _file_text(Path(name_or_path))
        template = PromptTemplate(Path(name_or_path).stem, source)
    elif name_or_path in (OWN, AUTO):
        raise UserError(
            f"template {name_or_path} means the chat template of a model, and no model is given here",
            f"name one of these: {', '.join(template_names())}",
        )
    else:
        source = resource(PROMPTS, name_or_path, ".jinja", "template").read_text(encoding="utf-8")
        template = PromptTemplate(name_or_path, source, shipped=True)
    if "endgeneration" not in source:
        raise UserError(
            f"template {name_or_path} marks nothing to learn",
            "put {% generation %} ... {% endgeneration %} around what the assistant says, end-of-sequence included",
        )
    return template


def _file_text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read template {path}: {error}", "give a UTF-8 text file") from error


def folder_template(folder: Path) -> PromptTemplate | None:
    """The format stored in a model folder (`chat_template.jinja`, or inside `tokenizer_config.json`); None without one.

    In one that packtrain wrote, the marks say what is learnt, and a first token written by `chat_template` is taken off
    again: the tokenizer adds it. What is learnt with any other is found by rendering (see `own_template`).
    """
    from packtrain.prompts.own_template import own_template
    from packtrain.prompts.tokenizer import load_tokenizer

    source = _stored_source(folder)
    if source is None:
        return None
    cached = folder.parent.name == "snapshots"  # of the Hub's cache: models--OWNER--NAME/snapshots/COMMIT
    name = f"{folder.parent.parent.name.rpartition('--')[2] if cached else folder.name}/chat_template"
    _, mark, without_first_token = source.partition(FIRST_TOKEN_MARK)
    source = without_first_token if mark else source
    if "endgeneration" in source and (mark or source.startswith(SHIPPED_MARK)):
        return PromptTemplate(name, source)
    return own_template(name, source, load_tokenizer(folder))


def _stored_source(folder: Path) -> str | None:
    """The Jinja text in a model folder: of several templates the one called default."""
    import json

    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if file.exists():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read template {file}: {error}", "mend the file or fetch it again") from error
    if not config.exists():
        return None
    try:
        stored = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
        if isinstance(stored, list):
            stored = {one["name"]: one["template"] for one in stored}.get("default")
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise UserError(f"{config} is not a JSON object ({error})", "mend the file or fetch it again") from error
    return stored if isinstance(stored, str) else None


def template_for(folder: Path, name: str | None) -> PromptTemplate:
    """The named format, else the one stored in the model folder; UserError when there is neither.

    `own` and `auto` are the folder's own, to train with: UserError when nothing can be learnt with it. Without one,
    `auto` is tulu; what it is, is said. A Jinja file without marks is treated as the folder's own template is.
    """
    from packtrain.prompts.own_template import own_template, ready_to_teach
    from packtrain.prompts.tokenizer import load_tokenizer

    if name not in (None, OWN, AUTO):
        path = Path(name or "")
        if path.suffix == ".jinja" and "endgeneration" not in (source := _file_text(path)):
            return ready_to_teach(own_template(path.stem, source, load_tokenizer(folder)))
        return load_template(name or "")
    stored = folder_template(folder)
    if name == AUTO:
        chosen = f"{FALLBACK}, because the base has no chat template" if stored is None else "the base's chat template"
        say(f"prompt format: {chosen}")
        stored = stored or load_template(FALLBACK)
    if stored is None:
        hint = "name one: --template tulu, or --template alpaca" if name is None else f"train with template={FALLBACK}"
        raise UserError(f"{folder} stores no prompt format", hint)
    return stored if name is None else ready_to_teach(stored)
