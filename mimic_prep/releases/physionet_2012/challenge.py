"""Prepare the PhysioNet/CinC Challenge 2012 as a cohort without notes and labels, for pretraining."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TypedDict, cast

import polars as pl

from clinragen.artifacts import sha256_file, sha256_json, write_table
from clinragen.catalog import variable
from clinragen.cohort.manifest import CohortManifest
from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.errors import UserError
from clinragen.label_sets import LabelSet
from clinragen.outputs import COHORT, check_output, output_folder
from clinragen.schema import SERIES, SITES, STAYS, CohortPaths
from mimic_prep.canonical import made_from, typed, write_manifest, write_series
from mimic_prep.file_scan import columns_of
from mimic_prep.outcomes import build as build_outcomes
from mimic_prep.protocol import Protocol
from mimic_prep.release_check import ReleaseCheck, TableCheck
from mimic_prep.splits import assign, held_out
from mimic_prep.unit_conversion import conversion

VERSION = 1  # raised when the same files give other rows
HOURS = 48
SETS = ("set-a", "set-b", "set-c")
EPOCH = datetime(2012, 1, 1)  # the challenge has no dates
ROWS = {"RecordID": pl.Int64, "Minute": pl.Int64, "Parameter": pl.String, "Value": pl.Float64}

_OUTCOMES: dict[str, pl.DataType] = dict.fromkeys(
    ("RecordID", "Length_of_stay", "Survival", "In-hospital_death"), pl.Int64()
)


class Parameter(TypedDict):
    """What a parameter of the challenge is: a variable of the catalogue, and the unit its values are in."""

    variable: str
    unit: str


def prepare(raw: Path, out: Path, protocol: Protocol, *, overwrite: bool = False) -> CohortManifest:
    """Write the cohort and return its manifest.

    Args:
        raw: a folder with ``set-a`` and ``set-b`` (and ``set-c``), each a folder of the challenge's text files or one
            ``.parquet`` of the columns RecordID, Minute, Parameter, Value.
        out: the cohort folder to write.
        protocol: only its minimum age and splits apply.
        overwrite: whether to replace an existing cohort.

    Raises:
        UserError: no such sets, a damaged file, or an output folder that exists.
    """
    check_output(out, COHORT, overwrite=overwrite, inputs=(raw,))
    rows, inputs = _rows(raw)
    settings = load_yaml(CONFIG_ROOT / "physionet" / "challenge-2012.yaml")
    parameters = cast(dict[str, Parameter], settings["parameters"])
    inputs["configs/physionet"] = sha256_json(parameters)
    outcomes, outcome_inputs = _outcomes(raw)
    inputs |= outcome_inputs
    events, counts = _events(rows, parameters)
    stays = _stays(rows, events, protocol)
    if stays.is_empty():
        raise UserError(f"{raw} holds no stay of an adult with measurements")
    series = events.filter(pl.col("stay_id").is_in(stays["stay_id"].implode())).sort("stay_id", "hour", "variable")
    counts |= {"stays": len(stays), "measurements": len(series)}
    with output_folder(out, COHORT, overwrite=overwrite, inputs=(raw,)) as folder:
        paths = CohortPaths(folder)
        write_table(paths.stays, typed(stays, STAYS))
        write_table(paths.outcomes, build_outcomes(stays, outcomes))
        write_series(paths.series, [typed(series, SERIES)])
        label_set = LabelSet(protocol.labels, ())
        origin = made_from("physionet-2012", protocol, label_set, inputs, {"challenge": VERSION})
        return write_manifest(paths, origin, {"rows": counts})


def check(root: Path) -> ReleaseCheck:
    """The existing sets, with their numbers of files or rows."""
    checks = []
    for name in SETS:
        table, files = root / f"{name}.parquet", list((root / name).glob("*.txt"))
        if table.exists():
            columns = columns_of(table)
            missing = [column for column in ROWS if column.lower() not in columns]
            rows = None if missing else pl.scan_parquet(table).select(pl.len()).collect().item()
            problems = [f"columns missing: {', '.join(missing)}"] if missing else []
            checks.append(TableCheck(name, table.name, rows, problems=problems))
        else:
            checks.append(TableCheck(name, name if files else "", len(files) if files else None))
    problems = [] if any(check.file for check in checks) else ["no set of the Challenge 2012 with any file"]
    return ReleaseCheck("physionet-2012", None, checks, problems)


def _rows(raw: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """Every row of every set, and the hash of every input."""
    parts: list[pl.DataFrame] = []
    inputs = {}
    for name in SETS:
        table, folder = raw / f"{name}.parquet", raw / name
        files = sorted(folder.glob("*.txt"))
        if table.exists():
            try:
                parts.append(pl.read_parquet(table).select(pl.col(key).cast(kind) for key, kind in ROWS.items()))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise UserError(f"{table} cannot be read ({str(error).splitlines()[0]})") from None
            inputs[table.name] = sha256_file(table)
        elif files:
            parts += [_text_file(file) for file in files]
            inputs[name] = sha256_json({file.name: sha256_file(file) for file in files})
    if not parts:
        raise UserError(
            f"{raw} has no set-a, set-b or set-c of the Challenge 2012 (folders of .txt, or .parquet files)"
        )
    return pl.concat(parts), inputs


def _outcomes(raw: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """Outcomes of the stays of each set with an ``Outcomes-*.txt``, and the hashes of these files.

    Survival and length of stay are given in whole days from the admission; -1 means unknown.
    """
    parts, inputs = [pl.DataFrame(schema=_OUTCOMES)], {}
    for path in (raw / f"Outcomes-{letter}.txt" for letter in "abc"):
        if not path.is_file():
            continue
        try:
            parts.append(pl.read_csv(path).select(pl.col(name).cast(kind) for name, kind in _OUTCOMES.items()))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(
                f"{path} holds no outcomes of the Challenge 2012 ({str(error).splitlines()[0]}): download it again"
            ) from None
        inputs[path.name] = sha256_file(path)
    died = pl.col("In-hospital_death")
    outcomes = pl.concat(parts).unique("RecordID", keep="first", maintain_order=True).select(
        stay_id="RecordID",
        died_in_hospital=pl.when(died.is_in([0, 1])).then(died == 1),
        death_time=pl.when(died == 1).then(_days_later("Survival")),
        hospital_outtime=_days_later("Length_of_stay"),
    )  # fmt: skip
    return outcomes, inputs


def _days_later(days: str) -> pl.Expr:
    return pl.when(pl.col(days) >= 0).then(pl.lit(EPOCH, dtype=pl.Datetime("ms")) + pl.duration(days=pl.col(days)))


def _text_file(path: Path) -> pl.DataFrame:
    """One stay: lines of ``hh:mm,parameter,value``."""
    try:
        read = pl.read_csv(path, schema={"Time": pl.String, "Parameter": pl.String, "Value": pl.Float64})
        clock = pl.col("Time").str.split_exact(":", 1)
        minute = clock.struct[0].cast(pl.Int64) * 60 + clock.struct[1].cast(pl.Int64)
        return read.select(
            pl.lit(int(path.stem), pl.Int64).alias("RecordID"), minute.alias("Minute"), "Parameter", "Value"
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise UserError(f"{path} is not a file of the Challenge 2012 ({str(error).splitlines()[0]})") from None


def _events(rows: pl.DataFrame, parameters: dict[str, Parameter]) -> tuple[pl.DataFrame, dict[str, int]]:
    """One value for each stay, hour and variable, and the row counts."""
    mapping = []
    for rank, (name, entry) in enumerate(parameters.items()):
        variable_of = variable(entry["variable"])
        factors = conversion(variable_of, entry["unit"])
        if factors is None:
            raise UserError(f"configs/physionet: unit '{entry['unit']}' of {name} is unknown for {variable_of.key}")
        mapping.append(
            (name, rank, variable_of.key, *map(float, factors), *map(float, variable_of.plausible), variable_of.bin)
        )
    table = pl.DataFrame(
        mapping, schema=["Parameter", "rank", "variable", "scale", "offset", "low", "high", "bin"], orient="row"
    )
    of_catalogue = rows.join(table, on="Parameter").with_columns(
        value=pl.col("Value") * pl.col("scale") + pl.col("offset")
    )
    inside = pl.col("Minute").is_between(0, HOURS * 60, closed="left")
    good = inside & pl.col("value").is_between("low", "high")
    usable = of_catalogue.filter(good).with_columns(hour=(pl.col("Minute") // 60).cast(pl.Float32))
    keys = ["stay_id", "hour", "variable"]
    usable = usable.rename({"RecordID": "stay_id"}).sort("stay_id", "Minute", "rank", descending=[False, False, True])
    grouped = usable.group_by(keys, maintain_order=True).agg(
        pl.when(pl.col("bin").first() == "sum").then(pl.col("value").sum()).otherwise(pl.col("value").last())
    )
    counts = {
        "read": len(rows),
        "of_the_catalogue": len(of_catalogue),
        "implausible_or_outside": len(of_catalogue) - len(usable),
    }
    return grouped, counts


def _stays(rows: pl.DataFrame, events: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """Stays of adults with at least one measurement."""
    descriptors = rows.filter(pl.col("Minute") == 0)

    def first(name: str) -> pl.DataFrame:
        return (
            descriptors.filter((pl.col("Parameter") == name) & (pl.col("Value") >= 0))
            .group_by("RecordID")
            .agg(pl.col("Value").first().alias(name))
        )

    measured = events.select(pl.col("stay_id").unique()).rename({"stay_id": "RecordID"})
    stays = measured.join(first("Age"), on="RecordID").join(first("Gender"), on="RecordID", how="left")
    stays = stays.filter(pl.col("Age") >= protocol.rules.min_age).rename({"RecordID": "stay_id"})
    unknown = (pl.lit(None, dtype=pl.String).alias(name) for name in SITES.names[1:])
    held_out(stays.select("stay_id", *unknown), protocol.splits, "the Challenge 2012")  # an error where sites are drawn
    splits = assign(stays["stay_id"], protocol.splits)
    return (
        stays.with_columns(subject_id=pl.col("stay_id"), hadm_id=pl.col("stay_id"))
        .join(splits, on="subject_id")
        .with_columns(
            intime=pl.lit(EPOCH),
            outtime=pl.lit(EPOCH + timedelta(hours=HOURS)),
            prediction_time=pl.lit(EPOCH + timedelta(hours=HOURS)),
            age=pl.col("Age"),
            sex=pl.col("Gender").replace_strict({0.0: "F", 1.0: "M"}, default=None),
        )
        .sort("stay_id")
    )
