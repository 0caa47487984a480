"""A lower bound on the tokens of a prompt, without a tokenizer: a smaller count says that the prompt was truncated."""

from __future__ import annotations

import re

Messages = list[dict[str, str]]

#: Words, numbers and signs: tokenizers give at least about this many tokens.
_PIECES = re.compile(r"[^\W\d_]+|\d+|[^\w\s]+|_+")
_LEAST_TOKENS = 0.8


def least_tokens(messages: Messages) -> int:
    """A lower bound on the tokens of a prompt with any tokenizer, and on the count of a server that read all of it."""
    return int(_LEAST_TOKENS * sum(len(_PIECES.findall(message["content"])) for message in messages))
