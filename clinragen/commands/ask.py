"""``clinragen ask``: answer questions about one stay from its chart, without a language model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, CohortFolder, GraphFolder, Verify, WholeNumber

if TYPE_CHECKING:
    from clinragen.dialogue.dialogue import Turn

_LEAVING = ("exit", "quit", "q", ":q")


def command(
    *questions: str,
    cohort: CohortFolder,
    stay: Annotated[WholeNumber, Parameter(name="--stay")],
    predictions: Annotated[Path | None, Parameter(name="--predictions")] = None,
    graph: GraphFolder = None,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Answer questions about one stay from its chart, without a language model.

    A question may go on from the one before ("and the lowest?"). What is outside the chart up to the prediction time is
    refused: other patients, later events, treatment and doses. For research: an answer is no advice.

    Args:
        questions: Questions, each in quotes. Default: a prompt on a terminal, or else the lines of standard input.
        stay: Stay id.
        predictions: Folder written by `clinragen predict`: only diagnoses that it lists are given grounds.
    """
    from clinragen.api.asking import Asked, open_stay
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    opened = open_stay(cohort, stay, predictions=predictions, graph=graph, verify=verify)
    if not as_json:
        for remark in opened.remarks:
            print(f"This chart is unlike those of training: {remark}.")
    turns: list[Turn] = []
    for question in questions or _typed():
        turns.append(turn := opened.ask(question))
        if not as_json:
            _show(turn)
    if as_json:
        answer("", Asked(stay, tuple(turns), opened.remarks).as_json(), as_json)


def _typed() -> Iterator[str]:
    """Questions from a prompt, until an empty line or the end; or the lines of standard input that are not empty."""
    import sys

    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    print("Ask about this stay; an empty line ends it.")
    while True:
        try:
            question = input("? ").strip()
        except EOFError:
            return
        if not question or question.lower() in _LEAVING:
            return
        yield question


def _show(turn: Turn) -> None:
    """The answer, and beneath it what was understood and searched."""
    print(turn.text)
    for query, one in zip(turn.queries, turn.answers, strict=False):
        print(f"    [{query.text()}] {one.searched}")
