"""``clinragen teach``: rationales for a cohort, by the offline teacher or by a language model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.errors import UserError, missing_extra, unknown_choice

if TYPE_CHECKING:
    from clinragen.teacher.files import Files
    from clinragen.teacher.settings import TeacherSettings

HELP = "Write teacher rationales for every stay of a cohort, from its notes, series and gold diagnoses."
ACTIONS = ("run", "status", "export", "merge")
TEACHERS = ("evidence", "openai", "vllm")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "action",
        nargs="?",
        default="run",
        help="run (default); status: what the journal holds; export: write the table from the journal alone; "
        "merge: add other machines' journals",
    )
    parser.add_argument("--cohort", type=Path, required=True, help="cohort folder made by mimic-prep")
    parser.add_argument("--graph", type=Path, help="concept graph folder (default: the curated core)")
    parser.add_argument(
        "--teacher",
        default="evidence",
        help="evidence: composed from the chart (default); openai: any OpenAI-compatible server; vllm: in process",
    )
    parser.add_argument("--config", help="teacher config, a shipped name or a YAML file (default: as the teacher)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the config")
    parser.add_argument("--name", help="name of the rationale set (default: as the teacher)")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="every N-th stay from the I-th (from 0)")
    parser.add_argument("--journal", type=Path, action="append", default=[], help="merge: a journal to add")
    parser.add_argument("--dry-run", action="store_true", help="print prompts, tokens and an estimate; send nothing")
    parser.add_argument("--show", type=int, default=1, help="dry run: stays whose prompts are printed (default 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace rationales of the same teacher")


def run(args: argparse.Namespace) -> int | None:
    """Write the rationales, or look at, export or merge a journal; 1 where some are still missing."""
    from clinragen.names import teacher_name

    if args.action not in ACTIONS:
        raise unknown_choice("action", args.action, ACTIONS)
    if args.teacher not in TEACHERS:
        raise unknown_choice("teacher", args.teacher, TEACHERS)
    if args.teacher == "evidence":
        if args.action != "run" or args.dry_run:
            raise UserError("the evidence teacher works offline and keeps no journal: pass --teacher openai or vllm")
        _check_evidence(args)
        return _evidence(args)
    _shard(args.shard)
    args.name = args.name or args.teacher
    if teacher_name(args.name).casefold() == "evidence":
        raise UserError("--name evidence: that is the name of the offline teacher; choose another")
    if args.action == "status":
        return _status(args)
    if args.action == "merge":
        return _merge(args)
    return _llm(args)


def _check_evidence(args: argparse.Namespace) -> None:
    """No option is passed over that the evidence teacher does not have."""
    given = {
        "--name": args.name not in (None, "evidence"),
        "--config": args.config,
        "--set": args.set,
        "--shard": args.shard != "0/1",
        "--journal": args.journal,
    }
    if foreign := [option for option, is_given in given.items() if is_given]:
        raise UserError(f"{foreign[0]} is for --teacher openai and vllm: the evidence teacher has no such setting")


def _llm(args: argparse.Namespace) -> int | None:
    from clinragen import config
    from clinragen.teacher.settings import TeacherSettings

    settings = config.load("teacher", args.config or args.teacher, TeacherSettings, args.set)
    settings.check()
    if args.dry_run:
        return _dry_run(args, settings)
    try:
        from clinragen.teacher import llm
    except ImportError:
        raise missing_extra("a teacher behind a server", "teacher") from None
    with _bar() as (progress, say):
        summary = llm.teach(
            args.cohort,
            args.graph,
            settings,
            args.name,
            backend=args.teacher,
            shard=_shard(args.shard),
            offline=args.action == "export",
            overwrite=args.overwrite,
            progress=progress,
            say=say,
        )
    print("\n".join(summary.lines()))
    files = _files(args)
    if args.shard != "0/1" and args.action == "run":
        print(f"journal: {files.journal}; merge it with the other shards, then `clinragen teach export`")
    elif summary.complete or args.action == "export":
        print(f"written to {files.table}, with {files.card.name} and {files.manifest.name} beside it")
    return 0 if (summary.complete or args.action == "export") and not summary.too_many_dropped else 1


@contextmanager
def _bar() -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """A bar of the stays that are done, and lines above it: what moves the bar, and what prints a line."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.completed} stays done"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("stays", total=None)
        yield (
            lambda done: bar.update(task, completed=done),
            lambda line: console.print(f"  {line}", highlight=False, markup=False, style="dim", soft_wrap=True),
        )


def _dry_run(args: argparse.Namespace, settings: TeacherSettings) -> None:
    from clinragen.knowledge.relabel import open_graph
    from clinragen.schema import CohortPaths
    from clinragen.teacher.estimate import estimate
    from clinragen.teacher.prompts import Prompts
    from clinragen.teacher.stays import Stays

    stays = Stays(CohortPaths(args.cohort), _shard(args.shard))
    graph = open_graph(args.graph)
    prompts = Prompts(settings, graph, stays.bands() if settings.band == "statistical" else None)
    total, shown = estimate(stays, prompts, structured=settings.structured != "plain", show=args.show)
    print("\n\n".join([*shown, "\n".join(total.lines(settings))]))


def _status(args: argparse.Namespace) -> None:
    from collections import Counter

    from clinragen.artifacts import read_table
    from clinragen.schema import CohortPaths
    from clinragen.teacher.journal import Journal

    stays = read_table(CohortPaths(args.cohort).stays).num_rows
    answered: dict[tuple[str, str], set[int]] = {}
    ends: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    with Journal(_files(args).journal) as journal:
        for record in journal.records():
            if record["kind"] == "probe":
                continue
            answered.setdefault((record["model"], record["kind"]), set()).add(record["stay_id"])
            ends[record["finish_reason"]] += 1
            tokens.update(record["usage"])
    for (model, kind), seen in sorted(answered.items()):
        print(f"{model}  {kind:<6}  {len(seen)} of {stays} stays answered")
    print(f"{sum(ends.values())} answers; finish reasons: {', '.join(f'{n} {end}' for end, n in sorted(ends.items()))}")
    print(f"tokens: {tokens['prompt_tokens']} read, {tokens['completion_tokens']} written")


def _merge(args: argparse.Namespace) -> None:
    from clinragen.teacher.journal import merge

    if not args.journal:
        raise UserError("teach merge: name the journals to add, each with --journal FILE")
    added = merge(_files(args).journal, args.journal)
    print(f"{added} answers added to {_files(args).journal}")


def _files(args: argparse.Namespace) -> Files:
    from clinragen.schema import CohortPaths
    from clinragen.teacher.files import Files

    return Files(CohortPaths(args.cohort), args.name)


def _shard(written: str) -> tuple[int, int]:
    part, _, parts = written.partition("/")
    if not (re.fullmatch(r"\d{1,6}/\d{1,6}", written, re.A) and int(part) < int(parts)):
        raise UserError(f"--shard {written}: expected I/N with I from 0 to N-1, as in 0/4")
    return int(part), int(parts)


def _evidence(args: argparse.Namespace) -> None:
    """Write the rationales and say how they turned out."""
    import json

    import pyarrow.compute as pc

    from clinragen.schema import CohortPaths
    from clinragen.teacher.files import Files
    from clinragen.teacher.generate import generate

    with _bar() as (progress, say):
        table = generate(args.cohort, args.graph, args.teacher, overwrite=args.overwrite, progress=progress, say=say)
    for kind in ("note", "series"):
        rows = table.filter(pc.field("kind") == kind)
        texts = rows.column("text").to_pylist()
        lengths = [len(text.split()) for text in texts]
        grounds = [sum(map(len, json.loads(verdict).values())) for verdict in rows.column("verdicts").to_pylist()]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        told = sum(count > 0 for count in grounds)
        print(
            f"{kind:<6}  {len(texts)} rationales, {mean:.1f} words on average (at most {max(lengths, default=0)}), "
            f"{len(set(texts))} distinct, {told} name evidence in the chart"
        )
    files = Files(CohortPaths(args.cohort), args.teacher)
    print(f"written to {files.table}, with {files.card.name} and {files.manifest.name} beside it")
