"""The wheel works where no checkout is: built, installed into fresh environments, and used there as a newcomer would.

    python tools/check_wheel.py --out dist

First without the training packages: a synthetic hospital is prepared, the graph built and rationales written, and
`clinragen train` says in one line what to install. Then with the extra `train`: a stage is trained, and its
predictions become a report. Versions are those of uv.lock; packages come from uv's cache where it has them.

Before that the version is checked: from a tag, in a clone, in `git archive`, and without any history.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: what works without torch, and what `train` adds; each is run in an empty folder
LIGHT = (
    "clinragen --version",
    "mimic-prep synthesize --patients 60 --out raw",
    "mimic-prep mimic-iv --raw raw --out cohort",
    "clinragen graph build --out graph",
    "clinragen teach --cohort cohort --graph graph",
)
HEAVY = (
    "clinragen train notes --cohort cohort --graph graph --model tiny --out run --set stage.epochs=1",
    "clinragen predict --model run --cohort cohort --out predictions",
    "clinragen report --predictions predictions --cohort cohort --out report",
)


def uv() -> str:
    """uv, by the path that the Makefile gives."""
    given = os.environ.get("UV", "uv")
    return str(ROOT / given) if (ROOT / given).is_file() else given


def build(out: Path, source: Path = ROOT) -> Path:
    """Build the wheel of a folder and return its path."""
    subprocess.run([uv(), "build", "--quiet", "--wheel", "--out-dir", str(out), str(source)], check=True)
    return max(out.glob("clinragen-*.whl"), key=lambda path: path.stat().st_mtime)


def git(folder: Path, *words: str) -> None:
    """Run git in a folder."""
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def check_versions(folder: Path) -> None:
    """Check what version each kind of copy is given, on a small repository with the project's files of packaging."""
    repository, archive, bare = folder / "repository", folder / "archive", folder / "bare"
    for name in ("clinragen", "mimic_prep", "configs"):
        (repository / name).mkdir(parents=True)
        (repository / name / "__init__.py").touch()
    for name in ("pyproject.toml", ".git_archival.txt", ".gitattributes", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, repository / name)
    shutil.copytree(repository, bare)
    (bare / ".git_archival.txt").unlink()
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "first")
    check_version(repository, r"0\.1\.0\.dev1\+g\w+", "a clone without tags")
    check_version(bare, r"0\.1\.0\.dev0", "a copy without history")
    git(repository, "tag", "v1.2.3")
    check_version(repository, r"1\.2\.3", "a clone at a tag")
    git(repository, "archive", "--output", "../archive.tar", "HEAD")
    shutil.unpack_archive(folder / "archive.tar", archive, filter="data")
    check_version(archive, r"1\.2\.3", "`git archive` at a tag")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "second")
    check_version(repository, r"1\.2\.4\.dev1\+g\w+", "a clone after a tag")


def check_version(source: Path, expected: str, what: str) -> None:
    """Stop unless the wheel of a folder has a version of this pattern."""
    version = build(source / "dist", source).name.split("-")[1]
    if not re.fullmatch(expected, version):
        sys.exit(f"{what}: version {version}, expected {expected}")


class Environment:
    """A fresh virtual environment, and an empty folder to run its commands in."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.folder, self.locked = folder / "venv" / "bin", folder / "work", folder / "locked.txt"
        self.folder.mkdir()
        subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, str(self.bin.parent)], check=True)
        pins = [uv(), "export", "--quiet", "--locked", "--all-extras", "--no-dev", "--no-emit-project", "--no-hashes"]
        subprocess.run([*pins, "--output-file", str(self.locked)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

    def install(self, package: str) -> None:
        """Install the wheel, `WHEEL` or `WHEEL[EXTRA]`, with the locked versions of what it needs."""
        python = str(self.bin / "python")
        words = ["pip", "install", "--quiet", "--python", python, "--constraints", str(self.locked), package]
        environment = {name: value for name, value in os.environ.items() if name != "UV_COMPILE_BYTECODE"}
        subprocess.run([uv(), *words], check=True, env=environment)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line of the environment's own programs in the empty folder."""
        program, *words = line.split()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OMP_NUM_THREADS": "2"}
        return subprocess.run(
            [str(self.bin / program), *words], cwd=self.folder, env=environment, text=True, capture_output=True
        )

    def must(self, line: str) -> None:
        """Run a line, print how long it took, and stop with its output where it fails."""
        started = time.monotonic()
        done = self.run(line)
        print(f"{time.monotonic() - started:5.1f} s  {line}", flush=True)
        if done.returncode:
            sys.exit(f"{line}: ended with code {done.returncode}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Build, install, try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the wheel is written")
    out = parser.parse_args().out.absolute()
    with tempfile.TemporaryDirectory() as folder:
        check_versions(Path(folder))
        wheel = build(out)
        environment = Environment(Path(folder))
        environment.install(str(wheel))
        for line in LIGHT:
            environment.must(line)
        refused = environment.run(HEAVY[0])
        if refused.returncode == 0 or "[train]" not in refused.stderr or "Traceback" in refused.stderr:
            sys.exit(f"{HEAVY[0]} without the training packages must name the extra `train`:\n{refused.stderr}")
        environment.install(f"{wheel}[train]")
        for line in HEAVY:
            environment.must(line)
        if not (environment.folder / "report" / "index.html").is_file():
            sys.exit("the report has no index.html")
    print(f"{wheel.name} works outside a checkout, without and with the training packages")


if __name__ == "__main__":
    main()
