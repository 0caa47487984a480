"""vLLM on several machines: Ray Data LLM spreads each round of prompts over engines placed in a Ray cluster.

A round is one dataset, and every round starts the engines again, so rounds should be large (``engine.batch``). Answers
stream back while the round runs, and are journaled one by one. Prompts are sent to the machines of a cluster, so
joining one needs an attestation, like any other host; without one, Ray runs on this machine only.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

from clinragen.attestation import attested_cluster
from clinragen.errors import UserError
from clinragen.ray_environment import keep_to_itself
from clinragen.teacher.batches import PromptRequest
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.completions import Answer
from clinragen.teacher.settings import EngineSettings


class RayEngine:
    """``ray.data.llm`` behind ``Batches``.

    Args:
        ray: replaces the module, for tests.

    Raises:
        UserError: ray is not installed, or no attestation covers the cluster.
    """

    def __init__(self, settings: EngineSettings, ray: Any = None) -> None:
        address = cluster(settings)
        keep_to_itself()
        try:
            self._ray = importlib.import_module("ray") if ray is None else ray
            self._data = importlib.import_module(f"{self._ray.__name__}.data")
            llm = importlib.import_module(f"{self._ray.__name__}.data.llm")
        except ImportError:
            raise UserError(
                "engine.replicas needs Ray Data LLM: pip install 'ray[data,llm]', on machines with GPUs"
            ) from None
        # workers' logs may quote prompts: do not forward them
        self._ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
        self._model = settings.model
        config = llm.vLLMEngineProcessorConfig(
            model_source=settings.model,
            concurrency=settings.replicas,
            engine_kwargs=settings.vllm_options(),
            should_continue_on_error=True,
        )

        # defined here so that they are pickled by value: clinragen need not be installed on the workers
        def before(row: dict[str, Any]) -> dict[str, Any]:
            return {"place": row["place"], **json.loads(row["request"])}

        def after(row: dict[str, Any]) -> dict[str, Any]:
            return {
                "place": row["place"],
                "text": row.get("generated_text") or "",
                "read": row.get("num_input_tokens") or 0,
                "written": row.get("num_generated_tokens") or 0,
                "failed": bool(row.get("__inference_error__")),
            }

        self._process = llm.build_processor(config, preprocess=before, postprocess=after)

    def run(self, requests: list[PromptRequest]) -> Iterator[tuple[int, Answer | NoAnswerError]]:
        """Answers in the order in which the cluster finishes them. vLLM's finish reason is not returned: an answer that
        fills its limit counts as truncated."""
        items = [{"place": index, "request": json.dumps(_row(request))} for index, request in enumerate(requests)]
        for row in self._process(self._data.from_items(items)).iter_rows():
            index = int(row["place"])
            if row["failed"]:
                yield index, NoAnswerError("engine error, such as a prompt longer than the context")
                continue
            written = int(row["written"])
            finish = "length" if written >= requests[index].parameters["max_tokens"] else "stop"
            usage = {"prompt_tokens": int(row["read"]), "completion_tokens": written}
            yield index, Answer(row["text"], finish, usage, self._model)


def cluster(settings: EngineSettings) -> str:
    """Where Ray runs: ``local``, even if RAY_ADDRESS is set, or the attested cluster of the settings.

    Raises:
        UserError: not host:port, or not attested.
    """
    if not settings.cluster:
        return "local"
    return attested_cluster(
        settings.cluster, settings.attestation, "teacher config: engine.cluster", "engine.attestation must name it"
    )


def _row(request: PromptRequest) -> dict[str, Any]:
    sampling: dict[str, Any] = {**request.sampling}
    if request.schema is not None:
        sampling["guided_decoding"] = {"json": json.dumps(request.schema)}  # Ray's name for structured outputs
    return {"messages": request.messages, "sampling_params": sampling}
