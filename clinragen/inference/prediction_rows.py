"""The rows of predictions: their columns, and what is stored of attention and contributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pyarrow as pa
from torch import Tensor

from clinragen.evaluation.prediction_columns import Contribution
from clinragen.inference.calibrate import Calibration
from clinragen.inference.contributions import Contributions
from clinragen.inference.decode import DecodedReport
from clinragen.inference.grounded_report import NEARLY_CALLED

TOP_CONCEPTS = 15
#: Contributions that are kept for each diagnosis, for and against it, from this share on.
TOP_FOR, TOP_AGAINST, LEAST_SHARE = 24, 6, 0.005


class KeyWeight(TypedDict):
    """How much attention a key of the knowledge received."""

    concept: str
    weight: float


class PredictionRow(TypedDict):
    """A line of ``predictions.jsonl`` and a row of ``predictions.parquet``.

    ``probabilities`` by label, ``interval`` the low and the high end of each; None for a model without intervals.
    """

    stay_id: int
    diagnoses: list[str]
    possible: list[str]
    probabilities: dict[str, float]
    interval: dict[str, list[float]] | None
    note_rationale: str
    series_rationale: str
    parsed: bool
    abstains: list[str]
    concepts: list[KeyWeight]
    contributions: list[Contribution]


def row_of(stay_id: int, calibration: Calibration, logits: np.ndarray, report: DecodedReport) -> PredictionRow:
    """A row, as yet without reasons to abstain, attention and contributions.

    Args:
        stay_id: whose row it is.
        calibration: of the model.
        logits: its scores, [labels].
        report: what was written.
    """
    labels, least = calibration.labels, calibration.possible
    probabilities = calibration.probabilities(logits[None])[0]
    ends = calibration.intervals(logits[None])
    return {
        "stay_id": stay_id,
        "diagnoses": [labels[index] for index in report.diagnoses],
        "possible": [] if least is None else [key for key, p in zip(labels, probabilities, strict=True) if p >= least],
        "probabilities": {key: round(float(p), 6) for key, p in zip(labels, probabilities, strict=True)},
        "interval": None if ends is None else dict(zip(labels, ends[0].round(6).tolist(), strict=True)),
        "note_rationale": report.rationales.get("note", ""),
        "series_rationale": report.rationales.get("series", ""),
        "parsed": report.parsed,
        "abstains": [],
        "concepts": [],
        "contributions": [],
    }


def attended(keys: Sequence[str], weights: Tensor | None) -> list[KeyWeight]:
    """The keys of the knowledge with the most attention; none of a model without knowledge."""
    if weights is None:
        return []
    top = weights.float().topk(min(TOP_CONCEPTS, len(weights)))
    return [
        KeyWeight(concept=keys[int(index)], weight=round(weight, 6))
        for weight, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]


def largest(contributed: Contributions, beliefs: np.ndarray) -> list[Contribution]:
    """The largest contributions for and against each diagnosis that is called, or nearly."""
    rows: list[Contribution] = []
    for key, belief in zip(contributed.labels, beliefs.tolist(), strict=True):
        if belief >= NEARLY_CALLED:
            shares = {
                piece: contributed.share(piece, key) - contributed.against(piece, key) for piece in contributed.falls
            }
            ranked = sorted(shares, key=lambda piece: (-shares[piece], piece))
            for piece in [*ranked[:TOP_FOR], *ranked[TOP_FOR:][-TOP_AGAINST:]]:
                if abs(shares[piece]) >= LEAST_SHARE:
                    node = f"variable:{piece.name}" if piece.kind == "variable" else piece.name
                    rows.append({"diagnosis": key, "evidence": node, "share": round(shares[piece], 4)})
    return rows


def schema_of(labels: list[str]) -> pa.Schema:
    """The columns of ``predictions.parquet``."""
    return pa.schema(
        [
            ("stay_id", pa.int64()),
            ("diagnoses", pa.list_(pa.string())),
            ("possible", pa.list_(pa.string())),
            ("probabilities", pa.struct([(key, pa.float64()) for key in labels])),
            ("interval", pa.struct([(key, pa.list_(pa.float64())) for key in labels])),
            ("note_rationale", pa.string()),
            ("series_rationale", pa.string()),
            ("parsed", pa.bool_()),
            ("abstains", pa.list_(pa.string())),
            ("concepts", pa.list_(pa.struct([("concept", pa.string()), ("weight", pa.float64())]))),
            (
                "contributions",
                pa.list_(pa.struct([("diagnosis", pa.string()), ("evidence", pa.string()), ("share", pa.float64())])),
            ),
        ]
    )
