"""Build the inputs of a stage: the student of the previous stage or a new one, and the stays of each split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars

from clinragen import tasks
from clinragen.artifacts import sha256_file
from clinragen.choices import Target
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import SECTIONS, note_text, section_title, sections_by_stay
from clinragen.cohort.window import training_window
from clinragen.data.dataset import StayDataset
from clinragen.data.lexicon import Lexicon
from clinragen.data.mentions import MentionEncoder
from clinragen.data.series import SeriesStatistics, grid, observed_variables
from clinragen.data.targets import markers_of
from clinragen.errors import UserError
from clinragen.integrity import hold_folder
from clinragen.knowledge.relabel import open_graph
from clinragen.manifests import RunManifest
from clinragen.model.clinragen import ClinRaGen, assemble
from clinragen.model.language_model import train_tokenizer
from clinragen.stages.config import RunConfig
from clinragen.stages.pretrain import PretrainedEncoder
from clinragen.stages.run_dir import Request, expected_parent
from clinragen.tasks import Task


def new_model(
    config: RunConfig,
    cohort: Cohort,
    graph: Path | None,
    pretrained: PretrainedEncoder | None = None,
    texts: Sequence[str] = (),
) -> ClinRaGen:
    """A new student; statistics and, from scratch, the tokenizer are fitted on the training stays.

    Args:
        config: configuration of the run; ``model.hours`` is set to the window of the cohort.
        cohort: the training cohort.
        graph: concept graph folder; None takes the curated core.
        pretrained: an encoder to start from: its weights and statistics, for the variables that it knows.
        texts: more text for a tokenizer from scratch.
    """
    train = cohort.split("train")
    window = training_window(config.model.hours, cohort)
    config.model.hours = window.hours
    variables = observed_variables(cohort, train, config.model.series.min_share, window)
    values = grid(cohort, train, variables, window)
    statistics = SeriesStatistics.fit(values, variables, config.model.series.bins, window)
    if pretrained:
        pretrained.check(config.model, window)
        statistics = pretrained.standardise_alike(statistics)
    opened = open_graph(graph, cohort.label_set, cohort.added)
    tokenizer = None
    if config.model.language_model.scratch:
        training_text = [*_training_text(cohort, config, opened), *texts]
        tokenizer = train_tokenizer(training_text, config.model.language_model.vocabulary)
    lexicon = None
    if config.model.head.linear_probes:
        sections = sections_by_stay(cohort.notes, labels=cohort.label_set)
        lexicon = Lexicon.fit([note_text(sections.get(int(stay), [])) for stay in train], config.model.head.lexicon)
    task = tasks.load(config.task)
    labels = task.label_set(cohort)
    model = assemble(config.model, statistics, opened, tokenizer, lexicon, labels, task.wording, cohort.added)
    if pretrained:
        pretrained.load_into(model.series_encoder, variables)
    return model


def load_parent(request: Request) -> tuple[ClinRaGen, RunManifest] | None:
    """The parent's model and manifest.

    Raises:
        UserError: it is a run of another stage, or its weights have changed since it finished.
    """
    manifest = expected_parent(request)
    if manifest is None or request.parent is None:
        return None
    return open_parent(request.parent, manifest), manifest


def open_parent(run: Path, manifest: RunManifest) -> ClinRaGen:
    """The model of a run to continue.

    Raises:
        UserError: its weights have changed since it finished.
    """
    hold_folder(run / "model", manifest.files, remedy="copy the run anew, or train anew")
    model = ClinRaGen.from_pretrained(run / "model")
    if sha256_file(run / "model" / "model.safetensors") != manifest.model_sha256:
        raise UserError(f"--parent {run}: model.safetensors is not the file that this run finished with: train it anew")
    return model


def _training_text(cohort: Cohort, config: RunConfig, graph: Any) -> list[str]:
    """Training text of a tokenizer from scratch: training stays, and the fixed words of targets and graph."""
    mine = polars.col("stay_id").is_in(cohort.split("train"))
    texts = (
        cohort.notes.filter(mine)["text"].to_list() + cohort.rationales(config.teacher).filter(mine)["text"].to_list()
    )
    fixed = list_wording(tasks.load(config.task), cohort)
    fixed += [f"{section_title(section)}:" for section in SECTIONS]
    fixed += [data["name"] for data in graph.nodes.values()]
    return texts + fixed * 20


def list_wording(task: Task, cohort: Cohort) -> list[str]:
    """The fixed words of the targets of a task: markers and labels."""
    names = task.label_set(cohort).names.values()
    return [*markers_of(task.wording).values(), task.wording.nothing, *(f" {name};" for name in names)]


def stays(model: ClinRaGen, config: RunConfig, cohort: Cohort, split: str, store: Path | None = None) -> StayDataset:
    """The stays of a split as inputs and targets of this model; ``store`` keeps their tokens for the next run."""
    task = tasks.load(config.task)
    return StayDataset(
        cohort,
        _eligible(task, cohort, cohort.split(split), config.stage.targets),
        model.tokenizer,
        MentionEncoder(model.graph, model.concepts.ids),
        model.statistics,
        model.target_format(config.stage.targets),
        config.model.max_note_tokens,
        config.model.max_target_tokens,
        teacher=config.teacher,
        lexicon=model.lexicon,
        store=store,
        separate=config.stage.tasks == "separate" and split == "train",
        soft_targets=config.stage.token_weight > 0,
        task=task,
        max_caption_tokens=config.model.max_caption_tokens,
        note_passages=config.model.note_passages,
    )


def _eligible(task: Task, cohort: Cohort, stay_ids: np.ndarray, targets: Sequence[Target]) -> np.ndarray:
    """Stays eligible for some label; for all of them if the list of labels is the only target.

    Raises:
        UserError: the list is the only target, and no stay is eligible for all labels.
    """
    labels = task.labels(cohort, stay_ids)
    if list(targets) != ["diagnoses"]:
        return stay_ids[labels.eligible.any(1)]
    whole = labels.eligible.all(1)
    if not whole.any() and labels.eligible.any():
        raise UserError(
            f"{cohort.paths.root}: no stay is eligible for all labels of task '{task.name}', so none has a list to "
            "learn: add note or series to stage.targets"
        )
    return stay_ids[whole]
