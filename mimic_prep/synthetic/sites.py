"""Hospitals with habits of their own, and years that change: what ``--sites``, ``--drift`` and ``--recoding`` plant.

A patient's hospital, what is not charted of a stay, and what is coded otherwise, is drawn from seeds of their own,
apart from all other draws: without sites, drift and recoding every byte is that of a single hospital, and the first of
several hospitals is this hospital. What ``--site-drift`` plants between them is in ``site_drift.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Literal, NotRequired, TypedDict, get_args

import numpy as np
import pyarrow as pa

from clinragen.catalog import variable
from clinragen.config import load_yaml
from clinragen.errors import UserError, unknown_choice
from clinragen.schema import SITES
from mimic_prep.synthetic.hospital import Hospital, load
from mimic_prep.synthetic.site_drift import SITES_FILE, SiteDrift, read_site_drift

MOST_SITES, MOST_DRIFT = 100, 3.0
#: Columns that are added to the admissions of a hospital group; MIMIC-IV, which is of one hospital, has none.
COLUMNS = ("hospital_id", "network_id")
YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019")
_PER_NETWORK = 3
_SITE, _CHARTED, _RECODED = 101, 102, 103  # what a seed is for
_TERSE = ("Social History", "Family History", "Discharge Instructions")
_HEADING = re.compile(r"(?m)^([A-Z][A-Za-z ]+):$")

NoteStyle = Literal["usual", "terse", "capitals"]
#: The values of an item as they are written for an admission (hadm_id, item, values); None where they are not.
Charting = Callable[[int, int, np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class Habits:
    """What is otherwise at one hospital, or in one group of years; explained in ``sites.yaml``."""

    case_mix: dict[str, float] = field(default_factory=dict)
    rarely: dict[str, float] = field(default_factory=dict)
    unit: dict[str, str] = field(default_factory=dict)
    notes: NoteStyle = "usual"


@dataclass(frozen=True)
class RecodingRule:
    """From which group of years on the codes of pairs of conditions change places."""

    begins: str
    pairs: list[list[str]]


class PlantedSite(TypedDict):
    """A hospital in ``truth/sites.json``."""

    hospital: str
    network: str
    habits: dict[str, object]
    drift: NotRequired[dict[str, object]]


class Planted(TypedDict):
    """``truth/sites.json``: what each hospital does otherwise, and what changes over the years, by group."""

    sites: list[PlantedSite]
    drift: float
    years: dict[str, dict[str, object]]
    recoding: NotRequired[PlantedRecoding]


class PlantedRecoding(TypedDict):
    """From which group of years on the codes of which pairs of conditions change places, in a share of admissions."""

    begins: str
    pairs: list[list[str]]
    share: float


@dataclass(frozen=True)
class Group:
    """A hospital group: how many hospitals, and how much changes over the years.

    Attributes:
        seed: of all draws.
        sites: number of hospitals.
        drift: change of patients and charting.
        recoding: share of the later admissions in which the codes of a pair of conditions change places.
        site_drift: how far coding and charting lag of the hospitals lie apart.
    """

    seed: int
    sites: int = 1
    drift: float = 0.0
    recoding: float = 0.0
    site_drift: float = 0.0

    @property
    def is_usual(self) -> bool:
        """Whether it is a single hospital that does not change."""
        return self.sites == 1 and not self.drift and not self.recoding

    def site(self, index: int) -> int:
        """The hospital of a patient, from 0."""
        return int(np.random.default_rng([self.seed, index, _SITE]).integers(self.sites)) if self.sites > 1 else 0

    def names(self, index: int) -> tuple[str, ...]:
        """Hospital and network of a patient; none for a single hospital."""
        return site_names(self.site(index)) if self.sites > 1 else ()

    def habits(self, index: int, years: str) -> Habits:
        """The habits of a patient's hospital in a group of years."""
        if self.is_usual:
            return Habits()
        sites, changed = read_sites()
        here, now = sites[self.site(index) % len(sites)], _in_years(changed, years, self.drift)
        shifts, shares = here.case_mix | now.case_mix, here.rarely | now.rarely
        return Habits(
            {name: here.case_mix.get(name, 0.0) + now.case_mix.get(name, 0.0) for name in shifts},
            {name: here.rarely.get(name, 1.0) * now.rarely.get(name, 1.0) for name in shares},
            here.unit,
            here.notes,
        )

    def site_drift_of(self, index: int) -> SiteDrift:
        """What the hospital of a patient codes and charts otherwise."""
        return self._drift_at(self.site(index)) if self.site_drift else SiteDrift()

    def _drift_at(self, site: int) -> SiteDrift:
        planted = read_site_drift()
        return planted[site % len(planted)].scaled(self.site_drift)

    def charting(self, hospital: Hospital, index: int, years: str) -> Charting | None:
        """How values of a patient are written; None where all are, as they are."""
        habits = self.habits(index, years)
        if not habits.rarely and not habits.unit:
            return None
        names = _variable_of(tuple(hospital.measured))
        order = list(hospital.measured)

        def charted(hadm: int, item: int, values: np.ndarray) -> np.ndarray | None:
            name = names.get(item, "")
            if name in habits.rarely:
                drawn = np.random.default_rng([self.seed, hadm, order.index(name), _CHARTED]).random()
                if drawn >= habits.rarely[name]:
                    return None
            if name in habits.unit:
                scale, offset = variable(name).accepts[habits.unit[name]]
                return np.round((values - offset) / scale, 2)
            return values

        return charted

    def recoded(self, hadm: int, present: set[str], years: str) -> dict[str, str]:
        """Those of the conditions present in an admission that are written as another one -> the other one."""
        if not self.recoding:
            return {}
        rule, written = read_recoding(), {}
        for number, pair in enumerate(rule.pairs if years >= rule.begins else []):
            drawn = np.random.default_rng([self.seed, hadm, number, _RECODED]).random()
            if drawn < self.recoding and len(present.intersection(pair)) == 1:
                first, second = pair
                written |= {first: second} if first in present else {second: first}
        return written

    def planted(self) -> Planted:
        """What there is to find, for ``truth/sites.json``."""
        sites, changed = read_sites()
        described: list[PlantedSite] = []
        for number in range(self.sites):
            hospital, network = site_names(number)
            habits = asdict(sites[number % len(sites)])
            row: PlantedSite = {"hospital": hospital, "network": network, "habits": habits}
            if self.site_drift:
                row["drift"] = asdict(self._drift_at(number))
            described.append(row)
        years = {name: asdict(_in_years(changed, name, self.drift)) for name in YEAR_GROUPS} if self.drift else {}
        planted: Planted = {"sites": described, "drift": self.drift, "years": years}
        if self.recoding:
            rule = read_recoding()
            planted["recoding"] = {"begins": rule.begins, "pairs": rule.pairs, "share": self.recoding}
        return planted

    def table(self, stays: Iterable[tuple[int, int, str]]) -> pa.Table:
        """``truth/sites.parquet`` of stays (stay_id, index of the patient, group of years)."""
        rows = [[stay, *(self.names(index) or (None, None)), years] for stay, index, years in stays]
        return pa.Table.from_pylist([dict(zip(SITES.names, row, strict=True)) for row in rows], schema=SITES)


def checked(seed: int, sites: int, drift: float, recoding: float, site_drift: float) -> Group:
    """The hospital group of options as a user gives them.

    Raises:
        UserError: a number out of range.
    """
    if seed < 0:
        raise UserError(f"--seed {seed}: expected 0 or more")
    if not 1 <= sites <= MOST_SITES:
        raise UserError(f"--sites {sites}: expected 1 to {MOST_SITES}")
    if not 0 <= drift <= MOST_DRIFT:
        raise UserError(f"--drift {drift:g}: expected 0 (no change) to {MOST_DRIFT:g}")
    if not 0 <= recoding <= 1:
        raise UserError(f"--recoding {recoding:g}: expected a share of the admissions, from 0 to 1")
    if not 0 <= site_drift <= MOST_DRIFT:
        raise UserError(f"--site-drift {site_drift:g}: expected 0 (no difference) to {MOST_DRIFT:g}")
    if site_drift and sites == 1:
        raise UserError(f"--site-drift {site_drift:g} lies between hospitals: expected --sites 2 or more")
    return Group(seed, sites, drift, recoding, site_drift)


def site_names(number: int) -> tuple[str, str]:
    """The names of a hospital and of its network.

    >>> site_names(0), site_names(4)
    (('hospital-1', 'network-1'), ('hospital-5', 'network-2'))
    """
    return f"hospital-{number + 1}", f"network-{number // _PER_NETWORK + 1}"


def in_style(text: str, notes: NoteStyle) -> str:
    """A discharge summary as a hospital writes it.

    >>> in_style("Sex: F\\n \\nSocial History:\\nRetired.\\n \\nPhysical Exam:\\nWell.\\n", "terse")
    'Sex: F\\n \\nPhysical Exam:\\nWell.\\n'
    >>> in_style("Physical Exam:\\nWell.\\n", "capitals")
    'PHYSICAL EXAM:\\nWell.\\n'
    """
    if notes == "terse":
        sections = text.split("\n \n")
        return "\n \n".join(part for part in sections if not part.startswith(tuple(f"{name}:" for name in _TERSE)))
    return _HEADING.sub(lambda match: match[0].upper(), text) if notes == "capitals" else text


@cache
def read_sites() -> tuple[list[Habits], Habits]:
    """The habits of the hospitals, and what changes from the first group of years to the last.

    Raises:
        UserError: an unknown key, condition, variable, unit or style, or a share out of range.
    """
    hospital, raw = load(), load_yaml(SITES_FILE)
    sites = [_habits(hospital, row, f"sites.{number}") for number, row in enumerate(raw["sites"], 1)]
    drift = raw["drift"]
    lost = {name: 1 - float(share) for name, share in drift["charting"].items()}
    return sites, _habits(hospital, {"case_mix": drift["prevalence"], "rarely": lost}, "drift")


@cache
def read_recoding() -> RecodingRule:
    """The pairs of conditions whose codes may change places, and from when on.

    Raises:
        UserError: an unknown condition or group of years, or a list that is no pair.
    """
    conditions, raw = load().conditions, load_yaml(SITES_FILE)["recoding"]
    if raw["from"] not in YEAR_GROUPS:
        raise UserError(f"{SITES_FILE}: recoding.from: {unknown_choice('group of years', raw['from'], YEAR_GROUPS)}")
    for pair in raw["pairs"]:
        for name in pair:
            if name not in conditions:
                raise UserError(f"{SITES_FILE}: recoding.pairs: {unknown_choice('condition', name, conditions)}")
        if len(pair) != 2:
            raise UserError(f"{SITES_FILE}: recoding.pairs: expected pairs of conditions, not {', '.join(pair)}")
    return RecodingRule(raw["from"], raw["pairs"])


def _habits(hospital: Hospital, row: dict[str, object], where: str) -> Habits:
    names = list(Habits.__dataclass_fields__)
    for key in row:
        if key not in names:
            raise UserError(f"{SITES_FILE}: {where}: {unknown_choice('key', key, names)}")
    habits = Habits(**row)  # type: ignore[arg-type]
    named = [
        *(("condition", name, hospital.conditions) for name in habits.case_mix),
        *(("variable", name, hospital.measured) for name in (*habits.rarely, *habits.unit)),
        ("notes", habits.notes, get_args(NoteStyle)),
    ]
    named += [
        (f"unit of {name}", unit, variable(name).accepts)
        for name, unit in habits.unit.items()
        if name in hospital.measured
    ]
    for what, name, choices in named:
        if name not in choices:
            raise UserError(f"{SITES_FILE}: {where}: {unknown_choice(what, name, choices)}")
    if not all(0 <= share <= 1 for share in habits.rarely.values()):
        raise UserError(f"{SITES_FILE}: {where}: a share of stays lies between 0 and 1")
    return habits


def _in_years(changed: Habits, years: str, drift: float) -> Habits:
    """What is otherwise in a group of years: evenly from the first to the last."""
    if not drift:
        return Habits()
    passed = YEAR_GROUPS.index(years) / (len(YEAR_GROUPS) - 1)
    return Habits(
        {name: drift * (passed - 0.5) * odds for name, odds in changed.case_mix.items()},
        {name: max(0.0, 1 - drift * passed * (1 - share)) for name, share in changed.rarely.items()},
    )


@cache
def _variable_of(names: tuple[str, ...]) -> dict[int, str]:
    """Item of a laboratory result, or of its bedside copy -> variable."""
    hospital = load()
    return {
        item: name for name in names for table in ("labevents", "chartevents") for item in hospital.items(name, table)
    }
