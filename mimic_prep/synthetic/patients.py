"""Conditions of patients with severity and onset: the latent truth from which everything else is derived.

A patient's own generator is seeded by (seed, index): patient ``index`` is the same whatever the number of patients.
Times are seconds since 1970; hours of a condition count from the admission to intensive care.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

import numpy as np

from mimic_prep.synthetic.hospital import FACTORS, Condition, Hospital, Variant
from mimic_prep.synthetic.sites import YEAR_GROUPS, Group

HOUR = 3600
DAY = 24 * HOUR
#: Identifiers are spread over their eight-digit range by a step that is coprime to its size.
_RANGE, _STEP = 9_999_991, 7_368_787
_MAX_ADMISSIONS, _MAX_STAYS = 4, 2
MAX_PATIENTS = _RANGE // (_MAX_ADMISSIONS * _MAX_STAYS)

_MILD = 0.3  # share of the acute conditions of an intensive care patient that occur on the ward
FORGOTTEN = 0.025  # share of present conditions the coder leaves out
_ICD10_FROM = 2015.75  # 1 October 2015 in the United States


@dataclass(frozen=True)
class Episode:
    """One condition during one admission, by one of its names; ``series`` and ``note`` say which channels show it."""

    condition: Condition
    form: Variant
    name: str
    severity: float
    response: float
    series: bool
    note: bool
    coded: bool


@dataclass(frozen=True)
class SimulatedStay:
    """One stay in intensive care. ``onsets`` holds an hour from ``intime`` per episode, in the admission's order."""

    stay_id: int
    intime: int
    outtime: int
    onsets: list[float]
    ventilated: bool


@dataclass(frozen=True)
class Admission:
    """One hospital admission, with its stays in intensive care, if any."""

    hadm_id: int
    admittime: int
    dischtime: int
    icd_version: int
    died: bool
    emergency: bool
    has_note: bool
    episodes: list[Episode]
    stays: list[SimulatedStay]

    @property
    def illness(self) -> float:
        """Severity of illness, about 0 to 6; determines orders, devices and intervals."""
        return illness(self.episodes)

    @property
    def orders(self) -> set[str]:
        """Panels and devices ordered for the conditions that show in the series."""
        return {order for e in self.episodes if e.series for order in e.condition.orders}


@dataclass(frozen=True)
class Patient:
    """A person: ``factors`` are standard normal traits that correlate conditions."""

    index: int
    subject_id: int
    sex: str
    anchor_age: int
    anchor_year: int
    anchor_year_group: str
    factors: dict[str, float]
    admissions: list[Admission] = field(default_factory=list)


def illness(episodes: list[Episode]) -> float:
    """Acuity-weighted sum of severities of the conditions that show in the series."""
    return sum(e.condition.acuity * e.severity for e in episodes if e.series)


def identifier(base: int, number: int) -> int:
    """A unique eight-digit identifier for each ``number`` below ten million.

    >>> len({identifier(10_000_000, n) for n in range(5000)})
    5000
    """
    return base + (number * _STEP + base // 977) % _RANGE


def _log_odds(condition: Condition, attributes: dict[str, np.ndarray]) -> np.ndarray:
    return sum(
        (weight * attributes[name] for name, weight in condition.given.items()), np.zeros_like(attributes["age"])
    )


def _possible(condition: Condition, attributes: dict[str, np.ndarray]) -> np.ndarray:
    possible = np.ones_like(attributes["age"], dtype=bool)
    if condition.requires:
        possible &= np.any([attributes[name] > 0 for name in condition.requires], axis=0)
    for name in condition.excludes:
        possible &= attributes[name] == 0
    return possible


@cache
def _intercepts(names: tuple[str, ...]) -> dict[str, float]:
    """Intercepts that give each condition its prevalence, by bisection over a fixed population of virtual patients."""
    from mimic_prep.synthetic.hospital import load

    conditions = load().conditions
    rng = np.random.default_rng(20_000)
    attributes = {name: rng.normal(size=20_000) for name in FACTORS}
    intercepts: dict[str, float] = {}
    for name in names:
        condition = conditions[name]
        odds, possible, draw = _log_odds(condition, attributes), _possible(condition, attributes), rng.random(20_000)
        low, high, middle = -12.0, 12.0, 0.0
        for _ in range(40):
            middle = (low + high) / 2
            mean = np.mean(possible / (1 + np.exp(-odds - middle)))
            low, high = (middle, high) if mean < condition.prevalence else (low, middle)
        intercepts[name] = middle
        attributes[name] = (possible & (draw < 1 / (1 + np.exp(-odds - middle)))).astype(float)
    return intercepts


def _present(
    hospital: Hospital,
    factors: dict[str, float],
    chronic: set[str] | None,
    case_mix: dict[str, float],
    rng: np.random.Generator,
) -> set[str]:
    """Draw the conditions of an admission in file order; ``chronic`` ones are kept when given.

    ``case_mix`` are log odds that are added to those of a condition.
    """
    intercepts = _intercepts(tuple(hospital.conditions))
    attributes = {name: np.array([value]) for name, value in factors.items()}
    present: set[str] = set()
    for (name, condition), draw in zip(hospital.conditions.items(), rng.random(len(hospital.conditions)), strict=True):
        if condition.chronic and chronic is not None:
            has = name in chronic
        else:
            odds = float(_log_odds(condition, attributes)[0]) + intercepts[name] + case_mix.get(name, 0.0)
            has = bool(_possible(condition, attributes)[0]) and draw < 1 / (1 + np.exp(-odds))
        attributes[name] = np.array([float(has)])
        if has:
            present.add(name)
    return present


def _episodes(hospital: Hospital, present: set[str], rng: np.random.Generator) -> list[Episode]:
    episodes = []
    for name, condition in hospital.conditions.items():
        if name not in present:
            continue
        forms = condition.forms
        weights = np.array([form.weight for form in forms])
        draws = rng.random(4)
        series, note = bool(draws[0] < condition.series), bool(draws[1] < condition.note)
        if condition.planted == "both" and not (series or note):  # such a condition nearly always shows in some channel
            series, note = bool(draws[3] < 0.45), bool(draws[3] > 0.55)
        form = forms[int(rng.choice(len(forms), p=weights / weights.sum()))]
        episodes.append(
            Episode(
                condition=condition,
                form=form,
                name=form.names[int(rng.integers(len(form.names)))],
                severity=float(np.clip(np.exp(rng.normal(0, 0.33)), 0.4, 1.8)),
                response=float(np.clip(condition.response * rng.uniform(0.4, 1.5), 0, 0.95)),
                series=series,
                note=note,
                coded=bool(draws[2] > FORGOTTEN),
            )
        )
    return episodes


def _stays(
    number: int, admittime: int, episodes: list[Episode], score: float, rng: np.random.Generator
) -> list[SimulatedStay]:
    """One stay, or sometimes a second one after some days on the ward, when acute conditions recur."""
    stays: list[SimulatedStay] = []
    time = admittime + int(rng.choice([rng.uniform(0.2, 8), rng.uniform(12, 60)], p=[0.85, 0.15]) * HOUR)
    for order in range(_MAX_STAYS if rng.random() < 0.07 else 1):
        hours = float(np.clip(np.exp(rng.normal(np.log(58 + 8 * score), 0.55)), 9, 14 * 24))
        risk = max((e.condition.vent * min(e.severity, 1.2) for e in episodes if e.series), default=0.0)
        stays.append(
            SimulatedStay(
                stay_id=identifier(30_000_000, number * _MAX_STAYS + order),
                intime=time,
                outtime=time + int(hours * HOUR),
                onsets=[
                    -1000.0 if e.condition.chronic else float(rng.uniform(e.condition.onset[0], e.condition.onset[1]))
                    for e in episodes
                ],
                ventilated=bool(rng.random() < max(risk, 0.05)),
            )
        )
        time = stays[-1].outtime + int(rng.uniform(20, 90) * HOUR)
    return stays


def _admission(
    hospital: Hospital,
    number: int,
    admittime: int,
    real_year: float,
    present: set[str],
    icu: bool,
    rng: np.random.Generator,
) -> Admission:
    if not icu:
        here = rng.random(len(hospital.conditions)) < _MILD
        retained = dict(zip(hospital.conditions, here, strict=True))
        present = {name for name in present if hospital.conditions[name].chronic or retained[name]}
    episodes = _episodes(hospital, present, rng)
    score = illness(episodes)
    stays = _stays(number, admittime, episodes, score, rng) if icu else []
    left = stays[-1].outtime if stays else admittime
    died = bool(icu and rng.random() < 1 / (1 + np.exp(4.4 - 0.6 * score)))
    return Admission(
        hadm_id=identifier(20_000_000, number),
        admittime=admittime,
        dischtime=left if died else left + int(rng.uniform(0.8, 7) * DAY),
        icd_version=10 if real_year >= _ICD10_FROM else 9,
        died=died,
        emergency=bool(rng.random() < 0.72),
        has_note=bool(rng.random() > 0.02),
        episodes=episodes,
        stays=stays,
    )


def draw_patient(
    hospital: Hospital, seed: int, index: int, of: Group | None = None
) -> tuple[Patient, np.random.Generator]:
    """Draw patient ``index``; also returns the generator for measurements and notes.

    ``of`` is the hospital group; by default a single hospital that does not change.
    """
    latent, measuring = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, index]).spawn(2))
    age = float(np.clip(latent.normal(65, 16), 18, 97))
    factors = {name: float(value) for name, value in zip(FACTORS, latent.normal(size=len(FACTORS)), strict=True)}
    factors["age"] = (age - 65) / 16
    year = int(latent.integers(2110, 2196))
    group = int(latent.integers(len(YEAR_GROUPS)))
    real = 2008 + 3 * group + float(latent.uniform(0, 3))
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) + int(latent.uniform(0, 364) * DAY)
    patient = Patient(
        index=index,
        subject_id=identifier(10_000_000, index),
        sex="F" if latent.random() < 0.45 else "M",
        anchor_age=int(age) if age <= 89 else 91,  # as MIMIC-IV masks every age above 89
        anchor_year=year,
        anchor_year_group=YEAR_GROUPS[group],
        factors=factors,
    )
    earlier = int(latent.choice(_MAX_ADMISSIONS, p=[0.5, 0.28, 0.15, 0.07]))
    case_mix = (of or Group(seed)).habits(index, YEAR_GROUPS[group]).case_mix
    chronic = {n for n in _present(hospital, factors, None, case_mix, latent) if hospital.conditions[n].chronic}
    time = start
    for order in range(earlier + 1):
        icu = order == earlier or bool(latent.random() < 0.12)
        present = _present(hospital, factors, chronic, case_mix, latent)
        number = index * _MAX_ADMISSIONS + order
        when = real + (time - start) / (365.25 * DAY)
        admission = _admission(hospital, number, time, when, present, icu, latent)
        patient.admissions.append(admission)
        if admission.died:
            break
        time = admission.dischtime + int(latent.uniform(20, 500) * DAY)
    return patient, measuring


def draw_patients(hospital: Hospital, of: Group, indices: range) -> Iterator[tuple[Patient, np.random.Generator]]:
    """Draw several patients of a hospital group, each from their own seed."""
    for index in indices:
        yield draw_patient(hospital, of.seed, index, of)
