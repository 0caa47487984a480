"""Questions about one stay from Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clinragen.api.asking_engine import EngineChoice, OpenEngine
from clinragen.api.values import (
    CohortLike,
    GraphLike,
    PredictionsLike,
    SettingsLike,
    cohort_folder,
    open_cohort,
    open_predictions,
    predictions_folder,
)
from clinragen.choices import EngineReads, QuestionEngine, Split
from clinragen.errors import UserError
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import numpy as np

    from clinragen.cohort.folder import Cohort
    from clinragen.dialogue.dialogue import Dialogue, Router, Turn
    from clinragen.dialogue.llm_reader import Tally
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
        tally: what a language model's answers came to, where one was asked.
    """

    path: Path
    stays: int
    outcomes: Mapping[str, int]
    tally: Tally | None = None


@dataclass
class OpenStay:
    """A stay that can be asked about, several questions in a row.

    Where a language model reads questions, it is to be closed, or used in a ``with`` statement.

    Attributes:
        dialogue: what answers.
        remarks: in what the chart is unlike those of training.
        engine: what reads questions beside the rules.
    """

    dialogue: Dialogue
    remarks: tuple[str, ...]
    engine: OpenEngine
    _closing: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to a language model."""
        self._closing.close()

    def ask(self, question: str) -> Turn:
        """Answer a question; it may go on from the one before."""
        return self.dialogue.ask(question)


def open_stay(
    cohort: CohortLike,
    stay: int,
    *,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    engine: QuestionEngine = "rules",
    model: str | Path | None = None,
    reads: EngineReads = "rest",
    config: str | Path | None = None,
    set: SettingsLike = (),
    journal: str | Path | None = None,
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
        engine: rules; student: a run of stage ``ask`` reads questions, too; openai, vllm: a language model does.
        model: run folder of the student.
        reads: what the engine reads: the rest, which the rules do not read, or all.
        config: settings of the language model, a shipped name or a YAML file; the engine's name by default.
        set: settings of the config to override, as ``{"server.model": "llama"}``.
        journal: file of the language model's answers, which are not asked for again; None: they are not kept.
        router: any function that chooses a query, in place of an engine.
        verify: check the hashes of large files, too.

    Raises:
        UserError: the cohort or the predictions have no such stay, or a file is damaged.
    """
    choice = EngineChoice(engine, model, reads, config, set)
    with thorough(verify), ExitStack() as stack:
        opened = _Opened.of(cohort, predictions, graph)
        opened.check([stay], "--stay")
        reading = OpenEngine("router", router, choice.reads == "all") if router is not None else None
        if reading is None:
            kept_in = None if journal is None else Path(journal)
            reading = stack.enter_context(choice.open(opened.graph, opened.names, opened.linker, kept_in))
        one = next(iter(opened.stays([stay], reading)))
        one._closing = stack.pop_all()
        return one


def ask(
    cohort: CohortLike,
    stay: int,
    questions: Sequence[str],
    *,
    predictions: PredictionsLike | None = None,
    graph: GraphLike = None,
    verify: bool = False,
    **engine: Any,
) -> Asked:
    """Answer questions about one stay from its chart.

    Args:
        cohort: a cohort.
        stay: id of the stay.
        questions: in order; each may go on from the one before.
        predictions: predictions for the stay; see :func:`open_stay`.
        graph: the concepts of notes; None: the curated core.
        verify: check the hashes of large files, too.
        engine: what reads the questions beside the rules: ``engine``, ``model``, ``reads``, ``config``, ``set`` and
            ``journal`` of :func:`open_stay`.

    Raises:
        UserError: the cohort or the predictions have no such stay, or a file is damaged.
    """
    with open_stay(cohort, stay, predictions=predictions, graph=graph, verify=verify, **engine) as opened:
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
    engine: QuestionEngine = "rules",
    model: str | Path | None = None,
    reads: EngineReads = "rest",
    config: str | Path | None = None,
    set: SettingsLike = (),
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> StayAnswers:
    """Answer questions about many stays, each from its chart, and write them with their answers to a folder.

    Args:
        cohort: a cohort.
        questions: those of each stay, in order, each of which may go on from the one before; or a file: an object with
            ``stay_id`` and ``question`` in each line, or a question in each line, which is asked about every stay. The
            lines of a stay with the same number as ``dialogue`` are one dialogue, as are those without one.
        out: a folder to write, with ``answers.jsonl``: a line for each question, by stay id and then in order.
        split: the stays, where the file names none.
        limit: only so many of these, the first by id.
        predictions: predictions for the stays; see :func:`open_stay`.
        graph: the concepts of notes; None: the curated core.
        engine: what reads the questions beside the rules: rules, student, openai or vllm; see :func:`open_stay`. The
            answers of a language model are journaled beside the folder.
        model: run folder of the student.
        reads: what the engine reads: the rest, which the rules do not read, or all.
        config: settings of the language model, a shipped name or a YAML file; the engine's name by default.
        set: settings of the config to override, as ``{"server.model": "llama"}``.
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
    from clinragen.schema import JOURNAL

    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: expected 1 or more")
    inputs = [cohort_folder(cohort), None if predictions is None else predictions_folder(predictions)]
    inputs += [Path(questions)] if isinstance(questions, str | Path) else []
    check_output(Path(out), ANSWERS, overwrite=overwrite, inputs=inputs)
    dialogues = read_asked(questions) if isinstance(questions, str | Path) else _one_dialogue(questions)
    outcomes: Counter[str] = Counter()
    choice = EngineChoice(engine, model, reads, config, set)
    target = Path(out).absolute()
    journal = target.with_name(f"{target.name}{JOURNAL}")
    with thorough(verify), stays_done(progress) as (moved, say), ExitStack() as stack:
        opened = _Opened.of(cohort, predictions, graph)
        if isinstance(dialogues, list):
            dialogues = _one_dialogue(dict.fromkeys(opened.cohort.split(split)[:limit].tolist(), dialogues))
        opened.check(dialogues, "--questions")
        reading = stack.enter_context(choice.open(opened.graph, opened.names, opened.linker, journal, say))

        def answered(stay: OpenStay) -> list[dict[str, object]]:
            stay_id, rows = stay.dialogue.chart.stay_id, []
            for number, questions in dialogues[stay_id].items():
                stay.dialogue.begin()
                which = {"dialogue": number} if number else {}
                rows += [
                    {"stay_id": stay_id, **which, "question": question, **stay.ask(question).as_json()}
                    for question in questions
                ]
            return rows

        with output_folder(Path(out), ANSWERS, overwrite=overwrite) as folder:
            path = folder / FILES[ANSWERS.name]
            path.touch(PRIVATE_FILE)
            with open(path, "w", encoding="utf-8") as file:
                for done, rows in enumerate(opened.each(sorted(dialogues), reading, answered), 1):
                    file.write(json_lines(rows))
                    outcomes.update(str(row["outcome"]) for row in rows)
                    moved(done)
            manifest = {
                "kind": ANSWERS.name,
                "created_by": f"clinragen {__version__}",
                "cohort_hash": opened.cohort.sha256,
                "graph": opened.graph.manifest.to_json(),
                "predictions": opened.predictions.table_hash if opened.predictions is not None else None,
                **reading.record(),
                "stays": len(dialogues),
                "outcomes": dict(sorted(outcomes.items())),
                **outputs_of([path]),
            }
            write_json(folder / "manifest.json", manifest)
    return StayAnswers(Path(out) / FILES[ANSWERS.name], len(dialogues), dict(sorted(outcomes.items())), reading.tally)


def _one_dialogue(questions: Mapping[int, Sequence[str]]) -> dict[int, dict[int, list[str]]]:
    """The questions of each stay as one dialogue without a number."""
    return {stay_id: {0: list(some)} for stay_id, some in questions.items()}


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
    """

    cohort: Cohort
    graph: ConceptGraph
    linker: Linker
    names: Names
    predictions: Predictions | None
    fewest: float

    @classmethod
    def of(cls, cohort: CohortLike, predictions: PredictionsLike | None, graph: GraphLike) -> _Opened:
        """Open what a user names."""
        from clinragen.dialogue.names import Names
        from clinragen.dialogue.remarks import fewest_variables
        from clinragen.knowledge.linker import Linker

        whole = open_cohort(cohort)
        concepts = _graph(graph, whole)
        linker = Linker(concepts)
        predicted = None if predictions is None else open_predictions(predictions)
        return cls(whole, concepts, linker, Names(concepts, linker), predicted, fewest_variables(whole))

    def check(self, stays: Iterable[int], option: str) -> None:
        """Raise a UserError for a stay that the cohort does not have, which ``option`` named."""
        members = set(self.cohort.stays["stay_id"].to_list())
        if (alien := next((stay for stay in stays if stay not in members), None)) is not None:
            raise UserError(
                f"{self.cohort.paths.root} has no stay {alien}: give {option} an id of its {len(members)} stays, which "
                "are in stays.parquet"
            )

    def each[T](self, ids: Sequence[int], engine: OpenEngine, work: Callable[[OpenStay], T]) -> Iterator[T]:
        """What some work on each stay gives, in ascending order of the ids; only so many stays are read at a time."""
        if engine.workers < 2:
            yield from map(work, self.stays(ids, engine))
            return
        with ThreadPoolExecutor(engine.workers, thread_name_prefix="dialogue") as pool:
            for start in range(0, len(ids), _BLOCK):
                yield from pool.map(work, self.stays(ids[start : start + _BLOCK], engine))

    def stays(self, ids: Sequence[int], engine: OpenEngine) -> Iterator[OpenStay]:
        """Some stays, in ascending order of their ids."""
        import numpy as np

        for start in range(0, len(ids), _BLOCK):
            yield from self._block(np.array(ids[start : start + _BLOCK]), engine)

    def _block(self, ids: np.ndarray, engine: OpenEngine) -> Iterator[OpenStay]:
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
            dialogue = Dialogue(chart, self.names, engine.router, engine.name, others, engine.always)
            yield OpenStay(dialogue, tuple(sentences), engine)

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
