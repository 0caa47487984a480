"""The vLLM backend's batching, over an engine that only has vLLM's interface: the real one needs a GPU."""

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from clinragen.errors import UserError
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.settings import Engine as EngineSettings
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.vllm_engine import Engine


class Recorder:
    """``vllm.LLM``: remembers the sizes of its batches."""

    batches: ClassVar[list[int]] = []

    def __init__(self, **options):
        self.options = options

    def chat(self, prompts, sampling, use_tqdm):
        self.batches.append(len(prompts))
        if any("too long" in prompt[0]["content"] for prompt in prompts):
            raise ValueError("longer than the maximum model length")
        if any("crash" in prompt[0]["content"] for prompt in prompts):
            raise RuntimeError("out of memory")
        return [
            SimpleNamespace(
                prompt_token_ids=[0] * 5,
                outputs=[SimpleNamespace(text=f"{p[0]['content']} {s.seed}", finish_reason="stop", token_ids=[1, 2])],
            )
            for p, s in zip(prompts, sampling, strict=True)
        ]


@pytest.fixture
def vllm(monkeypatch):
    module, params = ModuleType("standin"), ModuleType("standin.sampling_params")
    monkeypatch.setattr(Recorder, "batches", [])
    module.LLM, module.SamplingParams = Recorder, lambda **chosen: SimpleNamespace(**chosen)  # type: ignore[attr-defined]
    params.StructuredOutputsParams = lambda json: json  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "standin", module)
    monkeypatch.setitem(sys.modules, "standin.sampling_params", params)
    return module


def ask(vllm, texts, batch=4):
    async def go():
        async with Engine(EngineSettings(model="m", batch=batch), vllm) as engine:
            requests = [
                engine.ask(
                    [{"role": "user", "content": text}], TeacherSettings().parameters(n, {"type": "object"}), "k"
                )
                for n, text in enumerate(texts)
            ]
            return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(go())


def test_requests_go_out_in_batches_and_come_back_in_order(vllm):
    answers = ask(vllm, [f"p{n}" for n in range(10)])
    assert [answer.text for answer in answers] == [f"p{n} {n}" for n in range(10)]
    assert answers[0].usage == {"prompt_tokens": 5, "completion_tokens": 2}
    assert vllm.LLM.batches == [4, 4, 2]


def test_one_long_prompt_does_not_spoil_its_batch(vllm):
    answers = ask(vllm, ["a", "too long", "c"])
    assert [type(answer) for answer in answers][1] is NoAnswerError
    assert [answers[0].text, answers[2].text] == ["a 0", "c 2"]


def test_nobody_waits_for_an_engine_that_died(vllm):
    answers = ask(vllm, ["a", "crash", "c", "d", "e"])
    assert all(isinstance(answer, UserError) for answer in answers)


def test_without_vllm_the_user_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="pip install vllm"):
        Engine(EngineSettings(model="m"))
