"""The protocol of a cohort: what may be read until when, who is included, and how patients are split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from clinragen import config
from clinragen.catalog import variables
from clinragen.cohort.manifest import WindowKind
from clinragen.errors import unknown_choice
from clinragen.label_sets import DEFAULT
from clinragen.schema import SPLITS
from mimic_prep.releases import releases
from mimic_prep.sections import KNOWN_AT_ADMISSION, SECTIONS

#: Measurements and notes count from their entry into the record, or from their charted time.
KnownAt = Literal["storetime", "charttime"]
#: What is done about ICD-9 codes that lost a zero and may be two.
AmbiguousCodes = Literal["refuse", "as_written"]
#: What is drawn or held out as a whole: a patient, a hospital, a network of hospitals, or a period.
SplitBy = Literal["patient", "hospital", "network", "period"]
#: For which stays text is made of structured data: those without notes, all, none.
DigestFor = Literal["missing", "always", "never"]


def note_kinds() -> list[str]:
    """Kinds of notes and entries with their own time, of all releases."""
    return list(dict.fromkeys(kind for release in releases().values() for kind in release.note_kinds))


def sections() -> list[str]:
    """The sections that a protocol may name: those of discharge summaries and those of releases."""
    return [*SECTIONS, *(name for release in releases().values() for name in release.sections)]


def known_at_admission() -> list[str]:
    """The sections with what was known at admission."""
    added = [name for release in releases().values() for name, at_admission in release.sections.items() if at_admission]
    return [*KNOWN_AT_ADMISSION, *added]


@dataclass
class WindowRule:
    """``first`` or ``last`` hours of the stay, or the ``whole`` stay."""

    kind: WindowKind = "first"
    hours: float | None = 48

    def __post_init__(self) -> None:
        if self.kind != "whole" and not 0 < (self.hours or 0) < math.inf:
            raise ValueError(f"window.hours must be a positive number for window.kind {self.kind}")


@dataclass
class Rules:
    """Who is included. Ages in years, lengths in hours."""

    min_age: float = 18
    max_age: float | None = None
    min_stay_hours: float = 0
    max_stay_hours: float | None = None
    first_stay_only: bool = False
    require_series: bool = True
    drop_warnings: bool = False  # also drop chart rows with a warning flag, which often marks genuine extreme values
    ambiguous_codes: AmbiguousCodes = "refuse"
    max_bad_share: float = 0.1  # allowed share of quarantined rows; real releases have under 0.002

    def __post_init__(self) -> None:
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"rules.max_bad_share must lie between 0 and 1, not {self.max_bad_share:g}")
        for key in ("min_age", "max_age", "min_stay_hours", "max_stay_hours"):
            value = getattr(self, key)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"rules.{key} must be 0 or more, not {value:g}")
        for low, high in (("min_age", "max_age"), ("min_stay_hours", "max_stay_hours")):
            if (most := getattr(self, high)) is not None and most < getattr(self, low):
                raise ValueError(f"rules.{high} {most:g} is less than rules.{low} {getattr(self, low):g}")


@dataclass
class Notes:
    """``sections`` of discharge summaries, other ``kinds`` charted before prediction, and when to write a digest.

    ``also`` are sections to add to ``sections``.
    """

    sections: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    digest: DigestFor = "missing"

    def __post_init__(self) -> None:
        for key, given, choices in (
            ("sections", self.sections, sections()), ("also", self.also, sections()),
            ("kinds", self.kinds, note_kinds()),
        ):  # fmt: skip
            if unknown := [name for name in given if name not in choices]:
                raise ValueError(f"notes.{key} '{unknown[0]}' is unknown; choose from: {', '.join(sorted(choices))}")
        self.sections = list(dict.fromkeys([*self.sections, *self.also]))


@dataclass
class Splits:
    """Shares of patients, what is drawn as a whole, and the salt of the hash that draws it."""

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    salt: str = "clinragen"
    test_subjects: str | None = None  # a text file of subject ids, one per line, that form the test split
    dataset: bool = True  # use the splits of a MEDS dataset
    by: SplitBy = "patient"  # or hospital, network, period: the test split has only those that training has not seen
    held_out: list[str] = field(default_factory=list)  # the hospitals, networks or periods that form the test split

    def __post_init__(self) -> None:
        shares = [self.train, self.validation, self.test]
        if not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-9):
            raise ValueError(
                f"splits: the shares of {', '.join(SPLITS)} must be positive and sum to 1, not {sum(shares):g}"
            )
        if self.by != "patient" and self.test_subjects is not None:
            raise ValueError(f"splits.by: {self.by} and splits.test_subjects both say who is held out; give one")
        if self.by == "patient" and self.held_out:
            raise ValueError("splits.held_out needs splits.by: hospital, network or period")


@dataclass
class Protocol:
    """A complete protocol. ``retrospective`` protocols read text written after the outcome."""

    name: str = "admission"
    retrospective: bool = False
    labels: str = DEFAULT  # phenotypes, icd_chapters, or a YAML file (see configs/labels)
    window: WindowRule = field(default_factory=WindowRule)
    known_at: KnownAt = "storetime"  # or charttime: what was charted for a time counts as known then
    rules: Rules = field(default_factory=Rules)
    notes: Notes = field(default_factory=Notes)
    splits: Splits = field(default_factory=Splits)
    variables: list[str] = field(default_factory=list)  # only these of the catalogue; all of them where empty

    def __post_init__(self) -> None:
        if unknown := [name for name in self.variables if name not in variables()]:
            raise ValueError(str(unknown_choice("variable", unknown[0], variables())))
        later = [section for section in self.notes.sections if section not in known_at_admission()]
        if later and not self.retrospective:
            raise ValueError(
                f"notes.sections '{later[0]}' is written after the prediction time: only a protocol with "
                f"retrospective: true may read it; known at admission are: {', '.join(known_at_admission())}"
            )


def load(name: str, overrides: list[str] | None = None) -> Protocol:
    """A shipped protocol by name, or the user's YAML file, with ``key=value`` overrides.

    Raises:
        UserError: unknown name, key or value.
    """
    return config.load("protocol", name, Protocol, overrides)
