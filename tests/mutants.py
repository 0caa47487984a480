"""Mutation testing: which small faults in a module do the tests of its own folder miss? ``make mutants`` runs this.

mutmut makes the faults (one changed operator, number, argument, text or branch each) and runs the tests on each.
This script chooses modules and tests (``mutants.yaml``), works in a copy of the tree, lets mutmut see what it would
skip (bodies of decorated functions: context managers, properties, caches), and prints the share of faults that a test
notices. Left out are the wordings of errors, and the faults that ``mutants.yaml`` lists as equivalent with a reason.
Only the fast tests run. ``--sample 100`` runs that many faults of each module, drawn with a fixed seed, and says in
which interval the rate of all of them lies; ``--keep FOLDER`` goes on from an earlier run, also one that was stopped.

Usage: python tests/mutants.py [--show] [--sample N] [--keep FOLDER] [MODULE ...]
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TIMEOUT = (-24, 24, 36, 152)  # exit codes of mutmut: the tests took many times as long as without the fault
SURVIVED = (0, 5, 33)  # all tests passed, or none ran the function
UNKNOWN = (None, 2, 255)  # not run, interrupted, or pytest refused its arguments
LEFT_OUT = 34  # mutmut's word for a fault that is not to be run
TARGET = 0.92
SEED = 0  # of samples

# Makes the faults without running a test, as `mutmut run` does first.
GENERATE = "from mutmut import __main__ as m; m.copy_src_dir(); m.copy_also_copy_files(); m.create_mutants(1)"


@dataclass(frozen=True)
class Mutant:
    """A fault: the function it is in, the line before and after, and mutmut's code of what the tests said of it."""

    function: str
    before: str
    after: str
    code: int | None
    name: str = ""  # mutmut's

    @property
    def change(self) -> tuple[str, str]:
        """What ``mutants.yaml`` names a fault by."""
        return self.before, self.after

    @property
    def was_run(self) -> bool:
        return self.code not in (*UNKNOWN, LEFT_OUT)

    @property
    def killed(self) -> bool:
        """Whether a test failed with it."""
        return self.was_run and self.code not in SURVIVED

    def __str__(self) -> str:
        return f"{self.function}\n    - {self.before}\n    + {self.after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="such as clinragen/data/series.py; without any, all of mutants.yaml")
    parser.add_argument("--show", action="store_true", help="print every fault that no test noticed")
    parser.add_argument("--sample", type=int, metavar="N", help="run N faults of each module, drawn with a fixed seed")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep the work there, and go on from it: what tests noticed before is not run again",
    )
    options = parser.parse_args()
    from omegaconf import OmegaConf

    chosen: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("mutants.yaml")))
    unknown = [module for module in options.modules if module not in chosen]
    if unknown:
        parser.error(f"{unknown[0]} is not in tests/mutants.yaml: add it there with the tests that cover it")
    with working_folder(options.keep) as folder:
        rates = [
            probe(folder, module, chosen[module], sample=options.sample, show=options.show)
            for module in options.modules or chosen
        ]
    return 0 if all(rate >= TARGET for rate in rates) else 1


@contextmanager
def working_folder(kept: Path | None) -> Iterator[Path]:
    """The folder that is kept, or one that is gone afterwards."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        yield Path(folder)


def probe(folder: Path, module: str, entry: dict[str, Any], *, sample: int | None, show: bool) -> float:
    """Run the mutants of one module and print its line: the share of those that matter which a test killed."""
    began = time.monotonic()
    tree = folder / module.replace("/", ".")
    mutated = tree / "mutants" / module
    record = mutated.with_name(mutated.name + ".meta")
    verdicts = record.read_bytes() if record.exists() else None
    shutil.rmtree(tree, ignore_errors=True)
    copy_tree(tree)
    if verdicts is not None:  # mutmut keeps those of functions that have not changed
        record.parent.mkdir(parents=True)
        record.write_bytes(verdicts)
    configure(tree, module, entry["tests"], entry.get("warmup", "import"))
    environment = os.environ | {"CLINRAGEN_TEST_CACHE": str(folder / "fixtures"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)  # mutmut puts the copy on the path
    if extra := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(path for path in extra.split(os.pathsep) if Path(path) != ROOT)

    def python(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        if run.returncode or not record.exists():
            told = f"{run.stdout[-3000:]}{run.stderr[-3000:]}"
            sys.exit(f"{module}: mutmut found no mutants or could not run the tests\n{told}")

    python("-c", GENERATE)
    draw(record, read(mutated, record), sample)
    python("-m", "mutmut", "run", "--max-children", "1")
    mutants = read(mutated, record)
    if unfinished := [mutant.name for mutant in mutants if mutant.code in UNKNOWN]:
        sys.exit(f"{module}: mutmut did not finish {unfinished[0]}: run it again")
    return report(module, mutants, entry.get("equivalent") or [], show, time.monotonic() - began)


def draw(record: Path, mutants: list[Mutant], sample: int | None) -> None:
    """Leave to mutmut, in its record, the mutants that are to be run: of the sample, where no test has killed them."""
    chosen = mutants
    if sample is not None and sample < len(mutants):
        chosen = random.Random(SEED).sample(sorted(mutants, key=lambda mutant: mutant.name), sample)
    known = json.loads(record.read_text(encoding="utf-8"))
    codes = dict.fromkeys(known["exit_code_by_key"], LEFT_OUT)
    known["exit_code_by_key"] = codes | {mutant.name: mutant.code if mutant.killed else None for mutant in chosen}
    record.write_text(json.dumps(known), encoding="utf-8")


def configure(tree: Path, module: str, tests: list[str], warmup: str) -> None:
    """Prepare a module of a copied tree, and tell mutmut what to do with it.

    Args:
        tree: the copy.
        module: the module to mutate, relative to it.
        tests: the files or folders that must notice.
        warmup: what is done once, before all faults: ``import`` the module, or ``collect`` the tests, which imports
            what they build when they are imported.
    """
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
            "--tier=fast",
            "-o",  # else the ids of a module that was collected before are escaped once more, and not found
            "disable_test_id_escaping_and_forfeit_all_rights_to_community_support=true",
        ],
        "pytest_add_cli_args_test_selection": tests,
        # A process that has run tests has threads of polars, which a fork does not survive, and filled caches.
        "process_isolation": "forkserver",
        "forkserver_warmup": warmup,
        "timeout_multiplier": 5.0,
        "timeout_constant": 4.0,
        "preload_modules_file": "preload.txt",
    }
    preload = ("pytest", "hypothesis", module.removesuffix(".py").replace("/", "."))
    (tree / "preload.txt").write_text("\n".join(preload))
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    with (tree / "pyproject.toml").open("a", encoding="utf-8") as handle:
        handle.write("\n[tool.mutmut]\n" + "\n".join(lines) + "\n")


def report(module: str, mutants: list[Mutant], equivalent: list[dict[str, str]], show: bool, seconds: float) -> float:
    """Print what was killed, and the entries of ``equivalent`` that no longer are; the share killed."""
    listed = Counter({(entry["before"], entry["after"]): 0 for entry in equivalent})
    drawn = [mutant for mutant in mutants if mutant.was_run]
    survivors, killed = [], 0
    for mutant in drawn:
        if mutant.killed:
            killed += 1
        elif mutant.change in listed:
            listed[mutant.change] += 1
        else:
            survivors.append(mutant)
    same = sum(listed.values())
    matter = len(drawn) - same
    rate = killed / max(1, matter)
    line = f"{module:42} {killed:4} of {matter:4} killed  {rate:6.1%}  {same:3} equivalent  {seconds:4.0f} s"
    if slow := sum(mutant.code in TIMEOUT for mutant in drawn):
        line += f"  {slow} by the clock"
    if len(drawn) < len(mutants):
        low, high = wilson(killed, matter)
        line += f"  {len(drawn)} of {len(mutants)} sampled, 95 % interval {low:.1%} to {high:.1%}"
    print(line)
    if show:
        print(*survivors, sep="\n")
    unknown = {mutant.change for mutant in mutants if not mutant.was_run}
    for (before, after), count in listed.items():
        if not count and (before, after) not in unknown:
            print(f"  listed as equivalent, but killed or gone: {before}  ->  {after}")
    sys.stdout.flush()
    return rate


def wilson(killed: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    z = 1.959964
    share, width = killed / count, z**2 / count
    middle, half = share + width / 2, z * math.sqrt((share * (1 - share) + width / 4) / count)
    return (middle - half) / (1 + width), (middle + half) / (1 + width)


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
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    mutants = []
    for key, code in json.loads(record.read_text(encoding="utf-8"))["exit_code_by_key"].items():
        name = key.rpartition(".")[2]
        original = re.sub(r"_\d+$", "_orig", name)
        changes = list(difflib.unified_diff(lines_of[original], lines_of[name], n=0, lineterm=""))[2:]
        lines = {sign: " ".join(line[1:].strip() for line in changes if line[0] == sign) for sign in "-+"}
        if is_only_a_check(lines["-"], lines["+"]):
            continue
        mutants.append(Mutant(readable(name), lines["-"], lines["+"], code, key))
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
