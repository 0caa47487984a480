"""Any response of a server is read in bounded time, to a rationale or a counted reason, deterministically."""

import json
import time
from contextlib import suppress

import pytest
from fault_server import FaultServer, completion, good_answers, write_cohort
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_dialects import settings

from clinragen.artifacts import read_table
from clinragen.catalog import phenotypes
from clinragen.errors import UserError
from clinragen.schema import RATIONALES, CohortPaths
from clinragen.teacher import answers, completions, refusals
from clinragen.teacher.files import Files
from clinragen.teacher.generation import RationaleGenerator
from clinragen.teacher.journal import Journal
from clinragen.teacher.llm import TeachingRequest, teach
from clinragen.teacher.unwrap import NoAnswerFoundError, unwrap

TEXT = "Based on the medical notes, dyspnea and orthopnea point to congestive heart failure."
PIECES = (
    "<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "analysis", "final", "<|message|>", "<|end|>",
    "◁think▷", "◁/think▷", "```", "```json\n", "~~~", "{", "}", "[", "]", '{"rationale": "', '"}', ":", ",", '"', "\n",
    "\n\n", " ", "\t", "\x00", "\u200b", "\ud800", "Diagnoses: ", "none", "; ", "Based on the medical notes",
    "Lab test shows", ", fever", " points to pneumonia", ".", "A. ", "- ", "* ", "**", "# ", "<b>", "</", "<", "<|",
    "|>", "assistantfinal", "Rationale: ", "Here is my response:", "</details>", "<answer>", "</answer>", "\\u0041",
    "9" * 30, "é", "\u3000", "Let me know",
)  # fmt: skip
#: Repeated to the size given: each takes some pattern to where it could try again and again.
REPEATED = (
    "<think>", "</think>", "[/THINK]", "<|channel|>", "```", "{", "[", '"', "\n", " ", "\t", "\u200b", "Diagnoses: ",
    "; ", "A. ", "**", "# ", "</", "<", "<|", "|>", "assistantfinal", "Rationale: ", "<answer>", "</answer>", "9", "é",
    "\u3000", "\n ", " \n", "\n\t", "\n- ", "\n{", "\n```", "A.\n", "A. B", "<think></think>", "*_", "\\",
    "\nRationale: Based on the medical notes:", "Based on the medical notes\n", "<a", "</a", '{"a":', "[[", "‹｜",
    "data: {}\n\n", "data: ", '{"choices": [', "Based on the medical notes, x. ",
)  # fmt: skip

documents = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=30).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "text",
                    "type",
                    "usage",
                    "prompt_tokens",
                    "completion_tokens",
                    "delta",
                    "finish_reason",
                    "logprobs",
                    "token",
                    "logprob",
                    "top_logprobs",
                    "reasoning",
                    "error",
                    "param",
                    "detail",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory, graph):
    return good_answers(write_cohort(tmp_path_factory.mktemp("good") / "cohort", 1), graph)


@given(documents, st.sampled_from(["note", "series"]), st.booleans())
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_answer_is_a_rationale_in_form_or_a_counted_reason(text, kind, reason):
    try:
        draft = answers.parse(text, kind, phenotypes(), reason=reason)
    except answers.BadAnswerError:
        return
    assert draft.text.isprintable()
    assert draft.text == " ".join(draft.text.split())
    assert draft.text.encode()
    assert answers.parse(draft.text, kind, phenotypes(), reason=False).text == draft.text


@given(documents)
@hypothesis_settings(max_examples=300, deadline=None)
def test_unwrapping_adds_nothing(text):
    with suppress(NoAnswerFoundError):
        assert len(unwrap(text, ("Based on the medical notes",))) <= len(text)


@given(values)
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_json_is_an_answer_or_unreadable(value):
    body = json.dumps(value).encode()
    for sent in (body, b'{"choices": [%s]}' % body, b'{"choices": [{"message": %s}], "usage": %s}' % (body, body)):
        try:
            answer = completions.read(sent)
        except completions.UnreadableError:
            continue
        assert isinstance(answer.text, str)
        assert all(isinstance(count, int) and count >= 0 for count in answer.usage.values())
    assert refusals.refused(body, ["seed"]) in (None, refusals.CONTEXT, *refusals.REMEDIES)


@given(st.binary(max_size=200))
@hypothesis_settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_answer_or_unreadable(body):
    for sent in (body, b"data: " + body, b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n' + body):
        with suppress(completions.UnreadableError):
            completions.read(sent)
    refusals.refused(body, ["seed"])


@pytest.mark.parametrize("piece", REPEATED)
def test_time_grows_with_the_size_alone(piece):
    text = piece * (100_000 // len(piece))
    begun = time.perf_counter()
    for whole in (text, f"{text}\n{TEXT}", f"{TEXT}\n{text}", f"<think>{text}"):
        for reason in (False, True):
            with suppress(answers.BadAnswerError):
                answers.parse(whole, "note", phenotypes(), reason=reason)
    assert time.perf_counter() - begun < 6  # under load; a tenth of it alone
    body = text.encode(errors="replace")
    for sent in (body, b"data: " + body):
        with suppress(completions.UnreadableError):
            completions.read(sent)
    refusals.refused(body, ["seed"])
    assert time.perf_counter() - begun < 9


@pytest.mark.usefixtures("one_graph")
@pytest.mark.parametrize("piece", ["\n", "A. ", "fever, ", "</think>", "\n- ", "x"])
def test_a_huge_answer_ends_the_rationale_and_not_the_run(piece, tmp_path, good):
    cohort = write_cohort(tmp_path / "cohort", 1)

    def huge(server, request, times):
        return completion(request, f"{request['text']} {piece * (300_000 // len(piece))}")

    begun = time.perf_counter()
    with FaultServer(good, huge) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url), "llm"))
    assert summary.complete
    assert time.perf_counter() - begun < 20
    assert read_table(CohortPaths(cohort).rationales("llm"), RATIONALES).num_rows == 2


@pytest.mark.usefixtures("one_graph")
def test_the_largest_answer_is_a_setting(tmp_path, good):
    cohort = write_cohort(tmp_path / "cohort", 1)
    with FaultServer(good, lambda server, r, times: completion(r, f"<think>{'x' * 9000}</think>{r['text']}")) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, largest_answer=5000), "llm"))
        assert summary.missing == {"answer larger than server.largest_answer": 1}
        assert teach(TeachingRequest(cohort, None, settings(server.url), "llm")).complete


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100_000):
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()


async def endless_head(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        writer.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))
        await writer.drain()


async def endless_events(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    event = b'data: {"choices": [{"delta": {"content": "fever, "}}]}\n\n'
    for _ in range(100_000):
        writer.write(b"%x\r\n%s\r\n" % (len(event) * 20, event * 20))
        await writer.drain()


@pytest.mark.usefixtures("one_graph")
@pytest.mark.parametrize("fault", [endless, endless_head, endless_events])
def test_a_response_without_end_is_given_up(fault, tmp_path, good):
    cohort = write_cohort(tmp_path / "cohort", 1)
    begun = time.perf_counter()
    with FaultServer(good, lambda server, request, times: fault) as server:
        summary = teach(TeachingRequest(cohort, None, settings(server.url, timeout=4.0, tries=1), "llm"))
    assert not summary.complete
    assert time.perf_counter() - begun < 20


@pytest.mark.usefixtures("one_graph")
def test_a_fault_while_one_answer_is_read_costs_that_answer_alone(tmp_path, graph, monkeypatch):
    """The answer is in the journal: were the fault to end the run, it would end every run."""
    cohort, real = write_cohort(tmp_path / "cohort", 3), RationaleGenerator._draft
    good = good_answers(cohort, graph)

    def faulty(self, record, messages, stay, kind):
        if stay.stay_id == 2:
            raise UnboundLocalError(f"a name used before it is bound, with a word of {stay.sections[0][1]}")
        return real(self, record, messages, stay, kind)

    monkeypatch.setattr(RationaleGenerator, "_draft", faulty)
    with FaultServer(good) as server:
        for _ in range(2):
            summary = teach(TeachingRequest(cohort, None, settings(server.url), "llm", overwrite=True))
            rows = read_table(CohortPaths(cohort).rationales("llm"), RATIONALES).to_pylist()
            assert {row["stay_id"]: row["teacher"] for row in rows} == {1: "llm", 2: "evidence", 3: "llm"}
            assert summary.rejected == {"answer that could not be read (UnboundLocalError)": 2}
        assert server.requests.total() == 6


@pytest.mark.usefixtures("one_graph")
@pytest.mark.parametrize(
    "kind", ["surrogate in the text", "surrogate in a token", "NaN", "infinite", "positive", "words"]
)
def test_what_no_file_can_hold_is_left_out(kind, tmp_path, good):
    def odd(server, request, times):
        text = request["text"]
        value = {"NaN": float("nan"), "infinite": float("-inf"), "positive": 3.0, "words": "much"}.get(kind, -0.5)
        token = "\ud83d" if kind == "surrogate in a token" else "x"
        steps = [{"token": text, "logprob": value, "top_logprobs": [{"token": token, "logprob": -1.0}]}]
        message = {"content": text + ("\ud800" if kind == "surrogate in the text" else "")}
        choice = {"finish_reason": "stop", "message": message, "logprobs": {"content": steps}}
        return completion(request, choices=[choice])

    chosen, cohort = settings(""), write_cohort(tmp_path / "cohort", 1)
    chosen.sampling.logprobs = True
    with FaultServer(good, odd) as server:
        chosen.server.base_url = server.url
        assert teach(TeachingRequest(cohort, None, chosen, "llm")).complete
    rows = read_table(CohortPaths(cohort).rationales("llm"), RATIONALES).to_pylist()
    assert {row["teacher"] for row in rows} == {"evidence" if kind == "surrogate in the text" else "llm"}
    has_logprobs = Files(CohortPaths(cohort), "llm").logprobs.exists()
    assert has_logprobs == (kind in ("surrogate in a token", "infinite"))


RECORD = {
    "key": "ab" * 32,
    "stay_id": 1,
    "kind": "note",
    "model": "m",
    "text": "x",
    "finish_reason": "stop",
    "usage": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"text": None}, {"text": 3}, {"usage": None}, {"usage": [1]}, {"usage": {"prompt_tokens": "many"}},
        {"finish_reason": None}, {"finish_reason": ["stop"]}, {"stay_id": "1"}, {"kind": 5}, {"model": {}},
        {"key": "ab"}, {"key": 7}, {"logprobs": 3}, {"logprobs": [["x"]]}, {"served_by": 9},
    ],
)  # fmt: skip
def test_a_journal_whose_records_are_of_other_types_is_named(change, tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps(RECORD) + "\n" + json.dumps(RECORD | {"key": "cd" * 32} | change) + "\n")
    with pytest.raises(UserError, match=r"j\.jsonl, line 2: not a journal record"):
        Journal(path)


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"key":' * 50_000, "null", "3", '"x"', "[]", "{}", '{"key": ' + "9" * 9000]
)
def test_a_journal_with_a_strange_line_is_named(line, tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps(RECORD) + "\n" + line + "\n")
    with pytest.raises(UserError, match=r"j\.jsonl, line 2: not a journal record"):
        Journal(path)
