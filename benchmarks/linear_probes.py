"""Cost of fitting the linear probes: the solver of ``clinragen train`` and the one it replaced, on the same data.

Synthetic features as the two probes read them: ``series``, dense, in blocks of filled bins, and ``note``, sparse rows
of length one. Labels follow a linear truth at shares from 1 to 30 %. Both solvers walk down the penalties of
``clinragen.stages.ensemble`` from the strongest to the weakest, each from where the last ended; the old one in 64
bits by L-BFGS over all labels at once, at most 100 iterations each. Each runs in a process of its own, so that its
peak memory can be told.

    python benchmarks/linear_probes.py --stays 30000 --features 3000 --labels 25
    python benchmarks/linear_probes.py --stays 10000 --features 3000 --labels 25 --penalties 2
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from clinragen.stages.ensemble import PENALTIES
from clinragen.stages.logistic import Features, every_core, fit_logistic

ITERATIONS = 100
BINS = 36  # features of a variable: six bins of each of six summaries
TERMS = 150  # words and pairs of a note


def features(probe: str, stays: int, width: int, seed: int = 0) -> csr_matrix | np.ndarray:
    """Features [stays, width] as a probe reads them."""
    chance = np.random.default_rng(seed)
    if probe == "series":
        read = np.zeros((stays, width), dtype=np.float32)
        for first in range(0, width, BINS):
            level = chance.normal(size=(stays, 1)) + 0.5 * chance.normal(size=(stays, 6))
            edges = np.linspace(-1.5, 1.5, 6)
            filled = np.clip((level[:, :, None] - edges) / 0.6, 0, 1).reshape(stays, -1)
            filled[chance.random(stays) < 0.3] = 0  # not measured
            read[:, first : first + BINS] = filled[:, : width - first]
        return read
    columns = (width * chance.random(stays * TERMS) ** 3).astype(np.int64)  # few terms are frequent
    weights = 0.1 + chance.random(stays * TERMS, dtype=np.float32)
    read = csr_matrix((weights, (np.repeat(np.arange(stays), TERMS), columns)), shape=(stays, width))
    read.sum_duplicates()
    return csr_matrix(read.multiply(1 / np.sqrt(read.multiply(read).sum(1))), dtype=np.float32)


def outcomes(read: csr_matrix | np.ndarray, count: int, seed: int = 1) -> np.ndarray:
    """Labels bool [stays, count] of a linear truth."""
    chance = np.random.default_rng(seed)
    shape: Any = read.shape
    truth = chance.normal(size=(shape[1], count)).astype(np.float32)
    scores = read @ truth
    scores = 1.5 * (scores - scores.mean(0)) / scores.std(0)
    shares = np.geomspace(0.01, 0.3, count)
    noisy = scores + chance.logistic(size=scores.shape)
    return noisy > np.quantile(noisy, 1 - shares, axis=0).diagonal()


def old_fit(read: Any, labels: np.ndarray, penalty: float, start: np.ndarray | None) -> np.ndarray:
    """The solver that was replaced, word for word but for its names: [features + 1, L]."""
    shape, labels = (read.shape[1] + 1, labels.shape[1]), labels.astype(float)
    if start is None:
        share = labels.mean(0).clip(0.5 / len(labels), 1 - 0.5 / len(labels))
        start = np.zeros(shape)
        start[-1] = np.log(share / (1 - share))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercepts = flat.reshape(shape)[:-1], flat.reshape(shape)[-1]
        scores = read @ weights + intercepts
        slope = expit(scores) - labels
        loss = (np.logaddexp(0, scores) - labels * scores).sum() + penalty / 2 * (weights**2).sum()
        return loss, np.vstack([read.T @ slope + penalty * weights, slope.sum(0)]).ravel()

    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    return found.x.reshape(shape)


def new_fit(read: Any, labels: np.ndarray, penalty: float, start: np.ndarray | None) -> np.ndarray:
    """The solver of ``clinragen train``, with a ridge alone, as the old one."""
    with every_core():
        return fit_logistic(read, labels, penalty, start)


def child(args: argparse.Namespace, solver: str, probe: str, scores: Path) -> None:
    """One solver on one probe; prints its result as JSON and writes its scores."""
    read = features(probe, args.stays, args.features)
    labels = outcomes(read, args.labels)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, seconds, processor = None, [], time.process_time()
    began = time.perf_counter()
    data, fit = (Features(read), new_fit) if solver == "new" else (read, old_fit)
    for penalty in PENALTIES[probe][: args.penalties]:
        start = fit(data, labels, penalty, start)
        seconds.append(time.perf_counter() - began)
    assert start is not None
    np.save(scores, read @ start[:-1].astype(np.float32) + start[-1].astype(np.float32))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = {"seconds": seconds, "processor": time.process_time() - processor}
    print(json.dumps(spent | {"base": base / 2**20, "peak": peak / 2**20}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=30_000)
    parser.add_argument("--features", type=int, default=3_000)
    parser.add_argument("--labels", type=int, default=25)
    parser.add_argument("--penalties", type=int, default=4, help="how many of the four, from the strongest")
    parser.add_argument("--probes", nargs="+", default=["series", "note"], choices=("series", "note"))
    parser.add_argument("--child", nargs=3, metavar=("SOLVER", "PROBE", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        solver, probe, scores = args.child
        child(args, solver, probe, Path(scores))
        return
    print(f"{args.stays:,} stays x {args.features:,} features x {args.labels} labels, {args.penalties} penalties")
    with tempfile.TemporaryDirectory() as folder:
        for probe in args.probes:
            rows, scores = {}, {}
            for solver in ("old", "new"):
                written = Path(folder) / f"{solver}.npy"
                command = [sys.executable, __file__, *sys.argv[1:], "--child", solver, probe, str(written)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows[solver], scores[solver] = json.loads(done.stdout.splitlines()[-1]), np.load(written)
                row = rows[solver]
                walk = ", ".join(f"{second:.1f}" for second in row["seconds"])
                print(
                    f"  {probe:<6} {solver}  {row['seconds'][-1]:7.1f} s ({walk}); {row['processor']:.1f} s of cores; "
                    f"peak memory {row['peak']:.2f} GiB ({row['base']:.2f} before)",
                    flush=True,
                )
            ratio = rows["old"]["seconds"][-1] / rows["new"]["seconds"][-1]
            work = rows["old"]["processor"] / rows["new"]["processor"]
            apart = np.abs(expit(scores["old"]) - expit(scores["new"])).max()
            print(f"  {probe:<6} ratio {ratio:.1f} (cores' time {work:.1f}); probabilities within {apart:.1e}")


if __name__ == "__main__":
    main()
