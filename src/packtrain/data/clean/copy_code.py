"""Strip the words `Copy code` that the web page's button leaves over a code block.

Source: clean_sharegpt.py of FastChat. The words go when they open a fenced block, with or without a language before
them, or stand alone under the name of a language, as in text that was copied from the page.
"""

import re

from packtrain.core.conversation import Conversation
from packtrain.data.clean import Stage
from packtrain.data.texts import rewritten

STAGE = Stage.RESIDUE

_LANGUAGES = (
    "arduino|asm|assembly|bash|basic|c|clojure|cpp|c\\+\\+|csharp|c#|css|csv|dart|diff|dockerfile|elixir|go|golang|"
    "graphql|groovy|haskell|html|http|ini|java|javascript|js|json|jsx|julia|kotlin|latex|less|lua|makefile|markdown|"
    "mathematica|matlab|nginx|objectivec|perl|php|plaintext|powershell|prolog|python|py|r|ruby|rust|scala|scss|shell|"
    "sql|swift|text|toml|ts|tsx|typescript|vb|vbnet|vue|xml|yaml|yml|glsl|lisp|scheme|mermaid|makefile|vba|"
    "sh|cmake|stylus|svelte|wasm|apache|awk|sass|erlang|fortran|ocaml|pascal|delphi|abap|solidity"
)
_MOST_LAYERS = 50
"""A text with more of them over one another than a page has ever shown is none of a page."""
_FENCED = re.compile(r"^(?P<fence>[ \t]*```)[ \t]*\n?[ \t]*(?P<language>[\w#+.-]{0,20}?)\s*(?:Copy code)+\n?", re.M)
_UNDER_NAME = re.compile(rf"^(?P<language>{_LANGUAGES})[ \t]*\n?(?:Copy code[ \t]*)+(?:\n|(?=\S))", re.M | re.I)


def apply(conversation: Conversation) -> Conversation | str:
    """The conversation without the button's words, in questions too, where people paste earlier answers."""
    return rewritten(rewritten(conversation, _stripped), _stripped, "user")


def _stripped(text: str) -> str:
    """The text without them; they may stand over one another, so until nothing changes."""
    before, layers = text, 0
    while "Copy code" in text:
        found = _FENCED.sub(r"\g<fence>\g<language>\n", text)
        found = _UNDER_NAME.sub(lambda match: match["language"] + "\n", found)
        if found == text:
            break
        text, layers = found, layers + 1
        if layers > _MOST_LAYERS:
            return before
    return text
