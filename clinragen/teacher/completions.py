"""Parse a chat completion of various servers into text, finish reason, token counts and log-probabilities.

Text comes as one string, as a list of parts, as a stream, or only as reasoning; counts have several names, with or
without cached tokens. Parsing is lenient, and takes time in proportion to the input.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Keys in which reasoning models put their text when the content is empty.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_NO_ANSWER_PARTS = ("thinking", "redacted_thinking", "reasoning", "reasoning.text", "reasoning.summary", "tool_use")
_DEEPEST_PART = 4


@dataclass(frozen=True)
class Answer:
    """A server's response.

    Attributes:
        finish_reason: as the server states it, or "unknown".
        usage: the server's counts, as far as it returns them: prompt_tokens (including cached ones, if stated),
            completion_tokens and reasoning_tokens (part of completion_tokens).
        logprobs: for each token of the answer [token, log-probability, [[token, log-probability] of alternatives]].
    """

    text: str
    finish_reason: str
    usage: dict[str, int]
    model: str
    logprobs: list[list[Any]] | None = None


class UnreadableError(ValueError):
    """A body that is no chat completion. ``str(error)`` says why, without quoting the server."""


def read(body: bytes) -> Answer:
    """An answer from the body of a response.

    Raises:
        UnreadableError: incomplete JSON, another structure, no choices, or an interrupted stream.
    """
    stream = body.lstrip()[:6].startswith((b"data:", b"event:", b"id:", b":"))
    data = _of_stream(body) if stream else _json(body)
    if not isinstance(data, dict) or "choices" not in data:
        raise UnreadableError("answer is no chat completion")
    choices = data["choices"]
    if not isinstance(choices, list) or not choices:
        raise UnreadableError("answer without choices")
    choice = choices[0] if isinstance(choices[0], dict) else {}
    message = choice.get("message")
    if message is None and isinstance(choice.get("text"), str):  # the legacy completions format
        message = {"content": choice["text"]}
    if not isinstance(message, dict):
        raise UnreadableError("answer without a message")
    text, finish = _text(message), choice.get("finish_reason")
    if not text and isinstance(message.get("refusal"), str) and message["refusal"]:
        finish = "refusal"
    if isinstance(finish, dict):
        finish = finish.get("type")
    return Answer(
        text, name(finish), _counts(data.get("usage")), name(data.get("model")), _logprobs(choice.get("logprobs"))
    )


def name(sent: Any) -> str:
    """A short word that may be shown; anything longer could be the prompt echoed back."""
    return sent if isinstance(sent, str) and re.fullmatch(r"[\w./:@+-]{1,100}", sent) else "unknown"


def _json(body: bytes | str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableError("answer is no whole JSON") from None


def _of_stream(body: bytes) -> dict[str, Any]:
    """Join server-sent events into one completion."""
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UnreadableError("answer is no whole JSON") from None
    pieces: dict[str, list[str]] = {"content": [], **{thoughts: [] for thoughts in _THOUGHTS}}
    whole: dict[str, Any] = {"choices": []}
    finish, steps, ended, begun = None, [], False, False
    for payload in (line[5:].strip() for line in lines if line.startswith("data:")):
        if payload == "[DONE]":
            ended = True
            continue
        chunk = _json(payload)
        if not isinstance(chunk, dict):
            raise UnreadableError("answer is no chat completion")
        whole |= {key: chunk[key] for key in ("model", "usage") if chunk.get(key)}
        for choice in chunk.get("choices") or ():
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            begun, finish = True, choice.get("finish_reason") or finish
            delta = choice.get("delta") or choice.get("message")
            for key, texts in pieces.items():
                texts += _pieces(delta.get(key), thoughts=key != "content") if isinstance(delta, dict) else []
            logprobs = choice.get("logprobs")
            steps += (logprobs.get("content") or []) if isinstance(logprobs, dict) else []
    if begun and not finish and not ended:
        raise UnreadableError("stream broke off")
    message = {key: "".join(texts) for key, texts in pieces.items()}
    if begun:
        whole["choices"] = [{"message": message, "finish_reason": finish, "logprobs": {"content": steps}}]
    return whole


def _text(message: dict[str, Any]) -> str:
    """The content, or the reasoning of a model that wrote everything there."""
    text = "".join(_pieces(message.get("content"), thoughts=False))
    for thoughts in _THOUGHTS:
        if text.strip():
            break
        text = "".join(_pieces(message.get(thoughts), thoughts=True))
    return text if text.strip() else ""


def _pieces(content: Any, *, thoughts: bool, depth: int = 0) -> Iterator[str]:
    """The strings of a content: itself, or those of its parts."""
    if isinstance(content, str):
        yield content
    elif depth >= _DEEPEST_PART:
        return
    elif isinstance(content, list):
        for part in content:
            yield from _pieces(part, thoughts=thoughts, depth=depth + 1)
    elif isinstance(content, dict):
        if not thoughts and content.get("type") in _NO_ANSWER_PARTS:
            return
        inner = next((content[key] for key in ("text", "content", "thinking", "summary") if content.get(key)), None)
        if inner is not None:
            yield from _pieces(inner, thoughts=thoughts, depth=depth + 1)
        elif "type" not in content:  # an object in place of text, from some servers that were asked for JSON
            yield json.dumps(content, ensure_ascii=False)


def _counts(usage: Any) -> dict[str, int]:
    """Token counts as ``Answer.usage``."""
    if not isinstance(usage, dict):
        return {}
    prompt = _first(usage, "prompt_tokens", "input_tokens")
    completion = _first(usage, "completion_tokens", "output_tokens")
    cached = max(
        _first(usage, "prompt_cache_hit_tokens") or 0,
        (_first(usage, "cache_read_input_tokens") or 0) + (_first(usage, "cache_creation_input_tokens") or 0),
        _detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens"),
    )
    counts = {}
    if prompt is not None:
        # more cached tokens than tokens in total: this server does not count cached ones as prompt tokens
        counts["prompt_tokens"] = max(
            prompt + (cached if cached > prompt else 0), (_first(usage, "total_tokens") or 0) - (completion or 0)
        )
    if completion is not None:
        counts["completion_tokens"] = completion
    if thought := _detail(usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens"):
        counts["reasoning_tokens"] = thought
    return counts


def _first(usage: dict[str, Any], *names: str) -> int | None:
    return next((count for key in names if (count := _count(usage.get(key))) is not None), None)


def _detail(usage: dict[str, Any], places: tuple[str, ...], key: str) -> int:
    return max(
        (_count(usage[section].get(key)) or 0 for section in places if isinstance(usage.get(section), dict)), default=0
    )


def _count(sent: Any) -> int | None:
    """A number of tokens, from any JSON number or numeric string."""
    if isinstance(sent, str) and sent.isascii() and sent.isdigit() and len(sent) < 12:
        return int(sent)
    if isinstance(sent, bool) or not isinstance(sent, int | float) or not 0 <= sent < 1e11:
        return None
    return int(sent)


def _logprobs(sent: Any) -> list[list[Any]] | None:
    """Log-probabilities in the form of ``Answer``; None if absent or malformed."""
    steps = sent.get("content") if isinstance(sent, dict) else None
    try:
        return [
            [*_step(step), [_step(other) for other in step.get("top_logprobs") or ()]] for step in steps or ()
        ] or None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _step(sent: dict[str, Any]) -> list[Any]:
    value = float(sent["logprob"])
    if math.isnan(value) or value > 0:
        raise ValueError
    # lone surrogates cannot be written to a file
    return [str(sent["token"]).encode("utf-8", "replace").decode(), max(value, -1e4)]
