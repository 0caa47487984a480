"""``clinragen experiment``: a published experiment, from raw tables to its table beside the published one."""

from __future__ import annotations

from pathlib import Path

from clinragen.command_line import answer, only_the_answer
from clinragen.options import AsJson, Flag, Out, Settings, WholeNumbers


def command(
    name: str,
    /,
    *,
    raw: str,
    out: Out,
    model: str | None = None,
    seeds: WholeNumbers = (),
    settings: Settings = (),
    encoder: Path | None = None,
    dry_run: Flag = False,
    as_json: AsJson = False,
) -> None:
    """Repeat a published experiment: prepare, teach, train, predict, evaluate, and compare with what was published.

    The same command continues an experiment that was interrupted.

    Args:
        name: paper_mimic3, paper_mimic4, or a YAML file of your own.
        raw: Raw tables of the release of the experiment: a folder, a DuckDB file or a PostgreSQL address.
        model: Another model preset or YAML file.
        seeds: A seed instead of those of the experiment; may be repeated, one training of each.
        settings: Override a setting, as in stage.epochs=5 (all stages) or prepare.splits.salt=WORD; may be repeated.
        encoder: Folder of an encoder such as MiniLM, for BERTScore against the teacher's rationales.
        dry_run: Print the commands, and run none.
    """
    import shlex
    import sys

    from rich.console import Console

    from clinragen.experiment import PAGE, plan, resolve, run_experiment, table

    config = resolve(name, model, seeds, settings)
    if dry_run:
        commands = [shlex.join(step.command) for step in plan(config, raw, out, encoder)]
        answer("\n".join(commands), {"commands": commands}, as_json)
        return
    with only_the_answer(as_json):
        rows = run_experiment(config, raw, out, Console(stderr=True), encoder)
    if not as_json:
        Console(width=None if sys.stdout.isatty() else 120).print(table(config.title, rows))
    answer(f"Written to {out / PAGE}", {"out": out, "rows": rows}, as_json)
