"""How often each turn of a dialogue is read as it is meant: `benchmarks/questions.py --turns N [--student RUN]`.

Exact match of the query, on dialogues about test stays, whose wordings no training question has, by turn. A dialogue is
played as it would be asked: what a turn leaves out is taken from what the reader itself made of the turn before, so
that a query that was misread may mislead those after it. Beside it stands the share where the query before is given as
it was meant. A question of two queries counts as misread. The readers are the rules of `clinragen ask`; with a run of
stage `ask` the student in their place, for what they do not read, and by itself, of every question, whatever the rules
refuse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from printed_tables import Console
from rich.table import Table

from clinragen.cohort.folder import Cohort
from clinragen.dialogue.dialogue import Dialogue, Router
from clinragen.dialogue.names import Names
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.relabel import open_graph
from clinragen.model.query_reader import QuestionReader
from clinragen.questions.query import Query
from clinragen.questions.stay_chart import StayChart, charts

Row = dict[str, Any]
#: Whether each turn of a dialogue about a chart is read as meant.
Play = Callable[..., list[bool]]


def compare_turns(rows: Sequence[Row], cohort: Cohort, console: Console, student: Path | None = None) -> None:
    """Print exact matches of the readers by turn.

    Args:
        rows: dialogues of all splits.
        cohort: what they are about.
        console: where to print.
        student: run of stage ``ask``.
    """
    graph = open_graph(None, cohort.label_set, cohort.added)
    linker = Linker(graph)
    names = Names(graph, linker)
    tested = dialogues([row for row in rows if row["split"] == "test"])
    stays = np.unique([turns[0]["stay_id"] for turns in tested])
    by_stay = {chart.stay_id: chart for chart in charts(cohort.of_stays(stays), graph, linker=linker)}
    most = max(len(turns) for turns in tested)
    columns = ("reader", "query before", *(f"turn {turn}" for turn in range(1, most + 1)), "all")
    table = Table(*columns, box=None, title=f"{len(tested)} dialogues about test stays: queries exactly as meant")
    readers: list[tuple[str, Play]] = [("rules", partial(play, names=names))]
    reader = None
    if student is not None:
        reader = QuestionReader.load(student, graph, linker)
        readers += [
            ("student in the place of the rules", partial(play, names=names, router=reader)),
            ("rules, then the student", partial(play, names=names, router=reader, always=False)),
            ("student alone", partial(play_alone, reader=reader)),
        ]
    for name, played in readers:
        for given in (False, True):
            hits = [played(turns, by_stay[turns[0]["stay_id"]], given=given) for turns in tested]
            before = "as meant" if given else "as read"
            table.add_row(name, before, *(f"{share:.3f}" for share in np.mean(hits, axis=0)), f"{np.mean(hits):.3f}")
    console.print(table)
    for name, played in readers[:: len(readers) - 1 or 1]:
        console.print(f"{name}, by what changes: {by_change(tested, by_stay, played)}")


def dialogues(rows: Sequence[Row]) -> list[list[Row]]:
    """The turns of each dialogue; one that is asked of both stays of a pair counts once."""
    by_number: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        by_number[row["stay_id"], row["dialogue"]].append(row)
    return list({tuple(row["question"] for row in turns): turns for turns in by_number.values()}.values())


def by_change(tested: Sequence[Sequence[Row]], by_stay: Mapping[int, StayChart], played: Play) -> str:
    """Exact matches by what a turn changes of the query before, where that is given as it was meant."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for turns in tested:
        for row, hit in zip(turns, played(turns, by_stay[turns[0]["stay_id"]], given=True), strict=True):
            head = row["template"].rsplit("/", 2)[0]
            change = head.removeprefix("follow ") if head.startswith("follow ") else "none"
            hits["kind" if change.startswith("kind ") else change].append(hit)
    return ", ".join(f"{change} {np.mean(some):.2f} of {len(some)}" for change, some in sorted(hits.items()))


def play(
    turns: Sequence[Row],
    chart: StayChart,
    names: Names,
    router: Router | None = None,
    *,
    given: bool,
    always: bool = True,
) -> list[bool]:
    """Whether each turn of a dialogue is read as meant.

    Args:
        turns: the questions with their queries.
        chart: of the stay.
        names: finds names in questions.
        router: reads questions in the field; None: the rules do.
        given: whether each turn goes on from the query that was meant before, or from that which was read.
        always: whether the router reads all of them, in place of the rules, or those that they do not read.
    """
    dialogue = Dialogue(chart, names, router, always=always)
    hits: list[bool] = []
    for turn in turns:
        meant = Query.parse(turn["query"])
        hits.append(dialogue.ask(turn["question"]).queries == (meant,))
        if given:
            dialogue.last = meant
    return hits


def play_alone(turns: Sequence[Row], chart: StayChart, reader: QuestionReader, *, given: bool) -> list[bool]:
    """Whether a student reads each turn as meant, by itself: no question is refused, and no rule is asked.

    Args:
        turns: the questions with their queries.
        chart: not read.
        reader: the student.
        given: whether each turn goes on from the query that was meant before, or from that which was read.
    """
    hits: list[bool] = []
    last: Query | None = None
    for turn in turns:
        meant, query = Query.parse(turn["query"]), reader(turn["question"], last)
        hits.append(query == meant)
        last = meant if given else query or last
    return hits
