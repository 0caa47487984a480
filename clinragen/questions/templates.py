"""Wordings of questions, from ``configs/questions/templates.yaml``: a training and a test part that share none.

Those of questions that go on from the one before are in ``followups.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from clinragen.catalog import read_data_file, variables
from clinragen.chart.series_statements import name
from clinragen.config import CONFIG_ROOT
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.query import FORMS, Query, Window, written_hour

Part = Literal["train", "test"]
TEMPLATES: Path = CONFIG_ROOT / "questions" / "templates.yaml"
FOLLOWUPS: Path = CONFIG_ROOT / "questions" / "followups.yaml"

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_PLACE = re.compile(r"{(\w+)}")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
_REQUESTS = ("Give ", "Tell ", "Show ", "Report ")
_DAY = 24
#: How often the hours are named where the whole stay is meant.
_WHOLE_NAMED = 0.3
#: How often the catalogue's own name of a variable is taken, and not a synonym.
_PLAIN_NAME = 0.5


class Worded(NamedTuple):
    """A question in words, and the name of the wording that it was drawn from: head, part and number."""

    text: str
    template: str


@dataclass(frozen=True)
class Names:
    """What variables, concepts and diagnoses are called in questions.

    Attributes:
        variables: names of each variable, its own first.
        concepts: name of each concept.
        labels: name of each diagnosis.
    """

    variables: Mapping[str, tuple[str, ...]]
    concepts: Mapping[str, str]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, graph: ConceptGraph) -> Names:
        """The names of a graph; synonyms that name two variables are left out."""
        called: dict[str, list[str]] = {}
        for key in variables():
            node = f"variable:{key}"
            synonyms = [one.removeprefix("=") for one in graph.nodes[node]["synonyms"]] if node in graph.nodes else []
            for form in dict.fromkeys((name(key), *synonyms)):
                called.setdefault(form, []).append(key)
        names: dict[str, list[str]] = {}
        for form, keys in called.items():
            if len(keys) == 1 or form == name(keys[0]):
                names.setdefault(keys[0], []).append(form)
        return cls(
            {key: tuple(forms) for key, forms in names.items()},
            {node: graph.name(node) for node in graph.nodes},
            {key: label.name for key, label in graph.labels.items()},
        )


@dataclass(frozen=True)
class Templates:
    """Wordings of one part.

    Attributes:
        questions: head of a query -> its wordings, each under a name.
        windows: form of a window -> its wordings.
        followups: what a question changes of the query before it -> its wordings, each under a name.
    """

    questions: Mapping[str, Mapping[str, str]]
    windows: Mapping[str, Sequence[str]]
    followups: Mapping[str, Mapping[str, str]]

    @classmethod
    def shipped(cls, part: Part) -> Templates:
        """The shipped wordings of a part; the test part has those written without sight of them, too."""
        questions = {
            head: {
                f"{head}/{name}/{number}": _spelt_out(wording)
                for name in ((part, "other") if part == "test" else (part,))
                for number, wording in enumerate(entry[name])
            }
            for head, entry in _file()["questions"].items()
        }
        followups = {
            change: {f"follow {change}/{part}/{number}": _spelt_out(one) for number, one in enumerate(entry[part])}
            for change, entry in read_data_file(FOLLOWUPS)["changes"].items()
        }
        return cls(questions, {form: entry[part] for form, entry in _file()["windows"].items()}, followups)

    def word(self, query: Query, names: Names, draw: Random) -> Worded:
        """A query in words; the same state of ``draw`` gives the same words."""
        bounds = _bounds(query)
        wordings = self.questions[query.head].items()
        template, wording = draw.choice([pair for pair in wordings if _fits(pair[1], query, bounds)])
        text = _chosen(wording, draw)
        window = self._window(query.window, draw, named=query.other is not None)
        places = {
            "window": window,
            "other": self._window(query.other, draw, named=True) if query.other else "",
            "hour": "" if query.hour is None else written_hour(query.hour),
            **bounds,
            **self._subject(query, names, draw),
        }
        text = text if window else text.removeprefix("{window}, ")
        return Worded(_tidy(text.format(**places)), template)

    def go_on(self, change: str, query: Query, names: Names, draw: Random) -> Worded:
        """A query in the words of a question that goes on from the one before.

        Args:
            change: what it changes of the query before, one of ``followups``.
            query: what is meant.
            names: what things are called.
            draw: decides.
        """
        template, wording = draw.choice(list(self.followups[change].items()))
        text = _chosen(wording, draw)
        window = query.other or query.window
        places = {
            "window": self._window(window, draw, named=True) if "{window}" in text else "",
            "hour": "" if query.hour is None else written_hour(query.hour),
            "hours": "" if window.end is None else written_hour(window.end - window.start),
            **self._subject(query, names, draw),
        }
        return Worded(_tidy(text.format(**places)), template)

    def _subject(self, query: Query, names: Names, draw: Random) -> dict[str, str]:
        form = FORMS[query.kind].subject
        if form == "concept":
            return {form: names.concepts[query.subject]}
        if form == "label":
            return {form: names.labels[query.subject]}
        plain, *synonyms = names.variables[query.subject]
        return {form: plain if not synonyms or draw.random() < _PLAIN_NAME else draw.choice(synonyms)}

    def _window(self, window: Window, draw: Random, *, named: bool) -> str:
        """A window in words; nothing for the whole stay, mostly, unless it must be named."""
        if window.whole and not named and draw.random() >= _WHOLE_NAMED:
            return ""
        form, places = draw.choice(_forms(window))
        return draw.choice(self.windows[form]).format(**places)


def _chosen(wording: str, draw: Random) -> str:
    """A wording with one of each of its choices."""
    return _CHOICE.sub(lambda match: draw.choice(match[1].split("|")), wording)


def _spelt_out(wording: str) -> str:
    """A wording with a choice in the place of each phrase that it names."""
    phrases = _file()["phrases"]
    return _PLACE.sub(lambda match: f"({'|'.join(phrases[match[1]])})" if match[1] in phrases else match[0], wording)


def _fits(wording: str, query: Query, bounds: Mapping[str, str]) -> bool:
    """Whether a wording has places for the hours of a query, and no place for hours that the query does not have."""
    if "{start}" in wording:
        return "" not in bounds.values()
    return query.window.whole or "{window}" in wording


def _bounds(query: Query) -> dict[str, str]:
    """What fills the places of the bounds of two windows."""
    hours = {"start": query.window.start, "end": query.window.end}
    if query.other is not None:
        hours |= {"start2": query.other.start, "end2": query.other.end}
    return {name: "" if hour is None else written_hour(hour) for name, hour in hours.items()}


def _forms(window: Window) -> list[tuple[str, dict[str, str]]]:
    """The forms in which a window can be worded, each with what fills its places."""
    if window.whole:
        return [("whole", {})]
    if window.start < 0:
        return [("last", {"hours": written_hour(-window.start)})]
    start = written_hour(window.start)
    if window.end is None:
        return [("after", {"start": start})]
    end = written_hour(window.end)
    forms = [("first", {"end": end})] if window.start == 0 else []
    forms.append(("between", {"start": start, "end": end}))
    day = int(window.start // _DAY)
    if window.start == day * _DAY and window.end == window.start + _DAY and day < len(ORDINALS):
        forms.append(("day", {"day": str(day + 1), "ordinal": ORDINALS[day]}))
    return forms


def _tidy(text: str) -> str:
    """One blank between words, none before a mark, a capital where a sentence ends in a mark, no question mark after
    what is no question.

    >>> _tidy("what was the  lactate ?"), _tidy("Give me the lactate in the last 1 hours?")
    ('What was the lactate?', 'Give me the lactate in the last 1 hour.')
    """
    text = re.sub(r"\s+([?.,])", r"\1", " ".join(text.split()))
    text = re.sub(r"\b1 hours\b", "1 hour", text)
    if text.startswith(_REQUESTS) and text.endswith("?"):
        text = f"{text[:-1]}."
    return text[:1].upper() + text[1:] if text.endswith(("?", ".")) else text


def every_wording(wording: str) -> Iterator[str]:
    """All that a wording with choices can become.

    >>> list(every_wording("(Give|Show) the (last|) {variable}"))
    ['Give the last {variable}', 'Give the  {variable}', 'Show the last {variable}', 'Show the  {variable}']
    """
    fixed = _CHOICE.split(wording)
    for choices in product(*(group.split("|") for group in fixed[1::2])):
        yield "".join(part + choice for part, choice in zip(fixed[::2], (*choices, ""), strict=True))


@cache
def _file() -> dict[str, dict[str, Any]]:
    return read_data_file(TEMPLATES)
