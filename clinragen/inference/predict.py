"""Batch inference: probabilities from the head, reports from constrained decoding, written as JSONL and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from torch.utils.data import DataLoader

from clinragen import __version__, versions
from clinragen.artifacts import read_json, sha256_json, write_json
from clinragen.choices import Device, Modality, NoteInput, SeriesInput
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text
from clinragen.data.batch import Batch
from clinragen.data.caption_stays import CaptionStays
from clinragen.data.dataset import Stay, StayDataset, collate
from clinragen.data.familiarity import Familiarity
from clinragen.data.mentions import MentionEncoder
from clinragen.data.passages import NoteReader
from clinragen.data.sampler import BucketedBatches
from clinragen.errors import UserError
from clinragen.inference.calibrate import Calibration
from clinragen.inference.engines import Engine, Explain, PartProgress, Work
from clinragen.inference.finished import FinishedRun
from clinragen.inference.memory import release
from clinragen.inference.parts import STAYS, Parts
from clinragen.inference.prediction import WHOLE, Prediction
from clinragen.inference.prediction_rows import PredictionRow, attended, largest, row_of, schema_of
from clinragen.inference.writing import Writer, grounded_sections
from clinragen.integrity import outputs_of
from clinragen.manifests import PredictionsManifest, RunManifest
from clinragen.model.clinragen import ClinRaGen
from clinragen.model.language_model import HasLanguageModel, LanguageModel
from clinragen.model.precision import number_format, numbers_of
from clinragen.model.task_heads import with_head
from clinragen.outputs import PREDICTIONS, output_folder

#: What the charts of training look like, in the folder of a model.
FAMILIARITY = "familiarity.json"


@dataclass(frozen=True)
class TrainedModel:
    """A model with the content of its run folder."""

    model: ClinRaGen
    calibration: Calibration
    run: FinishedRun
    device: torch.device
    familiarity: Familiarity | None = None  # of a model that was trained before there was any: it never abstains

    @classmethod
    def load(
        cls, run: str | Path | FinishedRun, choice: Device = "auto", sharing: HasLanguageModel | None = None
    ) -> TrainedModel:
        """Open a run folder written by ``clinragen train``.

        Args:
            run: the folder, or an opened run.
            choice: device of the model; ``auto`` is that of ``sharing``, if it is given.
            sharing: a loaded model; the weights below the adapters that both have are held once.

        Raises:
            UserError: not a finished run, or damaged; or no such device, or another than that of ``sharing``.
        """
        where = device(choice) if sharing is None else _shared_device(choice, sharing)
        if not isinstance(run, FinishedRun):
            run = FinishedRun.open(run)
        model = ClinRaGen.from_pretrained(run.model, sharing)
        if sharing is not None:
            release()  # the copy of the shared weights that was read to compare them
        return cls._opened(model if run.head == run.model else with_head(model, run.head), run, where)

    @classmethod
    def _opened(cls, model: ClinRaGen, run: FinishedRun, where: torch.device) -> TrainedModel:
        """A model with what stands beside its label head."""
        stored = read_json(run.head / "calibration.json", "the calibration of the model")
        familiarity = None
        if (path := run.head / FAMILIARITY).is_file():
            described = read_json(path, "what the charts of training look like")
            familiarity = Familiarity.from_json(described, len(model.statistics.variables))
        return cls(model, Calibration.from_json(stored, list(model.labels)), run, where, familiarity)

    def of_task(self, task: str) -> TrainedModel:
        """The same student for another task that it predicts; all weights but the label head are shared.

        Raises:
            UserError: it does not predict the task, or its files are damaged.
        """
        run = self.run.of_task(task)
        if run is self.run:
            return self
        return self._opened(with_head(self.model, run.head), run, self.device)

    def write_calibration(self, folder: Path) -> None:
        """Write what stands beside the weights in a folder of a model."""
        write_calibration(folder, self.calibration, self.familiarity)

    @property
    def language_model(self) -> LanguageModel:
        """The language model, with its adapters if it has any."""
        return self.model.language_model

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
        self,
        cohort: Cohort,
        split: str,
        series_input: SeriesInput = "observed",
        limit: int | None = None,
        note_input: NoteInput = "observed",
    ) -> StayDataset:
        """The stays of a split as inputs of this model, without targets."""
        return self.stays(cohort, cohort.split(split)[:limit], series_input, note_input)

    def stays(
        self,
        cohort: Cohort,
        stay_ids: np.ndarray,
        series_input: SeriesInput = "observed",
        note_input: NoteInput = "observed",
    ) -> StayDataset:
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
            note_input=note_input,
            lexicon=self.model.lexicon,
            task=self.run.task,
            max_caption_tokens=self.model.config.max_caption_tokens,
            note_passages=self.model.config.note_passages,
        )

    def of_notes(self, notes: Sequence[Sequence[tuple[str, str]]]) -> list[Stay]:
        """Notes that belong to no stay as inputs of this model, without measurements and labels.

        Args:
            notes: (section, text) pairs of each.
        """
        model = self.model
        reader = NoteReader(model.tokenizer, self._mentions, model.config.max_note_tokens, model.config.note_passages)
        terms = model.lexicon.encode([note_text(list(note)) for note in notes])
        shape = len(model.statistics.variables), model.statistics.window.bins
        return [
            Stay(
                stay_id=number,
                note_ids=reader(note).ids or [model.tokenizer.eos_token_id],
                mentions=self._mentions(note),
                target_ids=[],
                values=np.zeros(shape, dtype=np.float32),
                observed=np.zeros(shape, dtype=bool),
                labels=np.zeros(len(model.labels), dtype=bool),
                term_ids=terms[number].indices.astype(np.int64),
                term_weights=terms[number].data,
            )
            for number, note in enumerate(notes)
        ]


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


def _shared_device(choice: Device, sharing: HasLanguageModel) -> torch.device:
    """The device of a model whose weights another one shall share; a model moves there when it first predicts."""
    if isinstance(sharing, TrainedModel):
        sharing.model.to(sharing.device)
    where = sharing.language_model.embedding_weight.device
    if choice != "auto" and device(choice).type != where.type:
        raise UserError(f"--device {choice}: a model on {where.type} can share its weights only there: leave it out")
    return where


def batches(model: ClinRaGen, dataset: StayDataset | CaptionStays, size: int) -> Iterator[tuple[list[int], Batch]]:
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


def write_predictions(
    trained: TrainedModel,
    cohort: Cohort,
    prediction: Prediction,
    out: Path,
    console: Console,
    *,
    overwrite: bool = False,
    remarks: Sequence[str] = (),
    engine: Engine | None = None,
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
        engine: predicts the parts; by default this process, without attributions.

    Returns:
        The manifest; None if parts of other shards are missing.

    Raises:
        UserError: the folder may not be written, the cohort cannot be read, or the model returns NaN.
    """
    stays = cohort.split(prediction.split)[: prediction.limit]
    size = len(stays) if prediction.series_input == "permuted" else STAYS  # stays take each other's series
    engine = engine or LocalEngine()
    explained = engine.explain is not None
    identity = identity_of(trained, cohort, prediction, size, explained=explained)
    parts = Parts.begin(out, stays, size, identity, overwrite=overwrite)
    waiting = parts.of_shard(prediction.shard)
    with PartProgress(console, parts, waiting) as progress:
        engine.predict(trained, cohort, Work(prediction, parts, identity), waiting, progress)
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
        counts = _assemble(parts, folder, list(trained.model.labels), explained=explained)
        manifest = _manifest(trained, cohort, prediction, counts, remarks)
        manifest = replace(manifest, **outputs_of(folder.iterdir()))
        manifest.write(folder / "manifest.json")
    return manifest


def identity_of(trained: TrainedModel, cohort: Cohort, prediction: Prediction, size: int, *, explained: bool) -> str:
    """Hash of everything that the parts depend on."""
    read = [
        trained.manifest.model_sha256,
        cohort.sha256,
        asdict(replace(prediction, shard=WHOLE)),
        size,
        explained,
        __version__,
        *([trained.run.task.name] if trained.manifest.tasks else []),
    ]
    return sha256_json([*read, versions.PREDICTIONS.version])


@dataclass(frozen=True)
class LocalEngine:
    """Predicts parts in this process, one after the other."""

    explain: Explain | None = None

    def predict(
        self, trained: TrainedModel, cohort: Cohort, work: Work, numbers: list[int], progress: PartProgress
    ) -> None:
        """Predict the parts of these numbers."""
        for number in numbers:
            progress.begin(len(work.parts.ids(number)))
            predict_part(trained, cohort, work, number, self.explain, progress.advance)
            progress.ready(number)


def predict_part(
    trained: TrainedModel,
    cohort: Cohort,
    work: Work,
    number: int,
    explain: Explain | None,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Predict the part of a number and store it; ``advance`` is called with the stays of each batch that is done."""
    _store_part(trained, cohort, work, number, explain, advance)
    release()  # by now nothing holds the stays of the part


def _store_part(
    trained: TrainedModel,
    cohort: Cohort,
    work: Work,
    number: int,
    explain: Explain | None,
    advance: Callable[[int], object],
) -> None:
    ids = work.parts.ids(number)
    dataset = trained.stays(cohort.of_stays(ids), ids, work.prediction.series_input)
    rows = predicted(trained, dataset, work.prediction, advance)
    work.parts.write(number, rows, explain(trained, dataset) if explain else None)


class _Counts(NamedTuple):
    """How many stays there are, of how many the text could be read back, on how many the model abstains."""

    stays: int
    parsed: int
    abstained: int


def _assemble(parts: Parts, folder: Path, labels: list[str], *, explained: bool) -> _Counts:
    """Put the parts together, one at a time."""
    stays = parsed = abstained = 0
    schema = schema_of(labels)
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
    model, where = trained.model.to(trained.device).eval(), trained.device
    numbers = number_format(prediction.precision, where, model.language_model.hidden_size)
    with numbers_of(model, numbers), torch.inference_mode():
        rows = _rows(trained, dataset, prediction, advance)
    for index, reasons in enumerate(trained.familiarity.reasons(dataset) if trained.familiarity else ()):
        rows[index]["abstains"] = reasons
    return rows


def _rows(
    trained: TrainedModel, dataset: StayDataset, prediction: Prediction, advance: Callable[[int], object]
) -> list[PredictionRow]:
    writer = Writer.of(trained, dataset, prediction)
    rows: dict[int, PredictionRow] = {}
    for indices, batch in batches(trained.model, dataset, prediction.batch_stays):
        batch = batch.to(trained.device)
        output = trained.model(batch, trained.manifest.inputs, targets=False, explain=True)
        logits = output.logits.float().cpu().numpy()
        beliefs = trained.calibration.beliefs(trained.calibration.probabilities(logits))
        contributed = writer.contributed(batch, output, indices)
        written = writer.written(batch, output, beliefs, contributed)
        for position, index in enumerate(indices):
            weights = output.concept_weights[position] if output.concept_weights is not None else None
            stay = int(batch.stay_ids[position])
            row = row_of(stay, trained.calibration, logits[position], written[position])
            row["concepts"] = attended(trained.model.concepts.keys, weights)
            if contributed:
                row["contributions"] = largest(contributed[position], beliefs[position])
            rows[index] = row
        advance(len(indices))
    return [rows[index] for index in range(len(dataset))]


def _manifest(
    trained: TrainedModel,
    cohort: Cohort,
    prediction: Prediction,
    counts: _Counts,
    remarks: Sequence[str],
) -> PredictionsManifest:
    """Manifest of the predictions: inputs, settings and counts."""
    labels, grounded = trained.model.labels, grounded_sections(trained, prediction)
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
        added_variables=(trained.model.added | cohort.added).to_json() if trained.model.added or cohort.added else None,
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
        search=asdict(prediction.search),
        precision=prediction.precision,
        training=trained.manifest.to_json(),
    )
