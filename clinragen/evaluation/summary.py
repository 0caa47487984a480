"""One evaluation: the model compared with the prevalence guess and with controls without the patient's series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from clinragen import __version__, versions
from clinragen.chart.limits import most_words
from clinragen.choices import CONTROLS, RationaleKind
from clinragen.cohort.folder import Cohort
from clinragen.evaluation import abstention, by_label, faithfulness, groups, intervals, sites, text
from clinragen.evaluation.diagnosis import (
    METRICS,
    Bootstrapped,
    System,
    agreement,
    bootstrap,
    calibration_curve,
    interval,
    patient_bootstrap,
    prevalence_guess,
    ratio_interval,
)
from clinragen.evaluation.inputs import Predictions, Truth, teacher_rationales
from clinragen.evaluation.ranking import Ranking
from clinragen.evaluation.rows import EvaluationFile, Interval, LabelRow, LabelSets, ReasonsPart, SystemRow, Texts
from clinragen.schema import RATIONALE_KINDS, SETS_HOLD

TITLES = {
    "prevalence": "prevalence guess",
    "model": "model",
    "zeroed": "model, series zeroed",
    "permuted": "model, series permuted",
    "reversed": "model, series reversed",
    "emptied": "model, notes emptied",
    "labels_permuted": "baseline, labels permuted",
}


def summarize(
    predictions: Predictions,
    truth: Truth,
    controls: Mapping[str, System],
    *,
    claims: list[faithfulness.StayClaims],
    teacher: str | None,
    reasons: ReasonsPart | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> EvaluationFile:
    """The content of ``evaluation.json``, ready for JSON; None for undefined scores.

    Args:
        predictions: predictions for ``n`` stays.
        truth: the cohort and its rows for these stays.
        controls: name (one of ``choices.CONTROLS``) -> the predictions under it.
        claims: of each stay's rationales, with their verdicts.
        teacher: name of the rationale set to compare with; None: lengths and variety only.
        reasons: from ``reasons.summarize``; None for a task whose rationales do not argue for its labels.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.
    """
    gold, eligible, n = truth.gold, truth.eligible, len(truth.gold)
    systems: dict[str, System] = {}
    if len(truth.training):
        systems["prevalence"] = prevalence_guess(truth.training, n, truth.training_eligible)
    systems["model"] = predictions.system
    systems |= {name: controls[name] for name in CONTROLS if name in controls}
    patients = truth.stays["subject_id"].to_numpy()
    scored = bootstrap(gold, systems, patients, replicates, seed, eligible)
    both = gold.any(axis=0) & (~gold & eligible).any(axis=0)
    return {
        "evaluation_version": versions.EVALUATION.version,
        "created_by": __version__,
        "predictions": {
            "sha256": predictions.table_hash,
            "model": predictions.manifest.model,
            "model_hash": predictions.manifest.model_hash,
            "series_input": predictions.manifest.series_input,
            "remarks": predictions.manifest.remarks or [],
        },
        "cohort": {
            "sha256": truth.cohort.sha256,
            "stays": n,
            "patients": int(truth.stays["subject_id"].n_unique()),
            "splits": dict(sorted(Counter(truth.stays["split"]).items())),
        },
        "bootstrap": {"replicates": replicates, "seed": seed, "unit": "patient", "level": 0.95},
        "task": predictions.task.name,
        "labels": list(predictions.labels),
        "left_out": [label for label, both_classes in zip(predictions.labels, both, strict=True) if not both_classes],
        "parse_rate": float(predictions.parsed.mean()),
        "systems": {name: _system(name, systems[name], truth, scored[name]) for name in systems},
        "cost_of_control": {name: _differences(scored["model"], scored[name]) for name in CONTROLS if name in scored},
        "phenotypes": _per_phenotype(predictions, truth, scored["model"]),
        "text": _text(predictions, truth.cohort, teacher),
        "claims": faithfulness.summarize(claims, patients, replicates, seed),
        "coverage": faithfulness.coverage(
            predictions.system.listed.sum(axis=1),
            faithfulness.grounded(predictions, claims).sum(axis=1),
            patients,
            replicates,
            seed,
            faithfulness.footing(predictions, claims),
        ),
        "reasons": reasons,
        "label_sets": _label_sets(predictions, truth, patients, replicates, seed),
        "intervals": intervals.summarize(predictions, gold, eligible, patients, replicates, seed),
        "abstention": abstention.summarize(predictions, truth, replicates, seed),
        "sites": sites.summarize(predictions, truth, replicates, seed),
        "groups": groups.summarize(predictions, truth, replicates, seed),
        "by_label": by_label.summarize(predictions, truth, replicates, seed),
    }


def _label_sets(
    predictions: Predictions, truth: Truth, patients: np.ndarray, replicates: int, seed: int
) -> LabelSets | None:
    """What the sets of possible labels hold of each stay's labels, on average over stays that have any."""
    least = predictions.manifest.possible_from
    if least is None:
        return None
    possible, gold = predictions.system.probabilities >= least, truth.gold & truth.eligible
    weights = np.array([np.ones(len(gold)), *patient_bootstrap(patients, replicates, seed)])
    share = (possible & gold).sum(axis=1) / np.maximum(1, gold.sum(axis=1))
    some = gold.any(axis=1)
    return {
        "promised": SETS_HOLD,
        "held": ratio_interval(weights, np.where(some, share, 0.0), some),
        "size": ratio_interval(weights, possible.sum(axis=1), np.ones(len(gold))),
    }


def _system(name: str, system: System, truth: Truth, scored: Bootstrapped) -> SystemRow:
    return {
        "title": TITLES[name],
        "scores": {m: interval(scored.value[i], scored.replicates[:, i]) for i, m in enumerate(METRICS)},
        "calibration_curve": calibration_curve(truth.gold, system.probabilities, eligible=truth.eligible),
    }


def _differences(model: Bootstrapped, control: Bootstrapped) -> dict[str, Interval]:
    """Paired differences between the model and a control: positive if what the control lacks helped."""
    value, replicates = model.value - control.value, model.replicates - control.replicates
    return {m: interval(value[i], replicates[:, i]) for i, m in enumerate(METRICS) if not np.isnan(value[i])}


def _per_phenotype(predictions: Predictions, truth: Truth, scored: Bootstrapped) -> list[LabelRow]:
    system, gold, eligible = predictions.system, truth.gold, truth.eligible
    auprc = Ranking(gold, system.probabilities, eligible)(np.ones(len(gold)))[1]
    written = agreement(gold, system.written, eligible=eligible) if system.written is not None else None
    thresholded = agreement(gold, system.thresholded, eligible=eligible)
    rows: list[LabelRow] = []
    for i, label in enumerate(predictions.labels):
        counted = eligible[:, i]
        real, chances = gold[counted, i], system.probabilities[counted, i]
        row: LabelRow = {
            "key": label,
            "name": predictions.labels[label].name,
            "n_positive": int(real.sum()),
            "n_eligible": int(counted.sum()),
            "prevalence": float(real.mean()) if len(real) else 0.0,
            "mean_probability": float(chances.mean()) if len(chances) else 0.0,
            "threshold": float(system.thresholds[i]),
            "auroc": interval(scored.auroc[i], scored.auroc_replicates[:, i]),
            "auprc": None if np.isnan(auprc[i]) else float(auprc[i]),
            "brier": float(((chances - real) ** 2).mean()) if len(chances) else None,
            "thresholded_precision": float(thresholded["precision"][i]),
            "thresholded_recall": float(thresholded["recall"][i]),
            "thresholded_f1": float(thresholded["f1"][i]),
        }
        if written is not None:
            row["written_precision"] = float(written["precision"][i])
            row["written_recall"] = float(written["recall"][i])
            row["written_f1"] = float(written["f1"][i])
        if predictions.task.scorers:
            threshold = float(system.thresholds[i])
            row["scores"] = {
                name: _defined(scorer(real, chances, threshold)) if len(real) else None
                for name, scorer in predictions.task.scorers.items()
            }
        rows.append(row)
    return rows


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _text(predictions: Predictions, cohort: Cohort, teacher: str | None) -> Texts:
    none: dict[str, list[str | None]] = {kind: [None] * len(predictions.stay_ids) for kind in RATIONALE_KINDS}
    theirs = teacher_rationales(cohort, teacher, predictions.stay_ids) if teacher else none
    listed = predictions.system.listed.sum(axis=1).tolist()
    ours: dict[RationaleKind, list[str]] = {
        "note": predictions.note_rationales,
        "series": predictions.series_rationales,
    }
    note, series = (
        text.describe(written, theirs[kind], [most_words(kind, count) for count in listed])
        for kind, written in ours.items()
    )
    return {"teacher": teacher, "note": note, "series": series}
