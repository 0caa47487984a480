"""Rationales from Python: from the offline teacher, or from a language model on a server or in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from clinragen.api.values import (
    CohortLike,
    GraphLike,
    SettingsLike,
    cohort_folder,
    console,
    graph_folder,
    overrides,
)
from clinragen.choices import Backend
from clinragen.errors import UserError, missing_extra, unknown_choice
from clinragen.integrity import thorough
from clinragen.names import teacher_name

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from clinragen.api.similarity import IndexLike
    from clinragen.teacher.cases import CaseSource
    from clinragen.teacher.files import Files
    from clinragen.teacher.run_summary import RunSummary
    from clinragen.teacher.settings import TeacherSettings

TEACHERS: tuple[Backend, ...] = get_args(Backend)


@dataclass(frozen=True)
class Rationales:
    """A rationale set of a cohort.

    Attributes:
        files: paths of its table, journal, manifest and card.
        summary: counts of a language model's responses; None for the offline teacher.
    """

    files: Files
    summary: RunSummary | None = None

    def frame(self) -> pl.DataFrame:
        """A polars data frame: stay_id, kind (note, series), text, verdicts, teacher, prompt_hash.

        Raises:
            UserError: the table is not written, as some rationales are missing.
        """
        from clinragen.cohort.folder import Cohort

        return Cohort.load(self.files.cohort.root).rationales(self.files.name)

    def to_pandas(self) -> pd.DataFrame:
        """The same in pandas."""
        return self.frame().to_pandas()


def teach(
    cohort: CohortLike,
    *,
    graph: GraphLike = None,
    teacher: Backend = "evidence",
    config: str | Path | None = None,
    set: SettingsLike = (),
    name: str | None = None,
    shard: str = "0/1",
    offline: bool = False,
    index: IndexLike | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> Rationales:
    """Write teacher rationales for every stay of a cohort, from its notes, series and gold diagnoses.

    Args:
        cohort: with labels.
        graph: concept graph; the curated core by default.
        teacher: evidence, composed from the chart; openai, any OpenAI-compatible server; vllm, in this process.
        config: settings of the language model, a shipped name or a YAML file; the teacher's name by default.
        set: settings of the config to override, as ``{"server.model": "llama"}``.
        name: name of the rationale set; the teacher's name by default.
        shard: ``I/N`` takes every N-th stay from the I-th on, from 0.
        offline: write the table from the responses in the journal only.
        index: of the training stays of the cohort, in which the language model's prompts find ``similar_cases``.
        overwrite: replace rationales of the same name.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Raises:
        UserError: settings, cohort, graph, server or journal that cannot be used; a table that is already there.
    """
    if teacher not in TEACHERS:
        raise unknown_choice("teacher", teacher, TEACHERS)
    if teacher == "evidence":
        check_foreign(name, config, set, shard, index=index)
    part = parse_shard(shard)
    files = rationale_files(cohort, name, teacher)
    with graph_folder(graph) as graph_path, thorough(verify), stays_done(progress) as (moved, say):
        if teacher == "evidence":
            from clinragen.teacher.evidence_run import generate

            generate(files.cohort.root, graph_path, teacher, overwrite=overwrite, progress=moved, say=say)
            return Rationales(files)
        settings = teacher_settings(teacher, config, set)
        settings.check()
        try:
            from clinragen.teacher import llm
        except ImportError:
            raise missing_extra("a teacher behind a server", "teacher") from None
        request = llm.TeachingRequest(
            cohort=files.cohort.root,
            graph=graph_path,
            settings=settings,
            name=files.name,
            backend=teacher,
            shard=part,
            offline=offline,
            overwrite=overwrite,
            cases=prompt_cases(index, files, settings, graph_path),
        )
        summary = llm.teach(request, progress=moved, say=say)
    return Rationales(files, summary)


def teacher_settings(teacher: Backend, config: str | Path | None, settings: SettingsLike) -> TeacherSettings:
    """The settings of a language model, with overrides.

    Raises:
        UserError: an unknown config or key, or an invalid value.
    """
    from clinragen import config as configs
    from clinragen.teacher.settings import TeacherSettings

    return configs.load("teacher", str(config or teacher), TeacherSettings, overrides(settings))


def prompt_cases(
    index: IndexLike | None, files: Files, settings: TeacherSettings, graph: Path | None
) -> CaseSource | None:
    """Where prompts find similar training stays; None where they show none.

    Raises:
        UserError: an index without the setting, the setting without one, or an index that cannot be used.
    """
    if bool(settings.similar_cases) != (index is not None):
        raise UserError(
            "similar cases in prompts need both: --index INDEX and --set similar_cases=3, for three of them"
        )
    if index is None:
        return None
    from clinragen.api.similarity import CasesForPrompts

    return CasesForPrompts.of_index(index, files.cohort.root, settings.similar_cases, graph)


def rationale_files(cohort: CohortLike, name: str | None, teacher: Backend) -> Files:
    """The paths of a rationale set, under its name or, without one, its teacher's.

    Raises:
        UserError: an invalid file name, or the offline teacher's name for another teacher.
    """
    from clinragen.schema import CohortPaths
    from clinragen.teacher.files import Files

    author = teacher_name(name or teacher)
    if teacher != "evidence" and author.casefold() == "evidence":
        raise UserError("--name evidence: that is the name of the offline teacher; choose another")
    return Files(CohortPaths(cohort_folder(cohort)), author)


def parse_shard(written: str) -> tuple[int, int]:
    """``I/N`` as numbers.

    >>> parse_shard("0/4")
    (0, 4)
    """
    part, _, parts = written.partition("/")
    if not (re.fullmatch(r"\d{1,6}/\d{1,6}", written, re.ASCII) and int(part) < int(parts)):
        raise UserError(f"--shard {written}: expected I/N with I from 0 to N-1, as in 0/4")
    return int(part), int(parts)


def check_foreign(
    name: str | None,
    config: str | Path | None,
    settings: SettingsLike,
    shard: str,
    journal: Sequence[Path] = (),
    index: IndexLike | None = None,
) -> None:
    """Refuse options that the evidence teacher does not have, instead of ignoring them.

    Raises:
        UserError: one of them was given.
    """
    options = {
        "--name": name not in (None, "evidence"),
        "--config": config,
        "--set": settings,
        "--shard": shard != "0/1",
        "--journal": journal,
        "--index": index is not None,
    }
    if foreign := [option for option, is_given in options.items() if is_given]:
        raise UserError(f"{foreign[0]} is for --teacher openai and vllm: the evidence teacher has no such setting")


@contextmanager
def stays_done(progress: bool, what: str = "stays") -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """A progress line of finished stays: a function that advances it, and one that prints a line above it.

    Args:
        progress: print it at all.
        what: is counted.
    """
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    terminal = console(progress)
    columns = (TextColumn("{task.completed} {task.description} done"), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda done: bar.update(task, completed=done),
            lambda line: terminal.print(f"  {line}", highlight=False, markup=False, style="dim", soft_wrap=True),
        )
