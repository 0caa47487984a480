"""Blood samples: which panels are ordered for whom and how often, and the bedside copies of results.

Ordering depends on severity: the sicker the patient, the more blood gases, lactates and troponins, and the shorter the
intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinragen.catalog import variable
from mimic_prep.synthetic.charting import Rows, observe
from mimic_prep.synthetic.hospital import Hospital, Panel
from mimic_prep.synthetic.patients import HOUR, Admission, Patient, SimulatedStay
from mimic_prep.synthetic.physiology import Trajectory

_COPIED = 0.6  # share of samples whose results are charted at the bedside as well
_SHORTEST = 4.0  # hours between two samples


def _samples(panel: Panel, illness: float, length: float, rng: np.random.Generator) -> np.ndarray:
    """Hours of the samples of one panel, irregular; a first one around the arrival."""
    hours = [rng.uniform(-3, 4)]
    while hours[-1] < length:
        usual = max(panel.every / (1 + 0.35 * illness), _SHORTEST)
        slower = 1 if hours[-1] < 48 else 2
        hours.append(hours[-1] + max(_SHORTEST, slower * usual * rng.uniform(0.6, 1.5)))
    return np.array(hours[:-1])


@dataclass(frozen=True)
class Sampling:
    """Settings of the blood samples of a stay, or of an admission to a ward.

    Attributes:
        stay: the stay in intensive care; None on a ward.
        start: start of sampling, in seconds.
        length: hours of sampling.
        body: true values by hour.
        labs: rows of ``labevents``.
        charts: rows of ``chartevents``, the bedside copies.
        counter: [number of specimens of the patient so far].
    """

    hospital: Hospital
    patient: Patient
    admission: Admission
    stay: SimulatedStay | None
    start: int
    length: float
    body: Trajectory
    labs: Rows
    charts: Rows
    counter: list[int]


def draw(sampling: Sampling, rng: np.random.Generator) -> None:
    """Append the laboratory results of a stay, or of an admission to a ward."""
    admission = sampling.admission
    for name, panel in sampling.hospital.panels.items():
        chance = 1.0 if name in admission.orders else panel.ordered + panel.sick * admission.illness
        if rng.random() > chance * (0.97 if sampling.stay else 0.6):
            continue
        _draw_panel(sampling, name, panel, rng)


def _draw_panel(sampling: Sampling, name: str, panel: Panel, rng: np.random.Generator) -> None:
    hospital, stay, counter = sampling.hospital, sampling.stay, sampling.counter
    subject, admission = sampling.patient.subject_id, sampling.admission.hadm_id
    hours = _samples(panel, sampling.admission.illness, sampling.length, rng)
    times = (sampling.start + hours * HOUR).astype(np.int64) // 60 * 60
    specimens = sampling.patient.index * 10_000 + counter[0] + np.arange(hours.size)
    counter[0] += hours.size
    copied = (rng.random(hours.size) < _COPIED) & (hours > 0) & (stay is not None)
    for key in panel.variables:
        done = rng.random(hours.size) > 0.02
        values = observe(hospital, sampling.body, key, hours, rng)
        lost = rng.random(hours.size) < 0.002  # haemolysed, clotted: a row without a number
        values = np.where(lost, np.nan, values)
        item = hospital.items(key, "labevents")[-1 if name == "gas" and key == "glucose" else 0]
        sampling.labs.add(subject, admission, -1, item, times[done], values[done], specimens[done])
        copies = hospital.items(key, "chartevents")
        charted = copied & done & ~lost
        if stay is not None and copies and charted.any():
            # the bedside copy of a serum glucose has its own item, after the fingerstick one
            target = copies[1] if key == "glucose" else copies[0]
            inside = np.clip(times[charted], stay.intime + 60, stay.outtime - 60)
            sampling.charts.add(subject, admission, stay.stay_id, target, inside, values[charted])


def lab_unit(hospital: Hospital) -> dict[int, str]:
    """The unit labevents shows per item id."""
    return {
        int(item): hospital.units["labevents"].get(name, variable(name).unit)
        for name in hospital.measured
        for item in hospital.items(name, "labevents")
    }
