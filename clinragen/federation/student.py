"""An ordinary run folder from the finished model of work ``linear``: what ``clinragen predict`` takes.

The network beside the probes is new and has gain 0; its tokenizer is made of public words and of the shared terms, so
that no site's text shapes it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from clinragen import __version__, label_sets, tasks
from clinragen.artifacts import atomic_folder, sha256_file
from clinragen.data.series import SeriesStatistics
from clinragen.data.targets import markers_of
from clinragen.federation.linear import LinearProbesWork
from clinragen.federation.update import Tensors
from clinragen.inference.calibrate import Calibration
from clinragen.inference.predict import write_calibration
from clinragen.integrity import record
from clinragen.manifests import RunManifest
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.language_model import train_tokenizer
from clinragen.model.linear_probes import PROBES
from clinragen.stages.config import RunConfig, resolve
from clinragen.stages.run_dir import finish_folder


def write_run(work: LinearProbesWork, tensors: Tensors, out: Path, federation: str) -> RunManifest:
    """Write the run folder of a finished federation.

    Args:
        work: with the settings of the federation.
        tensors: the model after its last round.
        out: the run folder.
        federation: id of the federation.
    """
    began = time.monotonic()
    config = resolve("multimodal", "tiny", "evidence", ["stage.parent=null", "stage.targets=[diagnoses]"])
    config.model.hours, config.model.series.bins = work.settings.hours, work.settings.bins
    model, calibration = student(work, tensors, config)
    with atomic_folder(out / "model", replace=True) as folder:
        model.save_pretrained(folder)
        write_calibration(folder, calibration, None)
    gains = dict(zip(PROBES, tensors["fusion"][: len(PROBES)].round(4).tolist(), strict=True))
    weights = sha256_file(out / "model" / "model.safetensors")
    manifest = RunManifest(
        clinragen=__version__, stage=config.stage_name, cohort=None, cohort_sha256=None, identity=federation,
        model_sha256=weights, stays={"train": int(tensors["total"][0])}, best=None,
        seconds=round(time.monotonic() - began, 1), inputs=config.stage.inputs, targets=config.stage.targets,
        teacher=None, task=config.task, source=None, protocol=None, parent=None, pretrained=None, parent_stages=[],
        files=record(out / "model"), parameters=sum(p.numel() for p in model.parameters()), notes_cut=0, targets_cut=0,
        soft_targets=None, fusion={f"{name}_gain": gain for name, gain in gains.items()} | {"network_gain": 0.0},
    )  # fmt: skip
    finish_folder(out, config, manifest)
    return manifest


def student(work: LinearProbesWork, tensors: Tensors, config: RunConfig) -> tuple[ClinRaGen, Calibration]:
    """The model and its calibration."""
    rows = work.read_variables(tensors)
    lexicon, term_rows = work.lexicon(tensors)
    labels = label_sets.load(label_sets.DEFAULT)
    wording = tasks.load(config.task).wording
    texts = [data["name"] for data in work.graph.nodes.values()] + lexicon.terms
    texts += [*markers_of(wording).values(), wording.nothing, *(f" {name};" for name in labels.names.values())]
    torch.manual_seed(config.stage.seed)
    model = assemble(
        config.model, _of_variables(work.series_statistics(tensors), rows), work.graph,
        train_tokenizer(texts, config.model.language_model.vocabulary), lexicon, labels, wording,
    ).eval()  # fmt: skip
    probes = model.head.linear_probes
    assert probes is not None, "the preset has probes"
    note, series = (tensors[f"{name}_weights"][:-1] for name in PROBES)
    series = series.reshape(len(work.settings.variables), -1, series.shape[1])[rows]
    probes.note.copy_(torch.from_numpy(np.concatenate([note[term_rows], note[work.settings.terms :]])))
    probes.series.copy_(torch.from_numpy(series.reshape(-1, series.shape[-1])))
    gains, offsets = np.split(tensors["fusion"], [len(PROBES)])
    probes.gains.copy_(torch.tensor([0.0, *gains.tolist()]))
    thresholds = np.repeat(tensors["threshold"], len(offsets)).tolist()
    return model, Calibration(list(labels), 1.0, offsets.tolist(), thresholds)


def _of_variables(statistics: SeriesStatistics, rows: list[int]) -> SeriesStatistics:
    """Statistics of some of the variables."""
    parts = {
        name: [getattr(statistics, name)[row] for row in rows] for name in ("variables", "centre", "scale", "edges")
    }
    return replace(statistics, **parts)
