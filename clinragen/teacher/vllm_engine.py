"""vLLM in this process: batches of prompts for ``vllm.LLM.chat``. Needs a GPU and vllm; nothing leaves the process."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from clinragen.errors import UserError
from clinragen.teacher.batches import PromptRequest
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.completions import Answer
from clinragen.teacher.settings import EngineSettings


class VllmEngine:
    """``vllm.LLM`` behind ``Batches``.

    Args:
        vllm: replaces the module, for tests.

    Raises:
        UserError: vllm is not installed.
    """

    def __init__(self, settings: EngineSettings, vllm: Any = None) -> None:
        os.environ["VLLM_NO_USAGE_STATS"] = "1"  # vLLM sends usage reports otherwise
        try:
            self._vllm = importlib.import_module("vllm") if vllm is None else vllm
        except ImportError:
            raise UserError("the vllm teacher needs vLLM: pip install vllm, on a machine with a GPU") from None
        self._model = settings.model
        self._llm = self._vllm.LLM(model=settings.model, **settings.vllm_options())

    def run(self, requests: list[PromptRequest]) -> Iterator[tuple[int, Answer | NoAnswerError]]:
        """Run the whole batch; one by one if vLLM refuses it because of one prompt that is too long."""
        try:
            answers: list[Answer | NoAnswerError] = [*self._chat(requests)]
        except ValueError:  # raised by vLLM for a prompt longer than the model's context
            answers = [self._alone(request) for request in requests]
        yield from enumerate(answers)

    def _alone(self, request: PromptRequest) -> Answer | NoAnswerError:
        try:
            return self._chat([request])[0]
        except ValueError:
            return NoAnswerError("prompt longer than the context")

    def _chat(self, requests: list[PromptRequest]) -> list[Answer]:
        outputs = self._llm.chat(
            [request.messages for request in requests],
            [self._sampling(request) for request in requests],
            use_tqdm=False,
        )
        return [self._answer(output) for output in outputs]

    def _answer(self, output: Any) -> Answer:
        completion = output.outputs[0]
        usage = {"prompt_tokens": len(output.prompt_token_ids), "completion_tokens": len(completion.token_ids)}
        steps = [
            [(candidate.decoded_token, candidate.logprob) for candidate in _chosen_first(step, token)]
            for step, token in zip(completion.logprobs or (), completion.token_ids, strict=False)
        ]
        logprobs = [[*step[0], [list(other) for other in step[1:]]] for step in steps] or None
        return Answer(completion.text, str(completion.finish_reason), usage, self._model, logprobs)

    def _sampling(self, request: PromptRequest) -> Any:
        options: dict[str, Any] = {**request.sampling, "logprobs": request.most_logprobs}
        if request.schema is not None:
            shapes = importlib.import_module(f"{self._vllm.__name__}.sampling_params")
            options["structured_outputs"] = shapes.StructuredOutputsParams(json=request.schema)
        return self._vllm.SamplingParams(**options)


def _chosen_first(step: dict[int, Any], token: int) -> list[Any]:
    """The alternatives of one position, the sampled one first."""
    return [step[token], *(candidate for other, candidate in step.items() if other != token)]
