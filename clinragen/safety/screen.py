"""Screen a drug that may be started against what is known of a patient: allergies, other drugs, kidneys, liver, values.

A drug without a caution is not thereby safe: ``unchecked`` says what was not looked at, in general and for a stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from clinragen.catalog import variable
from clinragen.drugs import Drug
from clinragen.safety.allergies import Allergy, AllergyList
from clinragen.safety.cautions import SEVERITIES, Caution, DrugOrder, Kind, MeasuredValue, NotePhrase, Severity, milder
from clinragen.safety.context import PatientContext
from clinragen.safety.kidney import ADULT, kidney_function
from clinragen.safety.rules import EGFR, Duplicate, Limit, rules
from clinragen.safety.substances import is_local, names_of, substances

_LONGEST = 100  # characters of an allergy list that a sentence repeats
_GENERAL = (
    "doses, routes and durations of orders: a smaller dose may meet a caution, and a dose may be too high anyway",
    "prolongation of the QT interval by one drug, and without a thesaurus by two: no ECG is read",
    "pregnancy, breast-feeding and inherited traits (such as G6PD deficiency): the chart does not say them reliably",
    "contraindications by diagnosis (asthma, heart failure, bleeding, epilepsy, myasthenia) and by age",
    "drug levels (vancomycin, digoxin, phenytoin, tacrolimus): the catalogue has none",
    "allergies that are written outside the allergy list, and AllergyIntolerance of FHIR exports, which is not read",
    "severity of liver disease (Child-Pugh): ascites and encephalopathy are not graded, bilirubin and ALT are read",
    "creatinine clearance by weight: limits of labels are compared with the estimated GFR",
)


class Thesaurus(Protocol):
    """A list of interactions beyond the curated core."""

    def interactions(self, drug: Drug, other: Drug) -> Iterable[tuple[Severity, str, str]]:
        """(severity, sentence, source) of each interaction of two drugs."""
        ...

    def unchecked(self) -> list[str]:
        """What it does not cover."""
        ...


def screen(drug: Drug, context: PatientContext, thesaurus: Thesaurus | None = None) -> list[Caution]:
    """What in the chart speaks against starting a drug now, the gravest first. No caution does not mean safe.

    Args:
        drug: as ``clinragen.drugs.drug_of`` gives it.
        context: what is known of the patient.
        thesaurus: a list of interactions beside the curated ones, such as ``clinragen.safety.ansm``.
    """
    cautions = list(_by_allergy(drug, context.allergies or AllergyList()))
    if not is_local(drug):
        others = _others(drug, context)
        cautions += _by_duplicate(drug, context.in_force)
        cautions += _by_measurement(drug, context)
        cautions += _by_interaction(drug, others)
        cautions += _by_thesaurus(drug, others, thesaurus) if thesaurus is not None else ()
    return sorted(dict.fromkeys(cautions), key=lambda caution: caution.rank)


def unchecked(context: PatientContext | None = None, thesaurus: Thesaurus | None = None) -> list[str]:
    """What the screen does not look at, one sentence each.

    Args:
        context: adds what is missing in the chart of this patient.
        thesaurus: the list that ``screen`` was given; without one, its absence is said.
    """
    missing = list(_missing(context)) if context is not None else []
    if thesaurus is None:
        missing.append("interactions beyond the curated core: no thesaurus of interactions was given")
    else:
        missing += thesaurus.unchecked()
    return [*missing, *_GENERAL]


def _missing(context: PatientContext) -> Iterator[str]:
    """What this chart lacks."""
    yield from _missing_allergies(context.allergies)
    if not context.orders_read:
        yield "duplicates and interactions: the cohort has no orders of drugs"
    elif not context.in_force:
        yield "duplicates and interactions: no known drug is in force, or this hospital's orders are not in the data"
    if context.unnamed_orders:
        yield f"duplicates and interactions with {context.unnamed_orders} orders in force whose drug is not known"
    yield from _missing_kidneys(context)
    for key, label in (("bilirubin_total", "liver: bilirubin"), ("alt", "liver: ALT"), ("potassium", "potassium")):
        if key not in context.series:
            yield f"{label} was not measured before the prediction time"


def _missing_allergies(allergies: AllergyList | None) -> Iterator[str]:
    if allergies is None:
        yield "allergies: the notes have no allergy list"
        return
    for phrase in allergies.elsewhere:
        yield f'allergies: the list points elsewhere ("{_short(phrase.text)}")'
    for phrase in allergies.unread:
        yield f'allergies: an entry could not be read ("{_short(phrase.text)}")'


def _missing_kidneys(context: PatientContext) -> Iterator[str]:
    creatinine = context.series.get("creatinine")
    if context.dialysis is not None or kidney_function(creatinine, context.age, context.sex) is not None:
        return
    if creatinine is None:
        yield "kidney function: creatinine was not measured before the prediction time"
    else:
        yield f"kidney function: {'the equation is for adults' if context.age < ADULT else 'the sex is not known'}"


class _Other(NamedTuple):
    """Another drug that a drug may interact with."""

    drug: Drug
    orders: tuple[DrugOrder, ...]
    met: str  # the beginning of a sentence


def _others(drug: Drug, context: PatientContext) -> list[_Other]:
    """The drugs in force, and earlier ones that act on for long, each once."""
    in_force = _by_ingredient(context.in_force)
    others = [
        _Other(_drug(orders[0]), orders, f"with {ingredient}, which is in force")
        for ingredient, orders in in_force.items()
    ]
    for ingredient, orders in _by_ingredient(context.earlier).items():
        if ingredient not in in_force and names_of(_drug(orders[0])) & rules().lasting:
            since = "was taken before admission" if orders[0].kind == "home" else "was given before"
            others.append(_Other(_drug(orders[0]), orders, f"with {ingredient}, which {since} and acts on for long"))
    return [other for other in others if other.drug.ingredient != drug.ingredient]


def _drug(order: DrugOrder) -> Drug:
    return Drug(order.ingredient, order.drug_class)


# Allergies


def _by_allergy(drug: Drug, allergies: AllergyList) -> Iterator[Caution]:
    for allergy in allergies.allergies:
        caution = _same_allergy(drug, allergy)
        if caution is None and not names_of(drug) & allergies.tolerated:
            caution = _cross_reaction(drug, allergy)
        if caution is not None:
            yield caution


def _same_allergy(drug: Drug, allergy: Allergy) -> Caution | None:
    """The list names the drug, one of its ingredients, or its group."""
    severity = rules().same_allergy[allergy.reaction]
    because = _listed(allergy)
    ingredients = {substance.ingredient for substance in substances(drug)}
    named = set(allergy.groups & names_of(drug))
    parts = set()
    if allergy.drug is not None:
        named |= {allergy.drug.ingredient} & ingredients
        parts = {substance.ingredient for substance in substances(allergy.drug) if substance.part} & ingredients
    if not named and not parts:
        return None
    if not named:  # which of the parts it was is not written
        severity = milder(severity)
        because += f", a combination with {sorted(parts)[0]}"
    return Caution("allergy", severity, drug.ingredient, because, (allergy.phrase,), rules().same_allergy_source)


def _cross_reaction(drug: Drug, allergy: Allergy) -> Caution | None:
    """The gravest of the cross-reactions with what an entry names."""
    named = allergy.groups | (names_of(allergy.drug) if allergy.drug is not None else frozenset())
    mine = names_of(drug)
    cautions = [
        Caution(
            "cross_reaction",
            rule.severity[allergy.reaction],
            drug.ingredient,
            f"{_listed(allergy)}, and {rule.because}",
            (allergy.phrase,),
            rule.source,
        )
        for rule in rules().cross_reactions
        if rule.from_ in named and rule.to in mine and allergy.reaction in rule.severity
    ]
    return min(cautions, key=lambda caution: caution.rank, default=None)


def _listed(allergy: Allergy) -> str:
    written = f'the allergy list names "{_short(allergy.phrase.text)}"'
    return written if allergy.stated else f"{written} without a reaction"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


# Other drugs


def _by_duplicate(drug: Drug, in_force: tuple[DrugOrder, ...]) -> Iterator[Caution]:
    mine = names_of(drug)
    ingredients = {substance.ingredient for substance in substances(drug)}
    for ingredient, orders in _by_ingredient(in_force).items():
        other = _drug(orders[0])
        theirs = {substance.ingredient for substance in substances(other)}
        if shared := ingredients & theirs:
            if {drug.drug_class, other.drug_class} <= rules().repeated_classes:
                continue
            same = rules().same_order
            because = same.because
            if ingredient != drug.ingredient:
                because = f"{ingredient} is in force, and holds {sorted(shared)[0]} too"
            yield _from_orders("duplicate", same.severity, drug, because, orders, same.source)
        if ingredient == drug.ingredient:
            continue
        for rule in rules().duplicates:
            if rule.group in mine and rule.group in names_of(other):
                severity = _duplicate_severity(rule, mine, names_of(other))
                because = f"{ingredient} is in force, and {rule.because}"
                yield _from_orders("duplicate", severity, drug, because, orders, rule.source)


def _duplicate_severity(rule: Duplicate, mine: frozenset[str], theirs: frozenset[str]) -> Severity:
    for pair in rule.unless:
        one, two = sorted(pair)
        if (one in mine and two in theirs) or (two in mine and one in theirs):
            return rule.then
    return rule.severity


def _by_interaction(drug: Drug, others: list[_Other]) -> Iterator[Caution]:
    mine = names_of(drug)
    for other in others:
        theirs = names_of(other.drug)
        for rule in rules().pairs:
            if (mine & rule.a and theirs & rule.b) or (mine & rule.b and theirs & rule.a):
                because = f"{other.met}: {rule.because}"
                yield _from_orders("interaction", rule.severity, drug, because, other.orders, rule.source)


def _by_thesaurus(drug: Drug, others: list[_Other], thesaurus: Thesaurus) -> Iterator[Caution]:
    for other in others:
        for severity, sentence, source in thesaurus.interactions(drug, other.drug):
            yield _from_orders("interaction", severity, drug, f"{other.met}: {sentence}", other.orders, source)


def _by_ingredient(orders: Iterable[DrugOrder]) -> dict[str, tuple[DrugOrder, ...]]:
    grouped: dict[str, list[DrugOrder]] = {}
    for order in orders:
        if not is_local(_drug(order)):
            grouped.setdefault(order.ingredient, []).append(order)
    return {ingredient: tuple(grouped[ingredient]) for ingredient in sorted(grouped)}


def _from_orders(
    kind: Kind, severity: Severity, drug: Drug, because: str, orders: tuple[DrugOrder, ...], source: str
) -> Caution:
    return Caution(kind, severity, drug.ingredient, because, orders, source)


# Kidneys, liver, other values


def _by_measurement(drug: Drug, context: PatientContext) -> Iterator[Caution]:
    """One caution for each variable: the gravest, where limits of the drug and of its group are crossed."""
    mine = names_of(drug)
    gravest_of: dict[tuple[str, str], Caution] = {}
    for limit in rules().limits:
        if mine & limit.drugs:
            caution = _renal(drug, limit, context) if limit.variable == EGFR else _measured(drug, limit, context)
            key = limit.kind, limit.variable
            if caution is not None and (key not in gravest_of or caution.rank < gravest_of[key].rank):
                gravest_of[key] = caution
    yield from gravest_of.values()


def _renal(drug: Drug, limit: Limit, context: PatientContext) -> Caution | None:
    if context.dialysis is not None:
        where = context.dialysis
        named = f'the notes name "{where.text}"' if isinstance(where, NotePhrase) else f"{where.ingredient} is in force"
        severity = limit.levels[0][1]
        return Caution("renal", severity, drug.ingredient, f"{named}: {limit.because}", (where,), limit.source)
    if "creatinine" not in context.series:
        return _kidneys_unknown(drug, limit)
    kidneys = kidney_function(context.series["creatinine"], context.age, context.sex)
    if kidneys is None or (crossed := limit.crossed(kidneys.egfr)) is None:
        return None
    last, before = kidneys.creatinine, kidneys.compared
    sentence = f"{_stated(last)} (estimated GFR {kidneys.egfr:.0f} mL/min/1.73 m2"
    evidence: tuple[MeasuredValue, ...] = (last,)
    if kidneys.course != "steady":
        verb, truth = ("risen", "lower") if kidneys.course == "rising" else ("fallen", "higher")
        number = variable("creatinine").format(before.value)
        sentence += f"; it has {verb} from {number} at hour {before.hour:g}, so the true GFR is {truth}"
        evidence = (before, last)
    return Caution("renal", crossed[1], drug.ingredient, f"{sentence}): {limit.because}", evidence, limit.source)


def _kidneys_unknown(drug: Drug, limit: Limit) -> Caution | None:
    """To measure creatinine first, where it may forbid the drug; a dose can wait for it."""
    bound, severity = limit.levels[0]
    if severity != "contraindicated":
        return None
    sentence = f"creatinine was not measured before the prediction time, and an estimated GFR {limit.side} {bound:g}"
    return Caution("renal", "avoid", drug.ingredient, f"{sentence} forbids it: {limit.because}", (), limit.source)


def _measured(drug: Drug, limit: Limit, context: PatientContext) -> Caution | None:
    values = context.series.get(limit.variable)
    if values is None:
        return None
    last = MeasuredValue(limit.variable, float(values.hours[-1]), float(values.values[-1]))
    crossed = limit.crossed(variable(limit.variable).written(last.value))
    if crossed is None:
        return None
    sentence = f"{_stated(last)}, {limit.side} {crossed[0]:g}: {limit.because}"
    return Caution(limit.kind, crossed[1], drug.ingredient, sentence, (last,), limit.source)


def _stated(measured: MeasuredValue) -> str:
    spec = variable(measured.variable)
    label = spec.label if spec.label.isupper() else spec.label[0].lower() + spec.label[1:]
    return f"{label} {spec.format(measured.value)} at hour {measured.hour:g}"


def gravest(cautions: Iterable[Caution]) -> Severity | None:
    """The gravest severity of some cautions; None without any."""
    severities = {caution.severity for caution in cautions}
    return next((severity for severity in SEVERITIES if severity in severities), None)
