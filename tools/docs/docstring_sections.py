"""For mkdocstrings: lets the site show this project's docstrings, whose sections may be a line."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Args|Returns|Raises|Shapes|Source):[ ]*(.*)$")
_CODE_OR_SIGN = re.compile(r"(`[^`]+`)|([\[<*])")


def literal(text: str) -> str:
    """Signs that Markdown would read as links, tags or emphasis are shown as they are; code in backticks stays code."""
    return _CODE_OR_SIGN.sub(lambda match: match[1] or f"\\{match[2]}", text)


def separate_sections(text: str) -> str:
    """Sections begin after a blank line; those with words in their first line become paragraphs.

    `Args:` with indented names stays as it is, for griffe makes a table of it. What is indented below a paragraph's
    first line continues it.
    """
    lines: list[str] = []
    paragraph = False
    for line in literal(text).splitlines():
        if section := _SECTION.match(line):
            name, words = section.groups()
            paragraph = bool(words)
            lines += ["", f"**{name}:** {words}" if paragraph else f"{name}:"]
        else:
            paragraph = paragraph and bool(line.strip())
            lines.append(line.strip() if paragraph else line)
    return "\n".join(lines)


class DocstringSections(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = separate_sections(obj.docstring.value)
