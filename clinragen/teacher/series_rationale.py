"""R_t: one sentence on what the series shows for the diagnoses, in real numbers, and nothing that was not charted.

It is written to be learned by a small model that reads the series: few patterns, first, last and extreme values only,
each said with "about" and rounded well within what that word allows, so that the student need not hit the last digit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import floor, log10

from clinragen.catalog import Variable, phenotypes, variables
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.facts import Fact
from clinragen.teacher.wording import Wording, listed, words
from clinragen.verify.figures import tolerance

OPENING = "Lab test shows"
MOST_WORDS = 50
LINKS = ("pointing to", "supporting", "consistent with", "suggesting")
NOT_MEASURED = ("no measurements", "nothing, as no values were charted")
ALL_NORMAL = ("no abnormal values", "only values within the reference ranges")
MOST_CLAIMS = 4
#: Severity, in widths of the range, from which a finding may speak for a diagnosis.
_SPEAKS = 0.1
#: Laboratory values whose being normal is worth saying, and how many of them are named.
WORTH = ("creatinine", "lactate", "wbc", "hemoglobin", "platelets", "potassium", "sodium", "bilirubin_total", "inr")
_MOST_NORMAL = 2
#: The day ends here: extremes are placed before or after it.
_DAY = 24
#: A finding is tied to a diagnosis in words only from this edge weight on.
POINTS_TO = 0.35
#: Findings that say nothing by themselves unless the diagnosis calls for them: treatment rather than patient.
_TREATMENT = (
    "fio2",
    "peep",
    "tidal_volume",
    "peak_pressure",
    "plateau_pressure",
    "mean_airway_pressure",
    "minute_volume",
)
#: Variables of which one tells what the others would.
_FAMILIES = (
    ("gcs_total", "gcs_motor", "gcs_verbal", "gcs_eye"),
    ("systolic_bp", "mean_bp", "diastolic_bp"),
    ("hemoglobin", "hematocrit"),
    ("bilirubin_total", "bilirubin_direct"),
    ("calcium", "ionized_calcium"),
    ("ldl", "cholesterol_total"),
    ("peak_pressure", "plateau_pressure", "mean_airway_pressure"),
)
# Charted every hour: single values outside the range are common and mean little.
_HOURLY = ("vital", "ventilation", "coma", "output")


@dataclass(frozen=True)
class Claim:
    """A checkable statement about one variable.

    Attributes:
        form: trend, extreme, level or normal.
        value, first: as charted: the extreme, the level or where a trend ends; where it begins.
        stated: the numbers as written, rounded.
        hour: of the extreme, where the statement places it.
    """

    variable: str
    direction: str
    form: str
    statement: str
    value: float
    first: float | None = None
    stated: tuple[str, ...] = ()
    hour: float | None = None

    def as_json(self) -> dict[str, object]:
        """The fields that are set."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}


def compose(
    facts: list[Fact], measured: bool, diagnoses: list[str], graph: ConceptGraph, wording: Wording
) -> tuple[str, list[Claim]]:
    """The sentence and its claims.

    Args:
        facts: of the stay's variables; ``measured`` tells "all normal" from "nothing charted".
        diagnoses: gold phenotype keys.
    """
    if not measured:
        return f"{OPENING} {wording.pick(NOT_MEASURED)}.", []
    abnormal = [fact for fact in facts if fact.direction != "normal"]
    if not abnormal:
        return f"{OPENING} {wording.pick(ALL_NORMAL)}.", []
    chosen = _choose(abnormal, diagnoses, graph)
    claims = {fact: claim(fact, graph, wording) for fact, _ in chosen}
    link = wording.pick(LINKS)
    for most in range(len(chosen), 0, -1):
        text = _grounds(chosen[:most], claims, link)
        told = [claims[fact] for fact, _ in chosen[:most]]
        if words(text) > MOST_WORDS and most > 1:
            continue
        open_ones = _unsupported(abnormal, [target for _, target in chosen[:most]], diagnoses, graph)
        for some in (open_ones, open_ones[:1]):
            if some and "no value" not in text:
                text = _within(text, f"; no value points to {listed([phenotypes()[key].name for key in some], 'or')}")
        normal = _normal([fact for fact in facts if fact.direction == "normal"], wording)
        longer = _within(text, f"; normal {listed([name(c.variable) for c in normal])}") if normal else text
        return f"{longer}.", told + (normal if longer != text else [])
    raise AssertionError("one claim always fits")  # the longest is half as long as the sentence may be


def _choose(facts: list[Fact], diagnoses: list[str], graph: ConceptGraph) -> list[tuple[Fact, str | None]]:
    """The facts to tell, with the diagnosis each speaks for: each step takes what explains most of the rest."""
    unexplained = dict.fromkeys(diagnoses, 1.0)
    left = list(facts)
    chosen: list[tuple[Fact, str | None]] = []
    while left and len(chosen) < MOST_CLAIMS:
        best: tuple[float, Fact, str | None] | None = None
        for fact in left:
            weight = (0.35 + 0.65 * fact.severity) * reliability(fact)
            ties = {key: graph.strength(fact.finding, key) for key in diagnoses}
            target = max(diagnoses, key=lambda key: (ties[key] * unexplained[key], key), default=None)
            gain = ties[target] * unexplained[target] if target else 0.0
            plain = (
                0.0
                if fact.variable in _TREATMENT or fact.finding == "finding:pao2:high"
                else 0.08
                if diagnoses
                else 1.0
            )
            score = weight * max(gain, plain)
            if best is None or (score, fact.finding) > (best[0], best[1].finding):
                speaks = target and ties[target] >= POINTS_TO and fact.severity >= _SPEAKS
                best = (score, fact, target if speaks else None)
        assert best is not None
        score, fact, target = best
        if score < 0.08 and chosen:
            break
        chosen.append((fact, target))
        left = [other for other in left if other.variable not in kin(fact)]
        for key in diagnoses:
            unexplained[key] *= 1.0 - 0.7 * graph.strength(fact.finding, key)
    return chosen


def kin(fact: Fact) -> tuple[str, ...]:
    """The variables of which one tells what the others would, the fact's own among them."""
    return next((family for family in _FAMILIES if fact.variable in family), (fact.variable,))


def reliability(fact: Fact) -> float:
    """How much a fact is worth for how often it was seen, 0..1: a single value of an hourly variable is little."""
    return 0.15 + 0.85 * fact.share if fact.spec.kind in _HOURLY else 0.5 + 0.5 * fact.share


def _unsupported(facts: list[Fact], told: list[str | None], diagnoses: list[str], graph: ConceptGraph) -> list[str]:
    """Up to two diagnoses that a series could speak for, and this one does not."""
    seen = {fact.finding for fact in facts if fact.severity >= _SPEAKS}
    found = []
    for key in diagnoses:
        strong = {node for node, (tie, _) in graph.evidence[key].items() if tie >= POINTS_TO}
        if key not in told and not strong & seen and any(node.startswith("finding:") for node in strong):
            found.append(key)
    return found[:2] if any(told) or found else diagnoses[:2]


def _within(text: str, addition: str) -> str:
    """The text with an addition, if it still is not too long."""
    return text + addition if words(text + addition) <= MOST_WORDS else text


def _normal(facts: list[Fact], wording: Wording) -> list[Claim]:
    """Which normal values are named: of those worth saying, a turn of them that varies from stay to stay."""
    known = {fact.variable: fact for fact in facts}
    worth = [key for key in WORTH if key in known]
    if not worth:
        return []
    first = wording.pick(range(len(worth)))
    named = sorted({worth[(first + step) % len(worth)] for step in range(_MOST_NORMAL)}, key=WORTH.index)
    return [Claim(key, "normal", "normal", name(key), known[key].last) for key in named]


def claim(fact: Fact, graph: ConceptGraph, wording: Wording) -> Claim:
    """One abnormal fact in words."""
    spec, direction = fact.spec, fact.direction
    high = direction == "high"
    if spec.unit == "flag":
        return Claim(fact.variable, direction, "level", graph.nodes[fact.finding]["name"], fact.extreme)
    label, end = name(fact.variable), _rounded(fact.last, fact)
    begin = _rounded(fact.first, fact)
    moves = spec.kind in ("lab", "gas") and fact.count > 1 and fact.outside(fact.last) and fact.trend
    if moves and (float(end) - float(begin)) * fact.trend > 0:
        verb = "rising" if fact.trend > 0 else "falling"
        text = f"{direction} {label} {verb} from about {begin} to {_with_unit(end, spec)}"
        return Claim(fact.variable, direction, "trend", text, fact.last, first=fact.first, stated=(begin, end))
    stated = _rounded(fact.extreme, fact)
    subject = _subject(fact, graph, wording)
    if fact.count == 1:
        text = f"{subject} of about {_with_unit(stated, spec)}"
        return Claim(fact.variable, direction, "level", text, fact.extreme, stated=(stated,))
    often = "persistently " if fact.share > 0.8 and subject.startswith(direction) else ""
    text = f"{often}{subject} {'up' if high else 'down'} to about {_with_unit(stated, spec)}"
    hour = None
    if spec.kind in _HOURLY and wording.pick((True, False, False, False)):
        hour = fact.extreme_hour
        near = round(hour / 6) * 6  # "around hour 12" is meant within three hours
        place = f"in the first {_DAY} hours" if hour < _DAY else f"after hour {_DAY}"
        text += f" {wording.pick((place, place, f'around hour {near}'))}"
    return Claim(fact.variable, direction, "extreme", text, fact.extreme, stated=(stated,), hour=hour)


def _subject(fact: Fact, graph: ConceptGraph, wording: Wording) -> str:
    """ "tachycardia" or "high heart rate": the finding's own name where it is a short one."""
    plain = f"{fact.direction} {name(fact.variable)}"
    known = graph.nodes[fact.finding]["name"] if fact.finding in graph.nodes else ""
    named = bool(known) and fact.spec.label.split()[-1] not in known and len(known.split()) == 1
    return wording.pick((known, plain)) if named else plain


def _rounded(value: float, fact: Fact) -> str:
    """A number as written: rounded within what "about" allows, but never across the bound it lies beyond.

    >>> fact = Fact("heart_rate", "high", 9, 4, 90.0, 104.0, 128.0, 3.0)
    >>> _rounded(128.0, fact), _rounded(101.0, fact)
    ('130', '101')
    """
    spec = fact.spec
    exact = f"{value:.{spec.decimals}f}"
    step = _step(value, spec)
    rounded = round(value / step) * step if step else value
    written = f"{rounded:.{0 if step >= 1 else spec.decimals}f}"
    if fact.outside(value) != fact.outside(float(written)) or float(written) == 0:
        return exact
    return written


def _step(value: float, spec: Variable) -> float:
    """The roundest step (1, 2 or 5 in a decade) that stays within four fifths of the tolerance of "about"."""
    allowed = 0.8 * tolerance(value, spec)
    if allowed <= 0:
        return 0.0
    decade = 10.0 ** floor(log10(allowed))
    step = max(factor * decade for factor in (1, 2, 5) if factor * decade <= allowed * (1 + 1e-9))
    return max(step, 10.0**-spec.decimals)


def _with_unit(written: str, spec: Variable) -> str:
    """The number with the unit of the variable, as the catalogue writes it."""
    return spec.format(0.0).replace(f"{0:.{spec.decimals}f}", written, 1)


def name(variable: str) -> str:
    """A variable as written in a sentence: no comma, no brackets.

    >>> name("gcs_total")
    'Glasgow coma scale total'
    """
    return variables()[variable].label.partition(" (")[0].replace(",", "")


def _grounds(chosen: list[tuple[Fact, str | None]], claims: dict[Fact, Claim], link: str) -> str:
    groups: dict[str | None, list[str]] = {}
    for fact, target in chosen:
        groups.setdefault(target, []).append(claims[fact].statement)
    parts = [
        f"{listed(statements)}, {link} {phenotypes()[target].name}"
        for target, statements in groups.items()
        if target is not None
    ]
    if None in groups:
        parts.append(f"{'also ' if parts else ''}{listed(groups[None])}")
    return f"{OPENING} {'; '.join(parts)}"
