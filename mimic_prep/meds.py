"""Events of any MEDS dataset -> the tables that the preparation reads; which code means what is configuration.

One shard is in memory at a time. Codes that mean nothing to us are counted, and so are events without a time.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinragen import config
from clinragen.artifacts import read_table, sha256_file
from clinragen.catalog import Variable, variables
from clinragen.data.cohort import frame
from clinragen.errors import UserError
from mimic_prep.sources.meds import EVENTS, MEDS
from mimic_prep.units import conversion

NEEDED = ("subject_id", "time", "code")
_BASE = {"subject_id": pl.Int64, "time": pl.Datetime("ms"), "hadm_id": pl.Int64, "stay_id": pl.Int64}


@dataclass
class Codes:
    """``configs/meds/default.yaml``: regular expressions by what they find."""

    stay_start: list[str] = field(default_factory=list)
    stay_end: list[str] = field(default_factory=list)
    admission_start: list[str] = field(default_factory=list)
    admission_end: list[str] = field(default_factory=list)
    birth: list[str] = field(default_factory=list)
    sex: list[str] = field(default_factory=list)
    diagnosis: list[str] = field(default_factory=list)
    measurement: list[str] = field(default_factory=list)
    drug: list[str] = field(default_factory=list)
    stay_columns: list[str] = field(default_factory=list)
    admission_columns: list[str] = field(default_factory=list)


_KINDS = (
    "stay_start", "stay_end", "admission_start", "admission_end", "birth", "sex", "diagnosis", "measurement", "drug",
)  # fmt: skip


class Vocabulary:
    """What each code means.

    Raises:
        UserError: a pattern is no regular expression.
    """

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for kind in _KINDS:
            for pattern in getattr(codes, kind):
                try:
                    self._patterns.append((kind, re.compile(pattern)))
                except re.error as error:
                    raise UserError(f"codes of MEDS: {kind}: '{pattern}' is no regular expression ({error})") from None
        self._items: dict[int, str] = {}
        self._home: dict[str, tuple[str, int]] = {}  # variable -> table and item that stand for it
        self._loinc: dict[str, str] = {}
        for key, variable in variables().items():
            for table, items in variable.items.get(MEDS.items, {}).items():
                for item in items:
                    self._items[int(item)] = table
                    self._home.setdefault(key, (table, int(item)))
            if key in self._home:
                self._loinc.setdefault(variable.loinc, key)

    def read(self, code: str) -> dict[str, Any]:
        """kind, and what the code holds: table, item and unit of a measurement; kind is None for unknown codes."""
        for kind, pattern in self._patterns:
            match = pattern.match(code)
            if match:
                found = {name: value for name, value in match.groupdict().items() if value is not None}
                return {"kind": kind, **found} if kind != "measurement" else self._measurement(found)
        return {"kind": None}

    def _measurement(self, found: dict[str, str]) -> dict[str, Any]:
        unit = found.get("unit")
        if "item" in found:
            item = int(found["item"])
            table = self._items.get(item)
            return {"kind": "measurement", "table": table, "item": item, "unit": unit} if table else {"kind": None}
        key = self._loinc.get(found["loinc"]) if "loinc" in found else found.get("key")
        if key not in self._home:
            return {"kind": None}
        table, item = self._home[key]
        return {"kind": "measurement", "table": table, "item": item, "unit": _unit(variables()[key], unit)}


def _unit(variable: Variable, unit: str | None) -> str:
    """The unit, the variable's own where the code names none or one that is not known."""
    return unit if unit and conversion(variable, unit) else variable.unit


@dataclass
class Converted:
    """What the conversion read: SHA-256 by shard, and the account of the events."""

    shards: dict[str, str]
    account: dict[str, Any]


def convert(root: Path, codes: Codes, out: Path) -> Converted:
    """Write the tables of ``sources.meds.MEDS`` below ``out``.

    Raises:
        UserError: no shard, a shard without subject_id, time or code, or no stay at all.
    """
    shards = shards_of(root)
    if not shards:
        raise UserError(f"{root / 'data'} holds no .parquet file: --raw expects the folder of a MEDS dataset")
    vocabulary = Vocabulary(codes)
    writer = _Tables(out, by_stay=any(_begins_stays(shard, vocabulary) for shard in shards))
    hashes: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for shard in shards:
        hashes[shard.relative_to(root).as_posix()] = sha256_file(shard)
        events = _load(shard, codes)
        counts["read"] += events.height
        table = _meanings(vocabulary, events["code"].unique().sort().to_list())
        known = events.join(table, on="code", how="left", maintain_order="left")
        counts["code not used"] += known["kind"].null_count()
        timeless = ~pl.col("kind").is_in(["sex", "birth"]) & pl.col("time").is_null()
        known = known.drop_nulls("kind")
        counts["no time"] += known.filter(timeless).height
        writer.add(known.filter(~timeless))
    writer.close()
    if not writer.stays:
        raise UserError(
            f"{root}: no event is known to begin a stay; say which codes do in a copy of configs/meds/default.yaml "
            "and pass it with --codes"
        )
    skipped = {reason: counts[reason] for reason in ("code not used", "no time") if counts[reason]}
    kept = counts["read"] - sum(skipped.values())
    return Converted(hashes, {"read": counts["read"], "kept": kept, "out_of_scope": skipped, "quarantined": {}})


def _meanings(vocabulary: Vocabulary, codes: list[str]) -> pl.DataFrame:
    rows = [{**vocabulary.read(code), "event": code} for code in codes]
    columns = ("event", "kind", "table", "unit", "version", "code", "type", "place", "sex", "drug")
    table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String) | {"item": pl.Int64})
    return table.rename({"code": "icd"}).rename({"event": "code"})


def shards_of(root: Path) -> list[Path]:
    """The files of events of a MEDS dataset, sorted; none when ``root`` is something else."""
    return sorted((root / "data").glob("**/*.parquet"))


def _begins_stays(shard: Path, vocabulary: Vocabulary) -> bool:
    read_table(shard, columns=[])  # a damaged file is told here
    if "code" not in pq.read_schema(shard).names:
        return False  # and a missing column when the shard is read
    codes = read_table(shard, columns=["code"])["code"].unique().to_pylist()
    return any(vocabulary.read(str(code))["kind"] == "stay_start" for code in codes)


def load_codes(name: str) -> Codes:
    """The shipped patterns (``default``), or the user's YAML file."""
    return config.load("meds", name, Codes)


def _load(path: Path, codes: Codes) -> pl.DataFrame:
    """subject_id, code, numeric_value, own_unit, time, stay_id, hadm_id of one shard; what it lacks is null."""
    table = read_table(path)
    if missing := [name for name in NEEDED if name not in table.column_names]:
        raise UserError(f"{path}: column '{missing[0]}' is missing: expected the events of a MEDS dataset")
    events = frame(table)

    def first(names: list[str], kind: Any) -> pl.Expr:
        have = [pl.col(name).cast(kind, strict=False) for name in names if name in events.columns]
        return pl.coalesce(have or [pl.lit(None, dtype=kind)])

    return events.select(
        pl.col("subject_id").cast(pl.Int64), pl.col("code").cast(pl.String),
        numeric_value=first(["numeric_value"], pl.Float64), own_unit=first(["unit"], pl.String),
        time=pl.col("time").cast(pl.Datetime("ms")), stay_id=first(codes.stay_columns, pl.Int64),
        hadm_id=first(codes.admission_columns, pl.Int64),
    )  # fmt: skip


class _Tables:
    """Appends to each table as a Parquet file. All events of a patient lie in one shard, so intervals are whole."""

    def __init__(self, root: Path, *, by_stay: bool) -> None:
        self._root = root
        self._by_stay = by_stay  # otherwise hospital admissions are the stays
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.stays = 0
        for source in EVENTS:  # there even when empty: an empty table is not a missing one
            (root / source.table.path).parent.mkdir(parents=True, exist_ok=True)

    def add(self, events: pl.DataFrame) -> None:
        """Lay out the events of one shard."""
        of = {name: events.filter(pl.col("kind") == name) for name in _KINDS}
        admissions = _intervals(of["admission_start"], of["admission_end"], "hadm_id")
        stays = _intervals(of["stay_start"], of["stay_end"], "stay_id")
        if not self._by_stay:
            stays = admissions.with_columns(stay_id=pl.col("hadm_id"))
        if not admissions.height:
            admissions = stays.with_columns(hadm_id=pl.coalesce("hadm_id", "stay_id"))
        stays = _within(stays, admissions).with_columns(hadm_id=pl.coalesce("hadm_id", "stay_id"))
        own = stays.join(admissions, on="hadm_id", how="anti")  # a stay outside any known admission is its own
        admissions = pl.concat([admissions, own.select(admissions.columns)])
        self.stays += stays.height
        self._write(
            "icu/icustays",
            stays.select("subject_id", "hadm_id", "stay_id", intime="start", outtime="end", first_careunit="unit"),
        )
        self._write(
            "hosp/admissions",
            admissions.select(
                "subject_id", "hadm_id", admittime="start", dischtime="end", admission_type="type",
                admission_location="place",
            ),
        )  # fmt: skip
        patients = events.select("subject_id").unique(maintain_order=True)
        sexes = (
            of["sex"].select("subject_id", gender=pl.col("sex").str.to_uppercase()).unique("subject_id", keep="first")
        )
        births = of["birth"].select("subject_id", dob="time").unique("subject_id", keep="first")
        for part in (sexes, births):
            patients = patients.join(part, on="subject_id", how="left", maintain_order="left")
        self._write("hosp/patients", patients)
        coded = _within(of["diagnosis"].rename({"time": "start"}), admissions)
        self._write(
            "hosp/diagnoses_icd",
            coded.select("subject_id", "hadm_id", icd_code="icd", icd_version=pl.col("version").cast(pl.Int64)),
        )
        drugs = _within(of["drug"].rename({"time": "start"}), admissions).drop_nulls("hadm_id")
        self._write("hosp/prescriptions", drugs.select("subject_id", "hadm_id", "drug", starttime="start"))
        for source in EVENTS:
            mine = of["measurement"].filter(pl.col("table") == source.table.name)
            self._write(
                source.table.path,
                mine.select(
                    "subject_id", itemid="item", charttime="time", valuenum=pl.col("numeric_value").cast(pl.Float64),
                    valueuom=pl.coalesce("unit", "own_unit"),
                ),
            )  # fmt: skip

    def _write(self, name: str, rows: pl.DataFrame) -> None:
        table = rows.to_arrow()
        table = table.cast(
            pa.schema([(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema])
        )
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._root / f"{name}.parquet", table.schema, compression="zstd")
        self._writers[name].write_table(table)

    def close(self) -> None:
        """Finish all files."""
        for writer in self._writers.values():
            writer.close()


def _intervals(starts: pl.DataFrame, ends: pl.DataFrame, key: str) -> pl.DataFrame:
    """subject_id, hadm_id, stay_id, start, end, unit, type, place: each start with the first end at or after it."""
    kept = starts.sort("time", "subject_id", key).select(
        *_BASE, "unit", "type", "place", start="time"
    ).drop("time")  # fmt: skip
    last = ends.sort("time").select("subject_id", end="time")
    paired = kept.sort("start").join_asof(
        last,
        left_on="start",
        right_on="end",
        by="subject_id",
        strategy="forward",
        coalesce=False,
        check_sortedness=False,
    )
    made = [_made_id(subject, start) for subject, start in paired.select("subject_id", "start").iter_rows()]
    return paired.with_columns(pl.coalesce(key, pl.Series(made, dtype=pl.Int64)).alias(key)).sort("subject_id", "start")


def _within(rows: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """Give rows without one the id of the patient's latest admission that began at or before them."""
    begun = admissions.sort("start").select("subject_id", "start", latest="hadm_id")
    found = rows.sort("start").join_asof(
        begun, on="start", by="subject_id", strategy="backward", check_sortedness=False
    )
    return found.with_columns(hadm_id=pl.coalesce("hadm_id", "latest")).drop("latest").sort("subject_id", "start")


def _made_id(subject: int, start: Any) -> int:
    """A number for a stay that has none, the same whatever else is in the dataset."""
    digest = hashlib.sha256(f"{subject}:{start.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
