"""The page of all commands and options, from the definitions that the command line itself reads."""

from __future__ import annotations

import re

from clinragen.cli import PROGRAM
from mimic_prep.cli import PROGRAM as PREPARATION

#: words in angle brackets are text, not HTML
_MARKUP = re.compile(r"<(?=\w)")
#: of each program, beside the list of its commands
_CONTENTS = re.compile(r"^#+ Table of Contents\n.*?(?=^\*\*)", re.MULTILINE | re.DOTALL)


def page() -> str:
    """What is put into the page, as Markdown: a section for each program, and one below it for each command."""
    parts: list[str] = []
    for program in (PREPARATION, PROGRAM):
        written = program.app().generate_docs(output_format="markdown", heading_level=2)
        parts.append(_MARKUP.sub("&lt;", _CONTENTS.sub("", written)))
    return "\n".join(parts)
