"""``clinragen teach`` as users see it: phases, checks before work, private files, and a clean end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_server import FaultServer, good_answers, write_cohort
from test_llm_run import ROOT, command

from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.schema import CohortPaths
from clinragen.teacher.files import Files


@pytest.fixture(scope="module")
def good(tmp_path_factory, graph):
    return good_answers(write_cohort(tmp_path_factory.mktemp("good") / "cohort", 12), graph)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_in_one_line_and_loses_nothing(stop, tmp_path, good):
    cohort = write_cohort(tmp_path / "cohort", 12)
    files = Files(CohortPaths(cohort), "openai")
    with FaultServer(good) as server:
        server.latency = 0.3
        arguments = command(cohort, server.url, "--set", "server.concurrency=2")
        launcher = [sys.executable, "-c", "from clinragen.cli import main; main()", *arguments]
        run = subprocess.Popen(launcher, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and (not files.journal.exists() or not files.journal.stat().st_size):
            time.sleep(0.02)
        run.send_signal(stop)
        out, told = run.communicate(timeout=30)
        assert run.returncode == (130 if stop == signal.SIGINT else 143)
        assert out == ""
        assert told.strip().splitlines()[-1] == "stopped"
        assert "Traceback" not in told
        assert "Task" not in told  # of asyncio: destroyed, or never awaited
        assert [path.name for path in files.table.parent.iterdir()] == [files.journal.name]
        kept = {json.loads(line)["key"]: 1 for line in files.journal.read_text().splitlines()}
        server.latency = 0.0
        assert dispatch(arguments) == 0
    assert kept
    assert {key: server.served[key] for key in kept} == kept


def test_all_that_it_writes_is_its_owner_s_alone(cohort, graph):
    before = os.umask(0)
    try:
        with FaultServer(good_answers(cohort, graph)) as server:
            assert dispatch(command(cohort, server.url, "--set", "structured=auto")) == 0
    finally:
        os.umask(before)
    folder = cohort / "rationales"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.suffix for path in folder.iterdir()} == {".parquet", ".json", ".jsonl", ".md"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_journal_that_was_copied_open_to_all_is_closed(cohort, graph):
    journal = Files(CohortPaths(cohort), "openai").journal
    journal.parent.mkdir()
    journal.touch(mode=0o644)
    with FaultServer(good_answers(cohort, graph)) as server:
        assert dispatch(command(cohort, server.url)) == 0
    assert journal.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("teacher", ["evidence", "openai"])
def test_the_phases_are_told_on_the_screen(teacher, cohort, graph, capsys):
    with FaultServer(good_answers(cohort, graph)) as server:
        more = command(cohort, server.url, "--set", "structured=auto") if teacher == "openai" else []
        assert not dispatch(more or ["teach", "--cohort", str(cohort)])
    told = capsys.readouterr().err
    phases = ["reading the cohort", "opening the concept graph", "writing 12 rationales"]
    if more:
        phases += ["testing whether the server follows a JSON schema", "requesting the rationales of 6 stays"]
    for phase in phases:
        assert f"{phase} ..." in told


MISTAKES = {
    "server.model=''": "server.model is empty",
    "server.base_url=https://llm.example.org/v1": "refused",
    "server.base_url=nonsense": "base_url",
    "server.api_key_env=NO_SUCH_VARIABLE": "NO_SUCH_VARIABLE",
    "server.omit=[seeds]": "did you mean 'seed'",
    "server.max_tokens_name=limit": "max_completion_tokens",
    "server.largest_answer=1": "server.largest_answer",
    "most_dropped=2": "most_dropped",
    "sampling.temprature=1": "temprature",
    "prompts=/nowhere": "folder of templates",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_settings_are_checked_before_the_cohort_is_read(mistake, cohort, monkeypatch):
    def read(*arguments):
        raise AssertionError("the cohort was read first")

    if not mistake.startswith("prompts"):  # templates are tried with the labels and the graph of the cohort
        monkeypatch.setattr("clinragen.teacher.stays.read_table", read)
    with pytest.raises(UserError, match=MISTAKES[mistake]):
        dispatch(command(cohort, "http://127.0.0.1:9/v1", "--set", mistake))
    assert not (cohort / "rationales").exists()


@pytest.mark.parametrize("teacher", ["evidence", "openai"])
def test_a_table_that_is_there_is_told_before_the_cohort_is_read(teacher, cohort, monkeypatch):
    table = Files(CohortPaths(cohort), teacher).table
    table.parent.mkdir()
    table.touch()
    monkeypatch.setattr("clinragen.knowledge.relabel.open_graph", None)
    monkeypatch.setattr("clinragen.teacher.stays.read_table", None)
    arguments = command(cohort, "http://127.0.0.1:9/v1") if teacher == "openai" else ["teach", "--cohort", str(cohort)]
    with pytest.raises(UserError, match="already exists: pass --overwrite"):
        dispatch(arguments)


@pytest.mark.parametrize("shard", ["3/2", "1/0", "-1/2", "a/b", "1", "", "٣/٤", "0/1/2"])
def test_a_shard_is_checked_at_once(shard, tmp_path):
    with pytest.raises(UserError, match="--shard"):
        dispatch(["teach", "--cohort", str(tmp_path / "none"), "--teacher", "openai", f"--shard={shard}"])


def test_an_engine_s_thread_does_not_keep_the_program_alive(tmp_path):
    """A batch of an engine can take minutes; what it has given is in the journal already."""
    script = """
import asyncio, time, threading
from clinragen.teacher.batches import Batches
class Engine:
    def run(self, requests):
        time.sleep(600)
        yield 0, None
async def go():
    async with Batches(Engine(), 4) as batches:
        asking = asyncio.create_task(batches.ask([], {}, ""))
        await asyncio.sleep(0.6)
        asking.cancel()
        raise KeyboardInterrupt
try:
    asyncio.run(go())
except KeyboardInterrupt:
    print("stopped")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=Path(ROOT))
    assert run.stdout == "stopped\n"
    assert run.stderr == ""
