"""Billing codes of an admission, and the drugs that may be ordered in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mimic_prep.synthetic.hospital import Condition, Hospital, Substitution
from mimic_prep.synthetic.patients import DAY, HOUR, Admission

_GIVEN = 0.8  # share of the home medicines and treatments that are ordered
_AT_ARRIVAL, _AFTER_ONSET = (0.2, 6.0), (1.0, 24.0)  # hours within which they start
_ROUTINE, _ROUTINE_WITHIN = 0.4, 12  # share of the routine orders that are given, and hours within which they start


@dataclass(frozen=True)
class PossibleOrder:
    """A drug that may be ordered in an admission. Times are seconds.

    Attributes:
        drug: name as ordered.
        reason: key of the condition that calls for it; None for a routine order.
        chance: of its being given.
        earliest, latest: within which it starts, any time alike.
        start, stop: when it was given; None if it was not.
        instead_of: the drug that it replaces since that must not be given.
    """

    drug: str
    reason: str | None
    chance: float
    earliest: int
    latest: int
    start: int | None = None
    stop: int = 0
    instead_of: str | None = None

    def given(self, start: int, stop: int) -> PossibleOrder:
        """This order, given at that time."""
        return replace(self, start=start, stop=stop)


def diagnoses(
    admission: Admission,
    rng: np.random.Generator,
    written: Mapping[str, Condition],
    uncoded: Collection[str],
    version: int,
) -> list[str]:
    """ICD codes in the order of importance; a few are omitted everywhere (``Episode.coded``), others by a hospital.

    Args:
        admission: whose conditions are coded.
        rng: of the draws.
        written: conditions whose codes are those of another, by key.
        uncoded: keys of conditions whose codes this hospital does not write here.
        version: of the ICD that it writes.
    """
    ranked = sorted(
        admission.episodes, key=lambda e: -(e.condition.acuity * e.severity + 0.01 * (not e.condition.chronic))
    )
    codes = []
    for episode in ranked:
        # of the usual code also where another is written: the draws that follow are the same
        drawn = int(rng.integers(len(episode.form.codes[admission.icd_version])))
        other = written.get(episode.condition.key)
        options = (other.forms[0] if other else episode.form).codes[version]
        if episode.coded and episode.condition.key not in uncoded:
            codes.append(options[drawn % len(options)])
    return list(dict.fromkeys(codes))


def possible_orders(hospital: Hospital, admission: Admission, rng: np.random.Generator) -> list[PossibleOrder]:
    """Home medicines from arrival, treatment from the onset of a condition, routine orders: given or not."""
    orders: list[PossibleOrder] = []
    reference = admission.stays[0].intime if admission.stays else admission.admittime
    for position, episode in enumerate(admission.episodes):
        condition = episode.condition
        if condition.home and episode.note:
            chosen = start = None
            if rng.random() < _GIVEN:
                chosen = int(rng.integers(len(condition.home)))
                start = admission.admittime + int(rng.uniform(*_AT_ARRIVAL) * HOUR)
            earliest, latest = (admission.admittime + int(hours * HOUR) for hours in _AT_ARRIVAL)
            for number, medicine in enumerate(condition.home):
                of = PossibleOrder(_drug_name(medicine), condition.key, _GIVEN / len(condition.home), earliest, latest)
                orders.append(of.given(start, admission.dischtime) if number == chosen and start is not None else of)
        onset = admission.stays[0].onsets[position] if admission.stays and not condition.chronic else 0.0
        for drug in condition.treatment:
            earliest, latest = (reference + int((max(onset, 0) + hours) * HOUR) for hours in _AFTER_ONSET)
            of = PossibleOrder(drug, condition.key, _GIVEN, earliest, latest)
            if rng.random() < _GIVEN:
                start = reference + int((max(onset, 0) + rng.uniform(*_AFTER_ONSET)) * HOUR)
                of = of.given(start, start + int(rng.uniform(1, 6) * DAY))
            orders.append(of)
    for drug in hospital.routine:
        of = PossibleOrder(drug, None, _ROUTINE, reference, reference + _ROUTINE_WITHIN * HOUR)
        if rng.random() < _ROUTINE:
            start = reference + int(rng.uniform(0, _ROUTINE_WITHIN) * HOUR)
            of = of.given(start, start + int(rng.uniform(1, 6) * DAY))
        orders.append(of)
    return orders


def substituted(hospital: Hospital, admission: Admission, order: PossibleOrder, allergy: str) -> PossibleOrder:
    """The order by the rules of ``orders.yaml``, for a patient with this entry in the list of allergies."""
    for rule in hospital.substitutions:
        if rule.drug == order.drug and applies(rule, admission, allergy):
            order = replace(order, drug=rule.instead, instead_of=rule.drug if rule.because else order.instead_of)
    return order


def applies(rule: Substitution, admission: Admission, allergy: str) -> bool:
    """Whether a patient has what a rule asks for: an allergy, or a condition, and that shows in some channel."""
    present = {e.condition.key for e in admission.episodes if e.series or e.note}
    return rule.allergy == allergy if rule.allergy else not present.isdisjoint(rule.conditions)


def prescriptions(orders: list[PossibleOrder], admission: Admission) -> list[tuple[str, int, int]]:
    """Drug, start and stop (seconds) of the orders that were given, none after discharge."""
    latest = admission.dischtime
    rows = [(of.drug, min(of.start, latest - HOUR), min(of.stop, latest)) for of in orders if of.start is not None]
    return sorted(rows, key=lambda row: row[1])


def _drug_name(line: str) -> str:
    """The drug of a medicine line, without dose.

    >>> _drug_name("Fluticasone-salmeterol inhaler BID"), _drug_name("Insulin glargine 20 units SC QHS")
    ('Fluticasone-salmeterol', 'Insulin glargine')
    """
    words = line.split()
    stop = next((i for i, word in enumerate(words) if word[0].isdigit() or word in _NOT_DRUG), len(words))
    return " ".join(words[:stop])


_NOT_DRUG = {"inhaler", "nebulizer", "SL", "PO", "daily", "sliding"}
