"""Chat-template tokens, which separate speakers, also in lookalike characters."""

from __future__ import annotations

import re
import unicodedata

#: Lookalikes of the characters of these tokens; NFKC covers the full-width ones.
_LOOKALIKES = {
    "<": "‹〈⟨◁◀❮",
    ">": "›〉⟩▷▶❯",
    "|": "│┃∣ǀ❘￨▏▕¦",
    "_": "▁",
    "[": "【〔⟦",
    "]": "】〕⟧",
    "/": "⁄∕⧸",
    "`": "ˋ",
    "~": "∼〜",
}


class _Fold(dict[int, str]):
    """Code point -> its lookalike, character for character, so that offsets stay the same."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKC", chr(code)) if code > 0x7F else ""
        self[code] = plain if len(plain) == 1 and plain.isascii() else chr(code)
        return self[code]


class _Visible(dict[int, str]):
    """Code point -> itself, or nothing if invisible: such characters hide a token from a search, or reverse a line.

    Those are format characters (zero width, bidi, soft hyphen, tags), variation selectors, fillers and, but for line
    ends and tabs, control characters, which end no word in clinical text.
    """

    def __missing__(self, code: int) -> str:
        visible = unicodedata.category(chr(code)) not in ("Cf", "Cc", "Cs")
        self[code] = chr(code) if visible else ""
        return self[code]


#: Folds look-alikes, one character for one.
FOLD = _Fold({ord(other): plain for plain, others in _LOOKALIKES.items() for other in others})
#: Removes invisible characters.
VISIBLE = _Visible(
    dict.fromkeys([0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)], "")
    | {
        ord("\t"): "\t",
        ord("\n"): "\n",
        ord("\r"): "\n",
        0x2028: "\n",
        0x2029: "\n",
        0x85: "\n",
        0x0B: "\n",
        0x0C: "\n",
    }
)
_WORDS = (
    r"s|bos|eos|pad|unk|mask|think|thinking|thought|reasoning|analysis|reflection|answer|system|user|assistant|human|model"
    r"|tool|tools|instructions?|image|img|audio|video|eot|eom|sop|eop|0x[0-9a-f]{2}|unused\d+|[a-z]+(?:[_:][a-z0-9]+)+"
)
#: Tokens in brackets. ``<|`` and ``|>`` are removed even alone, since two halves could form a token.
MARKS = re.compile(
    r"<\|[^|<>\n]{0,64}\|>|<\||\|>"
    rf"|<<?/?(?:{_WORDS})>>?|<</?sys>>"
    r"|\[/?(?:inst|system_prompt|available_tools|tool_calls?|tool_results?|tool_content|think|args|call_id|[gs]mask"
    r"|prefix|suffix|middle|control_\d+)\]",
    re.I,
)
