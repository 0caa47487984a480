"""Raw MIMIC-IV tables of any size for timing: the columns, order, text formats and proportions of the real ones.

Rows lie patient after patient as in the release: 4,600 chart rows a stay, 53 % of them of an item id that is used, 0.37
laboratory rows for each chart row. Values are drawn within reference ranges; nothing clinical is meant by them. Each
file is one gzip member. The bytes depend on the number of rows alone.
"""

from __future__ import annotations

import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clinragen.catalog import variables
from mimic_prep.synthetic.raw_tables import COLUMNS

CHART_ROWS_PER_STAY = 4_600
LABS_PER_CHART_ROW = 158 / 432  # MIMIC-IV 3.1
OUTPUTS_PER_CHART_ROW = 5.3 / 432
_USED = {"icu/chartevents": 0.53, "hosp/labevents": 0.67, "icu/outputevents": 0.8}
_OTHER_ITEMS = {  # ids of items that are not used lie between these
    "icu/chartevents": (224_000, 229_999),
    "hosp/labevents": (51_500, 53_000),
    "icu/outputevents": (226_100, 227_500),
}
_ROWS_PER_ROUND = {"icu/chartevents": 9, "hosp/labevents": 18, "icu/outputevents": 1}  # that share one time
_ON_THE_HOUR = {"icu/chartevents": 0.6, "hosp/labevents": 0.1, "icu/outputevents": 0.7}  # share of these times
_FALLOFF = {"icu/chartevents": 0.9, "hosp/labevents": 0.95, "icu/outputevents": 0.5}  # from one used item to the next
_PROVIDERS = [f"P{number * 7919 % 100_000:05d}" for number in range(2_000)]
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
    frames = people(stays) | {"hosp/d_labitems": _kinds("hosp/labevents")["frame"]}
    counts = {name: frame.height for name, frame in frames.items()}
    for name, frame in frames.items():
        write_table(out / f"{name}.csv.gz", COLUMNS[name], iter([frame.clone]), level)
    total = {
        "icu/chartevents": chart_rows,
        "hosp/labevents": round(chart_rows * LABS_PER_CHART_ROW),
        "icu/outputevents": round(chart_rows * OUTPUTS_PER_CHART_ROW),
    }
    for name, rows in total.items():
        write_table(out / f"{name}.csv.gz", COLUMNS[name], events(name, frames["icu/icustays"], rows), level)
    return counts | total


def write_table(
    path: Path, columns: Sequence[str], parts: Iterator[Callable[[], pl.DataFrame]], level: int = 4
) -> None:
    """Write the parts of a table in turn, with empty cells in ``columns`` that they lack.

    One gzip member; the next part is made while one is compressed, which leaves Python to other threads."""

    def text(number: int, part: Callable[[], pl.DataFrame]) -> memoryview:
        frame, buffer = part(), io.BytesIO()
        absent = [pl.lit(None, pl.String).alias(column) for column in columns if column not in frame.columns]
        frame.with_columns(absent).select(columns).write_csv(
            buffer, include_header=not number, datetime_format="%Y-%m-%d %H:%M:%S"
        )
        return buffer.getbuffer()

    path.parent.mkdir(parents=True, exist_ok=True)
    packer = zlib.compressobj(level, wbits=31)
    with path.open("wb") as file, ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[memoryview]] = deque()
        for number, part in enumerate(parts):
            waiting.append(pool.submit(text, number, part))
            if len(waiting) > 2:
                file.write(packer.compress(waiting.popleft().result()))
        for ready in waiting:
            file.write(packer.compress(ready.result()))
        file.write(packer.flush())


def _time(column: str) -> pl.Expr:
    return pl.from_epoch(pl.col(column), time_unit="s").alias(column)


def people(stays: int) -> dict[str, pl.DataFrame]:
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


def events(name: str, stays: pl.DataFrame, rows: int) -> Iterator[Callable[[], pl.DataFrame]]:
    """What makes the rows of one measurement table, some stays at a time."""
    bounds = np.linspace(0, rows, stays.height + 1).astype(int)
    begin = stays["intime"].dt.epoch("s").to_numpy()
    keys = {key: stays[key].to_numpy() for key in ("subject_id", "hadm_id", "stay_id")}
    length = stays["long"].to_numpy()
    kinds = _kinds(name)

    def make(first: int, last: int) -> pl.DataFrame:
        rng = np.random.default_rng([2, len(name), first])
        counts = np.diff(bounds[first : last + 1])
        stay = np.repeat(np.arange(first, last), counts)
        per_stay = counts // _ROWS_PER_ROUND[name] + 1
        of_round = np.repeat(np.arange(first, last), per_stay)
        start = np.cumsum(per_stay) - per_stay
        moment = begin[of_round] + (length[of_round] * rng.random(len(of_round))).astype(int)
        moment -= moment % np.where(rng.random(len(moment)) < _ON_THE_HOUR[name], 3_600, 60)
        at = start[stay - first] + (rng.random(len(stay)) * per_stay[stay - first]).astype(int)
        frame = pl.DataFrame(
            {
                **{key: values[stay] for key, values in keys.items()},
                "kind": rng.choice(len(kinds["share"]), len(stay), p=kinds["share"]),
                "charttime": moment[at],
                "store": (moment + rng.integers(1, 120, len(moment)) * 60)[at],
                "draw": rng.random(len(stay)),
                "labevent_id": bounds[first] + np.arange(len(stay)),
                "specimen_id": rng.integers(10_000_000, 99_999_999, len(moment))[at],
                "caregiver_id": 10_000 + (stay + moment[at] // (_DAY // 2)) % 80_000,
                "order_provider_id": pl.Series(_PROVIDERS).gather(rng.integers(0, len(_PROVIDERS), len(moment))[at]),
            }
        )
        return _shown(name, frame.sort("subject_id", "charttime", "kind").join(kinds["frame"], on="kind", how="left"))

    for first in range(0, stays.height, _STAYS_PER_CHUNK):
        yield partial(make, first, min(first + _STAYS_PER_CHUNK, stays.height))


def _kinds(name: str) -> dict[str, Any]:
    """A numbered list of item ids with the range that values are drawn from, and the share of rows of each."""
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
    ] + [
        (item, 0.0, 200.0 if number % 2 or name == "icu/outputevents" else None, 0, None)
        for number, item in enumerate(others)
    ]
    columns = ["itemid", "low", "high", "decimals", "valueuom"]
    frame = pl.DataFrame(rows, schema=columns, orient="row", strict=False).with_row_index("kind")
    often, seldom = _FALLOFF[name] ** np.arange(len(used)), 0.98 ** np.arange(len(others))
    share = np.concatenate([often / often.sum() * _USED[name], seldom / seldom.sum() * (1 - _USED[name])])
    return {"share": share, "frame": frame.with_columns(pl.col("kind").cast(pl.Int64))}


def _shown(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    drawn = pl.col("low") + (pl.col("high") - pl.col("low")) * pl.col("draw")
    power = 10.0 ** pl.col("decimals")
    word = pl.lit(pl.Series(_WORDS)).gather((pl.col("draw") * len(_WORDS)).cast(pl.UInt32))
    number = pl.when(pl.col("decimals") == 0).then(pl.col("number").cast(pl.Int64).cast(pl.String))
    frame = frame.with_columns(number=(drawn * power).round() / power)
    frame = frame.with_columns(number=number.otherwise(pl.col("number").cast(pl.String)))
    return frame.with_columns(
        _time("charttime"),
        _time("store").alias("storetime"),
        hadm_id=pl.when(pl.lit(name != "hosp/labevents") | (pl.col("specimen_id") % 4 > 0)).then("hadm_id"),
        value="number" if name == "icu/outputevents" else pl.coalesce("number", word),
        valuenum="number",
        warning=pl.lit(0),
        ref_range_lower=pl.col("low").cast(pl.String).str.strip_suffix(".0"),
        ref_range_upper=pl.col("high").cast(pl.String).str.strip_suffix(".0"),
        flag=pl.when(pl.col("draw") > 0.7).then(pl.lit("abnormal")),
        priority=pl.lit("ROUTINE"),
        comments=pl.when(pl.col("high").is_null()).then(pl.lit("HEMOLYZED, SLIGHTLY.  INTERPRET WITH CARE.")),
    )
