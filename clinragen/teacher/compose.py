"""One stay, two rationales: asked for, checked, asked for again, edited down to what stands, or dropped."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from clinragen.teacher import answers, journal
from clinragen.teacher.answers import BadAnswerError, Draft
from clinragen.teacher.client import Asker, NoAnswerError
from clinragen.teacher.completions import Answer
from clinragen.teacher.judge import Judge, Judgement, words_of
from clinragen.teacher.logprobs import of_text
from clinragen.teacher.prompts import Prompts, Stay
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.tokens import Messages
from clinragen.verify.grounds import grounded_diagnoses

#: How a rationale came about, the best first. ``missing``: no answer came, so another run may still get one.
WAYS = ("as written", "regenerated", "edited", "dropped", "missing")


@dataclass(frozen=True)
class Outcome:
    """What became of one rationale. ``text`` is None where it was dropped or is missing."""

    stay_id: int
    kind: str
    way: str
    text: str | None
    verdicts: str  # JSON: claims and how it came about
    grounded: frozenset[str] = frozenset()  # keys of the diagnoses that the text gives a ground for
    logprobs: list[list[Any]] | None = None  # of its tokens, where kept and the text is the teacher's word for word


class JournalOnly:
    """An asker that asks nobody: for exports."""

    async def ask(self, messages: Messages, parameters: dict[str, Any], name: str) -> Answer:
        """Never an answer."""
        raise NoAnswerError("not in the journal")


class Composer:
    """Brings rationales about, with one journal for all answers.

    Attributes:
        ways: (kind, way) -> number of rationales.
        rejected: why answers were no rationales, with counts.
        verdicts: (kind, verdict) -> number of claims in first drafts, before anything was done about them.
        taught: the same of the rationales that came of them.
        coverage: diagnoses ``listed``, and those of them that a rationale that came of it has ``grounded``.
        asked, found: requests sent, and answers that were already in the journal.
        tokens: prompt and completion tokens of the requests sent.
        served_by: what the server called its model, with the number of answers.
    """

    def __init__(
        self,
        settings: TeacherSettings,
        prompts: Prompts,
        judge: Judge,
        kept: journal.Journal,
        asker: Asker,
        *,
        model: str,
        structured: bool,
    ) -> None:
        self._settings, self._prompts, self._judge = settings, prompts, judge
        self._journal, self._asker, self._model = kept, asker, model
        self._structured = structured
        self.ways: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[str] = Counter()
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.taught: Counter[tuple[str, str]] = Counter()
        self.coverage: Counter[str] = Counter(listed=0, grounded=0)
        self.missing: Counter[str] = Counter()
        self.asked = self.found = 0
        self.tokens: Counter[str] = Counter()
        self.served_by: Counter[str] = Counter()

    async def compose(self, stay: Stay) -> list[Outcome]:
        """Both rationales; the one of the series is asked for in the light of the one of the note."""
        outcomes = await self._both(stay)
        grounded = frozenset[str]().union(*(outcome.grounded for outcome in outcomes))
        self.coverage.update(listed=len(stay.diagnoses), grounded=len(grounded.intersection(stay.diagnoses)))
        return outcomes

    async def _both(self, stay: Stay) -> list[Outcome]:
        note = await self._rationale(stay, "note", "")
        if note.way == "missing":  # its prompt would change once the note's rationale is there
            self.ways["series", "missing"] += 1
            return [note, Outcome(stay.stay_id, "series", "missing", None, "{}")]
        return [note, await self._rationale(stay, "series", note.text or "")]

    async def _rationale(self, stay: Stay, kind: str, note_rationale: str) -> Outcome:
        reasoning = self._settings.mode == "reason"
        first = self._prompts.messages(stay, kind, structured=self._structured, note_rationale=note_rationale)
        messages, attempts = first, self._settings.samples if reasoning else 1 + self._settings.regenerate
        least = self._settings.least_supported if stay.diagnoses else 0
        drafts: list[tuple[Draft, Judgement]] = []
        reasons: list[str] = []
        for attempt in range(attempts):
            try:
                record = await self._answer(messages, attempt, stay.stay_id, kind)
            except NoAnswerError as error:
                self.missing[str(error)] += 1
                return self._outcome(stay, kind, "missing", None, None, [*reasons, str(error)])
            try:
                draft = self._draft(record, messages, stay, kind)
                judgement = self._judge.judge(draft.text, stay, kind)
            except Exception as error:  # noqa: BLE001 (the answer is journaled: its fault would end every run)
                reasons.append(_reason(error))
                self.rejected[reasons[-1]] += 1
                continue
            if not drafts:
                self.verdicts.update((kind, claim.standing) for claim in judgement.claims)
            if not judgement.unfounded and judgement.supported >= least:
                way = "edited" if draft.shortened else "regenerated" if attempt else "as written"
                steps = of_text(draft.text, record.get("logprobs"))
                return self._outcome(stay, kind, way, draft.text, judgement, reasons, steps)
            drafts.append((draft, judgement))
            if judgement.unfounded:
                reasons.append("not borne out by the chart")
                if not reasoning:
                    messages = self._prompts.again(first, draft.text, words_of(draft.text, judgement.unfounded))
            else:
                reasons.append("nothing in it is supported")
        for draft, _ in sorted(drafts, key=lambda pair: (-pair[1].supported, len(pair[1].unfounded))):
            mended = self._mended(draft, stay, kind, max(least, 1))
            if mended is not None:
                return self._outcome(stay, kind, "edited", *mended, reasons)
        return self._outcome(stay, kind, "dropped", None, None, reasons)

    async def _answer(self, messages: Messages, attempt: int, stay_id: int, kind: str) -> dict[str, Any]:
        """From the journal, else from the asker, kept before it is looked at."""
        schema = self._prompts.schema() if self._structured else None
        parameters = self._settings.parameters(attempt, schema)
        name = journal.key(messages, self._model, parameters, stay_id, kind)
        record = self._journal.get(name)
        if record is not None:
            self.found += 1
            self.served_by[record.get("served_by", "")] += 1
            return record
        answer = await self._asker.ask(messages, parameters, name)
        self.asked += 1
        self.tokens.update(answer.usage)
        self.served_by[answer.model] += 1
        record = {
            "key": name,
            "stay_id": stay_id,
            "kind": kind,
            "model": self._model,
            "served_by": answer.model,
            "attempt": attempt,
            "seed": None if "seed" in self._settings.server.omit else parameters["seed"],
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "usage": answer.usage,
        }
        if answer.logprobs is not None:
            record["logprobs"] = answer.logprobs
        await self._journal.append(record)
        return record

    def _mended(self, draft: Draft, stay: Stay, kind: str, least: int) -> tuple[str, Judgement] | None:
        try:
            return self._judge.mended(draft.text, stay, kind, least)
        except Exception as error:  # noqa: BLE001 (as above)
            self.rejected[_reason(error)] += 1
            return None

    def _draft(self, record: dict[str, Any], messages: Messages, stay: Stay, kind: str) -> Draft:
        server, sampling = self._settings.server, self._settings.sampling
        answers.check_whole(
            record,
            messages,
            sampling.max_tokens,
            require_usage=server.require_usage,
            counts_prompt=server.counts_prompt,
        )
        reasoning = self._settings.mode == "reason"
        draft = answers.parse(
            record["text"], kind, self._prompts.graph.labels, reason=reasoning, structured=self._structured
        )
        if self._prompts.echoed(draft.text, messages):
            raise BadAnswerError("the prompt repeated")
        if draft.diagnoses is not None and overlap(draft.diagnoses, stay.diagnoses) < self._settings.agreement:
            raise BadAnswerError("its diagnoses do not agree with the labels")
        return draft

    def _outcome(
        self,
        stay: Stay,
        kind: str,
        way: str,
        text: str | None,
        judgement: Judgement | None,
        reasons: list[str],
        steps: list[list[Any]] | None = None,
    ) -> Outcome:
        self.ways[kind, way] += 1
        self.taught.update((kind, claim.standing) for claim in (judgement.claims if judgement else ()))
        claims = [claim.as_json() for claim in judgement.claims] if judgement else []
        told = {"claims": claims, "way": way, "before": reasons}
        grounded = frozenset(grounded_diagnoses([(text, judgement.claims)]) if text is not None and judgement else ())
        return Outcome(stay.stay_id, kind, way, text, json.dumps(told, separators=(",", ":")), grounded, steps)


def _reason(error: Exception) -> str:
    """Why an answer is no rationale; of an error that should not be, its kind alone, since its words may quote."""
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
