"""Raw MIMIC-IV tables of any size for timing: the columns, order, text formats and proportions of the real ones.

Rows lie patient after patient as in the release: 4,600 chart rows a stay, 53 % of them of an item id that is used, 0.37
laboratory rows for each chart row. Values are drawn within reference ranges; nothing clinical is meant by them. Each
file is one gzip member. The bytes depend on the number of rows alone.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from clinragen.catalog import variables
from mimic_prep.synthetic.tables import COLUMNS

CHART_ROWS_PER_STAY = 4_600
LABS_PER_CHART_ROW = 158 / 432  # MIMIC-IV 3.1
OUTPUTS_PER_CHART_ROW = 5.3 / 432
_USED = {"icu/chartevents": 0.53, "hosp/labevents": 0.67, "icu/outputevents": 0.8}
_OTHER_ITEMS = {  # ids of items that are not used lie between these
    "icu/chartevents": (224_000, 229_999),
    "hosp/labevents": (51_500, 53_000),
    "icu/outputevents": (226_100, 227_500),
}
_WORDS = ["Clear", "Intermittent", "Side rails up, bed low", "Normal", "Alarm On", "Right lower lobe", "Yes", "None"]
_STAYS_PER_CHUNK = 100
_DAY = 86_400
_EPOCH = 5_600_000_000  # the year 2147: dates of the release are shifted
_CODES = ["J189", "N179", "I5020", "I4891", "A419", "E119", "I10", "J9601", "I2510", "K7460", "R6521", "Z794"]


def items(table: str) -> list[int]:
    """The item ids of MIMIC-IV that the catalogue uses in a table, such as ``icu/chartevents``."""
    name = table.rsplit("/", 1)[-1]
    return sorted({int(i) for entry in variables().values() for i in entry.items.get("mimic4", {}).get(name, {})})


def write(chart_rows: int, out: Path, level: int = 4) -> dict[str, int]:
    """Write the tables below ``out``; rows per table come back."""
    stays = max(1, round(chart_rows / CHART_ROWS_PER_STAY))
    frames = _people(stays) | {"hosp/d_labitems": _kinds("hosp/labevents")["frame"]}
    counts = {name: frame.height for name, frame in frames.items()}
    for name, frame in frames.items():
        _write(out / f"{name}.csv.gz", name, iter([frame]), level)
    total = {
        "icu/chartevents": chart_rows,
        "hosp/labevents": round(chart_rows * LABS_PER_CHART_ROW),
        "icu/outputevents": round(chart_rows * OUTPUTS_PER_CHART_ROW),
    }
    with ThreadPoolExecutor(2) as pool:  # compression leaves Python to other threads
        jobs = [
            pool.submit(_write, out / f"{name}.csv.gz", name, _events(name, frames["icu/icustays"], rows), level)
            for name, rows in total.items()
        ]
        for job in jobs:
            job.result()
    return counts | total


def _write(path: Path, name: str, parts: Iterator[pl.DataFrame], level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    packer = zlib.compressobj(level, wbits=31)
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            absent = [pl.lit(None, pl.String).alias(column) for column in COLUMNS[name] if column not in part.columns]
            buffer = io.BytesIO()
            part.with_columns(absent).select(COLUMNS[name]).write_csv(
                buffer, include_header=not number, datetime_format="%Y-%m-%d %H:%M:%S"
            )
            file.write(packer.compress(buffer.getbuffer()))
        file.write(packer.flush())


def _time(column: str) -> pl.Expr:
    return pl.from_epoch(pl.col(column), time_unit="s").alias(column)


def _people(stays: int) -> dict[str, pl.DataFrame]:
    """Patients, admissions, stays and diagnoses: a patient has one admission with one stay."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "subject_id": 10_000_000 + np.arange(stays),
            "hadm_id": 20_000_000 + rng.permutation(stays),
            "stay_id": 30_000_000 + rng.permutation(stays),
            "intime": _EPOCH + rng.integers(0, 1_000 * _DAY, stays),
            "long": (_DAY * (0.5 + rng.exponential(3.1, stays))).astype(int),
            "gender": rng.choice(["F", "M"], stays),
            "anchor_age": rng.integers(18, 92, stays),
        }
    ).with_columns(outtime=pl.col("intime") + pl.col("long"), admittime=pl.col("intime") - 7_200)
    frame = frame.with_columns(dischtime=pl.col("outtime") + _DAY)
    codes = pl.concat(
        [
            frame.select("subject_id", "hadm_id", seq_num=pl.lit(number + 1), icd_version=pl.lit(10)).with_columns(
                icd_code=pl.Series(rng.choice(_CODES, stays))
            )
            for number in range(8)
        ]
    )
    year = pl.from_epoch("intime", time_unit="s").dt.year()
    times = [_time(name) for name in ("intime", "outtime", "admittime", "dischtime")]
    shown = frame.with_columns(year.alias("anchor_year"), *times).with_columns(
        admission_type=pl.lit("EW EMER."),
        admission_location=pl.lit("EMERGENCY ROOM"),
        first_careunit=pl.lit("Medical Intensive Care Unit (MICU)"),
        last_careunit=pl.lit("Medical Intensive Care Unit (MICU)"),
        los=pl.col("long") / _DAY,
    )
    return {"hosp/patients": shown, "hosp/admissions": shown, "icu/icustays": shown, "hosp/diagnoses_icd": codes}


def _events(name: str, stays: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """The rows of one measurement table, some stays at a time."""
    bounds = np.linspace(0, rows, stays.height + 1).astype(int)
    begin = stays["intime"].dt.epoch("s").to_numpy()
    keys = {key: stays[key].to_numpy() for key in ("subject_id", "hadm_id", "stay_id")}
    length = stays["long"].to_numpy()
    kinds = _kinds(name)
    for first in range(0, stays.height, _STAYS_PER_CHUNK):
        last = min(first + _STAYS_PER_CHUNK, stays.height)
        rng = np.random.default_rng([2, len(name), first])
        stay = np.repeat(np.arange(first, last), np.diff(bounds[first : last + 1]))
        share = rng.random(len(stay))
        time = begin[stay] + (length[stay] * share).astype(int) // 60 * 60
        kind = np.where(
            rng.random(len(stay)) < _USED[name],
            rng.integers(0, kinds["used"], len(stay)),
            rng.integers(kinds["used"], kinds["frame"].height, len(stay)),
        )
        frame = pl.DataFrame(
            {
                **{key: values[stay] for key, values in keys.items()},
                "kind": kind,
                "charttime": time,
                "draw": rng.random(len(stay)),
                "labevent_id": bounds[first] + np.arange(len(stay)),
                "specimen_id": rng.integers(10_000_000, 99_999_999, len(stay)),
                "caregiver_id": 10_000 + stay % 80_000,
            }
        )
        yield _shown(name, frame.sort("subject_id", "charttime", "kind").join(kinds["frame"], on="kind", how="left"))


def _kinds(name: str) -> dict:
    """A numbered list of item ids: the used ones first, with the range values are drawn from."""
    table = name.rsplit("/", 1)[-1]
    used = {
        int(item): (entry, unit)
        for entry in variables().values()
        for item, unit in entry.items.get("mimic4", {}).get(table, {}).items()
    }
    low, high = _OTHER_ITEMS[name]
    others = [item for item in range(low, high, 9) if item not in used]
    rows = [
        (item, (entry.low or entry.plausible[0]), entry.high or entry.plausible[1], entry.decimals, unit or entry.unit)
        for item, (entry, unit) in used.items()
    ] + [(item, 0.0, 200.0 if number % 2 else None, 0, None) for number, item in enumerate(others)]
    columns = ["itemid", "low", "high", "decimals", "valueuom"]
    frame = pl.DataFrame(rows, schema=columns, orient="row", strict=False).with_row_index("kind")
    return {"used": len(used), "frame": frame.with_columns(pl.col("kind").cast(pl.Int64))}


def _shown(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    drawn = pl.col("low") + (pl.col("high") - pl.col("low")) * pl.col("draw")
    power = 10.0 ** pl.col("decimals")
    word = pl.lit(pl.Series(_WORDS)).gather((pl.col("draw") * len(_WORDS)).cast(pl.UInt32))
    text = pl.when(pl.col("decimals") == 0).then(pl.col("number").cast(pl.Int64).cast(pl.String))
    frame = frame.with_columns(number=(drawn * power).round() / power, store=pl.col("charttime") + 1_500)
    frame = frame.with_columns(shown=pl.coalesce(text.otherwise(pl.col("number").cast(pl.String)), word))
    return frame.with_columns(
        _time("charttime"),
        _time("store").alias("storetime"),
        value=pl.col("number").cast(pl.String) if name == "icu/outputevents" else pl.col("shown"),
        valuenum="number",
        warning=pl.lit(0),
        ref_range_lower="low",
        ref_range_upper="high",
        flag=pl.when(pl.col("draw") > 0.7).then(pl.lit("abnormal")),
        priority=pl.lit("ROUTINE"),
        comments=pl.when(pl.col("high").is_null()).then(pl.lit("HEMOLYZED, SLIGHTLY.  INTERPRET WITH CARE.")),
    )
