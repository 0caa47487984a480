"""Text of documents, reports and compositions: base64, plain text, HTML, RTF. Nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mimic_prep.note_markup import plain_html, plain_rtf
from mimic_prep.note_selection import LONGEST
from mimic_prep.releases.fhir.elements import codings, items, key_of, text, words

type Row = dict[str, Any]
NO_TEXT = "note without text"
_IMAGING = frozenset(("RAD", "RX", "CT", "NMR", "NMS", "RUS", "CUS", "OUS", "VUS", "IMG", "XRC", "CTH", "LP29684-5"))
_DEPTH = 20  # of nested sections


class NoteReader:
    """Reads the text of notes.

    Args:
        kinds: kind of note -> patterns of its type's codes and names.
        remarks: counts what was repaired.
    """

    def __init__(self, kinds: Mapping[str, list[str]], remarks: Counter[str]) -> None:
        self._kinds = {
            kind: re.compile("|".join(patterns), re.IGNORECASE) for kind, patterns in kinds.items() if patterns
        }
        self._remarks = remarks

    def document(self, resource: Mapping[str, Any]) -> Row:
        """Kind and text, or the key of the Binary that holds it."""
        if text(resource.get("status")) == "superseded":
            return {"skip": "superseded document"}
        if text(resource.get("docStatus")) in ("entered-in-error", "cancelled"):
            return {"skip": "entered in error"}
        attachments = [
            one["attachment"] for one in items(resource.get("content")) if isinstance(one.get("attachment"), dict)
        ]
        kind = self._kind(resource.get("type"), resource.get("category"))
        return self._of_attachments(kind, attachments)

    def report(self, resource: Mapping[str, Any]) -> Row:
        """Kind and text of a report: its presented form, and the conclusion if that is not in it."""
        if text(resource.get("status")) in ("registered", "partial"):
            return {"skip": "report that is not finished"}
        imaging = any(code in _IMAGING for _, code, _ in codings(resource.get("category")))
        kind = "radiology" if imaging else self._kind(resource.get("code"), resource.get("category"))
        row = self._of_attachments(kind, items(resource.get("presentedForm")))
        conclusion = text(resource.get("conclusion"))
        if conclusion and conclusion not in (row.get("text") or ""):
            before = f"{row['text'].rstrip()}\n\n" if row.get("text") else ""
            return {"kind": kind, "text": f"{before}IMPRESSION:\n{conclusion}", "binary": None}
        return row

    def composition(self, resource: Mapping[str, Any]) -> Row:
        """Kind and text: each section under its title."""
        imaging = any(code in _IMAGING for _, code, _ in codings(resource.get("category")))
        kind = "radiology" if imaging else self._kind(resource.get("type"), resource.get("category"))
        body = "\n\n".join(self._sections(resource.get("section"), 0))
        return self._checked({"kind": kind, "text": body})

    def _sections(self, sections: Any, depth: int) -> list[str]:
        parts: list[str] = []
        for one in items(sections) if depth < _DEPTH else []:
            title = text(one.get("title")) or next(iter(words(one.get("code"))), "")
            div = one["text"].get("div") if isinstance(one.get("text"), dict) else None
            body = plain_html(div) if isinstance(div, str) else ""
            inner = self._sections(one.get("section"), depth + 1)
            if body or inner:
                parts.append(f"{title.rstrip(':')}:\n{body}".strip() if title else body)
                parts += inner
        return parts

    def binary(self, resource: Mapping[str, Any]) -> Row:
        """The text of a Binary."""
        body, why = self._decoded(resource)
        return {"text": body} if body is not None else {"skip": why}

    def _kind(self, *concepts: Any) -> str:
        spoken = [word for concept in concepts for word in words(concept)]
        return next((kind for kind, pattern in self._kinds.items() if any(map(pattern.search, spoken))), "note")

    def _of_attachments(self, kind: str, attachments: list[Any]) -> Row:
        bodies: list[str] = []
        why = NO_TEXT
        for one in attachments:
            if one.get("data") is None:
                url = text(one.get("url"))
                if url and "Binary/" in url:
                    return {"kind": kind, "text": None, "binary": key_of(url)}
                why = "attachment without data (nothing is fetched)"
                continue
            body, trouble = self._decoded(one)
            if body is not None:
                bodies.append(body)
            why = trouble or why
        bodies = list(dict.fromkeys(bodies))
        return self._checked({"kind": kind, "text": bodies[0] if bodies else None}, why)

    def _checked(self, row: Row, why: str = NO_TEXT) -> Row:
        body = row.get("text")
        if not body or not body.strip():
            return {"kind": row["kind"], "skip" if why == NO_TEXT or "fetched" in why or "type" in why else "bad": why}
        if len(body) > LONGEST:
            return {"kind": row["kind"], "bad": f"note of more than {LONGEST:,} characters"}
        return row

    def _decoded(self, attachment: Mapping[str, Any]) -> tuple[str | None, str | None]:
        content_type = (text(attachment.get("contentType")) or "text/plain").lower()
        kind, _, parameters = content_type.partition(";")
        kind = kind.strip()
        read = {"text/html": plain_html, "application/xhtml+xml": plain_html, "text/rtf": plain_rtf,
                "application/rtf": plain_rtf}.get(kind)  # fmt: skip
        if read is None and not kind.startswith("text/"):
            return None, "attachment of a type that is not text"
        data = attachment.get("data")
        try:
            content = base64.b64decode("".join(str(data).split()), validate=True)
        except (binascii.Error, ValueError):
            return None, "attachment that is no base64"
        charset = re.search(r"charset=\"?([\w-]+)", parameters)
        body = self._text(content, charset[1] if charset else "utf-8")
        if body.lstrip().startswith("{\\rtf"):
            read = plain_rtf
        return (read(body) if read else body), None

    def _text(self, content: bytes, charset: str) -> str:
        for name in (charset, "utf-8-sig"):
            try:
                return content.decode(name).removeprefix("\ufeff").replace("\r\n", "\n").replace("\0", "")
            except (UnicodeDecodeError, LookupError):
                continue
        self._remarks["note that is not in the stated character set: read as Windows-1252"] += 1
        return content.decode("cp1252", errors="replace").replace("\r\n", "\n").replace("\0", "")
