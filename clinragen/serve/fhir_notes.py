"""Sections of note text from FHIR documents and reports, split as ``mimic-prep`` splits notes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from clinragen.cohort.sections import SECTIONS
from clinragen.serve.fhir_resources import Attachment, DiagnosticReport, DocumentReference
from clinragen.serve.intake import LeftOut
from mimic_prep.note_text import clean
from mimic_prep.radiology import radiology_sections
from mimic_prep.sections import discharge_sections

#: Codes of HL7's table 0074 (diagnostic service) for imaging.
_IMAGING = frozenset(("RAD", "RX", "CT", "NMR", "NMS", "RUS", "CUS", "OUS", "VUS", "IMG", "XRC", "CTH"))
_WHOLE = "note"
#: Share of a document's characters that its sections hold if nothing but white space is left out.
_NEARLY_ALL = 0.8

type Section = tuple[str, str]


def document_sections(document: DocumentReference, left_out: LeftOut) -> list[Section]:
    """Sections of a document by its headings; the whole text as one without headings that are known.

    Args:
        document: whose attachments are read; none is fetched.
        left_out: counts attachments that are not plain text.
    """
    sections: list[Section] = []
    for text in _texts((content.attachment for content in document.content), left_out):
        parts = discharge_sections(text, sections=SECTIONS)
        if parts and sum(len(title) + len(body) for title, body in parts.items()) < _NEARLY_ALL * len(clean(text)):
            left_out.add("document of which parts under other headings are not read")
        sections += parts.items() if parts else _whole(text)
    return sections


def report_sections(report: DiagnosticReport, left_out: LeftOut) -> list[Section]:
    """Sections of a report: of imaging by its headings, others whole; the conclusion is one of its own."""
    imaging = any(coding.code in _IMAGING for concept in report.category for coding in concept.coding)
    sections: list[Section] = []
    for text in _texts(report.presentedForm, left_out):
        parts = radiology_sections(text, False) if imaging else {}
        sections += parts.items() if parts else _whole(text)
    if report.conclusion:
        body = clean(report.conclusion)
        sections += [("radiology_impression" if imaging else _WHOLE, body)] if body else []
    if not sections:
        left_out.add("report without text")
    return sections


def _whole(text: str) -> list[Section]:
    body = clean(text)
    return [(_WHOLE, body)] if body else []


def _texts(attachments: Iterable[Attachment], left_out: LeftOut) -> list[str]:
    texts = []
    for attachment in attachments:
        kind = (attachment.contentType or "").partition(";")[0].strip().lower()
        if kind != "text/plain":
            left_out.add("attachment that is not text/plain")
        elif attachment.data is None:
            left_out.add("attachment without data (nothing is fetched)")
        else:
            try:
                texts.append(base64.b64decode("".join(attachment.data.split()), validate=True).decode("utf-8"))
            except (binascii.Error, ValueError):
                left_out.add("attachment that is no base64 of UTF-8 text")
    return texts
