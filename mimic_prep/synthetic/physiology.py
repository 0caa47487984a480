"""Effects of conditions on the body: hourly trajectories of every variable over a stay.

Effects of several conditions on one variable in the same direction add only partly: the largest counts fully, the
others in part, because of compensation and treatment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimic_prep.synthetic.hospital import Hospital
from mimic_prep.synthetic.patients import Episode

LEAD_IN = 8  # hours simulated before intensive care, where the first blood samples lie
_SHARE_OF_OTHERS = 0.6
_DRIFT_MEMORY = 0.92  # correlation from one hour to the next
_HALF_RESOLVED = 30.0  # time constant of treatment: hours until about two thirds of the treatable part has resolved
_TREATMENT_DELAY = 6.0


@dataclass(frozen=True)
class Trajectory:
    """``values`` has shape (variables, hours) in canonical units; column 0 is ``LEAD_IN`` hours before the stay."""

    names: dict[str, int]
    values: np.ndarray
    jitter: dict[str, float]

    def at(self, name: str, hours: np.ndarray) -> np.ndarray:
        """The true value at hours from the start of the stay, shape (times,)."""
        row = self.values[self.names[name]]
        return np.interp(hours + LEAD_IN, np.arange(row.size), row)


def baselines(hospital: Hospital, rng: np.random.Generator) -> np.ndarray:
    """A patient's own level of each state variable, shape (state,), on the variable's scale."""
    rows = [hospital.measured[name] for name in hospital.state]
    center = np.array([np.log(row.center) if row.log else row.center for row in rows])
    return center + rng.normal(size=len(rows)) * np.array([row.between for row in rows])


def course(episode: Episode, onset: float, hours: np.ndarray) -> np.ndarray:
    """The part of a condition's full effect that shows at each hour: rises from onset, then falls under treatment."""
    if episode.condition.chronic:
        return np.full(hours.shape, episode.severity)
    rise = np.clip((hours - onset) / episode.condition.rise, 0, 1)
    treated = np.clip(hours - onset - episode.condition.rise - _TREATMENT_DELAY, 0, None)
    lasting = 1 - episode.response * (1 - np.exp(-treated / _HALF_RESOLVED))
    return episode.severity * rise * rise * (3 - 2 * rise) * lasting


def _combined(contributions: np.ndarray) -> np.ndarray:
    """Sum over conditions, shape (conditions, state, hours) to (state, hours), with diminishing additions."""
    total = np.zeros(contributions.shape[1:])
    for sign in (1, -1):
        part = np.clip(sign * contributions, 0, None)
        largest = part.max(axis=0)
        total += sign * (largest + _SHARE_OF_OTHERS * (part.sum(axis=0) - largest))
    return total


def _drift(scale: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A stationary first-order autoregression per variable, shape (state, hours)."""
    steps = rng.normal(size=(length, scale.size)) * scale
    steps[1:] *= np.sqrt(1 - _DRIFT_MEMORY**2)
    for hour in range(1, length):
        steps[hour] += _DRIFT_MEMORY * steps[hour - 1]
    return steps.T


def simulate(
    hospital: Hospital,
    level: np.ndarray,
    episodes: list[Episode],
    onsets: list[float],
    length: float,
    ventilated: bool,
    rng: np.random.Generator,
) -> Trajectory:
    """Trajectories from ``LEAD_IN`` hours before to ``length`` hours after the start of a stay."""
    hours = np.arange(-LEAD_IN, int(np.ceil(length)) + 2, dtype=float)
    shown = [(e, onset) for e, onset in zip(episodes, onsets, strict=True) if e.series and e.form.effects]
    rows = [hospital.measured[name] for name in hospital.state]
    values = level[:, None] + _drift(np.array([row.drift for row in rows]), hours.size, rng)
    if shown:
        effects = np.stack([hospital.effect(e.form) for e, _ in shown])
        courses = np.stack([course(e, onset, hours) for e, onset in shown])
        values = values + _combined(effects[:, :, None] * courses[:, None, :])
    logarithmic = np.array([row.log for row in rows])
    values[logarithmic] = np.exp(values[logarithmic])
    state = dict(zip(hospital.state, values, strict=True))
    _derive(state, ventilated)
    names = {name: position for position, name in enumerate(hospital.measured)}
    bounds = np.array([row.bounds for row in hospital.measured.values()])
    stacked = np.clip(np.stack([state[name] for name in hospital.measured]), bounds[:, :1], bounds[:, 1:])
    jitter = {name: size for e, _ in shown for name, size in e.condition.jitter.items()}
    return Trajectory(names, stacked, jitter)


def _derive(state: dict[str, np.ndarray], ventilated: bool) -> None:
    """Fill in, in place, the variables that follow from others."""
    state["diastolic_bp"] = 6 + 0.48 * state["systolic_bp"]
    state["mean_bp"] = state["diastolic_bp"] + (state["systolic_bp"] - state["diastolic_bp"]) / 3
    bicarbonate, paco2 = np.clip(state["bicarbonate"], 5, 45), np.clip(state["paco2"], 18, 115)
    state["ph"] = 6.1 + np.log10(bicarbonate / (0.0307 * paco2))  # Henderson-Hasselbalch
    state["base_excess"] = 0.93 * (bicarbonate - 24.4 + 14.8 * (state["ph"] - 7.4))  # van Slyke
    state["anion_gap"] = state["anion_gap"] + 0.6 * (state["lactate"] - 1.3)
    state["chloride"] = state["sodium"] - bicarbonate - state["anion_gap"]
    state["hematocrit"] = 3 * state["hemoglobin"]
    state["mch"] = state["mcv"] * state["mchc"] / 100
    state["bilirubin_direct"] = 0.5 * state["bilirubin_total"]
    state["total_protein"] = state["albumin"] + 2.8
    state["cholesterol_total"] = state["ldl"] + state["hdl"] + state["triglycerides"] / 5  # Friedewald
    state["minute_volume"] = state["tidal_volume"] * state["respiratory_rate"] / 1000
    coma = np.clip(np.round(state["gcs_total"]), 3, 15)
    state["gcs_eye"] = np.clip(np.round(1 + (coma - 3) / 4), 1, 4)
    state["gcs_motor"] = np.clip(np.round(1 + 5 * (coma - 3) / 12), 1, 6)
    verbal = np.clip(coma - state["gcs_eye"] - state["gcs_motor"], 1, 5)
    state["gcs_verbal"] = np.ones_like(verbal) if ventilated else verbal  # an intubated patient is scored 1
