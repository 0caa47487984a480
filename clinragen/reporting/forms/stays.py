"""The records of a report's stays, one at a time, in the order of their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clinragen import __version__
from clinragen.catalog import variables
from clinragen.evaluation import faithfulness
from clinragen.evaluation.prediction_columns import Contribution
from clinragen.label_sets import Phenotype
from clinragen.reporting import cases
from clinragen.reporting.build import ReportInput
from clinragen.reporting.forms import record as form
from clinragen.reporting.verdicts import ClaimText
from clinragen.schema import RATIONALE_KINDS, RationaleKind
from clinragen.verification.claims import Checked
from clinragen.verification.grounds import clauses, marked_diagnoses


def stay_records(report: ReportInput, *, with_recorded_codes: bool = False) -> Iterator[form.StayReport]:
    """What the report states of each stay, in the order of their ids.

    Args:
        report: content of the report.
        with_recorded_codes: add to each diagnosis whether it was coded.
    """
    content = _Content(report, faithfulness.grounded(report.predictions, report.claims_read), provenance_of(report))
    stays = report.truth.stays.rows(named=True)
    for row in np.argsort(report.predictions.stay_ids).tolist():
        yield content.record(row, stays[row], with_recorded_codes=with_recorded_codes)


def provenance_of(report: ReportInput) -> form.Provenance:
    """Where the predictions of a report come from."""
    predictions = report.predictions
    manifest = predictions.manifest
    return {
        "clinragen": __version__,
        "predicted_by": manifest.created_by,
        "model": Path(manifest.model).name,  # the rest of the path is this machine's
        "model_sha256": manifest.model_hash,
        "cohort_sha256": manifest.cohort_hash,
        "predictions_sha256": predictions.table_hash,
        "source": None if manifest.source is None else str(manifest.source),
        "task": predictions.task.name,
        "label_set": predictions.labels.name,
        "window": manifest.window,
        "series_input": manifest.series_input,
        "decoding": manifest.decoding,
        "possible_from": manifest.possible_from,
        "remarks": manifest.remarks or [],
    }


@dataclass(frozen=True)
class _Content:
    """A report, the listed diagnoses with a stated ground ([n, L] bool), and where it comes from."""

    report: ReportInput
    grounded: np.ndarray
    provenance: form.Provenance

    def record(self, row: int, stay: dict[str, Any], *, with_recorded_codes: bool) -> form.StayReport:
        predictions = self.report.predictions
        claims = self._claims(row)
        arguments = self._cases(row, {id(checked): claim["id"] for checked, claim in claims})
        stated = [claim for _, claim in claims]
        return {
            "stay_report_version": form.VERSION,
            "use": form.USE,
            "stay": _stay(stay),
            "abstains": predictions.abstains[row] if predictions.abstains else None,
            "parsed": bool(predictions.parsed[row]),
            "diagnoses": self._diagnoses(row, arguments, stated, with_recorded_codes=with_recorded_codes),
            "rationales": [{"kind": kind, "text": text} for kind, text in predictions.rationales(row).items()],
            "claims": stated,
            "cases": arguments,
            "contributions": predictions.contributions[row] if predictions.contributions else [],
            "attributions": predictions.attributions.get(stay["stay_id"], []),
            "provenance": self.provenance,
        }

    def _claims(self, row: int) -> list[tuple[Checked, form.Claim]]:
        texts = self.report.predictions.rationales(row)
        return [
            (checked, self._claim(f"{kind}-{number}", kind, checked, texts[kind]))
            for kind in RATIONALE_KINDS
            for number, checked in enumerate(self.report.claims_read[row][kind], 1)
        ]

    def _claim(self, identifier: str, kind: RationaleKind, checked: Checked, text: str) -> form.Claim:
        measured: list[form.Measured] = [
            {
                "variable": key,
                "name": variables()[key].label,
                "hour": round(hour, 3),
                "value": round(value, variables()[key].decimals + 3),  # stored as float32
                "unit": variables()[key].unit,
            }
            for key, hour, value in checked.measured
        ]
        return {
            "id": identifier,
            "rationale": kind,
            "start": checked.start,
            "end": checked.end,
            "text": text[checked.start : checked.end],
            "kind": checked.kind,
            "about": checked.about,
            "name": self._name(checked),
            "negated": checked.negated,
            "verdict": checked.standing,  # type: ignore[typeddict-item]
            "measured": measured,
            "passages": [
                {"section": one.name, "index": one.section, "start": one.start, "end": one.end}
                for one in checked.places
            ],
        }

    def _name(self, checked: Checked) -> str:
        if checked.kind == "series":
            return " or ".join(variables()[key].label for key in checked.about.split(","))
        name = self.report.nodes.get(checked.about, {}).get("name")
        return str(name or checked.about.partition(":")[2].replace("_", " "))

    def _cases(self, row: int, identifiers: dict[int, str]) -> list[form.Case]:
        """The case for each diagnosis; none for tasks without diagnoses, or without a graph."""
        predictions, graph = self.report.predictions, self.report.graph
        if graph is None or not predictions.task.argued:
            return []
        by_diagnosis: dict[str, list[Contribution]] = {}
        for one in predictions.contributions[row] if predictions.contributions else ():
            by_diagnosis.setdefault(one["diagnosis"], []).append(one)
        keys, system = list(predictions.labels), predictions.system
        file = cases.CaseFile(
            texts=predictions.rationales(row),
            claims=self.report.claims_read[row],
            # a reason names the element that shows it: here, the claim
            as_text=lambda _, checked: _named(checked, identifiers),
            contributions=by_diagnosis,
            graph=graph,
        ).cases(
            dict(zip(keys, system.probabilities[row].tolist(), strict=True)),
            dict(zip(keys, system.thresholds.tolist(), strict=True)),
            [key for key, listed in zip(keys, system.listed[row], strict=True) if listed],
        )
        return [
            {
                "diagnosis": case.key,
                "listed": case.listed,
                "grounds": [_reason(one) for one in case.grounds],
                "against": [_reason(one) for one in case.against],
                "unstated": [{"name": name, "share": share} for name, share in case.unstated],
            }
            for case in file
        ]

    def _diagnoses(
        self, row: int, arguments: list[form.Case], claims: list[form.Claim], *, with_recorded_codes: bool
    ) -> list[form.Diagnosis]:
        predictions, truth = self.report.predictions, self.report.truth
        system, possible_from = predictions.system, predictions.manifest.possible_from
        grounds = {case["diagnosis"]: case["grounds"] for case in arguments}
        denied = marked_diagnoses(claim for kind in RATIONALE_KINDS for claim in self.report.claims_read[row][kind])
        clause = _clause_of(predictions.rationales(row), claims)
        diagnoses: list[form.Diagnosis] = []
        for column, (key, label) in enumerate(predictions.labels.items()):
            probability, listed = float(system.probabilities[row, column]), bool(system.listed[row, column])
            stated = "supported" if self.grounded[row, column] else "denied" if key in denied else "none"
            diagnosis: form.Diagnosis = {
                "key": key,
                "name": label.name,
                "codes": _codes(label),
                "probability": probability,
                "interval": self._interval(row, column),
                "threshold": float(system.thresholds[column]),
                "listed": listed,
                "possible": None if possible_from is None else probability >= possible_from,
                "ground": stated if listed and predictions.task.argued else None,
                "argument": next((clause(one["claim"]) for one in grounds.get(key, ())), ""),
            }
            if with_recorded_codes:
                coded = truth.labelled and bool(truth.eligible[row, column])
                diagnosis["recorded"] = bool(truth.gold[row, column]) if coded else None
            diagnoses.append(diagnosis)
        return diagnoses

    def _interval(self, row: int, column: int) -> tuple[float, float] | None:
        if self.report.predictions.intervals is None:
            return None
        low, high = self.report.predictions.intervals[row, column].tolist()
        return low, high


def _stay(row: dict[str, Any]) -> form.Stay:
    over = row["age"] is not None and row["age"] > 89  # masked at the source
    return {
        "stay_id": row["stay_id"],
        "subject_id": row["subject_id"],
        "hadm_id": row["hadm_id"],
        "age": None if over or row["age"] is None else round(row["age"]),
        "over_89": over,
        "sex": row["sex"] if row["sex"] in ("F", "M") else None,
        "intime": row["intime"].isoformat(timespec="seconds"),
        "prediction_time": row["prediction_time"].isoformat(timespec="seconds"),
        "split": row["split"],
    }


def _codes(label: Phenotype) -> form.Codes:
    return {"ccs": list(label.ccs), "icd9": list(label.icd9), "icd10": list(label.icd10)}


def _named(checked: Checked, identifiers: dict[int, str]) -> ClaimText:
    return ClaimText(checked.start, checked.end, checked.standing, "", "", identifiers[id(checked)])


def _reason(reason: cases.Reason) -> form.Reason:
    warrant = reason.warrant
    return {
        "claim": reason.target,
        "words": reason.words,
        "share": reason.share,
        "warrant": None if warrant is None else {"text": warrant.text, "source": warrant.source},
    }


def _clause_of(texts: dict[RationaleKind, str], claims: list[form.Claim]) -> Callable[[str], str]:
    """The clause of a rationale in which a claim stands, by the claim's id."""
    by_id = {claim["id"]: claim for claim in claims}
    spans = {kind: list(clauses(text)) for kind, text in texts.items()}

    def clause(identifier: str) -> str:
        claim = by_id[identifier]
        within = (span for span in spans[claim["rationale"]] if span[0] <= claim["start"] < span[1])
        start, end = next(within, (claim["start"], claim["end"]))
        return texts[claim["rationale"]][start:end].strip()

    return clause
