"""Generate both rationales of a stay: request, check, request again, edit to the supported part, or drop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from clinragen.choices import RationaleKind
from clinragen.teacher import answers, journal
from clinragen.teacher.answer_source import JournaledAsker
from clinragen.teacher.answers import BadAnswerError, Draft
from clinragen.teacher.claim_check import ClaimCheck, ClaimChecker
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.logprobs import of_text
from clinragen.teacher.prompts import Prompts
from clinragen.teacher.run_summary import Tally, Way
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.stays import StayRecord
from clinragen.teacher.tokens import Messages
from clinragen.verification.edits import clauses_of
from clinragen.verification.grounds import grounded_diagnoses


@dataclass(frozen=True)
class Outcome:
    """The result for one rationale.

    Attributes:
        text: None if it was dropped or is missing.
        verdicts: JSON: its claims, how it was obtained, and what was wrong with earlier answers.
        grounded: keys of the diagnoses for which the text gives a ground.
        logprobs: of its tokens, if the server returns them and the text is the teacher's word for word.
    """

    stay_id: int
    kind: RationaleKind
    way: Way
    text: str | None
    verdicts: str
    grounded: frozenset[str] = frozenset()
    logprobs: list[list[Any]] | None = None


class _Task(NamedTuple):
    """One rationale to generate."""

    stay: StayRecord
    kind: RationaleKind


class _CheckedDraft(NamedTuple):
    """A draft with the verdicts of its claims, and the tokens of the answer that contains it."""

    draft: Draft
    check: ClaimCheck
    logprobs: list[list[Any]] | None


class RationaleGenerator:
    """Generates rationales, with one journal for all answers.

    Args:
        asker: gives the answers.
        structured: request answers as JSON.

    Attributes:
        tally: counts so far.
    """

    def __init__(
        self,
        settings: TeacherSettings,
        prompts: Prompts,
        checker: ClaimChecker,
        asker: JournaledAsker,
        *,
        structured: bool,
    ) -> None:
        self._settings, self._prompts, self._checker = settings, prompts, checker
        self._asker, self._structured = asker, structured
        self._reasoning = settings.mode == "reason"
        self.tally = Tally()

    async def generate(self, stay: StayRecord) -> list[Outcome]:
        """Both rationales; the prompt of the series rationale contains the note rationale.

        Raises:
            UserError: no request can succeed.
            OSError: an answer could not be stored.
        """
        outcomes = await self._both(stay)
        self.tally.coverage.add(stay.diagnoses, frozenset[str]().union(*(outcome.grounded for outcome in outcomes)))
        return outcomes

    async def _both(self, stay: StayRecord) -> list[Outcome]:
        note = await self._rationale(_Task(stay, "note"), "")
        if note.way == "missing":  # the prompt of the series rationale would change once the note rationale exists
            self.tally.ways["series", "missing"] += 1
            return [note, Outcome(stay.stay_id, "series", "missing", None, "{}")]
        return [note, await self._rationale(_Task(stay, "series"), note.text or "")]

    async def _rationale(self, task: _Task, note_rationale: str) -> Outcome:
        """Ask until a draft is accepted, then fall back to the best of the drafts."""
        stay, kind = task
        question = self._prompts.messages(stay, kind, structured=self._structured, note_rationale=note_rationale)
        messages = question
        least = self._settings.least_supported if stay.diagnoses else 0
        drafts: list[_CheckedDraft] = []
        reasons: list[str] = []
        for attempt in range(self._settings.samples if self._reasoning else 1 + self._settings.regenerate):
            try:
                record = await self._answer(messages, attempt, task)
            except NoAnswerError as error:
                self.tally.missing[str(error)] += 1
                return self._outcome(task, "missing", [*reasons, str(error)])
            draft = self._checked(record, messages, task, reasons)
            if draft is None:
                continue
            if not drafts:
                self.tally.verdicts.update((kind, claim.standing) for claim in draft.check.claims)
            if not draft.check.unfounded and draft.check.supported >= least:
                way = "edited" if draft.draft.shortened else "regenerated" if attempt else "as written"
                return self._outcome(task, way, reasons, draft)
            drafts.append(draft)
            if not draft.check.unfounded:
                reasons.append("nothing in it is supported")
                continue
            reasons.append("not borne out by the chart")
            if not self._reasoning:  # samples are independent; otherwise the teacher is told what was wrong
                text = draft.draft.text
                messages = self._prompts.retry(question, text, clauses_of(text, draft.check.unfounded))
        return self._edited(task, drafts, reasons, max(least, 1))

    def _edited(self, task: _Task, drafts: list[_CheckedDraft], reasons: list[str], least: int) -> Outcome:
        """The best draft with enough supported statements after editing, or None."""
        for draft in sorted(drafts, key=lambda draft: (-draft.check.supported, len(draft.check.unfounded))):
            try:
                edited = self._checker.edited(draft.draft.text, task.stay, task.kind, least)
            except Exception as error:  # noqa: BLE001 (as in _checked)
                self.tally.rejected[_reason(error)] += 1
                continue
            if edited is not None:
                text, check = edited
                return self._outcome(task, "edited", reasons, _CheckedDraft(Draft(text, None), check, None))
        return self._outcome(task, "dropped", reasons)

    def _checked(
        self, record: journal.Record, messages: Messages, task: _Task, reasons: list[str]
    ) -> _CheckedDraft | None:
        """The draft in an answer with its check; None, with a counted reason, if there is none."""
        try:
            draft = self._draft(record, messages, task.stay, task.kind)
            check = self._checker.check(draft.text, task.stay, task.kind)
        except Exception as error:  # noqa: BLE001 (the answer is journaled: its fault would end every run)
            reasons.append(_reason(error))
            self.tally.rejected[reasons[-1]] += 1
            return None
        return _CheckedDraft(draft, check, record.get("logprobs"))

    async def _answer(self, messages: Messages, attempt: int, task: _Task) -> journal.Record:
        """An answer from the journal, or else from the asker; it is stored before it is parsed."""
        schema = self._prompts.schema() if self._structured else None
        record, sent = await self._asker.ask(
            messages, schema, stay_id=task.stay.stay_id, kind=task.kind, attempt=attempt
        )
        self.tally.served_by[record.get("served_by", "")] += 1
        if sent:
            self.tally.requests += 1
            self.tally.tokens.update(record["usage"])
        else:
            self.tally.reused += 1
        return record

    def _draft(self, record: journal.Record, messages: Messages, stay: StayRecord, kind: RationaleKind) -> Draft:
        server, sampling = self._settings.server, self._settings.sampling
        answers.check_whole(
            record,
            messages,
            sampling.max_tokens,
            require_usage=server.require_usage,
            counts_prompt=server.counts_prompt,
        )
        labels = self._prompts.graph.labels
        draft = answers.parse(record["text"], kind, labels, reason=self._reasoning)
        if self._prompts.echoed(draft.text, messages):
            raise BadAnswerError("the prompt repeated")
        if draft.diagnoses is not None and overlap(draft.diagnoses, stay.diagnoses) < self._settings.agreement:
            raise BadAnswerError("its diagnoses do not agree with the labels")
        return draft

    def _outcome(self, task: _Task, way: Way, reasons: list[str], accepted: _CheckedDraft | None = None) -> Outcome:
        """Count and describe the result for a rationale. ``accepted``: the accepted draft, if any."""
        stay_id, kind = task.stay.stay_id, task.kind
        self.tally.ways[kind, way] += 1
        claims = accepted.check.claims if accepted else []
        self.tally.taught.update((kind, claim.standing) for claim in claims)
        described = {"claims": [claim.as_json() for claim in claims], "way": way, "before": reasons}
        verdicts = json.dumps(described, separators=(",", ":"))
        if accepted is None:
            return Outcome(stay_id, kind, way, None, verdicts)
        text = accepted.draft.text
        grounded = frozenset(grounded_diagnoses([(text, claims)]))
        return Outcome(stay_id, kind, way, text, verdicts, grounded, of_text(text, accepted.logprobs))


def _reason(error: Exception) -> str:
    """Why an answer is rejected; for an unexpected error its type only, since its message may quote patient text."""
    return (
        str(error) if isinstance(error, BadAnswerError) else f"answer that could not be read ({type(error).__name__})"
    )


def overlap(one: tuple[str, ...], other: list[str]) -> float:
    """Jaccard index; two empty sets agree.

    >>> overlap(("shock",), ["shock", "septicemia"])
    0.5
    """
    union = set(one) | set(other)
    return len(set(one) & set(other)) / len(union) if union else 1.0
