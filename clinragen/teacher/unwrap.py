"""Extract the answer from a model's output: remove reasoning, chat-template tokens, code fences and polite phrases.

Models are distinguished by their tokens, not by name; those of each family are listed once. Linear in the text.
"""

from __future__ import annotations

import re

_THINK = r"(?:[a-z]{1,12}[:_])?(?:think|thinking|thought|thoughts|reasoning|reflection|analysis)"
_THOUGHT_OPENS = re.compile(
    rf"<\s?{_THINK}\s?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|inner_prefix\|>|<unused94>"
    r"|<\|channel\|>\s?(?:analysis|commentary)|\A\s*Here is my thought process:",
    re.I,
)
#: End of the reasoning, even if it began in the prompt. In harmony it ends where the final channel begins.
_THOUGHT_CLOSES = re.compile(
    rf"<\s?/\s?{_THINK}\s?>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|inner_suffix\|>|<unused95>"
    r"|</details>|<\|channel\|>\s?final[^<\n]{0,40}(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>"
    r"|^Here is my response:",
    re.I | re.M,
)
_TAGS = r"(?:answer|final_answer|response|rationale|output|solution)"
_ANSWER_OPENS = re.compile(rf"<{_TAGS}>|<\|begin_of_solution\|>|<\|START_RESPONSE\|>|<\|begin_of_box\|>", re.I)
_ANSWER_CLOSES = re.compile(rf"</{_TAGS}>|<\|end_of_solution\|>|<\|END_RESPONSE\|>|<\|end_of_box\|>", re.I)
_MARK = r"<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|<[be]os>"
_HEAD = re.compile(rf"\A(?:\s|{_MARK}|(?:assistant|model)(?=\s*\n|<))+", re.I)
_END = re.compile(_MARK, re.I)
_LABEL = re.compile(
    r"[#*_>\s]{0,8}(?:(?:the|my|final)\s){0,2}(?:rationale|answer|response|output|sentence)[*_\s]{0,4}:[*_\s]{0,4}",
    re.I,
)
_QUOTES = "\"'“”„«»* "
_COURTESY = re.compile(
    r"\n[ \t]*\n[ \t]*(?:let me know|i hope|hope this|please |note:|\(?note that|feel free"
    r"|if you (?:need|have|would|want)|is there any|this rationale|\(?word count|---|done\b)",
    re.I,
)
_SPACES = dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000, *b"\t\v\f"], " ")
_JOINERS = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), "")  # invisible characters, not words
_PLAIN = str.maketrans({**_SPACES, **_JOINERS, "\u2028": "\n", "\u2029": "\n"})


class NoAnswerFoundError(ValueError):
    """Reasoning without an answer."""


def unwrap(text: str, starts: tuple[str, ...]) -> str:
    """The answer alone, or the unchanged text if no wrapping is recognised.

    Args:
        text: the model's output.
        starts: possible openings of an answer.

    Raises:
        NoAnswerFoundError: the reasoning never ends, and contains no answer.

    >>> unwrap("I look at it.</think> Here it is:\\n\\nLab test shows fever.<|im_end|>", ("Lab test",))
    'Lab test shows fever.'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_PLAIN)
    text = re.sub(r" {2,}", " ", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    text = _marked(_answer_of(text, starts)).strip()
    text = _fenced(text, starts).strip()
    if text.startswith(("{", "[")):
        return text
    plain = _from_start(text, starts)
    if plain is not None:
        return plain
    offset = text.find("\n{")
    return text[offset + 1 :] if offset >= 0 else text


def _answer_of(text: str, starts: tuple[str, ...]) -> str:
    """The text after the reasoning."""
    end = 0
    for close in _THOUGHT_CLOSES.finditer(text):
        end = close.end()
    if not end and text.startswith("analysis") and "assistantfinal" in text:  # harmony format without its tokens
        end = text.rindex("assistantfinal") + len("assistantfinal")
    text = text[end:]
    opened = _THOUGHT_OPENS.search(text)
    if opened is None:
        return text
    before = text[: opened.start()]
    if any(start in before for start in starts):
        return before
    answer = _from_start(text[opened.end() :], starts, last=True)
    if answer is None:
        raise NoAnswerFoundError
    return answer


def _marked(text: str) -> str:
    """The text within answer tags, else the text before an end token."""
    text = text[head.end() :] if (head := _HEAD.match(text)) else text
    if closes := _ANSWER_CLOSES.search(text):
        text = text[: closes.start()]
    begin = 0
    for opens in _ANSWER_OPENS.finditer(text):
        begin = opens.end()
    text = text[begin:]
    ends = _END.search(text)
    return text[: ends.start()] if ends else text


def _fenced(text: str, starts: tuple[str, ...]) -> str:
    """The content of the first fenced block, if it contains an answer."""
    lines = text.split("\n")
    marks = [(number, line.strip()[:3]) for number, line in enumerate(lines) if line.strip()[:3] in ("```", "~~~")]
    if not marks:
        return text
    first, kind = marks[0]
    last = next((number for number, mark in marks[1:] if mark == kind), len(lines))
    inside = "\n".join(lines[first + 1 : last])
    return inside if inside.lstrip().startswith(("{", "[", *starts)) else text


def _from_start(text: str, starts: tuple[str, ...], *, last: bool = False) -> str | None:
    """The text from the first (or ``last``) line that starts an answer, without labels, quotes and polite phrases."""
    if not any(start in text for start in starts):
        return None
    lines = text.split("\n")
    places = range(len(lines) - 1, -1, -1) if last else range(len(lines))
    for index in places:
        line = lines[index].lstrip(_QUOTES)
        line = line[label.end() :].lstrip(_QUOTES) if (label := _LABEL.match(line)) else line
        if line.startswith(starts) and not line.rstrip().endswith(":"):
            answer = "\n".join([line, *lines[index + 1 :]])
            end = _COURTESY.search(answer)
            answer = (answer[: end.start()] if end else answer).strip()
            return answer if line == lines[index] else answer.rstrip(_QUOTES)
    return None
