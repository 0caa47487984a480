"""Run the experiments behind docs/results.md again, and bring `results.json` and the pages up to date.

    python benchmarks/results.py --data eicu-demo=PATH/TO/eicu-demo --data mimic-iv-demo=PATH/TO/mimic-iv-demo
    python benchmarks/results.py --list       # the experiments of benchmarks/experiments.yaml, and what each needs
    python benchmarks/results.py --render     # run nothing: write the tables and quoted figures of the pages anew
    python benchmarks/results.py --record ID "COMMAND"    # bring over a table that was written by hand after its mark

One experiment runs after the other, each in a folder of its own under `--out`. One that has finished with the same
commands, code and data is not run again, so that an interrupted run goes on where it was; one that fails does not stop
the others. What needs data, models or an accelerator that were not given stays as it is.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiment_runs import Registry, Runner, code_state
from result_store import ROOT, STORE, Tables, pages, save, tables_in

from clinragen.artifacts import write_text
from clinragen.errors import UserError


def store(tables: Mapping[str, Mapping[str, Any]], registry: Registry) -> None:
    """Write tables into `results.json`, and what waits for data or an accelerator as a table with empty cells."""
    stored = {**json.loads(STORE.read_text(encoding="utf-8"))["tables"], **tables}
    filled = {name for name, table in stored.items() if table["status"] != "to run"}
    waiting = [
        [f"`{name}`", "<br>".join(f"`{command}`" for command in one.commands), ", ".join(needs), ""]
        for name, one in registry.experiments.items()
        if (needs := [*one.reads(registry.data), *one.needs]) and one.tables and not filled & set(one.tables)
    ]
    columns = ["experiment", "command", "needs", "result"]
    stored["to-run"] = {"status": "to run", "columns": columns, "rows": waiting}
    save(stored)


def record(name: str, command: str) -> None:
    """Bring the table after the mark of ``name`` in a page over to `results.json`, with its command and commit."""
    written = [table for page in pages() if (table := tables_in(page.read_text(encoding="utf-8")).get(name))]
    if len(written) != 1:
        raise UserError(f"{len(written)} pages have a table after <!-- table: {name} --> and an empty line, not one")
    stored = json.loads(STORE.read_text(encoding="utf-8"))["tables"]
    today = datetime.now(UTC).date().isoformat()
    provenance = {"status": "recorded", "commands": [command], "commit": code_state()["commit"], "date": today}
    save({**stored, name: {**provenance, **written[0]}})


def render() -> None:
    """Write the tables and quoted figures of all pages as `results.json` has them."""
    tables = Tables.load()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (now := tables.update(text)) != text:
            write_text(page, now)
            page.chmod(0o644)
            print(f"{page.relative_to(ROOT)}: brought up to date", file=sys.stderr)


def show(registry: Registry, given: Mapping[str, Path], has: Sequence[str]) -> None:
    """List the experiments."""
    for name, experiment in registry.experiments.items():
        missing = registry.missing(name, given, has)
        print(f"{name} ({experiment.minutes:g} min){f', needs {", ".join(missing)}' if missing else ''}")
        for command in experiment.commands:
            print(f"    {command}")


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FOLDER", help="a data set; may be repeated"
    )
    parser.add_argument("--has", action="append", default=[], help="something else that is there, such as gpu")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/results"), help="run again with the same one to go on"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="these experiments; may be repeated"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="leave out what takes longer")
    parser.add_argument("--list", action="store_true", help="list the experiments and stop")
    parser.add_argument("--record", nargs=2, metavar=("ID", "COMMAND"), help="bring over a table of a page")
    parser.add_argument("--render", action="store_true", help="only write the pages anew from results.json")
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the command, too
    arguments = parsed()
    registry, has = Registry.load(), tuple(arguments.has)
    given = {name: Path(path).resolve() for name, _, path in (word.partition("=") for word in arguments.data)}
    if unknown := [*(set(given) - set(registry.data)), *(set(arguments.only) - set(registry.experiments))]:
        raise UserError(
            f"{', '.join(unknown)}: data sets are {', '.join(registry.data)}; experiments are listed by --list"
        )
    if arguments.list:
        show(registry, given, has)
        return 0
    if arguments.record:
        record(*arguments.record)
    failed = [] if arguments.render or arguments.record else run_all(registry, arguments, given, has)
    store({}, registry)  # what waits for data may have changed
    render()
    return bool(failed)


def run_all(
    registry: Registry, arguments: argparse.Namespace, given: Mapping[str, Path], has: Sequence[str]
) -> list[str]:
    """Run what can be run; the names of what failed."""
    runner, failed = Runner(registry, arguments.out.resolve(), given), []
    names = arguments.only or [name for name, one in registry.experiments.items() if one.minutes <= arguments.minutes]
    for name in registry.in_order(names):
        experiment = registry.experiments[name]
        if missing := registry.missing(name, given, has):
            print(f"{name}: left out, needs {', '.join(missing)}", file=sys.stderr)
        elif blocked := set(failed) & set(experiment.reads(registry.experiments)):
            print(f"{name}: left out, {', '.join(blocked)} failed", file=sys.stderr)
            failed.append(name)
        elif runner.finished(name):
            print(f"{name}: finished before", file=sys.stderr)
        else:
            print(f"{name}: about {experiment.minutes:g} minutes", file=sys.stderr)
            if runner.run(name):
                print(f"{name}: failed, see {runner.out / name / 'log.txt'}", file=sys.stderr)
                failed.append(name)
        if name not in failed and not missing:
            store(runner.tables(name), registry)
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
