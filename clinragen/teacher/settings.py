"""Settings of language models that are asked: server, engine, sampling; and of ``configs/teacher/*.yaml`` besides."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, Literal, NotRequired, TypedDict

from clinragen.attestation import Attestation
from clinragen.cohort.rationale_authors import MOST_DROPPED
from clinragen.errors import UserError

Mode = Literal["rationalize", "reason"]
Structured = Literal["auto", "json_schema", "plain"]
Band = Literal["reference", "statistical"]
#: what stands in for a dropped rationale
StandIn = Literal["evidence", "omit"]
#: parameters that some servers do not take
Omittable = Literal["max_tokens", "seed", "stream_options", "temperature", "top_logprobs", "top_p"]
#: what servers call the limit of an answer's tokens
LimitName = Literal["max_tokens", "max_completion_tokens"]
#: Bytes of a response. Rationales have hundreds, long reasoning some hundred thousand.
MOST_BYTES = 4_000_000
#: key -> its least value, of every language model.
_LEAST = {
    "regenerate": 0,
    "note_words": 20,
    "series_lines": 1,
    "server.concurrency": 1,
    "server.tries": 1,
    "server.give_up_after": 1,
    "server.largest_answer": 1000,
    "sampling.max_tokens": 16,
    "sampling.top_logprobs": 0,
    "engine.batch": 1,
    "engine.replicas": 0,
}


@dataclass
class ServerSettings:
    """The server, its limits and its dialect. Times in seconds."""

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    api_key_env: str = ""  # the environment variable that holds the key; none is sent by default
    concurrency: int = 32
    timeout: float = 180.0  # for a whole answer, however slowly it arrives
    tries: int = 6  # retries of one request after transient failures
    backoff: float = 0.5  # first pause, doubled each time, unless the server sends Retry-After
    longest_pause: float = 60.0
    give_up_after: int = 20  # consecutive failed requests after which the run stops
    context_tokens: int = 0  # context length of the server, if known: longer prompts are refused
    require_usage: bool = True  # without token counts, a truncated prompt cannot be detected
    counts_prompt: bool = True  # false: its count of prompt tokens is incomplete and is ignored
    largest_answer: int = MOST_BYTES  # bytes of a response; reading stops there
    # the server's dialect: it does not change the content of a request, so journaled answers stay valid
    omit: list[Omittable] = field(default_factory=list)  # parameters that it does not accept, such as seed
    max_tokens_name: LimitName = "max_tokens"  # max_completion_tokens on some servers
    system_role: bool = True  # false: the instructions are placed in the user message
    stream: bool = False  # for servers that only stream
    attestation: Attestation = field(default_factory=Attestation)


@dataclass
class SamplingSettings:
    """Sampling parameters, sent with every request and recorded with every answer."""

    temperature: float = 0.3
    top_p: float = 1.0
    max_tokens: int = 400
    seed: int = 0
    logprobs: bool = False  # keep log-probabilities of the tokens, for distillation; not every server returns them
    top_logprobs: int = 0  # and of this many alternatives


@dataclass
class EngineSettings:
    """vLLM offline. ``batch`` prompts at a time; ``replicas`` above 0 starts that many engines on Ray."""

    model: str = ""
    tensor_parallel_size: int = 1
    max_model_len: int = 8192
    gpu_memory_utilization: float = 0.9
    dtype: str = "auto"
    batch: int = 512
    replicas: int = 0
    cluster: str = ""  # HOST:PORT of a Ray cluster; this machine without one
    attestation: Attestation = field(default_factory=Attestation)  # attestation for the cluster

    def vllm_options(self) -> dict[str, Any]:
        """Arguments of vLLM's engine, under its own names."""
        names = ("tensor_parallel_size", "max_model_len", "gpu_memory_utilization", "dtype")
        return {name: getattr(self, name) for name in names}


class AnswerShape(TypedDict):
    """The JSON that an answer must be."""

    name: str
    strict: bool
    schema: dict[str, Any]


class ResponseFormat(TypedDict):
    """The form of an answer, as the OpenAI API takes it."""

    type: Literal["json_schema"]
    json_schema: AnswerShape


class Parameters(TypedDict):
    """Parameters of one request besides its messages, under the names of the OpenAI API."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    logprobs: NotRequired[bool]
    top_logprobs: NotRequired[int]
    response_format: NotRequired[ResponseFormat]


@dataclass
class ModelSettings:
    """Settings of a language model that is asked about charts, whatever it is asked."""

    #: what error messages call the config, and the name of the answer's form
    config: ClassVar[str] = "teacher"
    answer: ClassVar[str] = "rationale"
    #: key -> its least value, of keys beside those of every language model
    least: ClassVar[dict[str, int]] = {}

    structured: Structured = "auto"
    prompts: str = ""  # a folder of templates with precedence over the shipped ones
    note_words: int = 1500  # longer notes are shortened, section by section
    series_lines: int = 24  # number of serialised variables, the most abnormal first
    regenerate: int = 1  # times that an answer that cannot be used is requested again
    server: ServerSettings = field(default_factory=ServerSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)

    def check(self) -> None:
        """Check every number against its range.

        Raises:
            UserError: an invalid value.
        """
        for name, least in {**_LEAST, **self.least}.items():
            value = self._value(name)
            if value < least:
                raise UserError(f"{self.config} config: {name} is {value}, expected at least {least}")
        if self.sampling.logprobs and self.engine.replicas:
            raise UserError(f"{self.config} config: sampling.logprobs needs engine.replicas=0: Ray's rows hold none")
        if self.server.timeout <= 0:
            raise UserError(f"{self.config} config: server.timeout is {self.server.timeout}, expected seconds above 0")

    def _value(self, name: str) -> Any:
        """The value of a dotted key."""
        return attrgetter(name)(self)

    def parameters(self, attempt: int, schema: dict[str, Any] | None) -> Parameters:
        """Parameters of one request besides its messages; part of its journal key. Each attempt has its own seed."""
        parameters: Parameters = {
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "seed": self.sampling.seed + attempt,
        }
        if self.sampling.logprobs:
            parameters["logprobs"], parameters["top_logprobs"] = True, self.sampling.top_logprobs
        if schema is not None:
            shape = AnswerShape(name=self.answer, strict=True, schema=schema)
            parameters["response_format"] = {"type": "json_schema", "json_schema": shape}
        return parameters


@dataclass
class TeacherSettings(ModelSettings):
    """Settings of an LLM teacher. ``regenerate``: also of a rationale that the chart contradicts."""

    least: ClassVar[dict[str, int]] = {"samples": 1, "exemplars": 0, "similar_cases": 0}

    mode: Mode = "rationalize"
    samples: int = 4  # reason: most samples, until one agrees with the labels
    agreement: float = 1.0  # reason: least Jaccard overlap of its diagnoses with the labels
    exemplars: int = 2  # number of invented examples in the prompt, the first of the file
    band: Band = "reference"
    captions: int | None = None  # the earlier name of series_lines, accepted for one release
    similar_cases: int = 0  # training stays most like the stay that are shown, with their codes; needs an index
    knowledge: int = 4  # findings and symptoms per diagnosis
    least_supported: int = 1  # least number of supported claims
    dropped: StandIn = "evidence"
    most_dropped: float = MOST_DROPPED  # share of rationales; above it the run ends with exit code 1
    #: for the estimate of --dry-run: US dollars per million tokens, and answers per second
    price_prompt: float = 0.0
    price_completion: float = 0.0
    rate: float = 0.0

    def check(self) -> None:
        """Replace earlier names of keys by current ones, then check every number against its range.

        Raises:
            UserError: an invalid value.
        """
        if self.captions is not None:
            self.series_lines, self.captions = self.captions, None
            print("note: the key captions is now series_lines; it works until the next release", file=sys.stderr)
        super().check()
        if not 0 < self.agreement <= 1:
            raise UserError(f"teacher config: agreement is {self.agreement}, expected above 0 and at most 1")
        if not 0 <= self.most_dropped <= 1:
            raise UserError(f"teacher config: most_dropped is {self.most_dropped}, expected a share from 0 to 1")
