"""Find the parameter that a server refuses, and the setting that solves it, from the text of a status 400.

Servers give the name in a field, in a path, or only in a sentence. Only names of parameters that were sent are
reported, since a message can contain the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

CONTEXT = "context"
#: The setting for each parameter that a request can have. Others are never sent.
REMEDIES = {
    "max_tokens": "server.max_tokens_name=max_completion_tokens, or server.omit=[max_tokens] for no limit; "
    "where it is too large, lower sampling.max_tokens",
    "max_completion_tokens": "server.max_tokens_name=max_tokens",
    "temperature": "server.omit=[temperature] leaves it to the server",
    "top_p": "server.omit=[top_p] leaves it to the server",
    "seed": "server.omit=[seed] leaves it out",
    "logprobs": "sampling.logprobs=false does without",
    "top_logprobs": "server.omit=[top_logprobs] leaves it out",
    "response_format": "structured=plain asks for plain text",
    "stream": "server.stream=true asks for a stream",
    "stream_options": "server.omit=[stream_options] leaves it out",
    "system": "server.system_role=false puts the instructions before the question",
}
#: Other names of these parameters in messages of servers.
_ALIASES = {
    "json_schema": "response_format",
    "guided_json": "response_format",
    "guided_decoding": "response_format",
    "structured_outputs": "response_format",
    "grammar": "response_format",
    "role": "system",
    "roles": "system",
    "developer": "system",
}
_TOO_LONG = re.compile(r"context[ _](?:length|window|size)|maximum context|prompt is too long|input is too long", re.I)
_COMPLAINT = re.compile(
    r"unsupported|not support|only support|unknown|unrecognized|unexpected|invalid|extra (?:inputs|fields|arguments)"
    r"|not (?:permitted|allowed|available|valid)|deprecated|must be|must alternate|cannot|no such",
    re.I,
)
#: Words that mean a parameter only in these contexts.
_IN_WORDS = {
    "system": re.compile(r"\bsystem[ _](?:role|message|prompt|instruction)", re.I),
    "stream": re.compile(
        r"only supports? stream|enable (?:the )?stream|\bstream\w* (?:mode|must be|is required)", re.I
    ),
}
#: The beginning of a message names the error; later parts quote the request.
_READ_CHARACTERS = 240
_SENTENCES = ("", "message", "msg", "error", "detail", "type", "code")
_MOST_VALUES = 200


def refused(body: bytes, sent: Collection[str]) -> str | None:
    """The parameter that an error is about, CONTEXT if the prompt is too long, or None.

    Args:
        body: body of the response with status 400 or 422, in any form.
        sent: names of the parameters of the request.
    """
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        reply = body[:4000].decode("utf-8", "replace")
    values = list(_values(reply))
    messages = [text for key, text in values if key in _SENTENCES]
    if any(_TOO_LONG.search(text[:_READ_CHARACTERS]) for text in messages):
        return CONTEXT
    for key, text in values:
        if key in ("param", "loc") and (parameter := _parameter(re.split(r"[.\[\]\s]+", text[:100]), sent)):
            return parameter
    for text in messages:
        if _COMPLAINT.search(text[:_READ_CHARACTERS]) and (parameter := _named(text, sent)):
            return parameter
    return None


def _named(text: str, sent: Collection[str]) -> str | None:
    """The parameter a sentence is about: one in quotes, else one in its last clause, else the first.

    A long message can contain the prompt, in which "temperature" is an ordinary word: there only quoted names count.
    """
    long, text = len(text) > _READ_CHARACTERS, text[:_READ_CHARACTERS]
    quoted = re.findall(r"['\"`]([\w.\[\]]{1,60})['\"`]", text)
    vague = [word for word, company in _IN_WORDS.items() if not company.search(text)]
    clause = text.rpartition(": ")[2]  # "a and b cannot both be given: b is not allowed"
    for words in (quoted, *(re.findall(r"\w+", part) for part in (clause, text) if not long)):
        plain = words if words is quoted else [word for word in words if word.lower() not in vague]
        if parameter := _parameter(plain, sent):
            return parameter
    return None


def _parameter(words: list[str], sent: Collection[str]) -> str | None:
    for word in words:
        parameter = _ALIASES.get(word.lower(), word.lower())
        if parameter == "stream" and "stream" in sent:
            continue
        if parameter in REMEDIES and (parameter in sent or parameter in ("system", "stream")):
            return parameter
    return None


def _values(reply: Any) -> Iterator[tuple[str, str]]:
    """(key, text) of the strings in an error, breadth first, among the first ``_MOST_VALUES`` values."""
    waiting: list[tuple[str, Any]] = [("", reply)]
    for key, value in waiting:
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            waiting += [(str(inner), other) for inner, other in value.items()][:_MOST_VALUES]
        elif isinstance(value, list):
            waiting += [(key, other) for other in value[:_MOST_VALUES]]
        if len(waiting) > _MOST_VALUES:
            del waiting[_MOST_VALUES:]
