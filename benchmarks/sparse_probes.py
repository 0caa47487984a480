"""On how few things linear probes rest, and what that costs: ridge and elastic net beside an untrained network.

    python benchmarks/sparse_probes.py COHORT [COHORT ...]

For each way of penalising, the probes are fitted to the training stays of each cohort, penalties, gains, calibration
and thresholds are chosen on its validation stays, and its test stays are scored. *Largest N* is the share of what
speaks for a diagnosis, by the contributions that `clinragen predict` keeps, that its N largest pieces of evidence hold,
the mean over the diagnoses that are called. Means over the cohorts, such as the splits of `eicu_table.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from printed_tables import Console
from rich.table import Table
from sklearn.metrics import f1_score, roc_auc_score

from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.data.evidence_pieces import StayEvidence
from clinragen.inference.calibrate import Calibration, fit_calibration
from clinragen.inference.contributions import contributions
from clinragen.inference.predict import batches, score
from clinragen.model.clinragen import ClinRaGen
from clinragen.quiet import quiet_libraries
from clinragen.stages import ensemble
from clinragen.stages.build import new_model, stays
from clinragen.stages.config import resolve

LARGEST = (1, 3, 5, 8)
NETS = {  # (ridge, lasso) of the note's probe and of the series'
    "ridge": {"note": (1.0, 0.0), "series": (1.0, 0.0)},
    "elastic net, as shipped": dict(ensemble.NETS),
    "elastic net, mostly lasso": {"note": (0.1, 0.9), "series": (0.1, 0.03)},
}


def measured(cohort: Cohort, nets: dict[str, tuple[float, float]]) -> list[float]:
    """Macro AUROC, micro F1, and the share of the largest pieces, on the test stays."""
    config = resolve("multimodal", "tiny", "evidence", ["stage.parent=null", "stage.targets=[diagnoses]"])
    torch.manual_seed(0)
    model, inputs = new_model(config, cohort, None).eval(), config.stage.inputs
    data = {split: stays(model, config, cohort, split) for split in ("train", "validation", "test")}
    ensemble.NETS.update(nets)
    labelled = {split: data[split] for split in ("train", "validation")}
    ensemble.fit_linear_probes(model, labelled, inputs, 32)
    calibration = fit_calibration(*score(model, data["validation"], inputs), list(model.labels))
    logits, gold = score(model, data["test"], inputs)
    probabilities = calibration.probabilities(logits)
    shown = (gold.any(0)) & (~gold.astype(bool)).any(0)
    auroc = roc_auc_score(gold[:, shown], probabilities[:, shown], average="macro")
    f1 = f1_score(gold.ravel(), calibration.beliefs(probabilities).ravel() > 0.5)
    return [float(auroc), float(f1), *concentration(model, data["test"], calibration)]


def concentration(model: ClinRaGen, data: StayDataset, calibration: Calibration) -> np.ndarray:
    """Mean share of the largest pieces of evidence of the called diagnoses, one for each of ``LARGEST``."""
    held = []
    for rows, batch in batches(model, data, 64):
        output = model(batch, ["note", "series"], targets=False, explain=True)
        beliefs = calibration.beliefs(calibration.probabilities(output.logits.float().detach().numpy()))
        evidence = [StayEvidence(data, row, ["note", "series"]) for row in rows]
        for of_stay, called in zip(contributions(model, batch, output, evidence), beliefs > 0.5, strict=True):
            for label in np.flatnonzero(called):
                falls = sorted((max(0.0, float(fall[label])) for fall in of_stay.falls.values()), reverse=True)
                if sum(falls) > 0:
                    held.append([sum(falls[:most]) / sum(falls) for most in LARGEST])
    return np.mean(held, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", type=Path, nargs="+", metavar="COHORT", help="with evidence rationales")
    args = parser.parse_args()
    quiet_libraries()
    table = Table(title=f"linear probes on the test stays of {len(args.cohorts)} cohorts")
    for heading in ("penalty", "macro AUROC", "micro F1", *(f"largest {most}" for most in LARGEST)):
        table.add_column(heading, justify="left" if heading == "penalty" else "right")
    for name, nets in NETS.items():
        means = np.mean([measured(Cohort.load(cohort), nets) for cohort in args.cohorts], axis=0)
        table.add_row(name, *(f"{value:.3f}" for value in means))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
