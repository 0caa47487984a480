"""Responses of all server dialects are read; what is not supported is named, with the setting that solves it."""

import json

import pytest
from dialects import SERVED, THOUGHT, WRAPPED, message, split, stream
from fault_server import ABSENT, FaultServer, completion, good_answers, http, write_cohort

from clinragen.artifacts import read_table
from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher import answers, completions
from clinragen.teacher.llm import TeachingRequest, teach
from clinragen.teacher.settings import ServerSettings, TeacherSettings

TEXT = "Based on the medical notes, dyspnea and orthopnea point to congestive heart failure."


def settings(url, **changes):
    server = ServerSettings(
        base_url=url, model="m", concurrency=4, timeout=5.0, tries=2, backoff=0.01, longest_pause=0.05
    )
    for key in [key for key in changes if hasattr(server, key)]:
        setattr(server, key, changes.pop(key))
    return TeacherSettings(**{"structured": "plain", "regenerate": 0, "server": server, **changes})


pytestmark = pytest.mark.usefixtures("one_graph")


@pytest.fixture
def small(tmp_path):
    return write_cohort(tmp_path / "small", 1)


@pytest.fixture(scope="module")
def good(tmp_path_factory, graph):
    return good_answers(write_cohort(tmp_path_factory.mktemp("good") / "cohort", 1), graph)


def taught(cohort, good, answer, **changes):
    """The rows that come of a server that gives ``answer(request)``, and the summary."""
    with FaultServer(good, lambda server, request, times: answer(request)) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, **changes), "llm"))
    path = CohortPaths(cohort).rationales("llm")
    return (read_table(path, RATIONALES).to_pylist() if path.exists() else []), summary, server


@pytest.mark.parametrize("dialect", WRAPPED)
def test_a_rationale_is_found_in_its_wrapping(dialect):
    assert answers.parse(WRAPPED[dialect](TEXT), "note", phenotypes(), reason=False).text == TEXT


RATIONALE_ALONE = [dialect for dialect in WRAPPED if "JSON" in dialect or "constraint" in dialect]


@pytest.mark.parametrize(
    "dialect", [dialect for dialect in WRAPPED if dialect not in [*RATIONALE_ALONE, "line breaks"]]
)
def test_diagnoses_are_found_in_their_wrapping(dialect):
    named = f"Diagnoses: congestive heart failure\n{TEXT}"
    draft = answers.parse(WRAPPED[dialect](named), "note", phenotypes(), reason=True)
    assert (draft.text, draft.diagnoses) == (TEXT, ("congestive_heart_failure",))


@pytest.mark.parametrize("dialect", ["think", "harmony", "JSON in a fence", "polite", "label"])
def test_wrapped_answers_are_taught_as_written(dialect, small, good):
    rows, summary, server = taught(small, good, lambda r: completion(r, WRAPPED[dialect](r["text"])))
    assert {row["text"] for row in rows} == {text for _, _, text in good.values()}
    assert {way for _, way in summary.ways} == {"as written"}
    assert server.requests.total() == 2


@pytest.mark.parametrize("dialect", SERVED)
def test_a_server_is_understood(dialect, small, good):
    rows, summary, server = taught(small, good, SERVED[dialect])
    assert {row["text"] for row in rows} == {text for _, _, text in good.values()}
    assert {row["teacher"] for row in rows} == {"llm"}
    assert {way for _, way in summary.ways} == {"as written"}
    assert server.requests.total() == 2


UNREADABLE = {
    "thoughts without answer": (lambda r: completion(r, f"<think>{THOUGHT}"), "reasoning without an answer"),
    "thoughts and nothing": (lambda r: completion(r, f"<think>{THOUGHT}</think>\n"), "empty answer"),
    "analysis alone": (
        lambda r: completion(r, f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"),
        "reasoning without an answer",
    ),
    "thoughts alone, apart": (lambda r: message(r, content=None, reasoning_content=THOUGHT), "another opening"),
    "refused": (lambda r: message(r, content=None, refusal="I cannot help."), "refused by the model"),
    "tool call": (lambda r: message(r, finish="tool_calls", content=None, tool_calls=[{}]), "tool call"),
    "MAX_TOKENS": (lambda r: completion(r, finish="MAX_TOKENS"), "answer cut by length"),
    "max_output_tokens": (lambda r: completion(r, finish="max_output_tokens"), "answer cut by length"),
    "model_length": (lambda r: completion(r, finish="model_length"), "answer cut by length"),
    "SAFETY": (lambda r: completion(r, finish="SAFETY"), "finish reason content_filter"),
    "abort": (lambda r: completion(r, finish="abort"), "stopped by the server"),
    "null at the limit": (
        lambda r: completion(r, finish=None, usage={"prompt_tokens": 4000, "completion_tokens": 400}),
        "answer cut by length",
    ),
    "null and no count": (
        lambda r: completion(r, r["text"][:-9], finish=None, usage={"prompt_tokens": 4000}),
        "answer perhaps cut: neither a finish reason nor a count",
    ),
    "all counts 0": (
        lambda r: completion(r, usage={"prompt_tokens": 0, "completion_tokens": 0}),
        "server counts no tokens",
    ),
    "no usage": (lambda r: completion(r, usage=ABSENT), "server counts no tokens"),
    "prompt cut": (
        lambda r: completion(r, usage={"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}),
        "prompt cut by the server",
    ),
    "prompt cut, partly cached": (
        lambda r: completion(
            r,
            usage={"prompt_tokens": 90, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 80}},
        ),
        "prompt cut by the server",
    ),
    "two rationales in JSON": (
        lambda r: completion(r, '{"rationale": "Based on the medical notes, a.", "rationale": "b"}'),
        "JSON of another form",
    ),
    "nested too deeply": (lambda r: completion(r, '{"rationale": ' + "[" * 100_000), "answer is no JSON"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_counted_and_falls_back(kind, small, good):
    answer, why = UNREADABLE[kind]
    rows, summary, _ = taught(small, good, answer)
    assert {row["teacher"] for row in rows} == {"evidence"}
    assert len(rows) == 2
    assert sum(n for reason, n in summary.rejected.items() if reason.startswith(why)) == 2, summary.rejected


@pytest.mark.parametrize(
    ("answer", "change", "told"),
    [
        (lambda r: completion(r, usage=ABSENT), {"require_usage": False}, "server.require_usage=false"),
        (
            lambda r: completion(r, usage={"prompt_tokens": 9, "completion_tokens": 60}),
            {"counts_prompt": False},
            "server.counts_prompt=false",
        ),
    ],
)
def test_a_check_that_a_server_cannot_pass_can_be_switched_off(answer, change, told, tmp_path, good):
    rows, summary, _ = taught(write_cohort(tmp_path / "on", 1), good, answer)
    assert {row["teacher"] for row in rows} == {"evidence"}
    assert told in "\n".join(summary.lines())
    rows, summary, _ = taught(write_cohort(tmp_path / "off", 1), good, answer, **change)
    assert {row["teacher"] for row in rows} == {"llm"}


def refusal(status="400 Bad Request", **fields):
    return http(json.dumps(fields).encode(), status)


def openai(parameter, text):
    return refusal(error={"message": text, "type": "invalid_request_error", "param": parameter, "code": "unsupported"})


#: name -> (which requests are refused, the error, the change that mends it, what is told)
REFUSED = {
    "max_tokens": (
        lambda body: "max_tokens" in body,
        openai("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        {"max_tokens_name": "max_completion_tokens"},
        "'max_tokens': --set server.max_tokens_name=max_completion_tokens",
    ),
    "max_completion_tokens": (
        lambda body: "max_completion_tokens" in body,
        openai("max_completion_tokens", "Unrecognized request argument supplied: max_completion_tokens"),
        {"max_tokens_name": "max_tokens"},
        "'max_completion_tokens': --set server.max_tokens_name=max_tokens",
    ),
    "no limit at all": (
        lambda body: "max_tokens" in body,
        refusal(error="unknown field max_tokens"),
        {"omit": ["max_tokens"]},
        "'max_tokens': --set server.max_tokens_name=max_completion_tokens, or server.omit=[max_tokens]",
    ),
    "temperature": (
        lambda body: body.get("temperature", 1) != 1,
        openai("temperature", "Unsupported value: 'temperature' does not support 0.3. Only the default is supported."),
        {"omit": ["temperature"]},
        "'temperature': --set server.omit=[temperature]",
    ),
    "temperature in words alone": (
        lambda body: "temperature" in body,
        refusal(error={"message": "`temperature` is deprecated for this model."}),
        {"omit": ["temperature"]},
        "server.omit=[temperature]",
    ),
    "top_p": (
        lambda body: "top_p" in body,
        refusal(message="temperature and top_p cannot both be specified: top_p is not allowed", object="error"),
        {"omit": ["top_p"]},
        "server.omit=[top_p]",
    ),
    "seed": (
        lambda body: "seed" in body,
        openai("seed", "Unsupported parameter: 'seed'."),
        {"omit": ["seed"]},
        "'seed': --set server.omit=[seed]",
    ),
    "seed as FastAPI tells it": (
        lambda body: "seed" in body,
        refusal(
            "422 Unprocessable Entity",
            detail=[{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}],
        ),
        {"omit": ["seed"]},
        "server.omit=[seed]",
    ),
    "seed within a message": (
        lambda body: "seed" in body,
        refusal(
            "422 Unprocessable Entity",
            object="error",
            message={"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]},
        ),
        {"omit": ["seed"]},
        "server.omit=[seed]",
    ),
    "seed as a prefix": (
        lambda body: "seed" in body,
        refusal(
            type="error", error={"type": "invalid_request_error", "message": "seed: Extra inputs are not permitted"}
        ),
        {"omit": ["seed"]},
        "server.omit=[seed]",
    ),
    "seed in plain text": (
        lambda body: "seed" in body,
        http(b'json: unknown field "seed"', "400 Bad Request", "Content-Type: text/plain"),
        {"omit": ["seed"]},
        "server.omit=[seed]",
    ),
    "system role": (
        lambda body: body["messages"][0]["role"] == "system",
        refusal(error={"message": "System role not supported", "type": "BadRequestError", "param": None}),
        {"system_role": False},
        "'system': --set server.system_role=false",
    ),
    "system role by its place": (
        lambda body: body["messages"][0]["role"] == "system",
        openai("messages[0].role", "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        {"system_role": False},
        "server.system_role=false",
    ),
    "system role by its template": (
        lambda body: body["messages"][0]["role"] == "system",
        refusal(error={"message": "Conversation roles must alternate user/assistant/user/assistant/..."}),
        {"system_role": False},
        "server.system_role=false",
    ),
    "streams alone": (
        lambda body: not body.get("stream"),
        openai("stream", "This model only support stream mode, please enable the stream parameter."),
        {"stream": True},
        "'stream': --set server.stream=true",
    ),
    "logprobs": (
        lambda body: "logprobs" in body,
        openai("logprobs", "logprobs is not supported by this model"),
        {},
        "'logprobs': --set sampling.logprobs=false",
    ),
    "response_format": (
        lambda body: "response_format" in body,
        openai("response_format", "Invalid parameter: 'response_format' of type 'json_schema' is not supported."),
        {"structured": "plain"},
        "'response_format': --set structured=plain",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_parameter_is_named_with_the_setting_that_mends_it(kind, tmp_path, good):
    refused, error, change, told = REFUSED[kind]
    first = {"max_tokens_name": "max_completion_tokens"} if kind == "max_completion_tokens" else {}
    first |= {"structured": "json_schema"} if kind == "response_format" else {}

    def answer(request):
        if refused(request["body"]):
            return error
        return SERVED["a stream unasked"](request) if request["body"].get("stream") else None

    def run(name, **changes):
        chosen = settings("", **changes)
        chosen.sampling.logprobs = kind == "logprobs" and name == "refused"
        with FaultServer(good, lambda server, request, times: answer(request)) as server:
            chosen.server.base_url = server.url
            teach(TeachingRequest(write_cohort(tmp_path / name, 1), None, chosen, "llm"))
        return server

    with pytest.raises(UserError) as raised:
        run("refused", **first)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert run("mended", **change).requests.total() == 2
    rows = read_table(CohortPaths(tmp_path / "mended").rationales("llm"), RATIONALES).to_pylist()
    assert {row["teacher"] for row in rows} == {"llm"}


def test_the_probe_for_json_is_not_misled_by_another_parameter(small, good):
    def fault(server, request, times):
        return REFUSED["seed"][1] if "seed" in request["body"] else None

    with FaultServer(good, fault) as server, pytest.raises(UserError, match=r"server\.omit=\[seed\]"):
        teach(TeachingRequest(small, None, settings(server.url, structured="auto"), "llm"))


def test_a_retry_without_a_seed_is_a_new_request(small, good):
    def first(server, request, times):
        return completion(request, "no") if sum(server.requests.values()) <= 1 else None

    with FaultServer(good, first) as server:
        summary = teach(
            TeachingRequest(small, None, settings(server.url, omit=["seed", "temperature"], regenerate=1), "llm")
        )
    assert summary.ways["note", "regenerated"] == 1
    assert not [body for body in server.bodies if "seed" in body or "temperature" in body]


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "This model's maximum context length is 4096 tokens.", "param": "messages"}},
        {"error": {"message": "'max_tokens' is too large: 400. maximum context length is 512", "param": "max_tokens"}},
        {"error": {"code": 400, "type": "exceed_context_size_error", "message": "the request exceeds the size"}},
    ],
)
def test_a_prompt_too_long_for_the_server_is_missing_and_told(error, small, good):
    _, summary, _ = taught(small, good, lambda r: refusal(**error))
    assert summary.missing == {"prompt longer than the context": 1}


def test_a_stream_that_broke_off_is_asked_for_again(small, good):
    def broken(request):
        return stream(request, [{"content": piece} for piece in split(request["text"])[:3]], end=b"", finish=None)

    with FaultServer(good, lambda server, request, times: broken(request) if times == 0 else None) as server:
        summary = teach(TeachingRequest(small, None, settings(server.url), "llm"))
    assert summary.complete
    assert summary.retried == {"stream broke off": 2}


def test_an_unknown_refusal_stays_a_missing_rationale(small, good):
    _, summary, _ = taught(small, good, lambda r: refusal(error={"message": f"too long: {r['prompt']}"}))
    assert summary.missing == {"HTTP 400": 1}


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"choices":' * 50_000, b'{"choices": [' + b"9" * 500_000 + b"]}"])
def test_a_bomb_of_json_is_no_answer(body):
    with pytest.raises(completions.UnreadableError):
        completions.read(body)
