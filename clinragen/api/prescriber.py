"""A language model that ranks classes of drugs: its settings, what it is shown, and what came of its answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinragen.api.values import SettingsLike, overrides
from clinragen.choices import PrescriptionEngine, PrescriptionPrompt, Retrieval
from clinragen.errors import UserError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clinragen.prescriber.run import Tally
    from clinragen.prescriber.settings import PrescriberSettings
    from clinragen.prescription.charts import PatientChart
    from clinragen.prescription.history import History
    from clinragen.prescription.rankers import Neighbours
    from clinragen.prescription.suggest import ClassRanking, Suggester
    from clinragen.tasks import Labels
    from clinragen.teacher.answer_source import AnswerSource
    from clinragen.teacher.client import Client

#: Engines that ask a language model.
ASKING: tuple[PrescriptionEngine, ...] = ("openai", "vllm")


@dataclass(frozen=True)
class ModelRanking:
    """How a language model ranks the classes.

    Attributes:
        ranking: of the classes.
        tally: what became of the questions.
        record: for the manifest: model, prompt, settings and counts.
    """

    ranking: ClassRanking
    tally: Tally
    record: dict[str, Any]


@dataclass(frozen=True)
class PrescribingModel:
    """A language model that may be model.

    Attributes:
        source: gives its answers.
        client: reaches its server, if it has one.
        settings: what it is asked for.
        rag: what is shown beside the chart.
        prompt: what it is model.
        journal: file of its answers.
    """

    source: AnswerSource
    client: Client | None
    settings: PrescriberSettings
    rag: Retrieval
    prompt: PrescriptionPrompt
    journal: Path

    @classmethod
    def of(
        cls,
        engine: PrescriptionEngine,
        out: str | Path | None,
        rag: Retrieval,
        prompt: PrescriptionPrompt,
        config: str | Path | None,
        settings: SettingsLike,
    ) -> PrescribingModel:
        """The model that a user names.

        Raises:
            UserError: settings that are not sound, a server that the privacy policy refuses, packages that are not
                installed, or no folder to journal beside.
        """
        from clinragen import config as configs
        from clinragen.prescriber.settings import PrescriberSettings
        from clinragen.schema import JOURNAL

        if out is None:
            raise UserError(f"engine '{engine}' needs a folder to write (out): every answer is journaled beside it")
        chosen = configs.load("prescription", str(config or engine), PrescriberSettings, overrides(settings))
        chosen.check()
        try:
            from clinragen.teacher.answer_source import AnswerSource
        except ImportError:
            raise missing_extra("a language model behind a server", "teacher") from None
        source = AnswerSource(chosen, "vllm" if engine == "vllm" else "openai")
        folder = Path(out).absolute()
        return cls(source, source.client(), chosen, rag, prompt, folder.with_name(f"{folder.name}{JOURNAL}"))

    def ranking(
        self,
        history: History,
        charts: Mapping[int, PatientChart],
        suggester: Suggester,
        neighbours: Neighbours,
        *,
        progress: bool = False,
    ) -> ModelRanking:
        """Ask about every stay of a history, and rank the classes by the answers.

        Args:
            history: of the stays.
            charts: theirs.
            suggester: screens what is retrieved, and has the graph.
            neighbours: finds similar stays; its labels give the rates of classes.
            progress: report finished stays on standard error.

        Raises:
            UserError: the server or the journal cannot be used, or no validation stay can be learned from.
        """
        from clinragen.api.teaching import stays_done
        from clinragen.knowledge.linker import Linker
        from clinragen.prescriber.calibration import RankOdds
        from clinragen.prescriber.retrieval import Knowledge, SimilarCases
        from clinragen.prescriber.run import prescriber, ranking, ranks_of, stated_grounds
        from clinragen.prescription.charts import read_charts
        from clinragen.prescription.rankers import Popularity

        graph, settings = suggester.graph, self.settings
        linker, rates = Linker(graph), Popularity.fit(neighbours.labels).rates
        model = prescriber(
            self.source,
            settings,
            self.prompt,
            self.rag,
            self.journal,
            knowledge=Knowledge(suggester, rates, settings.treatments, settings.cautions),
            cases=lambda: SimilarCases(neighbours, suggester.names, graph, linker, settings.similar),
        )
        questions = list(model.questions(history, charts))
        validation = self._validation(history) if settings.calibration else None
        if validation is not None:
            others, labels = validation
            questions += model.questions(others, read_charts(others, graph, linker))
        with stays_done(progress) as (moved, say):
            consulted = model.consult(questions, self.client, progress=moved, say=say)
        odds = None
        if validation is not None:
            others, labels = validation
            odds = RankOdds.fit(ranks_of(others, consulted.listings), rates, labels)
        stated = stated_grounds(consulted, charts, graph, self.source.model)
        votes = neighbours.votes(history) if model.cases is not None else None
        record = {
            "model": self.source.model,
            "endpoint": consulted.endpoint,
            "rag": self.rag,
            "prompt": self.prompt,
            "prompt_hash": model.prompts.version,
            "calibrated": odds is not None,
            "settings": {key: value for key, value in asdict(settings).items() if key not in ("server", "engine")},
            "answers": consulted.tally.as_json(),
        }
        ranked = ranking(history, consulted, rates, odds=odds, stated=stated, votes=votes)
        return ModelRanking(ranked, consulted.tally, record)

    def _validation(self, history: History) -> tuple[History, Labels]:
        """Validation stays that some class could be started in, spread evenly, and their labels."""
        import numpy as np

        from clinragen import tasks
        from clinragen.prescription.history import History

        cohort = history.cohort
        ids = cohort.split("validation")
        if np.isin(history.stay_ids, ids).any():
            raise UserError("calibration asks about validation stays: choose another --split, or set calibration=0")
        task = tasks.load("prescription")
        ids = ids[task.labels(cohort, ids).eligible.any(1)] if len(ids) else ids
        if not len(ids):
            raise UserError(f"{cohort.paths.root}: no validation stay can be learned from: set calibration=0")
        chosen = ids[:: -(-len(ids) // self.settings.calibration)]
        return History(cohort, chosen, history.keys), task.labels(cohort, chosen)
