"""Batch inference: probabilities from the head, reports from constrained decoding, written as JSONL and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import LogitsProcessorList

from clinragen import __version__
from clinragen.artifacts import read_json, write_table
from clinragen.choices import DECODINGS, SERIES_INPUTS, SPLITS, Decoding, Device, Modality, SeriesInput, Split
from clinragen.cohort.folder import Cohort
from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.evidence_pieces import StayEvidence
from clinragen.data.mentions import MentionEncoder
from clinragen.data.sampler import BucketedBatches
from clinragen.errors import UserError, unknown_choice
from clinragen.evaluation.explanation import Explanation
from clinragen.evaluation.inputs import Contribution
from clinragen.inference.calibrate import Calibration
from clinragen.inference.contributions import Contributions, contributions
from clinragen.inference.decode import ReportGrammar, read_report
from clinragen.inference.finished import FinishedRun
from clinragen.inference.grounded_report import NEARLY_CALLED, GroundedReports
from clinragen.integrity import outputs_of
from clinragen.manifests import PredictionsManifest, RunManifest
from clinragen.model.clinragen import ClinRaGen, Output
from clinragen.outputs import PREDICTIONS, output_folder
from clinragen.quiet import phase

TOP_CONCEPTS = 15
#: Contributions that are kept for each diagnosis, for and against it, from this share on.
TOP_FOR, TOP_AGAINST, LEAST_SHARE = 24, 6, 0.005


@dataclass(frozen=True)
class TrainedModel:
    """A model with the content of its run folder."""

    model: ClinRaGen
    calibration: Calibration
    run: FinishedRun
    device: torch.device

    @classmethod
    def load(cls, run: str | Path | FinishedRun, choice: Device = "auto") -> TrainedModel:
        """Open a run folder written by ``clinragen train``.

        Args:
            run: the folder, or an opened run.
            choice: device of the model.

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
    def manifest(self) -> RunManifest:
        """The manifest of the run folder."""
        return self.run.manifest

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    def dataset(
        self, cohort: Cohort, split: str, series_input: SeriesInput = "observed", limit: int | None = None
    ) -> StayDataset:
        """The stays of a split as inputs of this model, without targets."""
        return self.stays(cohort, cohort.split(split)[:limit], series_input)

    def stays(self, cohort: Cohort, stay_ids: np.ndarray, series_input: SeriesInput = "observed") -> StayDataset:
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
            self.model.target_format(self.manifest.targets),
            self.model.config.max_note_tokens,
            self.model.config.max_target_tokens,
            series_input=series_input,
            lexicon=self.model.lexicon,
            task=self.run.task,
            max_caption_tokens=self.model.config.max_caption_tokens,
        )


def device(choice: Device = "auto") -> torch.device:
    """The device of a model; ``auto`` is the first accelerator, or the CPU without one.

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
    """Batches of similar length with their dataset rows."""
    order = BucketedBatches([dataset.length(i) for i in range(len(dataset))], size, 0, shuffle=False)
    pad = model.tokenizer.pad_token_id
    loader = DataLoader(dataset, batch_sampler=order, collate_fn=lambda stays: collate(stays, pad))
    yield from zip(order, loader, strict=True)


@torch.inference_mode()
def score(
    model: ClinRaGen,
    dataset: StayDataset,
    inputs: Sequence[Modality],
    size: int = 64,
    where: torch.device | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Head logits and gold labels in dataset order, both [n, phenotypes]."""
    where = where or device()
    model.to(where).eval()
    logits = np.zeros((len(dataset), len(model.labels)), dtype=np.float32)
    for rows, batch in batches(model, dataset, size):
        logits[rows] = model(batch.to(where), inputs, targets=False).logits.float().cpu().numpy()
    return logits, dataset.labels.astype(np.float32)


@dataclass(frozen=True)
class Prediction:
    """Options of a prediction.

    Attributes:
        split: split to predict.
        series_input: ``observed``, or a control: ``zeroed`` or ``permuted``.
        decoding: ``constrained`` allows only statements that note and series support, and in the list of labels only
            those that the head predicts and the rationales argue for; ``free`` leaves both to the language model.
        batch_size: stays per batch.
        limit: only the first stays.
    """

    split: Split = "test"
    series_input: SeriesInput = "observed"
    decoding: Decoding = "constrained"
    batch_size: int = 64
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("split", self.split, SPLITS),
            ("series input", self.series_input, SERIES_INPUTS),
            ("decoding", self.decoding, DECODINGS),
        ):
            if value not in valid:
                raise unknown_choice(name, value, valid)


class KeyWeight(TypedDict):
    """How much attention a key of the knowledge received."""

    concept: str
    weight: float


class PredictionRow(TypedDict):
    """A line of ``predictions.jsonl`` and a row of ``predictions.parquet``: ``probabilities`` by label."""

    stay_id: int
    diagnoses: list[str]
    probabilities: dict[str, float]
    note_rationale: str
    series_rationale: str
    parsed: bool
    concepts: list[KeyWeight]
    contributions: list[Contribution]


def write_predictions(
    trained: TrainedModel,
    cohort: Cohort,
    prediction: Prediction,
    out: Path,
    console: Console,
    *,
    overwrite: bool = False,
    remarks: Sequence[str] = (),
    explain: Callable[[StayDataset], Iterator[Explanation]] | None = None,
) -> PredictionsManifest:
    """Predict stays and write ``predictions.jsonl``, ``predictions.parquet`` and ``manifest.json``.

    Args:
        trained: the model.
        cohort: cohort of the stays.
        prediction: which stays to predict, and how.
        out: folder to write.
        console: where progress is shown.
        overwrite: replace predictions that ``out`` holds.
        remarks: remarks on this model and cohort, for the manifest.
        explain: returns the attributions of each stay of a dataset, the lines of ``attributions.jsonl``.

    Returns:
        The manifest.

    Raises:
        UserError: the folder may not be written, the cohort cannot be read, or the model returns NaN.
    """
    count = len(cohort.split(prediction.split)[: prediction.limit])
    phase(console, f"reading notes and series of {count:,} stays")
    dataset = trained.dataset(cohort, prediction.split, prediction.series_input, prediction.limit)
    with output_folder(out, PREDICTIONS, overwrite=overwrite, inputs=(trained.folder, cohort.paths.root)) as folder:
        rows = _predict(trained, dataset, prediction, console)
        _write_lines(folder / "predictions.jsonl", rows)
        write_table(folder / "predictions.parquet", pa.Table.from_pylist(rows, _schema(list(trained.model.labels))))
        if explain is not None:
            with Progress(console=console, transient=True) as progress:
                explained = progress.track(explain(dataset), total=len(dataset), description="  explaining")
                _write_lines(folder / "attributions.jsonl", explained)
        manifest = replace(_manifest(trained, cohort, prediction, rows, remarks), **outputs_of(folder.iterdir()))
        manifest.write(folder / "manifest.json")
    return manifest


@torch.inference_mode()
def _predict(
    trained: TrainedModel, dataset: StayDataset, prediction: Prediction, console: Console
) -> list[PredictionRow]:
    """The row of each stay, in the order of the dataset."""
    model, inputs, where = trained.model, trained.manifest.inputs, trained.device
    model.to(where).eval()
    target = model.target_format(trained.run.sections(prediction.decoding))
    sections = _grounded_sections(trained, prediction.decoding)
    reports = GroundedReports.of(dataset, sections)
    rows: dict[int, PredictionRow] = {}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("  predicting", total=len(dataset))
        for indices, batch in batches(model, dataset, prediction.batch_size):
            batch = batch.to(where)
            output = model(batch, inputs, targets=False, explain=True)
            probabilities = trained.calibration.probabilities(output.logits.float().cpu().numpy())
            beliefs = trained.calibration.beliefs(probabilities)
            grounded, contributed = None, []
            if sections:
                contributed = _contributed(trained, dataset, indices, batch, output)
                grounded = reports.grammars(model, target, batch, beliefs, model.rationale_tokens, contributed)
            # grounded rationales argue for what the head calls: the list must not name anything else
            listed = (beliefs > 0.5).astype(float) if sections else beliefs
            grammar = ReportGrammar(
                target, model.config.max_target_tokens // 2, model.language_model.decoder_start, listed, grounded
            )
            generated = model.generate(batch, inputs, LogitsProcessorList([grammar]), grammar.longest)
            for position, index in enumerate(indices):
                weights = output.concept_weights[position] if output.concept_weights is not None else None
                stay = int(batch.stay_ids[position])
                row = _row(trained, target, stay, probabilities[position], generated[position], weights)
                if contributed:
                    row["contributions"] = _largest(contributed[position], beliefs[position])
                rows[index] = row
            progress.advance(bar, len(indices))
    return [rows[index] for index in range(len(dataset))]


def _contributed(
    trained: TrainedModel, dataset: StayDataset, indices: Sequence[int], batch: Batch, output: Output
) -> list[Contributions]:
    """What the evidence of each stay of a batch contributes to its logits."""
    evidence = [StayEvidence(dataset, index, trained.manifest.inputs) for index in indices]
    return contributions(trained.model, batch, output, evidence)


def _grounded_sections(trained: TrainedModel, decoding: Decoding) -> list[str]:
    """The grounded sections: rationales of the modalities that the model reads."""
    sections = trained.model.target_format(trained.run.sections(decoding)).sections
    return [name for name in sections if name in trained.manifest.inputs] if decoding == "constrained" else []


def _manifest(
    trained: TrainedModel,
    cohort: Cohort,
    prediction: Prediction,
    rows: list[PredictionRow],
    remarks: Sequence[str],
) -> PredictionsManifest:
    """Manifest of the predictions: inputs, settings and counts."""
    labels, grounded = trained.model.labels, _grounded_sections(trained, prediction.decoding)
    written = [name for name in trained.run.sections(prediction.decoding) if name != "diagnoses"]
    return PredictionsManifest(
        created_by=f"clinragen {__version__}",
        model=str(trained.folder),
        model_hash=trained.manifest.model_sha256,
        cohort=str(cohort.paths.root),
        cohort_hash=cohort.sha256,
        graph=None,
        split=prediction.split,
        task=trained.run.task.name,
        labels=list(labels),
        label_set=labels.to_json(),
        thresholds=dict(zip(labels, trained.calibration.thresholds, strict=True)),
        series_input=prediction.series_input,
        decoding={kind: "constrained" if kind in grounded else "free" for kind in written},
        source=cohort.manifest.get("source"),
        window=str(trained.run.window),
        remarks=list(remarks),
        stays=len(rows),
        parsed=sum(row["parsed"] for row in rows),
        training=trained.manifest.to_json(),
    )


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _row(
    trained: TrainedModel, target: Any, stay_id: int, probabilities: np.ndarray, ids: Tensor, weights: Tensor | None
) -> PredictionRow:
    labels = list(trained.model.labels)
    report = read_report(target, ids.tolist())
    concepts: list[KeyWeight] = []
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
        "contributions": [],
    }


def _largest(contributed: Contributions, beliefs: np.ndarray) -> list[Contribution]:
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
            (
                "contributions",
                pa.list_(pa.struct([("diagnosis", pa.string()), ("evidence", pa.string()), ("share", pa.float64())])),
            ),
        ]
    )
