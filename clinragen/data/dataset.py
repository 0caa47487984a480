"""Stays as model inputs: tokenised once, stored as flat arrays, memory-mapped if a store is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from clinragen import tasks, versions
from clinragen.artifacts import sha256_json
from clinragen.chart.captions import TITLE, caption
from clinragen.chart.findings import Finding, findings
from clinragen.choices import SERIES_INPUTS, NoteInput, NotePassages, SeriesInput
from clinragen.cohort.folder import Cohort
from clinragen.cohort.freshness import years_of
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.data.batch import IGNORED, NOBODY, Batch
from clinragen.data.lexicon import Lexicon
from clinragen.data.mentions import MentionEncoder
from clinragen.data.passages import NoteReader
from clinragen.data.series import SeriesStatistics, grid, rows_within
from clinragen.data.soft_targets import NOTHING, Alignment, Soft, SoftTargets
from clinragen.data.store import Ragged, file_hashes, stored
from clinragen.data.target_encoder import EncodedTarget, TargetEncoder
from clinragen.data.targets import TargetFormat
from clinragen.errors import UserError, unknown_choice
from clinragen.tasks import Labels, Task


@dataclass
class Cuts:
    """Number of notes and rationales that were truncated to fit."""

    notes: int = 0
    targets: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Stay:
    """One stay; shapes as in :class:`~clinragen.data.batch.Batch` without the batch axis."""

    stay_id: int
    note_ids: list[int]
    mentions: np.ndarray
    target_ids: list[int]
    values: np.ndarray
    observed: np.ndarray
    labels: np.ndarray
    term_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    term_weights: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    soft: Soft = NOTHING
    first_hour: int = 0  # row of the stay that is read
    eligible: np.ndarray | None = None  # None: all of them
    caption_ids: list[int] = field(default_factory=list)
    patient: int = NOBODY


@dataclass
class StayDataset(Dataset[Stay]):
    """The stays of one split, ready for a model.

    ``series_input`` and ``note_input`` serve control experiments: ``zeroed`` removes every measurement, ``permuted``
    hands each stay the series of another patient, ``reversed`` turns the time of each series around between its first
    and last hour, and ``emptied`` removes the notes.
    ``teacher`` is None when no targets are needed; if it wrote several rationales
    for a stay, each epoch uses the next. ``store`` is a folder in which tokens are kept for the next run.
    With ``soft_targets`` a target includes the teacher's token probabilities, where available.
    With ``separate`` the rationales and the diagnoses are separate targets, in turn (Hsieh et al. 2023): the marker
    that opens a target is the prefix of its task.
    ``task`` gives the labels, and which stays are eligible for each.
    ``max_caption_tokens`` is the room for the series in words; 0 for a model that reads no captions.
    ``note_passages`` are read of a note that is longer than ``max_note_tokens``.
    """

    cohort: Cohort
    stay_ids: np.ndarray
    tokenizer: Any
    link: MentionEncoder
    statistics: SeriesStatistics
    targets: TargetFormat
    max_note_tokens: int
    max_target_tokens: int
    teacher: str | None = None
    series_input: SeriesInput = "observed"
    note_input: NoteInput = "observed"
    lexicon: Lexicon = field(default_factory=lambda: Lexicon([], []))
    cuts: Cuts = field(default_factory=Cuts)
    store: Path | None = None
    separate: bool = False
    soft_targets: bool = False
    task: Task = field(default_factory=lambda: tasks.load(tasks.DEFAULT))
    max_caption_tokens: int = 0
    note_passages: NotePassages = "named"

    def __post_init__(self) -> None:
        self.values, self.observed = self.statistics.standardise(self._grid())
        self.first_hours = self.statistics.window.first_hours(self.cohort, self.stay_ids)
        self.labels, self.eligible = self._labels()
        notes = self.cohort.notes.filter(pl.col("stay_id").is_in(pl.Series(self.stay_ids).implode()))
        if self.note_input == "emptied":
            notes = notes.clear()
        self.sections = sections_by_stay(notes, labels=self.cohort.label_set, layout=True)
        self.reader = NoteReader(self.tokenizer, self.link, self.max_note_tokens, self.note_passages)
        self.epoch = 0
        self.alignment = Alignment()
        arrays = stored(self.store, self._origin() if self.store else None, self._encode)
        self.notes = Ragged(arrays["notes"], arrays["note_ends"])
        self.captions = Ragged(arrays["captions"], arrays["caption_ends"]) if self.max_caption_tokens else None
        self.mentions = arrays["mentions"]
        self.target_ids = Ragged(arrays["targets"], arrays["target_ends"])
        self.variants = arrays["variants"]  # index of the first target of each stay, and the end
        self.cuts = Cuts(*arrays["cuts"].tolist())
        self.alignment = Alignment(*arrays["alignment"].tolist())
        self.soft = SoftTargets(arrays) if self.soft_targets else None
        self.terms = self.lexicon.encode([note_text(self.sections.get(int(stay), [])) for stay in self.stay_ids])

    def _labels(self) -> Labels:
        """The task's labels. A cohort without labels can be predicted; training refuses it earlier."""
        if self.task.available(self.cohort):
            return self.task.labels(self.cohort, self.stay_ids)
        unknown = np.zeros((len(self.stay_ids), len(self.task.label_set(self.cohort))), dtype=bool)
        return Labels(unknown, unknown)

    def _origin(self) -> dict[str, Any]:
        """Everything that affects tokens and mentions."""
        paths = self.cohort.paths
        files = [paths.notes, paths.labels, *([paths.rationales(self.teacher)] if self.teacher else [])]
        files += [paths.logprobs(self.teacher)] if self.teacher and self.soft_targets else []
        captions = [self.max_caption_tokens, self.series_input, versions.CAPTIONS, *file_hashes([paths.series])]
        return {
            **({"captions": captions} if self.max_caption_tokens else {}),
            "files": file_hashes(files),
            "stays": sha256_json(self.stay_ids.tolist()),
            "tokenizer": sha256_json(self.tokenizer.backend_tokenizer.to_str()),
            "targets": [list(self.targets.sections), list(self.targets.label_names)] if self.teacher else None,
            "separate": self.separate,
            "limits": [self.max_note_tokens, self.max_target_tokens],
            "passages": self.note_passages,
            "concepts": self.link.fingerprint,
            **({"notes": self.note_input} if self.note_input != "observed" else {}),
            "version": versions.ENCODING,
            "labels": sha256_json([self.labels.tolist(), self.eligible.tolist(), asdict(self.targets.wording)]),
        }

    def _encode(self) -> dict[str, np.ndarray]:
        notes = Ragged.of([self.encode_note(self.sections.get(int(stay), [])) for stay in self.stay_ids])
        mentions = np.stack([self.link(self.sections.get(int(stay), [])) for stay in self.stay_ids])
        encoded = self._encode_targets()
        targets = Ragged.of([ids for variants in encoded for ids, _ in variants])
        soft = SoftTargets.of([places for variants in encoded for _, places in variants])
        return {
            "notes": notes.flat,
            "note_ends": notes.ends,
            "mentions": mentions,
            "targets": targets.flat,
            "target_ends": targets.ends,
            "variants": np.cumsum([0, *map(len, encoded)]),
            "cuts": np.array(astuple(self.cuts)),
            "alignment": np.array(astuple(self.alignment)),
            **(soft.arrays if self.soft_targets else {}),
            **(self._encode_captions() if self.max_caption_tokens else {}),
        }

    def __len__(self) -> int:
        return len(self.stay_ids)

    def __getitem__(self, index: int) -> Stay:
        target = self._variant(index)
        return Stay(
            int(self.stay_ids[index]),
            self.notes[index],
            self.mentions[index],
            self.target_ids[target],
            self.values[index],
            self.observed[index],
            self.labels[index],
            self.terms[index].indices.astype(np.int64),
            self.terms[index].data,
            self.soft[target] if self.soft else NOTHING,
            int(self.first_hours[index]),
            self.eligible[index],
            self.captions[index] if self.captions else [],
            int(self.patients[index]),
        )

    def measurements(self) -> pl.DataFrame:
        """The series as the model reads it: stay_id, hour, variable, value (canonical unit)."""
        variables = self.statistics.variables
        rows = rows_within(self.cohort, self.stay_ids, variables, self.statistics.window)
        rows = rows.select("stay_id", "hour", "variable", "value").sort("stay_id", "variable", "hour")
        if self.series_input == "zeroed":
            return rows.head(0)
        if self.series_input == "permuted":
            donors = pl.DataFrame({"stay_id": self.stay_ids[self._strangers()], "reader": self.stay_ids})
            rows = donors.join(rows, on="stay_id", maintain_order="left_right").drop("stay_id")
            rows = rows.rename({"reader": "stay_id"})
        if self.series_input == "reversed":
            span = pl.col("hour").min() + pl.col("hour").max()
            rows = rows.with_columns(hour=span.over("stay_id") - pl.col("hour")).sort("stay_id", "variable", "hour")
        return rows

    def findings(self) -> dict[int, list[Finding]]:
        """Findings of the series as the model reads it, with normal variables; without stays that have no series."""
        series = self.measurements()
        by_stay = findings(series, normal=True)
        return {stay: by_stay.get(stay, []) for stay in series["stay_id"].unique().to_list()}

    def _grid(self) -> np.ndarray:
        """Canonical values, NaN where missing, [n, variables, bins]."""
        values = grid(self.cohort, self.stay_ids, self.statistics.variables, self.statistics.window)
        if self.series_input == "zeroed":
            values[:] = np.nan
        elif self.series_input == "permuted":
            values = values[self._strangers()]
        elif self.series_input == "reversed":
            for stay in values:
                hours = np.flatnonzero(np.isfinite(stay).any(axis=0))
                if len(hours):
                    stay[:, hours[0] : hours[-1] + 1] = stay[:, hours[0] : hours[-1] + 1][:, ::-1].copy()
        elif self.series_input != "observed":
            raise unknown_choice("series input", self.series_input, SERIES_INPUTS)
        return values

    def begin(self, epoch: int) -> None:
        """Start an epoch of training: stays with several rationales use the next one."""
        self.epoch = epoch

    def _variant(self, index: int) -> int:
        first, end = self.variants[index : index + 2].tolist()
        return first + (self.epoch + index) % (end - first)

    def length(self, index: int) -> int:
        """Tokens of a stay, by which batches are bucketed."""
        first, end = self.variants[index : index + 2].tolist()
        captions = self.captions.length(index) if self.captions else 0
        return self.notes.length(index) + captions + max(self.target_ids.length(row) for row in range(first, end))

    def encode_note(self, sections: Sequence[tuple[str, str]]) -> list[int]:
        """Token ids of a note; without one a single end-of-sequence token, since attention needs at least one token."""
        note = self.reader(sections)
        surplus = note.tokens - len(note.ids)
        self.cuts.notes += surplus > 0
        self.cuts.tokens += surplus
        return note.ids or [self.tokenizer.eos_token_id]

    def _encode_captions(self) -> dict[str, np.ndarray]:
        encoded = Ragged.of(self.in_words(self.max_caption_tokens))
        return {"captions": encoded.flat, "caption_ends": encoded.ends}

    def in_words(self, most: int) -> list[list[int]]:
        """Token ids of the series of each stay in words: as many whole statements as fit into ``most`` tokens."""
        shown = self.findings()
        return [self._told(caption(shown.get(int(stay)), self.link.graph), most) for stay in self.stay_ids]

    def _told(self, statements: Sequence[str], most: int) -> list[int]:
        texts = [f" {TITLE}", *(f" {text};" for text in statements)]
        pieces = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        ids: list[int] = []
        for piece in pieces:
            if len(ids) + len(piece) > most:
                break
            ids += piece
        return ids or [self.tokenizer.eos_token_id]  # attention needs at least one token

    def _encode_targets(self) -> list[list[EncodedTarget]]:
        """The targets of each stay; counts truncated rationales and aligned teacher tokens."""
        if self.teacher is None:
            return [[EncodedTarget([], [])] for _ in self.stay_ids]
        encoder = TargetEncoder(
            self.cohort, self.teacher, self.targets, self.max_target_tokens, self.separate, self.soft_targets
        )
        all_eligible = self.eligible.all(axis=1).tolist()
        encoded = [
            encoder.encode(stay, labels, eligible=eligible)
            for stay, labels, eligible in zip(self.stay_ids.tolist(), self.labels.tolist(), all_eligible, strict=True)
        ]
        self.cuts.targets += encoder.shortened
        self.alignment = encoder.alignment
        return encoded

    @cached_property
    def patients(self) -> np.ndarray:
        """Whose each stay is, [n] ids."""
        subjects = dict(self.cohort.stays.select("stay_id", "subject_id").iter_rows())
        return np.array([subjects[int(stay)] for stay in self.stay_ids])

    @property
    def years(self) -> np.ndarray:
        """The year of each stay by its period, [n]; NaN where not known."""
        rows = np.searchsorted(self.cohort.stays["stay_id"].to_numpy(), self.stay_ids)
        return years_of(self.cohort)[rows]

    def _strangers(self) -> np.ndarray:
        """For each stay the row of another patient's stay: a fixed rotation of a fixed permutation."""
        patient = self.patients
        if len(np.unique(patient)) < 2:
            raise UserError("series input 'permuted' needs stays of at least two patients: take more stays")
        order = np.random.default_rng(0).permutation(len(patient))
        rows = np.empty(len(patient), dtype=np.int64)
        for position, row in enumerate(order):
            step = 1
            while patient[order[(position + step) % len(order)]] == patient[row]:
                step += 1
            rows[row] = order[(position + step) % len(order)]
        return rows


def collate(stays: Sequence[Stay], pad_token_id: int) -> Batch:
    """Pad stays on the right to the longest of the batch."""
    lengths = torch.tensor([len(stay.note_ids) for stay in stays])
    note_ids = pad_sequence(
        [torch.tensor(stay.note_ids, dtype=torch.long) for stay in stays], batch_first=True, padding_value=pad_token_id
    )
    return Batch(
        stay_ids=torch.tensor([stay.stay_id for stay in stays]),
        note_ids=note_ids,
        note_mask=torch.arange(note_ids.shape[1])[None] < lengths[:, None],
        mentions=torch.from_numpy(np.stack([stay.mentions for stay in stays])),
        term_ids=pad_sequence([torch.from_numpy(stay.term_ids) for stay in stays], batch_first=True),
        term_weights=pad_sequence([torch.from_numpy(stay.term_weights) for stay in stays], batch_first=True),
        values=torch.from_numpy(np.stack([stay.values for stay in stays])),
        observed=torch.from_numpy(np.stack([stay.observed for stay in stays])),
        target_ids=pad_sequence(
            [torch.tensor(stay.target_ids, dtype=torch.long) for stay in stays], batch_first=True, padding_value=IGNORED
        ),
        labels=torch.from_numpy(np.stack([stay.labels for stay in stays]).astype(np.float32)),
        soft_places=_stack([stay.soft.places for stay in stays], IGNORED),
        soft_ids=_stack([stay.soft.ids for stay in stays], 0),
        soft_probs=_stack([stay.soft.probs for stay in stays], 0),
        patients=torch.tensor([stay.patient for stay in stays]),
        eligible=torch.from_numpy(
            np.stack([np.ones(len(stay.labels), bool) if stay.eligible is None else stay.eligible for stay in stays])
        ),
        caption_ids=pad_sequence(
            [torch.tensor(stay.caption_ids, dtype=torch.long) for stay in stays],
            batch_first=True,
            padding_value=pad_token_id,
        ),
        caption_mask=pad_sequence(
            [torch.ones(len(stay.caption_ids), dtype=torch.bool) for stay in stays], batch_first=True
        ),
    )


def _stack(arrays: Sequence[np.ndarray], padding: int) -> torch.Tensor:
    """Stack arrays of one type, padded at the end of each axis to the largest."""
    shape = np.max([array.shape for array in arrays], axis=0)
    padded = np.full((len(arrays), *shape), padding, dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return torch.from_numpy(padded)
