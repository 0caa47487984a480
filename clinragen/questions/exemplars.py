"""Questions about single stays with their answers, worded by program: examples of the form for a language model."""

from __future__ import annotations

from random import Random

from clinragen.questions.answer import answer
from clinragen.questions.draws import draw_query
from clinragen.questions.generate import Question
from clinragen.questions.query import HEADS
from clinragen.questions.stay_chart import StayChart
from clinragen.questions.templates import Names, Templates

_TRIES = 8


def exemplars(charts: list[StayChart], count: int, templates: Templates, names: Names, draw: Random) -> list[Question]:
    """Questions of different kinds about training stays, in turn. No diagnosis is asked about.

    Args:
        charts: of the stays.
        count: how many questions, at most.
        templates: training wordings.
        names: what things are called.
        draw: decides.
    """
    heads = [head for head in HEADS if head != "why"]
    draw.shuffle(heads)
    written: list[Question] = []
    for number, head in enumerate(heads[: count if charts else 0]):
        chart = charts[number % len(charts)]
        queries = (draw_query(head, chart, draw) for _ in range(_TRIES))
        query = next((query for query in queries if query is not None), None)
        if query is not None:
            worded = templates.word(query, names, draw)
            written.append(Question(chart.stay_id, "train", *worded, query, answer(query, chart)))
    return written
