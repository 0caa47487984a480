"""Questions about the stays of a cohort from Python, with the answers of their charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from clinragen.api.teaching import stays_done
from clinragen.api.values import CohortLike, GraphLike, SettingsLike, cohort_folder, graph_folder, open_cohort
from clinragen.choices import SPLITS, QuestionTeacher, Split
from clinragen.errors import UserError, unknown_choice
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import polars as pl

    from clinragen.api.question_teacher import QuestioningModel
    from clinragen.dialogue.question_teacher import Tally
    from clinragen.questions.generate import Question


@dataclass(frozen=True)
class Questions:
    """Questions that were written.

    Attributes:
        path: ``questions.jsonl``, a question in each line.
        questions: how many there are.
        stays: about how many stays.
        kinds: of each kind, how many are ``answered`` and how many are ``not_in_chart``.
        tally: what became of the questions that a language model wrote.
    """

    path: Path
    questions: int
    stays: int
    kinds: Mapping[str, Mapping[str, int]]
    tally: Tally | None = None

    def frame(self) -> pl.DataFrame:
        """A polars data frame: stay_id, split, kind, question, template, query, status, answer, value as text; of
        dialogues ``dialogue`` and ``turn``, too."""
        from clinragen.questions.file import read_questions

        return read_questions(self.path)


def teach_questions(
    cohort: CohortLike,
    out: str | Path,
    *,
    graph: GraphLike = None,
    splits: Sequence[Split] = SPLITS,
    per_stay: int | None = None,
    turns: int = 1,
    seed: int = 0,
    teacher: QuestionTeacher = "program",
    config: str | Path | None = None,
    set: SettingsLike = (),
    limit: int | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> Questions:
    """Write questions about each stay with the answers of its chart; of those by program it answers about half.

    Args:
        cohort: whose charts answer; the diagnoses of its training stays are asked about, where it has labels.
        out: a folder to write, with ``questions.jsonl``.
        graph: what notes name, and what it is a sign of; None: the curated core.
        splits: the stays.
        per_stay: questions of each stay, about; 20, or 8 where a language model writes them.
        turns: questions of each dialogue, each of which goes on from the one before; 1: questions by themselves.
        seed: decides all that is drawn.
        teacher: what writes them: a program; openai, a language model behind any OpenAI-compatible server; vllm, one in
            this process. Of what a language model writes only that counts which the chart bears out; its answers are
            journaled beside the folder.
        config: settings of the language model, a shipped name or a YAML file; the teacher's name by default.
        set: settings of the config to override, as ``{"server.model": "llama"}``.
        limit: a language model is asked about the first stays of each split only.
        overwrite: replace what an earlier run wrote.
        verify: check the hashes of large files, too.
        progress: report progress on standard error.

    Raises:
        UserError: a cohort or graph that cannot be read, an unknown split, settings or a server that cannot be used, or
            a folder that may not be written.
    """
    from clinragen.artifacts import sha256_file, write_json
    from clinragen.integrity import outputs_of
    from clinragen.knowledge.relabel import open_graph
    from clinragen.outputs import QUESTIONS, check_output, output_folder
    from clinragen.questions.generate import MOST_TURNS, generate
    from clinragen.questions.templates import FOLLOWUPS, TEMPLATES
    from clinragen.schema import JOURNAL

    model = questioning_model(teacher, config, set, per_stay, limit, turns)
    per_stay = model.per_stay if model is not None else 20 if per_stay is None else per_stay
    if per_stay < 1:
        raise UserError(f"--per-stay {per_stay}: expected 1 or more")
    if not 1 <= turns <= MOST_TURNS:
        raise UserError(f"--turns {turns}: expected 1 to {MOST_TURNS}")
    if alien := [split for split in splits if split not in SPLITS]:
        raise unknown_choice("split", alien[0], SPLITS)
    check_output(Path(out), QUESTIONS, overwrite=overwrite, inputs=[cohort_folder(cohort)])
    with thorough(verify), graph_folder(graph) as folder, stays_done(progress) as (moved, say):
        opened = open_cohort(cohort)
        concepts = open_graph(folder, opened.label_set, opened.added)
        tally, asked_model = None, {}
        if model is not None:
            target = Path(out).absolute()
            journal = target.with_name(f"{target.name}{JOURNAL}")
            drawn, tally, asked_model = model.write(opened, concepts, splits, journal, seed, moved, say)
        else:
            options = {"per_stay": per_stay, "turns": turns, "seed": seed}
            drawn = generate(opened, concepts, splits=splits, **options, progress=moved)
        dialogues = {"turns": turns, "followups": sha256_file(FOLLOWUPS)} if turns > 1 else {}
        with output_folder(Path(out), QUESTIONS, overwrite=overwrite) as temporary:
            counted = _Counted()
            _write(temporary / "questions.jsonl", counted.through(drawn))
            manifest = {
                "kind": QUESTIONS.name,
                "created_by": _version(),
                "cohort_hash": opened.sha256,
                "graph": concepts.manifest.to_json(),
                "templates": sha256_file(TEMPLATES),
                "splits": list(splits),
                "per_stay": per_stay,
                **dialogues,
                "seed": seed,
                **asked_model,
                "questions": counted.by_kind(),
                **outputs_of([temporary / "questions.jsonl"]),
            }
            write_json(temporary / "manifest.json", manifest)
    return Questions(Path(out) / "questions.jsonl", counted.total, len(counted.stays), counted.by_kind(), tally)


def questioning_model(
    teacher: QuestionTeacher,
    config: str | Path | None,
    settings: SettingsLike,
    per_stay: int | None,
    limit: int | None,
    turns: int = 1,
    *,
    dry: bool = False,
) -> QuestioningModel | None:
    """The language model that is to write questions; None where a program does.

    Raises:
        UserError: an unknown teacher, options of another one, or settings or a server that cannot be used.
    """
    from clinragen.api.question_teacher import QuestioningModel

    if teacher not in get_args(QuestionTeacher):
        raise unknown_choice("teacher", teacher, get_args(QuestionTeacher))
    if teacher == "program":
        if config is not None or settings or limit is not None or dry:
            raise UserError("--config, --set, --limit and --dry-run are for --teacher openai and vllm")
        return None
    if turns != 1:
        raise UserError("--turns is for questions by program: a language model writes questions by themselves")
    if per_stay is not None and per_stay < 1:
        raise UserError(f"--per-stay {per_stay}: expected 1 or more")
    return QuestioningModel.of(teacher, config, settings, per_stay, limit, dry=dry)


def question_prompts(
    cohort: CohortLike,
    model: QuestioningModel,
    *,
    graph: GraphLike = None,
    splits: Sequence[Split] = SPLITS,
    seed: int = 0,
    verify: bool = False,
) -> Iterator[str]:
    """The prompts by which a language model would be asked for questions, stay by stay; nothing is sent."""
    from clinragen.knowledge.relabel import open_graph

    with thorough(verify), graph_folder(graph) as folder:
        opened = open_cohort(cohort)
        yield from model.prompts(opened, open_graph(folder, opened.label_set, opened.added), splits, seed)


class _Counted:
    """Counts questions as they pass."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.stays: set[int] = set()

    def through(self, questions: Iterable[Question]) -> Iterator[Question]:
        for question in questions:
            self.counts[question.query.kind, question.answer.status] += 1
            self.stays.add(question.stay_id)
            yield question

    @property
    def total(self) -> int:
        return self.counts.total()

    def by_kind(self) -> dict[str, dict[str, int]]:
        kinds = sorted({kind for kind, _ in self.counts})
        return {kind: {status: self.counts[kind, status] for status in ("answered", "not_in_chart")} for kind in kinds}


def _write(path: Path, questions: Iterable[Question]) -> None:
    """Write a question at a time: there may be millions."""
    import json

    from clinragen.artifacts import PRIVATE_FILE

    path.touch(PRIVATE_FILE)
    with open(path, "w", encoding="utf-8") as file:
        for question in questions:
            file.write(json.dumps(question.as_json(), ensure_ascii=False) + "\n")


def _version() -> str:
    from clinragen import __version__

    return f"clinragen {__version__}"
