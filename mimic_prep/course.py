"""Phrases that describe the hospital course, that is, events after the admission.

Preparation ends an exam at them; the audit counts the stays whose admission sections contain them.
"""

from __future__ import annotations

import re

_STAY = r"(?:stay|hospitali[sz]ation|hospital\s+stay|admission|hospital\s+course|icu\s+stay|micu\s+stay)"
_WARD = r"(?:the\s+)?(?:regular\s+|general\s+|medical\s+|surgical\s+)?(?:floors?|wards?)\b"
_COUNT = r"\s*(?:#|number|no\.?)?\s*(?:\d|one|two|three|four|five|six|seven)"


class CoursePhrases:
    """Named patterns, each with required stems, by which most sentences are ruled out quickly."""

    def __init__(self, of: dict[str, tuple[str, str]]) -> None:
        self._any = re.compile("|".join(sorted({stem for stems, _ in of.values() for stem in stems.split()})))
        self._of = [(name, stems.split(), re.compile(pattern)) for name, (stems, pattern) in of.items()]

    def names(self, text: str) -> set[str]:
        """Names of the phrases in ``text``, which is in lower case."""
        if not self._any.search(text):
            return set()
        return {
            name for name, stems, pattern in self._of if any(stem in text for stem in stems) and pattern.search(text)
        }


#: phrases that occur only in text written later, by topic
PLAIN = CoursePhrases({
    "hospital day": ("day hd", rf"\b(?:hospital|icu)\s+day{_COUNT}|\bhd\s?#?\s?\d+(?!\s?(?:x|times|days))\b"),
    "hospital course": ("course", r"\b(?:hospital|icu|micu|sicu|ccu|postoperative|post-operative)\s+course\b"),
    "over the stay": ("stay hospitali admission course", r"\b(?:during|throughout|over|for|through)\s+"
    rf"(?:the\s+(?:course|remainder|rest|duration)\s+of\s+)?(?:her|his|this|the|their)\s+{_STAY}\b"),
    "rest of the stay": ("stay hospitali admission course",
        rf"\b(?:remainder|rest|course|duration)\s+of\s+(?:her|his|this|the|their)\s+{_STAY}\b"),
    "time of discharge": ("discharge transfer",
        r"\b(?:at|on|upon|by|until|before|prior\s+to|day\s+of|time\s+of)\s+(?:the\s+)?"
    r"(?:day\s+of\s+|time\s+of\s+)?(?:discharge\b(?!\s+(?:from|diagnos))|transfer\s+to\s+(?:the\s+)?(?:floor|ward))"),
    "discharged": ("discharged", r"\b(?:was|were|is|being|been|be|and|then|subsequently)\s+discharged\b"),
    "extubated": ("extubated", r"\b(?:was|were|successfully|been|then|and)\s+extubated\b"
    r"|\bextubated\s+(?:on|without|successfully|to)\b"),
    "left intensive care": ("icu floor ward", r"\b(?:transferred|called\s+out|sent)\s+(?:out\s+)?"
    rf"(?:of\s+the\s+(?:m|s|c)?icu\b|(?:back\s+)?to\s+{_WARD})"),
    "died": ("expired passed died death dead", r"\b(?:she|he|patient|pt)\.?\s+(?:expired|passed\s+away|died)\b"
    r"|\btime\s+of\s+death\b|\bpronounced\s+dead\b"),
})  # fmt: skip
#: phrases that may also be about earlier times: several of them in one section indicate a course
OTHERS = CoursePhrases({
    "admitted": ("admitted transferred", r"\bwas\s+(?:then\s+)?(?:admitted|readmitted|transferred)\b"),
    "started": ("started", r"\b(?:was|were)\s+(?:also\s+|then\s+|subsequently\s+)?(?:re)?started\s+on\b"),
    "treated": ("treated", r"\b(?:was|were)\s+(?:then\s+|empirically\s+)?treated\b"),
    "intubated": ("intubated", r"\bwas\s+(?:then\s+|emergently\s+)?(?:re)?intubated\b"),
    "weaned": ("weaned pressors", r"\b(?:was|were)\s+(?:slowly\s+|successfully\s+)?weaned\b|\bpressors\s+were\b"),
    "diuresed or transfused": ("diuresed transfused resuscitated dialyzed anticoagulated",
        r"\bwas\s+(?:aggressively\s+|gently\s+)?"
    r"(?:diuresed|transfused|resuscitated|dialyzed|anticoagulated)\b"),
    "consulted": ("consulted", r"\b(?:was|were)\s+consulted\b"),
    "continued": ("continued held increased decreased switched changed",
        r"\b(?:was|were)\s+(?:continued|discontinued|held|increased|decreased|switched|changed)\b"),
    "found": ("found grew culture",
        r"\b(?:was|were)\s+found\s+to\s+have\b|\bgrew\b|\bcultures?\s+(?:were|was|grew|returned)\b"),
    "improved": ("improved resolved stabilized recovered", r"\b(?:improved|resolved|stabilized|recovered)\b"),
    "completed": ("complete will",
        r"\bcompleted?\s+(?:a|an|her|his|the)\s+(?:\S+\s+)?course\b|\bwill\s+(?:complete|need|continue)\b"),
    "after an operation": ("post pod", rf"\bpost-?\s?op(?:erative)?\s+day{_COUNT}|\bpod\s?#?\s?\d"),
})  # fmt: skip
#: A sentence about another hospital or an earlier stay; the narrative before an admission has many of them.
_ELSEWHERE = re.compile(
    r"\b(?:osh|outside|other\s+hospital|prior|previous(?:ly)?|past|recent(?:ly)?|last|earlier|years?|months?|weeks?|ago|"
    r"history\s+of|facility|rehab|nursing|referring|initially|since|returned|presents?|presented|readmitted|"
    r"in\s+(?:19|20|21|22)\d\d)\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_LONGEST_SENTENCE = 2000  # most characters of a sentence: longer text is cut, so that time stays linear


def befell(line: str) -> bool:
    """Whether a line of an exam describes later events: one plain phrase, or two of the others.

    >>> befell("He was found to have pneumonia and was treated with antibiotics."), befell("He was alert.")
    (True, False)
    """
    text = line[:_LONGEST_SENTENCE].lower()
    return bool(PLAIN.names(text)) or ("was " in text and len(OTHERS.names(text)) > 1)


def told(text: str, *, narrative: bool) -> tuple[set[str], set[str]]:
    """Names of the phrases of ``PLAIN`` and of ``OTHERS`` in a section.

    Args:
        text: the section.
        narrative: the section is a narrative that may include an earlier stay: sentences about another place or time
            do not count.

    >>> told("On hospital day 3 she was weaned.", narrative=False)
    ({'hospital day'}, {'weaned'})
    """
    clear: set[str] = set()
    others: set[str] = set()
    for sentence in _SENTENCE_END.split(text.lower()):
        for start in range(0, len(sentence), _LONGEST_SENTENCE):
            part = sentence[start : start + _LONGEST_SENTENCE]
            plain, other = PLAIN.names(part), OTHERS.names(part)
            if (plain or other) and not (narrative and _ELSEWHERE.search(part)):
                clear |= plain
                others |= other
    return clear, others
