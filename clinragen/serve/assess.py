"""Predict, verify and report the stays of a request, with the same functions as the commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from clinragen import __version__
from clinragen.api import assessment, prediction, reporting
from clinragen.choices import Device
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.inputs import Predictions
from clinragen.inference.predict import TrainedModel
from clinragen.serve.answer import NOTICE
from clinragen.serve.intake import SPLIT, Intake, LeftOut
from clinragen.serve.scratch import request_cohort


@dataclass(frozen=True)
class Assessor:
    """The model, loaded once."""

    trained: TrainedModel

    @classmethod
    def load(cls, model: Path, device: Device = "auto") -> Assessor:
        """Open a run folder.

        Raises:
            UserError: not a finished run, or damaged; or no such device.
        """
        return cls(prediction.load(model, device=device))

    def warm_up(self) -> None:
        """Answer for an invented stay: what is imported and computed once is so before the first request."""
        window = self.trained.run.window
        stay = {"stay_id": 1, "subject_id": 1, "hadm_id": 1, "intime": datetime(2000, 1, 1), "split": SPLIT}
        stay |= {"outtime": datetime(2000, 1, 3), "prediction_time": datetime(2000, 1, 3), "age": 60.0, "sex": "F"}
        series = [{"stay_id": 1, "hour": 1.0, "variable": "heart_rate", "value": 120.0}]
        note = {"stay_id": 1, "note_id": "1", "kind": "note", "section": "chief_complaint", "text": "Fever and cough."}
        self.answer(Intake.of_rows(([stay], series, [note]), window, None, LeftOut()), pages=True)

    def answer(self, intake: Intake, *, pages: bool = False) -> dict[str, Any]:
        """The report on some stays: what ``clinragen.serve.answer.Answer`` describes.

        Args:
            intake: the stays.
            pages: also give the page of each stay.

        Raises:
            UserError: the model cannot read them.
        """
        with request_cohort(intake, self.trained.run) as root:
            cohort = Cohort.load(root / "cohort")
            predictions = prediction.predict(self.trained, cohort, root / "predictions", split=SPLIT)
            lines = (root / "predictions" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
            claims: dict[int, list[dict[str, Any]]] = {}
            for claim in assessment.verify(predictions, cohort).claims:
                claims.setdefault(claim["stay_id"], []).append({k: v for k, v in claim.items() if k != "stay_id"})
            shown = stay_pages(predictions, cohort, root) if pages else {}
            stays = [
                {
                    **row,
                    "encounter": intake.encounters.get(row["stay_id"]),
                    "claims": claims.get(row["stay_id"], []),
                    "page": shown.get(row["stay_id"]),
                }
                for row in map(json.loads, lines)
            ]
            remarks = [
                text.replace(str(cohort.paths.root), "the request") for text in predictions.manifest.remarks or []
            ]
        return {**self.about(), "remarks": remarks, "left_out": intake.left_out.as_json(), "stays": stays}

    def about(self) -> dict[str, Any]:
        """The model, its labels and thresholds."""
        trained, manifest = self.trained, self.trained.manifest
        labels = trained.model.labels
        return {
            "notice": NOTICE,
            "created_by": f"clinragen {__version__}",
            "model": {
                "sha256": manifest.model_sha256,
                "stage": manifest.stage,
                "task": trained.run.task.name,
                "source": manifest.source,
                "window": str(trained.run.window),
            },
            "labels": dict(labels.names),
            "thresholds": {k: float(v) for k, v in zip(labels, trained.calibration.thresholds, strict=True)},
            "possible_from": trained.calibration.possible,
        }


def stay_pages(predictions: Predictions, cohort: Cohort, root: Path) -> dict[int, str]:
    """The page of each stay as ``clinragen report`` writes it, by stay id: the one place that knows its folder.

    Args:
        predictions: of the stays.
        cohort: of the request.
        root: folder in which the report is written.
    """
    reporting.report(predictions, cohort, root / "report", single_file=True)
    pages = (root / "report" / "stays").glob("*.html")
    return {int(page.stem): page.read_text(encoding="utf-8") for page in pages}
