"""Train, validation and test splits: of patients by a salted SHA-256, a list or the dataset's own, of whole sites or of
periods.

A patient's split does not depend on the rest of the cohort, so cohorts of different size or release stay disjoint.
When hospitals or networks are drawn (``splits.by``), it depends on the sizes of the others. Named ones
(``splits.held_out``), or the latest periods, form the test split; no patient of theirs is in another one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from clinragen.errors import UserError
from mimic_prep.inclusion import Attrition
from mimic_prep.protocol import Splits


@dataclass(frozen=True)
class GivenSplits:
    """The splits of a dataset. ``name`` is the file's name in manifests, ``way_out`` ends its errors."""

    path: Path
    name: str
    of_subject: dict[int, str]
    way_out: str

    def __call__(self, subjects: list[int]) -> list[str]:
        """The split of each patient.

        Raises:
            UserError: one has none.
        """
        if missing := [subject for subject in subjects if subject not in self.of_subject]:
            raise UserError(
                f"{self.path}: {len(missing):,} of {len(subjects):,} patients of the cohort have no split "
                f"(the first is {missing[0]}); {self.way_out}"
            )
        return [self.of_subject[subject] for subject in subjects]


def followed(given: GivenSplits | None, splits: Splits) -> GivenSplits | None:
    """The splits of the dataset, if the settings use them; the user's list takes precedence, and so do sites."""
    by_dataset = splits.test_subjects is None and splits.by == "patient"
    return given if splits.dataset and by_dataset else None


def split_of(subject_id: int, splits: Splits) -> str:
    """The split of a patient by hash.

    >>> split_of(10000032, Splits(train=1, validation=0, test=0))
    'train'
    """
    return _by_share(_point(subject_id, splits.salt), splits.train, splits.validation)


def _point(drawn: int | str, salt: str) -> float:
    """A fixed number in [0, 1) for each patient or site and salt."""
    digest = hashlib.sha256(f"{salt}:{drawn}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _by_share(point: float, train: float, validation: float) -> str:
    if point < train:
        return "train"
    return "validation" if point < train + validation else "test"


def held_out(placed: pl.DataFrame, splits: Splits, source: str) -> list[str]:
    """The sites or periods that form the test split; none where patients or sites are drawn.

    Args:
        placed: subject_id, and the columns of ``schema.SITES``.
        splits: the settings.
        source: name of the database, for errors.

    Raises:
        UserError: the source does not know them, one that is named does not exist, or none would be left.
    """
    if splits.by == "patient":
        return []
    if unknown := placed[splits.by].null_count():
        raise UserError(
            f"splits.by: {source} does not say the {splits.by} of {unknown:,} of {placed.height:,} stays; "
            "draw patients instead (splits.by=patient)"
        )
    names = sorted(set(placed[splits.by]), key=_in_order)
    if absent := [name for name in splits.held_out if name not in names]:
        quotes = ' (a name of digits in quotes: ["002"])' if absent[0].isdigit() else ""
        raise UserError(
            f"splits.held_out: no {splits.by} is called '{absent[0]}'{quotes}; the cohort has {', '.join(names)}"
        )
    held = splits.held_out or (_latest(placed, names, splits) if splits.by == "period" else [])
    if held and set(held) == set(names):
        raise UserError(
            f"splits.by: every {splits.by} would be held out ({', '.join(names)}): nothing is left to train on"
        )
    return held


def _in_order(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, then words."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def without_elsewhere(
    stays: pl.DataFrame, placed: pl.DataFrame, splits: Splits, held: list[str], attrition: Attrition
) -> pl.DataFrame:
    """``stays`` without those that patients of the held-out sites or periods had at others.

    Such a stay fits no split: the test split has only the named sites, and no patient may be in two.

    Args:
        stays: in the order of ``placed``.
        placed: subject_id, and the columns of ``schema.SITES``.
        splits: the settings.
        held: by :func:`held_out`.
        attrition: counts the stays that are left out.
    """
    if not held:
        return stays
    inside = placed[splits.by].is_in(held)
    returns = placed["subject_id"].is_in(placed.filter(inside)["subject_id"].implode())
    reason = f"of a patient of the held-out {splits.by}s, but elsewhere"
    return attrition.exclude(stays, pl.lit(returns & ~inside), reason)


def of_stays(placed: pl.DataFrame, splits: Splits, held: list[str], given: GivenSplits | None) -> pl.DataFrame:
    """subject_id, split: one row for each patient of the stays.

    Args:
        placed: subject_id, and the columns of ``schema.SITES``.
        splits: shares, and whether patients, sites or periods are drawn or held out.
        held: by :func:`held_out`.
        given: the dataset's own splits, if any.

    Raises:
        UserError: a problem of :func:`assign`.
    """
    if splits.by == "patient":
        return assign(placed["subject_id"], splits, given)
    if not held:
        return _assign_sites(placed.select("subject_id", site=splits.by), splits)
    inside = placed[splits.by].is_in(held)
    return _with_test(sorted(set(placed["subject_id"])), set(placed.filter(inside)["subject_id"]), splits)


def _latest(placed: pl.DataFrame, periods: list[str], splits: Splits) -> list[str]:
    """The latest periods, as few as hold the test split's share of the patients."""
    patients = placed.group_by("subject_id").agg(pl.col("period").max())["period"]
    held: list[str] = []
    for period in reversed(periods):
        if held and patients.is_in(held).mean() >= splits.test:  # type: ignore[operator]
            break
        held.append(period)
    return held


def _with_test(subjects: list[int], listed: set[int], splits: Splits) -> pl.DataFrame:
    """Splits of which the ``listed`` patients are the test split; the others share the rest in proportion."""
    shared = splits.train + splits.validation
    train = splits.train / shared if shared else 1.0
    chosen = [
        "test" if subject in listed else _by_share(_point(subject, splits.salt), train, 1 - train)
        for subject in subjects
    ]
    return _table(subjects, chosen)


def _table(subjects: list[int], chosen: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"subject_id": subjects, "split": chosen}, schema={"subject_id": pl.Int64, "split": pl.String})


def _assign_sites(stays: pl.DataFrame, splits: Splits) -> pl.DataFrame:
    """Splits of ``stays`` (subject_id, site) in which no two share a site or a patient.

    Sites in the order of their hashes divide the interval from 0 to 1, each in proportion to its patients; its middle
    decides. So a few large sites fill the shares more evenly than each by its own hash would. Sites with a common
    patient are drawn together.
    """
    stays = stays.unique().with_columns(drawn="site")
    reached = None
    while reached is None or not reached.equals(stays["drawn"]):  # until patients and sites agree on the smallest site
        reached = stays["drawn"]
        stays = stays.with_columns(drawn=pl.col("drawn").min().over("site"))
        stays = stays.with_columns(drawn=pl.col("drawn").min().over("subject_id"))
    patients = stays.select("subject_id", "drawn").unique().sort("subject_id")
    sites = patients.group_by("drawn").agg(share=pl.len() / patients.height)
    points = [_point(f"{splits.by} {name}", splits.salt) for name in sites["drawn"]]
    sites = sites.with_columns(point=pl.Series(points)).sort("point")
    middles = sites.select("drawn", middle=pl.col("share").cum_sum() - pl.col("share") / 2).iter_rows()
    split_of_site = {name: _by_share(middle, splits.train, splits.validation) for name, middle in middles}
    return patients.select("subject_id", split=pl.col("drawn").replace_strict(split_of_site, return_dtype=pl.String))


def assign(subjects: pl.Series, splits: Splits, given: GivenSplits | None = None) -> pl.DataFrame:
    """subject_id, split: one row for each distinct patient.

    With ``test_subjects`` the file is the test split, and the others share train and validation in proportion.
    ``given`` are the dataset's own splits.

    Raises:
        UserError: the file is missing, malformed (expected one subject id per line), or lists none of ``subjects``.
    """
    unique = sorted(set(subjects.to_list()))
    if given := followed(given, splits):
        chosen = given(unique)
    elif splits.test_subjects is None:
        chosen = [split_of(subject, splits) for subject in unique]
    else:
        listed = test_subjects(splits)
        if not listed & set(unique):
            raise UserError(
                f"splits.test_subjects: none of the {len(listed):,} subjects of {splits.test_subjects} is in the cohort"
            )
        return _with_test(unique, listed, splits)
    return _table(unique, chosen)


def test_subjects(splits: Splits) -> set[int]:
    """The listed subject ids, one per line; none without a list.

    In the list of the MIMIC-III benchmark a second field tells test subjects (1) from the others (0).

    Raises:
        UserError: the file is missing or malformed (expected one subject id per line).
    """
    if splits.test_subjects is None:
        return set()
    path = Path(splits.test_subjects)
    if not path.is_file():
        raise UserError(f"splits.test_subjects: {path} not found")
    subjects: set[int] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        field, *others = (cell.strip() for cell in line.split(","))
        if field.isdigit():
            if others[:1] != ["0"]:
                subjects.add(int(field))
        elif field and number > 1:  # the first line may be a header
            raise UserError(f"{path}, line {number}: expected a subject id")
    return subjects
