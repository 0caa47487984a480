"""An ordinary run folder from the finished model of a federation: what ``clinragen predict`` takes.

Vocabulary, standardisation, bins and terms are those that all sites have in common; the tokenizer is made of public
words and of shared terms, so that no site's text shapes it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from clinragen import __version__, label_sets, tasks
from clinragen.artifacts import atomic_folder, sha256_file
from clinragen.data.series import SeriesStatistics
from clinragen.data.targets import markers_of
from clinragen.federation.features import SharedFeatures
from clinragen.federation.fusion import Fusion
from clinragen.federation.update import Tensors
from clinragen.inference.calibrate import Calibration
from clinragen.inference.predict import write_calibration
from clinragen.integrity import record
from clinragen.manifests import RunManifest
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.language_model import train_tokenizer
from clinragen.model.linear_probes import PROBES
from clinragen.stages.config import RunConfig
from clinragen.stages.run_dir import finish_folder

_ABSENT = 1e30  # scale of a variable that too few have: what is measured of it is read as usual


@dataclass(frozen=True)
class Student:
    """A finished student.

    Attributes:
        model: with its probes and gains.
        calibration: of its probabilities.
        config: of its last stage.
        teacher: of the rationales that it learned; None if it learned none.
        parents: the stages before the last.
    """

    model: ClinRaGen
    calibration: Calibration
    config: RunConfig
    teacher: str | None = None
    parents: tuple[str, ...] = ()


@runtime_checkable
class MakesStudent(Protocol):
    """Work that ends in a student."""

    def finished(self, tensors: Tensors) -> Student:
        """The student of the model after the last round."""
        ...


def write_run(work: MakesStudent, tensors: Tensors, out: Path, federation: str) -> RunManifest:
    """Write the run folder of a finished federation.

    Args:
        work: with the settings of the federation.
        tensors: the model after its last round.
        out: the run folder.
        federation: id of the federation.
    """
    began = time.monotonic()
    student = work.finished(tensors)
    model, config = student.model, student.config
    with atomic_folder(out / "model", replace=True) as folder:
        model.save_pretrained(folder)
        write_calibration(folder, student.calibration, None)
    assert model.head.linear_probes is not None, "a federation fits probes"
    gains = dict(zip(("network", *PROBES), model.head.linear_probes.gains.numpy().round(4).tolist(), strict=True))
    weights = sha256_file(out / "model" / "model.safetensors")
    manifest = RunManifest(
        clinragen=__version__, stage=config.stage_name, cohort=None, cohort_sha256=None, identity=federation,
        model_sha256=weights, stays={"train": int(tensors["total"][0])}, best=None,
        seconds=round(time.monotonic() - began, 1), inputs=config.stage.inputs, targets=config.stage.targets,
        teacher=student.teacher, task=config.task, source=None, protocol=None, parent=None, pretrained=None,
        parent_stages=[*student.parents], files=record(out / "model"),
        parameters=sum(p.numel() for p in model.parameters()), notes_cut=0, targets_cut=0, soft_targets=None,
        fusion={f"{name}_gain": gain for name, gain in gains.items()},
    )  # fmt: skip
    finish_folder(out, config, manifest)
    return manifest


def new_student(
    features: SharedFeatures, tensors: Tensors, config: RunConfig, rows: list[int], tokenizer: Any
) -> ClinRaGen:
    """An untrained student that reads what all sites have in common.

    Args:
        features: what sites have in common.
        tensors: the sums of all sites.
        config: of its first stage.
        rows: positions of the variables that it reads, of those of the settings.
        tokenizer: of its language model.
    """
    config.model.hours, config.model.series.bins = features.settings.hours, features.settings.bins
    torch.manual_seed(config.stage.seed)
    return assemble(
        config.model, _of_variables(features.series_statistics(tensors), rows, features.read_variables(tensors)),
        features.graph, tokenizer, features.lexicon(tensors)[0], label_sets.load(label_sets.DEFAULT),
        tasks.load(config.task).wording,
    )  # fmt: skip


def public_words(features: SharedFeatures, task: str) -> list[str]:
    """Names of concepts and labels, and the fixed words of the list of labels."""
    wording = tasks.load(task).wording
    words = [data["name"] for data in features.graph.nodes.values()]
    names = label_sets.load(label_sets.DEFAULT).names.values()
    return [*words, *markers_of(wording).values(), wording.nothing, *(f" {name};" for name in names)]


def tokenizer_of(features: SharedFeatures, tensors: Tensors, config: RunConfig) -> Any:
    """A tokenizer of public words and shared terms."""
    texts = public_words(features, config.task) + features.lexicon(tensors)[0].terms
    return train_tokenizer(texts, config.model.language_model.vocabulary)


def set_probes(
    model: ClinRaGen, features: SharedFeatures, tensors: Tensors, rows: list[int], fusion: Fusion
) -> Calibration:
    """Give a student its probes with their gains, in place.

    Args:
        model: of :func:`new_student`, with the same ``rows``.
        features: what sites have in common.
        tensors: the model after the last round.
        rows: positions of the variables that it reads.
        fusion: whose gains are of the probes, or of network and probes.

    Returns:
        The calibration of its probabilities.
    """
    probes = model.head.linear_probes
    assert probes is not None, "the preset has probes"
    _, term_rows = features.lexicon(tensors)
    note, series = (tensors[f"{name}_weights"][:-1] for name in PROBES)
    series = series.reshape(len(features.settings.variables), -1, series.shape[1])[rows]
    probes.note.copy_(torch.from_numpy(np.concatenate([note[term_rows], note[features.settings.terms :]])))
    probes.series.copy_(torch.from_numpy(series.reshape(-1, series.shape[-1])))
    gains, offsets = fusion.parted(tensors)
    probes.gains.copy_(torch.tensor([*[0.0] * (1 + len(PROBES) - len(gains)), *gains.tolist()]))
    thresholds = np.repeat(tensors["threshold"], len(offsets)).tolist()
    return Calibration(list(model.labels), 1.0, offsets.tolist(), thresholds)


def _of_variables(statistics: SeriesStatistics, rows: list[int], read: list[int]) -> SeriesStatistics:
    """Statistics of some of the variables; those that are not to be read are the same in all stays."""
    unread = set(range(len(statistics.variables))) - set(read)
    scale = [_ABSENT if row in unread else value for row, value in enumerate(statistics.scale)]
    statistics = replace(statistics, scale=scale)
    parts = {
        name: [getattr(statistics, name)[row] for row in rows] for name in ("variables", "centre", "scale", "edges")
    }
    return replace(statistics, **parts)
