"""Questions about the stays of a cohort with the chart's answers, as minimal pairs.

Each question is asked of a stay whose chart answers it and, in the same words, of one whose chart does not: there the
variable was not measured in those hours, the note does not name the concept, the diagnosis is not listed. So nothing in
the wording of a question tells whether it can be answered. Questions that every chart answers (how often a pulse was
measured) are few.

A question may open a dialogue, in which each turn goes on from the one before (``followups``). The two stays of a pair
have the same dialogue, and each of its turns is answered by the chart of one of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import numpy as np

from clinragen.choices import SPLITS, Split
from clinragen.cohort.folder import Cohort
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.questions.answer import Answer, answer
from clinragen.questions.draws import draw_query
from clinragen.questions.followups import follow_up
from clinragen.questions.query import HEADS, Query
from clinragen.questions.stay_chart import StayChart, charts
from clinragen.questions.templates import Names, Part, Templates, Worded

#: Stays that are read at a time; both stays of a pair are of one block.
BLOCK = 512
#: Share of questions without a partner, at most: all that a classifier of questions could tell apart.
UNPAIRED = 0.08
#: Turns of a dialogue.
MOST_TURNS = 20
#: Stays that are tried as a partner, and follow-ups as a turn.
_TRIES = 60
#: Questions that are drawn for each one that is written, at most.
_PATIENCE = 6
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
        dialogue: number of the dialogue among those of the stay, from 1; 0 for a question by itself.
        turn: its place in the dialogue, from 1.
    """

    stay_id: int
    split: str
    text: str
    template: str
    query: Query
    answer: Answer = field(hash=False)
    dialogue: int = 0
    turn: int = 0

    def as_json(self) -> dict[str, object]:
        """The question as an object of JSON."""
        numbers = {"dialogue": self.dialogue, "turn": self.turn} if self.dialogue else {}
        return {
            "stay_id": self.stay_id,
            "split": self.split,
            **numbers,
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
    turns: int = 1,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Question]:
    """Questions about the stays of some splits, split by split and by stay id.

    Args:
        cohort: whose charts answer; the diagnoses of its training stays are asked about, where it has any.
        graph: of its labels.
        splits: the stays.
        per_stay: questions of each stay, about; some have fewer where no partner can be found.
        turns: questions of each dialogue, the first of which stands by itself; 1: no dialogues.
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
            draw = Random(f"{seed}:{split}:{number}")
            given = (block, split, templates, names, draw)
            drawn = _Dialogues(*given, turns=turns) if turns > 1 else _Block(*given)
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
        return self._in_order()

    def _in_order(self) -> list[Question]:
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


class _Turn(NamedTuple):
    """A question of a dialogue in words, what it means, and the answers of the charts that are asked."""

    worded: Worded
    query: Query
    replies: tuple[Answer, ...]


class _Dialogues(_Block):
    """Draws dialogues about some stays, each about two of them.

    Args:
        charts, split, templates, names, draw: as of single questions.
        turns: questions of each dialogue.
    """

    def __init__(self, *given: Any, turns: int) -> None:
        super().__init__(*given)
        self._turns = turns
        self._heads = list(dict.fromkeys(self._heads))  # notes and diagnoses come up in later turns, too
        self._openings: set[tuple[int, str]] = set()  # no stay has two dialogues that begin alike
        self._asked: list[Question] = []
        self._count: Counter[int] = Counter()  # dialogues of each stay

    def _in_order(self) -> list[Question]:
        return sorted(self._asked, key=lambda one: (one.stay_id, one.dialogue, one.turn))

    def _draw_one(self, position: int) -> None:
        """Have a dialogue with a stay and with a partner; none where a turn is found that neither could be asked."""
        query = draw_query(self._draw.choice(self._heads), self._charts[position], self._draw)
        if query is None:
            return
        reply = answer(query, self._charts[position])
        partner = self._partner(query, position, reply.status)
        if partner is None:
            return
        pair = [self._charts[position], self._charts[partner[0]]]
        worded = self._templates.word(query, self._names, self._draw)
        if any((chart.stay_id, worded.text) in self._openings for chart in pair):
            return
        turns = [_Turn(worded, query, (reply, partner[1]))]
        while len(turns) < self._turns:
            if (turn := self._go_on(turns, pair)) is None:
                return
            turns.append(turn)
        self._write(turns, pair)
        for at in (position, partner[0]):
            self._left[at] -= len(turns)

    def _go_on(self, turns: Sequence[_Turn], pair: Sequence[StayChart]) -> _Turn | None:
        """The next turn of a dialogue: new to it, and answered by one chart of the two, but for few."""
        single = self._single + sum(_alone(turn) for turn in turns)
        pairs = self._pairs + len(turns) - sum(_alone(turn) for turn in turns)
        for _ in range(_TRIES):
            following = follow_up(turns[-1].query, pair, self._draw)
            if following is None or any(following.query == turn.query for turn in turns):
                continue
            replies = tuple(answer(following.query, chart) for chart in pair)
            turn = _Turn(_UNWORDED, following.query, replies)
            unanswered = sum(reply.status == "not_in_chart" for reply in replies)
            if unanswered == 1 or (not unanswered and single + 1 <= UNPAIRED * (single + 1 + pairs)):
                words = self._templates
                if following.change:
                    return turn._replace(worded=words.go_on(following.change, turn.query, self._names, self._draw))
                return turn._replace(worded=words.word(turn.query, self._names, self._draw))
        return None

    def _write(self, turns: Sequence[_Turn], pair: Sequence[StayChart]) -> None:
        for number, chart in enumerate(pair):
            self._count[chart.stay_id] += 1
            self._openings.add((chart.stay_id, turns[0].worded.text))
            for position, turn in enumerate(turns, 1):
                text, template = turn.worded
                given = (chart.stay_id, self._split, text, template, turn.query, turn.replies[number])
                self._asked.append(Question(*given, dialogue=self._count[chart.stay_id], turn=position))
        alone = sum(_alone(turn) for turn in turns)
        self._single, self._pairs = self._single + alone, self._pairs + len(turns) - alone


_UNWORDED = Worded("", "")


def _alone(turn: _Turn) -> bool:
    """Whether both charts answer a turn."""
    return all(reply.status == "answered" for reply in turn.replies)
