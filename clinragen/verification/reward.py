"""How good a sampled rationale is, by its claims: one number, and whether it may be learned as it is.

What a rationale says must be true of this stay and not of every other: a claim is held against the charts of other
patients, too, and earns only what it earns nowhere else. So one sentence for all stays earns nothing where it is true,
and loses where it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from clinragen.catalog import variables
from clinragen.verification.claims import ABSENCE, Checked, Verdict
from clinragen.verification.grounds import grounded_diagnoses

TRUE = 1.0  # a telling claim that the chart bears out, times the share of other charts that do not
ARGUED = 1.0  # a listed diagnosis for which such a claim argues, times the highest of those shares
NOT_IN_CHART = -2.0  # a claim of what the chart does not hold
CONTRADICTED = -3.0  # a claim that the chart contradicts
REPEATED = -1.0  # each sequence of four words that was written before
OVERLONG = -0.1  # each word beyond the limit
_REPEAT = 4


class Reward(NamedTuple):
    """The reward of a rationale.

    Attributes:
        total: the sum; 0 for a text that says nothing.
        sound: nothing in it is unsupported, repeated or too long, and it earns something.
    """

    total: float
    sound: bool


def reward(
    text: str,
    claims: Sequence[Checked],
    elsewhere: Sequence[Sequence[Checked]],
    listed: Collection[str],
    most_words: int,
) -> Reward:
    """The reward of one rationale: the sum over its claims, diagnoses and words of the weights above.

    A claim is telling if it affirms a finding of the note, or states a measurement outside its reference range. What is
    denied, normal or absent earns nothing when it is true, and costs as much as anything else when it is not. So do
    diagnoses: affirming one that is not listed is an unsupported claim.

    Args:
        text: the rationale.
        claims: its claims against the chart of its own stay.
        elsewhere: its claims against the charts of other stays, for each of them.
        listed: keys of the diagnoses that are listed with it.
        most_words: the length limit of its kind.
    """
    specific = {_identity(claim, text): _specificity(claim, elsewhere) for claim in claims if _tells(claim)}
    argued = 0.0
    for key, grounds in grounded_diagnoses([(text, claims)]).items():
        if key in listed:
            argued += max((specific.get(_identity(ground, text), 0.0) for ground in grounds), default=0.0)
    earned = TRUE * sum(specific.values()) + ARGUED * argued
    standings = [claim.standing for claim in claims if claim.standing != ABSENCE]
    false = NOT_IN_CHART * standings.count(str(Verdict.NOT_IN_CHART))
    false += CONTRADICTED * standings.count(str(Verdict.CONTRADICTED))
    words = text.split()
    careless = REPEATED * _repeats(words) + OVERLONG * max(0, len(words) - most_words)
    return Reward(earned + false + careless, earned > 0 and not false and not careless)


def _identity(claim: Checked, text: str) -> tuple[str, str, str]:
    """What a claim says, so that saying it twice earns once."""
    return claim.kind, claim.about, text[claim.start : claim.end].lower()


def _tells(claim: Checked) -> bool:
    if claim.standing != Verdict.SUPPORTED or claim.negated:
        return False
    if claim.kind == "series":
        return any(variables()[name].direction(value) for name, _, value in claim.measured)
    return claim.kind == "finding"


def _specificity(claim: Checked, elsewhere: Sequence[Sequence[Checked]]) -> float:
    """The share of other charts that do not bear a claim out; 0 where there is no other."""
    return sum(not _holds(claim, claims) for claims in elsewhere) / max(1, len(elsewhere))


def _holds(claim: Checked, claims: Iterable[Checked]) -> bool:
    span = claim.start, claim.end, claim.kind, claim.about
    return any(
        other.standing == Verdict.SUPPORTED and (other.start, other.end, other.kind, other.about) == span
        for other in claims
    )


def _repeats(words: Sequence[str]) -> int:
    """Sequences of words that occurred before."""
    runs = [tuple(words[start : start + _REPEAT]) for start in range(len(words) - _REPEAT + 1)]
    return len(runs) - len(set(runs))
