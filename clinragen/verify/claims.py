"""What a rationale claims: statements about the series with direction, trend, numbers and hours; concepts; diagnoses.

Reading is rule based and forgiving in wording: "creatinine rose from 1.1 to 3.2 mg/dL", "repeatedly hypotensive",
"lactate normal", "WBC 18". Words that are not understood make no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from clinragen.catalog import variables
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker, Mention


class Verdict(StrEnum):
    """How a claim stands to the chart."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NOT_IN_CHART = "not in the chart"


class Number(NamedTuple):
    """A number as stated. ``how``: at (it occurs), highest, lowest, above, below. ``step``: its last digit."""

    value: float
    how: str
    step: float


@dataclass(frozen=True)
class SeriesClaim:
    """A statement about one variable: every part that is not None must hold.

    Attributes:
        variables: catalogue keys; more than one where the word fits several (hypotension: systolic or mean pressure).
        direction: high, low or normal, against the reference range.
        trend: rising, falling or stable.
        start: the number that a change starts from.
        often: persistently, repeatedly or never.
        hour: hours from intime.
    """

    start_offset: int
    end_offset: int
    variables: tuple[str, ...]
    direction: str | None = None
    trend: str | None = None
    number: Number | None = None
    start: Number | None = None
    often: str | None = None
    hour: float | None = None


#: Findings that the word for one variable also covers.
_ALSO = {
    "finding:systolic_bp:low": ("mean_bp",),
    "finding:systolic_bp:high": ("mean_bp", "diastolic_bp"),
    "finding:spo2:low": ("pao2",),
    "finding:hemoglobin:low": ("hematocrit",),
    "finding:troponin_i:high": ("troponin_t",),
    "finding:bicarbonate:low": ("base_excess",),
}
_SAME = {"troponin_i": ("troponin_t",), "troponin_t": ()}

_NUMBER = r"(-?\d+(?:,\d{3})*(?:\.\d+)?)"
_UNIT = r"\s*(%|[A-Za-zµ°][\w/µ°²%]*(?:\s(?:F|C|FEU)\b)?)?"
_FROM_TO = re.compile(rf"\bfrom\s+{_NUMBER}{_UNIT}\s+(?:down\s|up\s)?to\s+{_NUMBER}{_UNIT}", re.I)
_HOW = (
    ("highest", r"up to|peaking at|peaked at|peak of|peak|maximum of|maximum|max|as high as|highest|reaching|reached"),
    (
        "lowest",
        r"down to|as low as|nadir of|nadir at|nadir|minimum of|minimum|min|lowest|dropping to|falling to|fell to",
    ),
    ("above", r"above|over|greater than|more than|exceeding|>"),
    ("below", r"below|under|less than|<"),
    ("at", r"of|at|to|was|is|around|about|=|:|measured|value"),
)
_STATED = re.compile(
    rf"(?:(?:^|(?<=[\s(,:=<>]))(?P<how>{'|'.join(words for _, words in _HOW)})?)\s*{_NUMBER}{_UNIT}", re.I
)
_HOUR = re.compile(r"\b(?:at|by|around|after|on)\s+hour\s+(\d+(?:\.\d+)?)|\bhour\s+(\d+(?:\.\d+)?)", re.I)
_STATES = {
    "high": re.compile(r"\b(high|elevated|raised|above (?:the )?(?:reference|normal)|supranormal)\b", re.I),
    "low": re.compile(r"\b(low|reduced|depressed|below (?:the )?(?:reference|normal)|subnormal)\b", re.I),
    "normal": re.compile(r"\b(normal|within (?:the )?(?:reference|normal) (?:range|limits)|wnl|unremarkable)\b", re.I),
}
_TRENDS = {
    "rising": re.compile(
        r"\b(ris(?:es|ing|en|e)|rose|increas(?:ing|ed|es|e)|climb(?:ing|ed|s)?|uptrend\w*|trending up|"
        r"going up|went up)\b",
        re.I,
    ),
    "falling": re.compile(
        r"\b(fall(?:ing|s|en)?|fell|decreas(?:ing|ed|es|e)|dropp(?:ing|ed)|drops?|declin(?:ing|ed|es|e)|downtrend\w*|"
        r"trending down|going down|went down)\b",
        re.I,
    ),
    "stable": re.compile(r"\b(stable|unchanged|steady)\b", re.I),
}
_OFTEN = {
    "persistently": re.compile(r"\b(persistent(?:ly)?|throughout|constantly|continuously|always)\b", re.I),
    "repeatedly": re.compile(r"\b(repeated(?:ly)?|recurrent(?:ly)?|several times|multiple times|many times)\b", re.I),
}
_DENIED = re.compile(r"\b(no|without|not|never|denies|absence of|free of)\b", re.I)
_CLAUSE = re.compile(r"[;.](?:\s|$)|,\s|\band\b|\bwith\b|\bbut\b")
#: Words after which a clause speaks of diagnoses, not of the series.
_LINKING = re.compile(
    r"\b(pointing to|points? to|supporting|supports?|consistent with|suggesting|suggests?|indicat\w+|due to|"
    r"not show|not support)\b",
    re.I,
)


class ClaimReader:
    """Reads claims by the names of variables, findings and phenotypes in a concept graph."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._graph = graph
        self._measured = Linker(graph, ("finding", "variable"))
        self._named = Linker(graph)

    def series(self, text: str) -> list[SeriesClaim]:
        """Claims about the series, in reading order. Phrases that name diagnoses after a linking verb make none."""
        claims: list[SeriesClaim] = []
        mentions = [m for m in self._measured.link(text) if not concluded(text, m) and not _is_unit(text, m)]
        for position, mention in enumerate(mentions):
            left = mentions[position - 1].end if position else 0
            right = mentions[position + 1].start if position + 1 < len(mentions) else len(text)
            claim = self._claim(text, mention, left, right)  # the words between two mentions: each takes its side
            if claim is not None:
                claims.append(claim)
        return claims

    def concepts(self, text: str) -> list[Mention]:
        """Concepts that the text gives as grounds, present or absent: all but those it concludes on."""
        return [mention for mention in self._named.link(text) if not concluded(text, mention)]

    def diagnoses(self, text: str) -> list[Mention]:
        """Phenotypes that the text concludes on ("pointing to shock") or names in so many words."""
        named = [mention for mention in self._named.link(text) if mention.concept.startswith("phenotype:")]
        names = {node: self._graph.name(node).casefold() for node in {mention.concept for mention in named}}
        return [
            mention
            for mention in named
            if concluded(text, mention) or text[mention.start : mention.end].casefold() == names[mention.concept]
        ]

    def note(self, sections: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
        """concept -> contexts in which a note mentions it, over all its (section, text) pairs."""
        found: dict[str, set[str]] = {}
        for section, text in sections:
            for mention in self._named.link(text, section):
                found.setdefault(mention.concept, set()).add(mention.context)
        return found

    def _claim(self, text: str, mention: Mention, left: int, right: int) -> SeriesClaim | None:
        data = self._graph.nodes[mention.concept]
        before = _CLAUSE.split(text[left : mention.start])[-1]
        after = _until_clause(text[mention.end : right], last=right == len(text))
        words = f"{before} {after}"
        if data["kind"] == "finding":
            keys, direction = (data["variable"], *_ALSO.get(mention.concept, ())), data["direction"]
        else:
            key = mention.concept.partition(":")[2]
            keys, direction = (key, *_SAME.get(key, ())), None
            direction = next((state for state, pattern in _STATES.items() if pattern.search(words)), None)
        often = next((word for word, pattern in _OFTEN.items() if pattern.search(words)), None)
        trend = next((word for word, pattern in _TRENDS.items() if pattern.search(words)), None)
        if mention.negated or _DENIED.search(before):
            if direction in (None, "normal"):
                return None
            often = "never"
        hour = _HOUR.search(after)
        numbers = _HOUR.sub("", after)
        span = _FROM_TO.search(numbers)
        start = None
        if span:
            start = _number(span[1], "at", span[2], keys[0]) or _number(span[1], "at", span[4], keys[0])
            number = _number(span[3], "at", span[4] or span[2], keys[0])
        else:
            stated = _STATED.search(numbers)
            number = _number(stated[2], _how(stated["how"]), stated[3], keys[0]) if stated else None
        if direction is None and trend is None and number is None:
            return None
        at = next((float(group) for group in hour.groups() if group), None) if hour else None
        return SeriesClaim(mention.start, mention.end, keys, direction, trend, number, start, often, at)


def concluded(text: str, mention: Mention) -> bool:
    """Whether the mention is a conclusion: it stands after "pointing to" and the like in its clause."""
    clause = re.split(r"[;.]\s", text[: mention.start])[-1]
    return _LINKING.search(clause) is not None


def _is_unit(text: str, mention: Mention) -> bool:
    """The K of "12 K/uL" is no potassium."""
    return text[mention.end : mention.end + 1] == "/" and text[: mention.start].rstrip()[-1:].isdigit()


def _until_clause(after: str, *, last: bool) -> str:
    """What follows a mention and still speaks of it: to the end of the clause, keeping ", high" and ", still high".

    Unless the mention is the last, the words after the last separator belong to the next mention.
    """
    link = _LINKING.search(after)
    if link:
        after = after[: link.start()]
    elif not last:
        separators = list(_CLAUSE.finditer(after))
        if separators:
            after = after[: separators[-1].start()]
    pieces = re.split(
        r"(;\s|\.\s|\.$|,\s(?!(?:still |now )?(?:high|low|elevated|normal|abnormal)\b))", after, maxsplit=1
    )
    return pieces[0]


def _how(word: str | None) -> str:
    if word:
        for how, words in _HOW:
            if re.fullmatch(words, word, re.I):
                return how
    return "at"


def _number(written: str, how: str, unit: str | None, variable: str) -> Number | None:
    """A stated number in the variable's canonical unit; None where its unit is one of another kind."""
    spec = variables()[variable]
    plain = written.replace(",", "")
    value, step = float(plain), 10.0 ** -len(plain.partition(".")[2])
    known = {_plain(name): pair for name, pair in spec.accepts.items()}
    scale, offset = (
        known.get(_plain(unit or ""), (1.0, 0.0)) if unit and _plain(unit) != _plain(spec.unit) else (1.0, 0.0)
    )
    return Number(value * scale + offset, how, step * abs(scale))


def _plain(unit: str) -> str:
    plain = unit.lower().replace("µ", "u").replace("°", "deg").replace(" ", "")
    return f"deg{plain}" if plain in ("f", "c") else plain
