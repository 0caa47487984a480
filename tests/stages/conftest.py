"""Rationales with log-probabilities for the synthetic hospital, from a stub server, by the real command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "teacher"))

from fault_server import FaultServer, completion, good_answers


def spelt_out(server, request, times):
    """An answer in JSON with log-probabilities: words with the blank before them, single digits, and signs."""
    text = json.dumps({"rationale": request["text"]}) if request["kind"] != "probe" else request["text"]
    steps = []
    for number, token in enumerate(re.findall(r" ?[A-Za-z]+|[^A-Za-z]", text)):
        alternatives = [(token, -0.25), (" fever", -2.0), (" hypoxaemia", -3.0 - number % 3), ('"}', -6.0)]
        shown = [{"token": other, "logprob": logprob} for other, logprob in alternatives]
        steps.append({"token": token, "logprob": -0.25, "top_logprobs": shown})
    choice = {"finish_reason": "stop", "message": {"content": text}, "logprobs": {"content": steps}}
    return completion(request, choices=[choice])


@pytest.fixture(scope="session")
def taught(hospital, command, tmp_path_factory) -> Path:
    """A cohort with rationales ``llm`` and their log-probabilities. Tests must not change it."""
    from clinragen.knowledge.graph import build

    cohort = tmp_path_factory.mktemp("taught") / "cohort"
    cohort.mkdir()
    for path in hospital.cohort.iterdir():
        if path.is_file():
            (cohort / path.name).symlink_to(path)
    with FaultServer(good_answers(hospital.cohort, build()), spelt_out) as server:
        sets = (f"server.base_url={server.url}", "server.model=m", "structured=json_schema", "sampling.logprobs=true")
        options = [option for setting in sets for option in ("--set", setting)]
        given = ("teach", "--cohort", cohort, "--teacher", "openai", "--name", "llm", *options)
        assert command("clinragen", *given, "--set", "sampling.top_logprobs=4") == 0
    return cohort
