"""`results.json` is where each figure lives: the pages show what it holds, and `make results` brings it up to date."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinragen.cli import PROGRAM
from clinragen.errors import UserError
from mimic_prep.cli import PROGRAM as PREPARATION

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import experiment_runs  # noqa: E402
import result_store  # noqa: E402
import results  # noqa: E402
from experiment_runs import Registry, Runner  # noqa: E402
from result_store import QUOTE, Tables, pages, tables_in, typeset, unmarked  # noqa: E402

TABLES = Tables.load()
REGISTRY = Registry.load()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_tables_and_quoted_figures_are_those_of_the_store(page):
    text = page.read_text(encoding="utf-8")
    now = TABLES.update(text)
    differing = [line for line in text.splitlines() if line not in now.splitlines()]
    assert now == text, f"differs from results.json: {differing[:3]}; `make results OPTIONS=--render` writes it anew"
    assert not re.search(r"^<!-- [^|\n]+ \|", text, re.MULTILINE), "a line that begins with a mark ends its paragraph"
    marks = re.findall(r"(?<!`)<!-- \S+ \| [^\n]*? -->", text)
    assert len(marks) == len(list(QUOTE.finditer(text))), "a mark without a figure behind it, or of another form"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_figure_is_quoted_from_the_store(page):
    """But for the sections of docs/results.md below its overview, whose sentences hold figures of their own."""
    text = page.read_text(encoding="utf-8")
    if page.name == "results.md":
        text = text[text.index("## Overview") : text.index("\n## ", text.index("## Overview") + 1)]
    assert unmarked(text) == [], "put the mark <!-- TABLE | ROW | COLUMN --> of results.json before the figure"


def test_every_table_of_the_results_is_in_the_store():
    lines = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
    first = [
        number for number, line in enumerate(lines) if line.startswith("|") and not lines[number - 1].startswith("|")
    ]
    assert len(first) > 70
    assert [lines[number] for number in first if not lines[number - 2].startswith("<!-- table: ")] == [], (
        "put <!-- table: ID --> and an empty line before it, then `python benchmarks/results.py --record ID COMMAND`"
    )


SHOWN = "| | f1 |\n|---|---|\n| x | .812 (.800–.825) |\n"


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("<!-- a | x | f1 -->.1 and", "<!-- a | x | f1 -->.812 and"),
        ("<!-- a | x | f1 -->.1 (95 % interval .2–.3)", "<!-- a | x | f1 -->.812 (95 % interval .800–.825)"),
        ("<!-- a | x | f1 -->−.1 (−.2 to .3), then (.4)", "<!-- a | x | f1 -->.812 (.800 to .825), then (.4)"),
        (
            "<!-- table: a -->\n\n| old |\nwords",
            "<!-- table: a -->\n\n| | f1 |\n|---|---|\n| x | .812 (.800–.825) |\n\nwords",
        ),
    ],
)
def test_a_page_is_written_anew(text, now):
    tables = Tables({"a": {"columns": ["", "f1"], "rows": [["x", ".812 (.800–.825)"]]}})
    assert tables.update(text) == now
    assert tables.update(now) == now


@pytest.mark.parametrize(
    ("mark", "says"), [("b | x | f1", "no table b"), ("a | y | f1", "0 rows 'y'"), ("a | x | F", "0 columns")]
)
def test_a_mark_of_nothing_is_an_error(mark, says):
    with pytest.raises(UserError, match=says):
        Tables({"a": {"columns": ["", "f1"], "rows": [["x", ".812"]]}}).update(f"so <!-- {mark} -->.812")


def test_a_table_written_by_hand_is_read_as_it_will_be_shown():
    (written,) = tables_in(f"words\n\n<!-- table: a -->\n\n{SHOWN}\n| no | mark |\n|---|---|\n| 1 | 2 |\n").values()
    assert Tables({"a": written}).markdown("a") == SHOWN
    assert tables_in("<!-- table: a -->\n\nwords") == {}


def test_a_figure_without_a_mark_is_noticed():
    (figure,) = unmarked("AUROC of .933 here, `.123` and <!-- a | x | f1 -->.812 (.800–.825), .05, 1.234")
    assert figure.startswith(".933 here")


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("0.938 (0.921 to 0.945)", ".938 (.921–.945)"),
        ("-0.003 (-0.006 to 0.001)", "−.003 (−.006 to .001)"),
        ("1.000", "1.000"),
        ("2026-12-01, SmolLM2-135M, 10.5", "2026-12-01, SmolLM2-135M, 10.5"),
    ],
)
def test_printed_cells_are_typeset(printed, shown):
    assert typeset(printed) == shown


def test_the_registry_names_tables_once_and_commands_that_exist():
    ids = [ident for one in REGISTRY.experiments.values() for ident in (*one.tables, *one.by_hand)]
    assert len(ids) == len(set(ids))
    assert {ident for one in REGISTRY.experiments.values() for ident in one.by_hand} <= set(TABLES.tables)
    names = re.findall(r"^  ([\w-]+):$", experiment_runs.REGISTRY.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) == len(set(names)), "YAML keeps the last of two entries and says nothing"
    words = dict.fromkeys((*REGISTRY.experiments, *REGISTRY.data, "out"), "PATH")
    for one in REGISTRY.experiments.values():
        for command in one.commands:
            program, *given = shlex.split(command.format_map(words))
            if program == "python":
                source = (ROOT / given[0]).read_text(encoding="utf-8")
                options = [word.removeprefix("--") for word in given if word.startswith("--")]
                assert [option for option in options if option not in source] == [], command
            else:
                {"clinragen": PROGRAM, "mimic-prep": PREPARATION}[program].parse(given)


def test_what_was_brought_over_names_its_command_and_commit():
    for name, table in TABLES.tables.items():
        if table.get("status") in ("recorded", "run"):
            assert table["commands"], name
            assert re.fullmatch(r"[0-9a-f]{7}", table["commit"]), name


PRINTS = """
import sys
sys.path.insert(0, {benchmarks!r})
from printed_tables import Console
from rich.table import Table
table = Table("model", "[b]AUROC[/b]", title="a title")
table.add_row("text", "0.812 (0.800 to 0.825)")
print("working")
Console().print("words", table)
Console(stderr=True).print(table)  # progress, no result
"""


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """A registry of small experiments, which counts its runs, with a store and pages of its own."""
    script = tmp_path / "bench.py"
    script.write_text(PRINTS.format(benchmarks=str(ROOT / "benchmarks")))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw.csv").write_text("a")
    (tmp_path / "registry.yaml").write_text(
        f"""
data: {{some: a data set, other: one that is not there}}
needs: {{gpu: an accelerator}}
experiments:
  good: {{minutes: 1, commands: ["python {script} {{some}} {{first}}"], tables: [shown]}}
  first: {{minutes: 1, commands: ["touch {{out}}/file"]}}
  bad: {{minutes: 1, commands: ["false", "touch {{out}}/never"]}}
  after: {{minutes: 1, commands: ["touch {{bad}}/file"]}}
  absent: {{minutes: 1, needs: [gpu], commands: ["touch {{other}}"], tables: [later]}}
"""
    )
    monkeypatch.setattr(result_store, "STORE", tmp_path / "results.json")
    monkeypatch.setattr(results, "STORE", tmp_path / "results.json")
    monkeypatch.setattr(experiment_runs, "CODE", ())
    (tmp_path / "results.json").write_text('{"tables": {}}')
    registry = Registry.load(tmp_path / "registry.yaml")
    return registry, tmp_path, {"some": tmp_path / "data"}


def run(trial) -> list[str]:
    registry, folder, given = trial
    options = results.argparse.Namespace(out=folder / "out", only=[], minutes=10)
    return results.run_all(registry, options, given, ())


def journal(trial) -> list[dict]:
    return [json.loads(line) for line in (trial[1] / "out" / "journal.jsonl").read_text().splitlines()]


def test_experiments_run_in_order_and_their_tables_are_stored(trial):
    assert run(trial) == ["bad", "after"]
    ended = [(entry["experiment"], entry["exit"]) for entry in journal(trial) if "exit" in entry]
    assert ended == [("first", 0), ("good", 0), ("bad", 1)]
    assert not (trial[1] / "out" / "bad" / "never").exists()
    stored = json.loads((trial[1] / "results.json").read_text())["tables"]
    assert stored["shown"]["rows"] == [["text", ".812 (.800–.825)"]]
    assert stored["shown"]["columns"] == ["model", "AUROC"]
    assert {"commit", "seconds", "machine", "load", "data", "commands"} <= set(stored["shown"])
    assert stored["to-run"]["rows"] == [["`absent`", "`touch {other}`", "other, gpu", ""]]
    assert "working" in (trial[1] / "out" / "good" / "log.txt").read_text()


def test_what_is_finished_is_not_run_again_unless_its_data_change(trial):
    run(trial)
    first = len(journal(trial))
    run(trial)
    assert {entry["experiment"] for entry in journal(trial)[first:]} == {"bad"}
    (trial[1] / "data" / "raw.csv").write_text("b")
    second = len(journal(trial))
    run(trial)
    assert {entry["experiment"] for entry in journal(trial)[second:]} == {"good", "bad"}


def test_an_experiment_that_was_killed_is_not_finished(trial):
    run(trial)
    lines = (trial[1] / "out" / "journal.jsonl").read_text().splitlines()
    began = [line for line in lines if json.loads(line)["experiment"] == "good" and "exit" not in json.loads(line)]
    (trial[1] / "out" / "journal.jsonl").write_text("\n".join([*lines, *began]) + "\n")
    registry, folder, given = trial
    assert Runner(registry, folder / "out", given).finished("good") is None
    assert Runner(registry, folder / "out", given).finished("first")


def test_an_interrupted_run_ends_its_command_and_is_not_finished(tmp_path):
    started = tmp_path / "started"
    code = f"import pathlib, time, os; pathlib.Path('{started}').write_text(str(os.getpid())); time.sleep(60)"
    script = f"""
import sys; sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import signal, results, experiment_runs
experiment_runs.CODE = ()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
registry = experiment_runs.Registry({{"long": experiment_runs.Experiment("long", (sys.argv[1],), 1)}}, {{}})
experiment_runs.Runner(registry, results.Path({str(tmp_path / "out")!r}), {{}}).run("long")
"""
    with subprocess.Popen([sys.executable, "-c", script, shlex.join(["python", "-c", code])]) as runner:
        while not started.exists() or not started.read_text():
            time.sleep(0.05)
        runner.terminate()
    assert not Path(f"/proc/{started.read_text()}").exists()
    (entry,) = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    assert "exit" not in json.loads(entry)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {}\nexperiments: {a: {minutes: 1, commands: ['touch {nothing}']}}", "a reads 'nothing'"),
        ("data: {}\nexperiments: {a: {minutes: 1, commands: [ls], needs: [gpu]}}", "a needs gpu"),
        ("data: {a: words}\nexperiments: {a: {minutes: 1, commands: [ls]}}", "a names both"),
    ],
)
def test_a_registry_that_names_what_it_does_not_describe_is_refused(text, says, tmp_path):
    (tmp_path / "registry.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        Registry.load(tmp_path / "registry.yaml")
