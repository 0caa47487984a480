"""Messages of status 400: which parameter they are about."""

import json

import pytest

from clinragen.teacher.refusals import CONTEXT, REMEDIES, refused

SENT = ("model", "messages", "temperature", "top_p", "max_tokens", "seed")


def error(message, **fields):
    return json.dumps({"error": {"message": message, **fields}}).encode()


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (error("Invalid 'messages[1].content': string too long.", param="messages[1].content"), None),
        (error("Invalid value: 'assistant'.", param="messages[2].role"), "system"),
        (error("The file system cannot be reached"), None),
        (error(f"invalid request: temperature 39, seed {'x' * 300}"), None),
        (error(f"invalid parameter 'seed': {'x' * 300}"), "seed"),
        (error(f"invalid request: {'x' * 300} temperature"), None),
        (error("System messages are not supported by this template"), "system"),
        (error("unsupported role 'system'"), "system"),
        (error("max_tokens must be at most 256", param="max_tokens"), "max_tokens"),
        (error("seed: not supported"), "seed"),
        (error("logit_bias is not supported", param="logit_bias"), None),
        (error("Only support stream mode"), "stream"),
        (error("the stream ended, unexpected"), None),
        (error("The model `m` does not exist: unknown model"), None),
        (error("Rate limit: try again"), None),
        (error("This request exceeds the context window", code="x"), CONTEXT),
        (error("x", code="context_length_exceeded"), CONTEXT),
        (b"", None),
        (b"null", None),
        (b"[[[[", None),
        (b"\xff\xfe", None),
        (json.dumps({"detail": "Extra inputs are not permitted: top_p"}).encode(), "top_p"),
        (json.dumps({"errors": [{"message": "Unknown name \"seed\": cannot find field."}]}).encode(), "seed"),
        (json.dumps([{"error": {"message": "Unknown name \"topP\""}}]).encode(), None),
    ],
)  # fmt: skip
def test_what_an_error_is_about(body, parameter):
    assert refused(body, SENT) == parameter


def test_a_stream_that_was_asked_for_is_not_asked_for_again():
    body = error("stream is not supported", param="stream")
    assert refused(body, SENT) == "stream"
    assert refused(body, (*SENT, "stream")) is None


def test_every_remedy_names_a_setting():
    assert all("=" in remedy for remedy in REMEDIES.values())
