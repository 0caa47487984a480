"""The whole suite runs with every connection but loopback blocked, at the level of the interpreter's sockets.

A small synthetic hospital, prepared by the real commands with a micro model trained on it through all three stages.
Each is built once per test session, also when pytest-xdist runs several workers. Tests must not change them.

And the tiers: plain ``pytest`` runs the fast tests, ``--tier all`` every test. A test is ``slow`` by its marker, by its
folder, because it needs the trained model, or because it is listed in ``slow.txt``, by measurement.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: workers must not compete for cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gc
import ipaddress
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

MICRO_MODEL = Path(__file__).with_name("micro_model.yaml")
EXACT = ("--set", "stage.precision=32-true")

# A busy machine is no fault of the code under test: no test fails for the time that an example takes.
settings.register_profile("unhurried", parent=settings(), deadline=None)
settings.load_profile("unhurried")
# What `tests/mutants.py` runs with: the same few examples each time, and no search for the smallest that fails.
settings.register_profile(
    "mutants", derandomize=True, database=None, phases=(Phase.explicit, Phase.generate), max_examples=25
)

_FSYNC = os.fsync

#: Addresses that something tried to connect to or send to, loopback included; cleared by the ``dialled`` fixture.
_DIALLED: list[str] = []


class BlockedConnection(OSError):
    """A test reached for the network."""


def _watch(event: str, args: tuple) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    address = args[1]
    if not isinstance(address, tuple):  # a Unix socket, or a datagram to the connected peer
        return
    host = str(address[0]).partition("%")[0]
    _DIALLED.append(host)
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise BlockedConnection(f"tests may not connect to {host}")


sys.addaudithook(_watch)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported by now lives as long as the process: the garbage collector need not look at it again and again.

    That, and rarer looks at what is new, save a sixth of the processor's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


SLOW_FOLDERS = ("e2e", "faults", "real")
SLOW_FIXTURES = ("runs",)  # half a minute of training
MEASURED = frozenset(Path(__file__).with_name("slow.txt").read_text(encoding="utf-8").split())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier",
        choices=("fast", "slow", "all"),
        help="which tests to run: fast (the default, and files named on the command line whole), slow, or all",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow and leave out what the tier does not want."""
    for item in items:
        if is_slow(item):
            item.add_marker("slow")
    if (
        config.getoption("hypothesis_profile", None) == "mutants"
    ):  # the first failure ends the run: the quick ones first
        items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis"))
    tier = config.getoption("tier")
    if tier == "all":
        return
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args] if tier is None else []

    def wanted(item: pytest.Item) -> bool:
        return item.path in named or (item.get_closest_marker("slow") is None) == (tier != "slow")

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


def is_slow(item: pytest.Item) -> bool:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    fixtures = getattr(item, "fixturenames", ())
    function = f"{item.path.name}::{item.name.split('[')[0]}"
    return folder in SLOW_FOLDERS or any(name in fixtures for name in SLOW_FIXTURES) or function in MEASURED


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Nothing waits for the disk: a preparation flushes 76 files and folders, and no test outlives a power cut.

    What is flushed, and when, is seen by tests that put their own function in its place; ``disk`` brings the real one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def only_shipped_variables() -> Iterator[None]:
    """Variables that a test adds are gone after it."""
    from clinragen import catalog

    with catalog.only({}, {}, ""):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """Variables that a fixture of a whole module adds are gone after it: other modules' fixtures follow."""
    from clinragen import catalog

    if fixturedef.scope == "function":  # `only_shipped_variables` itself is one
        return (yield)
    with catalog.only({}, {}, ""):
        return (yield)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are flushed to the disk."""
    monkeypatch.setattr(os, "fsync", _FSYNC)


@pytest.fixture
def dialled() -> list[str]:
    """Hosts that sockets of this process connected to since the test began."""
    _DIALLED.clear()
    return _DIALLED


@dataclass(frozen=True)
class Hospital:
    """Folders of the synthetic hospital and of everything made from it."""

    root: Path

    raw = property(lambda self: self.root / "raw")
    cohort = property(lambda self: self.root / "cohort")
    model = property(lambda self: MICRO_MODEL)


@dataclass(frozen=True)
class Runs:
    """Finished run folders, and the predictions of the last."""

    root: Path

    notes = property(lambda self: self.root / "notes")
    series = property(lambda self: self.root / "series")
    multimodal = property(lambda self: self.root / "multimodal")
    predictions = property(lambda self: self.root / "predictions")


def call(program: str, *arguments: object) -> int:
    """Run a console command in this process: its exit code."""
    from clinragen import cli
    from clinragen.errors import exit_code
    from mimic_prep import cli as prep_cli

    dispatch = {"clinragen": cli.dispatch, "mimic-prep": prep_cli.dispatch}[program]
    return exit_code(dispatch, [str(argument) for argument in arguments])


def _once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """A folder that the first worker to arrive fills and the others wait for."""
    from filelock import FileLock

    base = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    if kept := os.environ.get("CLINRAGEN_TEST_CACHE"):  # hundreds of test runs of one mutation probe share them
        base = Path(kept)
        base.mkdir(parents=True, exist_ok=True)
    folder = base / name
    with FileLock(base / f"{name}.lock"):
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            (folder / ".complete").touch()
    return folder


@pytest.fixture(scope="session")
def restamp() -> Callable[[Path], None]:
    """``restamp(folder)`` records the files of a changed cohort as if they had been prepared so."""
    from clinragen.artifacts import read_json, sha256_file, write_json

    def record(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = read_json(path, "a manifest")
        files = sorted(folder.glob("*.parquet"))
        manifest["outputs"] = {file.name: sha256_file(file) for file in files}
        manifest["sizes"] = {file.name: file.stat().st_size for file in files}
        write_json(path, manifest)

    return record


@pytest.fixture(scope="session")
def command() -> Callable[..., int]:
    """``command("clinragen", "train", ...)`` runs a console command in this process and gives its exit code."""
    return call


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """About 75 stays in raw tables, their cohort with evidence rationales."""
    return Hospital(_once(tmp_path_factory, "small-hospital", lambda root: make_hospital(Hospital(root))))


def make_hospital(made: Hospital) -> None:
    assert call("mimic-prep", "synthesize", "--patients", 70, "--seed", 3, "--workers", 1, "--out", made.raw) == 0
    assert call("mimic-prep", "mimic-iv", "--raw", made.raw, "--out", made.cohort) == 0
    assert call("clinragen", "teach", "--cohort", made.cohort) == 0


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a causal language model of random weights, as a hub would give it. Tests must not change it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from clinragen.model.language_model import train_tokenizer

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = train_tokenizer(["creatinine 1.2 mg/dL; sepsis. Note rationale: none of the listed"] * 9, 300)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, hospital: Hospital) -> Runs:
    """The three stages, trained for one epoch each, and predictions for the test split."""
    return Runs(_once(tmp_path_factory, "small-runs", lambda root: make_runs(Runs(root), hospital)))


def make_runs(made: Runs, hospital: Hospital) -> None:
    options = ("--cohort", hospital.cohort, *EXACT, "--set", "stage.epochs=1")
    train = ("clinragen", "train")
    assert call(*train, "notes", *options, "--out", made.notes, "--model", hospital.model) == 0
    assert call(*train, "series", *options, "--out", made.series, "--parent", made.notes) == 0
    assert call(*train, "multimodal", *options, "--out", made.multimodal, "--parent", made.series) == 0
    predict = ("clinragen", "predict", "--model", made.multimodal, "--cohort", hospital.cohort)
    assert call(*predict, "--out", made.predictions) == 0


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A PostgreSQL server, where it is installed; without it tests skip, and fail where everything is required."""
    import raw_databases

    with raw_databases.server() as running:
        if running is None:
            if os.environ.get("CLINRAGEN_REQUIRE_ALL") == "1":
                pytest.fail("PostgreSQL is required (CLINRAGEN_REQUIRE_ALL=1) and its initdb is not installed")
            pytest.skip("PostgreSQL is not installed")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, where there is one; without it tests skip, and fail where everything is required."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        if os.environ.get("CLINRAGEN_REQUIRE_ALL") == "1":
            pytest.fail("Chromium is required (CLINRAGEN_REQUIRE_ALL=1) and not on the PATH")
        pytest.skip("Chromium is not on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=program, args=arguments)
        yield opened
        opened.close()
