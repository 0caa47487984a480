"""Where a language model's answers come from: a server that the policy allows, an engine in this process, or a journal.

``JournaledAsker`` puts the journal before the source: what was answered once is not asked again.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from clinragen.errors import UserError
from clinragen.teacher import journal
from clinragen.teacher.batches import Batches, BulkEngine
from clinragen.teacher.client import Asker, Client, NoAnswerError
from clinragen.teacher.completions import Answer
from clinragen.teacher.policy import EndpointRecord
from clinragen.teacher.settings import EngineSettings, ModelSettings, Parameters
from clinragen.teacher.tokens import Messages

#: a server, or an engine in this process
ModelBackend = Literal["openai", "vllm"]


class JournalOnly:
    """An asker that sends no requests, for exports from the journal."""

    async def ask(self, messages: Messages, parameters: Parameters, name: str) -> Answer:
        """Always raises: there is no server."""
        raise NoAnswerError("not in the journal")


@dataclass(frozen=True)
class AnswerSource:
    """The source of answers.

    Attributes:
        settings: of the model.
        backend: openai (a server) or vllm (an engine in this process).
        offline: answers come from the journal only.
        asker: replaces the backend.
    """

    settings: ModelSettings
    backend: ModelBackend
    offline: bool = False
    asker: Asker | None = None

    @property
    def model(self) -> str:
        """The model's name for the server or engine.

        Raises:
            UserError: the settings name none.
        """
        where = "engine.model" if self.backend == "vllm" else "server.model"
        model = self.settings.engine.model if self.backend == "vllm" else self.settings.server.model
        if not model:
            raise UserError(
                f"{self.settings.config} config: {where} is empty: name the model, as in --set {where}=NAME"
            )
        return model

    def client(self) -> Client | None:
        """The client, if there is a server; created before the cohort is read, so that it can fail fast.

        Raises:
            UserError: the settings name no model, or as ``Client``.
        """
        served = bool(self.model) and self.backend == "openai" and not self.offline and self.asker is None
        return Client(self.settings.server) if served else None

    async def open(self, client: Client | None, stack: AsyncExitStack) -> Asker:
        """The asker, open until the stack is closed.

        Args:
            client: that of ``client()``.
            stack: closes it.
        """
        if client is not None:
            return await stack.enter_async_context(client)
        if self.offline:
            return JournalOnly()
        if self.asker is not None:
            return self.asker
        engine = self.settings.engine
        return await stack.enter_async_context(Batches(_engine(engine), engine.batch))

    @property
    def starts_engine(self) -> bool:
        """Whether ``open`` starts an engine, which takes minutes."""
        return self.backend == "vllm" and not self.offline and self.asker is None

    @property
    def workers(self) -> int:
        """Number of stays in progress at once: more than slots, so that none is idle while answers are checked."""
        return 2 * (self.settings.engine.batch if self.backend == "vllm" else self.settings.server.concurrency)

    def endpoint(self, client: Client | None) -> EndpointRecord | None:
        """The endpoint of prompts with its attestation; None if they stay in this process."""
        if client is not None:
            return client.endpoint.as_json()
        engine = self.settings.engine
        if not (engine.replicas and engine.cluster):
            return None
        return {"base_url": f"ray://{engine.cluster}", "attestation": asdict(engine.attestation)}


class Received(NamedTuple):
    """An answer as it is journaled. ``sent``: it was asked for now, and not found in the journal."""

    record: journal.Record
    sent: bool


@dataclass(frozen=True)
class JournaledAsker:
    """Answers from a journal or else from an asker.

    Attributes:
        journal: holds every answer.
        asker: is asked for those that it does not hold.
        settings: parameters of the requests.
        model: its name in the config; part of each answer's key.
    """

    journal: journal.Journal
    asker: Asker
    settings: ModelSettings
    model: str

    async def ask(
        self, messages: Messages, schema: dict[str, Any] | None, *, stay_id: int, kind: str, attempt: int = 0
    ) -> Received:
        """One answer; a new one is stored before it is returned.

        Args:
            messages: the prompt.
            schema: JSON schema of the answer, if one is requested.
            stay_id: what the prompt is about.
            kind: what is asked of the stay.
            attempt: number of the answer to the same question, from 0.

        Raises:
            NoAnswerError: no answer to this request; others may succeed.
            UserError: no request can succeed.
            OSError: the answer could not be stored.
        """
        parameters = self.settings.parameters(attempt, schema)
        name = journal.key(messages, self.model, parameters, stay_id, kind)
        record = self.journal.get(name)
        if record is not None:
            return Received(record, sent=False)
        answer = await self.asker.ask(messages, parameters, name)
        record = journal.Record(
            key=name,
            stay_id=stay_id,
            kind=kind,
            model=self.model,
            served_by=answer.model,
            attempt=attempt,
            seed=None if "seed" in self.settings.server.omit else parameters["seed"],
            text=answer.text,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
        )
        if answer.logprobs is not None:
            record["logprobs"] = answer.logprobs
        await self.journal.append(record)
        return Received(record, sent=True)


def _engine(settings: EngineSettings) -> BulkEngine:
    if settings.replicas:
        from clinragen.teacher.ray_engine import RayEngine

        return RayEngine(settings)
    from clinragen.teacher.vllm_engine import VllmEngine

    return VllmEngine(settings)
