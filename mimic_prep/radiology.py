"""Split radiology reports into indication, findings and impression.

Many reports have no findings heading: findings are under the name of the study, or in a paragraph of their own.
"""

from __future__ import annotations

import re

from mimic_prep.headings import Heading, has_odd, is_rule, read
from mimic_prep.note_text import clean, says_something

#: section -> headings in radiology reports
RADIOLOGY: dict[str, tuple[str, ...]] = {
    "radiology_indication": ("indication", "history", "reason for this examination", "clinical information"),
    "radiology_findings": ("findings", "report", "final report", "preliminary report"),
    "radiology_impression": ("impression", "impressions", "conclusion"),
    "other": ("examination", "exam", "technique", "comparison", "comparisons", "procedure", "study", "notification",
              "recommendation", "recommendations", "medical condition", "wet read", "doctor", "type of exam", "reason",
              "admitting diagnosis"),
}  # fmt: skip
_INDICATION, _FINDINGS, _IMPRESSION, _OTHER, _ADDENDUM = *RADIOLOGY, "addendum"
_OWNER = {heading: section for section, headings in RADIOLOGY.items() for heading in headings}
#: words that assign a title to a section, independent of other words; the first match counts
_TELLING = (
    (_ADDENDUM, {"addendum", "addenda"}),
    (_FINDINGS, {"findings", "finding"}),
    (_IMPRESSION, {"impression", "impressions", "conclusion", "conclusions", "opinion"}),
    (_OTHER, {"technique", "comparison", "comparisons", "recommendation", "recommendations", "notification", "dose",
              "contrast", "protocol", "accession", "radiologist", "dictated", "fluoroscopy"}),
    (_INDICATION, {"indication", "indications", "reason", "history"}),
)  # fmt: skip
_INSIDE = re.compile(
    r"(?<=\S)[ \t]{1,8}(?=(?:FINDINGS|IMPRESSIONS?|CONCLUSION|INDICATION|TECHNIQUE|COMPARISONS?|RECOMMENDATIONS?|"
    r"NOTIFICATION) ?:)"
)
#: Header lines of a MIMIC-III report: "CHEST (PORTABLE AP)    Clip # 12", "10:02 AM".
_ABOVE = re.compile(
    r"clip #|^\W*(?:reason|admitting diagnosis|name|mrn|unit no|accession|patient)\b.{0,20}:", re.IGNORECASE
)
_MOST_WORDS = 6  # most words of a title for which one word is enough
_LETTERS = re.compile(r"[^\W\d_]{3}")
_BODY_AFTER = ("final report", "preliminary report")


def radiology_sections(text: str, addendum: bool = False) -> dict[str, str]:
    """Indication, findings and impression of a radiology report, without empty ones or other text.

    The name of a study is a findings heading. If no heading says "findings", a paragraph after the indication, or one
    above the first heading, counts as findings. An addendum inside a report is left out, since its time is unknown.

    Args:
        text: the report.
        addendum: the text is an addendum with a time of its own; it is read as findings.
    """
    parts = _parts(_INSIDE.sub("\n", text))
    if addendum:
        parts = [(_FINDINGS if part[0] == _ADDENDUM else part[0], *part[1:]) for part in parts]
    titles = any(section == _FINDINGS and opened and title not in _BODY_AFTER for section, opened, title, _ in parts)
    final = any(title in _BODY_AFTER for *_, title, _ in parts)
    bodies: dict[str, list[str]] = {}
    for section, opened, _, lines in parts:
        if section is None and (titles or final):
            continue  # text above a report with a start marker
        if section is None:
            _keep(bodies, _FINDINGS, [line for line in lines if not _is_above(line)])
        elif section in (_INDICATION, _OTHER) and opened and not titles:
            first, remaining = _first_paragraph(lines)
            _keep(bodies, section, first)
            _keep(bodies, _FINDINGS, remaining)
        else:
            _keep(bodies, section, lines)
    cleaned = {section: clean("\n".join(body)) for section, body in bodies.items()}
    order = (_INDICATION, _FINDINGS, _IMPRESSION)
    return {section: body for section in order if says_something(body := cleaned.get(section, ""))}


def _parts(text: str) -> list[tuple[str | None, bool, str, list[str]]]:
    """(section, whether it has a known heading, its title, its lines) in order; section None above the first."""
    parts: list[tuple[str | None, bool, str, list[str]]] = [(None, False, "", [])]
    odd, blank = has_odd(text), True
    lines = [line.strip() for line in text.splitlines()]
    for line, after in zip(lines, [*lines[1:], ""], strict=False):
        if not line or is_rule(line):
            blank = True
            parts[-1][3].append("")
            continue
        heading = read(line, blank_before=blank, underlined=is_rule(after) and set(after) != {"_"}, odd=odd)
        blank = False
        section, title = _section(heading[0]) if heading else (None, "")
        current = parts[-1][0]
        if current == _ADDENDUM and not (section == _OTHER or title in _BODY_AFTER):
            section = None
        if heading and section:
            parts.append((section, True, title, [heading[1]]))
        elif heading and current in (_INDICATION, _OTHER) and _names_a_study(heading[0]):
            parts.append((_FINDINGS, False, title, [line]))
        else:
            parts[-1][3].append(line)
    return parts


def _section(heading: Heading) -> tuple[str | None, str]:
    title = " ".join(heading.words)
    if section := _OWNER.get(title):
        return section, title
    words = set(heading.words)
    if len(words) > _MOST_WORDS or heading.speaks:
        return None, title
    return next((section for section, telling in _TELLING if words & telling), None), title


def _names_a_study(heading: Heading) -> bool:
    return heading.caps and (heading.colon or len(heading.words) > 1) and not heading.listed


def _is_above(line: str) -> bool:
    return bool(_ABOVE.search(line)) or not _LETTERS.search(line)


def _first_paragraph(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines up to the first blank line after text, or up to a line that starts a new sentence; and the others."""
    before = ""
    for index, line in enumerate(lines):
        if before and (not line or (before.endswith((".", "?")) and line[0].isupper())):
            return lines[:index], lines[index:]
        before = line or before
    return lines, []


def _keep(bodies: dict[str, list[str]], section: str, lines: list[str]) -> None:
    if any(lines):
        bodies.setdefault(section, []).extend([*lines, ""])
