"""How often language models read a question into the query that was meant: `benchmarks/questions.py --student RUN`.

Exact match of the query, on distinct questions of test stays, whose wordings no training question has: those of this
project (`test`) and those written without sight of them (`other`). All read the same outlines (``questions.outline``)
and write along the same grammar; so what is compared is the choice of kind and hours. The student is a run of stage
`ask`; a general language model (`--language-model FILE.gguf`) is asked with no example and with four of training
questions. Beside them stand the rules of `clinragen ask`, alone and with the student for what they do not read.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from printed_tables import Console
from rich.table import Table

from clinragen.cohort.folder import Cohort
from clinragen.dialogue.dialogue import Dialogue, Router
from clinragen.dialogue.names import Names
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.relabel import open_graph
from clinragen.model.config import LanguageModelConfig
from clinragen.model.language_model import LanguageModel, create
from clinragen.model.query_reader import QuestionReader, read_queries
from clinragen.questions.outline import Outliner
from clinragen.questions.query import FORMS, Query
from clinragen.questions.stay_chart import charts

Row = dict[str, Any]
Reading = Callable[[Sequence[Row]], list[Query | None]]
#: Questions that a general language model is asked: it reads long prompts.
ASKED_OF_GENERAL = 40
_SHOTS = 4
_KINDS = "; ".join(f"{kind} {'|'.join(form.which)}".strip() for kind, form in FORMS.items())
_INSTRUCTION = (
    "Translate a question about a patient into one line of a query language. X stands for what is asked about, A, B, "
    f"C, D for hours. Kinds of query: {_KINDS}. Then X, then the hours: A-B, 0-A, A- (from A on), last:A, day:A, or "
    "nothing.\n"
)


def compare(
    student: Path | None, models: Sequence[Path], rows: Sequence[Row], cohort: Cohort, console: Console
) -> None:
    """Print exact matches of the readers.

    Args:
        student: run of stage ``ask``; None: the rules alone.
        models: GGUF files of general language models.
        rows: questions of all splits.
        cohort: what they are about.
        console: where to print.
    """
    distinct = {row["question"]: row for row in rows if row["split"] == "test"}
    tested = list(distinct.values())
    table = Table("reader", "questions", "exact", "test", "other", "right kind", "questions/s", box=None)

    rules = _rules(cohort, tested)
    if student is None:
        started = time.process_time()
        queries = rules(None)(tested)
        seconds = time.process_time() - started
        table.add_row("rules", str(len(tested)), *shares(tested, queries), f"{len(tested) / seconds:.1f}")
        console.print(table)
        console.print("exact matches by kind: " + ", ".join(_by_kind(tested, queries)))
        return
    reader = QuestionReader.load(student, open_graph(None, cohort.label_set, cohort.added))

    def read_by_student(some: Sequence[Row]) -> list[Query | None]:
        return reader.read([row["question"] for row in some])

    reads: list[tuple[str, list[Row], Reading]] = [
        ("student", tested, read_by_student),
        ("rules", tested, rules(None)),
        ("rules, then the student", tested, rules(reader)),
    ]
    few = [tested[i] for i in np.random.default_rng(0).permutation(len(tested))[:ASKED_OF_GENERAL]]
    for model in models:
        general = _general(model)
        for shots in (0, _SHOTS):
            framed = prompt(rows, reader.outliner, shots)
            reads.append((f"{model.stem}, {shots} examples", few, _reading(general, reader.outliner, framed)))
    if models:
        reads.append(("student, the same questions", few, read_by_student))
    by_kind: list[str] = []
    readings: dict[str, list[Query | None]] = {}
    for name, some, read in reads:
        started = time.process_time()
        queries = readings[name] = read(some)
        seconds = time.process_time() - started
        table.add_row(name, str(len(some)), *shares(some, queries), f"{len(some) / seconds:.1f}")
        by_kind = by_kind or _by_kind(some, queries)
    console.print(table)
    console.print("the student's exact matches by kind: " + ", ".join(by_kind))
    console.print(agreement(tested, readings["student"], readings["rules"]))


def shares(rows: Sequence[Row], queries: Sequence[Query | None]) -> list[str]:
    """Shares of exact matches: all, by part, and of the kind alone; an empty part is a dash."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for row, query in zip(rows, queries, strict=True):
        exact = query is not None and query.text() == row["query"]
        hits["all"].append(exact)
        hits[row["template"].split("/")[-2]].append(exact)
        hits["kind"].append(query is not None and query.head == Query.parse(row["query"]).head)
    return [f"{np.mean(hits[part]):.3f}" if hits[part] else "-" for part in ("all", "test", "other", "kind")]


def agreement(rows: Sequence[Row], student: Sequence[Query | None], rules: Sequence[Query | None]) -> str:
    """How many questions two readers read alike, and how many of these as they were meant; and of the others."""
    alike = [one is not None and one == other for one, other in zip(student, rules, strict=True)]
    hits = [one is not None and one.text() == row["query"] for one, row in zip(student, rows, strict=True)]
    same, apart = ([hit for hit, agree in zip(hits, alike, strict=True) if agree == which] for which in (True, False))
    told = [f"{np.mean(some):.3f} of {len(some)}" if some else "none" for some in (same, apart)]
    return f"exact where student and rules agree: {told[0]}; the student's elsewhere: {told[1]}"


def prompt(rows: Sequence[Row], outliner: Outliner, shots: int) -> Callable[[str], str]:
    """What is read for an outline: the instruction, and examples of training questions of as many kinds."""
    examples: dict[str, str] = {}
    train = [row for row in rows if row["split"] == "train"]
    for number in np.random.default_rng(1).permutation(len(train)):
        row = train[int(number)]
        outline = outliner.of(row["question"])
        words = next(outline.outlines(Query.parse(row["query"])), None)
        if words and len(examples) < shots:
            examples.setdefault(row["kind"], f"Question: {outline.text}\nQuery: {' '.join(words)}\n")
    shown = _INSTRUCTION + "".join(examples.values())
    return lambda text: f"{shown}Question: {text}"


def _rules(cohort: Cohort, rows: Sequence[Row]) -> Callable[[Router | None], Reading]:
    """The rules of dialogues, which are asked each question afresh about its own stay."""
    graph = open_graph(None, cohort.label_set, cohort.added)
    linker = Linker(graph)
    names = Names(graph, linker)
    some = cohort.of_stays(np.unique([row["stay_id"] for row in rows]))
    by_stay = {chart.stay_id: chart for chart in charts(some, graph, linker=linker)}

    def reading(router: Router | None) -> Reading:
        def read(rows: Sequence[Row]) -> list[Query | None]:
            turns = [Dialogue(by_stay[row["stay_id"]], names, router).ask(row["question"]) for row in rows]
            return [turn.queries[0] if len(turn.queries) == 1 else None for turn in turns]

        return read

    return reading


def _general(model: Path) -> LanguageModel:
    """A language model that is asked for a query where others are asked for an assessment."""
    settings = LanguageModelConfig(architecture="causal", name=str(model.parent), gguf_file=model.name)
    general = create(settings, None).eval()
    ids = general.tokenizer("\nQuery:", add_special_tokens=False)["input_ids"]
    general.close_ids = torch.tensor(ids, dtype=torch.long)
    return general


def _reading(
    general: LanguageModel, outliner: Outliner, framed: Callable[[str], str]
) -> Callable[[Sequence[Row]], list[Query | None]]:
    return lambda rows: read_queries(
        general, [outliner.of(row["question"]) for row in rows], batch_size=8, framed=framed
    )


def _by_kind(rows: Sequence[Row], queries: Sequence[Query | None]) -> list[str]:
    kinds: dict[str, list[bool]] = defaultdict(list)
    for row, query in zip(rows, queries, strict=True):
        kinds[row["kind"]].append(query is not None and query.text() == row["query"])
    return [f"{kind} {np.mean(hits):.2f}" for kind, hits in sorted(kinds.items())]
