"""The page of all commands and options, from the definitions that the command line itself reads."""

from __future__ import annotations

import re

from clinragen.cli import PROGRAM
from mimic_prep.cli import PROGRAM as PREPARATION

#: words in angle brackets or with stars are text, not HTML or emphasis
_MARKUP = re.compile(r"<(?=\w)")


def page() -> str:
    """What is put into the page, as Markdown: a section for each program, and one below it for each command."""
    parts: list[str] = []
    for program in (PREPARATION, PROGRAM):
        written = program.app().generate_docs(output_format="markdown", heading_level=2)
        parts.append(_MARKUP.sub("&lt;", written))
    return "\n".join(parts)
