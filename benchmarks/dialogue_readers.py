"""How often each turn of a dialogue is read into the query that was meant: `benchmarks/questions.py --turns N`.

Exact match of the query, on dialogues about test stays, whose wordings no training question has, by turn. A dialogue is
played as it would be asked: what a turn leaves out is taken from what the reader itself made of the turn before, so
that a query that was misread may mislead those after it. Beside it stands the share where the query before is given as
it was meant. A question of two queries counts as misread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from clinragen.cohort.folder import Cohort
from clinragen.dialogue.dialogue import Dialogue, Router
from clinragen.dialogue.names import Names
from clinragen.knowledge.linker import Linker
from clinragen.knowledge.relabel import open_graph
from clinragen.questions.query import Query
from clinragen.questions.stay_chart import StayChart, charts

Row = dict[str, Any]


def compare_turns(rows: Sequence[Row], cohort: Cohort, console: Console) -> None:
    """Print exact matches of the readers by turn.

    Args:
        rows: dialogues of all splits.
        cohort: what they are about.
        console: where to print.
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
    for name, router in (("rules", None),):
        for given in (False, True):
            hits = [play(turns, by_stay[turns[0]["stay_id"]], names, router, given=given) for turns in tested]
            shares = np.mean(hits, axis=0)
            before = "as meant" if given else "as read"
            table.add_row(name, before, *(f"{share:.3f}" for share in shares), f"{np.mean(hits):.3f}")
    console.print(table)


def dialogues(rows: Sequence[Row]) -> list[list[Row]]:
    """The turns of each dialogue; one that is asked of both stays of a pair counts once."""
    by_number: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        by_number[row["stay_id"], row["dialogue"]].append(row)
    return list({tuple(row["question"] for row in turns): turns for turns in by_number.values()}.values())


def play(turns: Sequence[Row], chart: StayChart, names: Names, router: Router | None, *, given: bool) -> list[bool]:
    """Whether each turn of a dialogue is read as meant.

    Args:
        turns: the questions with their queries.
        chart: of the stay.
        names: finds names in questions.
        router: reads every question in the field in place of the rules; None: the rules do.
        given: whether each turn goes on from the query that was meant before, or from that which was read.
    """
    dialogue = Dialogue(chart, names, router, always=True)
    hits: list[bool] = []
    for turn in turns:
        meant = Query.parse(turn["query"])
        hits.append(dialogue.ask(turn["question"]).queries == (meant,))
        if given:
            dialogue.last = meant
    return hits
