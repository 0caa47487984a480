"""Times of commands that should be instant: imports, help, and the error for a wrong path.

    python benchmarks/command_times.py
    python benchmarks/command_times.py --beside ../another/checkout --repeats 9

Each is a process of its own, from its start to its end, on one checkout or on two in turn; medians are printed, in
seconds of wall time and of processor time. Bytecode is compiled by a first process that does not count.
"""

from __future__ import annotations

import argparse
import atexit
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from printed_tables import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
NOWHERE = {  # what each command needs before it can look for a file that is not there
    "clinragen": {
        "graph": "show shock --graph nowhere",
        "teach": "--cohort nowhere",
        "distill": "--cohort nowhere --out o",
        "train": "notes --cohort nowhere --out o",
        "predict": "--model nowhere --cohort nowhere --out o",
        "explain": "--model nowhere --cohort nowhere --stay 1",
        "evaluate": "--predictions nowhere --cohort nowhere",
        "export": "--model nowhere --out o",
        "report": "--predictions nowhere --cohort nowhere --out o",
        "demo": "--config nowhere.yaml --out o",
    },
    "mimic-prep": {
        "mimic-iv": "--raw nowhere --out o",
        "mimic-iii": "--raw nowhere --out o",
        "eicu": "--raw nowhere --out o",
        "meds": "--raw nowhere --out o",
        "physionet-2012": "--raw nowhere --out o",
        "check-release": "--raw nowhere",
        "audit": "nowhere",
        "synthesize": "--patients 0 --out o",
    },
}
MODULES = {"clinragen": "clinragen.cli", "mimic-prep": "mimic_prep.cli"}
RENAMED = {"check-release": "verify"}  # what an older checkout calls it


def waits() -> list[tuple[str, list[str], int]]:
    """What is timed: a title, the words of the command line (or Python after ``-c``), and the exit code."""
    listed = [("import clinragen", ["-c", "import clinragen"], 0)]
    for program, commands in NOWHERE.items():
        listed.append((f"{program} --help", [program, "--help"], 0))
        listed += [(f"{program} {name} --help", [program, name, "--help"], 0) for name in commands]
        listed += [(f"{program} {name} {rest}", [program, name, *rest.split()], 2) for name, rest in commands.items()]
    return listed


def seconds(code: Path, words: list[str], expected: int, bytecode: str) -> tuple[float, float]:
    """Wall and processor seconds of one process on a checkout.

    Args:
        code: the checkout.
        words: of the command line.
        expected: the exit code.
        bytecode: folder of compiled modules.

    Raises:
        SystemExit: it ended otherwise than a user would expect.
    """
    python = words[1] if words[0] == "-c" else f"from {MODULES[words[0]]} import main; import sys; sys.exit(main())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", python, *words[1:]],
        env={**environment, "PYTHONPATH": str(code), "PYTHONPYCACHEPREFIX": bytecode, "COLUMNS": "100"},
        cwd=code,
        capture_output=True,
        check=False,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != expected:
        raise SystemExit(f"{code}: {' '.join(words)} ended with {done.returncode}: {done.stderr.decode()[-400:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time everything, in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="another checkout to time in turn with this one")
    parser.add_argument("--repeats", type=int, default=7, help="processes of each kind, after a first (default 7)")
    args = parser.parse_args()
    checkouts = [ROOT, *([args.beside.resolve()] if args.beside else [])]
    table = Table(*(["", "wall", "processor"] + ["wall, beside", "processor, beside"] * bool(args.beside)))
    for column in table.columns[1:]:
        column.justify = "right"
    bytecode = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, bytecode)
    for title, words, expected in waits():
        times: dict[Path, list[tuple[float, float]]] = {code: [] for code in checkouts}
        for repeat in range(args.repeats + 1):
            for code in checkouts:
                older = code is not ROOT and not (code / "clinragen" / "command_line.py").exists()
                typed = [RENAMED.get(word, word) for word in words] if older else words
                spent = seconds(code, typed, expected, bytecode)
                if repeat:  # the first warms the bytecode and the file cache
                    times[code].append(spent)
        medians = [f"{median(kind):.2f}" for code in checkouts for kind in zip(*times[code], strict=True)]
        table.add_row(title, *medians)
        print(title, *medians, file=sys.stderr)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
