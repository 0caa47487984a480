"""Names that become part of a path: exactly one safe component."""

from __future__ import annotations

import re
from collections.abc import Collection

from clinragen.errors import UserError

#: File systems allow 255 bytes; suffixes and the mark of a temporary file need some of them.
_MOST_BYTES = 120
_NAME = re.compile(r"[^\W_](?:[\w.+@=,-]*[\w+@=-])?")


def file_name(what: str, name: str, *, suffixes: Collection[str] = ()) -> str:
    """``name`` itself, if it is a valid file name on any file system and cannot leave its folder.

    Args:
        what: its description in the error.
        name: the user's name.
        suffixes: reserved endings of other files.

    Raises:
        UserError: separators, only dots, control characters, too long, a reserved ending.

    >>> file_name("name", "llama-3.1-8b")
    'llama-3.1-8b'
    """
    if not _NAME.fullmatch(name) or len(name.encode(errors="replace")) > _MOST_BYTES:
        short = name if len(name) <= 24 else f"{name[:24]}..."
        raise UserError(
            f"{what} {short!a}: expected a name of a file, without a folder, made of letters, digits and . _ - + @ = , "
            f"which begins with a letter or digit and has at most {_MOST_BYTES} bytes"
        )
    if ending := next((suffix for suffix in suffixes if name.casefold().endswith(suffix)), None):
        raise UserError(f"{what} '{name}': names that end in {ending} are those of files beside the rationales")
    return name


def teacher_name(name: str) -> str:
    """The name of a rationale set, which is that of its files.

    Raises:
        UserError: it is no plain file name, or clashes with another file of a set.
    """
    return file_name("name of a teacher", name, suffixes=(".logprobs", ".journal", ".card", ".examples"))
