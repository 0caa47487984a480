"""Asks a language model about each stay of a history, with a journal, and ranks the classes by its lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clinragen.choices import PrescriptionPrompt, Retrieval
from clinragen.knowledge.graph import ConceptGraph
from clinragen.prescriber.answers import Listing, listing
from clinragen.prescriber.calibration import RankOdds
from clinragen.prescriber.prompts import Prompts
from clinragen.prescriber.reasons import ReasonChecker
from clinragen.prescriber.retrieval import Knowledge, Retrieved, SimilarCases
from clinragen.prescriber.settings import PrescriberSettings
from clinragen.prescription.charts import PatientChart
from clinragen.prescription.grounds import Ground
from clinragen.prescription.history import History
from clinragen.prescription.suggest import ClassRanking
from clinragen.teacher import answers
from clinragen.teacher.answer_source import AnswerSource, JournaledAsker
from clinragen.teacher.asking import ask_all
from clinragen.teacher.attempts import CONTINUE, AnswerTally, until_usable
from clinragen.teacher.client import Client
from clinragen.teacher.journal import Record
from clinragen.teacher.policy import EndpointRecord
from clinragen.teacher.tokens import Messages

_KIND = "prescription"


@dataclass(kw_only=True)
class Tally(AnswerTally):
    """What became of the questions. Stays without a usable answer are ranked by rates alone.

    Attributes:
        stays: that were asked about.
        entries: entries of the lists, by what they are: a class, unknown, repeated, in force.
        cut: lists that reached the limit of tokens; what was whole of them counts.
        reasons: reasons by whether the chart bears them out: supported, dropped.
    """

    stays: int = 0
    entries: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """The counts as text."""
        lines = [f"{self.stays} stays; {self.sent} answers received, {self.reused} taken from the journal"]
        named = ", ".join(f"{count} {what}" for what, count in self.entries.most_common())
        lines.append(f"entries of the lists: {named or 'none'}")
        if self.reasons:
            lines.append(
                f"reasons: {self.reasons['supported']} borne out by the chart, {self.reasons['dropped']} dropped"
            )
        if self.cut:
            lines.append(f"{self.cut} lists cut: raise sampling.max_tokens")
        lines += self.without("a list", "stays", ", ranked by rates alone")
        return lines + [CONTINUE] * bool(self.missing)


@dataclass(frozen=True)
class Question:
    """What is asked about one stay."""

    stay_id: int
    messages: Messages
    ordered: frozenset[str]


@dataclass(frozen=True)
class Consulted:
    """What a language model said of some stays.

    Attributes:
        listings: of the stays with a usable answer.
        tally: counts.
        endpoint: where the prompts went; None if they stayed in this process.
    """

    listings: dict[int, Listing]
    tally: Tally
    endpoint: EndpointRecord | None


@dataclass(frozen=True)
class Prescriber:
    """A language model with what is shown to it.

    Attributes:
        source: gives its answers.
        prompts: what it is asked.
        journal: file of its answers.
        rates: how often each class is started, [classes].
        cases: retrieves similar stays; None: none are shown.
        knowledge: retrieves treatments and cautions; None: none are shown.
    """

    source: AnswerSource
    prompts: Prompts
    journal: Path
    rates: np.ndarray
    cases: SimilarCases | None = None
    knowledge: Knowledge | None = None

    @property
    def settings(self) -> PrescriberSettings:
        """Settings of the model."""
        return self.prompts.settings

    def questions(self, history: History, charts: Mapping[int, PatientChart]) -> Iterator[Question]:
        """A question about each stay of a history."""
        cases = self.cases.lines(history, charts) if self.cases is not None else [()] * len(history.stay_ids)
        for row, stay_id in enumerate(history.stay_ids.tolist()):
            chart = charts[stay_id]
            treatments, cautions = self.knowledge.lines(history, row, chart) if self.knowledge is not None else ((), ())
            messages = self.prompts.messages(stay_id, chart, Retrieved(cases[row], treatments, cautions))
            had = frozenset(key for key, ordered in zip(history.keys, history.ordered[row], strict=True) if ordered)
            yield Question(stay_id, messages, had)

    def consult(
        self,
        questions: list[Question],
        client: Client | None,
        *,
        progress: Callable[[int], None] = lambda done: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> Consulted:
        """Ask all questions; answers that are in the journal are not asked for again.

        Args:
            questions: what to ask.
            client: that of ``source.client()``.
            progress: called with the number of finished questions.
            say: called with a line for each phase.

        Raises:
            UserError: settings, server or journal that cannot be used.
        """
        tally = Tally(stays=len(questions))
        listings: dict[int, Listing] = {}

        async def ask(question: Question, asker: JournaledAsker, structured: bool) -> None:
            if (answer := await self._ask(question, asker, structured, tally)) is not None:
                listings[question.stay_id] = answer

        ask_all(self.source, client, self.journal, questions, ask, progress=progress, say=say)
        return Consulted(listings, tally, self.source.endpoint(client))

    async def _ask(self, question: Question, asker: JournaledAsker, structured: bool, tally: Tally) -> Listing | None:
        """Ask until a list can be read, or the settings allow no more attempts."""

        def read(record: Record) -> Listing:
            cut = answers.is_cut(record, question.messages, self.settings)
            answer = listing(record["text"], self.prompts.names, question.ordered)
            tally.cut += cut
            tally.entries.update(
                {
                    "classes": len(answer.reasons),
                    "unknown": answer.unknown,
                    "repeated": answer.repeated,
                    "ordered before": answer.in_force,
                }
            )
            tally.entries = +tally.entries
            return answer

        return await until_usable(
            asker,
            question.messages,
            self.prompts.schema(question.ordered) if structured else None,
            read,
            stay_id=question.stay_id,
            kind=_KIND,
            attempts=1 + self.settings.regenerate,
            tally=tally,
        )


def ranks_of(history: History, listings: Mapping[int, Listing]) -> np.ndarray:
    """Places of the classes in the lists of the stays of a history, from 1, 0 not listed, int [n, classes]."""
    ranks = np.zeros((len(history.stay_ids), len(history.keys)), dtype=int)
    column = {key: number for number, key in enumerate(history.keys)}
    for row, stay_id in enumerate(history.stay_ids.tolist()):
        answer = listings.get(stay_id, Listing())
        for rank, key in enumerate(answer.reasons, 1):
            ranks[row, column[key]] = rank
    return ranks


def ranking(
    history: History,
    consulted: Consulted,
    rates: np.ndarray,
    *,
    odds: RankOdds | None = None,
    stated: Mapping[tuple[int, str], Ground] | None = None,
    votes: tuple[np.ndarray, np.ndarray] | None = None,
) -> ClassRanking:
    """The ranking of a language model's lists.

    Args:
        history: of the stays.
        consulted: what the model said.
        rates: how often each class is started, [classes].
        odds: what validation stays tell of places; None: a class has its rate, and listed classes come first.
        stated: grounds that the model stated.
        votes: of similar stays, where they were shown.
    """
    ranks = ranks_of(history, consulted.listings)
    tiled = np.tile(rates, (len(ranks), 1))
    probabilities = odds.probabilities(ranks, rates) if odds is not None else tiled
    return ClassRanking(probabilities, votes, ranks, odds is not None, stated or {})


def stated_grounds(
    consulted: Consulted, charts: Mapping[int, PatientChart], graph: ConceptGraph, model: str
) -> dict[tuple[int, str], Ground]:
    """The reasons that the charts bear out, by stay and class; the others are counted as dropped."""
    checker = ReasonChecker(graph, model)
    grounds: dict[tuple[int, str], Ground] = {}
    for stay_id, answer in consulted.listings.items():
        for key, reason in answer.reasons.items():
            if not reason or stay_id not in charts:
                continue
            ground = checker.ground(reason, charts[stay_id])
            consulted.tally.reasons["supported" if ground is not None else "dropped"] += 1
            if ground is not None:
                grounds[stay_id, key] = ground
    return grounds


def prescriber(
    source: AnswerSource,
    settings: PrescriberSettings,
    prompt: PrescriptionPrompt,
    retrieval: Retrieval,
    journal_path: Path,
    *,
    knowledge: Knowledge,
    cases: Callable[[], SimilarCases],
) -> Prescriber:
    """A prescriber with the retrieval that is asked for.

    Args:
        source: of the answers.
        settings: of the model.
        prompt: what it is asked.
        retrieval: what is shown beside the chart.
        journal_path: file of its answers.
        knowledge: of treatments and cautions.
        cases: builds what finds similar stays, which takes seconds.
    """
    return Prescriber(
        source,
        Prompts(settings, prompt, knowledge.suggester.names),
        journal_path,
        knowledge.rates,
        cases() if retrieval in ("cases", "both") else None,
        knowledge if retrieval in ("knowledge", "both") else None,
    )
