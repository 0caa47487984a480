"""The reader of CLIF: runs of locations become stays, categories become variables."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import polars as pl

from clinragen.errors import UserError
from clinragen.icd import version_of
from mimic_prep import structured_summary
from mimic_prep.accounting import RowFilter
from mimic_prep.codes_to_fill import Unmapped, template, told
from mimic_prep.dates_as_times import are_dates
from mimic_prep.inclusion import Attrition, Population
from mimic_prep.ingest import RawTables
from mimic_prep.items import used
from mimic_prep.note_selection import NOTES
from mimic_prep.orders import OrderTable
from mimic_prep.protocol import Protocol
from mimic_prep.reader import Reader
from mimic_prep.releases.clif import tables as clif
from mimic_prep.releases.clif.rows import Rows
from mimic_prep.releases.clif.settings import ClifSettings, load_settings
from mimic_prep.site_settings import matches
from mimic_prep.tables import MimicLayout, Table
from mimic_prep.text_ids import number_of
from mimic_prep.unit_stays import merged

TO_FILL = "categories_to_fill.yaml"
_MOST_SHOWN = 30
_HEAD = """\
Categories of the export that no variable has, most frequent first. Delete what does not matter; in the rest replace
null by a variable. Then: mimic-prep clif ... --categories THIS_FILE
If you have such a file already, move the lines there."""
_OVER_89 = 91.4  # years of ages that are masked, as in MIMIC
_YEAR_DAYS = 365.2425
_MOST_NAMES = 12


class ClifReader(Reader):
    """Reads CLIF 2.0 and 2.1. ``hours``: how far the hospital's clock is ahead of UTC."""

    name = "CLIF"
    items = clif.ITEMS
    diagnosis_table = clif.DIAGNOSIS
    clock = "absolute"

    def __init__(self, settings: ClifSettings | None = None, hours: float = 0.0) -> None:
        super().__init__()
        self.events = used(clif.events(), clif.ITEMS)
        self.settings = settings or load_settings()
        self.inputs = {"settings of CLIF": f"{self.settings.digest()} {hours:g}"}
        self._rows = Rows(self.settings, hours)

    def tables(self) -> list[Table]:
        """All tables that a preparation may read."""
        values = [source.table for source in self.events if not source.table.part]
        return [clif.PATIENT, clif.HOSPITALIZATION, clif.ADT, clif.DIAGNOSIS, *values, *clif.DRUGS]

    def population(self, raw: RawTables, attrition: Attrition) -> Population:
        """Runs of rows in intensive care; the rows of other tables are placed by these hospitalizations.

        Raises:
            UserError: no row is in intensive care.
        """
        names = dict.fromkeys(source.table.name for source in self.events if are_dates(raw, source.table, "time"))
        if names:
            self._rows.date(names)
            self.warnings.append(
                f"the times of {', '.join(names)} are midnight: dates that became times, so rows count at the end of "
                "their day; ask for the time of day"
            )
        admissions = raw.read(self._rows.table(clif.HOSPITALIZATION), _identified).drop("line").unique()
        self._remark_several(raw, clif.HOSPITALIZATION, admissions, "hadm_id")
        admissions = admissions.sort("hadm_id", *(name for name in admissions.columns if name != "hadm_id"))
        admissions = admissions.unique("hadm_id", keep="first", maintain_order=True)
        rows = self._rows_in_units(raw)
        stays = merged(rows, ["admission", "hadm_id"], timedelta(minutes=self.settings.join_minutes))
        raw.remark(clif.ADT, Counter({"joined to the row before it": rows.height - stays.height}))
        attrition.entered = stays.height
        stays = stays.rename({"start": "intime", "end": "outtime"}).with_columns(stay_id=_stay_ids(stays))
        stays = attrition.exclude(stays, ~pl.col("stay_id").is_first_distinct(), "stay id seen before")
        stays = stays.join(admissions.drop("admission"), on="hadm_id", how="left", maintain_order="left")
        stays = attrition.exclude(stays, pl.col("subject_id").is_null(), "hospitalization not in its table")
        patients = raw.read(self._rows.table(clif.PATIENT), _identified_patient).drop("line").unique()
        self._remark_several(raw, clif.PATIENT, patients, "subject_id")
        patients = patients.sort(*patients.columns).unique("subject_id", keep="first", maintain_order=True)
        patients = patients.with_columns(listed=pl.lit(True)).drop("patient")
        stays = stays.join(patients, on="subject_id", how="left", maintain_order="left")
        stays = attrition.exclude(stays, pl.col("listed").is_null(), "patient not in the table of patients")
        outcomes = _outcomes(stays, self.settings, tells_deaths=bool(patients["death"].count()))
        self._rows.place(admissions)
        self.events = tuple(
            replace(source, table=self._rows.placed(source.table)) for source in used(clif.events(), clif.ITEMS)
        )
        columns = [
            "stay_id", "subject_id", "hadm_id", "intime", "outtime", "admittime", "dischtime", _age(), "sex",
            "care_unit", pl.col("type").str.replace_all("_", " ").alias("admission_type"),
            pl.lit(None, dtype=pl.String).alias("admission_location"),
        ]  # fmt: skip
        visits = admissions.select("hadm_id", "subject_id", "admittime", "dischtime")
        return Population(stays.select(columns), visits, outcomes, stays.select("stay_id", "hospital"))

    def _remark_several(self, raw: RawTables, table: Table, rows: pl.DataFrame, key: str) -> None:
        several = rows.height - rows[key].n_unique()
        raw.remark(table, +Counter({"another row of the same id, which differs: the first in order counts": several}))

    def _rows_in_units(self, raw: RawTables) -> pl.DataFrame:
        """Distinct rows in intensive care: admission, hadm_id, start, end, hospital, care_unit."""
        locations = [name.lower() for name in self.settings.icu_locations]
        names: Counter[str] = Counter()

        def rules(row_filter: RowFilter) -> None:
            location = pl.col("location").str.strip_chars().str.to_lowercase()
            names.update(row_filter.frame.select(location).to_series().drop_nulls().unique().to_list())
            in_unit = location.is_in(locations).fill_null(False) | matches("care_unit", self.settings.icu_units)
            row_filter.skip(~in_unit, "not a unit of intensive care")
            row_filter.reject(pl.col("hadm_id").is_null(), "no hospitalization_id")
            row_filter.reject(pl.col("start").is_null(), "no in_dttm")
            row_filter.reject(pl.col("end") < pl.col("start"), "ends before it starts")

        rows = raw.read(self._rows.table(clif.ADT), rules)
        if not rows.height:
            listed = ", ".join(sorted(names)[:_MOST_NAMES]) or "none"
            raise UserError(
                f"{raw.shown}: no usable row of clif_adt is in intensive care; its categories are {listed}; "
                "say which are, as icu_locations or icu_units, in a file of changes to configs/clif/default.yaml, "
                "passed with --categories"
            )
        return rows.select("admission", "hadm_id", "start", "end", "hospital", "care_unit").unique()

    def diagnoses(self, raw: RawTables, stays: pl.DataFrame, population: Population) -> pl.DataFrame:
        """The ICD codes of the cohort's patients."""
        subjects = stays["subject_id"].unique().implode()

        def rules(row_filter: RowFilter) -> None:
            row_filter.skip(~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
            row_filter.reject_missing("code")
            version = version_of(pl.col("version").str.replace_all(r"(?i)[ _-]?CM|[^0-9A-Za-z.]", ""))
            row_filter.frame = row_filter.frame.with_columns(version=version)
            row_filter.reject(pl.col("version").is_null(), "diagnosis_code_format is neither ICD9CM nor ICD10CM")

        rows = raw.read(self._rows.placed(clif.DIAGNOSIS), rules)
        ends = population.admissions.group_by("hadm_id").agg(pl.col("dischtime").max())
        rows = rows.join(ends, on="hadm_id", how="left", maintain_order="left")
        position, version = pl.lit(None, dtype=pl.Int64).alias("position"), pl.col("version").cast(pl.Int64)
        columns = ["subject_id", "hadm_id", position, "code", version, "dischtime"]
        return rows.select(columns).unique().sort("subject_id", "hadm_id", "code", "version")

    def texts(self, raw: RawTables, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Text composed from structured data: CLIF has no notes."""
        if protocol.notes.digest == "never":
            return pl.DataFrame(schema=NOTES)
        drugs, *more = (self._rows.placed(table) for table in clif.DRUGS)
        layout = MimicLayout(
            name=self.name, items=self.items, stays=clif.ADT, patients=clif.PATIENT, admissions=clif.HOSPITALIZATION,
            diagnoses=clif.DIAGNOSIS, events=self.events, prescriptions=drugs, more_prescriptions=tuple(more),
        )  # fmt: skip
        return structured_summary.build(raw, layout, stays, diagnoses)

    def order_tables(self) -> tuple[OrderTable, ...]:
        """Drugs that were given, at times and continuously."""
        single, continuous = (self._rows.placed(table) for table in clif.DRUGS)
        return OrderTable(single), OrderTable(continuous, kind="infusion")

    def conclude(self, raw: RawTables) -> None:
        """List categories that no variable has."""
        counts: Counter[tuple[str, str]] = Counter()
        for source in self.events:
            for (_, code), rows in raw.unused(source.table).items():
                counts[code, source.table.name] += rows
        categories = Unmapped("categories", counts)
        self.files[TO_FILL] = template(_HEAD, [categories])
        self.account["clif"] = {
            "unused_categories": len({code for code, _ in counts}),
            "most_frequent": categories.most_frequent(_MOST_SHOWN),
        }
        self.warnings += told("categories", categories, TO_FILL, "--categories")


def _identified(row_filter: RowFilter) -> None:
    row_filter.reject(pl.col("hadm_id").is_null(), "no hospitalization_id")
    row_filter.reject(pl.col("subject_id").is_null(), "no patient_id")
    row_filter.reject(pl.col("dischtime") < pl.col("admittime"), "ends before it starts")


def _identified_patient(row_filter: RowFilter) -> None:
    row_filter.reject(pl.col("subject_id").is_null(), "no patient_id")


def _stay_ids(stays: pl.DataFrame) -> pl.Series:
    """CLIF has no ids of stays: they are made of the hospitalization's id and the start."""
    rows = stays.select("admission", "start").iter_rows()
    return pl.Series([number_of(f"{admission} {start.isoformat()}") for admission, start in rows], dtype=pl.Int64)


def _age() -> pl.Expr:
    """Age at the start of intensive care: from the day of birth, else that at admission."""
    exact = (pl.col("intime") - pl.col("birth")).dt.total_days() / _YEAR_DAYS
    stated = pl.col("age").str.to_lowercase().str.strip_chars()
    years = stated.str.extract(r"^(\d{1,3}(?:\.\d+)?)(?: ?(?:y|yrs?|years?))?$").cast(pl.Float64)
    over = stated.str.contains(r"^(?:>=? ?|over )\d{2}$|^\d{2} ?\+$")
    return pl.coalesce(exact, years, pl.when(over).then(_OVER_89)).alias("age")


def _outcomes(stays: pl.DataFrame, settings: ClifSettings, *, tells_deaths: bool) -> pl.DataFrame:
    """Death in hospital by the disposition, or where that does not tell, by the time of death."""
    death, came, left = pl.col("death"), pl.col("admittime"), pl.col("dischtime")
    silent = pl.col("discharge").is_null() | matches("discharge", settings.not_discharged)
    stated = pl.when(~silent).then(matches("discharge", settings.died))
    within = death.is_between(came, left)
    by_time = pl.when(left.is_null()).then(None).when(death.is_not_null()).then(within)
    died = pl.coalesce(stated, by_time.when(pl.lit(tells_deaths)).then(False))
    return stays.select(
        "stay_id", died_in_hospital=died, death_time=pl.when(died & within).then(death),
        hospital_outtime=left,
    )  # fmt: skip
