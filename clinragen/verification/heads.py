"""Which names of a sentence the statements are about, and which cues belong to something outside the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from clinragen.verification import separators
from clinragen.verification.assembly import STATING
from clinragen.verification.cue_phrases import Head
from clinragen.verification.cues import words
from clinragen.verification.masked import Cue

#: A word that may name something; adverbs do not.
_NAMING = re.compile(r"\b(?!\w{1,20}ly\b)(?:[A-Za-z][\w+]+|[B-HJ-Z]\b)")
_GASES = frozenset(("ph", "pao2", "paco2", "spo2"))
#: How far back words that change the meaning of a name are looked for, in characters.
_BACK, _BACK_TO_PAST = 30, 45


def without_strangers(text: str, cues: list[Cue]) -> list[Cue]:
    """Remove cues of something outside the vocabulary: "creatinine 2.1, procalcitonin 12".

    After a comma or "and", an unknown word before a number, state or trend is taken for the name of something else.
    """
    retained: list[Cue] = []
    strange = False
    for previous, cue in pairwise([Cue("", 0, 0, None), *cues]):
        parted = previous.kind == "sep" and separators.cuts(previous)
        if parted or cue.kind == "head":
            strange = False
        between = text[previous.end : cue.start]
        if parted and retained and cue.kind != "head":
            strange = any(word.lower() not in _fillers() for word in _NAMING.findall(between))
        if not (strange and cue.kind in STATING):
            retained.append(cue)
    return retained


def settled(text: str, cues: list[Cue], diagnoses: Sequence[tuple[int, int]]) -> list[Cue]:
    """Remove heads that name a diagnosis or the past, and repeated names of the same variable.

    Args:
        text: the sentence.
        cues: of the sentence, in reading order.
        diagnoses: spans in which a diagnosis is named: "pointing to shock with lactic acidosis" states no acidosis.
    """
    settled_cues: list[Cue] = []
    concluding = False
    last: int | None = None  # where the last head stands in `settled_cues`
    for cue in cues:
        concluding = concluding or cue.kind == "linking"
        if cue.kind == "head":
            around = [span for span in diagnoses if span[0] <= cue.start and cue.end <= span[1]]
            if any(concluding or (end - start) > (cue.end - cue.start) for start, end in around):
                continue
            if cue.value.sides and _past().search(text[max(0, cue.start - _BACK_TO_PAST) : cue.start]):
                continue
            cue = _elsewhere_or_same(text, cue)
            if last is not None and _renamed(text, last, cue, settled_cues):
                continue
            last = len(settled_cues)
        settled_cues.append(cue)
    return settled_cues


def _elsewhere_or_same(text: str, cue: Cue) -> Cue:
    """A head that its neighbouring words make another measurement (urine sodium, lactate clearance) has no variable."""
    before, before_gas, after = _elsewhere()
    preceding = text[max(0, cue.start - _BACK) : cue.start]
    gas = not _GASES.isdisjoint(cue.value.variables)
    if before.search(preceding) or (gas and before_gas.search(preceding)) or after.match(text, cue.end):
        return cue._replace(value=Head(()))
    return cue


def _renamed(text: str, position: int, cue: Cue, cues: list[Cue]) -> bool:
    """Whether a head repeats the one before: "hemoglobin (Hgb)", "BP 96 systolic". The more specific name is kept."""
    last = cues[position]
    between = text[last.end : cue.start].strip()
    if cue.value.variables == last.value.variables and not cue.value.sides and between == "(":
        return True
    narrower = "mean_bp" in last.value.variables and cue.value.variables in (("systolic_bp",), ("diastolic_bp",))
    bare = not last.value.sides and not any(other.kind == "sep" for other in cues[position:])
    if narrower and bare and between:
        cues[position] = last._replace(value=cue.value)
        return True
    return False


@cache
def _fillers() -> frozenset[str]:
    return frozenset(word.lower() for entry in words("fillers") for word in entry.words)


@cache
def _past() -> re.Pattern[str]:
    """Words before a term that place it outside this stay; one word may stand between."""
    return re.compile(rf"\b(?:{_either(words('past')[0].words)})\s(?:\w{{1,20}}\s)?$", re.I)


@cache
def _elsewhere() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Words before a variable, before a blood gas, and after a variable that make it another measurement."""
    before, before_gas, after = (_either(entry.words) for entry in words("elsewhere"))
    return (
        re.compile(rf"\b(?:{before})(?:'s)?\s$", re.I),
        re.compile(rf"\b(?:{before_gas})(?:'s)?\s$", re.I),
        re.compile(rf"\s(?:{after})\b", re.I),
    )


def _either(forms: Sequence[str]) -> str:
    return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
