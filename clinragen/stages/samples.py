"""Rationales that a student sampled for training stays: drawn once, kept in an append-only journal.

Each line is one report, flushed to the disk before the next stays are read. Stays are drawn in fixed groups with a seed
of their own, so a killed run that starts again writes what it would have written, and draws only what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from transformers import LogitsProcessorList

from clinragen import versions
from clinragen.artifacts import sha256_json
from clinragen.data.dataset import StayDataset, collate
from clinragen.errors import UserError
from clinragen.inference.decode import ReportGrammar, read_report
from clinragen.inference.predict import TrainedModel
from clinragen.line_file import LineFile
from clinragen.model.language_model import Sampling

GROUP = 8  # stays that are read together


@dataclass(frozen=True)
class Sample:
    """A sampled report.

    Attributes:
        origin: hash of everything that shapes it: model, cohort, way of sampling.
        stay_id: its stay.
        number: of the sample, from 0.
        diagnoses: the listed labels, those that the head calls.
        note, series: the rationales; empty where the model writes none.
    """

    origin: str
    stay_id: int
    number: int
    diagnoses: list[str]
    note: str
    series: str


#: Types of the fields of a line.
_FIELDS = {"origin": str, "stay_id": int, "number": int, "diagnoses": list, "note": str, "series": str}


class SampleJournal:
    """The samples of one run, by stay. It holds a lock, so that two runs never write the same file.

    Raises:
        UserError: another run writes here, or a line is damaged. An incomplete last line is removed.
    """

    def __init__(self, path: Path, origin: str) -> None:
        self.path, self.origin = path, origin
        self._samples: dict[tuple[int, int], Sample] = {}
        self._file = LineFile(path, writable=True)
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._file.close()

    def of_stay(self, stay: int, count: int) -> list[Sample] | None:
        """The first ``count`` samples of a stay; None if some are missing."""
        drawn = [self._samples.get((stay, number)) for number in range(count)]
        return None if None in drawn else drawn  # type: ignore[return-value]

    def append(self, samples: Iterable[Sample]) -> None:
        """Store samples; they are on the disk when this returns. One that is there is kept as it is.

        Raises:
            OSError: the disk is full or unavailable; none of them is left in the file.
        """
        fresh = [sample for sample in samples if (sample.stay_id, sample.number) not in self._samples]
        lines = [json.dumps({**asdict(sample), **versions.SAMPLES.mark}, separators=(",", ":")) for sample in fresh]
        self._file.append("".join(f"{line}\n" for line in lines).encode())
        self._samples |= {(sample.stay_id, sample.number): sample for sample in fresh}

    def _read(self) -> None:
        whole = 0
        with open(self.path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break  # a killed run was writing it
                whole += len(line)
                sample = self._sample(line, number)
                if sample.origin == self.origin:
                    self._samples.setdefault((sample.stay_id, sample.number), sample)
        self._file.keep(whole)

    def _sample(self, line: bytes, number: int) -> Sample:
        where = f"{self.path}, line {number}"
        try:
            stored = json.loads(line)
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or not all(isinstance(stored.get(k), kind) for k, kind in _FIELDS.items()):
            raise UserError(f"{where}: not a sample; remove that line to draw it again")
        versions.SAMPLES.check(stored, self.path)
        return Sample(**{key: stored[key] for key in _FIELDS})


def origin_of(trained: TrainedModel, cohort_sha256: str, sampling: Sampling, seed: int) -> str:
    """Hash of everything that shapes the samples of a stay."""
    return sha256_json([trained.manifest.model_sha256, cohort_sha256, asdict(sampling), seed])


def draw(
    trained: TrainedModel,
    dataset: StayDataset,
    count: int,
    sampling: Sampling,
    seed: int,
    journal: SampleJournal,
    progress: Callable[[int], None] = lambda stays: None,
) -> list[list[Sample]]:
    """``count`` sampled reports of each stay of a dataset, in its order; those in the journal are not drawn again.

    Args:
        trained: the student.
        dataset: its stays.
        count: samples of a stay.
        sampling: how tokens are drawn.
        seed: of the draws.
        journal: where samples are kept.
        progress: called with the number of stays that are done.
    """
    drawn: list[list[Sample]] = []
    for start in range(0, len(dataset), GROUP):
        rows = range(start, min(start + GROUP, len(dataset)))
        stays = [int(dataset.stay_ids[row]) for row in rows]
        if any(journal.of_stay(stay, count) is None for stay in stays):
            origin = np.random.SeedSequence([seed, start, *(stay % 2**63 for stay in stays)])
            torch.manual_seed(int(origin.generate_state(1)[0]))
            journal.append(_group(trained, dataset, rows, count, sampling, journal.origin))
        drawn += [samples for stay in stays if (samples := journal.of_stay(stay, count))]
        progress(len(stays))
    return drawn


@torch.inference_mode()
def _group(
    trained: TrainedModel, dataset: StayDataset, rows: Sequence[int], count: int, sampling: Sampling, origin: str
) -> list[Sample]:
    """Samples of some stays, drawn together. The list of diagnoses is what the head calls; the text is free."""
    model, inputs = trained.model.to(trained.device).eval(), trained.manifest.inputs
    target = model.target_format(trained.run.sections("free"))
    stays = [dataset[row] for row in rows]
    logits = model(collate(stays, model.tokenizer.pad_token_id).to(trained.device), inputs, targets=False).logits
    called = trained.calibration.beliefs(trained.calibration.probabilities(logits.float().cpu().numpy())) > 0.5
    repeated = collate([stay for stay in stays for _ in range(count)], model.tokenizer.pad_token_id)
    grammar = ReportGrammar(
        target,
        model.config.max_target_tokens // 2,
        model.language_model.decoder_start,
        called.repeat(count, axis=0).astype(float),
    )
    ids = model.generate(
        repeated.to(trained.device), inputs, LogitsProcessorList([grammar]), grammar.longest, sampling
    ).tolist()
    labels = list(model.labels)
    samples = []
    for row, tokens in enumerate(ids):
        texts: dict[str, Any] = read_report(target, tokens).rationales
        listed = [labels[column] for column in np.flatnonzero(called[row // count])]
        stay, number = stays[row // count].stay_id, row % count
        samples.append(Sample(origin, stay, number, listed, texts.get("note", ""), texts.get("series", "")))
    return samples
