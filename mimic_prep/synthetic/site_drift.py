"""How far the coding and the charting of hospitals lie apart: what ``--site-drift`` plants beside their habits.

Nothing of it changes a patient or a measurement: some codes are not written, some are written in another version of the
ICD, and rows are stored later. With and without it, a hospital group has the same patients, stay by stay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import numpy as np

from clinragen.config import load_yaml
from clinragen.errors import UserError, unknown_choice
from mimic_prep.synthetic.hospital import ROOT, load

SITES_FILE = ROOT / "sites.yaml"
_UNCODED = 104  # what a seed is for

#: Tables whose rows may be stored late: labevents, or chartevents and outputevents.
LateTables = Literal["laboratory", "bedside"]
IcdVersion = Literal[9, 10]


@dataclass(frozen=True)
class SiteDrift:
    """What a hospital codes and charts otherwise.

    Attributes:
        uncoded: condition -> share of the admissions with it that lack its code.
        icd_version: of all codes of the hospital; None: by date of discharge, as at the usual one.
        late: tables -> hours by which their rows are stored later.
    """

    uncoded: dict[str, float] = field(default_factory=dict)
    icd_version: IcdVersion | None = None
    late: dict[LateTables, float] = field(default_factory=dict)

    def scaled(self, strength: float) -> SiteDrift:
        """This drift times ``strength``; a version of the ICD is another one at any strength above 0."""
        if not strength:
            return SiteDrift()
        return SiteDrift(
            {name: min(1.0, round(strength * share, 6)) for name, share in self.uncoded.items()},
            self.icd_version,
            {tables: round(strength * hours, 6) for tables, hours in self.late.items()},
        )

    def left_uncoded(self, seed: int, hadm: int, present: Collection[str]) -> set[str]:
        """Those of the conditions present in an admission whose codes are not written."""
        order = list(load().conditions)
        return {
            name
            for name, share in self.uncoded.items()
            if name in present and np.random.default_rng([seed, hadm, order.index(name), _UNCODED]).random() < share
        }

    def seconds_late(self, tables: LateTables) -> int:
        """By how much rows are stored later."""
        return int(self.late.get(tables, 0.0) * 3600)


@cache
def read_site_drift() -> list[SiteDrift]:
    """The drift of the hospitals in turn, at strength 1.

    Raises:
        UserError: an unknown key, condition, table or version, a share out of range or a negative delay.
    """
    return [_checked(row, f"{SITES_FILE}: site_drift.{number}") for number, row in
            enumerate(load_yaml(SITES_FILE)["site_drift"], 1)]  # fmt: skip


def _checked(row: dict[str, object], where: str) -> SiteDrift:
    names = list(SiteDrift.__dataclass_fields__)
    for key in row:
        if key not in names:
            raise UserError(f"{where}: {unknown_choice('key', key, names)}")
    drift, conditions = SiteDrift(**row), load().conditions  # type: ignore[arg-type]
    for name, share in drift.uncoded.items():
        if name not in conditions:
            raise UserError(f"{where}: {unknown_choice('condition', name, conditions)}")
        if not 0 <= share <= 1:
            raise UserError(f"{where}: uncoded.{name} {share:g}: expected a share of admissions, from 0 to 1")
    if drift.icd_version not in (None, *get_args(IcdVersion)):
        raise UserError(f"{where}: icd_version {drift.icd_version}: expected 9 or 10")
    for tables, hours in drift.late.items():
        if tables not in get_args(LateTables):
            raise UserError(f"{where}: {unknown_choice('tables', tables, get_args(LateTables))}")
        if hours < 0:
            raise UserError(f"{where}: late.{tables} {hours:g}: expected 0 hours or more")
    return drift
