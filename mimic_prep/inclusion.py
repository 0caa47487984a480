"""Which stays are in the cohort, and the window of each.

Every stay of the raw table is either kept or excluded under the first rule that it fails, in order of application.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from clinragen.cohort.manifest import AttritionRecord
from clinragen.errors import UserError
from mimic_prep.protocol import Protocol, Rules, WindowRule
from mimic_prep.timeline import MAX_BINS

_HOURS = 3_600_000  # milliseconds


@dataclass
class Attrition:
    """Stays in, stays excluded by each rule in turn, stays kept."""

    entered: int = 0
    excluded: dict[str, int] = field(default_factory=dict)

    def exclude(self, stays: pl.DataFrame, condition: pl.Expr, reason: str) -> pl.DataFrame:
        """The stays that do not meet ``condition``; excluded ones are counted under ``reason``."""
        remaining = stays.filter(~condition.fill_null(False))
        self.excluded[reason] = stays.height - remaining.height
        return remaining

    @property
    def kept(self) -> int:
        """Stays that no rule has excluded."""
        return self.entered - sum(self.excluded.values())

    def as_json(self) -> AttritionRecord:
        """Stays entered, excluded under each reason in the order of the rules, and kept."""
        return {
            "entered": self.entered,
            "excluded": [{"reason": reason, "stays": count} for reason, count in self.excluded.items()],
            "kept": self.kept,
        }


@dataclass(frozen=True)
class Population:
    """All stays of a release with canonical columns, and all admissions of their patients.

    ``stays``: stay_id, subject_id, hadm_id, intime, outtime, admittime, sex, and one of age, birth, or anchor_age with
    anchor_year. ``admissions``: hadm_id and dischtime. ``outcomes``: stay_id, died_in_hospital, death_time,
    hospital_outtime; separate from the stays, as they are after the prediction time. ``sites``: stay_id and, where the
    release knows them, hospital, network (of hospitals) and period; separate, as no input depends on them.
    """

    stays: pl.DataFrame
    admissions: pl.DataFrame
    outcomes: pl.DataFrame
    sites: pl.DataFrame | None = None


def select(population: Population, protocol: Protocol, attrition: Attrition, where: str) -> pl.DataFrame:
    """The stays that pass all rules that need no measurements, sorted by stay_id.

    They gain the columns age, sex, window_start, prediction_time.

    Raises:
        UserError: no stay passes.
    """
    stays = _apply(_with_times(population.stays, protocol.window), protocol.rules, attrition)
    if not stays.height:
        counts = "; ".join(f"{reason}: {count}" for reason, count in attrition.excluded.items() if count)
        raise UserError(
            f"{where}: none of {attrition.entered} stays is included ({counts}); relax the protocol's rules"
        )
    return stays.sort("stay_id")


def _age(stays: pl.DataFrame) -> pl.Expr:
    """Age at ICU admission in years: from the date of birth, or from the age in an anchor year.

    MIMIC shifts the birth of patients over 89 by 300 years; they count as 91.4, the median of those patients.
    """
    if "anchor_age" in stays.columns:
        return pl.col("anchor_age") + pl.col("intime").dt.year() - pl.col("anchor_year")
    if "age" in stays.columns:
        return pl.col("age")
    years = (pl.col("intime") - pl.col("birth")).dt.total_days() / 365.2425
    return pl.when(years > 150).then(91.4).otherwise(years)


def _with_times(stays: pl.DataFrame, window: WindowRule) -> pl.DataFrame:
    """Add age, sex and the window: nothing before ``window_start`` or from ``prediction_time`` on is read."""
    span = pl.duration(milliseconds=round((window.hours or 0) * _HOURS))
    start, end = pl.col("intime"), pl.col("outtime")
    if window.kind == "first":
        end = pl.min_horizontal(start + span, end)
    elif window.kind == "last":
        start = pl.max_horizontal(start, end - span)
    sex = pl.col("sex").str.strip_chars().str.to_uppercase().str.slice(0, 1)
    return stays.with_columns(
        _age(stays).alias("age"),
        pl.when(sex.is_in(["F", "M"])).then(sex).alias("sex"),
        start.cast(pl.Datetime("ms")).alias("window_start"),
        end.cast(pl.Datetime("ms")).alias("prediction_time"),
    )


def _apply(stays: pl.DataFrame, rules: Rules, attrition: Attrition) -> pl.DataFrame:
    hours = (pl.col("outtime") - pl.col("intime")).dt.total_milliseconds() / _HOURS
    later = pl.col("intime").rank("ordinal").over("subject_id") > 1
    steps: list[tuple[pl.Expr, str]] = [
        (pl.col("intime").is_null() | pl.col("outtime").is_null(), "no time of admission or discharge"),
        (hours <= 0, "discharge not after admission"),
        (hours >= MAX_BINS, "impossibly long stay"),
        (later & rules.first_stay_only, "not the patient's first stay"),
        (pl.col("age").is_null() | (pl.col("age") < 0), "age unknown"),
        (pl.col("age") < rules.min_age, f"younger than {rules.min_age:g} years"),
    ]
    if rules.max_age is not None:
        steps.append((pl.col("age") > rules.max_age, f"older than {rules.max_age:g} years"))
    steps.append((hours < rules.min_stay_hours, f"stay shorter than {rules.min_stay_hours:g} hours"))
    if rules.max_stay_hours is not None:
        steps.append((hours > rules.max_stay_hours, f"stay longer than {rules.max_stay_hours:g} hours"))
    for condition, reason in steps:
        stays = attrition.exclude(stays, condition, reason)
    return stays
