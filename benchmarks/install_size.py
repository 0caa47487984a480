"""Size of an installation: a fresh virtual environment with the checkout and some extras, in millions of bytes.

    python benchmarks/install_size.py --work DIR
    python benchmarks/install_size.py --work DIR --extra train

Prints the size of the environment without pip, compiled bytecode included, and the ten largest packages in it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def main() -> None:
    """Install and weigh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, made anew")
    parser.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml; may be given again")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    venv.create(args.work, with_pip=True)
    package = f"{ROOT}[{','.join(args.extra)}]" if args.extra else str(ROOT)
    subprocess.run([args.work / "bin" / "python", "-m", "pip", "install", "--quiet", package], check=True)
    packages = next(args.work.glob("lib/python*/site-packages"))
    weights = {path.name: size(path) for path in packages.iterdir() if not path.name.startswith("pip")}
    for name, weight in sorted(weights.items(), key=lambda item: -item[1])[:10]:
        print(f"{weight / 1e6:8.1f} MB  {name}")
    print(f"{sum(weights.values()) / 1e6:8.1f} MB  in all, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
