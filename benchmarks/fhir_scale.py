"""Time and memory of reading FHIR Observations into hourly series, beside ``orjson.loads`` alone over the same lines.

Both run on one core, in processes of their own, on made-up observations of patients in intensive care. The time is that
of the processor, from the file to the cohort's series; that of a preparation of a hundred lines, which is start-up, is
printed beside it and not subtracted.

    python benchmarks/fhir_scale.py --rows 300000 1000000 --runs 3
    python benchmarks/fhir_scale.py --rows 300000 --decoders

With ``--decoders``, instead, what other readers of such lines take for the elements that are needed: DuckDB, Arrow and
Polars as columns, msgspec as objects.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "1")
#: LOINC code, unit, typical value; the last two are codes that no variable has
KINDS = [
    ("8867-4", "/min", 84), ("8480-6", "mm[Hg]", 118), ("8462-4", "mm[Hg]", 64), ("9279-1", "/min", 18),
    ("59408-5", "%", 97), ("8310-5", "Cel", 37), ("2160-0", "mg/dL", 1.2), ("2951-2", "mmol/L", 139),
    ("2823-3", "mmol/L", 4.1), ("718-7", "g/dL", 10.4), ("9192-6", "mL", 90), ("72514-3", "{score}", 2),
]  # fmt: skip
ROWS_PER_STAY = 1_000
BEGIN = datetime(2030, 1, 5, 8)


def write_export(folder: Path, rows: int, seed: int = 7) -> None:
    """Patients, encounters, and ``rows`` Observations as a bulk export has them."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    stays = max(1, rows // ROWS_PER_STAY)
    with open(folder / "Stays.ndjson", "w") as file:
        for stay in range(stays):
            patient = {"reference": f"Patient/p-{stay}"}
            period = {"start": _at(0), "end": _at(60 * 96)}
            common = {"status": "finished", "subject": patient, "period": period}
            whole = {"resourceType": "Encounter", "id": f"h-{stay}", "class": {"code": "IMP"}, **common}
            icu = {
                **whole,
                "id": f"icu-{stay}",
                "partOf": {"reference": f"Encounter/h-{stay}"},
                "serviceType": {"text": "ICU"},
            }
            for one in ({"resourceType": "Patient", "id": f"p-{stay}", "birthDate": "1960-01-01"}, whole, icu):
                file.write(json.dumps(one) + "\n")
    with open(folder / "Observation.ndjson", "w") as file:
        for row in range(rows):
            code, unit, usual = KINDS[draw.randrange(len(KINDS))]
            stay, minute = draw.randrange(stays), draw.randrange(60 * 48)
            value = round(usual * draw.uniform(0.8, 1.2), 1)
            file.write(json.dumps(_observation(row, stay, code, unit, value, _at(minute), _at(minute + 3))) + "\n")


def _at(minute: int) -> str:
    return (BEGIN + timedelta(minutes=minute)).isoformat() + "-05:00"


def _observation(row: int, stay: int, code: str, unit: str, value: float, time_: str, issued: str) -> dict[str, object]:
    category = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    return {
        "resourceType": "Observation",
        "id": f"4f1c{row:08x}-5d2a-5b1e-9c77-{row * 7919 % (1 << 40):012x}",
        "meta": {
            "lastUpdated": "2030-03-01T00:00:00.000Z",
            "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-vital-signs"],
        },
        "status": "final",
        "category": [{"coding": [{**category, "display": "Vital Signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": f"name of {code}"}], "text": code},
        "subject": {"reference": f"Patient/p-{stay}"},
        "encounter": {"reference": f"Encounter/icu-{stay}"},
        "effectiveDateTime": time_,
        "issued": issued,
        "performer": [{"reference": f"Practitioner/{row % 97}"}],
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    }


def parse(folder: Path) -> float:
    """Processor seconds of ``orjson.loads`` over the lines."""
    import orjson

    began = time.process_time()
    with open(folder / "Observation.ndjson", "rb") as file:
        for line in file:
            orjson.loads(line)
    return time.process_time() - began


def read(folder: Path) -> float:
    """Processor seconds of ``mimic-prep fhir``."""
    from mimic_prep.prepare import prepare

    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        began = time.process_time()
        prepare(folder, Path(work) / "cohort", source="fhir", workers=1)
        return time.process_time() - began


def decoders(folder: Path) -> dict[str, float]:
    """Processor seconds of each reader over the lines, the least of three, beside ``orjson.loads``."""
    import io

    import duckdb
    import polars as pl
    import pyarrow as pa
    import pyarrow.json as pa_json

    from mimic_prep.releases.fhir import numbers

    path = folder / "Observation.ndjson"
    content = path.read_bytes()
    lines = content.split(b"\n")[:-1]
    text, reference = pl.String, pl.Struct({"reference": pl.String})
    quantity = {"value": pl.Float64, "unit": text, "code": text}
    coding = pl.List(pl.Struct({"system": text, "code": text}))
    schema = {
        "id": text, "status": text, "effectiveDateTime": text, "issued": text, "subject": reference,
        "encounter": reference, "valueQuantity": pl.Struct(quantity), "code": pl.Struct({"coding": coding}),
    }  # fmt: skip
    word = pa.string()
    reference_, quantity_ = (
        pa.struct({"reference": word}),
        pa.struct({**dict.fromkeys(quantity, word), "value": pa.float64()}),
    )
    kinds = {**dict.fromkeys(schema, word), "subject": reference_, "encounter": reference_, "valueQuantity": quantity_}
    kinds["code"] = pa.struct({"coding": pa.list_(pa.struct({"system": word, "code": word}))})
    arrow = pa_json.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="ignore")
    database = duckdb.connect()
    database.execute("set threads = 1")
    columns = """{id: 'VARCHAR', status: 'VARCHAR', "effectiveDateTime": 'VARCHAR', issued: 'VARCHAR',
        subject: 'STRUCT(reference VARCHAR)', encounter: 'STRUCT(reference VARCHAR)', code: 'JSON',
        "valueQuantity": 'STRUCT("value" DOUBLE, unit VARCHAR, code VARCHAR)'}"""
    query = f"select * from read_json('{path}', format = 'newline_delimited', columns = {columns})"
    whole = pa_json.ReadOptions(use_threads=False, block_size=1 << 24)
    readers: dict[str, Callable[[], object]] = {
        "orjson.loads": lambda: parse(folder),
        "msgspec": lambda: [numbers.decode(line) for line in lines],
        "DuckDB": lambda: database.sql(query).to_arrow_table(),
        "Arrow": lambda: pa_json.read_json(io.BytesIO(content), read_options=whole, parse_options=arrow),
        "Polars": lambda: pl.read_ndjson(io.BytesIO(content), schema=schema),
    }
    seconds = dict.fromkeys(readers, float("inf"))
    for name, reader in list(readers.items()) * 3:
        began = time.process_time()
        reader()
        seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds


def _measured(what: str, folder: Path) -> tuple[float, float]:
    """Seconds and MiB at most."""
    command = [sys.executable, __file__, "--inside", what, "--export", str(folder)]
    printed = subprocess.run(command, env=os.environ | ONE_CORE, check=True, capture_output=True, text=True).stdout
    seconds, mebibytes = printed.split()[-2:]
    return float(seconds), float(mebibytes)


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--decoders", action="store_true", help="other readers of the same lines, instead")
    parser.add_argument("--inside", choices=("parse", "read"), help=argparse.SUPPRESS)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        seconds = {"parse": parse, "read": read}[given.inside](given.export)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.decoders:
            if any(os.environ.get(name) != one for name, one in ONE_CORE.items()):  # before they are imported
                os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_CORE)
            for rows in given.rows:
                write_export(Path(folder) / str(rows), rows)
                seconds = decoders(Path(folder) / str(rows))
                for name, taken in seconds.items():
                    print(f"{rows:,} {name}: {taken:.2f} s, {taken / seconds['orjson.loads']:.2f}")
            return
        write_export(Path(folder) / "start-up", 100)
        start_up = min(_measured("read", Path(folder) / "start-up")[0] for _ in range(given.runs))
        print(f"start-up: {start_up:.2f} s of processor time")
        for rows in given.rows:
            export = Path(folder) / str(rows)
            write_export(export, rows)
            pairs = [(_measured("parse", export), _measured("read", export)) for _ in range(given.runs)]
            ratios = [reading[0] / parsing[0] for parsing, reading in pairs]
            less = [(reading[0] - start_up) / parsing[0] for parsing, reading in pairs]
            parsed, made = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
            print(
                f"{rows:,} Observations: orjson.loads {parsed:.2f} s, mimic-prep fhir {made:.2f} s, ratio "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), without start-up "
                f"{statistics.median(less):.2f} ({min(less):.2f} to {max(less):.2f}); "
                f"at most {max(reading[1] for _, reading in pairs):,.0f} MiB"
            )


if __name__ == "__main__":
    main()
