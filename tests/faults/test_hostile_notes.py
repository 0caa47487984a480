"""Instructions of many styles and languages in a note: all of them is struck, and the note around them is read."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable
from pathlib import Path

import yaml

from clinragen.knowledge.readable import FOREIGN, readable, unreadable

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CYRILLIC, _GREEK = str.maketrans("aceopxyijs", "асеорхуіјѕ"), str.maketrans("aiouvnkpt", "αιουνηκρτ")
DISGUISES: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "zero width": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: "\u00ad".join(text),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "cyrillic": lambda text: text.translate(_CYRILLIC),
    "greek": lambda text: text.translate(_GREEK),
    "mathematical": lambda text: "".join(chr(0x1D41A + _LETTERS.index(c)) if c in _LETTERS else c for c in text),
    "accents": lambda text: "".join(c + "\u0301" if c in "aeiou" else c for c in text),
    "tags": lambda text: "".join(chr(0xE0000 + ord(c)) for c in text),
    "right to left": lambda text: f"\u202e{text}\u202c",
    "spaced": " ".join,
    "upper case": str.upper,
    "lines": lambda text: text.replace(" ", "\n"),
    "html entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "percent": lambda text: "".join(f"%{ord(c):02x}" for c in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "leet": lambda text: text.translate(str.maketrans("aeiost", "431057")),
}


NOTES = [
    note if isinstance(note, dict) else {"s": note}
    for note in yaml.safe_load(Path(__file__).with_name("hostile_notes.yaml").read_text(encoding="utf-8"))["notes"]
]
BEFORE, AFTER = "Cough for three days.", "He denies chest pain and lives alone."


def test_there_are_enough_of_them():
    assert len({note["s"] + note.get("disguise", "") for note in NOTES}) == len(NOTES) >= 120


def test_all_of_an_instruction_is_struck_and_nothing_else():
    left = {}
    for note in NOTES:
        said = DISGUISES[note.get("disguise", "none")](note["s"])
        text = f"{BEFORE}\n\n{said}\n\n{AFTER}"
        read = " ".join(readable(text, "history_of_present_illness").split())
        reasons = {span.reason for span in unreadable(text, "history_of_present_illness")}
        if note.get("read"):
            assert BEFORE in read
            assert AFTER in read
        elif read != f"{BEFORE} {AFTER}" or (reasons.isdisjoint(FOREIGN) and not note.get("quiet")):
            left[said] = (read, reasons)
    assert left == {}
