"""Similar cases from Python: an index of training stays, and the stays of it that are most like a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.api.values import CohortLike, GraphLike, ModelLike, cohort_folder, console, graph_folder, open_cohort
from clinragen.choices import Device
from clinragen.errors import UserError
from clinragen.integrity import thorough

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.finished import FinishedRun
    from clinragen.inference.predict import TrainedModel
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.questions.stay_chart import StayChart
    from clinragen.similarity.common import Comparison, Shared, Statements
    from clinragen.similarity.index import Neighbour, Query, SimilarIndex
    from clinragen.teacher.cases import PromptCase

#: Stays of an index whose statements are held, at most.
MOST_HELD = 5000

type IndexLike = str | Path | OpenIndex


@dataclass(frozen=True)
class Case:
    """A stay of the index that is similar to a chart.

    Attributes:
        stay_id: its id in the cohort of the index.
        score: weighted sum of the similarities, at most 1.
        similarities: by modality.
        labels: keys of the labels with which it was coded.
        label_names: their names.
        started: names of the classes of drugs that were newly started within a day of its prediction time.
        concepts: names of the concepts that both notes affirm, the rarest first.
        shared: what both charts show and the verifier bears out; empty where the cohort of the index is not at hand.
    """

    stay_id: int
    score: float
    similarities: dict[str, float]
    labels: tuple[str, ...]
    label_names: tuple[str, ...]
    started: tuple[str, ...]
    concepts: tuple[str, ...]
    shared: tuple[Shared, ...]

    def as_json(self) -> dict[str, Any]:
        """The case as an object of JSON."""
        return {
            "stay_id": self.stay_id,
            "score": round(self.score, 4),
            "similarities": {name: round(value, 4) for name, value in self.similarities.items()},
            "labels": list(self.labels),
            "label_names": list(self.label_names),
            "started": list(self.started),
            "concepts": list(self.concepts),
            "shared": [one.as_json() for one in self.shared],
        }


@dataclass(frozen=True)
class SimilarCases:
    """The cases that are most like a chart, most similar first; iterating gives them.

    Attributes:
        stay_id: of the chart; None for one that is in no cohort.
        cases: the cases.
        weights: of the modalities in the score.
    """

    stay_id: int | None
    cases: tuple[Case, ...]
    weights: dict[str, float]

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def as_json(self) -> dict[str, Any]:
        """The cases as an object of JSON."""
        return {"stay_id": self.stay_id, "weights": self.weights, "cases": [case.as_json() for case in self.cases]}


@dataclass
class OpenIndex:
    """An index that is open, for many questions.

    Attributes:
        index: the vectors and their search.
        graph: the concepts of notes.
    """

    index: SimilarIndex
    graph: ConceptGraph
    _statements: dict[int, Statements] = field(default_factory=dict, repr=False)

    def query(self, cohort: Cohort, stay: int) -> tuple[Query, StayChart]:
        """A stay of a cohort as a query, and its chart.

        Raises:
            UserError: the cohort has no such stay.
        """
        import numpy as np

        from clinragen.questions.stay_chart import charts

        if stay not in cohort.stays["stay_id"]:
            raise UserError(
                f"{cohort.paths.root} has no stay {stay}: give --stay an id of its {len(cohort.stays)} stays, which "
                "are in stays.parquet"
            )
        part = cohort.of_stays(np.array([stay]))
        (query,) = self.index.queries_of(part, np.array([stay]))
        (chart,) = charts(part, self.graph, linker=self.index.encoders.concepts.link.linker)
        return query, chart

    def cases(self, query: Query, count: int, chart: StayChart | None, cohort: Cohort | None) -> SimilarCases:
        """The cases that are most like a query.

        Args:
            query: of the index.
            count: how many, at most.
            chart: what the query was read from, to say what is shared.
            cohort: that of the index, to read the charts of the cases from; None: it is not at hand.
        """
        neighbours = self.index.search(query, count)
        ids = [int(self.index.stays.ids[one.row]) for one in neighbours]
        shared: Sequence[Sequence[Shared]] = [()] * len(ids)
        if chart is not None and cohort is not None:
            mine, theirs = self._compared.statements(chart), self._read(ids, cohort)
            shared = [self._compared.shared(mine, theirs[stay]) for stay in ids]
        cases = tuple(self._case(query, *one) for one in zip(neighbours, ids, shared, strict=True))
        return SimilarCases(query.stay, cases, self.index.weights)

    def _case(self, query: Query, one: Neighbour, stay: int, shared: Sequence[Shared]) -> Case:
        stays, manifest = self.index.stays, self.index.manifest
        names = {label["key"]: label["name"] for label in manifest["label_set"]["labels"]}
        labels = [key for key, on in zip(manifest["labels"], stays.labels[one.row], strict=True) if on]
        return Case(
            stay_id=stay,
            score=one.score,
            similarities=one.similarities,
            labels=tuple(labels),
            label_names=tuple(names[key] for key in labels),
            started=tuple(_class_names(manifest["classes"], stays.started[one.row])),
            concepts=tuple(self._concepts(query, one.row)),
            shared=tuple(shared),
        )

    def _concepts(self, query: Query, row: int) -> list[str]:
        """Names of the concepts that both notes affirm."""
        mine, theirs = query.vectors.get("concepts"), self.index.vectors.get("concepts")
        if mine is None or theirs is None:
            return []
        encoder = self.index.encoders.concepts
        both = {*encoder.affirmed(mine)} & {*encoder.affirmed(theirs[row])}  # type: ignore[arg-type]
        return [self.graph.name(concept) for concept in encoder.affirmed(mine) if concept in both]  # type: ignore[arg-type]

    @cached_property
    def _compared(self) -> Comparison:
        from clinragen.similarity.common import Comparison

        encoder = self.index.encoders.concepts
        rarity = dict(zip(encoder.ids, encoder.idf[: len(encoder.ids)].tolist(), strict=True))
        return Comparison(self.graph, rarity)

    def _read(self, stay_ids: Sequence[int], cohort: Cohort) -> dict[int, Statements]:
        """What the charts of stays of the cohort of the index show. Those of many stays are held, of others none."""
        import numpy as np

        from clinragen.questions.stay_chart import charts

        if len(self._statements) + len(stay_ids) > MOST_HELD:
            self._statements.clear()
        if missing := [stay for stay in stay_ids if stay not in self._statements]:
            linker = self.index.encoders.concepts.link.linker
            part = cohort.of_stays(np.array(sorted(missing)))
            for chart in charts(part, self.graph, linker=linker):
                self._statements[chart.stay_id] = self._compared.statements(chart)
        return {stay: self._statements[stay] for stay in stay_ids}


@dataclass
class CasesForPrompts:
    """The training stays most like each stay of a cohort, as prompts show them.

    They are found by the charts alone: what a stay was coded with decides neither which cases it gets, nor, as only
    training stays are indexed, what any prompt says of a stay that is held out.

    Attributes:
        opened: the index.
        cohort: the one that it was built from.
        count: cases of a stay.
        identity: hash of what decides which are found.
    """

    opened: OpenIndex
    cohort: Cohort
    count: int
    identity: str
    _shown: dict[int, tuple[PromptCase, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of_index(cls, index: IndexLike, cohort: CohortLike, count: int, graph: GraphLike = None) -> CasesForPrompts:
        """Open an index.

        Raises:
            UserError: no index, another graph, it is of another cohort, or knows nothing but labels.
        """
        from clinragen.artifacts import sha256_json
        from clinragen.similarity.index import CHART

        opened, whole = open_index(index, graph=graph), open_cohort(cohort)
        manifest = opened.index.manifest
        if manifest["cohort_hash"] != whole.sha256:
            raise UserError(
                f"--index: it was built from another cohort than {whole.paths.root}, whose training stays may be held "
                "out here: build it from this cohort"
            )
        names = [name for name in opened.index.rows if name in CHART]
        if not names:
            raise UserError("--index: it compares no charts: build it with words, concepts or series")
        alike = opened.index.with_weights({name: 1 / len(names) for name in names})
        return cls(OpenIndex(alike, opened.graph), whole, count, sha256_json([manifest, names]))

    def of(self, stay_id: int) -> tuple[PromptCase, ...]:
        """The cases of a stay; they are found once."""
        from clinragen.teacher.cases import PromptCase

        if stay_id not in self._shown:
            query, chart = self.opened.query(self.cohort, stay_id)
            cases = self.opened.cases(query, self.count, chart, self.cohort)
            shown = (PromptCase(tuple(one.text for one in case.shared), case.label_names) for case in cases)
            self._shown[stay_id] = tuple(shown)
        return self._shown[stay_id]


def build_index(
    cohort: CohortLike,
    out: str | Path,
    *,
    modalities: Sequence[str] = (),
    model: ModelLike | None = None,
    graph: GraphLike = None,
    device: Device = "auto",
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> OpenIndex:
    """Build an index of the training stays of a cohort, to find similar cases in.

    Args:
        cohort: its training stays are indexed, its validation stays choose the weights; its test stays are not read.
        out: folder to write the index to.
        modalities: of ``words``, ``concepts``, ``series``, ``diagnoses``, and with a model ``aligned`` and
            ``embedding``; all that there are by default.
        model: the student of the last two: its run folder, or opened; the index holds a hash of it.
        graph: concepts of notes; None: the curated core.
        device: where the model runs.
        overwrite: replace the folder if it exists.
        verify: check the hashes of large files, too.
        progress: show a bar on standard error while the model reads stays.

    Raises:
        UserError: an unknown modality, no training stays, the model cannot read them, or the output exists.
    """
    from rich.progress import Progress

    from clinragen.knowledge.relabel import open_graph
    from clinragen.outputs import INDEX, check_output, output_folder
    from clinragen.similarity.build import build_index as build
    from clinragen.similarity.build import chosen_modalities
    from clinragen.similarity.student import STUDENT

    with graph_folder(graph) as graph_path, thorough(verify):
        inputs = (cohort_folder(cohort), graph_path, *([_run_of(model).folder] if model is not None else []))
        check_output(Path(out), INDEX, overwrite=overwrite, inputs=inputs)
        names = chosen_modalities(modalities, None if model is None else _run_of(model))
        opened = open_cohort(cohort)
        concepts = open_graph(graph_path, opened.label_set, opened.added)
        trained = None if model is None else _loaded(model, device)
        with Progress(console=console(progress and trained is not None), transient=True) as bar:
            total = len(opened.split("train")) * sum(name in STUDENT for name in names)
            task = bar.add_task("stays that the model reads", total=total)
            index = build(opened, concepts, names, trained, lambda count: bar.advance(task, count))
        with output_folder(Path(out), INDEX, overwrite=overwrite, inputs=inputs) as folder:
            index.save(folder)
    return OpenIndex(index, concepts)


def open_index(
    index: IndexLike, *, graph: GraphLike = None, model: ModelLike | None = None, device: Device = "auto"
) -> OpenIndex:
    """Open an index, for many questions.

    Args:
        index: written by :func:`build_index`.
        graph: the one that it was built with; None: the curated core.
        model: likewise, where charts are compared by one; else it is not loaded.
        device: where the model runs.

    Raises:
        UserError: no index, a damaged one, another graph, or no model or another one.
    """
    from clinragen import added_variables, label_sets
    from clinragen.knowledge.relabel import open_graph
    from clinragen.similarity.index import SimilarIndex, read_manifest

    if isinstance(index, OpenIndex):
        return index
    read_by = _student_of(Path(index), read_manifest(Path(index)), model)
    trained = None if read_by is None else _loaded(read_by, device)
    opened: list[ConceptGraph] = []
    remedy = "build the index anew"

    def graph_of(manifest: dict[str, Any]) -> ConceptGraph:
        added = added_variables.opened(manifest, Path(index) / "manifest.json", remedy)
        opened.append(open_graph(folder, label_sets.of_manifest(manifest, remedy), added))
        return opened[0]

    with graph_folder(graph) as folder:
        read = SimilarIndex.load(Path(index), graph_of, trained)
    return OpenIndex(read, opened[0])


def similar(
    index: IndexLike,
    cohort: CohortLike | None = None,
    stay: int | None = None,
    *,
    text: str | Path | None = None,
    series: str | Path | None = None,
    count: int = 10,
    graph: GraphLike = None,
    model: ModelLike | None = None,
    device: Device = "auto",
    verify: bool = False,
) -> SimilarCases:
    """The training stays that are most like a chart, with what they share, how they were coded and what was started.

    Args:
        index: written by :func:`build_index`, or opened by :func:`open_index`.
        cohort: of the stay; if the index was built from it, what the charts share is said, too.
        stay: id of the stay; None: a chart that is in no cohort, of a note, a series or both.
        text: a note, or the file that it is in: a single word is the name of a file.
        series: CSV file with the columns hour, variable and value, in canonical units.
        count: how many cases, at most.
        graph: the one that the index was built with; None: the curated core.
        model: likewise, where charts are compared by one.
        device: where the model runs.
        verify: check the hashes of large files, too.

    Raises:
        UserError: no index, another graph or model, the cohort has no such stay, or no chart or two were given.
    """
    if count < 1:
        raise UserError(f"--k {count}: expected 1 or more")
    if (stay is None) == (text is None and series is None):
        raise UserError("give a chart: either --stay, or --text and --series or one of them")
    if stay is not None and cohort is None:
        raise UserError("--stay needs --cohort, the cohort of the stay")
    with thorough(verify):
        opened = open_index(index, graph=graph, model=model, device=device)
        whole = open_cohort(cohort) if cohort is not None else None
        if stay is not None and whole is not None:
            query, chart = opened.query(whole, stay)
        else:
            query, chart = _of_files(opened, text, series)
        theirs = whole is not None and whole.sha256 == opened.index.manifest["cohort_hash"]
        return opened.cases(query, count, chart, whole if theirs else None)


def _of_files(opened: OpenIndex, text: str | Path | None, series: str | Path | None) -> tuple[Query, StayChart]:
    """A note and a series that are in no cohort as a query, and as a chart."""
    from clinragen.questions.stay_chart import StayChart
    from clinragen.similarity.given import given_cohort, read_note, read_series

    sections = read_note(text, opened.graph.labels) if text is not None else []
    rows = read_series(series)
    encoders = opened.index.encoders
    encoded = encoders.encode([sections], encoders.series.grid_of(rows))
    if encoders.student is not None:
        with given_cohort(sections, rows, encoders.student.trained.run, opened.graph.labels) as alone:
            encoded = encoders.with_student(encoded, alone, alone.stays["stay_id"].to_numpy())
    (query,) = opened.index.queries(encoded)
    cells: dict[str, list[tuple[float, float]]] = {}
    for hour, variable, value in rows.iter_rows():
        cells.setdefault(variable, []).append((hour, value))
    chart = StayChart.read(0, float("inf"), cells, sections, encoders.concepts.link.linker, opened.graph)
    return query, chart


def _run_of(model: ModelLike) -> FinishedRun:
    from clinragen.inference.finished import FinishedRun

    return FinishedRun.open(model) if isinstance(model, str | Path) else model.run


def _loaded(model: ModelLike, device: Device) -> TrainedModel:
    from clinragen.api.prediction import load

    return load(model, device=device) if isinstance(model, str | Path) else model


def _student_of(index: Path, manifest: dict[str, Any], model: ModelLike | None) -> ModelLike | None:
    """The model by which an index compares charts; None where it needs none.

    Raises:
        UserError: it is another one than the index was built with, or is missing.
    """
    from clinragen.similarity.index import MODEL_HASH
    from clinragen.similarity.student import student_hash

    expected = manifest.get(MODEL_HASH)
    if expected is None:
        return None
    if model is None:
        raise UserError(f"{index} compares what a model reads in charts: give --model, the run that it was built with")
    run = _run_of(model)
    if student_hash(run) != expected:
        raise UserError(
            f"{run.folder} is not the model that {index} was built with: give that run, or build the index anew"
        )
    return model


def _class_names(keys: Sequence[str], on: Sequence[bool]) -> list[str]:
    """Readable names of classes of drugs."""
    from clinragen.tasks.prescription import treatments

    names = treatments()
    return [names.get(key, key).lower() for key, started in zip(keys, on, strict=True) if started]
