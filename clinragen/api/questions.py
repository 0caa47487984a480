"""Questions about the stays of a cohort from Python, with the answers of their charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.teaching import stays_done
from clinragen.api.values import CohortLike, GraphLike, cohort_folder, graph_folder, open_cohort
from clinragen.choices import SPLITS, Split
from clinragen.errors import UserError, unknown_choice
from clinragen.integrity import thorough

if TYPE_CHECKING:
    import polars as pl

    from clinragen.questions.generate import Question


@dataclass(frozen=True)
class Questions:
    """Questions that were written.

    Attributes:
        path: ``questions.jsonl``, a question in each line.
        questions: how many there are.
        stays: about how many stays.
        kinds: of each kind, how many are ``answered`` and how many are ``not_in_chart``.
    """

    path: Path
    questions: int
    stays: int
    kinds: Mapping[str, Mapping[str, int]]

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
    per_stay: int = 20,
    turns: int = 1,
    seed: int = 0,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> Questions:
    """Write questions about each stay with the answers of its chart; nearly half of them it does not answer.

    Args:
        cohort: whose charts answer; the diagnoses of its training stays are asked about, where it has labels.
        out: a folder to write, with ``questions.jsonl``.
        graph: what notes name, and what it is a sign of; None: the curated core.
        splits: the stays.
        per_stay: questions of each stay, about.
        turns: questions of each dialogue, each of which goes on from the one before; 1: questions by themselves.
        seed: decides all that is drawn.
        overwrite: replace what an earlier run wrote.
        verify: check the hashes of large files, too.
        progress: report progress on standard error.

    Raises:
        UserError: a cohort or graph that cannot be read, an unknown split, or a folder that may not be written.
    """
    from clinragen.artifacts import sha256_file, write_json
    from clinragen.integrity import outputs_of
    from clinragen.knowledge.relabel import open_graph
    from clinragen.outputs import QUESTIONS, check_output, output_folder
    from clinragen.questions.generate import MOST_TURNS, generate
    from clinragen.questions.templates import FOLLOWUPS, TEMPLATES

    if per_stay < 1:
        raise UserError(f"--per-stay {per_stay}: expected 1 or more")
    if not 1 <= turns <= MOST_TURNS:
        raise UserError(f"--turns {turns}: expected 1 to {MOST_TURNS}")
    if alien := [split for split in splits if split not in SPLITS]:
        raise unknown_choice("split", alien[0], SPLITS)
    check_output(Path(out), QUESTIONS, overwrite=overwrite, inputs=[cohort_folder(cohort)])
    with thorough(verify), graph_folder(graph) as folder, stays_done(progress) as (moved, _):
        opened = open_cohort(cohort)
        concepts = open_graph(folder, opened.label_set, opened.added)
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
                "questions": counted.by_kind(),
                **outputs_of([temporary / "questions.jsonl"]),
            }
            write_json(temporary / "manifest.json", manifest)
    return Questions(Path(out) / "questions.jsonl", counted.total, len(counted.stays), counted.by_kind())


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
