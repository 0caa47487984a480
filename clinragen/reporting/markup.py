"""The parts of a stay's page that occur many times, as markup: plain functions, as a page has hundreds of them.

Each returns markup in which every text has gone through ``visible.markup``, so that templates insert it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from clinragen.evaluation.table import number
from clinragen.knowledge.warrants import Warrant
from clinragen.reporting.cases import Reason
from clinragen.reporting.diagnoses import Diagnosis
from clinragen.reporting.figures import Figure
from clinragen.reporting.notes import NotePart
from clinragen.reporting.places import NamedPlace
from clinragen.reporting.verdicts import ClaimText, Marked
from clinragen.reporting.visible import markup

#: Class and mark of each standing of a claim.
_CLASSES = {"supported": "ok", "contradicted": "refuted", "not in the chart": "unseen", "absence": "absent"}
_MARKS = {"supported": "✓", "contradicted": "✗", "not in the chart": "?", "absence": "∅"}
_RECORDED = {"agrees": "✓ recorded", "extra": "+ not recorded", "missed": "− recorded"}


def _cites(numbers: Iterable[int]) -> str:
    """Links to the claims with these numbers; nothing without any."""
    links = " ".join(f"<a href=#c{one}>{one}</a>" for one in numbers)
    return f"<sup>{links}</sup>" if links else ""


def note_text(parts: Iterable[NotePart], section: int) -> Markup:
    """A section of the note: passages that claims rest on marked, and text that no model reads struck.

    Args:
        parts: of the section.
        section: its index among the sections of the stay.
    """
    spans = []
    for part in parts:
        words = markup(part.text)
        if part.unread:
            words = f'<span class=unread title="not read: {markup(part.unread)}">{words}</span>'
        elif part.within:
            words = f"<mark{f' id=p{section}-{part.start}' if part.opens else ''}>{words}</mark>"
        spans.append(words + _cites(part.cited))
    return Markup("".join(spans))


def judged(segments: Iterable[Marked], *, anchored: bool = False) -> Markup:
    """Words of a rationale, marked by the verdicts of their claims, which lead to the evidence.

    Args:
        segments: the words.
        anchored: whether the numbers of the evidence lead back here.
    """
    anchors: set[int] | None = set() if anchored else None
    return Markup("".join(_segment(one, anchors) for one in segments))


def _segment(one: Marked, anchors: set[int] | None) -> str:
    """Words with the same claims.

    Args:
        one: the words.
        anchors: the numbers of the claims that began before, to which those of these words are added; None without
            anchors.
    """
    words = markup(one.text)
    if not one.claims:
        return words
    verdict, numbers, target = one.verdict, one.numbers, one.target
    if one.affirms:
        return f"<em>{words}</em>"
    tag = "a" if target else "span"
    attributes = "" if verdict == "supported" else f" class={_CLASSES[verdict]}"
    begins = [] if anchors is None else [number for number in numbers if number not in anchors]
    if begins and anchors is not None:
        anchors.update(begins)
        attributes += f" id=c{begins[0]}"
        words = "".join(f"<i id=c{other}></i>" for other in begins[1:]) + words
    if target:
        attributes += f" href=#{target}"
    cited = f"<sup>{' '.join(map(str, numbers))}</sup>" if numbers else ""
    return f"<{tag}{attributes}>{words}</{tag}>{cited}"


def _percent(share: float) -> str:
    return f"{'−' if share < 0 else ''}{abs(100 * share):.0f} %"


def named(pairs: Iterable[tuple[str, float]]) -> Markup:
    """Evidence with its shares."""
    return Markup(", ".join(f"{markup(name)} ({_percent(share)})" for name, share in pairs))


def reasons(stated: Iterable[Reason], name: Callable[[Warrant], str] | None) -> Markup:
    """A list of what is stated for a diagnosis, or against it.

    Args:
        stated: the reasons.
        name: gives the name under which the pages share a warrant; without it, warrants stand here.
    """
    return Markup(f"<ul>{''.join(_reason(one, name) for one in stated)}</ul>")


def _reason(one: Reason, name: Callable[[Warrant], str] | None) -> str:
    attributes, warrant = "", ""
    if one.number:
        attributes += f" data-n={one.number}"
    if one.share is not None:
        attributes += f" data-s={one.share:.3f}".replace("0.", ".", 1)
    if one.warrant and name:
        attributes += f" data-w={name(one.warrant)}"
    elif one.warrant:
        source = f" <cite>{markup(one.warrant.source)}</cite>" if one.warrant.source else ""
        warrant = f"<div class=warrant>{markup(one.warrant.text)}{source}</div>"
    return f"<li{attributes}>{markup(one.words)}{warrant}"


def belief(one: Diagnosis) -> Markup:
    """The probability of a diagnosis, with its interval if there is one: the script draws the bar from these words."""
    interval = f" <small>{'–'.join(map(number, one.interval))}</small>" if one.interval else ""
    return Markup(
        f"<span class=belief data-t={number(one.threshold)}><b>{number(one.probability)}</b>{interval}</span>"
    )


def recorded(one: Diagnosis) -> Markup:
    """Whether a diagnosis was recorded, where its absence or presence says something."""
    return Markup(_recorded(one))


def _recorded(one: Diagnosis) -> str:
    words = _RECORDED.get(one.verdict)
    return f'<span class="tag gold {one.verdict}">{words}</span>' if words else ""


def label_rows(labels: Iterable[Diagnosis]) -> Markup:
    """Rows of a table of labels: name, probability, threshold."""
    return Markup(
        "".join(
            f"<tr><th>{markup(one.name)}<td>{number(one.probability)}<td>{number(one.threshold)}<td>{_recorded(one)}"
            for one in labels
        )
    )


def claims(judgements: Iterable[ClaimText], *, evidence: bool) -> Markup:
    """A list of claims with verdicts and evidence, without those that hold and cite nothing.

    Args:
        judgements: the claims.
        evidence: whether it stands here for all; otherwise for those only that the script has no evidence of.
    """
    lines = (_claim(one, evidence) for one in judgements if one.number or one.verdict != "supported")
    return Markup(f"<ul>{''.join(lines)}</ul>")


def _claim(one: ClaimText, evidence: bool) -> str:
    number_ = f" data-n={one.number}" if one.number else ""
    verdict = f"<b class={_CLASSES[one.verdict]}>{_MARKS[one.verdict]} {one.verdict}</b> "
    here = one.evidence and (evidence or not one.number)
    return f"<li{number_}>{verdict if one.verdict != 'supported' else ''}{markup(one.about)}" + (
        f" <span class=evidence>{markup(one.evidence)}</span>" if here else ""
    )


def places(named: Iterable[NamedPlace]) -> Markup:
    """Links to places of the chart, whose numbers there lead back."""
    return Markup(
        "".join(f"<a class=place id=c{one.number} href=#{one.target}>{markup(one.words)}</a>" for one in named)
    )


def figures(drawn: Sequence[Figure]) -> Markup:
    """Measurements as text, which the script makes plots of; those that something leads to have an id."""
    return Markup("".join(map(_figure, drawn)))


def _figure(one: Figure) -> str:
    cited = f' data-cited="{one.cited_text}"' if one.cited else ""
    carried = f' data-carried="{one.carried_text}"' if one.carried else ""
    answers = f' data-asked="{one.asked_text}"' if one.asked else ""
    name = f" id=chart-{one.key}" if one.matters or one.asked else ""
    return f"<figure{name}{cited}{answers}{carried}>{markup(one.label)}<p>{one.values}</figure>"
