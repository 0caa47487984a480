"""Questions about one stay from Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import (
    CohortLike,
    GraphLike,
    PredictionsLike,
    cohort_folder,
    open_cohort,
    open_predictions,
    predictions_folder,
)
from clinragen.choices import Split
from clinragen.errors import UserError
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import numpy as np

    from clinragen.cohort.folder import Cohort
    from clinragen.dialogue.dialogue import Dialogue, Router, Turn
    from clinragen.dialogue.names import Names
    from clinragen.evaluation.inputs import Predictions
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.knowledge.linker import Linker

_BLOCK = 512  # stays that are read at a time


@dataclass(frozen=True)
class Asked:
    """Questions about a stay, and what came of each.

    Attributes:
        stay_id: the stay.
        turns: one for each question, in order.
        remarks: in what the chart is unlike those of training.
    """

    stay_id: int
    turns: tuple[Turn, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The dialogue as an object of JSON."""
        return {
            "stay_id": self.stay_id,
            "remarks": list(self.remarks),
            "turns": [turn.as_json() for turn in self.turns],
        }


@dataclass(frozen=True)
class StayAnswers:
    """Questions about stays that were answered and written.

    Attributes:
        path: ``answers.jsonl``, a question with its answer in each line.
        stays: how many stays were asked about.
        outcomes: number of questions by outcome: answered, not_in_chart, refused, unclear.
    """

    path: Path
    stays: int
    outcomes: Mapping[str, int]


@dataclass
class OpenStay:
    """A stay that can be asked about, several questions in a row.

    Attributes:
        dialogue: what answers.
        remarks: in what the chart is unlike those of training.
    """

    dialogue: Dialogue
    remarks: tuple[str, ...]

    def ask(self, question: str) -> Turn:
        """Answer a question; it may go on from the one before."""
        return self.dialogue.ask(question)


def open_stay(
    cohort: CohortLike,
    stay: int,
    *,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    router: Router | None = None,
    verify: bool = False,
) -> OpenStay:
    """Open the chart of one stay for questions. Of the other stays nothing is read that could be answered with.

    Args:
        cohort: a cohort.
        stay: id of the stay.
        predictions: predictions for it: only diagnoses that they list are then given grounds. Without them the signs of
            any diagnosis can be asked for.
        graph: the concepts of notes; None: the curated core.
        router: chooses a query where the rules find none.
        verify: check the hashes of large files, too.

    Raises:
        UserError: the cohort or the predictions have no such stay, or a file is damaged.
    """
    with thorough(verify):
        opened = _Opened.of(cohort, predictions, graph, router)
        opened.check([stay], "--stay")
        return next(iter(opened.stays([stay])))


def ask(
    cohort: CohortLike,
    stay: int,
    questions: Sequence[str],
    *,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    verify: bool = False,
) -> Asked:
    """Answer questions about one stay from its chart, without a language model.

    Args:
        cohort: a cohort.
        stay: id of the stay.
        questions: in order; each may go on from the one before.
        predictions: predictions for the stay; see :func:`open_stay`.
        graph: the concepts of notes; None: the curated core.
        verify: check the hashes of large files, too.

    Raises:
        UserError: the cohort or the predictions have no such stay, or a file is damaged.
    """
    opened = open_stay(cohort, stay, predictions=predictions, graph=graph, verify=verify)
    return Asked(stay, tuple(opened.ask(question) for question in questions), opened.remarks)


def ask_stays(
    cohort: CohortLike,
    questions: str | Path | Mapping[int, Sequence[str]],
    out: str | Path,
    *,
    split: Split = "test",
    limit: int | None = None,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> StayAnswers:
    """Answer questions about many stays, each from its chart, and write them with their answers to a folder.

    Args:
        cohort: a cohort.
        questions: those of each stay, in order, each of which may go on from the one before; or a file: an object with
            ``stay_id`` and ``question`` in each line, or a question in each line, which is asked about every stay.
        out: a folder to write, with ``answers.jsonl``: a line for each question, by stay id and then in order.
        split: the stays, where the file names none.
        limit: only so many of these, the first by id.
        predictions: predictions for the stays; see :func:`open_stay`.
        graph: the concepts of notes; None: the curated core.
        overwrite: replace what an earlier run wrote.
        verify: check the hashes of large files, too.
        progress: report progress on standard error.

    Raises:
        UserError: a file without questions, a stay that the cohort or the predictions do not have, a damaged file, or a
            folder that may not be written.
    """
    from clinragen import __version__
    from clinragen.api.teaching import stays_done
    from clinragen.artifacts import PRIVATE_FILE, json_lines, write_json
    from clinragen.integrity import outputs_of
    from clinragen.outputs import ANSWERS, check_output, output_folder
    from clinragen.questions.answered import FILES
    from clinragen.questions.file import read_asked

    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: expected 1 or more")
    inputs = [cohort_folder(cohort), None if predictions is None else predictions_folder(predictions)]
    inputs += [Path(questions)] if isinstance(questions, str | Path) else []
    check_output(Path(out), ANSWERS, overwrite=overwrite, inputs=inputs)
    by_stay = read_asked(questions) if isinstance(questions, str | Path) else questions
    outcomes: Counter[str] = Counter()
    with thorough(verify), stays_done(progress) as (moved, _):
        opened = _Opened.of(cohort, predictions, graph)
        if not isinstance(by_stay, Mapping):
            by_stay = dict.fromkeys(opened.cohort.split(split)[:limit].tolist(), by_stay)
        opened.check(by_stay, "--questions")
        with output_folder(Path(out), ANSWERS, overwrite=overwrite) as folder:
            path = folder / FILES[ANSWERS.name]
            path.touch(PRIVATE_FILE)
            with open(path, "w", encoding="utf-8") as file:
                for done, stay in enumerate(opened.stays(sorted(by_stay)), 1):
                    stay_id = stay.dialogue.chart.stay_id
                    turns = [(question, stay.ask(question)) for question in by_stay[stay_id]]
                    rows = [{"stay_id": stay_id, "question": text, **turn.as_json()} for text, turn in turns]
                    file.write(json_lines(rows))
                    outcomes.update(turn.outcome for _, turn in turns)
                    moved(done)
            manifest = {
                "kind": ANSWERS.name,
                "created_by": f"clinragen {__version__}",
                "cohort_hash": opened.cohort.sha256,
                "graph": opened.graph.manifest.to_json(),
                "predictions": opened.predictions.table_hash if opened.predictions is not None else None,
                "engine": "rules",
                "stays": len(by_stay),
                "outcomes": dict(sorted(outcomes.items())),
                **outputs_of([path]),
            }
            write_json(folder / "manifest.json", manifest)
    return StayAnswers(Path(out) / FILES[ANSWERS.name], len(by_stay), dict(sorted(outcomes.items())))


@dataclass(frozen=True)
class _Opened:
    """A cohort whose stays can be asked about.

    Attributes:
        cohort: of the stays.
        graph: the concepts of notes.
        linker: finds them.
        names: finds names in questions.
        predictions: of the stays, if only the diagnoses that they list are given grounds.
        fewest: the fewest variables of nearly all training stays.
        router: chooses a query where the rules find none.
    """

    cohort: Cohort
    graph: ConceptGraph
    linker: Linker
    names: Names
    predictions: Predictions | None
    fewest: float
    router: Router | None = None

    @classmethod
    def of(
        cls, cohort: CohortLike, predictions: PredictionsLike | None, graph: GraphLike, router: Router | None = None
    ) -> _Opened:
        """Open what a user names."""
        from clinragen.dialogue.names import Names
        from clinragen.dialogue.remarks import fewest_variables
        from clinragen.knowledge.linker import Linker

        whole = open_cohort(cohort)
        concepts = _graph(graph, whole)
        linker = Linker(concepts)
        predicted = None if predictions is None else open_predictions(predictions)
        return cls(whole, concepts, linker, Names(concepts, linker), predicted, fewest_variables(whole), router)

    def check(self, stays: Iterable[int], option: str) -> None:
        """Raise a UserError for a stay that the cohort does not have, which ``option`` named."""
        members = set(self.cohort.stays["stay_id"].to_list())
        if (alien := next((stay for stay in stays if stay not in members), None)) is not None:
            raise UserError(
                f"{self.cohort.paths.root} has no stay {alien}: give {option} an id of its {len(members)} stays, which "
                "are in stays.parquet"
            )

    def stays(self, ids: Sequence[int]) -> Iterator[OpenStay]:
        """Some stays, in ascending order of their ids; only so many are read at a time."""
        import numpy as np

        for start in range(0, len(ids), _BLOCK):
            yield from self._block(np.array(ids[start : start + _BLOCK]))

    def _block(self, ids: np.ndarray) -> Iterator[OpenStay]:
        from clinragen.cohort.sections import sections_by_stay
        from clinragen.dialogue.dialogue import Dialogue
        from clinragen.dialogue.remarks import remarks
        from clinragen.questions.stay_chart import charts

        part = self.cohort.of_stays(ids)
        labels, unlike = self._predicted(ids.tolist())
        notes = sections_by_stay(part.notes, labels=self.cohort.label_set, layout=True, whole=True)
        identifiers = {row[0]: row[1:] for row in part.stays.select("stay_id", "subject_id", "hadm_id").iter_rows()}
        for chart in charts(part, self.graph, linker=self.linker, labels=labels):
            stay = chart.stay_id
            sentences = remarks(chart, notes.get(stay, []), self.cohort.label_set, fewest=self.fewest)
            sentences = dict.fromkeys([*sentences, *unlike.get(stay, [])])
            others = frozenset(map(str, identifiers[stay]))
            yield OpenStay(Dialogue(chart, self.names, self.router, own=others), tuple(sentences))

    def _predicted(self, ids: list[int]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """The diagnoses of each stay that may be given grounds, and why the model of its predictions abstains."""
        if self.predictions is None:
            return {stay_id: list(self.graph.labels) for stay_id in ids}, {}
        part = self.predictions.of_stays(ids)
        order = part.stay_ids.tolist()
        listed = [
            [key for key, on in zip(part.labels, row, strict=True) if on and key in self.graph.labels]
            for row in part.system.listed
        ]
        return dict(zip(order, listed, strict=True)), dict(zip(order, part.abstains or [], strict=False))


def _graph(graph: GraphLike, cohort: Cohort) -> ConceptGraph:
    """The graph of a folder or value, or the curated core, with the labels and variables of the cohort."""
    from clinragen.knowledge.relabel import open_graph

    if graph is None or isinstance(graph, str | Path):
        return open_graph(None if graph is None else Path(graph), cohort.label_set, cohort.added)
    return graph
