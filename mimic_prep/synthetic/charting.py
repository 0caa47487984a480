"""Bedside charting of a stay: entries of nurses and monitors in chartevents and outputevents, with their quirks.

Rows are collected as arrays (``Rows``) and become a table only once per chunk of patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from clinragen.catalog import variable
from mimic_prep.synthetic.hospital import RELEASE, Hospital
from mimic_prep.synthetic.patients import HOUR, Admission, SimulatedStay
from mimic_prep.synthetic.physiology import Trajectory
from mimic_prep.synthetic.sites import Charting

_DENSE_HOURS = 48.0  # later hours are charted a quarter as often
_ARTEFACT = 0.0012  # share of monitor values that are device errors
_ARTEFACTS = {
    "heart_rate": (0.0, 999.0),
    "systolic_bp": (0.0, 350.0),
    "diastolic_bp": (0.0, 999.0),
    "mean_bp": (-4.0, 320.0),
    "respiratory_rate": (0.0, 210.0),
    "spo2": (0.0, 9.0),
    "temperature": (9.9, 98.6),
}


@dataclass
class Rows:
    """Measurements of one event table: the keys of each call of ``add``, and its arrays of shape (rows,)."""

    keys: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    time: list[np.ndarray] = field(default_factory=list)
    value: list[np.ndarray] = field(default_factory=list)
    specimen: list[np.ndarray] = field(default_factory=list)
    charting: Charting | None = None  # what a hospital writes of a patient, and how
    late: int = 0  # seconds by which it stores rows later than the usual one

    def add(
        self, subject: int, hadm: int, stay: int, item: int, time: np.ndarray, value: np.ndarray,
        specimen: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Append rows of one item; ``time`` in seconds, ``value`` and ``specimen`` have the same shape (rows,)."""
        written = value if self.charting is None else self.charting(hadm, item, value)
        if written is None:
            return
        value = written
        self.keys.append((subject, hadm, stay, item, self.late))
        self.time.append(time)
        self.value.append(value)
        if specimen is not None:
            self.specimen.append(specimen)

    def columns(self) -> dict[str, np.ndarray]:
        """All rows as arrays of shape (rows,), ordered by patient as added, then by time."""
        keys = np.array(self.keys, dtype=np.int64).reshape(-1, 5)
        sizes = np.array([part.size for part in self.time], dtype=np.int64)
        names: list[str] = ["subject", "hadm", "stay", "item", "late"]
        joined = dict(zip(names, np.repeat(keys, sizes, axis=0).T, strict=True))
        joined["time"] = np.concatenate([np.empty(0, dtype=np.int64), *self.time])
        joined["value"] = np.concatenate([np.empty(0), *self.value])
        if self.specimen:
            joined["specimen"] = np.concatenate(self.specimen)
        # patients are added one after another, so their first position is their rank
        _, first, inverse = np.unique(joined["subject"], return_index=True, return_inverse=True)
        order = np.lexsort((joined["item"], joined["time"], first[inverse]))
        return {name: column[order] for name, column in joined.items()}


@cache
def rounded_to(name: str) -> int:
    """Decimals a device reports: those of the catalogue, two for small numbers."""
    return variable(name).decimals


def observe(
    hospital: Hospital, trajectory: Trajectory, name: str, hours: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Measure a variable at given hours with the noise of its method, within its bounds, rounded; canonical unit."""
    row = hospital.measured[name]
    noise = rng.normal(size=hours.size) * float(np.hypot(row.noise, trajectory.jitter.get(name, 0.0)))
    true = trajectory.at(name, hours)
    return np.round(
        np.clip(true * np.exp(noise) if row.log else true + noise, row.bounds[0], row.bounds[1]), rounded_to(name)
    )


def _hours(every: float, length: float, missing: float, rng: np.random.Generator) -> np.ndarray:
    """Irregular charting hours: dense in the first two days, sparse later, minutes jittered, some left out."""
    dense = np.arange(rng.uniform(0, min(every, 1)), min(length, _DENSE_HOURS), every)
    sparse = np.arange(_DENSE_HOURS + rng.uniform(0, 4 * every), length, max(4 * every, 6))
    hours = np.concatenate([dense, sparse])
    # usually charted on the hour, otherwise within a quarter of an hour of it
    hours = hours + np.where(rng.random(hours.size) < 0.5, 0, rng.uniform(-0.25, 0.25, hours.size))
    return hours[(rng.random(hours.size) > missing) & (hours > 0) & (hours < length)]


def _clock(stay: SimulatedStay, hours: np.ndarray) -> np.ndarray:
    """Seconds, full minutes, never outside the stay."""
    return np.clip((stay.intime + hours * HOUR).astype(np.int64) // 60 * 60, stay.intime + 60, stay.outtime - 60)


def equipment(hospital: Hospital, admission: Admission, stay: SimulatedStay, rng: np.random.Generator) -> set[str]:
    """The devices of a stay; sicker patients have more of them."""
    ordered = admission.orders
    sick = admission.illness
    chances = {
        "fingerstick": 0.4 + 0.05 * sick,
        "arterial_line": 0.2 + 0.12 * sick + 0.2 * ("arterial_line" in ordered),
        "cvp": 0.03 + 0.04 * sick + 0.3 * ("cvp" in ordered),
        "oxygen": 0.25 + 0.04 * sick + 0.4 * ("oxygen" in ordered),
    }
    devices = {"always"} | {name for name, chance in chances.items() if rng.random() < chance}
    return devices | {"ventilated", "oxygen"} if stay.ventilated else devices


def chart(
    hospital: Hospital, subject: int, admission: Admission, stay: SimulatedStay, body: Trajectory, devices: set[str],
    rows: Rows, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Append the bedside measurements of one stay."""
    length = (stay.outtime - stay.intime) / HOUR
    celsius = rng.random() < 0.12
    fraction = rng.random() < 0.08

    def add(name: str, item: int, hours: np.ndarray, values: np.ndarray) -> None:
        rows.add(subject, admission.hadm_id, stay.stay_id, item, _clock(stay, hours), values)

    for group in hospital.charts:
        if group.when not in devices:
            continue
        hours = _hours(group.every, length, group.missing, rng)
        for name in group.variables:
            hours_charted = hours[rng.random(hours.size) > 0.01]
            values = observe(hospital, body, name, hours_charted, rng)
            if name in _ARTEFACTS:
                broken = rng.random(values.size) < _ARTEFACT
                values[broken] = rng.choice(_ARTEFACTS[name], int(broken.sum()))
            items = hospital.items(name, "chartevents")
            item = items[0]
            if name == "temperature" and not celsius:
                item, values = items[1], np.round(values * 1.8 + 32, 1)
            elif name == "fio2" and fraction:
                values = np.round(values / 100, 2)
            elif group.variables[0] == "systolic_bp" and not group.line:
                item = items[-1]  # cuff pressure
            add(name, item, hours_charted, values)
    _body_size(hospital, add, length, rng)


def _body_size(hospital: Hospital, add: Callable[..., None], length: float, rng: np.random.Generator) -> None:
    """Weight on admission in pounds, sometimes in kilograms too, and daily; height now and then."""
    weight = float(np.clip(rng.normal(82, 19), 38, 190))
    kilograms, daily, pounds = hospital.items("weight", "chartevents")
    centimetres, inches = hospital.items("height", "chartevents")
    at = np.array([rng.uniform(0.1, 3)])
    add("weight", pounds, at, np.round(np.array([weight / 0.453592]), 1))
    if rng.random() < 0.5:
        add("weight", kilograms, at, np.round(np.array([weight]), 1))
    days = np.arange(rng.uniform(14, 26), length, 24)
    if days.size and rng.random() < 0.5:
        add("weight", daily, days, np.round(weight + rng.normal(0, 1, days.size), 1))
    if rng.random() < 0.4:
        height = float(np.clip(rng.normal(169, 10), 140, 205))
        add("height", inches, at, np.round(np.array([height / 2.54])))
        add("height", centimetres, at, np.round(np.array([height])))


def urine(
    hospital: Hospital, subject: int, admission: Admission, stay: SimulatedStay, body: Trajectory, rows: Rows,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Append urine volumes: hourly from a catheter, or every few hours when voided."""
    length = (stay.outtime - stay.intime) / HOUR
    items = hospital.items("urine_output", "outputevents")
    catheter = rng.random() < 0.55 + 0.12 * admission.illness
    gap = rng.uniform(0.9, 1.3) if catheter else rng.uniform(2.5, 4.5)
    hours = _hours(gap, length, 0.05, rng)
    if hours.size == 0:
        return
    rate = observe(hospital, body, "urine_output", hours, rng)
    volume = np.round(rate * gap / 5) * 5
    rows.add(subject, admission.hadm_id, stay.stay_id, items[0 if catheter else 1], _clock(stay, hours), volume)


def chart_unit(hospital: Hospital) -> dict[int, str]:
    """The unit chartevents shows per item id."""
    spellings = hospital.units["spellings"]
    units: dict[int, str] = {}
    for name in [*hospital.measured, "weight", "height"]:
        for item, unit in variable(name).items.get(RELEASE, {}).get("chartevents", {}).items():
            shown = variable(name).unit if unit is None else spellings.get(unit, unit)
            units[int(item)] = hospital.units["chartevents"].get(name, shown) if unit is None else shown
    return units
