"""R_t: one sentence on what the series shows for the diagnoses, in real numbers, and nothing that was not charted."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from clinragen.catalog import phenotypes
from clinragen.knowledge.graph import ConceptGraph
from clinragen.teacher.facts import Fact
from clinragen.teacher.wording import Wording, listed, words

OPENING = "Lab test shows"
MOST_WORDS = 50
LINKS = ("pointing to", "supporting", "consistent with", "suggesting")
NOT_MEASURED = ("no measurements", "nothing, as no values were charted")
ALL_NORMAL = ("no abnormal values", "only values within the reference ranges")
MOST_CLAIMS = 4
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
    """A checkable statement about one variable. ``form``: trend, extreme or level; ``hour`` only where it is stated."""

    variable: str
    direction: str
    form: str
    statement: str
    value: float
    first: float | None = None
    hour: float | None = None

    def as_json(self) -> dict[str, object]:
        """The fields that are set."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def compose(
    facts: list[Fact], measured: bool, diagnoses: list[str], graph: ConceptGraph, wording: Wording
) -> tuple[str, list[Claim]]:
    """The sentence and its claims.

    Args:
        facts: abnormal sides of the stay's variables; ``measured`` tells "all normal" from "nothing charted".
        diagnoses: gold phenotype keys.
    """
    if not measured:
        return f"{OPENING} {wording.pick(NOT_MEASURED)}.", []
    if not facts:
        return f"{OPENING} {wording.pick(ALL_NORMAL)}.", []
    chosen = _choose(facts, diagnoses, graph)
    claims = {fact: claim(fact, graph, wording) for fact, _ in chosen}
    for most in range(len(chosen), 0, -1):
        text = _sentence(chosen[:most], claims, diagnoses, wording)
        if words(text) <= MOST_WORDS:
            return text, [claims[fact] for fact, _ in chosen[:most]]
    fact = chosen[0][0]
    return f"{OPENING} {claims[fact].statement}.", [claims[fact]]


def _choose(facts: list[Fact], diagnoses: list[str], graph: ConceptGraph) -> list[tuple[Fact, str | None]]:
    """The facts to tell, with the diagnosis each speaks for: each step takes what explains most of the rest."""
    unexplained = dict.fromkeys(diagnoses, 1.0)
    left = list(facts)
    chosen: list[tuple[Fact, str | None]] = []
    while left and len(chosen) < MOST_CLAIMS:
        best: tuple[float, Fact, str | None] | None = None
        for fact in left:
            weight = (0.35 + 0.65 * fact.severity) * reliability(fact)
            ties = {key: graph.evidence[key].get(fact.finding, (0.0, ""))[0] for key in diagnoses}
            target = max(diagnoses, key=lambda key: (ties[key] * unexplained[key], key), default=None)
            gain = ties[target] * unexplained[target] if target else 0.0
            plain = 0.0 if fact.variable in _TREATMENT else 0.08 if diagnoses else 1.0
            score = weight * max(gain, plain)
            if best is None or (score, fact.finding) > (best[0], best[1].finding):
                best = (score, fact, target if target and ties[target] >= POINTS_TO else None)
        assert best is not None
        score, fact, target = best
        if score < 0.08 and chosen:
            break
        chosen.append((fact, target))
        left = [other for other in left if other.variable not in kin(fact)]
        for key in diagnoses:
            unexplained[key] *= 1.0 - 0.7 * graph.evidence[key].get(fact.finding, (0.0, ""))[0]
    return chosen


def kin(fact: Fact) -> tuple[str, ...]:
    """The variables of which one tells what the others would, the fact's own among them."""
    return next((family for family in _FAMILIES if fact.variable in family), (fact.variable,))


def reliability(fact: Fact) -> float:
    """How much a fact is worth for how often it was seen, 0..1: a single value of an hourly variable is little."""
    return 0.15 + 0.85 * fact.share if fact.spec.kind in _HOURLY else 0.5 + 0.5 * fact.share


def claim(fact: Fact, graph: ConceptGraph, wording: Wording) -> Claim:
    """One fact in words."""
    spec, direction = fact.spec, fact.direction
    label = name(fact.variable)
    if spec.unit == "flag":
        known = graph.nodes[fact.finding]["name"]
        return Claim(fact.variable, direction, "level", known, fact.extreme)
    high = direction == "high"
    trending = spec.kind in ("lab", "gas") and fact.count > 1 and fact.outside(fact.last) and fact.trend
    if trending:
        rise = fact.trend > 0
        verb = wording.pick(("rising", "increasing", "climbing") if rise else ("falling", "decreasing", "dropping"))
        start = f"{fact.first:.{spec.decimals}f}"
        state = direction if rise == high else f"still {direction}"
        text = f"{label} {verb} from {start} to {spec.format(fact.last)}, {state}"
        return Claim(fact.variable, direction, "trend", text, fact.last, first=fact.first)
    value = spec.format(fact.extreme)
    known = graph.nodes[fact.finding]["name"] if fact.finding in graph.nodes else ""
    named = bool(known) and spec.label.split()[-1] not in known and len(known.split()) < 3
    if named and wording.pick((True, False)):
        several = fact.count > 1
        text = f"{known} {('up to' if high else 'down to') if several else 'of'} {value}"
        form = "extreme" if several else "level"
    elif fact.count == 1:
        text, form = f"{direction} {label} of {value}", "level"
    else:
        often = "persistently " if fact.share > 0.8 else "repeatedly " if fact.abnormal > 2 else ""
        reach = wording.pick(("up to", "peaking at") if high else ("down to", "as low as"))
        text, form = f"{often}{direction} {label} {reach} {value}", "extreme"
    if form == "extreme" and wording.pick((True, False, False)):
        return Claim(
            fact.variable,
            direction,
            form,
            f"{text} at hour {fact.extreme_hour:.0f}",
            fact.extreme,
            hour=fact.extreme_hour,
        )
    return Claim(fact.variable, direction, form, text, fact.extreme)


def name(variable: str) -> str:
    """A variable as written in a sentence: no comma, no brackets.

    >>> name("gcs_total")
    'Glasgow coma scale total'
    """
    from clinragen.catalog import variables

    return variables()[variable].label.partition(" (")[0].replace(",", "")


def _sentence(
    chosen: list[tuple[Fact, str | None]], claims: dict[Fact, Claim], diagnoses: list[str], wording: Wording
) -> str:
    groups: dict[str | None, list[str]] = {}
    for fact, target in chosen:
        groups.setdefault(target, []).append(claims[fact].statement)
    link = wording.pick(LINKS)
    names = phenotypes()
    parts = [
        f"{listed(statements)}, {link} {names[target].name}"
        for target, statements in groups.items()
        if target is not None
    ]
    if None in groups:
        parts.append(f"{'also ' if parts else ''}{listed(groups[None])}")
    text = f"{OPENING} {'; '.join(parts)}"
    if diagnoses and not any(target for target in groups):
        text += f", without a value pointing to {listed([names[key].name for key in diagnoses[:2]], 'or')}"
    return f"{text}."
