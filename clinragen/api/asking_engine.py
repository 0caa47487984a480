"""What reads questions beside the rules: a student of stage ``ask``, or a language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from clinragen.api.values import SettingsLike, overrides
from clinragen.choices import EngineReads, QuestionEngine
from clinragen.errors import UserError, missing_extra, unknown_choice

if TYPE_CHECKING:
    from clinragen.dialogue.dialogue import Router
    from clinragen.dialogue.llm_prompts import ReaderSettings
    from clinragen.dialogue.llm_reader import Tally
    from clinragen.dialogue.names import Names
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.knowledge.linker import Linker
    from clinragen.teacher.answer_source import AnswerSource
    from clinragen.teacher.client import Client

_ENGINES: tuple[QuestionEngine, ...] = ("rules", "student", "openai", "vllm")
_READS: tuple[EngineReads, ...] = ("rest", "all")


@dataclass(frozen=True)
class OpenEngine:
    """What reads the questions of dialogues.

    Attributes:
        name: rules, student, openai or vllm.
        router: chooses a query; None: the rules alone do.
        always: whether it reads every question, and not only those that the rules do not read.
        workers: dialogues that are held at a time.
        tally: what a language model's answers came to.
        source: where they come from.
        described: of the model, for a manifest.
    """

    name: str
    router: Router | None = None
    always: bool = False
    workers: int = 1
    tally: Tally | None = None
    described: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What a manifest says of it; after the last question."""
        counts = {} if self.tally is None else {"answers": self.tally.as_json()}
        return {"engine": self.name, **self.described, **counts}


@dataclass(frozen=True)
class EngineChoice:
    """What a user wants questions to be read by.

    Attributes:
        engine: rules alone; a student of stage ``ask``; a language model behind an OpenAI-compatible server, or with
            vLLM in this process.
        model: run folder of the student.
        reads: what the engine reads: the rest, which the rules do not read, or all.
        config: settings of the language model, a shipped name or a YAML file; the engine's name by default.
        settings: overrides of them.

    Raises:
        UserError: an unknown engine, or options of another one.
    """

    engine: QuestionEngine = "rules"
    model: str | Path | None = None
    reads: EngineReads = "rest"
    config: str | Path | None = None
    settings: SettingsLike = ()

    def __post_init__(self) -> None:
        if self.engine not in _ENGINES:
            raise unknown_choice("engine", self.engine, _ENGINES)
        if self.reads not in _READS:
            raise unknown_choice("what the engine reads", self.reads, _READS)
        if (self.engine == "student") != (self.model is not None):
            raise UserError("--engine student, and only that, needs --model, a run of `clinragen train ask`")
        if not self.asks and (self.config is not None or self.settings):
            raise UserError("--config and --set are of a language model: they go with --engine openai or vllm")

    @property
    def asks(self) -> bool:
        """Whether a language model is asked."""
        return self.engine in ("openai", "vllm")

    def source(self) -> tuple[ReaderSettings, AnswerSource, Client | None]:
        """The language model, before anything is read, so that it can fail fast.

        Raises:
            UserError: settings that are not sound, a server that the privacy policy refuses, or packages that are not
                installed.
        """
        from clinragen import config as configs

        try:
            from clinragen.dialogue.llm_prompts import ReaderSettings
            from clinragen.teacher.answer_source import AnswerSource
        except ImportError:
            raise missing_extra("a language model behind a server", "teacher") from None
        settings = configs.load("ask", str(self.config or self.engine), ReaderSettings, overrides(self.settings))
        settings.check()
        source = AnswerSource(settings, "vllm" if self.engine == "vllm" else "openai")
        return settings, source, source.client()

    @contextmanager
    def open(
        self,
        graph: ConceptGraph,
        names: Names,
        linker: Linker,
        journal: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> Iterator[OpenEngine]:
        """The engine, ready to read.

        Args:
            graph: concepts and labels that can be asked about.
            names: finds names in what a language model writes.
            linker: that of the graph.
            journal: file of a language model's answers; None: they are not kept.
            say: called with a line for each phase.

        Raises:
            UserError: the run, the server, the engine or the journal cannot be used.
        """
        always = self.reads == "all"
        if self.model is not None:
            from clinragen.artifacts import sha256_file
            from clinragen.model.query_reader import QuestionReader

            reader = QuestionReader.load(self.model, graph, linker)
            weights = sha256_file(Path(self.model) / "model" / "model.safetensors")
            yield OpenEngine("student", reader, always, described={"reads": self.reads, "model_hash": weights})
            return
        if not self.asks:
            yield OpenEngine("rules")
            return
        settings, source, client = self.source()
        from clinragen.dialogue.llm_prompts import Prompts
        from clinragen.dialogue.llm_reader import LanguageModelReader

        prompts = Prompts(settings, graph, names)
        version = prompts.version  # templates that cannot be read are said before any request
        with ExitStack() as stack:
            if journal is None:
                folder = stack.enter_context(TemporaryDirectory(prefix="clinragen-ask-"))
                journal = Path(folder) / "answers.journal.jsonl"
            asking = stack.enter_context(LanguageModelReader(source, client, prompts, journal, say))
            described = {
                "reads": self.reads,
                "model": source.model,
                "endpoint": source.endpoint(client),
                "prompt_hash": version,
            }
            yield OpenEngine(self.engine, asking, always, source.workers, asking.tally, described)
