"""The raw tables: column names and order of MIMIC-IV 2.2, text formats, compression."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass

import numpy as np
import polars as pl

from clinragen.catalog import variable
from clinragen.errors import UserError
from clinragen.icd import code_map
from mimic_prep.synthetic.charting import Rows, chart_unit
from mimic_prep.synthetic.hospital import RELEASE, ROOT, Hospital
from mimic_prep.synthetic.laboratory import lab_unit
from mimic_prep.synthetic.patients import HOUR
from mimic_prep.synthetic.sites import COLUMNS as SITE_COLUMNS

#: Path below the output folder -> columns in order, as in MIMIC-IV 2.2 and MIMIC-IV-Note 2.2.
COLUMNS: dict[str, list[str]] = {
    name: columns.split(",")
    for name, columns in {
        "hosp/patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        "hosp/admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
        "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,edouttime,"
        "hospital_expire_flag",
        "hosp/diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
        "hosp/d_icd_diagnoses": "icd_code,icd_version,long_title",
        "hosp/labevents": "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,"
        "value,valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments",
        "hosp/d_labitems": "itemid,label,fluid,category",
        "hosp/prescriptions": "subject_id,hadm_id,pharmacy_id,poe_id,poe_seq,order_provider_id,starttime,stoptime,"
        "drug_type,drug,formulary_drug_cd,gsn,ndc,prod_strength,form_rx,dose_val_rx,dose_unit_rx,form_val_disp,"
        "form_unit_disp,doses_per_24_hrs,route",
        "icu/icustays": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
        "icu/chartevents": "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,"
        "warning",
        "icu/d_items": "itemid,label,abbreviation,linksto,category,unitname,param_type,lownormalvalue,highnormalvalue",
        "icu/outputevents": "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valueuom",
        "note/discharge": "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text",
    }.items()
}
DICTIONARIES = ("hosp/d_icd_diagnoses", "hosp/d_labitems", "icu/d_items")
_GZIP_LEVEL = 4
_OUTPATIENT = 53  # one sample in this many has no admission id, as if drawn in the emergency department


@dataclass
class EventRows:
    """The three event tables of a chunk."""

    charts: Rows
    labs: Rows
    outputs: Rows


def compress(name: str, frame: pl.DataFrame, header: bool) -> bytes:
    """A gzip member holding the rows as CSV; members follow each other in the file. Deterministic."""
    columns = [*COLUMNS[name], *(column for column in SITE_COLUMNS if column in frame.columns)]
    absent = [pl.lit(None, dtype=pl.String).alias(column) for column in columns if column not in frame.columns]
    buffer = io.BytesIO()
    frame.with_columns(absent).select(columns).write_csv(
        buffer, include_header=header, datetime_format="%Y-%m-%d %H:%M:%S"
    )
    return gzip.compress(buffer.getvalue(), compresslevel=_GZIP_LEVEL, mtime=0)


def seconds(column: str) -> pl.Expr:
    """A column of whole seconds since 1970 as a datetime."""
    return pl.from_epoch(pl.col(column), time_unit="s")


def _number(column: str) -> pl.Expr:
    """Numbers as the tables write them: no trailing ".0"."""
    return (pl.col(column).fill_nan(None) + 0.0).cast(pl.String).str.strip_suffix(".0")


def _mapped(column: str, mapping: dict[int, str]) -> pl.Expr:
    shown = {key: text or None for key, text in mapping.items()}
    return pl.col(column).replace_strict(shown, default=None, return_dtype=pl.String)


def _delay(frame: pl.DataFrame, low: int, high: int) -> pl.Series:
    """When a row is stored: irregular minutes later, a function of the row alone, and what its hospital is late."""
    mixed = (frame["time"].to_numpy() // 60 * 7919 + frame["item"].to_numpy() * 104_729) % 1_000_003
    return pl.Series(frame["time"].to_numpy() + 60 * (low + mixed % (high - low)) + frame["late"].to_numpy())


def chartevents(hospital: Hospital, rows: Rows) -> pl.DataFrame:
    """Bedside rows; one in two hundred lacks its unit, as in the real table."""
    frame = pl.DataFrame(rows.columns())
    unit = pl.when((pl.col("time") // 60 * 31 + pl.col("item")) % 211 != 0).then(_mapped("item", chart_unit(hospital)))
    return frame.with_columns(store=_delay(frame, 1, 50)).select(
        subject_id="subject",
        hadm_id="hadm",
        stay_id="stay",
        caregiver_id=10_000 + (pl.col("stay") + pl.col("time") // (12 * HOUR)) % 90_000,
        charttime=seconds("time"),
        storetime=seconds("store"),
        itemid="item",
        value=_number("value"),
        valuenum=_number("value"),
        valueuom=unit,
        warning=pl.lit(0),
    )


def outputevents(rows: Rows) -> pl.DataFrame:
    """Urine volumes."""
    frame = pl.DataFrame(rows.columns())
    return frame.with_columns(store=_delay(frame, 1, 50)).select(
        subject_id="subject",
        hadm_id="hadm",
        stay_id="stay",
        caregiver_id=10_000 + (pl.col("stay") + pl.col("time") // (12 * HOUR)) % 90_000,
        charttime=seconds("time"),
        storetime=seconds("store"),
        itemid="item",
        value=_number("value"),
        valueuom=pl.lit("mL"),
    )


def labevents(hospital: Hospital, rows: Rows, first_id: int) -> pl.DataFrame:
    """Laboratory rows with reference range and flag; ``first_id`` makes the ids of chunks distinct."""
    frame = pl.DataFrame(rows.columns())
    ranges: dict[int, tuple[float | None, float | None]] = {
        item: (variable(name).low, variable(name).high)
        for name in hospital.measured
        for item in hospital.items(name, "labevents")
    }
    low = {item: None if bounds[0] is None else float(bounds[0]) for item, bounds in ranges.items()}
    high = {item: None if bounds[1] is None else float(bounds[1]) for item, bounds in ranges.items()}
    frame = frame.with_columns(
        store=_delay(frame, 30, 160),
        low=pl.col("item").replace_strict(low, return_dtype=pl.Float64),
        high=pl.col("item").replace_strict(high, return_dtype=pl.Float64),
        lost=pl.col("value").is_nan(),
    )
    outside = (pl.col("value") < pl.col("low")) | (pl.col("value") > pl.col("high"))
    value = pl.when(pl.col("lost")).then(pl.lit("___")).otherwise(_number("value"))
    return frame.select(
        labevent_id=pl.int_range(first_id, first_id + pl.len()),
        subject_id="subject",
        hadm_id=pl.when(pl.col("specimen") * 7919 % _OUTPATIENT != 0).then("hadm"),
        specimen_id="specimen",
        itemid="item",
        charttime=seconds("time"),
        storetime=seconds("store"),
        value=value,
        valuenum=_number("value"),
        valueuom=_mapped("item", lab_unit(hospital)),
        ref_range_lower=_number("low"),
        ref_range_upper=_number("high"),
        flag=pl.when(outside & ~pl.col("lost")).then(pl.lit("abnormal")),
        priority=pl.when(pl.col("specimen") % 3 == 0).then(pl.lit("STAT")).otherwise(pl.lit("ROUTINE")),
        comments=pl.when(pl.col("lost")).then(pl.lit("SPECIMEN UNSUITABLE FOR TESTING.")),
    )


def _titles(hospital: Hospital) -> list[tuple[str, int, str]]:
    """Code, version and official title of every code the hospital uses.

    Raises:
        UserError: a code that its version of the ICD does not have.
    """
    rows = {}
    for condition in hospital.conditions.values():
        for form in condition.forms:
            for version, codes in form.codes.items():
                official = code_map(version)
                for code in codes:
                    title = official.name(code) if official else None
                    if title is None:
                        raise UserError(f"{ROOT / 'conditions.yaml'}: {condition.key}: no ICD-{version} code '{code}'")
                    rows[code, version] = title
    return [(code, version, title) for (code, version), title in sorted(rows.items())]


def dictionaries(hospital: Hospital) -> dict[str, pl.DataFrame]:
    """The tables that explain codes and item ids."""
    labs: dict[int, tuple[str, str]] = {}
    items: dict[int, tuple[str, str, str, str, float | None, float | None]] = {}
    units = chart_unit(hospital)
    for name in [*hospital.measured, "weight", "height"]:
        entry = variable(name)
        label = entry.label[:1].upper() + entry.label[1:]
        for item in hospital.items(name, "labevents"):
            labs[item] = (label, "Blood Gas" if entry.kind == "gas" else "Chemistry")
        for table in ("chartevents", "outputevents"):
            for item in entry.items.get(RELEASE, {}).get(table, {}):
                unit = units.get(int(item), entry.unit)
                category = (
                    "Labs"
                    if entry.kind in ("lab", "gas")
                    else "Output"
                    if entry.kind == "output"
                    else "Routine Vital Signs"
                )
                items[int(item)] = (label, table, category, unit, entry.low, entry.high)
    return {
        "hosp/d_icd_diagnoses": pl.DataFrame(_titles(hospital), schema=COLUMNS["hosp/d_icd_diagnoses"], orient="row"),
        "hosp/d_labitems": pl.DataFrame(
            [(item, label, "Blood", category) for item, (label, category) in sorted(labs.items())],
            schema=COLUMNS["hosp/d_labitems"],
            orient="row",
        ),
        "icu/d_items": pl.DataFrame(
            [
                (item, label, label, table, category, unit, "Numeric", low, high)
                for item, (label, table, category, unit, low, high) in sorted(items.items())
            ],
            schema=COLUMNS["icu/d_items"],
            orient="row",
        ),
    }


def random_choice(options: dict[str, float], rng: np.random.Generator) -> str:
    """A weighted random choice."""
    weights = np.array(list(options.values()))
    return list(options)[int(rng.choice(len(weights), p=weights / weights.sum()))]
