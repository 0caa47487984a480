"""Split discharge summaries into named sections of clean text.

A section begins at a line with a known heading and ends at the next line that looks like a heading, known or not: the
hospital course has many names, and under none of them may it become part of what was known at admission.
"""

from __future__ import annotations

import re
from collections.abc import Container

from mimic_prep.course import befell
from mimic_prep.heading_words import (
    ADDENDUM,
    BEFORE,
    COURSE,
    KNOWN_AT_ADMISSION,
    LATER,
    OF_ADMISSION,
    OTHER,
    PARTS,
    SECTIONS,
    SMALL,
)
from mimic_prep.headings import Heading, has_odd, is_rule, lines, read
from mimic_prep.note_text import clean, says_something

__all__ = ["KNOWN_AT_ADMISSION", "SECTIONS", "discharge_sections"]


#: A list has many labels of its own ("Aspirin: 81 mg"); only text that is set apart can be another section.
_LISTS = ("chief_complaint", "past_medical_history", "medications_on_admission", "allergies", "family_history",
          "social_history")  # fmt: skip
_NARRATES = re.compile(
    r"\b(?:she|he|patient|pt|mr|ms|mrs)\b.{0,80}?\b(?:was|were|had|underwent|received|remained|required|became|developed|"
    r"continued|improved)\b",
    re.IGNORECASE,
)
_HAPPENED = re.compile(
    r"\b(?:she|he|patient|pt|was|were|underwent|received|became|developed|remained|required|treated|started|given|"
    r"intubated|extubated|transfused|weaned|resolved|improved)\b",
    re.IGNORECASE,
)
_AT_DISCHARGE = re.compile(
    r"\W*(?:(?:exam\w*|physical|pe|vitals?|vs|labs)\s+)?(?:on|at|upon|by|prior\s+to|before)\s+(?:the\s+)?(?:day\s+of\s+|"
    r"time\s+of\s+)?(?:discharge|d/c|transfer|call-?out)\b",
    re.IGNORECASE,
)
_ADMISSION_WORDS = frozenset(("admission", "admit", "arrival", "admitting", "presentation", "initial"))
_ABBREVIATED = 4  # letters of "PMH"
_SPELT_OUT = 6  # letters
#: Findings from before the admission, as a line within the history: "Exam: tender flank".
_SEEN_BEFORE = (("exam",), ("pe",), ("labs",), ("imaging",), ("studies",), ("meds",), ("consults",))
_VITALS, _UNITS = frozenset(("vs", "vitals", "vital")), frozenset(("icu", "micu", "sicu", "ccu", "floor", "ed", "unit"))
_PROSE = 8  # words that do not occur in a list of names
_LATE = frozenset((COURSE, LATER, ADDENDUM, "discharge_exam", "discharge_medications", "discharge_condition",
                   "discharge_instructions", "followup_instructions"))  # fmt: skip
_EXAM, _HISTORY = "physical_exam", "history_of_present_illness"


def discharge_sections(text: str, *, addendum: bool = False, sections: Container[str] | None = None) -> dict[str, str]:
    """Sections of a discharge summary by name, in the order of the note, without empty ones.

    ``admission_exam`` is the physical exam up to the first mark of a later one: the discharge exam is never part of it.
    Any heading, known or not, ends a section, unless it is a part of it ("Lungs:" in an exam). After the hospital
    course a plain "Physical exam:" is the discharge exam.

    Args:
        text: the summary.
        addendum: the text is an addendum: it has no admission sections, even if its headings say so.
        sections: those to return; None for all.
    """
    bodies = _SummaryReader(addendum).read(text)
    if exam := bodies.pop(_EXAM, ""):
        bodies["admission_exam"] = exam
    chosen = SECTIONS.keys() - {"header"} if sections is None else sections
    cleaned = {section: clean(body) for section, body in bodies.items() if section in chosen}
    return {section: body for section, body in cleaned.items() if says_something(body)}


class _SummaryReader:
    """Reads the lines of a summary; ``current`` is the current section, None above the first heading."""

    def __init__(self, addendum: bool) -> None:
        self.addendum = addendum  # text written after the report
        self.late = addendum  # the course or the discharge has begun
        self.current: str | None = COURSE if addendum else None
        self.examined = False  # a physical exam has begun, with its full name
        self.bodies: dict[str, list[str]] = {}
        self.body: list[str] = self.bodies.setdefault(COURSE, []) if addendum else []

    def read(self, text: str) -> dict[str, str]:
        """The raw text of each section."""
        odd = has_odd(text)
        all_lines = [line.strip() for line in lines(text)]
        rules = [is_rule(line) for line in all_lines]
        blank, underlined = True, False
        following = zip([*all_lines[1:], ""], [*rules[1:], False], strict=False)
        for line, rule, (after, ruled) in zip(all_lines, rules, following, strict=False):
            if not line or rule:
                blank = blank or not (line and underlined)  # a rule that underlines a heading separates nothing
                self.body.append("")
                continue
            underlined = ruled
            heading = read(line, blank_before=blank, underlined=underlined, odd=odd)
            section = self._opened(*heading, blank, after) if heading else self._ended(line)
            if section:
                self._open(section, heading[1] if heading else line)
            else:
                self.body.append(line)
            blank = False
        joined = {section: "\n".join(body).strip() for section, body in self.bodies.items()}
        return {section: body for section, body in joined.items() if body}

    def _open(self, section: str, text: str) -> None:
        self.late |= section in _LATE
        self.addendum |= section == ADDENDUM
        self.current = COURSE if section == ADDENDUM else section
        self.body = self.bodies.setdefault(self.current, [])
        self.body.append(text)

    def _ended(self, line: str) -> str | None:
        """The section from a line without a heading: an exam ends where it describes the course or the discharge."""
        return LATER if self.current == _EXAM and (_AT_DISCHARGE.match(line) or befell(line)) else None

    def _opened(self, title: Heading, text: str, blank: bool, after: str) -> str | None:
        """The section that a heading opens; None if it is a part of the current one."""
        section, current = title.section, self.current
        if current == _HISTORY and text and not blank and title.words in _SEEN_BEFORE:
            return None
        if section == BEFORE:
            return None if current in OF_ADMISSION else OTHER
        if section == COURSE:
            return None if current == COURSE else COURSE
        if section == LATER:
            if current == _HISTORY and "transfer" in title.words and _VITALS & set(title.words):
                return None  # from the emergency room to intensive care
            return None if current == COURSE else LATER
        if section == OTHER:
            return None if current == COURSE or self._part(title) else OTHER
        if current == _EXAM and befell(text):
            return LATER
        if current == _EXAM and title.words and _ADMISSION_WORDS.union(SMALL).issuperset(title.words):
            return _EXAM  # "On admission:"
        if section is None:
            return OTHER if current in OF_ADMISSION and self._foreign(title, text, blank, after) else None
        return self._known(section, title) if section in OF_ADMISSION else section

    def _known(self, section: str, title: Heading) -> str | None:
        """The section that a heading of the admission opens at this position."""
        of_admission = not _ADMISSION_WORDS.isdisjoint(title.words)
        if self.addendum:
            return COURSE if section == _HISTORY else OTHER
        if self.late and len(title.words) == 1 and (title.listed or len(title.words[0]) <= _ABBREVIATED):
            return None  # "# Allergies:" among the problems of a course; "PE" may be an embolism there
        if self.late and not of_admission and section == _EXAM:
            return LATER
        if section == _EXAM and self.examined and self.current != _EXAM and not of_admission:
            return LATER
        if section == _EXAM and title.dated and not of_admission:
            return LATER  # "Exam [**2150-1-9**]:" is from a day that is not known to be the first
        self.examined |= section == _EXAM and len(title.words) > 1
        return section

    def _part(self, title: Heading) -> bool:
        parts = PARTS.get(self.current or "", frozenset())
        words = [word for word in title.words if word not in SMALL]
        if not _ADMISSION_WORDS.isdisjoint(words):  # "Vitals on arrival:", "On arrival to the ICU:"
            of_arrival = (_ADMISSION_WORDS | _UNITS) if self.current in (_EXAM, _HISTORY) else frozenset[str]()
            return all(word in parts or word in of_arrival for word in words)
        return bool(words) and all(word in parts for word in words)

    def _foreign(self, title: Heading, text: str, blank: bool, after: str) -> bool:
        """Whether an unknown heading, followed by ``text``, ends the current admission section."""
        if self._part(title) or (title.speaks and not title.marked):
            return False
        exam, text = self.current == _EXAM, text[:300]
        if not title.words:  # a date: histories are ordered by them
            return exam
        if title.marked and not title.listed:
            return True
        story = bool(_NARRATES.search(after[:300])) or len(after.split()) >= _PROSE
        if self.current in _LISTS:
            if text:
                spelt = title.caps and max(map(len, title.words)) >= _SPELT_OUT  # no abbreviation of a disease
                return (blank or spelt) and ((title.caps and blank and title.colon) or bool(_NARRATES.search(text)))
            return blank and (title.caps or title.titled) and (story or (title.colon and not title.listed))
        if not title.colon:
            if exam and (title.caps or title.listed):
                return blank or story or bool(text)
            return blank and bool(self.bodies.get(self.current or ""))
        if not text or title.caps or (title.listed and (exam or blank)):
            return title.caps or title.titled or title.listed or blank
        return blank or bool(_HAPPENED.search(text))
