"""``clinragen teach``: write teacher rationales for a cohort, or questions about its stays with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from clinragen import choices
from clinragen.choices import Backend
from clinragen.command_line import answer
from clinragen.errors import UserError
from clinragen.options import (
    AsJson,
    CohortFolder,
    Flag,
    GraphFolder,
    MaybeWholeNumber,
    Out,
    Overwrite,
    Paths,
    Seed,
    Settings,
    Verify,
    WholeNumber,
)

if TYPE_CHECKING:
    from clinragen.api.teaching import Rationales
    from clinragen.teacher.files import Files


command = App(name="teach", help="Write teacher rationales for a cohort, or questions about its stays.")


@command.default
def rationales(
    action: Literal["run", "status", "export", "merge"] = "run",
    /,
    *,
    cohort: CohortFolder,
    graph: GraphFolder = None,
    teacher: Backend = "evidence",
    config: str | None = None,
    settings: Settings = (),
    name: str | None = None,
    shard: str = "0/1",
    journal: Paths = (),
    dry_run: Flag = False,
    show: WholeNumber = 1,
    index: Path | None = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> int | None:
    """Write teacher rationales for every stay of a cohort, from its notes, series and gold diagnoses.

    Ends with exit code 1 if some are still missing.

    Args:
        action: status: contents of the journal; export: the table from the journal only; merge: add other journals.
        teacher: evidence: composed from the chart; openai: any OpenAI-compatible server; vllm: in this process.
        config: Teacher config, a shipped name or a YAML file. Default: the teacher's name.
        settings: Override a setting of the config, as in server.model=NAME; may be repeated.
        name: Name of the rationale set. Default: the teacher's name.
        shard: I/N: every N-th stay from the I-th, counted from 0.
        journal: merge: a journal to add; may be repeated.
        dry_run: Print prompts, tokens and an estimate; send nothing.
        show: Dry run: stays whose prompts are printed.
        index: Index of the cohort's training stays; with --set similar_cases=N, prompts show N that are similar.
    """
    from clinragen.api.teaching import check_foreign, parse_shard, rationale_files, teach
    from clinragen.integrity import thorough

    if teacher == "evidence":
        if action != "run" or dry_run:
            raise UserError("the evidence teacher works offline and keeps no journal: pass --teacher openai or vllm")
        check_foreign(name, config, settings, shard, journal, index)
    else:
        parse_shard(shard)
    files = rationale_files(cohort, name or teacher, teacher)
    if action in ("status", "merge") or dry_run:
        with thorough(verify):
            if action == "status":
                return _status(files, as_json)
            if action == "merge":
                return _merge(files, journal, as_json)
            return _dry_run(files, graph, teacher, config, settings, shard, show, index, as_json)
    rationales = teach(
        cohort,
        graph=graph,
        teacher=teacher,
        config=config,
        set=settings,
        name=name,
        shard=shard,
        offline=action == "export",
        index=index,
        overwrite=overwrite,
        verify=verify,
        progress=True,
    )
    if rationales.summary is None:
        return _composed(rationales, as_json)
    return _generated(rationales, shard if action == "run" else "0/1", action == "export", as_json)


@command.command
def questions(
    *,
    cohort: CohortFolder,
    out: Out,
    graph: GraphFolder = None,
    split: Annotated[tuple[choices.Split, ...], Parameter(name="--split", show_default=False)] = (),
    per_stay: MaybeWholeNumber = None,
    turns: WholeNumber = 1,
    seed: Seed = 0,
    teacher: choices.QuestionTeacher = "program",
    config: str | None = None,
    settings: Settings = (),
    limit: MaybeWholeNumber = None,
    dry_run: Flag = False,
    show: WholeNumber = 1,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> int:
    """Write questions about each stay with the answers of its chart; of those by program it answers about half.

    Ends with exit code 1 if a language model has not answered.

    Args:
        split: Only these stays; may be repeated. Default: all.
        per_stay: Questions of each stay, about. Default: 20, or 8 where a language model writes them.
        turns: Questions of each dialogue, each of which goes on from the one before; 1: questions by themselves.
        seed: Decides all that is drawn.
        teacher: What writes them: program; openai: a language model behind any OpenAI-compatible server; vllm: one in
            this process. What the chart does not bear out is dropped.
        config: Config of the language model, a shipped name or a YAML file. Default: the teacher's name.
        settings: Override a setting of the config, as in server.model=NAME; may be repeated.
        limit: Ask a language model about the first stays of each split only.
        dry_run: Print prompts; send nothing.
        show: Dry run: stays whose prompts are printed.
    """
    from itertools import islice

    from clinragen.api.questions import question_prompts, questioning_model, teach_questions

    options = {"graph": graph, "splits": split or choices.SPLITS, "seed": seed, "verify": verify}
    if dry_run:
        model = questioning_model(teacher, config, settings, per_stay, limit, turns, dry=True)
        assert model is not None  # a program is not asked
        prompts = list(islice(question_prompts(cohort, model, **options), show))
        answer("\n\n".join(prompts), {"prompts": prompts}, as_json)
        return 0
    written = teach_questions(
        cohort,
        out,
        **options,
        per_stay=per_stay,
        turns=turns,
        teacher=teacher,
        config=config,
        set=settings,
        limit=limit,
        overwrite=overwrite,
        progress=True,
    )
    lines = [f"{kind:<8} {count['answered']:>7} answered  {count['not_in_chart']:>7} not in the chart"
             for kind, count in written.kinds.items()]  # fmt: skip
    lines.append(f"{written.questions} questions about {written.stays} stays written to {written.path}")
    lines += written.tally.lines() if written.tally is not None else []
    values = {name: value for name, value in vars(written).items() if name != "tally"}
    answer("\n".join(lines), values | ({"answers": written.tally.as_json()} if written.tally else {}), as_json)
    return 1 if written.tally is not None and written.tally.missing else 0


def _composed(rationales: Rationales, as_json: bool) -> None:
    """Print a summary of the evidence teacher's rationales."""
    import json

    import pyarrow.compute as pc

    from clinragen.artifacts import read_table

    files, table = rationales.files, read_table(rationales.files.table)
    lines, counts = [], {}
    for kind in ("note", "series"):
        rows = table.filter(pc.field("kind") == kind)
        texts = rows.column("text").to_pylist()
        lengths = [len(text.split()) for text in texts]
        grounds = [sum(map(len, json.loads(verdict).values())) for verdict in rows.column("verdicts").to_pylist()]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        grounded = sum(count > 0 for count in grounds)
        longest, distinct = max(lengths, default=0), len(set(texts))
        lines.append(
            f"{kind:<6}  {len(texts)} rationales, {mean:.1f} words on average (at most {longest}), "
            f"{distinct} distinct, {grounded} name evidence in the chart"
        )
        counts[kind] = {"rationales": len(texts), "words": mean, "distinct": distinct, "grounded": grounded}
    lines.append(f"written to {files.table}, with {files.card.name} and {files.manifest.name} beside it")
    answer("\n".join(lines), {"table": files.table, **counts}, as_json)


def _generated(rationales: Rationales, shard: str, exported: bool, as_json: bool) -> int:
    """Print a summary of a language model's responses; 1 if rationales are missing or too many were dropped."""
    files, summary = rationales.files, rationales.summary
    assert summary is not None
    lines = summary.lines()
    if shard != "0/1":
        lines.append(f"journal: {files.journal}; merge it with the other shards, then `clinragen teach export`")
    elif summary.complete or exported:
        lines.append(f"written to {files.table}, with {files.card.name} and {files.manifest.name} beside it")
    values = {"table": files.table, "journal": files.journal, "complete": summary.complete, "summary": summary.lines()}
    answer("\n".join(lines), values, as_json)
    return 0 if (summary.complete or exported) and not summary.too_many_dropped else 1


def _dry_run(
    files: Files,
    graph: Path | None,
    teacher: Backend,
    config: str | None,
    settings: Sequence[str],
    shard: str,
    show: int,
    index: Path | None,
    as_json: bool,
) -> None:
    """Print the prompts that would be sent, and their estimated cost."""
    from clinragen.api.teaching import parse_shard, prompt_cases, teacher_settings
    from clinragen.knowledge.relabel import open_graph
    from clinragen.teacher.estimate import estimate
    from clinragen.teacher.prompts import Prompts
    from clinragen.teacher.stays import Stays

    resolved = teacher_settings(teacher, config, settings)
    resolved.check()
    stays = Stays(files.cohort, parse_shard(shard))
    bands = stays.bands() if resolved.band == "statistical" else None
    cases = prompt_cases(index, files, resolved, graph)
    prompts = Prompts(resolved, open_graph(graph, stays.labels, stays.added), bands, cases)
    total, rendered = estimate(stays, prompts, structured=resolved.structured != "plain", show=show)
    lines = total.lines(resolved)
    answer("\n\n".join([*rendered, "\n".join(lines)]), {"prompts": rendered, "estimate": lines}, as_json)


def _status(files: Files, as_json: bool) -> None:
    """Print the contents of the journal."""
    from collections import Counter

    from clinragen.artifacts import read_table
    from clinragen.teacher.journal import Journal

    stays = read_table(files.cohort.stays).num_rows
    answered: dict[tuple[str, str], set[int]] = {}
    ends: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    with Journal(files.journal) as journal:
        for record in journal.records():
            if record["kind"] == "probe":
                continue
            answered.setdefault((record["model"], record["kind"]), set()).add(record["stay_id"])
            ends[record["finish_reason"]] += 1
            tokens.update(record["usage"])
    by_kind = sorted((model, kind, len(stay_ids)) for (model, kind), stay_ids in answered.items())
    lines = [f"{model}  {kind:<6}  {count} of {stays} stays answered" for model, kind, count in by_kind]
    lines.append(
        f"{ends.total()} answers; finish reasons: {', '.join(f'{n} {end}' for end, n in sorted(ends.items()))}"
    )
    lines.append(f"tokens: {tokens['prompt_tokens']} read, {tokens['completion_tokens']} written")
    values = {
        "stays": stays,
        "answered": [{"model": model, "kind": kind, "stays": count} for model, kind, count in by_kind],
        "finish_reasons": ends,
        "tokens": tokens,
    }
    answer("\n".join(lines), values, as_json)


def _merge(files: Files, journals: Sequence[Path], as_json: bool) -> None:
    """Merge the journals of other machines into this one."""
    from clinragen.teacher.journal import merge

    if not journals:
        raise UserError("teach merge: name the journals to add, each with --journal FILE")
    added = merge(files.journal, journals)
    answer(f"{added} answers added to {files.journal}", {"journal": files.journal, "added": added}, as_json)
