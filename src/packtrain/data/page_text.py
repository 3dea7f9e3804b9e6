"""Markdown out of the HTML that web pages of chat programs hold."""

import re
from html.parser import HTMLParser

SKIPPED = {"button", "svg", "script", "style", "head"}
"""Elements that are left out with all they hold."""
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_PARAGRAPHS = {"p", "table", "blockquote", "pre", "ul", "ol", *_HEADINGS}
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~"}
_LANGUAGE = re.compile(r"\blanguage-([\w+#.-]+)")
_MANY_LINES = re.compile(r"\n{3,}")
_DEEPEST_INDENTED = 10
"""Lists inside lists are indented up to here: thousands of them, never closed, would become gigabytes of spaces."""
_NAME_PIECES = 8
"""Pieces of text that the name of a language over a block of code consists of at most."""


def markdown(html: str) -> str:
    """The text of a fragment of HTML as Markdown: paragraphs, headings, lists, tables, emphasis, links and code.

    Buttons, drawings and scripts are left out (they must be closed), code keeps every character. Other tags that are
    unknown or not closed are taken as what they hold.
    """
    parser = _Page()
    end = html.rfind(">") + 1
    parser.feed(html[:end] + html[end:].replace("<", "&lt;"))  # no tag ends there: the parser would look at each again
    parser.close()
    return parser.text()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._skipping = 0
        self._pre = 0
        self._language = ""
        self._code: list[str] = []
        self._lists: list[int | None] = []
        self._cells: list[str] = []
        self._cell_start: int | None = None
        self._rows = 0
        self._links: list[str] = []

    def text(self) -> str:
        """The Markdown so far; a code block or a row that was not closed ends here."""
        if self._pre:
            self._pre = 0
            self._end_code_block()
        self._end_row()
        return _MANY_LINES.sub("\n\n", "".join(self._parts)).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in SKIPPED:
            self._skipping += 1
        elif tag == "pre":
            self._pre += 1
        elif self._pre:
            if tag == "code":
                found = _LANGUAGE.search(given.get("class", ""))
                self._language = found[1] if found else ""
                if len(self._code) <= _NAME_PIECES and len("".join(self._code).split()) == 1:
                    self._code = []  # the name of the language over the block
        elif tag in ("ul", "ol"):
            start = given.get("start", "1")
            self._lists.append(None if tag == "ul" else int(start) if start.isdecimal() and len(start) < 9 else 1)
            self._parts.append("\n" if len(self._lists) > 1 else "\n\n")
        elif tag == "li":
            self._begin_item()
        elif tag == "tr":
            self._end_row()
        elif tag in ("td", "th"):
            self._cell_start = len(self._parts)
        elif tag == "a":
            self._links.append(given.get("href", ""))
            self._parts.append("[" if self._links[-1] else "")
        elif tag == "img":
            self._parts.append(f"![{given.get('alt', '')}]({given['src']})" if given.get("src") else "")
        elif tag == "br":
            self._parts.append("\n")
        elif tag == "hr":
            self._parts.append("\n\n---\n\n")
        elif tag in _MARKS:
            self._parts.append(_MARKS[tag])
        elif tag == "code":
            self._parts.append("`")
        elif tag in _PARAGRAPHS and not (tag == "p" and self._lists):
            self._parts.append("\n\n" + _HEADINGS.get(tag, "> " if tag == "blockquote" else ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in SKIPPED:
            self._skipping = max(self._skipping - 1, 0)
        elif tag == "pre" and self._pre:
            self._pre -= 1
            if not self._pre:
                self._end_code_block()
        elif self._pre:
            return
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._parts.append("" if self._lists else "\n\n")
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._end_row()
            self._rows = 0
            self._parts.append("\n\n")
        elif tag == "a" and self._links:
            href = self._links.pop()
            self._parts.append(f"]({href})" if href else "")
        elif tag in _MARKS:
            self._parts.append(_MARKS[tag])
        elif tag == "code":
            self._parts.append("`")
        elif tag in _PARAGRAPHS:
            self._parts.append("\n\n" if not self._lists else "\n" if tag == "p" else "")
        elif tag == "div":
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if self._pre:
            self._code.append(data)
        elif data.strip() or "\n" not in data:
            self._parts.append(data)

    def _begin_item(self) -> None:
        depth = min(max(len(self._lists) - 1, 0), _DEEPEST_INDENTED)
        number = self._lists[-1] if self._lists else None
        if self._lists and number is not None:
            self._lists[-1] = number + 1
        mark = "- " if number is None else f"{number}. "
        if self._parts and not self._parts[-1].endswith("\n"):
            self._parts.append("\n")
        self._parts.append("   " * depth + mark)

    def _end_code_block(self) -> None:
        code = "".join(self._code).strip("\n")
        fence = "```" if "```" not in code else "````"
        self._parts.append(f"\n\n{fence}{self._language}\n{code}\n{fence}\n\n")
        self._code, self._language = [], ""

    def _end_cell(self) -> None:
        if self._cell_start is None:
            return
        cell = " ".join("".join(self._parts[self._cell_start :]).split())
        del self._parts[self._cell_start :]
        self._cell_start = None
        self._cells.append(cell.replace("|", "\\|"))

    def _end_row(self) -> None:
        self._end_cell()
        cells, self._cells = self._cells, []
        if not cells:
            return
        lines = ["| " + " | ".join(cells) + " |\n"]
        if not self._rows:
            lines = ["\n\n", *lines, "|" + " --- |" * len(cells) + "\n"]
        self._rows += 1
        self._parts.extend(lines)
