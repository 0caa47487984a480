"""What each table of eICU is worth: linear probes on note and series with and without it, on validation stays.

    python benchmarks/eicu_sources.py --raw PATH/TO/eicu-demo --out outputs/eicu_table

On the five splits of `eicu_table.py`, whose cohorts are used if they are there. Two ridge regressions, as the model
fits them beside its network (terms of the note, binned summaries of the series), are added with fitted gains. No
held-out stay is looked at. Rows that start with + add a table, entered before the prediction time, to what is read now;
those of APACHE hold the worst values of the first day. The disorder of treatments is not read: it names the labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from eicu_table import SHARES, prepare
from printed_tables import Console, with_interval
from rich.table import Table

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import note_text, sections_by_stay
from clinragen.cohort.window import training_window
from clinragen.data.lexicon import Lexicon
from clinragen.data.series import SeriesStatistics, grid, observed_variables, summarise
from clinragen.evaluation.diagnosis import METRICS, System, bootstrap, interval
from clinragen.model.series_encoder import PiecewiseLinear
from clinragen.quiet import quiet_libraries
from clinragen.stages.ensemble import PENALTIES, fuse
from clinragen.stages.logistic import Features, fit_logistic

HISTORY = ("aids", "hepaticfailure", "lymphoma", "metastaticcancer", "leukemia", "immunosuppression", "cirrhosis")
FIRST_DAY = ("electivesurgery", "activetx", "midur", "thrombolytics", "ima", "oobventday1", "oobintubday1", "ventday1")
PHYSIOLOGY_BINS = 6


@dataclass(frozen=True)
class Source:
    """The cohort of one split and the raw tables beside it."""

    cohort: Cohort
    raw: Path
    treated: Cohort

    @property
    def stay_ids(self) -> np.ndarray:
        return self.cohort.stays["stay_id"].sort().to_numpy()

    def table(self, name: str, offset: str | None = None) -> pl.DataFrame:
        """Rows of a raw table for stays of the cohort, with ``offset`` before the prediction time."""
        rows = pl.read_csv(self.raw / f"{name}.csv.gz", infer_schema_length=None)
        minutes = (pl.col("prediction_time") - pl.col("intime")).dt.total_minutes()
        limits = self.cohort.stays.select(patientunitstayid="stay_id", limit=minutes)
        rows = rows.join(limits, on="patientunitstayid")
        return rows.filter(pl.col(offset) < pl.col("limit")) if offset else rows

    def notes(self, *, treatments: bool = True) -> list[str]:
        """The text of each stay as models read it, perhaps without its treatments."""
        notes = self.cohort.notes
        sections = sections_by_stay(notes if treatments else notes.filter(pl.col("section") != "treatments"))
        return [note_text(sections.get(int(stay), [])) for stay in self.stay_ids]

    def listed(self, rows: pl.DataFrame, entry: pl.Expr, title: str) -> list[str]:
        """Distinct entries of each stay as one text."""
        found = rows.select("patientunitstayid", entry=entry).drop_nulls().unique().sort("patientunitstayid", "entry")
        texts = dict(found.group_by("patientunitstayid").agg(pl.col("entry").str.join("; ")).iter_rows())
        return [f"{title}: {texts[stay]}.\n" if stay in texts else "" for stay in self.stay_ids.tolist()]


def treatments(part: Callable[[pl.Expr], pl.Expr]) -> Callable[[Source], list[str]]:
    """Notes with another part of the paths of treatments."""

    def texts(source: Source) -> list[str]:
        entry = part(pl.col("treatmentstring"))
        return _joined(
            source.notes(treatments=False),
            source.listed(source.table("treatment", "treatmentoffset"), entry, "Treatments"),
        )

    return texts


def infusions(source: Source) -> list[str]:
    name = pl.col("drugname").str.to_lowercase().str.replace_all(r"\(.*?\)|volume", "").str.strip_chars()
    return _joined(source.notes(), source.listed(source.table("infusiondrug", "infusionoffset"), name, "Infusions"))


def age(source: Source) -> list[str]:
    """With words for the tens of the age, which the note states as a number."""
    tens = [
        [f"over{ten}" for ten in range(30, 100, 10) if years >= ten]
        for years in source.cohort.stays.sort("stay_id")["age"]
    ]
    return _joined(source.notes(), [" ".join(words) for words in tens])


def cultures(source: Source) -> list[str]:
    rows = source.table("microlab", "culturetakenoffset")
    return _joined(source.notes(), source.listed(rows, pl.col("culturesite"), "Cultures"))


def apache_history(source: Source) -> list[str]:
    flags = source.table("apachepredvar").unpivot(
        [*HISTORY, *FIRST_DAY], index="patientunitstayid", variable_name="flag"
    )
    return _joined(source.notes(), source.listed(flags.filter(pl.col("value") == 1), pl.col("flag"), "First day"))


def physiology(source: Source, train: np.ndarray) -> np.ndarray:
    """Worst values of the first day, binned by quantiles of the training stays, [n, features]."""
    rows = source.table("apacheapsvar").drop("apacheapsvarid", "limit")
    values = pl.DataFrame({"patientunitstayid": source.stay_ids}).join(
        rows, on="patientunitstayid", how="left", maintain_order="left"
    )
    columns = []
    for name in values.columns[1:]:
        cells = values[name].cast(pl.Float64).to_numpy()
        missing = np.isnan(cells) | (cells < 0)  # -1 stands for no value
        edges = np.quantile(cells[train & ~missing], np.linspace(0, 1, PHYSIOLOGY_BINS + 1))
        width = np.maximum(edges[1:] - edges[:-1], 1e-9)
        filled = ((cells[:, None] - edges[:-1]) / width).clip(0, 1)
        columns += [np.where(missing[:, None], 0, filled), missing[:, None]]
    return np.hstack(columns).astype(np.float32)


@dataclass(frozen=True)
class Row:
    """What is read: ``texts`` of each stay, variables charted in ``min_share`` of them, and further ``columns``."""

    texts: Callable[[Source], list[str]] = Source.notes
    min_share: float = 0.1
    columns: Callable[[Source, np.ndarray], np.ndarray] | None = None
    rates: bool = False  # also the variables of --variables treatments that 1 % of the stays have


RARE = 0.01
NOW = "as read now"
ROWS = {
    NOW: Row(),
    "no treatments": Row(lambda source: source.notes(treatments=False)),
    "treatments by name only": Row(treatments(lambda path: path.str.split("|").list.last())),
    "treatments with their disorder": Row(treatments(lambda path: path.str.replace_all("|", ": ", literal=True))),
    "+ tens of the age": Row(age),
    "+ infusionDrug": Row(infusions),
    "+ microLab, cultures taken": Row(cultures),
    "+ apachePredVar, history and ventilation": Row(apache_history),
    "+ apacheApsVar, physiology": Row(columns=physiology),
    "+ variables charted in 2 to 10 % of stays": Row(min_share=0.02),
    "+ rates of infusions as variables": Row(rates=True),
    "no treatments, + rates of infusions": Row(lambda source: source.notes(treatments=False), rates=True),
}


def probabilities(source: Source, row: Row) -> np.ndarray:
    """Of the validation stays, [n, L]."""
    cohort = source.cohort
    split = cohort.stays.sort("stay_id")["split"].to_numpy()
    train, validation = split == "train", split == "validation"
    labels = cohort.label_matrix(source.stay_ids).astype(np.float32)
    texts = row.texts(source)
    lexicon = Lexicon.fit([text for text, fits in zip(texts, train, strict=True) if fits], 20_000)
    window = training_window(None, cohort)
    variables = observed_variables(cohort, source.stay_ids[train], row.min_share, window)
    if row.rates:
        cohort = source.treated
        often = observed_variables(cohort, source.stay_ids[train], RARE, window)
        variables += [name for name in often if name in cohort.added.rows]
    values = grid(cohort, source.stay_ids, variables, window)
    statistics = SeriesStatistics.fit(values[train], variables, 6, window)
    summaries = summarise(*map(torch.from_numpy, statistics.standardise(values)))
    series = PiecewiseLinear(statistics)(summaries).flatten(1).numpy()
    if row.columns:
        series = np.hstack([series, row.columns(source, train)])
    parts = []
    for name, matrix in (("note", lexicon.encode(texts)), ("series", series)):
        training, fitted = Features(matrix[train]), None
        tried = []
        for penalty in PENALTIES[name]:
            fitted = fit_logistic(training, labels[train], penalty, fitted)
            logits = np.asarray(matrix[validation] @ fitted[:-1]) + fitted[-1]
            loss = np.mean(np.logaddexp(0, logits) - labels[validation] * logits)
            tried.append((loss, logits))
        parts.append(min(tried, key=lambda one: one[0])[1])
    logits = np.tensordot(fuse(np.stack(parts).astype(float), labels[validation]), np.stack(parts), axes=1)
    return 1 / (1 + np.exp(-logits))


def _joined(texts: list[str], more: list[str]) -> list[str]:
    return [text + added for text, added in zip(texts, more, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the folder of the eICU demo")
    parser.add_argument("--out", type=Path, required=True, help="the folder of eicu_table.py")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--row", action="append", choices=ROWS, help="only these rows; may be repeated")
    args = parser.parse_args()
    quiet_libraries()
    rows = [name for name in ROWS if name == NOW or not args.row or name in args.row]
    found: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in rows}
    for number in range(1, args.splits + 1):
        out = args.out / "default" / f"split{number}"
        cohort = Cohort.load(prepare(args.raw, out, f"split{number}", diagnosis=False))
        shares = [f"splits.salt=split{number}", *SHARES]
        treated = clinragen.prepare(
            args.raw, out / "treated", source="eicu", set=shares, variables="treatments", overwrite=True
        )
        source = Source(cohort, args.raw, treated)
        held = source.cohort.stays.sort("stay_id").filter(pl.col("split") == "validation")
        gold = source.cohort.label_matrix(held["stay_id"].to_numpy()).astype(bool)
        none = np.full(gold.shape[1], 0.5)
        systems = {name: System(probabilities(source, ROWS[name]), none) for name in rows}
        drawn = bootstrap(gold, systems, held["subject_id"].to_numpy(), replicates=300, seed=number)
        for name, scores in drawn.items():
            place = METRICS.index("macro_auroc")
            found[name].append((float(scores.value[place]), scores.replicates[:, place]))
    table = Table(title=f"eICU demo, linear probes on validation stays, mean over {args.splits} splits")
    for heading in ("read", "macro AUROC", f"difference to {NOW}"):
        table.add_column(heading)
    means = {
        name: (np.mean([one[0] for one in parts]), np.mean([one[1] for one in parts], axis=0))
        for name, parts in found.items()
    }
    for name, (value, replicates) in means.items():
        cells = [(value, replicates), (value - means[NOW][0], replicates - means[NOW][1])]
        shown = [interval(float(number), drawn) for number, drawn in cells]
        texts = [with_interval(one, digits=4) for one in shown]
        table.add_row(name, texts[0], "" if name == NOW else texts[1])
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
