"""Write MEDS events into the tables of ``releases.meds.tables``: stays, admissions, values, drugs."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mimic_prep.releases.meds import tables
from mimic_prep.releases.meds.vocabulary import KINDS

_BASE = {"subject_id": pl.Int64, "time": pl.Datetime("ms"), "hadm_id": pl.Int64, "stay_id": pl.Int64}
_OF = ["subject_id", "item"]
#: dispositions of a patient who died: DIED of MIMIC-IV, DEAD/EXPIRED of MIMIC-III, Expired of eICU
_DIED = r"(?i)\b(?:died|dead|death|deceased|expired)\b"
_LONGEST_DAYS = 3  # longest time between specimen and result; later results belong to an unrecorded specimen


class TableWriters:
    """Appends to each table as a Parquet file. All events of a patient must be added together: intervals span them.

    ``rows`` counts the rows of each table.
    """

    def __init__(self, root: Path, *, by_stay: bool, tells_deaths: bool) -> None:
        self._root = root
        self._by_stay = by_stay  # if not, hospital admissions are the stays
        self._tells_deaths = tells_deaths  # if not, the absence of a death means nothing
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.stays = 0
        self.rows: dict[str, int] = {}
        for source in tables.events():  # written even if empty: an empty table is not a missing one
            (root / source.table.path).parent.mkdir(parents=True, exist_ok=True)

    def add(self, events: pl.DataFrame) -> None:
        """Add the events of some patients."""
        of = {name: events.filter(pl.col("kind") == name) for name in KINDS}
        admissions = _intervals(of["admission_start"], of["admission_end"], "hadm_id")
        stays = _intervals(of["stay_start"], of["stay_end"], "stay_id")
        if not self._by_stay:
            stays = admissions.with_columns(stay_id=pl.col("hadm_id"))
        if not admissions.height:
            admissions = stays.with_columns(hadm_id=pl.coalesce("hadm_id", "stay_id"))
        stays = _within(stays, admissions).with_columns(hadm_id=pl.coalesce("hadm_id", "stay_id"))
        unadmitted = stays.join(admissions, on="hadm_id", how="anti")  # a stay outside any known admission is one
        admissions = pl.concat([admissions, unadmitted.select(admissions.columns)])
        self.stays += stays.height
        self._write(
            "icu/icustays",
            stays.select("subject_id", "hadm_id", "stay_id", intime="start", outtime="end", first_careunit="unit"),
        )
        admissions = _with_deaths(admissions, of["admission_end"], of["death"], self._tells_deaths)
        self._write(
            "hosp/admissions",
            admissions.select(
                "subject_id", "hadm_id", "deathtime", admittime="start", dischtime="end", admission_type="type",
                admission_location="place", hospital_expire_flag=pl.col("died").cast(pl.Int8),
            ),
        )  # fmt: skip
        self._patients(events, of)
        coded = _within(of["diagnosis"].rename({"time": "start"}), admissions)
        self._write("hosp/diagnoses_icd", coded.select("subject_id", "hadm_id", icd_code="icd", icd_version="version"))
        drugs = _within(of["drug"].rename({"time": "start"}), admissions).drop_nulls("hadm_id")
        self._write("hosp/prescriptions", drugs.select("subject_id", "hadm_id", "drug", starttime="start"))
        self._measurements(of)
        if tables.lasting():
            self._treatments(of)

    def _patients(self, events: pl.DataFrame, of: dict[str, pl.DataFrame]) -> None:
        patients = events.select("subject_id").unique(maintain_order=True)
        sexes = (
            of["sex"].select("subject_id", gender=pl.col("sex").str.to_uppercase()).unique("subject_id", keep="first")
        )
        births = of["birth"].select("subject_id", dob="time").unique("subject_id", keep="first")
        for part in (sexes, births):
            patients = patients.join(part, on="subject_id", how="left", maintain_order="left")
        self._write("hosp/patients", patients)

    def _measurements(self, of: dict[str, pl.DataFrame]) -> None:
        """``charttime`` is when a value was measured or its specimen drawn, ``storetime`` when it was known."""
        drawn = drawn_times(of["result"], of["specimen"])["drawn"]
        results = of["result"].with_columns(storetime="time").with_columns(time=pl.coalesce(drawn, "time"))
        values = pl.concat([of["measurement"].with_columns(storetime="known"), results])
        for source in tables.measured():
            mine = values.filter(pl.col("table") == source.table.name)
            self._write(
                source.table.path,
                mine.select(
                    "subject_id", "storetime", itemid="item", charttime="time", value="text_value",
                    valuenum="numeric_value", valueuom=pl.coalesce("unit", "own_unit"),
                ),
            )  # fmt: skip

    def _treatments(self, of: dict[str, pl.DataFrame]) -> None:
        """Infusions with the rate of their start, the amount of their end, and the weight that was stated with them."""
        weights = of["infusion_weight"].select("subject_id", "time", patientweight="numeric_value").unique()
        weights = weights.drop_nulls().unique(["subject_id", "time"], keep="none")
        infusions = spans(of["infusion_start"], of["infusion_end"])
        infusions = infusions.join(
            weights, left_on=["subject_id", "starttime"], right_on=["subject_id", "time"], how="left"
        )
        self._write(
            tables.INFUSIONS.table.path,
            infusions.select(
                "subject_id", "itemid", "starttime", "endtime", "patientweight", rate="value", rateuom="unit",
                amount="value_end", amountuom="unit_end", statusdescription="status",
            ).sort(pl.all()),
        )  # fmt: skip
        procedures = spans(of["procedure_start"], of["procedure_end"])
        columns = ["subject_id", "itemid", "starttime", "endtime", pl.col("status").alias("statusdescription")]
        self._write(tables.PROCEDURES.table.path, procedures.select(columns).sort(pl.all()))

    def _write(self, name: str, rows: pl.DataFrame) -> None:
        table = rows.to_arrow()
        table = table.cast(
            pa.schema([(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema])
        )
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._root / f"{name}.parquet", table.schema, compression="zstd")
        self._writers[name].write_table(table)
        self.rows[name] = self.rows.get(name, 0) + rows.height

    def close(self) -> None:
        """Finish all files."""
        for writer in self._writers.values():
            writer.close()


def spans(starts: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Each start with its end, and those that have no other: null there.

    With an order they belong together by patient, item and order, in turn. Without one, the first end of the item after
    a start ends it: of infusions that overlap none is lost, but the end of one may be taken for that of another.

    Returns:
        subject_id, itemid, starttime, endtime, value, unit, value_end, unit_end, status (of the end, else the start).
    """
    key = ["subject_id", "item"]
    first, last = (
        rows.select(
            *key, "time", "order", "status", value="numeric_value", unit=pl.coalesce("unit", "own_unit"),
        ).sort(*key, "order", "time", "value", nulls_last=True)
        for rows in (starts, ends)
    )  # fmt: skip
    ordered = [rows.drop_nulls("order") for rows in (first, last)]
    ordered = [rows.with_columns(turn=pl.int_range(pl.len()).over(*key, "order")) for rows in ordered]
    named = ordered[0].join(ordered[1], on=[*key, "order", "turn"], how="full", coalesce=True, suffix="_end")
    begun, ended = (rows.filter(pl.col("order").is_null()).sort("time") for rows in (first, last))
    ended = ended.with_columns(at="time", row=pl.int_range(pl.len()))
    nameless = begun.join_asof(
        ended, on="time", by=key, strategy="forward", allow_exact_matches=False, suffix="_end", check_sortedness=False
    ).rename({"at": "time_end"})
    used_rows = nameless["row"].drop_nulls().unique().implode()
    unused = ended.filter(~pl.col("row").is_in(used_rows)).select(
        *key, time_end="at", value_end="value", unit_end="unit", status_end="status"
    )
    whole = pl.concat([named, nameless, unused], how="diagonal")
    return whole.select(
        "subject_id", "value", "unit", "value_end", "unit_end", itemid="item", starttime="time", endtime="time_end",
        status=pl.coalesce("status_end", "status"),
    )  # fmt: skip


def drawn_times(results: pl.DataFrame, specimens: pl.DataFrame) -> pl.DataFrame:
    """``results`` with the column ``drawn``: when the specimen was drawn; null if unknown.

    Both hold subject_id, item, time. No key joins a result to its specimen, so, starting from the last result, each
    takes the latest specimen at or before it that no later result has taken. A specimen without a result then affects
    no other.
    """
    results = results.with_columns(row=pl.int_range(pl.len()))
    both = pl.concat(
        [
            results.select(*_OF, "time", "row", result=pl.lit(1)),
            specimens.select(*_OF, "time", row=pl.lit(None, dtype=pl.Int64), result=pl.lit(0)),
        ]
    ).sort(*_OF, "time", "result", descending=[False, False, True, True])
    # walking back in time, results queue up and each specimen serves the first in the queue; one that comes to an
    # empty queue is left over: the running maximum of specimens beyond results counts those
    both = both.with_columns(
        results=pl.col("result").cum_sum().over(_OF), specimens=(1 - pl.col("result")).cum_sum().over(_OF)
    )
    both = both.with_columns(left=(pl.col("specimens") - pl.col("results")).cum_max().clip(0).over(_OF))
    is_left = pl.col("left") > pl.col("left").shift(1, fill_value=0).over(_OF)
    serving = both.filter((pl.col("result") == 0) & ~is_left).select(
        *_OF, turn=pl.col("specimens") - pl.col("left"), drawn="time"
    )
    served = both.filter(pl.col("result") == 1).join(serving, left_on=[*_OF, "results"], right_on=[*_OF, "turn"])
    near = served.filter(pl.col("time") - pl.col("drawn") <= pl.duration(days=_LONGEST_DAYS))
    return results.join(near.select("row", "drawn"), on="row", how="left", maintain_order="left").drop("row")


def _intervals(starts: pl.DataFrame, ends: pl.DataFrame, key: str) -> pl.DataFrame:
    """subject_id, hadm_id, stay_id, start, end, unit, type, place: each start with the first end at or after it.

    If ends have ids, a start with an id can only be ended by the same id or by an end without one.
    """
    intervals = starts.sort("time", "subject_id", key).select(
        *_BASE, "unit", "type", "place", start="time"
    ).drop("time")  # fmt: skip
    named = _paired(intervals, ends.drop_nulls(key), ["subject_id", key])
    nameless = _paired(intervals, ends.filter(pl.col(key).is_null()), ["subject_id"])
    anyhow = _paired(intervals, ends, ["subject_id"])
    end = pl.when(pl.col(key).is_null()).then(anyhow).otherwise(pl.coalesce(named, nameless))
    paired = intervals.with_columns(end=end)
    ids = [_made_id(subject, start) for subject, start in paired.select("subject_id", "start").iter_rows()]
    return paired.with_columns(pl.coalesce(key, pl.Series(ids, dtype=pl.Int64)).alias(key)).sort("subject_id", "start")


def _with_deaths(
    admissions: pl.DataFrame, ends: pl.DataFrame, deaths: pl.DataFrame, tells_deaths: bool
) -> pl.DataFrame:
    """``admissions`` with ``died`` (null if unknown) and ``deathtime``, for deaths within the admission.

    The discharge disposition takes precedence over the time of death, which is often only a date: a patient may go home
    in the morning and die on the same day.
    """
    discharges = ends.drop_nulls("disposition").sort("subject_id", "time", "disposition")
    discharges = discharges.unique(["subject_id", "time"], keep="first", maintain_order=True)
    discharges = discharges.select("subject_id", end="time", disposition="disposition")
    first = deaths.group_by("subject_id").agg(pl.col("time").min().alias("death"))
    rows = admissions.join(discharges, on=["subject_id", "end"], how="left", maintain_order="left")
    rows = rows.join(first, on="subject_id", how="left", maintain_order="left")
    death, start, end = pl.col("death"), pl.col("start"), pl.col("end")
    dated = death.dt.strftime("%H:%M:%S").is_in(["00:00:00", "23:59:59"])  # the time of dates without a time
    within = death.is_between(start, end) | (dated & death.dt.date().is_between(start.dt.date(), end.dt.date()))
    by_time = pl.when(end.is_null()).then(None).when(death.is_null()).then(False if tells_deaths else None)
    died = pl.coalesce(pl.col("disposition").str.contains(_DIED), by_time.otherwise(within))
    return rows.with_columns(died=died).with_columns(deathtime=pl.when(pl.col("died") & within).then(death))


def _paired(starts: pl.DataFrame, ends: pl.DataFrame, by: list[str]) -> pl.Series:
    """The first end at or after each start, or null; in the order of ``starts``."""
    rows = starts.with_columns(row=pl.int_range(pl.len())).sort("start")
    last = ends.sort("time").select(*by, end="time")
    paired = rows.join_asof(
        last, left_on="start", right_on="end", by=by, strategy="forward", coalesce=False, check_sortedness=False
    )
    return paired.sort("row")["end"]


def _within(rows: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """Fill in missing ids with the patient's latest admission that began at or before the row."""
    begun = admissions.sort("start").select("subject_id", "start", latest="hadm_id")
    placed = rows.sort("start").join_asof(
        begun, on="start", by="subject_id", strategy="backward", check_sortedness=False
    )
    return placed.with_columns(hadm_id=pl.coalesce("hadm_id", "latest")).drop("latest").sort("subject_id", "start")


def _made_id(subject: int, start: datetime) -> int:
    """An id for a stay without one, independent of the rest of the dataset."""
    digest = hashlib.sha256(f"{subject}:{start.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:6], "big")
