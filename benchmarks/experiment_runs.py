"""The experiments behind the tables of docs/results.md, and how each is run and journaled.

An experiment runs in a folder of its own: its output is shown and kept in `log.txt`, the tables that it prints in
`tables.jsonl`. `journal.jsonl` beside the folders records when each began, how it ended, how long it took, on what
machine and load, and from which code and data. What has finished with the same commands, code and data is finished.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml
from printed_tables import FILE
from result_store import ROOT, typeset

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.errors import UserError

REGISTRY = ROOT / "benchmarks" / "experiments.yaml"
#: what figures may depend on; the commands of the registry are compared one by one
CODE = ("clinragen/**/*.py", "mimic_prep/**/*.py", "benchmarks/*.py", "configs/**/*", "uv.lock")


@dataclass(frozen=True)
class Experiment:
    """An entry of the registry.

    Args:
        commands: run in order; `{out}` is the experiment's folder, `{NAME}` that of another one or a data set's.
        minutes: about how long it takes on two cores.
        tables: ids in `results.json` of the tables that it prints, in order; the others are `NAME-1`, `NAME-2` ...
        by_hand: ids of tables that a page shows in another form than the commands print.
        needs: what it needs besides the data sets in its commands (an accelerator, a server).
    """

    name: str
    commands: tuple[str, ...]
    minutes: float
    tables: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any]) -> Experiment:
        """An experiment by its entry in the registry."""
        lists: dict[str, tuple[str, ...]] = {key: tuple(value) for key, value in entry.items() if key != "minutes"}
        return cls(name, minutes=float(entry["minutes"]), **lists)

    def reads(self, names: Mapping[str, Any]) -> list[str]:
        """Which of the names (of data sets or experiments) its commands read."""
        return [name for name in names if any(f"{{{name}}}" in command for command in self.commands)]


@dataclass
class Registry:
    """Experiments, and the data sets and tools that they need, each with what it is."""

    experiments: dict[str, Experiment]
    data: dict[str, str]
    needs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path = REGISTRY) -> Registry:
        """The registry of a file; `UserError` for a name that is defined nowhere."""
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
        experiments = {name: Experiment.of(name, entry) for name, entry in read["experiments"].items()}
        registry = cls(experiments, read["data"], read.get("needs", {}))
        if twice := set(experiments) & set(registry.data):
            raise UserError(f"{file}: {', '.join(sorted(twice))} names both a data set and an experiment")
        for experiment in experiments.values():
            try:
                words = dict.fromkeys((*experiments, *registry.data, "out"), "")
                [command.format_map(words) for command in experiment.commands]
            except KeyError as error:
                raise UserError(
                    f"{file}: {experiment.name} reads {error}, which is no data set or experiment"
                ) from None
            if absent := set(experiment.needs) - set(registry.needs):
                raise UserError(f"{file}: {experiment.name} needs {', '.join(sorted(absent))}, which is not described")
        return registry

    def missing(self, name: str, given: Mapping[str, Path], has: Sequence[str]) -> list[str]:
        """What an experiment, or one that it reads, needs and is not given."""
        experiment = self.experiments[name]
        missing = [data for data in experiment.reads(self.data) if data not in given]
        missing += [need for need in experiment.needs if need not in has]
        for other in experiment.reads(self.experiments):
            missing += self.missing(other, given, has)
        return list(dict.fromkeys(missing))

    def in_order(self, names: list[str]) -> list[str]:
        """The named experiments, each after those that it reads."""
        order: dict[str, None] = {}
        for name in names:
            order |= dict.fromkeys(self.in_order(self.experiments[name].reads(self.experiments)))
            order[name] = None
        return list(order)


class Runner:
    """Runs experiments and journals them.

    Args:
        out: the journal and a folder for each experiment.
        given: the folders of data sets.
    """

    def __init__(self, registry: Registry, out: Path, given: Mapping[str, Path]) -> None:
        self.registry, self.out, self.given = registry, out, given
        self.out.mkdir(parents=True, exist_ok=True)
        self.journal = out / "journal.jsonl"
        self.hashes = {name: data_hash(path) for name, path in given.items()}
        self.code = code_state()

    def finished(self, name: str) -> dict[str, Any] | None:
        """The last record of an experiment that ended well with the commands, code and data of today."""
        records = [json.loads(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []
        last = next((record for record in reversed(records) if record["experiment"] == name), None)
        return last if last and last.get("exit") == 0 and last["identity"] == self.identity(name) else None

    def identity(self, name: str) -> str:
        """A hash of all that the experiment's tables should depend on."""
        experiment = self.registry.experiments[name]
        data = [self.hashes[data] for data in experiment.reads(self.registry.data)]
        others = [self.identity(other) for other in experiment.reads(self.registry.experiments)]
        return sha256_json([experiment.commands, data, others, self.code["hash"]])

    def run(self, name: str) -> int:
        """Run an experiment's commands until one fails; the exit status of the last."""
        experiment, folder = self.registry.experiments[name], self.out / name
        folder.mkdir(exist_ok=True)
        (folder / "tables.jsonl").unlink(missing_ok=True)
        folders = {other: self.out / other for other in self.registry.experiments}
        words = {key: shlex.quote(str(path)) for key, path in {**folders, **self.given, "out": folder}.items()}
        record = {
            "experiment": name,
            "identity": self.identity(name),
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "code": self.code,
            "data": {data: self.hashes[data] for data in experiment.reads(self.registry.data)},
            "machine": machine(),
            "load": round(os.getloadavg()[0], 1),
        }
        self._append(record)
        began, status = time.monotonic(), 0
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            for command in experiment.commands:
                line = command.format_map(words)
                print(f"$ {line}", file=log, flush=True)
                status = self._shown(line, folder, log)
                if status:
                    break
        self._append({**record, "exit": status, "seconds": round(time.monotonic() - began, 1)})
        return status

    def _shown(self, line: str, folder: Path, log: TextIO) -> int:
        """Run one command line; its output is shown and logged as it comes."""
        programs = Path(sys.executable).parent
        environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            FILE: str((folder / "tables.jsonl").resolve()),
        }
        pipe = subprocess.PIPE
        with subprocess.Popen(
            shlex.split(line), stdout=pipe, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, text=True
        ) as child:
            assert child.stdout is not None
            try:
                for shown in child.stdout:
                    print(shown, end="", file=sys.stderr, flush=True)
                    log.write(shown)
            except BaseException:  # an interrupted run leaves nothing behind that writes into its folders
                child.terminate()
                raise
        return child.returncode

    def _append(self, record: Mapping[str, Any]) -> None:
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(record, ensure_ascii=False) + "\n")

    def tables(self, name: str) -> dict[str, dict[str, Any]]:
        """The tables that a finished experiment printed, by id, each with what is known of the run."""
        record, experiment = self.finished(name), self.registry.experiments[name]
        file = self.out / name / "tables.jsonl"
        if record is None or not file.exists():
            return {}
        printed = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        names = [
            *experiment.tables,
            *(f"{name}-{number}" for number in range(len(experiment.tables) + 1, len(printed) + 1)),
        ]
        run = {
            "status": "run",
            "experiment": name,
            "commands": list(experiment.commands),
            "commit": record["code"]["commit"],
            "date": record["began"][:10],
            **{key: record[key] for key in ("seconds", "machine", "load", "data")},
        }
        return {
            ident: run
            | {"columns": [typeset(cell) for cell in table["columns"]]}
            | {"rows": [[typeset(cell) for cell in row] for row in table["rows"]]}
            for ident, table in zip(names, printed, strict=False)
        }


def data_hash(path: Path) -> str:
    """A hash of a file, or of the names and bytes of all files of a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    if not files:
        raise UserError(f"--data {path}: no file, and no folder with files")
    return sha256_json([[str(each.relative_to(path)), sha256_file(each)] for each in files])


def code_state() -> dict[str, Any]:
    """The commit where git tells it, whether the code differs from it, and a hash of all that figures may depend on."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else "unknown"

    files = sorted(path for pattern in CODE for path in ROOT.glob(pattern) if path.is_file())
    content = sha256_json([[str(path.relative_to(ROOT)), sha256_file(path)] for path in files])
    folders = sorted({pattern.split("/")[0] for pattern in CODE})
    modified = git("status", "--porcelain", "--", *folders) != ""
    return {"commit": git("rev-parse", "--short=7", "HEAD"), "modified": modified, "hash": content}


def machine() -> dict[str, Any]:
    """Processor, cores, memory and Python."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        model = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line), model
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"processor": model, "cores": cores, "memory_gib": round(memory), "python": platform.python_version()}
