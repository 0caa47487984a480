"""Can the note of a stay be found from its series, and the series from the note? The eICU demo, held-out patients.

    python benchmarks/alignment.py --raw PATH/TO/eicu-demo --out outputs/alignment [--splits 5] [--without-care]
        [--rows cca,linear,prototype,network,token,all,soft,caption] [--set stage.precision=bf16-mixed]

Patient-disjoint splits as in `benchmarks/eicu_table.py`. R@k is the share of held-out stays whose partner is among the
k nearest stays of other patients and itself. `cca` is regularised canonical correlation of the same features; `linear`
aligns what the linear probes read (`stage.align.network=false`), `prototype` likewise with prototypes; `network` adds
the states of the `tiny` student, `token` tokens to that, `all` has all three losses, `soft` soft negatives too, and
`caption` the loss of the series rationale, which the language model writes from the series.
`--without-care` leaves out what a note says of treatments and medications, which series betray. Intervals resample
patients; over several splits means are shown. Results are kept: run it again to go on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import torch
from eicu_table import prepare
from printed_tables import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from clinragen.artifacts import read_json, sha256_file, write_json
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.diagnosis import Interval, interval
from clinragen.inference.aligned import vectors
from clinragen.inference.predict import TrainedModel
from clinragen.model.alignment import ranks
from clinragen.quiet import quiet_libraries
from clinragen.stages.build import new_model, stays
from clinragen.stages.config import resolve
from clinragen.stages.ensemble import features
from clinragen.stages.run import Request, run_stage
from clinragen.teacher.evidence_run import generate

CARE = ("treatments", "medications", "medications_on_admission")
WITHOUT_NETWORK = ("stage.align.network=false", "stage.align.token=0")
ROWS: dict[str, tuple[str, ...]] = {
    "linear": (*WITHOUT_NETWORK, "stage.align.prototype=0"),
    "prototype": WITHOUT_NETWORK,
    "network": ("stage.align.token=0", "stage.align.prototype=0"),
    "token": ("stage.align.prototype=0",),
    "all": (),
    "soft": ("stage.align.soft_negatives=0.2",),
    "caption": ("stage.align.caption=1", "stage.targets=[series]"),
}
NEAREST = (1, 5, 10)
REPLICATES = 500
COMPONENTS, RIDGE = 100, 0.1  # of the canonical correlation


def without_care(cohort: Path, out: Path) -> Path:
    """A copy of a cohort whose notes say nothing of treatments and medications."""
    if not (out / "rationales").exists():
        shutil.copytree(cohort, out, ignore=shutil.ignore_patterns("rationales"), dirs_exist_ok=True)
        notes = pl.read_parquet(out / "notes.parquet").filter(~pl.col("section").is_in(CARE))
        notes.write_parquet(out / "notes.parquet")
        manifest = read_json(out / "manifest.json", "the manifest of a cohort")
        manifest["outputs"]["notes.parquet"] = sha256_file(out / "notes.parquet")
        manifest["sizes"]["notes.parquet"] = (out / "notes.parquet").stat().st_size
        write_json(out / "manifest.json", manifest)
        generate(out)
    return out


def ranks_of(notes: np.ndarray, series: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Ranks of the partners, from series to note and back, [2, n]."""
    whose = torch.from_numpy(np.unique(patients, return_inverse=True)[1])
    forth, back = ranks(torch.from_numpy(notes), torch.from_numpy(series), whose)
    return np.stack([back.numpy(), forth.numpy()])


def canonical(cohort: Cohort) -> np.ndarray:
    """Ranks by regularised canonical correlation of principal components of the probes' features."""
    config = resolve("align", "tiny", "evidence", [*WITHOUT_NETWORK])
    torch.manual_seed(0)
    student = new_model(config, cohort, None).eval()
    data = {split: stays(student, config, cohort, split) for split in ("train", "test")}
    sides = []
    for name in ("note", "series"):
        train, test = (csr_matrix(features(student, part, name)) for part in data.values())
        reduced = TruncatedSVD(COMPONENTS, random_state=0).fit(train)
        parts = [reduced.transform(each) for each in (train, test)]
        centre, scale = parts[0].mean(0), parts[0].std(0) + 1e-9
        sides.append([(part - centre) / scale for part in parts])
    (x, x_test), (y, y_test) = sides
    whiten_x, whiten_y = (
        np.linalg.inv(np.linalg.cholesky(part.T @ part / len(part) + RIDGE * np.eye(COMPONENTS))) for part in (x, y)
    )
    left, strength, right = np.linalg.svd(whiten_x @ (x.T @ y / len(x)) @ whiten_y.T)
    vectors_of = [x_test @ (whiten_x.T @ left * strength), y_test @ (whiten_y.T @ right.T)]
    notes, series = ((part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in vectors_of)
    return ranks_of(notes, series, data["test"].patients)


def aligned(cohort: Cohort, name: str, out: Path, settings: list[str]) -> np.ndarray:
    """Ranks by a run of stage ``align``."""
    if not (out / "manifest.json").exists():
        request = Request("align", cohort.paths.root, out, overrides=(*ROWS[name], *settings), overwrite=True)
        run_stage(request, Console(stderr=True))
    trained = TrainedModel.load(out)
    held = trained.dataset(cohort, "test")
    return ranks_of(*vectors(trained, held), held.patients)


def shares(read: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R@k of both directions, [2, k], and of resampled patients, [replicates, 2, k]."""
    hit = np.stack([read < count for count in NEAREST], axis=-1)  # [2, n, k]
    groups = [np.flatnonzero(patients == one) for one in np.unique(patients)]
    draw = np.random.default_rng(0)
    replicates = [
        hit[:, np.concatenate([groups[i] for i in draw.integers(len(groups), size=len(groups))])].mean(1)
        for _ in range(REPLICATES)
    ]
    return hit.mean(1), np.stack(replicates)


def _cell(value: Interval) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"


def main() -> None:
    """Prepare the splits, train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rows", default="cca,linear,prototype,network,token,all,soft,caption")
    parser.add_argument("--without-care", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="of stage `align`; may be repeated")
    args = parser.parse_args()
    quiet_libraries()
    names = args.rows.split(",")
    kind = "without_care" if args.without_care else "whole"
    results: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
    held = 0
    for split in range(1, args.splits + 1):
        here = args.out / f"split{split}"
        folder = prepare(args.raw, here, f"split{split}", diagnosis=False)
        cohort = Cohort.load(without_care(folder, here / "without_care") if args.without_care else folder)
        whose = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
        patients = np.array([whose[int(stay)] for stay in cohort.split("test")])
        held += len(patients)
        for name in names:
            file = here / f"{kind}.{name}.npy"
            if not file.exists():
                run = here / f"{kind}.{name}"
                read = canonical(cohort) if name == "cca" else aligned(cohort, name, run, args.settings)
                np.save(file, read)
            results[name].append(shares(np.load(file), patients))
    table = Table("", *(f"series to note R@{k}" for k in NEAREST), *(f"note to series R@{k}" for k in NEAREST))
    chance = [f"{k * args.splits / held:.3f}" for k in NEAREST]
    table.add_row("chance", *chance, *chance)
    for name, splits in results.items():
        value = np.mean([share for share, _ in splits], axis=0).ravel()
        spread = np.mean([replicates for _, replicates in splits], axis=0).reshape(REPLICATES, -1)
        table.add_row(name, *(_cell(interval(*each)) for each in zip(value.tolist(), spread.T, strict=True)))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
