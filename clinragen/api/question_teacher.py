"""A language model that writes questions about stays: its settings, and what it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.api.values import SettingsLike, overrides
from clinragen.choices import QuestionTeacher as TeacherName
from clinragen.choices import Split
from clinragen.errors import UserError, missing_extra

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.dialogue.question_prompts import QuestionTeacherSettings
    from clinragen.dialogue.question_teacher import AskedStay, Tally
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.questions.generate import Question
    from clinragen.similarity.index import SimilarIndex
    from clinragen.teacher.answer_source import AnswerSource
    from clinragen.teacher.client import Client

#: Questions that are asked for about each stay, where no other number is given.
PER_STAY = 8


@dataclass(frozen=True)
class QuestioningModel:
    """A language model that may be asked for questions.

    Attributes:
        source: gives its answers.
        client: reaches its server, if it has one.
        settings: what it is asked for.
        per_stay: questions of each stay.
        limit: only the first stays of each split.
        teacher: openai or vllm.
    """

    source: AnswerSource
    client: Client | None
    settings: QuestionTeacherSettings
    per_stay: int
    limit: int | None
    teacher: TeacherName

    @classmethod
    def of(
        cls,
        teacher: TeacherName,
        config: str | Path | None,
        settings: SettingsLike,
        per_stay: int | None,
        limit: int | None,
        *,
        dry: bool = False,
    ) -> QuestioningModel:
        """The model that a user names; ``dry``: it is not going to be asked.

        Raises:
            UserError: settings that are not sound, a server that the privacy policy refuses, or packages that are not
                installed.
        """
        from clinragen import config as configs

        try:
            from clinragen.dialogue.question_prompts import QuestionTeacherSettings
            from clinragen.teacher.answer_source import AnswerSource
        except ImportError:
            raise missing_extra("a language model behind a server", "teacher") from None
        if limit is not None and limit < 1:
            raise UserError(f"--limit {limit}: expected 1 or more")
        chosen = configs.load("question_teacher", str(config or teacher), QuestionTeacherSettings, overrides(settings))
        chosen.check()
        source = AnswerSource(chosen, "vllm" if teacher == "vllm" else "openai")
        client = None if dry else source.client()
        return cls(source, client, chosen, per_stay or PER_STAY, limit, teacher)

    def prompts(self, cohort: Cohort, graph: ConceptGraph, splits: Sequence[Split], seed: int) -> Iterator[str]:
        """The prompt of each stay as text."""
        from clinragen.dialogue.question_prompts import QuestionPrompts

        prompts = QuestionPrompts(self.settings, self.per_stay)
        for stay in self._stays(cohort, graph, splits, seed):
            messages = prompts.messages(stay.chart, stay.examples)
            body = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
            yield f"===== stay {stay.chart.stay_id} =====\n{body}"

    def write(
        self,
        cohort: Cohort,
        graph: ConceptGraph,
        splits: Sequence[Split],
        journal: Path,
        seed: int,
        progress: Callable[[int], None],
        say: Callable[[str], None],
    ) -> tuple[list[Question], Tally, dict[str, Any]]:
        """Questions about the stays of some splits, what became of all, and what a manifest says of the model.

        Raises:
            UserError: the server, the engine or the journal cannot be used.
        """
        from clinragen.dialogue.llm_prompts import Prompts, ReaderSettings
        from clinragen.dialogue.names import Names
        from clinragen.dialogue.question_gate import QuestionGate
        from clinragen.dialogue.question_prompts import QuestionPrompts
        from clinragen.dialogue.question_teacher import QuestionTeacher
        from clinragen.knowledge.linker import Linker
        from clinragen.questions.outline import Outliner

        say("reading the charts and similar stays ...")
        linker = Linker(graph)
        names, prompts = Names(graph, linker), QuestionPrompts(self.settings, self.per_stay)
        gate = QuestionGate(names, Prompts(ReaderSettings(), graph, names), self.teacher)
        teacher = QuestionTeacher(self.source, prompts, gate, Outliner(graph, linker), journal)
        stays = list(self._stays(cohort, graph, splits, seed))
        questions, tally = teacher.write(stays, self.client, progress=progress, say=say)
        record = {
            "teacher": self.teacher,
            "model": self.source.model,
            "endpoint": self.source.endpoint(self.client),
            "prompt_hash": prompts.version,
            "settings": {k: value for k, value in asdict(self.settings).items() if k not in ("server", "engine")},
            "answers": tally.as_json(),
        }
        return questions, tally, record

    def _stays(self, cohort: Cohort, graph: ConceptGraph, splits: Sequence[Split], seed: int) -> Iterator[AskedStay]:
        """The stays with examples about the training stays that are most like each."""
        from random import Random

        from clinragen.dialogue.question_teacher import AskedStay
        from clinragen.knowledge.linker import Linker
        from clinragen.questions.exemplars import exemplars
        from clinragen.questions.stay_chart import charts
        from clinragen.questions.templates import Names, Templates
        from clinragen.similarity.build import build_index
        from clinragen.similarity.index import CHART

        linker, templates, names = Linker(graph), Templates.shipped("train"), Names.of(graph)
        examples_shown = bool(self.settings.similar and self.settings.exemplars)
        index = build_index(cohort, graph, CHART) if examples_shown else None
        for split in splits:
            ids = cohort.split(split)[: self.limit]
            if not len(ids):
                continue
            similar = self._similar(index, cohort, ids)
            others = sorted({other for row in similar.values() for other in row})
            shown = {chart.stay_id: chart for chart in _charts(cohort, graph, others, linker)}
            for chart in charts(cohort.of_stays(ids), graph, linker=linker):
                draw = Random(f"{seed}:{chart.stay_id}")
                alike = [shown[other] for other in similar[chart.stay_id]]
                examples = exemplars(alike, self.settings.exemplars, templates, names, draw)
                yield AskedStay(chart, split, tuple(examples))

    def _similar(self, index: SimilarIndex | None, cohort: Cohort, ids: Any) -> dict[int, list[int]]:
        """The training stays most like each, by words, concepts and series; never one of the same patient."""
        if index is None:
            return {stay_id: [] for stay_id in ids.tolist()}
        return {
            stay_id: [int(index.stays.ids[one.row]) for one in index.search(query, self.settings.similar)]
            for stay_id, query in zip(ids.tolist(), index.queries_of(cohort, ids), strict=True)
        }


def _charts(cohort: Cohort, graph: ConceptGraph, ids: Sequence[int], linker: Any) -> Iterator[Any]:
    import numpy as np

    from clinragen.questions.stay_chart import charts

    return charts(cohort.of_stays(np.array(ids, dtype=np.int64)), graph, linker=linker)
