"""Rendering of the formats that packtrain ships: what transformers makes of them, several times faster.

transformers compiles every chat template for a sandbox, because a template from a model folder is code of
a stranger, and finds what the assistant says by joining the text so far at every mark. The templates in
this package need no sandbox, and a marked block can simply say that it is one.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Macro


class _Learnt(str):
    """A piece of text that stands between the generation marks."""

    __slots__ = ()


class _GenerationMarks(Extension):
    """`{% generation %} ... {% endgeneration %}`: the text between them, marked."""

    tags = {"generation"}  # noqa: RUF012 - declared so by the base class

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Macro) -> str:
        return _Learnt(caller())


def render_shipped(source: str, variables: Mapping[str, Any]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text of a trusted template and the character ranges [start, end) between its generation marks.

    Raises jinja2.TemplateError as the template does.
    """
    template = _compiled(source)
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    try:
        for piece in template.root_render_func(template.new_context(dict(variables))):
            end = length + len(piece)
            if isinstance(piece, _Learnt):
                spans.append((length, end))
            pieces.append(piece)
            length = end
    except Exception:
        template.environment.handle_exception()
    return "".join(pieces), tuple(spans)


def _raise(message: str) -> None:
    raise TemplateError(message)


@cache
def _compiled(source: str) -> Template:
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationMarks])
    environment.globals["raise_exception"] = _raise
    return environment.from_string(source)
