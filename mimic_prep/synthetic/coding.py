"""Billing codes of an admission and the medicines ordered in it."""

from __future__ import annotations

import numpy as np

from mimic_prep.synthetic.hospital import Hospital
from mimic_prep.synthetic.patients import DAY, HOUR, Admission


def diagnoses(admission: Admission, rng: np.random.Generator) -> list[str]:
    """ICD codes in the order of importance, in the admission's version; a few are omitted (``Episode.coded``)."""
    ranked = sorted(
        admission.episodes, key=lambda e: -(e.condition.acuity * e.severity + 0.01 * (not e.condition.chronic))
    )
    codes = []
    for episode in ranked:
        options = episode.form.codes[admission.icd_version]
        code = options[int(rng.integers(len(options)))]
        if episode.coded:
            codes.append(code)
    return list(dict.fromkeys(codes))


def prescriptions(hospital: Hospital, admission: Admission, rng: np.random.Generator) -> list[tuple[str, int, int]]:
    """Drug, start and stop (seconds): home medicines from arrival, treatment from the onset of a condition."""
    orders: list[tuple[str, int, int]] = []
    reference = admission.stays[0].intime if admission.stays else admission.admittime
    for position, episode in enumerate(admission.episodes):
        condition = episode.condition
        if condition.home and episode.note and rng.random() < 0.8:
            medicine = condition.home[int(rng.integers(len(condition.home)))]
            start = admission.admittime + int(rng.uniform(0.2, 6) * HOUR)
            orders.append((_drug_name(medicine), start, admission.dischtime))
        onset = admission.stays[0].onsets[position] if admission.stays and not condition.chronic else 0.0
        for drug in condition.treatment:
            if rng.random() < 0.8:
                start = reference + int((max(onset, 0) + rng.uniform(1, 8)) * HOUR)
                orders.append((drug, start, start + int(rng.uniform(1, 6) * DAY)))
    for drug in ("Acetaminophen", "Heparin", "Docusate Sodium", "Ondansetron", "0.9% Sodium Chloride"):
        if rng.random() < 0.4:
            start = reference + int(rng.uniform(0, 12) * HOUR)
            orders.append((drug, start, start + int(rng.uniform(1, 6) * DAY)))
    latest = admission.dischtime
    clipped = [(drug, min(start, latest - HOUR), min(stop, latest)) for drug, start, stop in orders]
    return sorted(clipped, key=lambda order: order[1])


def _drug_name(line: str) -> str:
    """The drug of a medicine line, without dose.

    >>> _drug_name("Fluticasone-salmeterol inhaler BID"), _drug_name("Insulin glargine 20 units SC QHS")
    ('Fluticasone-salmeterol', 'Insulin glargine')
    """
    words = line.split()
    stop = next((i for i, word in enumerate(words) if word[0].isdigit() or word in _NOT_DRUG), len(words))
    return " ".join(words[:stop])


_NOT_DRUG = {"inhaler", "nebulizer", "SL", "PO", "daily", "sliding"}
