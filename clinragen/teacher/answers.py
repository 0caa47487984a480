"""What an LLM's answer must be to count as a rationale at all: whole, in form, of the right length."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from clinragen.catalog import phenotypes
from clinragen.teacher.prompts import MOST_WORDS, OPENINGS
from clinragen.teacher.tokens import Messages, least_tokens
from clinragen.teacher.wording import words

_FINISHED = ("stop", "eos", "eos_token", "end_turn")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.S)
_MARKUP = re.compile(r"```|\*\*|^#|^\s*[-*]\s|</?\w+>|BEGIN PATIENT|END PATIENT|<\|", re.M)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_DIAGNOSES = re.compile(r"\A\s*Diagnoses:\s*(?P<names>[^\n]*)\n+(?P<rationale>.*)\Z", re.S)


class BadAnswerError(Exception):
    """Why an answer is no rationale, in a few words for the count; never its text."""


@dataclass(frozen=True)
class Draft:
    """A rationale in form. ``diagnoses``: phenotype keys where the teacher was to find them itself, else None."""

    text: str
    diagnoses: tuple[str, ...] | None
    shortened: bool = False


def check_whole(record: dict[str, Any], messages: Messages, most_tokens: int, *, require_usage: bool) -> None:
    """Neither the prompt nor the answer was cut, by the server's own count.

    Raises:
        BadAnswerError: one of them was, or the server does not count.
    """
    reason, usage = record["finish_reason"], record["usage"]
    if reason == "length" or usage.get("completion_tokens", 0) >= most_tokens:
        raise BadAnswerError("answer cut by length")
    if reason not in _FINISHED:
        raise BadAnswerError(f"finish reason {reason if reason in ('content_filter', 'tool_calls') else 'unknown'}")
    if "prompt_tokens" not in usage:
        if require_usage:
            raise BadAnswerError("server counts no tokens")
    elif usage["prompt_tokens"] < least_tokens(messages):
        raise BadAnswerError("prompt cut by the server")


def parse(text: str, kind: str, *, reason: bool, structured: bool) -> Draft:
    """The rationale in an answer.

    Args:
        reason: diagnoses are expected, too.
        structured: JSON was asked for; a server that ignores that may still answer in plain form.

    Raises:
        BadAnswerError: any other form.
    """
    text = _THOUGHTS.sub("", text).strip()
    if not text:
        raise BadAnswerError("empty answer")
    found: tuple[str, ...] | None = None
    if structured and text.startswith("{"):
        data = _json(text, reason=reason)
        rationale = data["rationale"]
        if reason:
            found = _keys(data["diagnoses"])
    elif reason:
        match = _DIAGNOSES.match(text)
        if match is None:
            raise BadAnswerError("no line of diagnoses")
        names = [name.strip(" .") for name in match["names"].split(";")]
        found = _keys([] if names in ([""], ["none"]) else names)
        rationale = match["rationale"]
    else:
        rationale = text
    formed, cut = _formed(rationale, kind)
    return Draft(formed, found, cut)


def _json(text: str, *, reason: bool) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        raise BadAnswerError("answer is no JSON") from None
    expected = {"diagnoses", "rationale"} if reason else {"rationale"}
    if not isinstance(data, dict) or set(data) != expected or not isinstance(data["rationale"], str):
        raise BadAnswerError("JSON of another form")
    if reason and not (isinstance(data["diagnoses"], list) and all(isinstance(n, str) for n in data["diagnoses"])):
        raise BadAnswerError("JSON of another form")
    return data


def _keys(names: list[str]) -> tuple[str, ...]:
    known = {phenotype.name: key for key, phenotype in phenotypes().items()}
    if any(name.lower() not in known for name in names):
        raise BadAnswerError("a diagnosis outside the list")
    chosen = {known[name.lower()] for name in names}
    return tuple(key for key in phenotypes() if key in chosen)


def _formed(rationale: str, kind: str) -> tuple[str, bool]:
    """The text in one line, cut to whole sentences within the limit, and whether it had to be cut."""
    rationale = rationale.strip().strip('"').strip()
    if _MARKUP.search(rationale):
        raise BadAnswerError("markup in the text")
    text = " ".join(rationale.split())
    if not text.startswith(OPENINGS[kind]):
        raise BadAnswerError("another opening")
    if not text.isprintable():
        raise BadAnswerError("control characters")
    sentences = _SENTENCE.split(text)
    kept = sentences[:1] if kind == "series" else sentences
    while kept and words(" ".join(kept)) > MOST_WORDS[kind]:
        kept = kept[:-1]
    if not kept:
        raise BadAnswerError("too long")
    short = " ".join(kept)
    if words(short) <= len(OPENINGS[kind].split()) + 1:
        raise BadAnswerError("nothing after the opening")
    return (short if short[-1] in ".!?" else f"{short}."), short != text
