"""``clinragen ask``: answer questions about stays from their charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clinragen.choices import EngineReads, QuestionEngine
from clinragen.command_line import answer
from clinragen.errors import UserError
from clinragen.options import AsJson, CohortFolder, GraphFolder, MaybeWholeNumber, Overwrite, Settings, Split, Verify

if TYPE_CHECKING:
    from clinragen.dialogue.dialogue import Turn
    from clinragen.dialogue.llm_reader import Tally

_LEAVING = ("exit", "quit", "q", ":q")


def command(
    *questions: str,
    cohort: CohortFolder,
    stay: Annotated[MaybeWholeNumber, Parameter(name="--stay")] = None,
    from_file: Annotated[Path | None, Parameter(name="--questions")] = None,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    split: Split = "test",
    limit: MaybeWholeNumber = None,
    predictions: Annotated[Path | None, Parameter(name="--predictions")] = None,
    graph: GraphFolder = None,
    engine: QuestionEngine = "rules",
    model: Annotated[Path | None, Parameter(name="--model")] = None,
    reads: EngineReads = "rest",
    config: str | None = None,
    settings: Settings = (),
    journal: Path | None = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> int:
    """Answer questions about stays from their charts.

    Every answer is computed from the chart; a language model reads questions at most. A question may go on from the one
    before ("and the lowest?"). What is outside the chart up to the prediction time is refused: other patients, later
    events, treatment and doses. For research: an answer is no advice. Ends with exit code 1 if a language model has not
    answered.

    Args:
        questions: Questions, each in quotes. Default: a prompt on a terminal, or else the lines of standard input.
        stay: Stay id.
        from_file: File with questions about many stays: an object with stay_id and question in each line, as `clinragen
            teach questions` writes it, or a question in each line, which is asked about every stay of --split.
        out: Folder to write, with each question of --questions and its answer.
        split: The stays, where the lines of --questions name none.
        limit: Only the first of these stays.
        predictions: Folder written by `clinragen predict`: only diagnoses that it lists are given grounds.
        engine: What reads questions beside the rules: student: a run of `clinragen train ask`; openai: a language model
            behind any OpenAI-compatible server; vllm: one in this process.
        model: Run folder of stage ask, for --engine student.
        reads: What the engine reads: the rest, which the rules do not read; or all, in place of the rules.
        config: Config of the language model, a shipped name or a YAML file. Default: the engine's name.
        settings: Override a setting of the config, as in server.model=NAME; may be repeated.
        journal: File of the language model's answers about one stay. Default: they are not kept. With --out they are
            journaled beside the folder.
    """
    from clinragen.api.asking import Asked, open_stay
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    reading: dict[str, Any] = {"engine": engine, "model": model, "reads": reads, "config": config, "set": settings}
    if from_file is not None or out is not None:
        if journal is not None:
            raise UserError("--journal is of one stay: with --out the answers are journaled beside the folder")
        options = {"split": split, "limit": limit, "predictions": predictions, "graph": graph, **reading}
        options |= {"overwrite": overwrite, "verify": verify}
        return _ask_stays(questions, stay, from_file, out, as_json, cohort=cohort, **options)
    if stay is None:
        raise UserError("ask needs --stay, the id of a stay, or --questions and --out for many stays")
    reading |= {"predictions": predictions, "graph": graph, "verify": verify, "journal": journal}
    with open_stay(cohort, stay, **reading) as opened:
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
    return _missing(opened.engine.tally)


def _ask_stays(
    typed: Sequence[str],
    stay: int | None,
    from_file: Path | None,
    out: Path | None,
    as_json: bool,
    *,
    cohort: Path,
    **options: Any,
) -> int:
    """Answer questions about many stays into a folder; the exit code."""
    from clinragen.api.asking import ask_stays

    if from_file is None or out is None:
        raise UserError("--questions and --out go together: a file of questions, and a folder for the answers")
    if typed or stay is not None:
        raise UserError("--questions asks about many stays: leave --stay and further questions out")
    written = ask_stays(cohort, from_file, out, progress=True, **options)
    counts = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in written.outcomes.items())
    lines = (
        f"{sum(written.outcomes.values())} questions about {written.stays} stays: {counts}\nwritten to {written.path}"
    )
    if written.tally is not None:
        lines += "".join(f"\n{line}" for line in written.tally.lines())
    values = {"path": written.path, "stays": written.stays, "outcomes": written.outcomes}
    answer(lines, values, as_json)
    return 1 if written.tally is not None and written.tally.missing else 0


def _missing(tally: Tally | None) -> int:
    """Say what a language model did not answer; the exit code."""
    import sys

    if tally is None or not tally.missing:
        return 0
    print("\n".join(tally.lines()), file=sys.stderr)
    return 1


def _typed() -> Iterator[str]:
    """Questions from a prompt, until an empty line or the end; or the lines of standard input that are not empty."""
    import sys

    from clinragen.waiting import idle

    if not sys.stdin.isatty():
        while True:
            with idle():
                line = sys.stdin.readline()
            if not line:
                return
            if line.strip():
                yield line.strip()
    print("Ask about this stay; an empty line ends it.")
    while True:
        try:
            with idle():
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
    if turn.rules_read:
        print(f"    read by {turn.read_by}; the rules read [{'; '.join(query.text() for query in turn.rules_read)}]")
