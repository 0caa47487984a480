"""What README, CONTRIBUTING and docs show is true: Python is run, commands are parsed, settings are read.

Python blocks of a page run in order, in one namespace, in a folder that holds what the page's commands would have
written. A Python block whose first line is a comment with a path is a file of the project: it is only compiled here.
Names in capitals (COHORT, PATH/TO/mimic-iv) stand for what the reader has.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

from clinragen import added_variables
from clinragen.cli import PROGRAM
from clinragen.errors import UserError
from mimic_prep.cli import PROGRAM as PREPARATION

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {"clinragen": PROGRAM, "mimic-prep": PREPARATION}
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    """The sources of the page's blocks in a language."""
    document = Document.parse(str(page), CodeBlockParser(language, lambda example: None))
    return [str(example.parsed) for example in document.examples()]


def is_file(source: str) -> bool:
    """Whether a block shows a file of the project: its first line is a comment with a path."""
    return re.match(r"# [\w/.-]+\.py\n", source) is not None


def typed(block: str) -> Iterator[list[str]]:
    """The command lines of a block, each as words."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in line.split(" && "):
            if words := shlex.split(part, comments=True):
                yield words


def test_the_pages_hold_blocks_of_every_kind():
    counts = {kind: sum(len(blocks(page, kind)) for page in PAGES) for kind in ("console", "python", "yaml")}
    assert counts["console"] > 10
    assert counts["python"] >= 2
    assert counts["yaml"] >= 2


#: pages that start from the reader's own data; other pages go on from what their commands write
FIRST_PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorials" / "mimic-iv.md"]


@cache
def written_by_the_first_pages() -> frozenset[Path]:
    """The folders that their commands write."""
    lines = (words for page in FIRST_PAGES for block in blocks(page, "console") for words in typed(block))
    return frozenset(out for words in lines if (out := output_of(words)))


def output_of(words: list[str]) -> Path | None:
    """What a command line writes."""
    if words[0] not in PROGRAMS:
        return None
    _, bound = PROGRAMS[words[0]].parse(words[1:])
    return bound.arguments.get("out") or bound.kwargs.get("out")


def is_placeholder(path: Path) -> bool:
    """Whether the reader puts a path of his own in its place."""
    return re.fullmatch(r"[A-Z0-9_]{2,}(\.\w+)?", path.parts[0]) is not None


def check_commands(page: Path, written: set[Path]) -> None:
    """Every command line of a page parses, and each file that it reads is written by a line above or the reader's own.

    Args:
        written: folders that earlier pages' commands write; those of this page are added.
    """
    adds = re.compile(r"# \w+/(?:commands/(\w+)|releases/(\w+)/__init__)\.py\n")
    files = (adds.match(block) for block in blocks(page, "python"))
    # commands that the page itself adds, and files that it shows
    added = {(matched[1] or matched[2]).replace("_", "-") for matched in files if matched}
    shown = re.findall(r"^`([\w./-]+)`\n\n```", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    written |= {Path(name).parent for name in shown}
    for words in (words for block in blocks(page, "console") for words in typed(block)):
        if words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), words
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), words
        if words[0] == "mkdir":
            written |= {Path(word) for word in words[1:] if not word.startswith("-")}
        if words[0] not in PROGRAMS:
            continue
        if words[1] in added:
            written |= {Path(words[words.index("--out") + 1])} if "--out" in words else set()
            continue
        _, bound = PROGRAMS[words[0]].parse(words[1:])
        for option, path in bound.arguments.items():
            if isinstance(path, Path) and option != "out":
                there = is_placeholder(path) or (ROOT / path).is_file()
                above = any(path.is_relative_to(folder) for folder in written)
                assert there or above, f"{shlex.join(words)}: nothing above writes --{option} {path}"
        if out := output_of(words):
            written.add(out)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist_with_their_options_and_inputs(page):
    check_commands(page, set() if page in FIRST_PAGES else set(written_by_the_first_pages()))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("clinragen predict --model RUN --cohort COHORT --out o --limt 3", "unknown option --limt"),
        ("clinragen predict --model RUN --cohort outputs/elsewhere --out o", "nothing above writes --cohort"),
        ("mimic-prep mimic-v --raw DIR --out o", "unknown command"),
        ("make nothing", "nothing"),
    ],
)
def test_a_line_that_is_not_so_is_noticed(line, says, tmp_path):
    (tmp_path / "page.md").write_text(f"```console\n{line}\n```\n")
    with pytest.raises((AssertionError, UserError), match=says):
        check_commands(tmp_path / "page.md", set())


def labels(text: str, folder: Path) -> None:
    from clinragen import label_sets

    (folder / "labels.yaml").write_text(text)
    label_sets.load(str(folder / "labels.yaml"))


def described_labels(text: str, folder: Path) -> None:
    from clinragen.zero_shot import described_labels

    (folder / "labels.yaml").write_text(text)
    described_labels.read(folder / "labels.yaml")


def teacher(text: str, folder: Path) -> None:
    from clinragen.api.teaching import teacher_settings

    (folder / "teacher.yaml").write_text(text)
    teacher_settings("openai", folder / "teacher.yaml", ()).check()


def protocol(text: str, folder: Path) -> None:
    from mimic_prep import protocol as protocols

    (folder / "protocol.yaml").write_text(text)
    protocols.load(str(folder / "protocol.yaml"), [])


def stage(text: str, folder: Path) -> None:
    from clinragen import config
    from clinragen.stages.config import StageConfig

    (folder / "stage.yaml").write_text(text)
    config.load("stage", str(folder / "stage.yaml"), StageConfig)


def mapping(text: str, folder: Path) -> None:
    from mimic_prep.releases.fhir.vocabulary import load_mapping

    (folder / "mapping.yaml").write_text(text)
    load_mapping(str(folder / "mapping.yaml"))


def policy(text: str, folder: Path) -> None:
    from clinragen.federation.policy import Policy

    (folder / "policy.yaml").write_text(text)
    Policy.read(folder / "policy.yaml")


def more_variables(text: str, tmp_path: Path) -> None:
    """A file of variables beside those of the catalogue."""
    (tmp_path / "variables.yaml").write_text(text)
    added_variables.load([str(tmp_path / "variables.yaml")])


def contract(text: str, folder: Path) -> None:
    from clinragen.contracts import settings

    (folder / "contract.yaml").write_text(text)
    settings.load(str(folder / "contract.yaml"))


#: A key at the top of a block of YAML -> the code that reads such a file.
READERS: dict[str, Callable[[str, Path], None]] = {
    **dict.fromkeys(("labels",), labels),
    **dict.fromkeys(("described_labels",), described_labels),
    **dict.fromkeys(("server", "engine", "sampling"), teacher),
    **dict.fromkeys(("window", "rules", "notes", "splits"), protocol),
    **dict.fromkeys(("inputs", "targets"), stage),
    **dict.fromkeys(("codes", "units", "diagnoses"), mapping),
    **dict.fromkeys(("variables",), more_variables),
    **dict.fromkeys(("smallest_cell",), policy),
    **dict.fromkeys(("types",), contract),
}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_settings_load_through_the_code_that_reads_them(page, tmp_path):
    for text in blocks(page, "yaml"):
        top = list(yaml.safe_load(text))
        read = next((READERS[key] for key in top if key in READERS), None)
        if not re.match(r"# [\w/.-]+\.yaml\n", text):  # an excerpt of a file of the project has a test of its own
            assert read, f"{page.name}: nothing is known to read a file with the keys {top}: add its reader here"
            read(text, tmp_path)


@pytest.fixture
def reader_folder(hospital, runs, tmp_path, monkeypatch) -> Path:
    """A working folder with what the commands of the first pages write, at the same names."""
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    for name, folder in (
        ("cohort", hospital.cohort),
        ("mimic-iv", hospital.cohort),
        ("multimodal", runs.multimodal),
        ("predictions", runs.predictions),
    ):
        shutil.copytree(folder, outputs / name)  # pages may write into them
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_runs(page, reader_folder, hospital):
    """With a smaller model, trained for one epoch, in place of the preset ``tiny``."""
    small = f'model="{hospital.model}", set={{"stage.epochs": 1}}'
    text = page.read_text(encoding="utf-8").replace('model="tiny"', small)
    document = Document(text, str(page))
    for region in CodeBlockParser("python", run_or_compile)(document):
        document.add(region)
    for example in document.examples():
        example.evaluate()
    if page.name == "README.md":
        table, claims = document.namespace["table"], document.namespace["claims"]
        assert len(table) > 5
        assert table["note_rationale"].str.len().min() >= 0
        assert set(claims["stay_id"]) <= set(table["stay_id"])


def run_or_compile(example: Example) -> None:
    """Run a block in the namespace of its page; a file of the project is compiled only."""
    source = str(example.parsed)
    code = compile("\n" * example.line + source, example.path, "exec")
    if not is_file(source):
        exec(code, example.namespace)
