"""Rationales of a whole cohort by an LLM: workers, journal, and the output once all answers are there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from clinragen.chart.findings import findings
from clinragen.choices import Backend
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.relabel import open_graph
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher import json_probe, logprobs, rationale_set
from clinragen.teacher.answer_source import AnswerSource, JournaledAsker
from clinragen.teacher.cases import CaseSource
from clinragen.teacher.claim_check import ClaimChecker
from clinragen.teacher.client import Asker, Client
from clinragen.teacher.evidence import EvidenceRationale, EvidenceTeacher
from clinragen.teacher.files import Files
from clinragen.teacher.generation import Outcome, RationaleGenerator
from clinragen.teacher.journal import Journal
from clinragen.teacher.prompts import Prompts
from clinragen.teacher.rationale_set import Author, Generation, by_kind
from clinragen.teacher.run_summary import RunSummary
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.stays import StayRecord, Stays

WHOLE = (0, 1)  # the shard with all stays


@dataclass(frozen=True)
class TeachingRequest:
    """A request for rationales: cohort, model, name.

    Attributes:
        cohort: folder with labels.
        graph: concept graph folder; None takes the curated core.
        settings: settings of the teacher.
        name: name of the rationale set.
        backend: openai (a server) or vllm (an engine in this process).
        shard: (i, n) takes every n-th stay from the i-th; merge the journals afterwards.
        offline: use answers from the journal only, and write the table even if some are missing.
        overwrite: replace an existing table; journaled answers are kept.
        cases: similar training stays that prompts show; None: none.
    """

    cohort: Path
    graph: Path | None
    settings: TeacherSettings
    name: str
    backend: Backend = "openai"
    shard: tuple[int, int] = WHOLE
    offline: bool = False
    overwrite: bool = False
    cases: CaseSource | None = None

    @property
    def files(self) -> Files:
        """Paths of the rationale set."""
        return Files(CohortPaths(self.cohort), self.name)

    def source(self, asker: Asker | None) -> AnswerSource:
        """Where the answers come from; ``asker`` replaces the backend."""
        assert self.backend != "evidence"  # composes, and asks nobody
        return AnswerSource(self.settings, self.backend, self.offline, asker)


def teach(
    request: TeachingRequest,
    *,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda line: None,
    asker: Asker | None = None,
) -> RunSummary:
    """Generate all rationales and, when none is missing, write table, manifest and card.

    Args:
        request: its settings are checked here.
        progress: called with the number of finished stays.
        say: called with a line for each phase.
        asker: replaces the backend.

    Raises:
        UserError: settings, cohort, graph, server or journal that cannot be used; a table that already exists.
    """
    settings, files = request.settings, request.files
    settings.check()
    rationale_set.refuse_overwriting(files, overwrite=request.overwrite, remark=" (journaled answers are kept)")
    source = request.source(asker)
    client = source.client()
    say("reading the cohort ...")
    stays = Stays(files.cohort, request.shard)
    say("opening the concept graph ...")
    concepts = open_graph(request.graph, stays.labels, stays.added)
    bands = stays.bands() if settings.band == "statistical" else None
    prompts = Prompts(settings, concepts, bands, request.cases)
    run = _Run(request, source, stays, concepts, prompts, progress, say)
    generator, outcomes = asyncio.run(run.outcomes(client))
    summary = RunSummary(
        **vars(generator.tally),
        stays=len(stays),
        retried=client.retried if client else Counter(),
        most_dropped=settings.most_dropped,
    )
    if request.shard == WHOLE and (summary.complete or request.offline):
        say(f"writing {len(outcomes)} rationales ...")
        run.write(outcomes, summary, client)
    return summary


def _recorded(settings: TeacherSettings) -> dict[str, Any]:
    """The settings as the manifest of the rationales holds them."""
    left_out = {"prompts", "captions", *([] if settings.similar_cases else ["similar_cases"])}
    return {key: value for key, value in asdict(settings).items() if key not in left_out}


@dataclass(frozen=True)
class _Run:
    """One run over the stays of a cohort."""

    request: TeachingRequest
    source: AnswerSource
    stays: Stays
    graph: ConceptGraph
    prompts: Prompts
    progress: Callable[[int], None]
    say: Callable[[str], None]

    @property
    def files(self) -> Files:
        """Paths of the rationale set."""
        return self.request.files

    @property
    def settings(self) -> TeacherSettings:
        """Settings of the teacher."""
        return self.request.settings

    async def outcomes(self, client: Client | None) -> tuple[RationaleGenerator, list[Outcome]]:
        """The result for every rationale, by stay and kind, and the generator with its tally."""
        source, settings = self.source, self.settings
        async with AsyncExitStack() as stack:
            journal = stack.enter_context(Journal(self.files.journal, writable=not source.offline))
            if source.starts_engine:
                self.say("starting the engine ...")
            asker = await source.open(client, stack)
            structured = await json_probe.structured(settings, journal, asker, source.model, self.say)
            generator = RationaleGenerator(
                settings,
                self.prompts,
                ClaimChecker(self.graph),
                JournaledAsker(journal, asker, settings, source.model),
                structured=structured,
            )
            self.say(f"requesting the rationales of {len(self.stays)} stays ...")
            return generator, await self._all(generator)

    async def _all(self, generator: RationaleGenerator) -> list[Outcome]:
        waiting = iter(self.stays)
        outcomes: list[Outcome] = []

        async def work(stays: Iterator[StayRecord]) -> None:
            for stay in stays:
                outcomes.extend(await generator.generate(stay))
                self.progress(len(outcomes) // 2)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.source.workers):
                    group.create_task(work(waiting))
        except* UserError as errors:
            raise errors.exceptions[0] from None
        except* OSError as errors:
            why = str(getattr(errors.exceptions[0], "strerror", None) or "it cannot be written")
            raise UserError(
                f"{self.files.journal}: {why}. Answers so far are kept: make room and run the same command again"
            ) from None
        return sorted(outcomes, key=lambda outcome: (outcome.stay_id, outcome.kind))

    def write(self, outcomes: list[Outcome], summary: RunSummary, client: Client | None) -> None:
        """Write table, log-probabilities, manifest and card."""
        settings, prompt_hash = self.settings, self.prompts.version
        logprobs.write(self.files.logprobs, ((one.stay_id, one.kind, one.logprobs) for one in outcomes if one.logprobs))
        author = Author(
            backend=self.source.backend,
            prompt_hash=prompt_hash,
            graph=self.graph.manifest.to_json(),
            model=self.source.model,
            endpoint=self.source.endpoint(client),
        )
        generation = Generation(
            served_by=dict(sorted(summary.served_by.items())),
            settings=_recorded(settings),
            ways=by_kind(summary.ways),
            dropped_share=summary.dropped_share,
            first_draft_claims=by_kind(summary.verdicts),
            not_in_form=dict(sorted(summary.rejected.items())),
        )
        table = self._table(outcomes, prompt_hash)
        rationale_set.write(self.files, table, author, summary.taught, summary.coverage, generation)

    def _table(self, outcomes: list[Outcome], prompt_hash: str) -> pa.Table:
        """``schema.RATIONALES``; if so configured, with the evidence teacher's rationales in place of dropped ones."""
        replacements = self._replacements(outcomes) if self.settings.dropped == "evidence" else {}
        rows: list[dict[str, object]] = []
        for outcome in outcomes:
            row = {"stay_id": outcome.stay_id, "kind": outcome.kind, "prompt_hash": prompt_hash}
            other = replacements.get((outcome.stay_id, outcome.kind))
            if outcome.text is not None:
                rows.append({**row, "text": outcome.text, "verdicts": outcome.verdicts, "teacher": self.files.name})
            elif other is not None:
                verdicts = json.dumps({**json.loads(other.verdicts), "way": outcome.way}, separators=(",", ":"))
                rows.append({**row, "text": other.text, "verdicts": verdicts, "teacher": "evidence"})
        return pa.Table.from_pylist(rows, RATIONALES)

    def _replacements(self, outcomes: Iterable[Outcome]) -> dict[tuple[int, str], EvidenceRationale]:
        """The evidence teacher's rationales in place of dropped or missing ones."""
        missing = {(outcome.stay_id, outcome.kind) for outcome in outcomes if outcome.text is None}
        if not missing:
            return {}
        teacher, by_stay = EvidenceTeacher(self.graph), findings(self.stays.series)
        replacements: dict[tuple[int, str], EvidenceRationale] = {}
        for stay in self.stays:
            number = stay.stay_id
            if (number, "note") in missing:
                replacements[number, "note"] = teacher.note(number, stay.sections, stay.diagnoses)
            if (number, "series") in missing:
                replacements[number, "series"] = teacher.series(number, by_stay.get(number), stay.diagnoses)
        return replacements
