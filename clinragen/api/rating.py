"""Ratings of rationales from Python: pages for clinicians, a language model that judges, and the ratings of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import CohortLike, SettingsLike, cohort_folder, console, open_cohort, overrides
from clinragen.errors import UserError, missing_extra
from clinragen.integrity import thorough
from clinragen.names import file_name, teacher_name

if TYPE_CHECKING:
    from clinragen.api.asking import StayAnswers
    from clinragen.cohort.folder import Cohort
    from clinragen.evaluation.inputs import Predictions
    from clinragen.rating.authors import Compared
    from clinragen.rating.results import Results


@dataclass(frozen=True)
class WrittenPack:
    """A rating pack on disk.

    Attributes:
        folder: the pack, which stays with whoever leads the study.
        pack: its name, which is part of the names of rating files.
        pages: what raters get, one page each.
    """

    folder: Path
    pack: str
    pages: list[Path]


@dataclass(frozen=True)
class ImportedRatings:
    """Ratings of a pack.

    Attributes:
        path: ``ratings.json``.
        values: what it holds.
    """

    path: Path
    values: Results


@dataclass(frozen=True)
class Judged:
    """What a language model said of a pack.

    Attributes:
        path: its rating file, to be imported like those of people.
        rated: rationales that got ratings.
        compared: pairs that got a preference, each order counted.
        missing: answers that could not be used, by reason.
    """

    path: Path
    rated: int
    compared: int
    missing: dict[str, int]


def pack_ratings(
    predictions: str | Path | Predictions,
    cohort: CohortLike,
    out: str | Path,
    *,
    teacher: str | None = None,
    against: Sequence[str | Path] = (),
    stays: int = 20,
    raters: int = 3,
    seed: int = 0,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> WrittenPack:
    """Write a page for each rater, on which rationales are rated blindly and offline.

    Args:
        predictions: the student's: the result of :func:`clinragen.predict`, or its folder.
        cohort: the one they were made from.
        out: folder to write the pack to.
        teacher: name of a rationale set of the cohort to compare with.
        against: folders of other predictions of the same stays, as baselines.
        stays: number of stays to draw.
        raters: number of people who rate, each all stays.
        seed: decides what is drawn, and every order.
        overwrite: replace a pack that is there.
        verify: also check the hashes of large files before reading them.
        progress: show a bar on standard error.

    Raises:
        UserError: the folders do not belong together, too few stays have rationales of all, or the output exists.
    """
    from clinragen.evaluation.inputs import load_predictions, load_truth
    from clinragen.rating.authors import rationales

    if teacher is not None:
        teacher_name(teacher)
    root = Path(predictions) if isinstance(predictions, str | Path) else predictions.root
    folders = [Path(folder) for folder in against]

    def compared(whole: Cohort) -> Compared:
        student = load_predictions(root) if isinstance(predictions, str | Path) else predictions
        return rationales(student, load_truth(student, whole, needs_labels=False), teacher, folders)

    options = _Options(stays, raters, seed, overwrite, verify, progress)
    return _packed(compared, cohort, [root, *folders], out, options)


def pack_prescriptions(
    prescriptions: str | Path,
    cohort: CohortLike,
    out: str | Path,
    *,
    against: Sequence[str | Path] = (),
    stays: int = 20,
    raters: int = 3,
    seed: int = 0,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> WrittenPack:
    """Write a page for each rater, on which suggestions of drugs are rated blindly and offline.

    Args:
        prescriptions: folder written by :func:`clinragen.prescribe`.
        cohort: the one they were made from.
        out: folder to write the pack to.
        against: folders of other suggestions for the same stays, as baselines.
        stays: number of stays to draw.
        raters: number of people who rate, each all stays.
        seed: decides what is drawn, and every order.
        overwrite: replace a pack that is there.
        verify: also check the hashes of large files before reading them.
        progress: show a bar on standard error.

    Raises:
        UserError: the folders do not belong together, too few stays have suggestions of all, or the output exists.
    """
    from clinragen.rating.authors import prescriptions as suggestions

    folders = [Path(prescriptions), *map(Path, against)]
    options = _Options(stays, raters, seed, overwrite, verify, progress)
    return _packed(lambda whole: suggestions(folders, whole), cohort, folders, out, options)


def pack_answers(
    answers: str | Path | StayAnswers,
    cohort: CohortLike,
    out: str | Path,
    *,
    against: Sequence[str | Path] = (),
    stays: int = 20,
    raters: int = 3,
    seed: int = 0,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> WrittenPack:
    """Write a page for each rater, on which answers to questions are rated blindly and offline, one of each drawn stay.

    Args:
        answers: the result of :func:`clinragen.ask_stays`, its folder or file, or that of
            :func:`clinragen.teach_questions`.
        cohort: the one that was asked about.
        out: folder to write the pack to.
        against: other answers to the same questions, as baselines.
        stays: number of stays to draw.
        raters: number of people who rate, each all stays.
        seed: decides what is drawn, and every order.
        overwrite: replace a pack that is there.
        verify: also check the hashes of large files before reading them.
        progress: show a bar on standard error.

    Raises:
        UserError: the files do not belong together, too few stays have a question that all of them answer, or the
            output exists.
    """
    from clinragen.rating.authors import answers as replies

    first = answers if isinstance(answers, str | Path) else answers.path
    paths = [Path(first), *map(Path, against)]
    options = _Options(stays, raters, seed, overwrite, verify, progress)
    return _packed(lambda whole: replies(paths, whole, seed), cohort, paths, out, options)


@dataclass(frozen=True)
class _Options:
    """What all packs have in common."""

    stays: int
    raters: int
    seed: int
    overwrite: bool
    verify: bool
    progress: bool


def _packed(
    compared: Callable[[Cohort], Compared],
    cohort: CohortLike,
    inputs: Sequence[Path],
    out: str | Path,
    options: _Options,
) -> WrittenPack:
    """Write a pack.

    Args:
        compared: reads what is compared, given the cohort.
        cohort: the stays.
        inputs: what is read beside it.
        out: folder to write.
        options: of the user.
    """
    from rich.progress import Progress

    from clinragen.outputs import RATING_PACK, check_output
    from clinragen.rating.pack import PAGES, PackRequest, write_pack

    check_output(Path(out), RATING_PACK, overwrite=options.overwrite, inputs=(cohort_folder(cohort), *inputs))
    with thorough(options.verify), Progress(console=console(options.progress), transient=True) as bar:
        task = bar.add_task("pages", total=options.raters)
        opened = open_cohort(cohort)
        request = PackRequest(opened, compared(opened), options.stays, options.raters, options.seed)
        key = write_pack(request, Path(out), overwrite=options.overwrite, progress=lambda: bar.advance(task))
    pages = [Path(out) / PAGES / f"{rater.rater}.html" for rater in key.raters if rater.kind == "human"]
    return WrittenPack(Path(out), key.pack, pages)


def judge_ratings(
    pack: str | Path,
    *,
    config: str | Path | None = None,
    set: SettingsLike = (),
    name: str = "judge",
    verify: bool = False,
    progress: bool = False,
) -> Judged:
    """Have a language model rate and compare the rationales of a pack, each pair in both orders.

    It is reached as a teacher is: under the same privacy policy, and with a journal of all answers.

    Args:
        pack: folder written by :func:`pack_ratings`.
        config: settings of the server, a shipped name or a YAML file; openai by default.
        set: settings of the config to override, as ``{"server.model": "llama"}``; without one the
            temperature is 0.
        name: by which its journal and rating file are named.
        verify: also check the hashes of large files before reading them.
        progress: report progress on standard error.

    Raises:
        UserError: settings, server or pack that cannot be used, or no usable answer at all.
    """
    from clinragen.api.teaching import stays_done, teacher_settings
    from clinragen.rating.key import read_pack

    file_name("name of a judge", name)
    settings = teacher_settings("openai", config, ["sampling.temperature=0", *overrides(set)])
    with thorough(verify), stays_done(progress, "questions") as (moved, say):
        opened = read_pack(Path(pack))
        try:
            from clinragen.rating.judge import judge
        except ImportError:
            raise missing_extra("a language model behind a server", "teacher") from None
        path, judgement = judge(opened, settings, name, progress=moved, say=say)
    return Judged(path, len(judgement.ratings), len(judgement.preferences), dict(judgement.missing))


def import_ratings(
    pack: str | Path,
    ratings: Sequence[str | Path],
    out: str | Path,
    *,
    replicates: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = False,
) -> ImportedRatings:
    """Check rating files of a pack, undo the blinding, and write means, differences and agreement.

    Args:
        pack: folder written by :func:`pack_ratings`.
        ratings: files that raters saved, or folders of them.
        out: folder to write ``ratings.json`` to.
        replicates: number of bootstrap replicates.
        seed: of the bootstrap.
        overwrite: replace ratings that are there.
        verify: also check the hashes of large files before reading them.
        progress: say on standard error what is done.

    Raises:
        UserError: a file that is none, is of another pack, was changed, or a second one of the same rater.
    """
    from clinragen.artifacts import write_json
    from clinragen.outputs import RATINGS, check_output, output_folder
    from clinragen.rating.key import read_pack
    from clinragen.rating.rating_file import read_all
    from clinragen.rating.results import results

    for option, value, least, most in (("replicates", replicates, 1, 1_000_000), ("seed", seed, 0, 2**63 - 1)):
        if not least <= value <= most:
            raise UserError(f"--{option} {value}: expected a number from {least} to {most:,}")
    paths = [Path(path) for path in ratings]
    if not paths:
        raise UserError("name the files that raters saved, each with --ratings FILE")
    inputs = (Path(pack), *paths)
    check_output(Path(out), RATINGS, overwrite=overwrite, inputs=inputs)
    with thorough(verify):
        opened = read_pack(Path(pack))
        files = read_all(paths, opened)
        console(progress).print(f"  drawing {replicates} bootstrap replicates ...", style="dim")
        values = results(opened, files, replicates=replicates, seed=seed)
    with output_folder(Path(out), RATINGS, overwrite=overwrite, inputs=inputs) as folder:
        write_json(folder / "ratings.json", values)
    return ImportedRatings(Path(out) / "ratings.json", values)
