"""Train, validation and test splits by patient: by a salted SHA-256 of the subject id, a list, or the dataset's own.

A patient's split does not depend on the rest of the cohort, so cohorts of different size or release stay disjoint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from clinragen.errors import UserError
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
    """The splits of the dataset, if the settings use them; the user's list takes precedence."""
    return given if splits.dataset and splits.test_subjects is None else None


def split_of(subject_id: int, splits: Splits) -> str:
    """The split of a patient by hash.

    >>> split_of(10000032, Splits(train=1, validation=0, test=0))
    'train'
    """
    return _by_share(_point(subject_id, splits.salt), splits.train, splits.validation)


def _point(subject_id: int, salt: str) -> float:
    """A fixed number in [0, 1) for each patient and salt."""
    digest = hashlib.sha256(f"{salt}:{subject_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _by_share(point: float, train: float, validation: float) -> str:
    if point < train:
        return "train"
    return "validation" if point < train + validation else "test"


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
        shared = splits.train + splits.validation
        train = splits.train / shared if shared else 1.0
        chosen = [
            "test" if subject in listed else _by_share(_point(subject, splits.salt), train, 1 - train)
            for subject in unique
        ]
    return pl.DataFrame({"subject_id": unique, "split": chosen}, schema={"subject_id": pl.Int64, "split": pl.String})


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
