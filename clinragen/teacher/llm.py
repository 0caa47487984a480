"""Rationales of a whole cohort by an LLM: workers, the journal, the table, the manifest and the card."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from clinragen.artifacts import write_json, write_table
from clinragen.chart.findings import findings
from clinragen.data.rationale_authors import MOST_DROPPED
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.relabel import open_graph
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher import card, journal, logprobs
from clinragen.teacher.answers import REMEDIES
from clinragen.teacher.batches import Batches, Engine
from clinragen.teacher.client import Asker, Client, NoAnswerError, ParameterError
from clinragen.teacher.compose import WAYS, Composer, JournalOnly, Outcome
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.teacher.files import Files
from clinragen.teacher.judge import Judge
from clinragen.teacher.prompts import Prompts, Stay
from clinragen.teacher.settings import Engine as EngineSettings
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.stays import Stays

_PROBE = [{"role": "user", "content": 'Are you ready? Answer with JSON: {"ready": true}'}]
_PROBE_SCHEMA = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}},
    "required": ["ready"],
    "additionalProperties": False,
}


@dataclass
class Summary:
    """What a run did, and how to go on. Counts only, no text of a patient."""

    stays: int
    ways: Counter[tuple[str, str]]
    verdicts: Counter[tuple[str, str]]
    rejected: Counter[str]
    missing: Counter[str]
    asked: int
    found: int
    tokens: Counter[str]
    retried: Counter[str] = field(default_factory=Counter)
    most_dropped: float = MOST_DROPPED

    @property
    def fallen_back(self) -> int:
        """Number of rationales that are not the teacher's, once all are settled or given up."""
        return sum(count for (_, way), count in self.ways.items() if way in ("dropped", "missing"))

    @property
    def dropped_share(self) -> float:
        """Share of these among all."""
        return self.fallen_back / max(1, self.ways.total())

    @property
    def too_many_dropped(self) -> bool:
        """Whether that is more than the settings allow."""
        return self.dropped_share > self.most_dropped

    @property
    def complete(self) -> bool:
        """Whether every rationale is settled."""
        return not any(way == "missing" for _, way in self.ways)

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{self.stays} stays; {self.asked} answers received, {self.found} taken from the journal"]
        for kind in ("note", "series"):
            counts = ", ".join(f"{self.ways[kind, way]} {way}" for way in WAYS if self.ways[kind, way])
            told.append(f"{kind:<6}  {counts}")
            claims = {verdict: n for (of, verdict), n in sorted(self.verdicts.items()) if of == kind}
            told.append(f"        claims of first drafts: {_counts(claims) or 'none'}")
        for title, counts in (
            ("sent again", self.retried),
            ("not in form", self.rejected),
            ("without answer", self.missing),
        ):
            if counts:
                told.append(f"{title}: {_counts(counts)}")
        told += [f"{reason}: {remedy}" for reason, remedy in REMEDIES.items() if self.rejected[reason]]
        if self.tokens:
            told.append(f"tokens: {self.tokens['prompt_tokens']} read, {self.tokens['completion_tokens']} written")
        if self.complete and self.too_many_dropped:
            told.append(
                f"{self.fallen_back} of {self.ways.total()} rationales fell back to the evidence teacher "
                f"({100 * self.dropped_share:.1f} %, more than most_dropped={self.most_dropped:g}): the table is "
                "hardly the model's; the reasons are above"
            )
        if not self.complete:
            lost = sum(count for (_, way), count in self.ways.items() if way == "missing")
            told.append(
                f"{lost} rationales are still missing. Answers so far are kept: run the same command again for the "
                "rest, or `clinragen teach export` to write the table without them"
            )
        return told


def teach(
    cohort: Path,
    graph: Path | None,
    settings: TeacherSettings,
    name: str,
    *,
    backend: str = "openai",
    shard: tuple[int, int] = (0, 1),
    offline: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda line: None,
    asker: Asker | None = None,
) -> Summary:
    """Bring about all rationales and, when none is missing, write table, manifest and card.

    Args:
        backend: openai (a server) or vllm (an engine in this process).
        shard: (i, n) takes every n-th stay from the i-th on; merge the journals afterwards.
        offline: take answers from the journal only, and write the table even if some are missing.
        progress: told the number of stays done.
        say: told what begins, phase by phase.
        asker: in place of a backend.

    Raises:
        UserError: settings, cohort, graph, server or journal that cannot be used; a table that is already there.
    """
    settings.check()
    files = Files(CohortPaths(cohort), name)
    if files.table.exists() and not overwrite:
        raise UserError(f"{files.table} already exists: pass --overwrite to replace it (journaled answers are kept)")
    model = settings.engine.model if backend == "vllm" else settings.server.model
    if not model:
        where = "engine.model" if backend == "vllm" else "server.model"
        raise UserError(f"teacher config: {where} is empty: name the model, as in --set {where}=NAME")
    client = Client(settings.server) if backend == "openai" and not offline and asker is None else None
    say("reading the cohort ...")
    stays = Stays(files.cohort, shard)
    say("opening the concept graph ...")
    concepts = open_graph(graph, stays.labels)
    prompts = Prompts(settings, concepts, stays.bands() if settings.band == "statistical" else None)

    async def run() -> tuple[Composer, list[Outcome]]:
        async with AsyncExitStack() as stack:
            kept = stack.enter_context(journal.Journal(files.journal, writable=not offline))
            source = asker or client
            if client is not None:
                await stack.enter_async_context(client)
            elif offline:
                source = JournalOnly()
            elif source is None:
                say("starting the engine ...")
                source = await stack.enter_async_context(Batches(_engine(settings.engine), settings.engine.batch))
            assert source is not None
            structured = await _structured(settings, kept, source, model, say)
            composer = Composer(settings, prompts, Judge(concepts), kept, source, model=model, structured=structured)
            # more than there are slots, so that none is idle while answers are put on the disk and checked
            workers = 2 * (settings.engine.batch if backend == "vllm" else settings.server.concurrency)
            say(f"asking for the rationales of {len(stays)} stays ...")
            return composer, await _all(composer, stays, workers, progress, files.journal)

    composer, outcomes = asyncio.run(run())
    summary = Summary(
        len(stays),
        composer.ways,
        composer.verdicts,
        composer.rejected,
        composer.missing,
        composer.asked,
        composer.found,
        composer.tokens,
        client.retried if client else Counter(),
        settings.most_dropped,
    )
    if shard == (0, 1) and (summary.complete or offline):
        say(f"writing {len(outcomes)} rationales ...")
        table = _table(outcomes, stays, concepts, settings, name, prompts.version)
        write_table(files.table, table)
        logprobs.write(files.logprobs, ((one.stay_id, one.kind, one.logprobs) for one in outcomes if one.logprobs))
        manifest = card.provenance(
            files,
            concepts,
            backend=backend,
            model=model,
            endpoint=client.endpoint.as_json() if client else _cluster(settings.engine),
            prompt_hash=prompts.version,
            taught=composer.taught,
            coverage=composer.coverage,
        ) | {
            "served_by": dict(sorted(composer.served_by.items())),
            "settings": {key: value for key, value in asdict(settings).items() if key != "prompts"},
            "ways": card.by_kind(summary.ways),
            "dropped_share": summary.dropped_share,
            "first_draft_claims": card.by_kind(summary.verdicts),
            "not_in_form": dict(sorted(summary.rejected.items())),
        }
        write_json(files.manifest, manifest)
        card.write(files.card, files.examples, table, manifest)
    return summary


def _engine(settings: EngineSettings) -> Engine:
    if settings.replicas:
        from clinragen.teacher.ray_engine import RayEngine

        return RayEngine(settings)
    from clinragen.teacher.vllm_engine import VllmEngine

    return VllmEngine(settings)


def _cluster(settings: EngineSettings) -> dict[str, object] | None:
    """The attested cluster that had the prompts, in the form of ``policy.Endpoint.as_json``."""
    if not (settings.replicas and settings.cluster):
        return None
    return {"base_url": f"ray://{settings.cluster}", "attestation": asdict(settings.attestation)}


async def _structured(
    settings: TeacherSettings, kept: journal.Journal, source: Asker, model: str, say: Callable[[str], None]
) -> bool:
    """Whether to ask for JSON: as configured, else as the server shows. The finding is kept, as keys depend on it."""
    if settings.structured != "auto":
        return settings.structured == "json_schema"
    parameters = {**settings.parameters(0, _PROBE_SCHEMA), "max_tokens": 32, "temperature": 0.0}
    name = journal.key(_PROBE, model, parameters, 0, "probe")
    record = kept.get(name)
    if record is None:
        if isinstance(source, JournalOnly):
            raise UserError(f"{kept.path} holds no answer of model '{model}': is it the config of that run?")
        say("asking whether the server holds to JSON ...")
        record = {"key": name, "stay_id": 0, "kind": "probe", "model": model, "text": "", "usage": {}}
        try:
            answer = await source.ask(_PROBE, parameters, name)
            record |= {"text": answer.text, "finish_reason": answer.finish_reason, "usage": answer.usage}
        except ParameterError as error:
            if error.parameter != "response_format":
                raise
            record |= {"finish_reason": "refused"}
        except NoAnswerError as error:
            if str(error) not in ("HTTP 400", "HTTP 422", "HTTP 500", "HTTP 501"):
                raise UserError(f"no answer from {settings.server.base_url}: {error}. Is the server up?") from None
            record |= {"finish_reason": "refused"}
        await kept.append(record)
    try:
        return isinstance(json.loads(record["text"])["ready"], bool)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


async def _all(
    composer: Composer, stays: Iterable[Stay], workers: int, progress: Callable[[int], None], kept: Path
) -> list[Outcome]:
    waiting = iter(stays)
    outcomes: list[Outcome] = []

    async def work() -> None:
        for stay in waiting:
            outcomes.extend(await composer.compose(stay))
            progress(len(outcomes) // 2)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except* UserError as errors:
        raise errors.exceptions[0] from None
    except* OSError as errors:
        why = str(getattr(errors.exceptions[0], "strerror", None) or "it cannot be written")
        raise UserError(f"{kept}: {why}. Answers so far are kept: make room and run the same command again") from None
    return sorted(outcomes, key=lambda outcome: (outcome.stay_id, outcome.kind))


def _table(
    outcomes: list[Outcome], stays: Stays, graph: ConceptGraph, settings: TeacherSettings, name: str, prompt: str
) -> pa.Table:
    """``schema.RATIONALES``; if so configured, the evidence teacher stands in for what was dropped, by its own name."""
    lost = {(outcome.stay_id, outcome.kind) for outcome in outcomes if outcome.text is None}
    stand_ins: dict[tuple[int, str], Any] = {}
    if lost and settings.dropped == "evidence":
        teacher, found = EvidenceTeacher(graph), findings(stays.series)
        for stay in stays:
            if (stay.stay_id, "note") in lost:
                stand_ins[stay.stay_id, "note"] = teacher.note(stay.stay_id, stay.sections, stay.diagnoses)
            if (stay.stay_id, "series") in lost:
                stand_ins[stay.stay_id, "series"] = teacher.series(
                    stay.stay_id, found.get(stay.stay_id), stay.diagnoses
                )
    rows = []
    for outcome in outcomes:
        row = {"stay_id": outcome.stay_id, "kind": outcome.kind, "prompt_hash": prompt}
        if outcome.text is not None:
            rows.append({**row, "text": outcome.text, "verdicts": outcome.verdicts, "teacher": name})
        elif (outcome.stay_id, outcome.kind) in stand_ins:
            other = stand_ins[outcome.stay_id, outcome.kind]
            told = json.dumps({**json.loads(other.verdicts), "way": outcome.way}, separators=(",", ":"))
            rows.append({**row, "text": other.text, "verdicts": told, "teacher": "evidence"})
    return pa.Table.from_pylist(rows, RATIONALES)


def _counts(counts: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
