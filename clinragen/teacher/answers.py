"""Checks of an LLM's response before it counts as a rationale: not truncated, well-formed, of the right length."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from clinragen.chart.wording import words
from clinragen.choices import RationaleKind
from clinragen.label_sets import LabelSet
from clinragen.teacher.journal import Record
from clinragen.teacher.prompts import MOST_WORDS, OPENINGS
from clinragen.teacher.settings import ModelSettings
from clinragen.teacher.tokens import Messages, least_tokens
from clinragen.teacher.unwrap import NoAnswerFoundError, unwrap

#: Finish reasons by which servers say that an answer is complete, in lower case.
_FINISHED = (
    "stop", "eos", "eos_token", "end_turn", "end_of_turn", "stop_sequence", "stop_token", "stop_string", "complete",
    "completed", "finish", "finished", "done", "end",
)  # fmt: skip
_CUT = (
    "length",
    "max_tokens",
    "max_output_tokens",
    "max_completion_tokens",
    "model_length",
    "token_limit",
    "max_length",
)
_FILTERED = ("content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii")
_OTHER = {
    "tool_calls": "tool call",
    "function_call": "tool call",
    "tool_use": "tool call",
    "refusal": "refused by the model",
    **dict.fromkeys(("abort", "aborted", "cancelled", "error", "timeout", "network_error"), "stopped by the server"),
    "insufficient_system_resource": "stopped by the server",
}
_MARKUP = re.compile(r"```|\*\*|^#|^[ \t]*[-*]\s|</?\w+>|BEGIN PATIENT|END PATIENT|<\|", re.M)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_LISTED = "Diagnoses:"
_DIAGNOSES = re.compile(rf"\A\s*{_LISTED}[ \t]*(?P<names>[^\n]*)\n+(?P<rationale>.*)\Z", re.S)
#: Upper bound on the mean word length of a rationale; it bounds the length of the text.
_MOST_CHARACTERS_PER_WORD = 40
#: The reason of an answer that reached the limit of its tokens.
CUT = "answer cut by length"
#: What a user can do about rejected answers, by the beginning of the reason.
REMEDIES = {
    CUT: "raise sampling.max_tokens",
    "reasoning without an answer": "raise sampling.max_tokens, or switch off the thoughts of the model",
    "server counts no tokens": "server.require_usage=false takes answers without proof that the prompt was read whole",
    "prompt cut by the server": "give the server a longer context; if it leaves cached tokens out of its count, set "
    "server.counts_prompt=false",
}


class BadAnswerError(Exception):
    """Why an answer is rejected, in a few words for the counts; never its text."""


@dataclass(frozen=True)
class Draft:
    """A well-formed rationale. ``diagnoses``: phenotype keys if the teacher had to find them itself, else None."""

    text: str
    diagnoses: tuple[str, ...] | None
    shortened: bool = False


def check_whole(
    record: Record,
    messages: Messages,
    most_tokens: int,
    *,
    require_usage: bool = True,
    counts_prompt: bool = True,
) -> None:
    """Reject a truncated prompt or answer, by the server's finish reason and token counts.

    Args:
        record: the journaled answer.
        messages: the prompt.
        most_tokens: the limit of an answer.
        require_usage: reject answers without token counts.
        counts_prompt: whether the server's count of prompt tokens is reliable.

    Raises:
        BadAnswerError: one of them was truncated, or the server returns no counts.
    """
    _check_end(record["finish_reason"].lower().rpartition(".")[2], record["usage"], most_tokens, record["text"])
    check_prompt(record, messages, require_usage=require_usage, counts_prompt=counts_prompt)


def check_prompt(record: Record, messages: Messages, *, require_usage: bool = True, counts_prompt: bool = True) -> None:
    """Reject the answer to a truncated prompt; arguments and errors as of ``check_whole``."""
    if not counts_prompt:
        return
    usage = record["usage"]
    prompt_tokens = usage.get("prompt_tokens")
    if prompt_tokens is None or (prompt_tokens == 0 and not usage.get("completion_tokens")):
        if require_usage:
            raise BadAnswerError("server counts no tokens")
    elif 0 < prompt_tokens < least_tokens(messages):  # 0: all of it was read from the server's cache
        raise BadAnswerError("prompt cut by the server")


def _check_end(reason: str, usage: dict[str, int], most_tokens: int, text: str) -> None:
    """Reject an answer that is not complete by its finish reason or, without one, its token count."""
    written = usage.get("completion_tokens")
    if written is not None and written > most_tokens:  # some servers do not limit reasoning tokens, but count them
        written -= usage.get("reasoning_tokens", 0)
    if reason in _CUT or (written or 0) >= most_tokens:
        raise BadAnswerError(CUT)
    if reason in _FILTERED:
        raise BadAnswerError("finish reason content_filter")
    if reason in _OTHER:
        raise BadAnswerError(_OTHER[reason])
    if reason not in _FINISHED and not written and not text.rstrip().endswith((".", "!", "?", "}", "`", '"')):
        raise BadAnswerError("answer perhaps cut: neither a finish reason nor a count of tokens")


def is_cut(record: Record, messages: Messages, settings: ModelSettings) -> bool:
    """Whether an answer reached its limit, which leaves the head of a list.

    Args:
        record: the journaled answer.
        messages: the prompt.
        settings: of the model.

    Raises:
        BadAnswerError: it has another fault.
    """
    server = settings.server
    limits = {"require_usage": server.require_usage, "counts_prompt": server.counts_prompt}
    check_prompt(record, messages, **limits)
    try:
        check_whole(record, messages, settings.sampling.max_tokens, **limits)
    except BadAnswerError as error:
        if str(error) != CUT:
            raise
        return True
    return False


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of an answer that is not a rationale, whatever the model wrapped it in; keys in lower case.

    Raises:
        BadAnswerError: there is none.
    """
    try:
        text = unwrap(text, ("{",))
    except NoAnswerFoundError:
        raise BadAnswerError("reasoning without an answer") from None
    try:
        value, _ = json.JSONDecoder().raw_decode(text[text.find("{") :] if "{" in text else text)
    except (ValueError, RecursionError):
        raise BadAnswerError("answer is no JSON") from None
    if not isinstance(value, dict):
        raise BadAnswerError("JSON of another form")
    return {str(key).strip().lower(): entry for key, entry in value.items()}


def parse(text: str, kind: RationaleKind, labels: LabelSet, *, reason: bool) -> Draft:
    """Extract the rationale from an answer, whatever the model wrapped it in.

    JSON is parsed whether or not it was requested: servers ignore a schema, and models write JSON without one.

    Args:
        text: the answer.
        kind: note or series.
        labels: the allowed diagnoses.
        reason: the answer must also name diagnoses.

    Raises:
        BadAnswerError: any other form.
    """
    if not text.strip():
        raise BadAnswerError("empty answer")
    try:
        text = unwrap(text, (_LISTED,) if reason else (OPENINGS[kind],))
    except NoAnswerFoundError:
        raise BadAnswerError("reasoning without an answer") from None
    if not text:
        raise BadAnswerError("empty answer")
    diagnoses: tuple[str, ...] | None = None
    if text.startswith(("{", "[")):
        data = _json(text, reason=reason)
        rationale = data["rationale"]
        if reason:
            diagnoses = _keys(data["diagnoses"], labels)
    elif reason:
        match = _DIAGNOSES.match(text)
        if match is None:
            raise BadAnswerError("no line of diagnoses")
        names = [name.strip(" .") for name in match["names"].split(";")]
        diagnoses = _keys([] if names in ([""], ["none"]) else names, labels)
        rationale = match["rationale"]
    else:
        rationale = text
    formed, cut = _formed(rationale, kind)
    return Draft(formed, diagnoses, cut)


def _json(text: str, *, reason: bool) -> dict[str, Any]:
    """The JSON object at the start of a text; extra keys are accepted, duplicate keys are not."""
    try:
        data, _ = json.JSONDecoder(object_pairs_hook=_once).raw_decode(text)
    except (ValueError, RecursionError):
        raise BadAnswerError("answer is no JSON") from None
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict) or not isinstance(data.get("rationale"), str):
        raise BadAnswerError("JSON of another form")
    names = data.get("diagnoses")
    if reason and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadAnswerError("JSON of another form")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise BadAnswerError("JSON of another form")
    return entries


def _keys(names: list[str], labels: LabelSet) -> tuple[str, ...]:
    keys = {name: key for key, name in labels.names.items()}
    if any(name.lower() not in keys for name in names):
        raise BadAnswerError("a diagnosis outside the list")
    named = {keys[name.lower()] for name in names}
    return tuple(key for key in labels if key in named)


def _formed(rationale: str, kind: RationaleKind) -> tuple[str, bool]:
    """The text on one line, truncated to whole sentences within the limit, and whether it was truncated."""
    rationale = rationale.strip().strip('"').strip()
    if _MARKUP.search(rationale):
        raise BadAnswerError("markup in the text")
    text = " ".join(rationale.split())
    if not text.startswith(OPENINGS[kind]):
        raise BadAnswerError("another opening")
    if not text.isprintable():
        raise BadAnswerError("control characters")
    sentences, room = [], MOST_WORDS[kind]
    for sentence in _SENTENCE.split(text)[: 1 if kind == "series" else None]:
        room -= words(sentence)
        if room < 0:
            break
        sentences.append(sentence)
    if not sentences or sum(map(len, sentences)) > _MOST_CHARACTERS_PER_WORD * MOST_WORDS[kind]:
        raise BadAnswerError("too long")
    short = " ".join(sentences)
    if words(short) <= len(OPENINGS[kind].split()) + 1:
        raise BadAnswerError("nothing after the opening")
    return (short if short[-1] in ".!?" else f"{short}."), short != text
