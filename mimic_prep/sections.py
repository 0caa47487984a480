"""Clinical notes -> named sections of clean text.

A section begins at a line that opens with one of the known headings and ends at the next known heading; headings nobody
asks for are known too, because they end the section before them.
"""

from __future__ import annotations

import re

#: section -> headings in MIMIC discharge summaries (lower case; a blank stands for any white space)
SECTIONS: dict[str, tuple[str, ...]] = {
    "chief_complaint": ("chief complaint", "chief complaints", "cc", "reason for admission"),
    "history_of_present_illness": (
        "history of present illness", "hpi", "history of the present illness", "present illness",
    ),
    "past_medical_history": (
        "past medical history", "pmh", "pmhx", "past medical/surgical history", "past medical and surgical history",
        "medical history", "past history", "past surgical history", "psh",
    ),
    "social_history": ("social history", "sh", "social hx"),
    "family_history": ("family history", "fh", "family hx"),
    "medications_on_admission": (
        "medications on admission", "admission medications", "meds on admission", "home medications", "home meds",
        "medications prior to admission", "medications at home", "outpatient medications", "preadmission medications",
    ),
    "allergies": ("allergies", "allergies to medications", "allergy"),
    "admission_exam": (),  # split off the physical exam
    "admission_diagnosis": (),  # of eICU, which codes it apart from the diagnoses of the stay
    "physical_exam": ("physical exam", "physical examination", "pe", "exam", "physical exam on admission",
                      "admission physical exam", "admission exam", "admission physical examination",
                      "physical examination on admission", "exam on admission"),
    "discharge_exam": ("discharge physical exam", "discharge exam", "physical exam on discharge", "exam on discharge",
                       "discharge physical examination", "physical examination on discharge"),
    "pertinent_results": ("pertinent results", "laboratory data", "labs", "laboratory studies", "pertinent labs",
                          "admission labs", "studies", "imaging"),
    "procedures": ("major surgical or invasive procedure", "major surgical or invasive procedures"),
    "brief_hospital_course": ("brief hospital course", "hospital course", "summary of hospital course",
                              "hospital course by system", "hospital course by systems",
                              "brief hospital course by problem",
                              "concise summary of hospital course", "brief summary of hospital course",
                              "hospital course by issue", "hospital course by problem"),
    "discharge_medications": ("discharge medications", "medications on discharge", "discharge meds"),
    "discharge_disposition": ("discharge disposition", "disposition", "facility"),
    "discharge_diagnosis": ("discharge diagnosis", "discharge diagnoses", "final diagnosis", "final diagnoses",
                            "primary diagnosis", "secondary diagnosis", "secondary diagnoses"),
    "discharge_condition": ("discharge condition", "condition on discharge", "condition at discharge"),
    "discharge_instructions": ("discharge instructions", "discharge instruction"),
    "followup_instructions": ("followup instructions", "follow-up instructions", "follow up instructions", "followup",
                              "recommended follow-up"),
    "header": ("name", "unit no", "admission date", "discharge date", "date of birth", "sex", "service", "attending",
               "completed by", "dictated by"),
}  # fmt: skip

#: Sections that tell what was known when the patient came, though a discharge summary is written later.
KNOWN_AT_ADMISSION = (
    "chief_complaint", "admission_diagnosis", "history_of_present_illness", "past_medical_history", "social_history",
    "family_history", "medications_on_admission", "allergies", "admission_exam",
)  # fmt: skip

#: section -> headings in radiology reports
RADIOLOGY: dict[str, tuple[str, ...]] = {
    "radiology_indication": ("indication", "history", "reason for this examination", "clinical information"),
    "radiology_findings": ("findings", "report"),
    "radiology_impression": ("impression", "impressions", "conclusion"),
    "other": ("examination", "exam", "technique", "comparison", "comparisons", "procedure", "study", "notification",
              "recommendation", "recommendations", "medical condition", "wet read", "doctor", "type of exam"),
}  # fmt: skip

_MARK = re.compile(r"\[\*\*(.*?)\*\*\]|_{2,}", re.DOTALL)
_DIGITS = re.compile(r"[\d/\-()]+")
_FILLER = r"(?:(?:on|at|upon|of|the|day|time|prior\s+to|physical|pe|exam\w*|vitals?|vs)\s+)*"
_DISCHARGE_LINE = re.compile(
    rf"^[^\w\n]*{_FILLER}(?:discharge|d/c|dc|transfer|call-?out)\b[^\n:]{{0,40}}(?::|$)", re.IGNORECASE | re.MULTILINE
)
_ADMISSION_LINE = re.compile(
    r"^[^\w\n]*(?:admission|on admission|admit)[^\n:]{0,30}(?::|$)", re.IGNORECASE | re.MULTILINE
)
_LIST_ITEM = re.compile(r"^\s*(?:[-*#•+]|\d{1,2}[.)])\s")


def _heading_pattern(headings: dict[str, tuple[str, ...]]) -> tuple[re.Pattern[str], dict[str, str]]:
    owner = {heading: section for section, known in headings.items() for heading in known}
    longest_first = sorted(owner, key=len, reverse=True)
    names = "|".join(re.escape(heading).replace(r"\ ", r"[ \t]+") for heading in longest_first)
    return re.compile(rf"^[ \t]*(?:[#*][ \t]*)?({names})[ \t]*(?:\([^)\n]{{0,40}}\))?[ \t]*:", re.I | re.M), owner


_DISCHARGE_HEADINGS = _heading_pattern(SECTIONS)
_RADIOLOGY_HEADINGS = _heading_pattern(RADIOLOGY)


def discharge_sections(text: str) -> dict[str, str]:
    """Sections of a discharge summary by name, in the order of the note, without empty ones.

    ``admission_exam`` is the physical exam up to the first mark of a later one: the discharge exam is never part of it.
    """
    found = _split(text, *_DISCHARGE_HEADINGS)
    exam = found.pop("physical_exam", "")
    if exam:
        exam = _ADMISSION_LINE.sub("", exam[: _later_exam(exam)], count=1)
        found["admission_exam"] = exam
    cleaned = {section: clean(body) for section, body in found.items() if section != "header"}
    return {section: body for section, body in cleaned.items() if _says_something(body)}


def _later_exam(exam: str) -> int:
    mark = _DISCHARGE_LINE.search(exam)
    return mark.start() if mark else len(exam)


def radiology_sections(text: str) -> dict[str, str]:
    """Indication, findings and impression of a radiology report; the whole text as findings when it has no heading."""
    found = _split(text, *_RADIOLOGY_HEADINGS) or {"radiology_findings": text}
    cleaned = {section: clean(body) for section, body in found.items() if section != "other"}
    return {section: body for section, body in cleaned.items() if _says_something(body)}


def _split(text: str, pattern: re.Pattern[str], owner: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    marks = list(pattern.finditer(text))
    for mark, end in zip(marks, [*(mark.start() for mark in marks[1:]), len(text)], strict=False):
        section = owner[" ".join(mark.group(1).lower().split())]
        body = text[mark.end() : end].strip()
        if body:
            found[section] = f"{found[section]}\n{body}" if section in found else body
    return found


def clean(text: str) -> str:
    """De-identification marks in one form, hard-wrapped lines joined, white space collapsed.

    >>> clean("Mr. [**Last Name (un) 12**] was seen\\non ___.")
    'Mr. [last name] was seen on [removed].'
    """
    text = _MARK.sub(_plain_mark, text)
    lines: list[str] = []
    for line in text.splitlines():
        line = " ".join(line.split())
        wrapped = lines and lines[-1] and line and not _LIST_ITEM.match(line)
        if wrapped and not lines[-1].endswith(":") and (len(lines[-1].rsplit("\n", 1)[-1]) >= 50 or line[0].islower()):
            lines[-1] += " " + line
        elif line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip()


def _plain_mark(mark: re.Match[str]) -> str:
    inner = mark.group(1)
    if inner is None:
        return "[removed]"
    words = " ".join(_DIGITS.sub(" ", re.sub(r"\([^)]*\)", " ", inner)).split()).lower()
    return f"[{words}]" if words else "[date]"


def _says_something(text: str) -> bool:
    """Whether anything but de-identification marks and punctuation is left."""
    return re.search(r"[A-Za-z]{2}", re.sub(r"\[[a-z ]*\]", "", text)) is not None
