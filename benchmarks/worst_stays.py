"""Where a model fails: the held-out stays with the largest loss, and what their charts hold of what it got wrong.

    python benchmarks/worst_stays.py --model RUN --cohort COHORT [--truth RAW/truth] [--stays 10]

The loss of a stay is the sum of the cross-entropies of its labels, by calibrated probabilities. For the diagnoses that
cost a stay more than one nat (a probability below .37 of what is recorded, above .63 of what is not; at most three of
them), the first table says what the chart shows of it by the concept graph: *named* if the note names the diagnosis or
a disease that counts as it, now or in the past; *hints* if other phrases, or findings of the series, speak for it;
*silent* if nothing does. The second table adds up the loss of all held-out stays by kind, the third says how often a
diagnosis is recorded where the chart is so; intervals resample patients. With `--truth` of the synthetic hospital, the
kinds also say what is the case: present but not coded, an imitation, or shown nowhere; the second table says only
that. No stay is identified and no text is printed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from printed_tables import Console
from rich.table import Table

from clinragen.chart.findings import findings
from clinragen.chart.note_evidence import gather
from clinragen.chart.support import SUPPORTS, tie
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.inference.predict import TrainedModel, score
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.quiet import quiet_libraries

REPLICATES = 500
COSTLY = 1.0  # nats
SHOWN = 3
DISEASES = {"phenotype", "disease"}  # kinds of concept that name a diagnosis


@dataclass(frozen=True)
class HeldOut:
    """Held-out stays [n] and their labels [n, L].

    Attributes:
        probabilities, without_series: calibrated, of the stays as they are and with their series zeroed.
        loss: cross-entropy in nats, 0 of labels for which a stay is not eligible.
        shares: how frequent each label is among the training stays, [L].
    """

    stays: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    recorded: np.ndarray
    probabilities: np.ndarray
    without_series: np.ndarray
    loss: np.ndarray
    shares: np.ndarray


def held_out(trained: TrainedModel, cohort: Cohort) -> HeldOut:
    """The test stays of a cohort by a trained model."""
    inputs = list(trained.manifest.inputs)
    observed, zeroed = (trained.dataset(cohort, "test", series) for series in ("observed", "zeroed"))
    logits, recorded = score(trained.model, observed, inputs)
    probabilities = trained.calibration.probabilities(logits)
    without = trained.calibration.probabilities(score(trained.model, zeroed, inputs)[0])
    clipped = np.clip(np.where(recorded > 0, probabilities, 1 - probabilities), 1e-6, 1)
    keys = list(trained.model.labels)
    shares = cohort.labels.filter(pl.col("stay_id").is_in(cohort.split("train")))[keys].mean().to_numpy()[0]
    loss = -np.log(clipped) * observed.eligible
    stays = observed.stay_ids
    return HeldOut(stays, observed.patients, np.array(keys), recorded, probabilities, without, loss, shares)


def what_charts_show(cohort: Cohort, stays: np.ndarray, labels: np.ndarray, graph: ConceptGraph) -> np.ndarray:
    """What each chart holds of each diagnosis, [n, L]: named, hints in note, series or both, or silent."""
    linker, sections = Linker(graph), sections_by_stay(cohort.notes, labels=cohort.label_set)
    of_series = findings(cohort.series.filter(pl.col("stay_id").is_in(stays)))
    shows = np.full((len(stays), len(labels)), "silent", dtype=object)
    for row, stay in enumerate(stays):
        note = gather(sections.get(stay, []), linker, graph)
        for column, key in enumerate(labels):
            tied = {item.concept.partition(":")[0] for item in note if graph.strength(item.concept, key) >= SUPPORTS}
            in_series = any(tie(one, key, graph) >= SUPPORTS for one in of_series.get(stay, []))
            if tied & DISEASES:
                shows[row, column] = "named"
            elif tied or in_series:
                shows[row, column] = "hints in " + " and ".join(["note"] * bool(tied) + ["series"] * in_series)
    return shows


def what_is_the_case(truth: Path, data: HeldOut) -> np.ndarray:
    """What the synthetic hospital knows of each stay and label, [n, L]; empty if the record is right and it shows."""
    conditions = pl.read_parquet(truth / "conditions.parquet").filter(pl.col("stay_id").is_in(data.stays))
    row, column = ({key: number for number, key in enumerate(keys)} for keys in (data.stays, data.labels))
    case = np.full(data.recorded.shape, "", dtype=object)
    for one in conditions.iter_rows(named=True):
        for key in {*(one["mimics_in_series"] or ()), *(one["mimics_in_note"] or ())} & set(column):
            case[row[one["stay_id"]], column[key]] = "imitated"
    for one in conditions.filter("is_phenotype").iter_rows(named=True):
        hidden = "shown nowhere" if one["channel"] == "none" else ""
        case[row[one["stay_id"]], column[one["condition"]]] = hidden if one["coded"] else "present, not coded"
    return case


def kinds_of(data: HeldOut, shows: np.ndarray, case: np.ndarray) -> np.ndarray:
    """The kind of each stay and label, [n, L]: missed or false alarm, what the chart shows, what is the case."""
    kinds = np.where(data.recorded > 0, "missed", "false alarm").astype(object) + ", " + shows
    return np.where(case == "", kinds, kinds + "; " + case)


def show_worst(data: HeldOut, kinds: np.ndarray, count: int, name_of: Callable[[str], str]) -> None:
    """The costly diagnoses of the worst stays."""
    headings = ("stay", "its loss", "recorded", "diagnosis", "probability", "without series", "in training", "kind")
    title = f"the {count} of {len(data.stays)} held-out stays with the largest loss; mean {data.loss.sum(1).mean():.2f}"
    table = Table(*headings, title=title)
    for rank, row in enumerate(np.argsort(-data.loss.sum(1))[:count], start=1):
        columns = [column for column in np.argsort(-data.loss[row]) if data.loss[row, column] > COSTLY]
        for position, column in enumerate(columns[:SHOWN]):
            first = [str(rank), f"{data.loss[row].sum():.1f}", f"{data.recorded[row].sum():.0f}"]
            table.add_row(
                *(first if position == 0 else ["", "", ""]),
                name_of(str(data.labels[column])),
                f"{data.probabilities[row, column]:.3f}",
                f"{data.without_series[row, column]:.3f}",
                f"{data.shares[column]:.3f}",
                str(kinds[row, column]),
            )
    Console(width=190).print(table)


def show_kinds(data: HeldOut, kinds: np.ndarray, count: int) -> None:
    """Shares of the costly loss by kind, of all held-out stays and of the worst."""
    costly = np.where(data.loss > COSTLY, data.loss, 0)
    worst = np.argsort(-data.loss.sum(1))[:count]
    table = Table(
        "kind", "diagnoses", "of the loss", "of the loss of the worst",
        title=f"{costly.sum() / data.loss.sum():.3f} of the loss is of diagnoses that cost more than {COSTLY:g} nat",
    )  # fmt: skip
    by_kind: Mapping[str, np.ndarray] = {kind: (costly * (kinds == kind)).sum(1) for kind in np.unique(kinds)}
    numbers = {kind: int(((kinds == kind) & (costly > 0)).sum()) for kind in by_kind}
    for kind in sorted((kind for kind in by_kind if numbers[kind]), key=lambda kind: -by_kind[kind].sum()):
        low, high = _interval(by_kind[kind], costly.sum(1), data.patients)
        share = by_kind[kind].sum() / costly.sum()
        of_worst = by_kind[kind][worst].sum() / costly[worst].sum()
        table.add_row(kind, str(numbers[kind]), f"{share:.3f} ({low:.3f} to {high:.3f})", f"{of_worst:.3f}")
    Console(width=140).print(table)


def show_evidence(data: HeldOut, shows: np.ndarray) -> None:
    """How often a diagnosis is recorded, by what the chart shows of it, and what the model makes of it."""
    table = Table("the chart", "diagnoses of stays", "recorded", "mean probability")
    for show in sorted(np.unique(shows), key=lambda show: -data.recorded[shows == show].mean()):
        here = shows == show
        low, high = _interval((data.recorded * here).sum(1), here.sum(1), data.patients)
        recorded = f"{data.recorded[here].mean():.3f} ({low:.3f} to {high:.3f})"
        table.add_row(show, f"{here.sum():,}", recorded, f"{data.probabilities[here].mean():.3f}")
    Console(width=140).print(table)


def _interval(part: np.ndarray, whole: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the ratio of two sums over stays; patients are resampled."""
    rows = defaultdict(list)
    for row, patient in enumerate(patients):
        rows[patient].append(row)
    sums = np.array([[part[each].sum(), whole[each].sum()] for each in rows.values()])
    draws = np.random.default_rng(0).integers(0, len(sums), (REPLICATES, len(sums)))
    drawn = sums[draws].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a run of `clinragen train`")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="of the synthetic hospital")
    parser.add_argument("--stays", type=int, default=10)
    args = parser.parse_args()
    quiet_libraries()
    cohort = Cohort.load(args.cohort)
    trained = TrainedModel.load(args.model)
    data = held_out(trained, cohort)
    shows = what_charts_show(cohort, data.stays, data.labels, trained.model.graph)
    case = what_is_the_case(args.truth, data) if args.truth else np.full(shows.shape, "", dtype=object)
    kinds = kinds_of(data, shows, case)
    show_worst(data, kinds, args.stays, lambda key: cohort.label_set[key].name)
    if args.truth:
        shown = np.where(data.recorded > 0, "shown in note or series", "not there")
        kinds = kinds_of(data, np.where(case == "", shown, case), np.full(case.shape, "", dtype=object))
    show_kinds(data, kinds, args.stays)
    show_evidence(data, shows)


if __name__ == "__main__":
    main()
