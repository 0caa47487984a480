"""What carries over to networks of hospitals that training has not seen? Every stay of the eICU demo, predicted twice.

    python benchmarks/leave_network_out.py --raw PATH/TO/eicu-demo --out outputs/leave_network_out [--models text,both]

Once by a model that has seen no stay of its network (the 28 networks in folds of about equal size, each fold held out
in turn with `splits.held_out`), and once by a model that has seen other patients of it (the same number of folds of
patients). Both are trained, calibrated and given thresholds in the same way (`eicu_table.py`), on about as many stays,
so the difference is the network's. Intervals resample patients, and differences are paired. `--folds 28` leaves out
each network alone. A finished cell is kept; run again to go on.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import eicu_table
import numpy as np
from eicu_table import CLASSICAL, SHARES, Scores, compute, probes, student, system_of
from printed_tables import Console
from rich.table import Table

from clinragen.cohort.folder import Cohort
from clinragen.evaluation.diagnosis import METRICS, System, bootstrap, interval
from clinragen.quiet import quiet_libraries
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep

ROWS: dict[str, str] = {
    "text": "note: TF-IDF, logistic regression",
    "series": "series: statistics, gradient boosting",
    "both": "both: gradient boosting on statistics and text scores",
    "added": "both: log-odds of the first two added",
    "probes_note": "note: clinragen, linear probe",
    "probes_series": "series: clinragen, linear probe",
    "probes": "both: clinragen, linear probes alone",
    "tiny": "both: clinragen, tiny",
}
TRAINED: dict[str, Callable[[Cohort, Path], Scores]] = {
    "probes_note": partial(probes, modalities="note"),
    "probes_series": partial(probes, modalities="series"),
    "tiny": student("tiny"),
}
SCORES = {"macro AUROC": "macro_auroc", "micro F1": "written_micro_f1"}
OF_NETWORK = {"micro AUROC": "micro_auroc", "micro F1": "written_micro_f1"}
SAME, OTHER = "network seen", "network unseen"
FEW = 30  # stays; a network with fewer is shown without intervals


def prepare(raw: Path, out: Path, *settings: str) -> Cohort:
    """A cohort of the demo; one that is there already is taken as it is."""
    given = [word for setting in (*SHARES, *settings) for word in ("--set", setting)]
    if mimic_prep(["eicu", "--raw", str(raw), "--out", str(out), "--overwrite", *given]):
        raise SystemExit(f"{out} could not be prepared")
    return Cohort.load(out)


def folds_of_networks(cohort: Cohort, folds: int) -> list[list[str]]:
    """Networks in folds of about as many stays: the largest first, each to the fold with the fewest stays so far."""
    sizes = cohort.sites["network"].value_counts().sort(["count", "network"], descending=[True, False])
    held: list[tuple[int, list[str]]] = [(0, []) for _ in range(folds)]
    for network, size in sizes.iter_rows():
        least = min(range(folds), key=lambda fold: held[fold][0])
        held[least] = (held[least][0] + size, [*held[least][1], network])
    return [sorted(networks) for _, networks in held if networks]


def folds_of_patients(cohort: Cohort, folds: int, out: Path) -> list[Path]:
    """Lists of patients, drawn by their hash, in as many files."""
    fold_of = {
        patient: int(hashlib.sha256(f"fold {patient}".encode()).hexdigest(), 16) % folds
        for patient in cohort.stays["subject_id"]
    }
    files = [out / f"patients{fold + 1}.txt" for fold in range(folds)]
    for fold, file in enumerate(files):
        file.write_text("".join(f"{patient}\n" for patient in sorted(fold_of) if fold_of[patient] == fold))
    return files


def predicted(raw: Path, out: Path, settings: list[list[str]], names: list[str]) -> dict[str, dict[int, np.ndarray]]:
    """Of each model and stay: probabilities, and whether they reach their fold's thresholds, [2, L]."""
    stays: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
    for number, given in enumerate(settings, 1):
        here = out / f"fold{number}"
        cohort = prepare(raw, here / "cohort", *given)
        if not (here / "cohort" / "rationales").exists() and not set(names) <= set(CLASSICAL):
            generate(here / "cohort")
        compute(cohort, here, names)
        for name in names:
            system = system_of(cohort, here / f"{name}.json")
            both = np.stack([system.probabilities, system.thresholded], axis=1)
            stays[name] |= dict(zip(cohort.split("test").tolist(), both, strict=True))
    return stays


def show(cohort: Cohort, of: dict[str, dict[str, dict[int, np.ndarray]]], names: list[str]) -> None:
    """All stays together, by model; then each network, by the last model."""
    ids = [stay for stay in cohort.stays["stay_id"] if all(stay in of[way][name] for way in of for name in names)]
    cohort = cohort.of_stays(np.array(ids))
    gold, patients = cohort.label_matrix(np.array(ids)), cohort.stays["subject_id"].to_numpy()
    systems = {
        (way, name): System(both[:, 0], np.full(gold.shape[1], np.inf), both[:, 1].astype(bool))
        for way in of
        for name in names
        for both in [np.stack([of[way][name][stay] for stay in ids])]
    }
    table = Table(title=f"{len(ids):,} stays of the eICU demo, each held out once (95 % interval, patients resampled)")
    table.add_column("model")
    for title in SCORES:
        for way in (SAME, OTHER, "difference"):
            table.add_column(f"{title}, {way}", justify="right")
    drawn = bootstrap(gold, {" ".join(key): system for key, system in systems.items()}, patients, replicates=500)
    for name in names:
        cells = []
        for metric in map(METRICS.index, SCORES.values()):
            pair = [drawn[f"{way} {name}"] for way in (SAME, OTHER)]
            values, replicates = ([part.value[metric] for part in pair], [part.replicates[:, metric] for part in pair])
            cells += [_shown(value, many) for value, many in zip(values, replicates, strict=True)]
            cells.append(_shown(values[1] - values[0], replicates[1] - replicates[0]))
        table.add_row(ROWS[name], *cells)
    Console(width=200).print(table)
    _show_networks(cohort, gold, {way: systems[way, names[-1]] for way in of}, ROWS[names[-1]])


def _show_networks(cohort: Cohort, gold: np.ndarray, systems: dict[str, System], model: str) -> None:
    table = Table(title=f"By network: {model}")
    for heading in ("network", "stays", *(f"{title}, {way}" for title in OF_NETWORK for way in (SAME, OTHER))):
        table.add_column(heading, justify="right")
    networks, patients = cohort.sites["network"], cohort.stays["subject_id"].to_numpy()
    sizes = networks.value_counts().sort(["count", "network"], descending=[True, False])
    for network, size in sizes.iter_rows():
        rows = (networks == network).to_numpy()
        parts = {
            way: System(system.probabilities[rows], system.thresholds, system.listed[rows])
            for way, system in systems.items()
        }
        drawn = bootstrap(gold[rows], parts, patients[rows], replicates=500 if size >= FEW else 0)
        table.add_row(network, str(size), *(
            _shown(drawn[way].value[metric], drawn[way].replicates[:, metric])
            for metric in map(METRICS.index, OF_NETWORK.values()) for way in (SAME, OTHER)
        ))  # fmt: skip
    Console(width=160).print(table)


def _shown(value: float, replicates: np.ndarray) -> str:
    ends = interval(value, replicates)
    return f"{value:.3f}" if ends["low"] is None else f"{value:.3f} ({ends['low']:.3f} to {ends['high']:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of the eICU demo")
    parser.add_argument("--out", type=Path, required=True, help="cohorts, run folders and cells; run again to go on")
    parser.add_argument("--folds", type=int, default=5, help="folds of networks, and of patients")
    default = [name for name in ROWS if name != "tiny"]
    parser.add_argument("--models", default=",".join(default), help=f"rows: {', '.join(ROWS)}")
    args = parser.parse_args()
    names = [name for name in ROWS if name in args.models.split(",")]
    if not names or args.folds < 2:
        parser.error(f"expected at least two folds, and models of {', '.join(ROWS)}")
    quiet_libraries()
    eicu_table.TRAINED.update(TRAINED)
    out = args.out / f"folds{args.folds}"
    whole = prepare(args.raw, out / "cohort")
    networks = folds_of_networks(whole, args.folds)
    patients = folds_of_patients(whole, args.folds, out)
    settings = {
        OTHER: [["splits.by=network", f"splits.held_out={members}".replace("'", '"')] for members in networks],
        SAME: [[f"splits.test_subjects={file}"] for file in patients],
    }
    folders = {OTHER: out / "networks", SAME: out / "patients"}
    show(whole, {way: predicted(args.raw, folders[way], settings[way], names) for way in (SAME, OTHER)}, names)


if __name__ == "__main__":
    main()
