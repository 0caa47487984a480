"""Write the synthetic hospital: chunks of patients in parallel, tables in order, atomically."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from clinragen.artifacts import write_json, write_table, write_text
from clinragen.errors import UserError
from clinragen.outputs import SYNTHETIC, output_folder
from mimic_prep.synthetic import raw_tables, truth
from mimic_prep.synthetic.chunk import CHUNK, Chunk, make_chunk
from mimic_prep.synthetic.hospital import load
from mimic_prep.synthetic.patients import MAX_PATIENTS
from mimic_prep.synthetic.sites import Group, checked


class TruthManifest(TypedDict):
    """``truth/manifest.json``: how the hospital was made, and how often each condition and label is in it."""

    patients: int
    seed: int
    rows: dict[str, int]
    share_of_stays: dict[str, float]
    label_prevalence: dict[str, float]
    sources: dict[str, str]


def synthesize(  # noqa: PLR0913 (the options of the command)
    patients: int,
    seed: int,
    out: Path,
    *,
    sites: int = 1,
    drift: float = 0.0,
    recoding: float = 0.0,
    site_drift: float = 0.0,
    workers: int | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write raw tables and ``truth/`` below ``out``; the number of rows per table comes back.

    The bytes depend only on ``patients``, ``seed``, ``sites``, ``drift``, ``recoding`` and ``site_drift``. Patient *i*
    is the same for any number of patients.

    Args:
        patients: number of patients.
        seed: of all random draws.
        out: folder to write.
        sites: number of hospitals, which differ as ``configs/synthetic/sites.yaml`` says.
        drift: how much changes from the first years to the last; 0: nothing, 1: as stated there.
        recoding: share of the later admissions in which the codes of pairs of conditions, named there, change places.
        site_drift: how far coding and charting lag of the hospitals lie apart; 0: not at all, 1: as stated there.
        workers: processes; one per core by default.
        overwrite: replace a synthetic hospital.

    Raises:
        UserError: a number out of range, or ``out`` exists and ``overwrite`` is false.
    """
    if not 1 <= patients <= MAX_PATIENTS:
        raise UserError(f"--patients {patients}: expected 1 to {MAX_PATIENTS}")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: expected 1 or more")
    of = checked(seed, sites, drift, recoding, site_drift)
    counts: Counter[str] = Counter()
    rows = truth.TruthRows()
    with output_folder(out, SYNTHETIC, overwrite=overwrite) as folder:
        for name in raw_tables.COLUMNS:
            (folder / name).parent.mkdir(exist_ok=True)
        for name, frame in raw_tables.dictionaries(load()).items():
            (folder / f"{name}.csv.gz").write_bytes(raw_tables.compress(name, frame, header=True))
            counts[name] = frame.height
        with ExitStack() as stack:
            names = [name for name in raw_tables.COLUMNS if name not in raw_tables.DICTIONARIES]
            files = {name: stack.enter_context(open(folder / f"{name}.csv.gz", "wb")) for name in names}
            for chunk in _chunks(patients, of, workers or os.cpu_count() or 1):
                for name, part in chunk.parts.items():
                    files[name].write(part)
                counts.update(chunk.counts)
                rows.extend(chunk.truth)
        _write_truth(folder / "truth", of, rows, patients, dict(counts))
    return dict(counts)


def _write_truth(folder: Path, of: Group, rows: truth.TruthRows, patients: int, counts: dict[str, int]) -> None:
    tables: dict[str, tuple[Sequence[object], pa.Schema]] = {
        "conditions": (rows.conditions, truth.CONDITIONS),
        "orders": (rows.orders, truth.ORDERS),
        "contraindications": (rows.contraindications, truth.CONTRAINDICATIONS),
    }
    readme = truth.README
    if not of.is_usual:
        write_table(folder / "sites.parquet", of.table(rows.stays))
        write_json(folder / "sites.json", of.planted())
        readme += truth.SITES_README
    if of.recoding:
        tables["recoded"] = rows.recoded, truth.RECODED
        readme += truth.RECODING_README
    if of.site_drift:
        tables["uncoded"] = rows.uncoded, truth.UNCODED
        readme += truth.SITE_DRIFT_README
    for name, (of_table, schema) in tables.items():
        write_table(folder / f"{name}.parquet", pa.Table.from_pylist(list(of_table), schema=schema))
    labels = rows.as_written()
    write_table(folder / "oracle.parquet", truth.oracle([stay for stay, *_ in rows.stays], labels))
    write_text(folder / "README.md", readme)
    write_json(folder / "manifest.json", _manifest(patients, of.seed, counts, rows.conditions, labels))


def _chunks(patients: int, of: Group, workers: int) -> Iterator[Chunk]:
    """Chunks in order of the patients; small hospitals are generated in this process."""
    bounds = [(first, min(first + CHUNK, patients)) for first in range(0, patients, CHUNK)]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("making patients", total=patients)
        with _mapper(min(workers, len(bounds))) as mapped:
            firsts, lasts = zip(*bounds, strict=True)
            for chunk, (first, last) in zip(mapped(make_chunk, [of] * len(bounds), firsts, lasts), bounds, strict=True):
                progress.advance(task, last - first)
                yield chunk


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[Chunk]]]:
    """``map``, or that of a process pool; processes are spawned, as forking a threaded library can hang."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool.map


def _manifest(
    patients: int, seed: int, counts: dict[str, int], rows: list[truth.TruthRow], labels: list[truth.TruthRow]
) -> TruthManifest:
    stays = max(counts["icu/icustays"], 1)
    present = Counter(row["condition"] for row in rows)
    coded = Counter(row["condition"] for row in labels if row["coded"] and row["is_phenotype"])
    return {
        "patients": patients,
        "seed": seed,
        "rows": counts,
        "share_of_stays": {name: round(number / stays, 4) for name, number in sorted(present.items())},
        "label_prevalence": {name: round(number / stays, 4) for name, number in sorted(coded.items())},
        "sources": load().sources,
    }
