"""Questions about the stays of a cohort with the chart's answers, as minimal pairs.

Each question is asked of a stay whose chart answers it and, in the same words, of one whose chart does not: there the
variable was not measured in those hours, the note does not name the concept, the diagnosis is not listed. So nothing in
the wording of a question tells whether it can be answered. Questions that every chart answers (how often a pulse was
measured) are few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from clinragen.catalog import Variable, variables
from clinragen.choices import SPLITS, Split
from clinragen.cohort.folder import Cohort
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.questions.answer import Answer, answer
from clinragen.questions.query import HEADS, Query, Window
from clinragen.questions.stay_chart import StayChart, charts
from clinragen.questions.templates import Names, Part, Templates

#: Stays that are read at a time; both stays of a pair are of one block.
BLOCK = 512
#: Share of questions without a partner, at most: all that a classifier of questions could tell apart.
UNPAIRED = 0.08
#: Stays that are tried as a partner.
_TRIES = 60
#: Questions that are drawn for each one that is written, at most.
_PATIENCE = 6
#: Lengths of windows in hours; short ones often hold no value of what is measured every hour.
_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 24)
_DAY = 24
#: Concepts that a note may be asked about; an age or a place of treatment is none.
_ASKED = ("phenotype", "disease", "finding", "symptom", "drug", "procedure")
#: Notes and diagnoses are one head each, series have many.
_WEIGHTS = {"note": 5, "why": 2}


@dataclass(frozen=True)
class Question:
    """A question about one stay, with its answer.

    Attributes:
        stay_id: the stay.
        split: of the stay.
        text: the question in words.
        template: the wording that it was drawn from.
        query: what it means.
        answer: of the chart.
    """

    stay_id: int
    split: str
    text: str
    template: str
    query: Query
    answer: Answer = field(hash=False)

    def as_json(self) -> dict[str, object]:
        """The question as an object of JSON."""
        return {
            "stay_id": self.stay_id,
            "split": self.split,
            "kind": self.query.kind,
            "question": self.text,
            "template": self.template,
            "query": self.query.text(),
            "status": self.answer.status,
            "answer": self.answer.text,
            "value": self.answer.value,
            "evidence": list(self.answer.evidence),
        }


def part_of(split: str) -> Part:
    """Whose words stays of a split are asked in: validation stays are asked in the words of training stays."""
    return "test" if split == "test" else "train"


def generate(
    cohort: Cohort,
    graph: ConceptGraph,
    *,
    splits: Sequence[Split] = SPLITS,
    per_stay: int = 20,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Question]:
    """Questions about the stays of some splits, split by split and by stay id.

    Args:
        cohort: whose charts answer; the diagnoses of its training stays are asked about, where it has any.
        graph: of its labels.
        splits: the stays.
        per_stay: questions of each stay, about; some have fewer where no partner can be found.
        seed: decides all that is drawn; the same cohort, graph and seed give the same questions.
        progress: called with the number of stays so far.
    """
    linker, names = Linker(graph), Names.of(graph)
    done = 0
    for split in splits:
        stay_ids = cohort.split(split)
        templates = Templates.shipped(part_of(split))
        for number, ids in enumerate(np.array_split(stay_ids, math.ceil(len(stay_ids) / BLOCK) or 1)):
            some = cohort.of_stays(ids)
            block = list(charts(some, graph, linker=linker, labels=_labels(some, split)))
            drawn = _Block(block, split, templates, names, Random(f"{seed}:{split}:{number}"))
            yield from drawn.questions(per_stay)
            done += len(block)
            progress(done)


def _labels(cohort: Cohort, split: str) -> dict[int, list[str]]:
    """The diagnoses of training stays; those of other stays are what a model is to find."""
    if split != "train" or not cohort.labelled:
        return {}
    labels = cohort.labels
    keys = labels.columns[1:]
    return {
        stay_id: [key for key, present in zip(keys, row, strict=True) if present]
        for stay_id, *row in labels.iter_rows()
    }


class _Block:
    """Draws questions about some stays.

    Args:
        charts: of the stays.
        split: of the stays.
        templates: the words.
        names: what things are called.
        draw: decides.
    """

    def __init__(
        self, charts: Sequence[StayChart], split: str, templates: Templates, names: Names, draw: Random
    ) -> None:
        self._charts, self._split, self._templates, self._names, self._draw = charts, split, templates, names, draw
        self._left: list[int] = []  # questions that each stay may still be asked
        self._written: dict[tuple[int, str], Question] = {}  # no stay is asked the same twice
        self._pairs = self._single = 0
        heads = [head for head in HEADS if head != "why" or any(chart.labels for chart in charts)]
        self._heads = [head for head in heads for _ in range(_WEIGHTS.get(head, 1))]

    def questions(self, per_stay: int) -> list[Question]:
        """Questions of each stay, by stay id."""
        self._left = [per_stay] * len(self._charts)
        for _ in range(per_stay * _PATIENCE):
            for position in range(len(self._charts)):
                if self._left[position] > 0:
                    self._draw_one(position)
            if not any(self._left):
                break
        return sorted(self._written.values(), key=lambda one: (one.stay_id, one.template, one.text))

    def _draw_one(self, position: int) -> None:
        """Ask a stay and, in the same words, a partner; nothing is asked where that cannot be done."""
        chart = self._charts[position]
        query = draw_query(self._draw.choice(self._heads), chart, self._draw)
        if query is None:
            return
        reply = answer(query, chart)
        partner = self._partner(query, position, reply.status)
        if partner is None and not self._may_be_single(reply):
            return
        worded = self._templates.word(query, self._names, self._draw)
        replies = [(position, reply), *([partner] if partner else [])]
        if any((self._charts[at].stay_id, worded.text) in self._written for at, _ in replies):
            return
        for at, one in replies:
            stay_id = self._charts[at].stay_id
            question = Question(stay_id, self._split, worded.text, worded.template, query, one)
            self._written[stay_id, worded.text] = question
            self._left[at] -= 1
        self._pairs += bool(partner)
        self._single += not partner

    def _partner(self, query: Query, position: int, status: str) -> tuple[int, Answer] | None:
        """A stay of the other status, if one is met among a few."""
        for _ in range(_TRIES):
            other = self._draw.randrange(len(self._charts))
            if other != position and self._left[other] > 0:
                reply = answer(query, self._charts[other])
                if reply.status != status:
                    return other, reply
        return None

    def _may_be_single(self, reply: Answer) -> bool:
        """Whether one more question without a partner is within their share."""
        total = 2 * self._pairs + self._single + 1
        return reply.status == "answered" and self._single + 1 <= UNPAIRED * total


def draw_query(head: str, chart: StayChart, draw: Random) -> Query | None:
    """A query of a kind about what the chart of a stay holds; None if it holds nothing of it.

    Args:
        head: one of ``HEADS``.
        chart: of the stay.
        draw: decides.
    """
    kind, _, which = head.partition(" ")
    if kind == "note":
        concepts = sorted({one.mention.concept for one in chart.mentions if _can_be_asked(one.mention.concept)})
        return Query("note", draw.choice(concepts)) if concepts else None
    if kind == "why":
        return Query("why", draw.choice(sorted(chart.labels))) if chart.labels else None
    keys = sorted(key for key in chart.series if _fits(variables()[key], head))
    if not keys:
        return None
    subject, end = draw.choice(keys), chart.end
    if kind == "compare":
        return _comparison(subject, end, draw)
    hour = float(draw.randrange(max(1, int(end)))) if which == "at" else None
    window = Window() if hour is not None else draw_window(end, draw)
    return Query.parse(f"{head} {'' if hour is None else hour} {subject} {window}")


def draw_window(end: float, draw: Random) -> Window:
    """A window of some hours up to the prediction time, or the whole stay.

    Args:
        end: prediction time in hours from intime.
        draw: decides.
    """
    form = draw.choice(("whole", "first", "between", "between", "between", "after", "last", "day"))
    last = max(2, int(end))
    width = draw.choice([width for width in _WIDTHS if width < last])
    if form == "first":
        return Window(0, width)
    if form == "between":
        start = draw.randrange(last - width + 1)
        return Window(start, start + width)
    if form == "after":
        return Window(last - width)
    if form == "last":
        return Window(-width)
    if form == "day" and end > _DAY:
        start = _DAY * draw.randrange(min(7, int(end // _DAY)))
        return Window(start, start + _DAY)
    return Window()


def _comparison(subject: str, end: float, draw: Random) -> Query:
    """Two stretches of equal length, one after the other or apart."""
    last = max(2, int(end))
    width = draw.choice([width for width in _WIDTHS if 2 * width <= last])
    first = draw.randrange(last - 2 * width + 1)
    second = draw.choice((first + width, last - width))
    windows = [Window(first, first + width), Window(second, second + width)]
    draw.shuffle(windows)
    return Query("compare", subject, window=windows[0], other=windows[1])


def _can_be_asked(concept: str) -> bool:
    kind, _, named = concept.partition(":")
    return kind in _ASKED and not named.endswith((":rising", ":falling"))


def _fits(spec: Variable, head: str) -> bool:
    """Whether a question of this kind about a variable makes sense; of one that is there or not, few do."""
    if spec.unit == "flag":
        return head in ("value first", "value last", "count", "time first", "time last")
    if head.endswith("above"):
        return spec.high is not None and spec.high < spec.plausible[1]
    if head.endswith("below"):
        return spec.low is not None and spec.low > spec.plausible[0]
    return True
