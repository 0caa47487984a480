"""Scores of labels that no model was trained on, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.api.values import (
    CohortLike,
    GraphLike,
    ModelLike,
    SettingsLike,
    cohort_folder,
    console,
    graph_folder,
    open_cohort,
    overrides,
    path,
)
from clinragen.choices import Device, Split
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel
    from clinragen.zero_shot.ensembles import LabelEnsemble
    from clinragen.zero_shot.readings import ChartReadings
    from clinragen.zero_shot.run import FurtherParts, ScoredSplit
    from clinragen.zero_shot.settings import ZeroShotSettings

_AS_NOTE = "history_of_present_illness"  # the section that what is known of a label stands in for an aligned model
TABLE, EVALUATION = "zeroshot.parquet", "evaluation.json"


@dataclass(frozen=True)
class ZeroShot:
    """Scores of described labels for stays. They order stays and can be compared between labels; they are no
    probabilities.

    Attributes:
        table: stay_id, label, score, note, series and evidence; one row for each stay and label.
        linked: by label, the concepts of the graph that belong to it, or that its names or description name.
        unreadable: what of stays and labels could not be read, one line each.
        evaluation: AUROC on the labels of the cohort, if it has some of these; nothing else reads them.
        folder: where all of it was written, if it was.
    """

    table: pl.DataFrame = field(repr=False)
    linked: dict[str, list[str]]
    unreadable: list[str]
    evaluation: dict[str, Any] | None = None
    folder: Path | None = None


def zeroshot(
    cohort: CohortLike,
    labels: str | Path,
    out: str | Path | None = None,
    *,
    model: ModelLike | None = None,
    encoder: str | Path | None = None,
    graph: GraphLike = None,
    split: Split = "test",
    set: SettingsLike = (),
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> ZeroShot:
    """Score stays for labels that no model was trained on, by what the labels are called and described as.

    Args:
        cohort: its training stays say what is usual; of no stay a label is read for a score.
        labels: YAML or JSON file that describes the labels, or the name of a shipped label set.
        out: a folder to write; None: nothing is written.
        model: a run of ``train align``, which compares series and descriptions.
        encoder: the folder of a local sentence encoder, which compares notes and descriptions.
        graph: what speaks for the labels; None: the curated core.
        split: the stays.
        set: settings of ``configs/zeroshot`` to override, as ``{"weights.series": 0}``.
        device: where the model runs.
        overwrite: replace what an earlier run wrote.
        verify: check the hashes of large files, too.
        progress: report progress on standard error.

    Raises:
        UserError: a label is malformed or nothing is known of it, the cohort has neither notes nor series in its
            training split, or the model was not aligned.
    """
    from rich.progress import Progress

    from clinragen.knowledge.added import with_variables
    from clinragen.knowledge.graph import ConceptGraph, build
    from clinragen.knowledge.linker import Linker
    from clinragen.outputs import ZERO_SHOT, check_output, output_folder
    from clinragen.zero_shot import described_labels, settings
    from clinragen.zero_shot.ensembles import LabelEnsemble
    from clinragen.zero_shot.run import read_split, score_split

    configured, described = settings.load(overrides(set)), described_labels.read(labels)
    file = Path(labels) if Path(labels).exists() else None
    with graph_folder(graph) as folder, thorough(verify):
        inputs = [cohort_folder(cohort), folder, file, path(encoder)]
        if out is not None:
            check_output(Path(out), ZERO_SHOT, overwrite=overwrite, inputs=inputs)
        opened = open_cohort(cohort)
        concepts = with_variables(ConceptGraph.load(folder) if folder else build(), opened.added)
        linker = Linker(concepts)
        ensembles = [LabelEnsemble.of(label, concepts, linker, configured) for label in described]
        trained = _aligned(model, device) if model is not None else None
        further = _further_parts(opened, ensembles, configured, trained, path(encoder))
        with Progress(console=console(progress), transient=True) as bar:
            task = bar.add_task("  reading charts", total=len(opened.stays))
            readings = read_split(opened, split, concepts, linker, lambda count: bar.advance(task, count))
        scored = score_split(opened, readings, ensembles, concepts, configured, split=split, further=further)
        result = _result(scored, opened, path(out))
        if out is not None:
            manifest = {
                **_manifest(scored, opened, configured),
                "labels_from": str(labels),
                "split": split,
                "model": str(trained.folder) if trained is not None else None,
                "encoder": str(encoder) if encoder is not None else None,
            }
            with output_folder(Path(out), ZERO_SHOT, overwrite=overwrite, inputs=inputs) as written:
                _write(result, manifest, written)
    return result


def _aligned(model: ModelLike, device: Device) -> TrainedModel:
    from clinragen.api.prediction import load
    from clinragen.model.alignment import Alignment

    trained = load(model, device=device) if isinstance(model, str | Path) else model
    Alignment.load(trained.run.model)  # refuse another stage's run before charts are read
    return trained


def _further_parts(
    cohort: Cohort,
    ensembles: list[LabelEnsemble],
    configured: ZeroShotSettings,
    trained: TrainedModel | None,
    encoder: Path | None,
) -> FurtherParts:
    """The parts that need a model: notes beside sentences, and series beside labels as if they were notes."""
    encode = None
    if encoder is not None:
        from clinragen.zero_shot.sentences import SentenceEncoder

        encode = SentenceEncoder(encoder)

    def parts(readings: ChartReadings) -> Mapping[str, np.ndarray]:
        from clinragen.inference.aligned import note_vectors, vectors
        from clinragen.zero_shot.sentences import label_vectors, note_similarities

        further: dict[str, np.ndarray] = {}
        if encode is not None:
            targets = label_vectors(ensembles, configured.templates, encode)
            further["sentences"] = note_similarities(readings, targets, encode)
        if trained is not None:
            targets = note_vectors(trained, [[(_AS_NOTE, one.as_note)] for one in ensembles])
            further["aligned"] = vectors(trained, trained.stays(cohort, readings.ids)).series @ targets.T
        return further

    return parts


def _result(scored: ScoredSplit, cohort: Cohort, folder: Path | None) -> ZeroShot:
    import polars as pl

    table = scored.table()
    linked = {one.label.key: [node for node, tie in one.ties.items() if tie.via == node] for one in scored.ensembles}
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return ZeroShot(frame, linked, scored.unreadable(), _evaluation(scored, cohort), folder)


def _evaluation(scored: ScoredSplit, cohort: Cohort) -> dict[str, Any] | None:
    """What the scores are worth on labels of the cohort that have the same keys; None without any."""
    import numpy as np

    from clinragen.zero_shot.areas import evaluate

    keys = [one.label.key for one in scored.ensembles]
    shared = [key for key in keys if cohort.labelled and key in cohort.label_set]
    if not shared:
        return None
    order = list(cohort.label_set)
    gold = cohort.label_matrix(scored.ids)[:, [order.index(key) for key in shared]]
    columns = [keys.index(key) for key in shared]
    whose = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
    patients = np.array([whose[stay] for stay in scored.ids.tolist()])
    scores = {name: values[:, columns] for name, values in scored.columns.items()}
    return evaluate(gold, scores, patients, shared)


def _manifest(scored: ScoredSplit, cohort: Cohort, configured: ZeroShotSettings) -> dict[str, Any]:
    """What was scored, and how."""
    from clinragen import __version__
    from clinragen.artifacts import sha256_json
    from clinragen.data.mentions import MentionEncoder

    described = [
        {
            "key": one.label.key, "name": one.label.name, "synonyms": list(one.label.synonyms),
            "description": one.label.description, "sentences": len(one.sentences),
            "concepts": {node: round(tie.strength, 4) for node, tie in one.ties.items()},
        }
        for one in scored.ensembles
    ]  # fmt: skip
    graph = scored.finder.graph
    edges = sorted((head, tail, data["relation"], data["weight"]) for head, tail, data in graph.graph.edges(data=True))
    return {
        "created_by": f"clinragen {__version__}",
        "cohort": str(cohort.paths.root),
        "cohort_hash": cohort.sha256,
        "graph_hash": sha256_json([MentionEncoder.names_of(graph), edges]),
        "labels": described,
        "settings": asdict(configured),
        "stays": len(scored.ids),
        "unreadable": scored.unreadable(),
    }


def _write(result: ZeroShot, manifest: dict[str, Any], folder: Path) -> None:
    from clinragen.artifacts import write_json, write_table
    from clinragen.integrity import outputs_of
    from clinragen.zero_shot.run import SCORES

    write_table(folder / TABLE, result.table.to_arrow().cast(SCORES))
    files = [folder / TABLE]
    if result.evaluation is not None:
        write_json(folder / EVALUATION, result.evaluation)
        files.append(folder / EVALUATION)
    write_json(folder / "manifest.json", {**manifest, **outputs_of(files)})
