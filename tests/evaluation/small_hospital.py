"""A hand-made cohort with rationales, and predictions for its test split, small enough to build in every test."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen import versions
from clinragen.artifacts import sha256_file
from clinragen.catalog import phenotypes, variables
from clinragen.schema import NOTES, RATIONALES, SERIES, STAYS, CohortPaths, labels_schema

KEYS = list(phenotypes())
HOSTILE = "<script>window.broken = true</script> & \"quoted\" 'text' <img src=x onerror=alert(1)> {{ 7 * 7 }}"
#: variable -> (low or high) that a label pushes it to
SIGNS = {
    "acute_renal_failure": {"creatinine": 1, "bun": 1, "potassium": 1, "urine_output": -1},
    "septicemia": {"lactate": 1, "wbc": 1, "temperature": 1, "heart_rate": 1},
    "shock": {"mean_bp": -1, "systolic_bp": -1, "lactate": 1},
    "respiratory_failure": {"spo2": -1, "pao2": -1, "respiratory_rate": 1},
    "gastrointestinal_hemorrhage": {"hemoglobin": -1, "hematocrit": -1},
    "diabetes_with_complications": {"glucose": 1},
}
HOURLY = ("heart_rate", "systolic_bp", "diastolic_bp", "mean_bp", "respiratory_rate", "spo2", "temperature")
SOMETIMES = ("glucose", "ph", "pao2", "paco2", "lactate", "gcs_eye", "gcs_verbal", "gcs_motor", "fio2", "peep")
LABS = (
    "creatinine",
    "bun",
    "sodium",
    "potassium",
    "bicarbonate",
    "hemoglobin",
    "hematocrit",
    "wbc",
    "platelets",
    "inr",
)


def make_cohort(root: Path, stays: int = 24, seed: int = 0) -> Path:
    """Write a cohort of ``stays`` stays; two thirds of the patients have one stay, a third has two."""
    generator = np.random.default_rng(seed)
    paths = CohortPaths(root)
    (root / "rationales").mkdir(parents=True)
    subjects = np.sort(generator.choice(np.arange(5000, 5000 + max(2, (stays * 3) // 4)), stays))
    splits = {s: ("train", "test", "validation", "test")[s % 4] for s in subjects}
    gold = generator.random((stays, len(KEYS))) < np.linspace(0.45, 0.1, len(KEYS))[None, :]
    rows: dict[str, list[dict[str, Any]]] = {"stays": [], "series": [], "notes": [], "labels": [], "rationales": []}
    for i in range(stays):
        stay = 30_000_001 + 7 * i
        intime = datetime(2150, 1, 1, 8) + timedelta(hours=37 * i, minutes=int(generator.integers(60)))
        outtime = intime + timedelta(hours=float(generator.uniform(30, 200)))
        rows["stays"].append(
            {
                "stay_id": stay,
                "subject_id": int(subjects[i]),
                "hadm_id": 20_000_000 + i,
                "intime": intime,
                "outtime": outtime.replace(microsecond=0),
                "prediction_time": min(intime + timedelta(hours=48), outtime.replace(microsecond=0)),
                "age": float(generator.integers(24, 92)),
                "sex": (None if i == 3 else "FM"[i % 2]),
                "split": splits[subjects[i]],
            }
        )
        rows["labels"].append({"stay_id": stay, **dict(zip(KEYS, map(bool, gold[i]), strict=True))})
        present = [key for key, has in zip(KEYS, gold[i], strict=True) if has]
        rows["series"] += _series(stay, present, generator)
        rows["notes"] += _note(stay, intime, present, hostile=i % 5 == 0)
        names = ", ".join(phenotypes()[key].name for key in present) or "no listed disease"
        for kind, opening in (("note", "Based on the medical notes"), ("series", "Lab test shows")):
            text = f"{opening}, reports shortness of breath for three days, which supports {names}."
            rows["rationales"].append(
                {"stay_id": stay, "kind": kind, "text": text, "verdicts": "{}", "teacher": "evidence"}
                | {"prompt_hash": "0" * 64}
            )
    for name, schema, path in (
        ("stays", STAYS, paths.stays),
        ("series", SERIES, paths.series),
        ("notes", NOTES, paths.notes),
        ("labels", labels_schema(KEYS), paths.labels),
        ("rationales", RATIONALES, paths.rationales("evidence")),
    ):
        pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), path)
    manifest = {**versions.COHORT.mark, "source": "hand-made", "protocol": "admission", "seed": seed}
    paths.manifest.write_text(json.dumps(manifest))
    return root


def _series(stay: int, present: list[str], generator: np.random.Generator) -> list[dict[str, Any]]:
    catalogue = variables()
    push: dict[str, int] = {}
    for key in present:
        push |= SIGNS.get(key, {})
    rows = []
    for name in (*HOURLY, *SOMETIMES, *LABS, "urine_output"):
        variable = catalogue[name]
        low = variable.low if variable.low is not None else variable.high
        high = variable.high if variable.high is not None else variable.low
        assert low is not None
        assert high is not None
        width = max(high - low, 0.2 * abs(high), 0.5)
        every = {True: 1, False: 6}[name in HOURLY] if name not in LABS else 12
        hours = [h for h in range(0, 48, every) if generator.random() < 0.85]
        if name in SOMETIMES and generator.random() < 0.4:
            continue
        level = (low + high) / 2 + 0.2 * width * generator.standard_normal()
        for hour in hours:
            trend = push.get(name, 0) * width * (0.4 + hour / 48)
            value = level + trend + 0.12 * width * generator.standard_normal()
            value = float(np.clip(value, *variable.plausible))
            rows.append({"stay_id": stay, "hour": float(hour), "variable": name, "value": value})
    return rows


def _note(stay: int, time: datetime, present: list[str], *, hostile: bool) -> list[dict[str, Any]]:
    sections = {
        "chief_complaint": "Shortness of breath" if not hostile else f"Dyspnea {HOSTILE}",
        "history_of_present_illness": (
            "Ms. ___ is a patient who reports shortness of breath for three days with productive cough and fever. "
            "She denies chest pain. In the emergency department she was tachycardic and received 2 L of fluid.\n\n"
            "She was admitted to the intensive care unit for further care."
        ),
        "past_medical_history": "\n".join(f"- {phenotypes()[key].name}" for key in present) or "None known.",
        "medications_on_admission": "1. Metoprolol 25 mg twice daily\n2. Atorvastatin 40 mg daily\n3. Aspirin 81 mg",
    }
    return [
        {"stay_id": stay, "note_id": f"{stay}-DS-1", "kind": "discharge", "section": name, "time": time, "text": text}
        for name, text in sections.items()
    ]


def make_predictions(
    root: Path, cohort: Path, *, seed: int = 1, signal: float = 2.0, series_input: str = "observed", split: str = "test"
) -> Path:
    """Write predictions for a split; ``signal`` is how far the gold label moves the log-odds."""
    generator = np.random.default_rng(seed)
    stays = pq.read_table(CohortPaths(cohort).stays).to_pylist()
    labels = {row["stay_id"]: row for row in pq.read_table(CohortPaths(cohort).labels).to_pylist()}
    rows = []
    for row in (row for row in stays if row["split"] == split):
        gold = np.array([labels[row["stay_id"]][key] for key in KEYS])
        odds = -1.6 + signal * gold + 0.8 * generator.standard_normal(len(KEYS))
        probabilities = 1 / (1 + np.exp(-odds))
        said = [key for key, p in zip(KEYS, probabilities, strict=True) if p >= 0.45]
        names = ", ".join(phenotypes()[key].name for key in said) or "none of the listed phenotypes"
        rows.append(
            {
                "stay_id": row["stay_id"],
                "diagnoses": said,
                "probabilities": dict(zip(KEYS, map(float, probabilities), strict=True)),
                "note_rationale": (
                    "Based on the medical notes, the patient reports shortness of breath for three days with "
                    f"productive cough and fever, which points to {names}."
                ),
                "series_rationale": "Lab test shows lactate rising to 3.2 mmol/L <b>with</b> falling pressure.",
                "parsed": bool(generator.random() < 0.95),
                "concepts": [
                    {"concept": f"finding:{name}:{side}", "weight": float(weight)}
                    for name, side, weight in zip(
                        ("lactate", "creatinine", "wbc", "mean_bp"),
                        ("high", "high", "high", "low"),
                        np.sort(generator.dirichlet(np.ones(6)))[::-1],
                        strict=False,
                    )
                ]
                + [{"concept": "symptom:shortness_of_breath", "weight": 0.02}],
            }
        )
    root.mkdir(parents=True)
    schema = pa.schema(
        [
            ("stay_id", pa.int64()),
            ("diagnoses", pa.list_(pa.string())),
            ("probabilities", pa.struct([(key, pa.float32()) for key in KEYS])),
            ("note_rationale", pa.string()),
            ("series_rationale", pa.string()),
            ("parsed", pa.bool_()),
            ("concepts", pa.list_(pa.struct([("concept", pa.string()), ("weight", pa.float32())]))),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), root / "predictions.parquet")
    manifest = {
        "model": "runs/multimodal/checkpoint",
        "model_hash": "a" * 64,
        "cohort": str(cohort),
        "cohort_hash": sha256_file(CohortPaths(cohort).manifest),
        "graph": None,
        "split": split,
        "labels": KEYS,
        "thresholds": dict.fromkeys(KEYS, 0.4),
        "series_input": series_input,
        "created_by": "0.1.0",
        "training": {"preset": "tiny", "stages": ["notes", "series", "multimodal"], "seed": 7},
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root
