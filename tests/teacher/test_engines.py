"""Bulk engines, with stubs of vLLM's and Ray's interfaces: the real ones need GPUs."""

import asyncio
import json
import math
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from clinragen.attestation import Attestation
from clinragen.errors import UserError
from clinragen.teacher.batches import Batches
from clinragen.teacher.client import NoAnswerError
from clinragen.teacher.ray_engine import RayEngine
from clinragen.teacher.settings import EngineSettings, SamplingSettings, TeacherSettings
from clinragen.teacher.vllm_engine import VllmEngine


class Recorder:
    """``vllm.LLM``: remembers its options and the sizes of its batches."""

    batches: ClassVar[list[int]] = []
    options: ClassVar[dict] = {}

    def __init__(self, **options):
        Recorder.options = options

    def chat(self, prompts, sampling, use_tqdm):
        self.batches.append(len(prompts))
        if any("too long" in prompt[0]["content"] for prompt in prompts):
            raise ValueError("longer than the maximum model length")
        if any("crash" in prompt[0]["content"] for prompt in prompts):
            raise RuntimeError("out of memory")
        return [self._output(p[0]["content"], s) for p, s in zip(prompts, sampling, strict=True)]

    def _output(self, content, sampling):
        said = SimpleNamespace(text=f"{content} {sampling.seed}", finish_reason="stop", token_ids=[1, 2], logprobs=None)
        if sampling.logprobs is not None:
            one = SimpleNamespace(decoded_token="a", logprob=-0.5)
            other = SimpleNamespace(decoded_token="b", logprob=-1.5)
            said.logprobs = [{2: other, 1: one}, {2: other}]
        return SimpleNamespace(prompt_token_ids=[0] * 5, outputs=[said])


@pytest.fixture
def vllm(monkeypatch):
    module, params = ModuleType("standin"), ModuleType("standin.sampling_params")
    monkeypatch.setattr(Recorder, "batches", [])
    module.LLM, module.SamplingParams = Recorder, lambda **chosen: SimpleNamespace(**chosen)  # type: ignore[attr-defined]
    params.StructuredOutputsParams = lambda json: json  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "standin", module)
    monkeypatch.setitem(sys.modules, "standin.sampling_params", params)
    return module


def ask(engine, texts, batch=4, **sampling):
    settings = TeacherSettings(sampling=SamplingSettings(**sampling))

    async def go():
        async with Batches(engine, batch) as batches:
            requests = [
                batches.ask([{"role": "user", "content": text}], settings.parameters(n, {"type": "object"}), "k")
                for n, text in enumerate(texts)
            ]
            return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(go())


def test_requests_go_out_in_batches_and_come_back_in_order(vllm):
    answers = ask(VllmEngine(EngineSettings(model="m"), vllm), [f"p{n}" for n in range(10)])
    assert [answer.text for answer in answers] == [f"p{n} {n}" for n in range(10)]
    assert answers[0].usage == {"prompt_tokens": 5, "completion_tokens": 2}
    assert answers[0].logprobs is None
    assert vllm.LLM.batches == [4, 4, 2]
    assert vllm.LLM.options["max_model_len"] == 8192


def test_one_long_prompt_does_not_spoil_its_batch(vllm):
    answers = ask(VllmEngine(EngineSettings(model="m"), vllm), ["a", "too long", "c"])
    assert [type(answer) for answer in answers][1] is NoAnswerError
    assert [answers[0].text, answers[2].text] == ["a 0", "c 2"]


def test_nobody_waits_for_an_engine_that_died(vllm):
    answers = ask(VllmEngine(EngineSettings(model="m"), vllm), ["a", "crash", "c", "d", "e"])
    assert all(isinstance(answer, UserError) for answer in answers)


def test_log_probabilities_come_sampled_token_first(vllm):
    (answer,) = ask(VllmEngine(EngineSettings(model="m"), vllm), ["a"], logprobs=True, top_logprobs=2)
    assert answer.logprobs == [["a", -0.5, [["b", -1.5]]], ["b", -1.5, []]]


class Dataset:
    """``ray.data.Dataset`` with what the engine uses of it; rows come back out of order, as from a cluster."""

    def __init__(self, rows):
        self.rows = rows

    def iter_rows(self):
        for row in self.rows[::-1]:
            if row.get("text", "").startswith("crash"):
                raise RuntimeError("actor died")
            yield row


@pytest.fixture
def ray(monkeypatch):
    """Ray Data LLM as documented: preprocess, an engine that adds columns, postprocess."""
    module, data, llm = (ModuleType(name) for name in ("standray", "standray.data", "standray.data.llm"))
    module.init = lambda **options: llm.configs.append(options)  # type: ignore[attr-defined]
    data.from_items = Dataset  # type: ignore[attr-defined]
    llm.configs = []  # type: ignore[attr-defined]

    def config(**options):
        llm.configs.append(options)  # type: ignore[attr-defined]

    def engine(row):
        text, sampling = row["messages"][0]["content"], row["sampling_params"]
        assert json.loads(sampling["guided_decoding"]["json"]) == {"type": "object"}
        if text == "too long":
            return {**row, "__inference_error__": "ValueError: its text", "num_generated_tokens": math.nan}
        written = sampling["max_tokens"] if text == "endless" else 7
        return {
            **row, "generated_text": f"{text} {sampling['seed']}", "num_input_tokens": 5,
            "num_generated_tokens": written, "__inference_error__": "",
        }  # fmt: skip

    def build_processor(config, preprocess, postprocess):
        return lambda dataset: Dataset([postprocess(engine(preprocess(row))) for row in dataset.rows])

    llm.vLLMEngineProcessorConfig, llm.build_processor = config, build_processor  # type: ignore[attr-defined]
    for part in (module, data, llm):
        monkeypatch.setitem(sys.modules, part.__name__, part)
    return module


def test_a_cluster_answers_in_any_order(ray):
    settings = EngineSettings(model="m", replicas=3, tensor_parallel_size=2)
    answers = ask(RayEngine(settings, ray), ["a", "endless", "too long", "d"], batch=100)
    assert [answers[0].text, answers[3].text] == ["a 0", "d 3"]
    assert answers[0].usage == {"prompt_tokens": 5, "completion_tokens": 7}
    assert [answers[0].finish_reason, answers[1].finish_reason] == ["stop", "length"]
    assert str(answers[2]).startswith("engine error")
    assert "its text" not in str(answers[2])
    start, options = sys.modules["standray.data.llm"].configs
    assert start["address"] == "local"
    assert start["log_to_driver"] is False
    assert options["concurrency"] == 3
    assert options["engine_kwargs"]["tensor_parallel_size"] == 2


@pytest.mark.parametrize(
    ("place", "change", "told"),
    [
        ("10.0.0.5:6379", {"host": ""}, "attestation.host is empty"),
        ("10.0.0.5:6379", {"host": "10.0.0.6"}, "attestation.host is '10.0.0.6'"),
        ("10.0.0.5:6379", {"signature": "someone"}, "signature must repeat"),
        ("127.0.0.1:6379", {}, "attestation.host"),  # a head here may have workers anywhere
        ("auto", {}, "expected HOST:PORT"),
        ("ray://10.0.0.5", {}, "expected HOST:PORT"),
        ("10.0.0.5:6379", {}, None),
    ],
)
def test_a_cluster_needs_an_attestation(ray, place, change, told, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "203.0.113.9:6379")
    signed = Attestation("10.0.0.5", "Dr Ada Example", "DUA 1.5.0", "none kept", "2026-01-15", "Dr Ada Example")
    settings = EngineSettings(model="m", replicas=1, cluster=place, attestation=replace(signed, **change))
    if told is None:
        RayEngine(settings, ray)
        assert sys.modules["standray.data.llm"].configs[0]["address"] == place
    else:
        with pytest.raises(UserError, match=told):
            RayEngine(settings, ray)
        assert sys.modules["standray.data.llm"].configs == []


def test_answers_that_came_before_a_cluster_died_are_kept(ray):
    answers = ask(RayEngine(EngineSettings(model="m", replicas=1), ray), ["a", "crash", "c"], batch=100)
    assert answers[2].text == "c 2"
    assert [type(answer) for answer in answers[:2]] == [UserError, UserError]


@pytest.mark.parametrize(("engine", "told"), [(VllmEngine, "pip install vllm"), (RayEngine, r"pip install 'ray\[data")])
def test_what_is_not_installed_is_named(engine, told, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=told):
        engine(EngineSettings(model="m", replicas=1))
