"""Mutation testing: which small faults in a module do the tests of its own folder miss? ``make mutants`` runs this.

mutmut makes the faults (one changed operator, number, argument, text or branch each) and runs the tests on each.
This script chooses modules and tests (``mutants.yaml``), works in a copy of the tree, lets mutmut see what it would
skip (bodies of decorated functions: context managers, properties, caches), and prints the share of faults that a test
notices. Left out are the wordings of errors, and the faults that ``mutants.yaml`` lists as equivalent with a reason.

Usage: python tests/mutants.py [--show] [MODULE ...]
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SURVIVED = (0, 5, 33)  # exit codes of mutmut: all tests passed, or none ran the function
UNKNOWN = (None, 2)  # not run, or interrupted
TARGET = 0.92


@dataclass(frozen=True)
class Mutant:
    """A fault: the function it is in, the line before and after, and whether a test failed with it."""

    function: str
    before: str
    after: str
    killed: bool

    def __str__(self) -> str:
        return f"{self.function}\n    - {self.before}\n    + {self.after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="such as clinragen/data/series.py; without any, all of mutants.yaml")
    parser.add_argument("--show", action="store_true", help="print every fault that no test noticed")
    options = parser.parse_args()
    from omegaconf import OmegaConf

    chosen: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("mutants.yaml")))
    unknown = [module for module in options.modules if module not in chosen]
    if unknown:
        parser.error(f"{unknown[0]} is not in tests/mutants.yaml: add it there with the tests that cover it")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        rates = [probe(Path(folder), module, chosen[module], options.show) for module in options.modules or chosen]
    return 0 if all(rate >= TARGET for rate in rates) else 1


def probe(folder: Path, module: str, entry: dict[str, Any], show: bool) -> float:
    """Run all mutants of one module and print its line: the share of those that matter which a test killed."""
    began = time.monotonic()
    tree = folder / module.replace("/", ".")
    copy_tree(tree)
    source = tree / module
    source.write_text(prepare(source.read_text(encoding="utf-8")), encoding="utf-8")
    settings = {
        "source_paths": ["clinragen", "mimic_prep"],
        "only_mutate": [module],
        "also_copy": ["configs", "benchmarks", "README.md", "docs"],
        "pytest_add_cli_args": [
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=mutants",
            "--hypothesis-seed=0",
            "--tier=all",
        ],
        "pytest_add_cli_args_test_selection": entry["tests"],
        # A process that has run tests has threads of polars, which a fork does not survive, and filled caches.
        "process_isolation": "forkserver",
        "forkserver_warmup": "import",
        "preload_modules_file": "preload.txt",
    }
    preload = ("pytest", "hypothesis", module.removesuffix(".py").replace("/", "."))
    (tree / "preload.txt").write_text("\n".join(preload))
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    with (tree / "pyproject.toml").open("a", encoding="utf-8") as handle:
        handle.write("\n[tool.mutmut]\n" + "\n".join(lines) + "\n")
    environment = os.environ | {"CLINRAGEN_TEST_CACHE": str(folder / "fixtures"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)  # mutmut puts the copy on the path
    if extra := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(path for path in extra.split(os.pathsep) if Path(path) != ROOT)
    arguments = [sys.executable, "-m", "mutmut", "run", "--max-children", "1"]
    run = subprocess.run(arguments, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    record = tree / "mutants" / f"{module}.meta"
    mutants = read(tree / "mutants" / module, record) if run.returncode == 0 and record.exists() else []
    if not mutants:
        sys.exit(
            f"{module}: mutmut found no mutants or could not run the tests\n{run.stdout[-3000:]}{run.stderr[-3000:]}"
        )
    rate = report(module, mutants, entry.get("equivalent") or [], show, time.monotonic() - began)
    shutil.rmtree(tree)
    return rate


def report(module: str, mutants: list[Mutant], equivalent: list[dict[str, str]], show: bool, seconds: float) -> float:
    """Print what was killed, and the entries of ``equivalent`` that no longer are; the share killed."""
    listed = Counter({(entry["before"], entry["after"]): 0 for entry in equivalent})
    survivors, killed = [], 0
    for mutant in mutants:
        key = (mutant.before, mutant.after)
        if mutant.killed:
            killed += 1
        elif key in listed:
            listed[key] += 1
        else:
            survivors.append(mutant)
    same = sum(listed.values())
    rate = killed / max(1, len(mutants) - same)
    print(
        f"{module:42} {killed:4} of {len(mutants) - same:4} killed  {rate:6.1%}  {same:3} equivalent  {seconds:4.0f} s"
    )
    if show:
        print(*survivors, sep="\n")
    for (before, after), count in listed.items():
        if not count:
            print(f"  listed as equivalent, but killed or gone: {before}  ->  {after}")
    sys.stdout.flush()
    return rate


def copy_tree(target: Path) -> None:
    """Copy what git tracks or would track."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def prepare(source: str) -> str:
    """Spare the wording of errors, and open decorated functions to mutmut: ``@d`` becomes ``f = d(f)`` below ``f``."""
    lines = source.splitlines()
    below: dict[int, list[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and node.end_lineno:
            for line in range(node.lineno - 1, node.end_lineno):
                lines[line] += "  # pragma: no mutate"
        if isinstance(node, ast.FunctionDef) and node.decorator_list and node.end_lineno:
            names = [ast.unparse(decorator) for decorator in node.decorator_list]
            if any(name in ("staticmethod", "classmethod") or "." in name for name in names):
                continue
            for decorator in node.decorator_list:
                for line in range(decorator.lineno - 1, decorator.end_lineno or decorator.lineno):
                    lines[line] = ""
            wrapped = node.name
            for name in reversed(names):
                wrapped = f"{name}({wrapped})"
            below.setdefault(node.end_lineno, []).append(f"{' ' * node.col_offset}{node.name} = {wrapped}")
    return "\n".join(text for number, line in enumerate(lines, 1) for text in (line, *below.get(number, []))) + "\n"


def read(mutated: Path, record: Path) -> list[Mutant]:
    """The mutants of a file: mutmut keeps every version of a function beside the original one."""
    lines_of = {
        node.name: [ast.unparse(node.args), *ast.unparse(ast.Module(node.body, [])).splitlines()]
        for node in ast.walk(ast.parse(mutated.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    mutants = []
    for key, code in json.loads(record.read_text(encoding="utf-8"))["exit_code_by_key"].items():
        if code in UNKNOWN:
            raise RuntimeError(f"mutmut did not finish {key}: run it again")
        name = key.rpartition(".")[2]
        original = re.sub(r"_\d+$", "_orig", name)
        changes = list(difflib.unified_diff(lines_of[original], lines_of[name], n=0, lineterm=""))[2:]
        lines = {sign: " ".join(line[1:].strip() for line in changes if line[0] == sign) for sign in "-+"}
        if is_only_a_check(lines["-"], lines["+"]):
            continue
        mutants.append(Mutant(readable(name), lines["-"], lines["+"], code not in SURVIVED))
    return mutants


def is_only_a_check(before: str, after: str) -> bool:
    """Whether two lines differ in ``strict=`` of a zip alone: it asserts what the lines before have made sure of."""
    plain = [re.sub(r", strict=\w+", "", line) for line in (before, after)]
    return plain[0] == plain[1]


def readable(name: str) -> str:
    """``x_fit__mutmut_3`` as ``fit``, ``xǁLoopǁfit__mutmut_3`` as ``Loop.fit``."""
    return re.sub(r"__mutmut_\d+$", "", name).removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")


if __name__ == "__main__":
    sys.exit(main())
