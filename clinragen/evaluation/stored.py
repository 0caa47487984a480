"""``evaluation.json`` read back: checked in full, so that whoever shows it need not ask what may be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinragen.artifacts import read_json
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import METRICS
from clinragen.evaluation.shape import COUNT, NAME, NUMBER, SCORE, SHARE, TEXT, Each, Maybe, differs
from clinragen.schema import RATIONALE_KINDS

FILE = "evaluation.json"
_INTERVAL = {"value": SCORE, "low": SCORE, "high": SCORE}
_SYSTEM = {
    "title": TEXT,
    "scores": dict.fromkeys(METRICS, _INTERVAL),
    "calibration_curve": [{"count": COUNT, "probability": SHARE, "observed": SHARE}],
}
_PHENOTYPE = {
    "key": TEXT,
    "name": TEXT,
    "n_positive": COUNT,
    "prevalence": SHARE,
    "threshold": SHARE,
    "auroc": _INTERVAL,
    "auprc": SCORE,
    "written_f1": Maybe(SHARE),
    "thresholded_f1": SHARE,
}
_WRITING = {
    "rouge_l": SCORE,
    "bleu": SCORE,
    "words": {"mean": NUMBER},
    "empty": COUNT,
    "too_long": COUNT,
    "distinct_1": SHARE,
    "distinct_2": SHARE,
    "distinct_4": SHARE,
}
_CLAIMS = {
    "claims": COUNT,
    "absences": COUNT,
    "per_rationale": {**_INTERVAL, "value": NUMBER},
    **dict.fromkeys(("supported", "contradicted", "not_in_the_chart", "wholly_supported"), _INTERVAL),
}
_ABOUT = {"note": ("finding", "diagnosis", "all"), "series": ("series", "diagnosis", "all")}
_EVALUATION = {
    "predictions": {"sha256": TEXT, "model_hash": TEXT, "remarks": Maybe([TEXT])},
    "cohort": {"stays": COUNT, "patients": COUNT, "splits": Each(COUNT)},
    "bootstrap": {"replicates": COUNT, "seed": NUMBER},
    "left_out": [TEXT],
    "parse_rate": SHARE,
    "systems": {"model": _SYSTEM, "prevalence": Maybe(_SYSTEM), "zeroed": Maybe(_SYSTEM), "shuffled": Maybe(_SYSTEM)},
    "cost_of_control": Each(Each(_INTERVAL)),
    "phenotypes": [_PHENOTYPE],
    "text": {"teacher": NAME, **dict.fromkeys(RATIONALE_KINDS, _WRITING)},
    "claims": {kind: dict.fromkeys(_ABOUT[kind], _CLAIMS) for kind in RATIONALE_KINDS},
    "coverage": {"listed": COUNT, "grounded": COUNT, "share": _INTERVAL},
}


def load_evaluation(path: Path) -> dict[str, Any]:
    """What ``clinragen evaluate`` wrote.

    Raises:
        UserError: missing, damaged, or not an evaluation of this version, with the place.
    """
    evaluation = read_json(path, "an evaluation written by `clinragen evaluate`")
    trouble = differs(evaluation, _EVALUATION) or _alien(evaluation)
    if trouble:
        raise UserError(f"{path} is no evaluation as this version writes them: {trouble}; run clinragen evaluate again")
    for section in ("systems", "cost_of_control"):  # null stands for absent
        evaluation[section] = {name: value for name, value in evaluation[section].items() if value is not None}
    return evaluation


def _alien(evaluation: dict[str, Any]) -> str | None:
    """What is of the right shape, but does not belong together."""
    if set(evaluation["systems"]) - set(_EVALUATION["systems"]):
        return "systems holds one that is unknown"
    if set(evaluation["cost_of_control"]) - {"zeroed", "shuffled"}:
        return "cost_of_control holds a control that is unknown"
    known = {row["key"] for row in evaluation["phenotypes"]}
    if set(evaluation["left_out"]) - known:
        return "left_out names a label that is not among the phenotypes"
    return None
