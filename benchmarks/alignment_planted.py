"""Does alignment bring together what the synthetic hospital planted in note and series? Held-out stays.

    python benchmarks/alignment_planted.py --model RUN --cohort COHORT --truth RAW/truth

RUN is a run of `clinragen train align`, COHORT of `mimic-prep synthesize`. Two questions, of phenotypes that show in
note and series both:

*Partners*: R@10 of the stays that have one, from the note to the series and back, and by how much it exceeds chance.
Beside it, of the ten series of other patients nearest to a note with the phenotype, the share in which it shows in the
series too, over its share among all.

*Tokens* (runs with the network): a word that the note has about the phenotype attends to the tokens of the series as
the token loss has it. Is a variable that the phenotype moved among the five that most attention goes to? Beside it:
five of the measured variables at random, and five by the attention of the whole note. Intervals resample patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.special import comb

from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset
from clinragen.data.evidence_pieces import StayEvidence
from clinragen.evaluation.diagnosis import interval
from clinragen.evaluation.reasons import load_causes
from clinragen.inference.aligned import vectors
from clinragen.inference.predict import TrainedModel, batches
from clinragen.knowledge import graph as graphs
from clinragen.model.alignment import Alignment, ranks
from clinragen.quiet import quiet_libraries

NEAREST, VARIABLES, REPLICATES, TEMPERATURE = 10, 5, 1000, 0.1

#: (stay, phenotype) to the variables that it moved, and concepts that the note names because of it.
Planted = dict[tuple[int, str], tuple[set[str], set[str]]]


def planted_in_both(truth: Path) -> Planted:
    """The phenotypes that show in note and series of a stay."""
    causes = load_causes(truth, graphs.build())
    rows = pl.read_parquet(truth / "conditions.parquet").filter("is_phenotype", "coded")
    both: Planted = {}
    for stay, label, moved, terms in rows.select("stay_id", "condition", "variables", "terms").iter_rows():
        if moved and terms:
            named = {concept for concept in causes[stay, label] if not concept.startswith("finding:")}
            both[stay, label] = ({one.partition(":")[0] for one in moved}, named)
    return both


def resampled(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Means of the values [n, k] of resampled patients, [replicates, k]."""
    groups = [np.flatnonzero(patients == one) for one in np.unique(patients)]
    draw = np.random.default_rng(0)
    drawn = (
        np.concatenate([groups[i] for i in draw.integers(len(groups), size=len(groups))]) for _ in range(REPLICATES)
    )
    return np.stack([values[rows].mean(0) for rows in drawn])


def cell(values: np.ndarray, patients: np.ndarray, chance: float = 1.0) -> str:
    """The mean over chance, with its interval."""
    of = interval(values.mean() / chance, resampled(values[:, None], patients)[:, 0] / chance)
    return with_interval(of)


def partners(trained: TrainedModel, stays: StayDataset, both: Planted) -> Table:
    """How often the partner is found, and how often a series has the phenotype of the note."""
    sides = vectors(trained, stays)
    patients = np.unique(stays.patients, return_inverse=True)[1]
    notes, series = torch.from_numpy(sides.note), torch.from_numpy(sides.series)
    forth, back = ranks(notes, series, torch.from_numpy(patients))
    stay_ids = stays.stay_ids.tolist()
    has = np.array([any(stay == one for one, _ in both) for stay in stay_ids])
    chance = NEAREST / len(stay_ids)
    table = Table("stays with a phenotype in note and series", "share", "over chance")
    for name, of in (("note to series", forth), ("series to note", back)):
        hits = (of.numpy() < NEAREST).astype(float)[has]
        table.add_row(f"R@{NEAREST}, {name}", cell(hits, patients[has]), cell(hits, patients[has], chance))
    similar = sides.note @ sides.series.T
    similar[patients[:, None] == patients] = -np.inf
    nearest = np.argsort(-similar, axis=1)[:, :NEAREST]
    shares, over, whose = [], [], []
    for label in sorted({label for _, label in both}):
        shows = np.array([(stay, label) in both for stay in stay_ids])
        for row in np.flatnonzero(shows):
            others = patients != patients[row]
            if shows[others].any():
                shares.append(shows[nearest[row]].mean())
                over.append(shares[-1] / shows[others].mean())
                whose.append(patients[row])
    table.add_row(
        "the note's phenotype among the ten nearest series",
        cell(np.array(shares), np.array(whose)), cell(np.array(over), np.array(whose)),
    )  # fmt: skip
    return table


@torch.inference_mode()
def tokens(trained: TrainedModel, stays: StayDataset, both: Planted) -> Table:
    """How often a word attends to a variable that its phenotype moved."""
    alignment = Alignment.load(trained.run.model).to(trained.device)
    model, rows, whose = trained.model, [], []
    variables = np.array(stays.statistics.variables)
    patient = dict(zip(stays.stay_ids.tolist(), stays.patients.tolist(), strict=True))
    for indices, batch in batches(model, stays, 16):
        note, series = alignment.read(model, batch.to(trained.device))
        reach = (note.tokens @ series.tokens.transpose(1, 2) / TEMPERATURE).masked_fill(
            ~series.mask[:, None], -torch.inf
        )
        # tokens of a variable follow each other: patches in time order, then the summary
        attention = reach.softmax(2).unflatten(2, (len(variables), -1)).sum(3).cpu().numpy()
        for row, index in enumerate(indices):
            evidence = StayEvidence(stays, index, ["note", "series"])
            stay = int(evidence.stay.stay_id)
            measured = evidence.stay.observed.any(1)
            whole = attention[row][note.mask[row].cpu().numpy()].mean(0)
            for (one, _), (moved, named) in both.items():
                if one != stay or not (moving := np.isin(variables, sorted(moved)) & measured).any():
                    continue
                covered = evidence.tokens_of(sorted(named & set(evidence.spans))).any(0)
                if not covered.any():
                    continue  # no word of it is read
                by_word, by_note = (
                    moving[np.argsort(-np.where(measured, of, -1), kind="stable")[:VARIABLES]].any()
                    for of in (attention[row][: len(covered)][covered].mean(0), whole)
                )
                others = measured.sum() - moving.sum()
                chance = 1 - comb(others, VARIABLES) / comb(measured.sum(), min(VARIABLES, measured.sum()))
                rows.append([by_word, chance, by_note, by_word - chance, float(by_word) - float(by_note)])
                whose.append(patient[stay])
    table = Table(
        f"of {len(rows)} phenotypes that the note names and the series shows", "a moved variable among the five"
    )
    names = (
        "attention of its words",
        "at random",
        "attention of the whole note",
        "words over random",
        "words over note",
    )
    for name, values in zip(names, np.array(rows, dtype=float).T, strict=True):
        table.add_row(name, cell(values, np.array(whose)))
    return table


def main() -> None:
    """Read held-out stays and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    args = parser.parse_args()
    quiet_libraries()
    trained = TrainedModel.load(args.model)
    stays = trained.dataset(Cohort.load(args.cohort), "test")
    both = planted_in_both(args.truth)
    console = Console(width=160)
    console.print(partners(trained, stays, both))
    if Alignment.load(trained.run.model).shape.network:
        console.print(tokens(trained, stays, both))


if __name__ == "__main__":
    main()
