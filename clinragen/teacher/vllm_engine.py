"""vLLM in this process: requests are gathered and handed to ``vllm.LLM.chat`` in batches. Needs a GPU and vllm."""

from __future__ import annotations

import asyncio
import importlib
from types import TracebackType
from typing import Any, Self

from clinragen.errors import UserError
from clinragen.teacher.client import Answer, NoAnswerError
from clinragen.teacher.settings import Engine as EngineSettings
from clinragen.teacher.tokens import Messages

#: Seconds without a new request after which a batch goes out unfilled.
_QUIET = 0.2


class Engine:
    """An asker over an engine that likes its prompts in bulk. Use as an asynchronous context manager.

    Raises:
        UserError: vllm is not installed, or no model is named.
    """

    def __init__(self, settings: EngineSettings, engine: Any = None) -> None:
        if not settings.model:
            raise UserError("teacher config: engine.model is empty: name the model, as in --set engine.model=NAME")
        try:
            self._vllm = importlib.import_module("vllm") if engine is None else engine
        except ImportError:
            raise UserError("the vllm teacher needs vLLM: pip install vllm, on a machine with a GPU") from None
        self._settings = settings
        self._llm = self._vllm.LLM(
            model=settings.model,
            tensor_parallel_size=settings.tensor_parallel_size,
            max_model_len=settings.max_model_len,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            dtype=settings.dtype,
        )
        self._waiting: list[tuple[Messages, dict[str, Any], asyncio.Future[Answer]]] = []
        self._batch: list[tuple[Messages, dict[str, Any], asyncio.Future[Answer]]] = []
        self._came = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._serve())
        self._loop.add_done_callback(self._stopped)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.cancel()

    async def ask(self, messages: Messages, parameters: dict[str, Any], name: str) -> Answer:
        """One answer, from the batch that the request falls into."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, parameters, answer))
        self._came.set()
        return await answer

    def _stopped(self, serving: asyncio.Task[None]) -> None:
        """Nobody waits for an engine that died."""
        if serving.cancelled() or serving.exception() is None:
            return
        failure = UserError(f"vLLM stopped ({type(serving.exception()).__name__}); its messages above say why")
        for _, _, waiting in [*self._batch, *self._waiting]:
            if not waiting.done():
                waiting.set_exception(failure)

    async def _serve(self) -> None:
        while True:
            await self._came.wait()
            while len(self._waiting) < self._settings.batch:
                seen = len(self._waiting)
                await asyncio.sleep(_QUIET)
                if len(self._waiting) == seen:
                    break
            batch, self._waiting = self._waiting[: self._settings.batch], self._waiting[self._settings.batch :]
            self._batch = batch
            if not self._waiting:
                self._came.clear()
            try:
                answers = await asyncio.to_thread(self._run, batch)
            except ValueError:  # what vLLM raises for a prompt longer than the model's context
                answers = [await asyncio.to_thread(self._alone, request) for request in batch]
            for (_, _, waiting), answer in zip(batch, answers, strict=True):
                if waiting.done():
                    continue
                if isinstance(answer, NoAnswerError):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    def _alone(self, request: tuple[Messages, dict[str, Any], asyncio.Future[Answer]]) -> Answer | NoAnswerError:
        try:
            return self._run([request])[0]
        except ValueError:
            return NoAnswerError("prompt longer than the context")

    def _run(self, batch: list[tuple[Messages, dict[str, Any], asyncio.Future[Answer]]]) -> list[Answer]:
        outputs = self._llm.chat(
            [messages for messages, _, _ in batch],
            [self._sampling(parameters) for _, parameters, _ in batch],
            use_tqdm=False,
        )
        return [
            Answer(
                output.outputs[0].text,
                str(output.outputs[0].finish_reason),
                {
                    "prompt_tokens": len(output.prompt_token_ids),
                    "completion_tokens": len(output.outputs[0].token_ids),
                },
                self._settings.model,
            )
            for output in outputs
        ]

    def _sampling(self, parameters: dict[str, Any]) -> Any:
        chosen = {key: parameters[key] for key in ("temperature", "top_p", "max_tokens", "seed")}
        shape = parameters.get("response_format")
        if shape is not None:
            structured = importlib.import_module(f"{self._vllm.__name__}.sampling_params").StructuredOutputsParams
            chosen["structured_outputs"] = structured(json=shape["json_schema"]["schema"])
        return self._vllm.SamplingParams(**chosen)
