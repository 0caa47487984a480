"""Batch inference: probabilities from the head, reports from constrained decoding, written as JSONL and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import LogitsProcessorList

from clinragen import __version__, versions
from clinragen.artifacts import read_json, write_json, write_table
from clinragen.choices import Decoding, Device
from clinragen.data.batch import Batch
from clinragen.data.cohort import Cohort
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.mentions import MentionEncoder
from clinragen.data.sampler import BucketedBatches
from clinragen.errors import UserError, unknown_choice
from clinragen.inference.calibrate import Calibration
from clinragen.inference.decode import ReportGrammar, read_report
from clinragen.inference.finished import FinishedRun
from clinragen.inference.grounded_report import GroundedReports
from clinragen.integrity import outputs_of
from clinragen.model.clinragen import ClinRaGen
from clinragen.outputs import PREDICTIONS, output_folder
from clinragen.schema import DECODINGS, SERIES_INPUTS
from clinragen.stages.quiet import phase

TOP_CONCEPTS = 15


@dataclass(frozen=True)
class TrainedModel:
    """A model with what its run folder says about it."""

    model: ClinRaGen
    calibration: Calibration
    run: FinishedRun
    device: torch.device

    @classmethod
    def load(cls, run: str | Path | FinishedRun, choice: Device = "auto") -> TrainedModel:
        """Open a run folder written by ``clinragen train``.

        Args:
            run: the folder, or what was read of it.
            choice: where the model will run.

        Raises:
            UserError: not a finished run, or damaged; or no such device.
        """
        where = device(choice)
        if not isinstance(run, FinishedRun):
            run = FinishedRun.open(run)
        model = ClinRaGen.from_pretrained(run.model)
        stored = read_json(run.model / "calibration.json", "the calibration of the model")
        return cls(model, Calibration.from_json(stored, list(model.labels)), run, where)

    @property
    def manifest(self) -> dict[str, Any]:
        return self.run.manifest

    @property
    def folder(self) -> Path:
        return self.run.folder

    def dataset(
        self, cohort: Cohort, split: str, series_input: str = "observed", limit: int | None = None
    ) -> StayDataset:
        """The stays of a split as inputs of this model, without targets."""
        return self.stays(cohort, cohort.split(split)[:limit], series_input)

    def stays(self, cohort: Cohort, stay_ids: np.ndarray, series_input: str = "observed") -> StayDataset:
        """Stays, by ascending id, as inputs of this model, without targets.

        Raises:
            UserError: the cohort holds hours that the model does not read.
        """
        self.run.window.check(cohort)
        return StayDataset(
            cohort,
            stay_ids,
            self.model.tokenizer,
            MentionEncoder(self.model.graph, self.model.concepts.ids),
            self.model.statistics,
            self.model.target_format(self.manifest["targets"]),
            self.model.config.max_note_tokens,
            self.model.config.max_target_tokens,
            series_input=series_input,
            lexicon=self.model.lexicon,
            task=self.run.task,
        )


def device(choice: Device = "auto") -> torch.device:
    """Where a model runs; ``auto`` is the first accelerator, or else the processor.

    Raises:
        UserError: this machine has no such device.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if choice == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present.get(choice):
        able = ", ".join(name for name, there in present.items() if there)
        raise UserError(f"--device {choice}: this machine has none; it can run models on: {able}")
    return torch.device(choice)


def batches(model: ClinRaGen, dataset: StayDataset, size: int) -> Iterator[tuple[list[int], Batch]]:
    """Batches of like length with the dataset rows they hold."""
    order = BucketedBatches([dataset.length(i) for i in range(len(dataset))], size, 0, shuffle=False)
    pad = model.tokenizer.pad_token_id
    loader = DataLoader(dataset, batch_sampler=order, collate_fn=lambda stays: collate(stays, pad))
    yield from zip(order, loader, strict=True)


@torch.inference_mode()
def score(
    model: ClinRaGen, dataset: StayDataset, inputs: list[str], size: int = 64, where: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Head logits and gold labels in dataset order, both [n, phenotypes]."""
    where = where or device()
    model.to(where).eval()
    logits = np.zeros((len(dataset), len(model.labels)), dtype=np.float32)
    for rows, batch in batches(model, dataset, size):
        logits[rows] = model(batch.to(where), inputs, targets=False).logits.float().cpu().numpy()
    return logits, dataset.labels.astype(np.float32)


@torch.inference_mode()
def write_predictions(
    trained: TrainedModel,
    cohort: Cohort,
    cohort_path: Path,
    split: str,
    out: Path,
    console: Console,
    *,
    series_input: str = "observed",
    decoding: Decoding = "constrained",
    batch_size: int = 64,
    limit: int | None = None,
    overwrite: bool = False,
    graph: Path | None = None,
    remarks: Sequence[str] = (),
    explain: Callable[[StayDataset], Iterator[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Predict a split and write ``predictions.jsonl``, ``predictions.parquet`` and ``manifest.json``.

    Args:
        series_input: ``observed``, or a control: ``zeroed`` or ``shuffled``.
        decoding: ``constrained`` holds what is written of note and series to what they show, and the list of
            diagnoses to those that the rationales argue for, which the head calls; ``free`` leaves both to the
            language model.
        limit: only the first stays.
        remarks: what a reader must know of this model on this cohort, for the manifest.
        explain: gives what carried the diagnoses of each stay of a dataset, the lines of ``attributions.jsonl``.

    Returns:
        The manifest.
    """
    if series_input not in SERIES_INPUTS:
        raise unknown_choice("series input", series_input, SERIES_INPUTS)
    if decoding not in DECODINGS:
        raise unknown_choice("decoding", decoding, DECODINGS)
    model, manifest = trained.model, trained.manifest
    count = len(cohort.split(split)[:limit])
    phase(console, f"reading notes and series of {count:,} stays")
    dataset = trained.dataset(cohort, split, series_input, limit)
    where = trained.device
    model.to(where).eval()
    target = model.target_format(trained.run.sections(decoding))
    budget = model.config.max_target_tokens // 2  # tokens of one rationale
    held = [kind for kind in target.sections if kind in manifest["inputs"]] if decoding == "constrained" else []
    reports = GroundedReports.of(dataset, held)
    rows: list[dict[str, Any] | None] = [None] * len(dataset)
    with output_folder(out, PREDICTIONS, overwrite=overwrite, inputs=(trained.folder, cohort_path, graph)) as folder:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("  predicting", total=len(dataset))
            for indices, batch in batches(model, dataset, batch_size):
                batch = batch.to(where)
                output = model(batch, manifest["inputs"], targets=False, explain=True)
                probabilities = trained.calibration.probabilities(output.logits.float().cpu().numpy())
                beliefs = trained.calibration.beliefs(probabilities)
                grounded = reports.grammars(model, target, batch, beliefs, budget)
                # grounded rationales argue for what the head calls: the list must not name anything else
                listed = (beliefs > 0.5).astype(float) if held else beliefs
                grammar = ReportGrammar(target, budget, model.language_model.decoder_start, listed, grounded)
                generated = model.generate(batch, manifest["inputs"], LogitsProcessorList([grammar]), grammar.longest)
                for position, index in enumerate(indices):
                    weights = output.concept_weights[position] if output.concept_weights is not None else None
                    rows[index] = _row(
                        trained,
                        target,
                        int(batch.stay_ids[position]),
                        probabilities[position],
                        generated[position],
                        weights,
                    )
                progress.advance(task, len(indices))
        if explain is not None:
            with Progress(console=console, transient=True) as progress:
                found = progress.track(explain(dataset), total=len(dataset), description="  explaining")
                lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found]
            (folder / "attributions.jsonl").write_text("".join(lines), encoding="utf-8")
        done = [row for row in rows if row is not None]
        (folder / "predictions.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in done), encoding="utf-8"
        )
        write_table(folder / "predictions.parquet", pa.Table.from_pylist(done, schema=_schema(list(model.labels))))
        written = {
            **versions.PREDICTIONS.mark,
            "created_by": f"clinragen {__version__}",
            "model": str(trained.folder),
            "model_hash": manifest["model_sha256"],
            "cohort": str(cohort_path),
            "cohort_hash": cohort.sha256,
            "graph": str(graph) if graph else None,
            "split": split,
            "task": trained.run.task.name,
            "labels": list(model.labels),
            "label_set": model.labels.to_json(),
            "thresholds": dict(zip(model.labels, trained.calibration.thresholds, strict=True)),
            "series_input": series_input,
            "decoding": {
                kind: "constrained" if kind in held else "free" for kind in target.sections if kind != "diagnoses"
            },
            "source": cohort.manifest.get("source"),
            "window": str(trained.run.window),
            "remarks": list(remarks),
            "stays": len(done),
            "parsed": sum(row["parsed"] for row in done),
            **outputs_of(folder.iterdir()),
            "training": manifest,
        }
        write_json(folder / "manifest.json", written)
    return written


def _row(
    trained: TrainedModel, target: Any, stay_id: int, probabilities: np.ndarray, ids: Tensor, weights: Tensor | None
) -> dict[str, Any]:
    labels = list(trained.model.labels)
    report = read_report(target, ids.tolist())
    concepts: list[dict[str, Any]] = []
    if weights is not None:
        top = weights.float().topk(min(TOP_CONCEPTS, len(weights)))
        names = trained.model.concepts.keys
        concepts = [
            {"concept": names[i], "weight": round(w, 6)}
            for w, i in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]
    return {
        "stay_id": stay_id,
        "diagnoses": [labels[index] for index in report.diagnoses],
        "probabilities": {key: round(float(p), 6) for key, p in zip(labels, probabilities, strict=True)},
        "note_rationale": report.rationales.get("note", ""),
        "series_rationale": report.rationales.get("series", ""),
        "parsed": report.parsed,
        "concepts": concepts,
    }


def _schema(labels: list[str]) -> pa.Schema:
    return pa.schema(
        [
            ("stay_id", pa.int64()),
            ("diagnoses", pa.list_(pa.string())),
            ("probabilities", pa.struct([(key, pa.float64()) for key in labels])),
            ("note_rationale", pa.string()),
            ("series_rationale", pa.string()),
            ("parsed", pa.bool_()),
            ("concepts", pa.list_(pa.struct([("concept", pa.string()), ("weight", pa.float64())]))),
        ]
    )
