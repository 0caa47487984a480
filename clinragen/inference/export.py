"""Export a finished run as one folder in Hugging Face layout: merged weights in safetensors and a model card.

The folder can be used like a run folder, and so can the one file that it may be packed into. It contains no local
paths and no patient data.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from clinragen import __version__
from clinragen.artifacts import sha256_file, write_json, write_text
from clinragen.cards import card
from clinragen.errors import UserError
from clinragen.evaluation.rows import EvaluationFile
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import coverage_text, site_ranges, with_interval
from clinragen.inference.predict import TrainedModel
from clinragen.integrity import record
from clinragen.manifests import RunManifest
from clinragen.outputs import EXPORT, mark, output_folder
from clinragen.packed_model import SUFFIX, Inputs, check_archive, check_export, pack
from clinragen.schema import RATIONALE_KINDS


def export(
    run: Path, out: Path, *, evaluation: Path | None = None, title: str | None = None, overwrite: bool = False
) -> RunManifest:
    """Write the folder and return its manifest.

    Args:
        run: run folder of a finished stage.
        out: folder to write, or a file of that model whose name ends in ``.zip``.
        evaluation: ``evaluation.json`` of this model, for the card.
        title: name of the model on its card; by default the name of ``out``.
        overwrite: replace a model that ``out`` holds.

    Raises:
        UserError: not a finished run, or an evaluation of another model.
    """
    check_export(out, overwrite=overwrite, inputs=(run, evaluation))
    scores = load_evaluation(evaluation) if evaluation else None
    trained = TrainedModel.load(run)
    model = trained.model
    if scores and scores["predictions"]["model_hash"] != trained.manifest.model_sha256:
        raise UserError(f"--evaluation {evaluation} scores another model than {run}: evaluate its own predictions")
    if model.head.similar_cases is not None:
        raise UserError(
            f"{run} holds vectors and labels of its training stays (stage.similar_cases), which are data of patients "
            "and are not exported: train it without them, or copy the run folder to where such data may be"
        )
    merged = model.language_model.base is not None
    with torch.no_grad():
        model.language_model.merge()
    settings = model.config.language_model
    settings.lora, settings.gguf_file = None, None
    if settings.name and Path(settings.name).is_dir():
        settings.name = Path(settings.name).name
    with _folder_or_archive(out, overwrite=overwrite, inputs=(run, evaluation)) as folder:
        model.save_pretrained(folder)
        trained.write_calibration(folder)
        manifest = replace(
            trained.manifest,
            cohort=None,  # paths of the machine it was trained on
            parent=None,
            pretrained=bool(trained.manifest.pretrained),
            model_sha256=sha256_file(folder / "model.safetensors"),
            files=record(folder),
            exported_by=__version__,
            trained_as=trained.manifest.model_sha256,
        )
        manifest.write(folder / "manifest.json")
        write_json(
            folder / "config.json",
            {"model_type": "clinragen", "architectures": ["ClinRaGen"], "clinragen_version": __version__},
        )
        write_text(folder / "README.md", _card(trained, scores, title or out.name.removesuffix(SUFFIX), merged))
    return manifest


@contextmanager
def _folder_or_archive(out: Path, *, overwrite: bool, inputs: Inputs) -> Iterator[Path]:
    """A folder to fill that becomes ``out``, or whose files become the archive of that name."""
    if out.suffix != SUFFIX:
        with output_folder(out, EXPORT, overwrite=overwrite, inputs=inputs) as folder:
            yield folder
        return
    with TemporaryDirectory(prefix="clinragen-export-") as folder:
        yield Path(folder)
        mark(Path(folder), EXPORT)
        check_archive(out, overwrite=overwrite, inputs=inputs)
        pack(Path(folder), out)


def _card(trained: TrainedModel, evaluation: EvaluationFile | None, title: str, merged: bool) -> str:
    manifest, settings = trained.manifest, trained.model.config.language_model
    scores = []
    if evaluation:
        scores = [(n, s) for n, s in evaluation["systems"]["model"]["scores"].items() if s and s["value"] is not None]
    return card(
        "export/card.md.j2",
        title=title,
        manifest=manifest,
        labels=list(trained.model.labels.names.values()),
        protocol=manifest.protocol,
        source=manifest.source or "not recorded",
        base=settings.name if settings.name and "/" in settings.name else None,
        language_model=settings.name or f"{settings.scratch.get('model_type')}, trained from nothing",
        merged=merged,
        evaluation=evaluation,
        scores=scores,
        claims=_claims(evaluation),
        coverage=coverage_text(evaluation["coverage"]) if evaluation else None,
        by_site=site_ranges(evaluation.get("sites")) if evaluation else [],
        validation=_validation(trained),
    )


def _claims(evaluation: EvaluationFile | None) -> list[tuple[str, int, str]]:
    """For each kind of rationale, the number of claims and the supported share, as text."""
    if evaluation is None:
        return []
    rows = [(kind, evaluation["claims"][kind]["all"]) for kind in RATIONALE_KINDS]
    return [(kind, row["claims"], with_interval(row["supported"])) for kind, row in rows]


def _validation(trained: TrainedModel) -> list[tuple[str, float]]:
    """The metrics of the selected epoch."""
    path = trained.folder / "metrics.csv"
    if not path.exists():
        return []
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            row = list(csv.DictReader(handle))[int((trained.manifest.best or {})["epoch"])]
        return [
            (name.removeprefix("validation/"), float(value))
            for name, value in row.items()
            if name.startswith("validation/") and value
        ]
    except (IndexError, KeyError, TypeError, AttributeError, ValueError, csv.Error):
        raise UserError(
            f"{path} is damaged, or the manifest beside it: expected a row for each epoch and 'best' in the manifest"
        ) from None
