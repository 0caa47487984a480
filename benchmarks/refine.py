"""Free text before and after stage `refine`, side by side: every claim on held-out stays is held against the chart.

    python benchmarks/refine.py --parent RUN --cohort COHORT --out FOLDER [--methods rft dpo both] [--limit 80]

Each method is trained from the same samples (or kept, if it is finished), and every student writes the same held-out
stays freely and greedily. Claims are findings (note) and statements about measurements (series); statements of absence
are none. `own` counts a supported claim only in a text that no other stay was given, so that one sentence for all stays
is worth 0. `grounded` is the share of listed diagnoses for which the text states a supported ground. Intervals (95 %)
and differences are over patients, who are drawn together with all their stays.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from printed_tables import Console, with_interval
from rich.table import Table

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.evaluation import faithfulness
from clinragen.evaluation.diagnosis import interval, patient_bootstrap, ratio_interval
from clinragen.evaluation.inputs import Predictions, load_predictions, load_truth
from clinragen.evaluation.rows import Interval
from clinragen.inference.predict import Prediction, TrainedModel, write_predictions
from clinragen.quiet import quiet_libraries
from clinragen.schema import RATIONALE_KINDS
from clinragen.verification.claims import ABSENCE, Verdict

REPLICATES = 2000
MEASURES = ("supported", "contradicted", "not in the chart", "own", "grounded")


@dataclass(frozen=True)
class Counted:
    """What one student wrote, counted by stay.

    Attributes:
        kind: of rationale.
        parts: measure -> [n] what is counted.
        wholes: measure -> [n] of how many.
        distinct: number of different texts.
        words: mean length.
    """

    kind: str
    parts: dict[str, np.ndarray]
    wholes: dict[str, np.ndarray]
    distinct: int
    words: float


def predicted(run: Path, cohort: Path, out: Path, limit: int | None) -> Predictions:
    """Free predictions of the first held-out stays, kept from an earlier call if they are there."""
    if not out.exists():
        trained = TrainedModel.load(run)
        write_predictions(
            trained, Cohort.load(cohort), Prediction(decoding="free", limit=limit), out, Console(stderr=True)
        )
    return load_predictions(out)


def counted(predictions: Predictions, cohort: Cohort, graph: object) -> list[Counted]:
    """The claims of each kind of rationale."""
    truth = load_truth(predictions, cohort)
    claims = faithfulness.check(predictions, truth, graph)  # type: ignore[arg-type]
    listed = predictions.system.listed.sum(1)
    rows = []
    for kind in RATIONALE_KINDS:
        texts = [predictions.rationales(row)[kind] for row in range(len(claims))]
        often = Counter(texts)
        made = [
            [claim.standing for claim in of[kind] if claim.kind != "diagnosis" and claim.standing != ABSENCE]
            for of in claims
        ]
        total = np.array([len(each) for each in made])
        parts = {str(verdict): np.array([each.count(verdict) for each in made]) for verdict in Verdict}
        parts["own"] = parts["supported"] * np.array([often[text] == 1 for text in texts])
        alone = [{"note": [], "series": [], kind: of[kind]} for of in claims]
        parts["grounded"] = faithfulness.grounded(predictions, alone).sum(1)  # type: ignore[arg-type]
        wholes = dict.fromkeys(MEASURES, total) | {"grounded": listed}
        rows.append(Counted(kind, parts, wholes, len(often), float(np.mean([len(text.split()) for text in texts]))))
    return rows


def cell(value: Interval) -> str:
    """A share with its interval, as printed."""
    if value["value"] is None:
        return "-"
    return with_interval(value)


def difference(weights: np.ndarray, before: Counted, after: Counted, measure: str) -> str:
    """After minus before, over the same draws of patients."""
    shares = []
    for one in (before, after):
        part, whole = weights @ one.parts[measure].astype(float), weights @ one.wholes[measure].astype(float)
        shares.append(np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0))
    gaps = shares[1] - shares[0]
    found = interval(float(gaps[0]), gaps[1:])
    return "-" if found["value"] is None else with_interval(found, sign="+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parent", type=Path, required=True, help="run folder of stage multimodal")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="runs, samples and predictions, kept")
    parser.add_argument("--methods", nargs="*", default=["both"], choices=("rft", "dpo", "both"))
    parser.add_argument("--limit", type=int, help="only the first held-out stays")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], help="setting, as stage.refine.samples=8"
    )
    parser.add_argument("--examples", type=int, default=2, help="texts of each student to print")
    args = parser.parse_args()
    quiet_libraries()
    args.out.mkdir(parents=True, exist_ok=True)
    students = {"before": args.parent}
    for method in args.methods:
        settings = [
            f"stage.refine.method={method}",
            f"stage.refine.journal={args.out / 'samples.jsonl'}",
            *args.settings,
        ]
        run = clinragen.train(
            "refine", args.cohort, args.out / method, parent=args.parent, set=settings, finish=True, progress=True
        )
        assert run is not None
        print(method, run.manifest.to_json()["refined"], run.best)
        students[method] = run.folder
    cohort, graph = Cohort.load(args.cohort), TrainedModel.load(args.parent).model.graph
    written = {
        name: predicted(run, args.cohort, args.out / f"free-{name}", args.limit) for name, run in students.items()
    }
    counts = {name: counted(predictions, cohort, graph) for name, predictions in written.items()}
    patients = load_truth(written["before"], cohort).stays["subject_id"].to_numpy()
    weights = np.array([np.ones(len(patients)), *patient_bootstrap(patients, REPLICATES, 0)])
    for position, kind in enumerate(RATIONALE_KINDS):
        table = Table(title=f"{kind} rationales of {len(patients)} held-out stays of {len(set(patients))} patients")
        for heading in ("student", "claims", *MEASURES, "texts", "words"):
            table.add_column(heading, justify="left" if heading == "student" else "right")
        for name, rows in counts.items():
            one = rows[position]
            shares = [cell(ratio_interval(weights, one.parts[each], one.wholes[each])) for each in MEASURES]
            claims = str(int(one.wholes["supported"].sum()))
            table.add_row(name, claims, *shares, str(one.distinct), f"{one.words:.1f}")
            if name != "before":
                gaps = [difference(weights, counts["before"][position], one, each) for each in MEASURES]
                table.add_row(f"{name} - before", "", *gaps, "", "")
        Console(width=190).print(table)
    for row in range(min(args.examples, len(patients))):
        for name, predictions in written.items():
            print(f"{name}: {' | '.join(predictions.rationales(row).values())}")


if __name__ == "__main__":
    main()
