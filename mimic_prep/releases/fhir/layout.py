"""Lay the parts of an export out as the tables of ``tables.FHIR``: ids for references, stays for times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen.errors import UserError
from mimic_prep.releases.fhir.columns import as_arrow, as_numpy, numbers_of
from mimic_prep.releases.fhir.organizations import sites
from mimic_prep.releases.fhir.resources import died
from mimic_prep.releases.fhir.specimens import ARTERIAL, FLUID, OTHER_BLOOD, OTHER_SPECIMEN, SAID, least_excluded
from mimic_prep.releases.fhir.stays import Placed, made_id, place
from mimic_prep.releases.fhir.versions import Parts
from mimic_prep.releases.fhir.vocabulary import TABLES
from mimic_prep.stay_index import StayIndex, seconds

_BATCH = 1 << 17
_CLOCK = "%Y-%m-%d %H:%M:%S"
_REPEATED = ["itemid", "value", "valueuom", "comments", "rank"]  # columns of few distinct values
_MOSTLY, _DAY = 0.9, 24 * 3600 * 1000  # milliseconds
_DATED = (
    "nearly all times of Observations are midnight: dates that became times, so values are read before they are "
    "known: ask for the time of day"
)
REQUIRED = ("Patient", "Encounter", "Observation")  # types of resources without which there is no cohort
_STRANGER = "patient that the export does not hold"
_NO_STAY = "of no stay"


@dataclass
class LaidOut:
    """What the tables do not say.

    Attributes:
        placed: stays and admissions.
        identities: stay_id, subject_id, hadm_id, encounter, patient.
    """

    placed: Placed
    identities: pl.DataFrame


def lay_out(parts: Parts, root: Path, stays: str) -> LaidOut:
    """Write the tables below ``root``.

    Args:
        parts: the parts of the export.
        root: folder of the tables.
        stays: how stays are recognised, see ``stays.place``.

    Raises:
        UserError: there is no stay.
    """
    return _Layout(parts, root).write(stays)


class _Layout:
    def __init__(self, parts: Parts, root: Path) -> None:
        self._parts = parts
        self._root = root
        self._aliases = parts.aliases()
        for name in ("icu", "hosp", "fhir"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def write(self, stays: str) -> LaidOut:
        patients = self._parts.table("Patient")
        patients = patients.filter(~pl.col("key").is_in(list(self._aliases)))  # merged into another patient
        patients = patients.with_columns(
            subject_id=pl.Series([_number(row) for row in patients.iter_rows(named=True)], dtype=pl.Int64)
        )
        _require("Patient", patients)
        self._subjects: dict[str, int] = dict(patients.select("key", "subject_id").iter_rows())
        encounters = self._resolved(self._parts.table("Encounter"), "subject", "part_of", "provider")
        _require("Encounter", encounters)
        encounters = encounters.with_columns(
            locations=pl.Series([self._renamed(spans) for spans in encounters["locations"]], dtype=pl.String)
        )
        locations = self._resolved(self._parts.table("Location"), "part_of")
        placed = self._placed = place(encounters, locations, self._subjects, stays)
        patient_named = dict(encounters.drop_nulls("subject").select("key", "subject").iter_rows())
        for key, subject in placed.subject_of.items():  # patients of encounters whose own resource is missing
            self._subjects.setdefault(patient_named[key], subject)
        self._write("icu/icustays", placed.stays.select(
            "subject_id", "hadm_id", "stay_id", first_careunit="unit", intime="intime", outtime="outtime"))  # fmt: skip
        self._write("hosp/patients", patients.select("subject_id", gender="sex", dob="birth"))
        organizations = self._resolved(self._parts.table("Organization"), "part_of")
        named = sites(placed, encounters, organizations)
        admissions = _admissions(placed, patients).join(named, on="hadm_id", how="left", maintain_order="left")
        self._write("hosp/admissions", admissions)
        self._diagnoses()
        self._drugs()
        self._treatments()
        self._notes()
        self._observations()
        patient_of = {number: key for key, number in self._subjects.items()}
        identities = placed.stays.select("stay_id", "subject_id", "hadm_id", "encounter").with_columns(
            patient=pl.col("subject_id").replace_strict(patient_of, default=None, return_dtype=pl.String)
        )
        return LaidOut(placed, identities)

    def _renamed(self, spans: str | None) -> str | None:
        for name, key in self._aliases.items() if spans else ():
            if name in (spans or ""):
                spans = (spans or "").replace(f'"{name}"', f'"{key}"')
        return spans

    def _resolved(self, rows: pl.DataFrame, *names: str) -> pl.DataFrame:
        """References under other names replaced by keys."""
        if not self._aliases:
            return rows
        return rows.with_columns(pl.col(name).replace(self._aliases) for name in names)

    def _write(self, name: str, rows: pl.DataFrame) -> None:
        rows.write_parquet(self._root / f"{name}.parquet", compression="zstd", compression_level=1)

    def _of_patient(self, table: str) -> pl.DataFrame:
        """Rows of a table with subject_id and hadm_id; those of no patient of the export enter the account."""
        rows = self._with_ids(self._parts.table(table))
        self._parts.reject(rows.filter(pl.col("subject_id").is_null()), _STRANGER)
        return rows.drop_nulls("subject_id")

    def _with_ids(self, rows: pl.DataFrame) -> pl.DataFrame:
        rows = self._resolved(rows, "subject", "encounter")
        subject = pl.col("subject").replace_strict(self._subjects, default=None, return_dtype=pl.Int64)
        by_encounter = pl.col("encounter").replace_strict(self._placed.subject_of, default=None, return_dtype=pl.Int64)
        admission = pl.col("encounter").replace_strict(self._placed.admission_of, default=None, return_dtype=pl.Int64)
        return rows.with_columns(subject_id=pl.coalesce(subject, by_encounter), hadm_id=admission)

    def _at(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Fill in the admission by patient and time where a resource names no encounter."""
        spans = (
            self._placed.admissions.drop_nulls("start")
            .sort("start")
            .select("subject_id", "start", "end", latest="hadm_id")
        )
        located = rows.sort("time", nulls_last=True).join_asof(
            spans, left_on="time", right_on="start", by="subject_id", strategy="backward", check_sortedness=False
        )
        within = pl.col("time") <= pl.coalesce("end", "time")
        nameless = pl.col("encounter").is_null() & within
        return located.with_columns(hadm_id=pl.coalesce("hadm_id", pl.when(nameless).then("latest")))

    def _diagnoses(self) -> None:
        rows = self._of_patient("Condition")
        self._write(
            "fhir/problems",
            rows.filter("history").select("subject_id", "time", "title").drop_nulls("title").sort(pl.all()),
        )
        coded = rows.filter(~pl.col("history"))
        ranks = self._ranks()
        position = pl.col("key").replace_strict(ranks, default=None, return_dtype=pl.Int64)
        coded = coded.select(
            "subject_id", "hadm_id", seq_num=position, icd_code="code", icd_version=pl.col("icd").cast(pl.String)
        )
        self._parts.skip(
            rows.filter(~pl.col("history") & pl.col("hadm_id").is_null()),
            "diagnosis of an encounter that the export does not hold",
        )
        self._write("hosp/diagnoses_icd", coded.drop_nulls("hadm_id").sort(pl.all()))

    def _ranks(self) -> dict[str, int]:
        from msgspec import json

        ranks: dict[str, int] = {}
        for text in self._parts.table_again("Encounter")["ranks"].drop_nulls():
            for key, rank in json.decode(text).items():
                ranks[self._aliases.get(str(key), str(key))] = int(rank)
        return ranks

    def _drugs(self) -> None:
        names = dict(self._parts.table("Medication").drop_nulls("name").select("key", "name").iter_rows())
        rows = self._at(self._resolved(self._of_patient("Drug"), "medication"))
        named = pl.col("medication").replace_strict(names, default=None, return_dtype=pl.String)
        rows = rows.with_columns(drug=pl.coalesce(named, "drug"))
        self._parts.skip(rows.filter(pl.col("drug").is_null()), "drug without a name")
        self._parts.skip(
            rows.filter(pl.col("drug").is_not_null() & pl.col("hadm_id").is_null()), "drug of no admission"
        )
        rows = rows.drop_nulls(["drug", "hadm_id"])
        self._write(
            "hosp/prescriptions", rows.select("subject_id", "hadm_id", "drug", starttime="time").unique().sort(pl.all())
        )

    def _notes(self) -> None:
        binaries = dict(self._parts.table("Binary").drop_nulls("text").select("key", "text").iter_rows())
        rows = self._at(self._resolved(self._of_patient("Note"), "binary"))
        body = pl.col("binary").replace_strict(binaries, default=None, return_dtype=pl.String)
        rows = rows.with_columns(text=pl.coalesce("text", body))
        self._parts.skip(rows.filter(pl.col("text").is_null()), "note whose Binary is not in the export")
        rows = rows.drop_nulls("text").select(
            "subject_id", "hadm_id", "kind", "text", note_id="key", charttime="time", storetime="available"
        )
        self._write("fhir/notes", rows.sort("note_id"))

    def _index(self) -> StayIndex:
        spans = self._placed.stays.drop_nulls(["intime", "outtime"])
        return StayIndex(spans.with_columns(window_start="intime", prediction_time="outtime"))

    def _treatments(self) -> None:
        """Administrations and procedures of the stay that they name, else of the patient's stay at that time."""
        given = dict(self._parts.table("Given", counted=False).drop_nulls("item").select("key", "item").iter_rows())
        administered = self._with_ids(self._parts.table("Administration", counted=False)).drop_nulls("subject_id")
        rows = self._resolved(pl.concat([administered, self._of_patient("Procedure")]), "medication")
        meant = pl.col("medication").replace_strict(given, default=None, return_dtype=pl.Int64)
        rows = rows.with_columns(item=pl.coalesce("item", meant)).drop_nulls("item")
        if not rows.height:
            return
        own_stay = pl.col("encounter").replace_strict(self._placed.stay_of, default=None, return_dtype=pl.Int64)
        index = self._index()
        subjects, starts = rows["subject_id"].to_numpy(), seconds(rows["start"])
        rank = index.by_span(subjects, starts, np.maximum(seconds(rows["end"]), starts))
        rows = rows.with_columns(stay_id=pl.coalesce(own_stay, _stay_ids(index, rank))).select(
            "stay_id", "charted", "rate", "elsewhere", itemid="item", starttime="start", endtime="end",
            rateuom="rate_unit", amount="amount", amountuom="amount_unit",
            rank=pl.col("code").fill_null("").rank("dense").over("item").cast(pl.Int64) - 1,
        )  # fmt: skip
        of_point = pl.col("charted") & pl.col("rate").is_not_null()
        for name, mine in (("infusions", rows.filter(~of_point)), ("rates", rows.filter(of_point))):
            if mine.height:
                self._write(f"fhir/{name}", mine.drop("charted").sort(pl.all()))

    def _observations(self) -> None:
        placed = self._placed
        specimens = self._parts.table("Specimen").filter(pl.col("level") > ARTERIAL)
        self._specimens = self._by_any_name(dict(specimens.select("key", "level").iter_rows()))
        self._specimens |= {f"{SAID}{level}": level for level in (OTHER_BLOOD, FLUID)}
        self._excluded = least_excluded()
        subject_of, of_encounter, own_stay = (
            self._by_any_name(ids) for ids in (self._subjects, placed.subject_of, placed.stay_of)
        )
        index = self._index()
        writers = [_EventWriter(self._root / f"fhir/{name}.parquet") for name in TABLES]
        timed = midnight = 0
        for file, rows in self._parts.observations(_BATCH):
            subject = numbers_of(rows["subject"], subject_of)
            if (subject < 0).any():
                subject = np.where(subject < 0, numbers_of(rows["encounter"], of_encounter), subject)
            stay = numbers_of(rows["encounter"], own_stay)
            if (stay < 0).any():
                stay = np.where(stay < 0, _by_time(index, subject, rows["time"]), stay)
            stranger = subject < 0
            nowhere = ~stranger & (stay < 0)
            other = ~stranger & ~nowhere & self._of_other_specimen(rows)
            for left_out, enter, why in (
                (stranger, self._parts.reject, _STRANGER),
                (nowhere, self._parts.skip, _NO_STAY),
                (other, self._parts.skip, OTHER_SPECIMEN),
            ):
                if left_out.any():
                    enter(pl.DataFrame({"line": as_numpy(rows["line"])[left_out]}).with_columns(file=file), why)
            usable = ~(stranger | nowhere | other)
            time = as_numpy(rows["time"].cast(pa.int64()))[usable]
            timed += len(time)
            midnight += int((time % _DAY == 0).sum())
            table = as_numpy(rows["table"])
            for number in np.unique(table[usable]).tolist():
                writers[number].add(self._table(rows, stay, usable & (table == number)))
        for writer in writers:
            writer.close()
        if midnight > _MOSTLY * timed:
            placed.warnings.append(_DATED)

    def _of_other_specimen(self, rows: pa.RecordBatch) -> np.ndarray:
        """Which values are of a specimen that their variable is not of."""
        other = np.zeros(rows.num_rows, dtype=bool)
        named = numbers_of(rows["specimen"], self._specimens)
        telling = np.flatnonzero(named > ARTERIAL)
        pairs = zip(*(rows[name].take(as_arrow(telling)).to_pylist() for name in ("table", "item")), strict=True)
        other[telling] = named[telling] >= [self._excluded.get(pair, FLUID + 1) for pair in pairs]
        return other

    def _by_any_name(self, numbers: Mapping[str, int]) -> dict[str, int]:
        return {name: numbers[key] for name, key in self._aliases.items() if key in numbers} | dict(numbers)

    def _table(self, rows: pa.RecordBatch, stay: np.ndarray, mine: np.ndarray) -> pa.Table:
        specimens = rows["specimen"]
        hashed = pl.Series(specimens.dictionary, dtype=pl.String).hash(seed=0).reinterpret(signed=True).to_arrow()
        columns = {
            "stay_id": as_arrow(stay), "itemid": rows["item"], "charttime": rows["time"], "storetime": rows["known"],
            "valuenum": rows["value"], "value": rows["words"], "valueuom": rows["unit"], "comments": rows["comment"],
            "rank": rows["rank"], "specimen_id": hashed.take(specimens.indices),
        }  # fmt: skip
        table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
        return table if mine.all() else table.filter(as_arrow(mine))


def _require(kind: str, rows: pl.DataFrame) -> None:
    """Raise a UserError if no resource of a kind can be used."""
    if not rows.height:
        raise UserError(
            f"the export has no {kind} that can be used: it needs {', '.join(REQUIRED)}; ask for the missing ones, or "
            "check --raw"
        )


class _EventWriter:
    """Writes a table of measurements, many rows at a time: each batch costs its reader as much as thousands of rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        self._rows += rows.num_rows
        if self._rows >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        rows = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, rows.schema, compression="lz4", use_dictionary=_REPEATED,  # type: ignore[arg-type]
                write_statistics=False, store_schema=False,
            )  # fmt: skip
        self._writer.write_table(rows)
        self._waiting, self._rows = [], 0

    def close(self) -> None:
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()


def _by_time(index: StayIndex, subjects: np.ndarray, times: pa.Array) -> np.ndarray:
    """The patient's latest stay that began at or before each time; -1 without one."""
    rank = index.by_time(subjects, seconds(pl.Series(times)))
    return np.where(rank >= 0, index.stay_ids[np.maximum(rank, 0)], -1) if len(index) else rank


def _stay_ids(index: StayIndex, rank: np.ndarray) -> pl.Series:
    """The stay of each rank; null for -1."""
    if not len(index):
        return pl.repeat(None, len(rank), dtype=pl.Int64, eager=True)
    ids = pl.Series(index.stay_ids[np.maximum(rank, 0)], dtype=pl.Int64)
    return pl.select(pl.when(pl.Series(rank >= 0)).then(ids)).to_series()


def _number(row: dict[str, Any]) -> int:
    return row["number"] if row["number"] is not None else made_id(row["key"])


def _admissions(placed: Placed, patients: pl.DataFrame) -> pl.DataFrame:
    """Admissions with what became of the patient: the disposition, else the time of death."""
    rows = placed.admissions.join(
        patients.select("subject_id", "death", "death_day"), on="subject_id", how="left", maintain_order="left"
    )
    flag = pl.Series([died(text) for text in rows["disposition"]], dtype=pl.Boolean)
    start, end, death, day = (pl.col(name) for name in ("start", "end", "death", "death_day"))
    dated = death.is_null() & day.dt.date().is_between(start.dt.date(), end.dt.date())
    within = death.is_between(start, end) | dated
    rows = rows.with_columns(died=pl.coalesce(flag, pl.when(day.is_not_null() & end.is_not_null()).then(within)))
    return rows.select(
        "subject_id", "hadm_id", admittime="start", dischtime="end", admission_type="kind", admission_location="source",
        hospital_expire_flag=pl.col("died").cast(pl.Int8),
        deathtime=pl.when(pl.col("died") & within).then(death).dt.strftime(_CLOCK),
    )  # fmt: skip
