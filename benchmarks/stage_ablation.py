"""The paper's ablation on the synthetic hospital, in one table: the effect of each input, the knowledge and each stage.

    python benchmarks/stage_ablation.py --out outputs/ablation [--patients 1500] [--rows full,without_knowledge]
        [--told 150]

Makes the hospital, prepares it, and trains preset `tiny` once for every run that the rows need. A finished run is kept:
the command can be stopped and run again. Planted groups: `together` are the phenotypes that neither the note nor the
series gives away alone (docs/synthetic.md). The oracle knows the ground truth. The last columns of the first table show
what the linear probes hide: macro AUROC of the network without them, and the loss per token of the reports that it is
taught to write. With ``--told N`` a second table shows what each row is worth to the rationales of the first N held-out
stays, for rows that write any: the share of true positives for which the default (constrained) rationales name a true
cause, and the shares of the findings and measurements of free rationales that the chart supports.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from printed_tables import Console, with_interval
from rich.table import Table

import clinragen
from clinragen.artifacts import read_json, write_json
from clinragen.catalog import phenotypes
from clinragen.choices import SeriesInput
from clinragen.cohort.folder import Cohort
from clinragen.data.targets import MARKERS
from clinragen.evaluation.diagnosis import METRICS, System, bootstrap, interval
from clinragen.inference.predict import Prediction, TrainedModel, score, write_predictions
from clinragen.quiet import quiet_libraries
from clinragen.stages.module import macro_auroc
from clinragen.stages.run import Request, run_stage
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep

GROUPS = ("note", "series", "both", "together")
NEW = ("stage.parent=null",)


@dataclass(frozen=True)
class Run:
    """One training run: its stage, the run it continues, and what is changed."""

    stage: str
    parent: str | None = None
    changes: tuple[str, ...] = ()


DIAGNOSES_ONLY = ("stage.targets=[diagnoses]",)
NO_KNOWLEDGE = ("model.attention.knowledge=none",)
CAPTIONS = ("model.max_caption_tokens=128",)
RUNS = {
    "notes": Run("notes"),
    "series": Run("series", "notes"),
    "full": Run("multimodal", "series"),
    "notes_long": Run("notes", None, ("stage.epochs={notes+multimodal}",)),
    "notes_plain": Run("notes", None, NO_KNOWLEDGE),
    "series_plain": Run("series", "notes_plain"),
    "multimodal_plain": Run("multimodal", "series_plain"),
    "notes_captions": Run("notes", None, CAPTIONS),
    "series_captions": Run("series", "notes_captions"),
    "multimodal_captions": Run("multimodal", "series_captions"),
    "refine": Run("refine", "full"),
    "notes_labels": Run("notes", None, DIAGNOSES_ONLY),
    "series_labels": Run("series", "notes_labels", DIAGNOSES_ONLY),
    "multimodal_labels": Run("multimodal", "series_labels", DIAGNOSES_ONLY),
    "series_first": Run("series", None, (*NEW, "stage.frozen=[]")),
    "without_stage_1": Run("multimodal", "series_first"),
    "without_stage_2": Run("multimodal", "notes", ("stage.parent=notes",)),
    "stage_3_alone": Run("multimodal", None, NEW),
}
#: Row -> its heading, the run it is measured on, and the series that run is given.
ROWS: dict[str, tuple[str, str, SeriesInput]] = {
    "full": ("full model", "full", "observed"),
    "without_series": ("without series and knowledge", "notes_long", "observed"),
    "without_knowledge": ("without knowledge", "multimodal_plain", "observed"),
    "without_rationales": ("without rationales", "multimodal_labels", "observed"),
    "captions": ("with captions of the series", "multimodal_captions", "observed"),
    "refined": ("full model, refined", "refine", "observed"),
    "without_stage_1": ("stage 1 skipped", "without_stage_1", "observed"),
    "without_stage_2": ("stage 2 skipped", "without_stage_2", "observed"),
    "stage_3_alone": ("stages 1 and 2 skipped", "stage_3_alone", "observed"),
    "without_stage_3": ("stage 3 skipped", "series", "observed"),
    "zeroed": ("full model, series zeroed", "full", "zeroed"),
    "permuted": ("full model, series permuted", "full", "permuted"),
}


def prepare(out: Path, patients: int, seed: int) -> tuple[Path, Cohort]:
    """The synthetic hospital, its cohort and the teacher's rationales."""
    raw, cohort = out / "raw", out / "cohort"
    if not (raw / "truth").exists():
        given = ["--patients", str(patients), "--seed", str(seed), "--out", str(raw)]
        if mimic_prep(["synthesize", *given]):
            raise SystemExit(f"{raw} could not be made")
    if not (cohort / "rationales").exists():
        if mimic_prep(["mimic-iv", "--raw", str(raw), "--out", str(cohort), "--overwrite"]):
            raise SystemExit(f"{cohort} could not be prepared")
        generate(cohort)
    return raw, Cohort.load(cohort)


def trained(name: str, out: Path, cohort: Cohort, epochs: dict[str, int], console: Console) -> Path:
    """The run folder, trained with its parents where it is not there yet."""
    run, here = RUNS[name], out / "runs" / name
    if (here / "manifest.json").exists():
        return here
    parent = trained(run.parent, out, cohort, epochs, console) if run.parent else None
    changes = [
        change.replace("{notes+multimodal}", str(epochs["notes"] + epochs["multimodal"])) for change in run.changes
    ]
    settings = [f"stage.batch_size={16 if run.stage == 'series' else 8}", *changes]
    if run.stage in epochs:  # refining has epochs of its own
        settings.insert(0, f"stage.epochs={epochs[run.stage]}")
    run_stage(Request(run.stage, cohort.paths.root, here, "tiny", parent, overrides=tuple(settings)), console)
    return here


def measure(run: Path, cohort: Cohort, series_input: SeriesInput) -> dict[str, Any]:
    """Calibrated test probabilities and thresholds of one run; macro AUROC of its network without the linear probes;
    and the validation loss of the tokens of its reports, of the epoch that was kept, where it writes all sections."""
    model = TrainedModel.load(run)
    held, inputs = model.dataset(cohort, "test", series_input), model.manifest.inputs
    logits, gold = score(model.model, held, inputs)
    probes = model.model.head.linear_probes
    assert probes is not None
    probes.reset()
    network, _ = score(model.model, held, inputs)
    history = pl.read_csv(run / "metrics.csv")
    written = len(model.manifest.targets) == len(MARKERS) and series_input == "observed"
    written &= "validation/nll" in history.columns
    return {
        "probabilities": model.calibration.probabilities(logits).round(6).tolist(),
        "thresholds": model.calibration.thresholds,
        "network": macro_auroc(gold, network),
        "nll": history["validation/nll"][int((model.manifest.best or {})["epoch"])] if written else None,
    }


def told(run: Path, cohort: Cohort, truth: Path, out: Path, limit: int, console: Console) -> dict[str, Any]:
    """Shares with their intervals: true causes that constrained rationales name; supported claims of free ones."""
    trained = TrainedModel.load(run)
    values = {}
    for decoding in ("constrained", "free"):
        prediction = Prediction(decoding=decoding, limit=limit)
        write_predictions(trained, cohort, prediction, out / decoding, console, overwrite=True)
        found = clinragen.evaluate(
            out / decoding, cohort, truth=truth, no_controls=True, reasons=0, replicates=300, overwrite=True
        )
        values[decoding] = found.values
    kinds = {
        kind: about for kind, about in (("note", "finding"), ("series", "series")) if kind in trained.manifest.targets
    }
    free = {kind: values["free"]["claims"][kind][about] for kind, about in kinds.items()}
    return {
        "causes": values["constrained"]["reasons"]["causes"]["recall"],
        "coverage": values["constrained"]["coverage"]["share"],
        **{kind: {**row["supported"], "claims": row["claims"]} for kind, row in free.items()},
        **{f"{kind}_texts": _distinct(out / "free", kind) for kind in kinds},
    }


def _distinct(predictions: Path, kind: str) -> int:
    """Number of different rationales: one sentence for every stay is no rationale, however true."""
    return pl.read_parquet(predictions / "predictions.parquet")[f"{kind}_rationale"].n_unique()


def show_told(rows: dict[str, dict[str, Any]], limit: int) -> None:
    """The second table."""
    headings = (
        "model",
        "causes named",
        "coverage",
        "free note findings",
        "different texts",
        "free measurements",
        "texts",
    )
    table = Table(title=f"rationales of the first {limit} held-out stays")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right")

    def share(found: dict[str, Any] | None) -> str:
        if found is None or found["value"] is None:
            return ""
        text = with_interval(found)
        return f"{text} of {found['claims']}" if "claims" in found else text

    for name, row in rows.items():
        cells = [share(row["causes"]), share(row["coverage"])]
        for kind in ("note", "series"):
            cells += [share(row.get(kind)), str(row.get(f"{kind}_texts", ""))]
        table.add_row(ROWS[name][0], *cells)
    Console(width=180).print(table)


def show(rows: dict[str, System], apart: dict[str, list[str]], cohort: Cohort, planted: dict[str, np.ndarray]) -> None:
    """One table; the groups are macro AUROC over the phenotypes planted so; ``apart`` has the last cells of a row."""
    held = cohort.stays.filter(pl.col("split") == "test")
    gold = cohort.label_matrix(held["stay_id"].to_numpy())
    found = bootstrap(gold, rows, held["subject_id"].to_numpy(), replicates=300)
    table = Table(title=f"{len(held)} held-out stays, {(cohort.stays['split'] == 'train').sum()} to learn from")
    for heading in ("model", "macro AUROC", "change", "micro F1", *GROUPS, "network alone", "loss of reports"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    area, f1 = METRICS.index("macro_auroc"), METRICS.index("thresholded_micro_f1")
    for name, scores in found.items():
        cells = [_interval(scores.value[area], scores.replicates[:, area])]
        if name in ("full", "oracle") or "full" not in found:
            cells.append("")
        else:
            full = found["full"]
            lead = scores.replicates[:, area] - full.replicates[:, area]
            cells.append(_interval(scores.value[area] - full.value[area], lead, "+"))
        cells.append("" if name == "oracle" else f"{scores.value[f1]:.3f}")
        cells += [f"{np.nanmean(scores.auroc[planted[group]]):.3f}" for group in GROUPS]
        table.add_row(ROWS[name][0] if name in ROWS else "oracle, which reads the truth", *cells, *apart.get(name, []))
    Console(width=180).print(table)


def _interval(value: float, replicates: np.ndarray, sign: str = "") -> str:
    found = interval(value, replicates)
    return with_interval(found, sign=sign)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="hospital, cohort, runs and cells; run again to go on")
    parser.add_argument("--patients", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--epochs", default="3,2,3", help="of the stages notes, series and multimodal")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--told", type=int, default=0, help="held-out stays whose rationales are judged, too")
    args = parser.parse_args()
    quiet_libraries()
    console = Console(stderr=True)
    epochs: dict[str, int] = dict(zip(("notes", "series", "multimodal"), map(int, args.epochs.split(",")), strict=True))
    raw, cohort = prepare(args.out, args.patients, args.seed)
    rows: dict[str, System] = {}
    apart: dict[str, list[str]] = {}
    texts: dict[str, dict[str, Any]] = {}
    for name in [name for name in ROWS if name in args.rows.split(",")]:
        _, run, series_input = ROWS[name]
        cell = args.out / "cells" / f"{name}.json"
        if not cell.exists():
            write_json(cell, measure(trained(run, args.out, cohort, epochs, console), cohort, series_input))
        kept = read_json(cell, "a cell of this table")
        writes = set(RUNS[run].changes).isdisjoint(DIAGNOSES_ONLY) and series_input == "observed"
        if args.told and writes:
            words = args.out / "told" / f"{name}-{args.told}.json"
            if not words.exists():
                here = trained(run, args.out, cohort, epochs, console)
                place = args.out / "told" / name
                write_json(words, told(here, cohort, raw / "truth", place, args.told, console))
            texts[name] = read_json(words, "a cell of this table")
        rows[name] = System(np.array(kept["probabilities"]), np.array(kept["thresholds"]))
        apart[name] = [f"{kept['network']:.3f}", f"{kept['nll']:.3f}" if kept["nll"] is not None else ""]
    truth = pl.read_parquet(raw / "truth" / "conditions.parquet")
    oracle = pl.read_parquet(raw / "truth" / "oracle.parquet")
    held = cohort.stays.filter(pl.col("split") == "test").select("stay_id")
    known = held.join(oracle, on="stay_id", how="left", maintain_order="left").select(list(phenotypes())).to_numpy()
    rows["oracle"] = System(known, np.full(known.shape[1], 0.5))
    kinds = dict(truth.select("condition", "planted").unique().iter_rows())
    planted = {group: np.array([kinds[key] == group for key in phenotypes()]) for group in GROUPS}
    show(rows, apart, cohort, planted)
    if texts:
        show_told(texts, args.told)


if __name__ == "__main__":
    main()
