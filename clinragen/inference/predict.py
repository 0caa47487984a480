"""Batch inference: probabilities from the head, reports from constrained decoding, written as JSONL and Parquet."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import LogitsProcessorList

from clinragen import __version__, versions
from clinragen.artifacts import read_json, sha256_json, write_json
from clinragen.choices import Device, Modality, SeriesInput
from clinragen.cohort.folder import Cohort
from clinragen.data.batch import Batch
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.evidence_pieces import StayEvidence
from clinragen.data.familiarity import Familiarity
from clinragen.data.mentions import MentionEncoder
from clinragen.data.sampler import BucketedBatches
from clinragen.errors import UserError
from clinragen.evaluation.explanation import Explanation
from clinragen.evaluation.inputs import Contribution
from clinragen.inference.calibrate import Calibration
from clinragen.inference.contributions import Contributions, contributions
from clinragen.inference.decode import DecodedReport, ReportGrammar, read_report
from clinragen.inference.finished import FinishedRun
from clinragen.inference.grounded_report import NEARLY_CALLED, GroundedReports
from clinragen.inference.parts import STAYS, Parts
from clinragen.inference.prediction import WHOLE, Prediction
from clinragen.integrity import outputs_of
from clinragen.manifests import PredictionsManifest, RunManifest
from clinragen.model.clinragen import ClinRaGen, Output
from clinragen.outputs import PREDICTIONS, output_folder
from clinragen.quiet import phase

#: What the charts of training look like, in the folder of a model.
FAMILIARITY = "familiarity.json"
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
    familiarity: Familiarity | None = None  # of a model that was trained before there was any: it never abstains

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
        familiarity = None
        if (path := run.model / FAMILIARITY).is_file():
            described = read_json(path, "what the charts of training look like")
            familiarity = Familiarity.from_json(described, len(model.statistics.variables))
        return cls(model, Calibration.from_json(stored, list(model.labels)), run, where, familiarity)

    def write_calibration(self, folder: Path) -> None:
        """Write what stands beside the weights in a folder of a model."""
        write_calibration(folder, self.calibration, self.familiarity)

    @property
    def manifest(self) -> RunManifest:
        """The manifest of the run folder."""
        return self.run.manifest

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    @cached_property
    def _mentions(self) -> MentionEncoder:
        return MentionEncoder(self.model.graph, self.model.concepts.ids)

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
            self._mentions,
            self.model.statistics,
            self.model.target_format(self.manifest.targets),
            self.model.config.max_note_tokens,
            self.model.config.max_target_tokens,
            series_input=series_input,
            lexicon=self.model.lexicon,
            task=self.run.task,
            max_caption_tokens=self.model.config.max_caption_tokens,
        )


def write_calibration(folder: Path, calibration: Calibration, familiarity: Familiarity | None) -> None:
    """Write what stands beside the weights in a folder of a model."""
    write_json(folder / "calibration.json", calibration.to_json())
    if familiarity is not None:
        write_json(folder / FAMILIARITY, familiarity.to_json())


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


class KeyWeight(TypedDict):
    """How much attention a key of the knowledge received."""

    concept: str
    weight: float


class PredictionRow(TypedDict):
    """A line of ``predictions.jsonl`` and a row of ``predictions.parquet``: ``probabilities`` by label."""

    stay_id: int
    diagnoses: list[str]
    possible: list[str]
    probabilities: dict[str, float]
    note_rationale: str
    series_rationale: str
    parsed: bool
    abstains: list[str]
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
) -> PredictionsManifest | None:
    """Predict stays and write ``predictions.jsonl``, ``predictions.parquet`` and ``manifest.json``.

    It goes by parts of the stays, which bounds its memory; parts that an earlier, stopped run left are kept.

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
        The manifest; None if parts of other shards are missing.

    Raises:
        UserError: the folder may not be written, the cohort cannot be read, or the model returns NaN.
    """
    stays = cohort.split(prediction.split)[: prediction.limit]
    size = len(stays) if prediction.series_input == "permuted" else STAYS  # stays take each other's series
    identity = _identity(trained, cohort, prediction, size, explained=explain is not None)
    parts = Parts.begin(out, stays, size, identity, overwrite=overwrite)
    _predict(trained, cohort, prediction, parts, console, explain)
    if not parts.complete:
        return None
    with (
        parts.assembling() as mine,
        output_folder(out, PREDICTIONS, overwrite=overwrite, inputs=(trained.folder, cohort.paths.root))
        if mine
        else nullcontext() as folder,
    ):
        if folder is None:  # another process has done it
            return PredictionsManifest.read(out / "manifest.json")
        counts = _assemble(parts, folder, list(trained.model.labels), explained=explain is not None)
        manifest = _manifest(trained, cohort, prediction, counts, remarks)
        manifest = replace(manifest, **outputs_of(folder.iterdir()))
        manifest.write(folder / "manifest.json")
    return manifest


def _identity(trained: TrainedModel, cohort: Cohort, prediction: Prediction, size: int, *, explained: bool) -> str:
    """Hash of everything that the parts depend on."""
    read = [
        trained.manifest.model_sha256,
        cohort.sha256,
        asdict(replace(prediction, shard=WHOLE)),
        size,
        explained,
        __version__,
    ]
    return sha256_json([*read, versions.PREDICTIONS.version])


def _predict(
    trained: TrainedModel,
    cohort: Cohort,
    prediction: Prediction,
    parts: Parts,
    console: Console,
    explain: Callable[[StayDataset], Iterator[Explanation]] | None,
) -> None:
    """Predict the parts of the shard that are not done yet."""
    waiting = parts.of_shard(prediction.shard)
    total = sum(len(parts.ids(number)) for number in waiting)
    began, ready, left = time.monotonic(), 0, ""
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("  predicting", total=total)
        for number in waiting:
            ids = parts.ids(number)
            phase(console, f"predicting {len(ids):,} stays, {ready:,} of {total:,} are ready{left}")
            dataset = trained.stays(cohort.of_stays(ids), ids, prediction.series_input)
            rows = predicted(trained, dataset, prediction, lambda count: progress.advance(bar, count))
            parts.write(number, rows, explain(dataset) if explain else None)
            ready += len(ids)
            left = f", about {(time.monotonic() - began) / ready * (total - ready) / 60:.1f} minutes left"


class _Counts(NamedTuple):
    """How many stays there are, of how many the text could be read back, on how many the model abstains."""

    stays: int
    parsed: int
    abstained: int


def _assemble(parts: Parts, folder: Path, labels: list[str], *, explained: bool) -> _Counts:
    """Put the parts together, one at a time."""
    stays = parsed = abstained = 0
    schema = _schema(labels)
    with (
        open(folder / "predictions.jsonl", "w", encoding="utf-8", newline="") as lines,
        pq.ParquetWriter(folder / "predictions.parquet", schema, compression="zstd") as table,
    ):
        for text in parts.rows():
            rows = [json.loads(line) for line in text.splitlines()]
            stays += len(rows)
            parsed += sum(row["parsed"] for row in rows)
            abstained += sum(bool(row["abstains"]) for row in rows)
            lines.write(text)
            table.write_table(pa.Table.from_pylist(rows, schema))
    if explained:
        with open(folder / "attributions.jsonl", "w", encoding="utf-8", newline="") as lines:
            lines.writelines(parts.explanations())
    return _Counts(stays, parsed, abstained)


@torch.inference_mode()
def predicted(
    trained: TrainedModel,
    dataset: StayDataset,
    prediction: Prediction,
    advance: Callable[[int], object] = lambda count: None,
) -> list[PredictionRow]:
    """The row of each stay, in the order of the dataset.

    Args:
        trained: the model.
        dataset: the stays.
        prediction: how they are predicted.
        advance: called with the number of stays of each batch that is done.
    """
    model, inputs, where = trained.model, trained.manifest.inputs, trained.device
    model.to(where).eval()
    sections = _grounded_sections(trained, prediction)
    reports = GroundedReports.of(dataset, sections)
    rows: dict[int, PredictionRow] = {}
    for indices, batch in batches(model, dataset, prediction.batch_size):
        batch = batch.to(where)
        output = model(batch, inputs, targets=False, explain=True)
        probabilities = trained.calibration.probabilities(output.logits.float().cpu().numpy())
        beliefs = trained.calibration.beliefs(probabilities)
        contributed = _contributed(trained, dataset, indices, batch, output) if sections else []
        written = _written(trained, prediction, reports, batch, beliefs, contributed)
        for position, index in enumerate(indices):
            weights = output.concept_weights[position] if output.concept_weights is not None else None
            stay = int(batch.stay_ids[position])
            row = _row(trained, stay, probabilities[position], written[position], weights)
            if contributed:
                row["contributions"] = _largest(contributed[position], beliefs[position])
            rows[index] = row
        advance(len(indices))
    for index, reasons in enumerate(trained.familiarity.reasons(dataset) if trained.familiarity else ()):
        rows[index]["abstains"] = reasons
    return [rows[index] for index in range(len(dataset))]


def _written(
    trained: TrainedModel,
    prediction: Prediction,
    reports: GroundedReports,
    batch: Batch,
    beliefs: np.ndarray,
    contributed: Sequence[Contributions],
) -> list[DecodedReport]:
    """What is written about each stay of a batch: nothing but the called diagnoses if no rationales are wanted."""
    model = trained.model
    if prediction.diagnoses_only:
        return [DecodedReport({}, np.flatnonzero(row > 0.5).tolist(), parsed=True) for row in beliefs]
    target = model.target_format(trained.run.sections(prediction.decoding))
    grounded = (
        reports.grammars(model, target, batch, beliefs, model.rationale_tokens, contributed) if contributed else None
    )
    # grounded rationales argue for what the head calls: the list must not name anything else
    listed = (beliefs > 0.5).astype(float) if grounded else beliefs
    free = model.config.max_target_tokens // 2  # tokens of one rationale that is not held to a chart
    grammar = ReportGrammar(target, free, model.language_model.decoder_start, listed, grounded)
    ids = model.generate(batch, trained.manifest.inputs, LogitsProcessorList([grammar]), grammar.longest)
    return [read_report(target, row.tolist()) for row in ids]


def _contributed(
    trained: TrainedModel, dataset: StayDataset, indices: Sequence[int], batch: Batch, output: Output
) -> list[Contributions]:
    """What the evidence of each stay of a batch contributes to its logits."""
    evidence = [StayEvidence(dataset, index, trained.manifest.inputs) for index in indices]
    return contributions(trained.model, batch, output, evidence)


def _grounded_sections(trained: TrainedModel, prediction: Prediction) -> list[str]:
    """The grounded sections: rationales of the modalities that the model reads."""
    if prediction.decoding == "free" or prediction.diagnoses_only:
        return []
    sections = trained.model.target_format(trained.run.sections(prediction.decoding)).sections
    return [name for name in sections if name in trained.manifest.inputs]


def _manifest(
    trained: TrainedModel,
    cohort: Cohort,
    prediction: Prediction,
    counts: _Counts,
    remarks: Sequence[str],
) -> PredictionsManifest:
    """Manifest of the predictions: inputs, settings and counts."""
    labels, grounded = trained.model.labels, _grounded_sections(trained, prediction)
    written = [name for name in trained.run.sections(prediction.decoding) if name != "diagnoses"]
    written = [] if prediction.diagnoses_only else written
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
        possible_from=trained.calibration.possible,
        series_input=prediction.series_input,
        decoding={kind: "constrained" if kind in grounded else "free" for kind in written},
        source=cohort.manifest.get("source"),
        window=str(trained.run.window),
        remarks=list(remarks),
        stays=counts.stays,
        parsed=counts.parsed,
        abstained=counts.abstained,
        training=trained.manifest.to_json(),
    )


def _row(
    trained: TrainedModel, stay_id: int, probabilities: np.ndarray, report: DecodedReport, weights: Tensor | None
) -> PredictionRow:
    labels, least = list(trained.model.labels), trained.calibration.possible
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
        "possible": [] if least is None else [key for key, p in zip(labels, probabilities, strict=True) if p >= least],
        "probabilities": {key: round(float(p), 6) for key, p in zip(labels, probabilities, strict=True)},
        "note_rationale": report.rationales.get("note", ""),
        "series_rationale": report.rationales.get("series", ""),
        "parsed": report.parsed,
        "abstains": [],
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
            ("possible", pa.list_(pa.string())),
            ("probabilities", pa.struct([(key, pa.float64()) for key in labels])),
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
