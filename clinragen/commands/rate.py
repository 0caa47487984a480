"""``clinragen rate``: have clinicians and a language model rate rationales blindly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.errors import UserError
from clinragen.options import (
    AsJson,
    CohortFolder,
    Out,
    Overwrite,
    Paths,
    Seed,
    Settings,
    Verify,
    WholeNumber,
)

command = App(name="rate", help="Have clinicians and a language model rate rationales blindly, and import the ratings.")

PackFolder = Annotated[Path, Parameter(name="--pack", help="Folder written by `clinragen rate pack`.")]


@command.command
def pack(
    *,
    predictions: Annotated[
        Path | None, Parameter(name="--predictions", help="Folder written by `clinragen predict`.")
    ] = None,
    prescriptions: Path | None = None,
    answers: Path | None = None,
    cohort: CohortFolder,
    out: Out,
    teacher: str | None = None,
    against: Paths = (),
    stays: WholeNumber = 20,
    raters: WholeNumber = 3,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Write a page for each rater that works offline, and a key that says who wrote what.

    Args:
        prescriptions: Folder written by `clinragen prescribe`, in place of --predictions: its suggestions are rated.
        answers: Folder of `clinragen ask --out` or its file, in place of --predictions: its answers are rated.
        teacher: Name of a rationale set of the cohort to compare with.
        against: Other predictions, suggestions or answers, for the same stays, as a baseline; may be repeated.
        stays: Number of stays to draw.
        raters: Number of people who rate; each rates all stays.
        seed: Decides what is drawn, and every order.
    """
    from clinragen.api.rating import pack_answers, pack_prescriptions, pack_ratings

    options: dict[str, Any] = {
        "against": against,
        "stays": stays,
        "raters": raters,
        "seed": seed,
        "overwrite": overwrite,
        "verify": verify,
        "progress": True,
    }
    given = {"--predictions": predictions, "--prescriptions": prescriptions, "--answers": answers}
    if sum(path is not None for path in given.values()) != 1:
        raise UserError(f"rate pack needs one of {', '.join(given)}: what is rated")
    if teacher is not None and predictions is None:
        raise UserError("--teacher goes with --predictions alone: compare with --against")
    if predictions is not None:
        written = pack_ratings(predictions, cohort, out, teacher=teacher, **options)
    elif prescriptions is not None:
        written = pack_prescriptions(prescriptions, cohort, out, **options)
    else:
        assert answers is not None
        written = pack_answers(answers, cohort, out, **options)
    lines = [
        f"pack {written.pack}: {stays} stays",
        *(f"{path}: one rater's page" for path in written.pages),
        f"{written.folder / 'key.json'} says who wrote what: give raters nothing but their page",
    ]
    answer("\n".join(lines), {"folder": out, "pack": written.pack, "pages": written.pages}, as_json)


@command.command
def judge(
    *,
    pack: PackFolder,
    config: str | None = None,
    settings: Settings = (),
    name: str = "judge",
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Have a language model rate a pack, and compare each two authors in both orders.

    It is reached as a teacher is: on this machine, unless an attestation covers another.

    Args:
        config: Teacher config, a shipped name or a YAML file. Default: openai, with temperature 0.
        settings: Override a setting of the config, as in server.model=NAME; may be repeated.
        name: Name of its journal and rating file.
    """
    from clinragen.api.rating import judge_ratings

    judged = judge_ratings(pack, config=config, set=settings, name=name, verify=verify, progress=True)
    lines = [f"{judged.rated} rationales rated, {judged.compared} comparisons"]
    lines += [f"{count} answers missing: {reason}" for reason, count in judged.missing.items()]
    lines.append(f"written to {judged.path}: import it with the files of people")
    answer("\n".join(lines), vars(judged), as_json)


@command.command(name="import")
def import_(
    *,
    pack: PackFolder,
    ratings: Paths,
    out: Out,
    replicates: WholeNumber = 1000,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Check rating files, undo the blinding, and print means, differences and agreement.

    Args:
        ratings: A file that a rater saved, or a folder of them; may be repeated.
        replicates: Number of bootstrap replicates.
        seed: Seed of the bootstrap.
    """
    import sys

    from rich.console import Console

    from clinragen.api.rating import import_ratings
    from clinragen.rating.table import render

    imported = import_ratings(
        pack, ratings, out, replicates=replicates, seed=seed, overwrite=overwrite, verify=verify, progress=True
    )
    if as_json:
        answer("", imported.values, as_json)
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(render(imported.values))
    console.print(f"Written to {imported.path}", highlight=False, soft_wrap=True)
