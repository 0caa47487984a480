"""Checks of whole rows: file hashes, patients in splits, times, label prevalence, outcomes."""

from __future__ import annotations

import polars as pl

from clinragen.artifacts import sha256_file
from clinragen.schema import SPLITS
from mimic_prep.audit.check import Check, Field, Status, plural
from mimic_prep.audit.cohort_tables import CohortTables

FEW = 5  # positives of a label in a split below which its metrics are unreliable


def files(tables: CohortTables) -> Check:
    """Files of the cohort against the hashes in its manifest."""
    outputs: dict[str, str] = tables.manifest.get("outputs", {})
    states = []
    for name, recorded in sorted(outputs.items()):
        path = tables.paths.root / name
        state = "as prepared" if path.is_file() and sha256_file(path) == recorded else "changed or missing"
        states.append({"file": name, "state": state, "flagged": state != "as prepared"})
    changed = sum(row["flagged"] for row in states)
    says = "All files are as prepared." if states else "The manifest holds no hashes: nothing can be said."
    if changed:
        says = f"{plural(changed, 'file')} changed since preparation: figures made from it cannot be traced."
    return Check(
        "files", "Files are as prepared", "SHA-256 of each file against the manifest.",
        "warning" if changed or not states else "pass", says, (Field("file", "File"), Field("state", "State")),
        states,
    )  # fmt: skip


def patients(tables: CohortTables) -> Check:
    """Patients with stays in more than one split: a leak."""
    with_patient = tables.stays.drop_nulls("subject_id")
    unnamed = tables.stays.height - with_patient.height
    spread = (
        with_patient.group_by("subject_id").agg(pl.col("split").unique().sort()).filter(pl.col("split").list.len() > 1)
    )
    pairs = spread.with_columns(pl.col("split").list.join(", "))["split"].value_counts().sort("split")
    spread_rows = [{"splits": splits, "patients": count, "flagged": True} for splits, count in pairs.iter_rows()]
    total = with_patient["subject_id"].n_unique()
    says = f"Each of {plural(total, 'patient')} lies in one split."
    if spread_rows:
        says = f"{plural(spread.height, 'patient')} of {total:,} lie in more than one split: a model sees them twice."
    if unnamed:
        says += f" {plural(unnamed, 'stay')} without a patient: whose they are cannot be told."
    status: Status = "leak" if spread_rows else "warning" if unnamed else "pass"
    return Check(
        "patients", "Splits share no patient", "A patient with stays in two splits is known before the test.",
        status, says, (Field("splits", "Splits"), Field("patients", "Patients", "count")), spread_rows,
    )  # fmt: skip


def times(tables: CohortTables) -> Check:
    """Measurements and notes dated at or after the prediction time of their stay, and wrong prediction times."""
    spans = tables.stays.select(
        "stay_id",
        "prediction_time",
        limit=(pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / 3_600_000,
    )
    late = tables.series.join(spans.lazy(), on="stay_id").filter(pl.col("hour").cast(pl.Float64) >= pl.col("limit"))
    counted = late.select(pl.len().alias("rows"), pl.col("stay_id").n_unique().alias("stays")).collect(
        engine="streaming"
    )
    late_rows = [{"what": "measurement", "section": "", "rows": counted["rows"][0], "stays": counted["stays"][0]}]
    notes = tables.notes.select("stay_id", "section", "time").join(spans, on="stay_id")
    notes = notes.filter(pl.col("time") >= pl.col("prediction_time"))
    by_section = notes.group_by("section").agg(pl.len(), pl.col("stay_id").n_unique().alias("stays")).sort("section")
    late_rows += [
        {"what": "note", "section": section, "rows": rows, "stays": stays}
        for section, rows, stays in by_section.iter_rows()
    ]
    undated = tables.notes.filter(pl.col("time").is_null())
    late_rows.append(
        {"what": "note without a time", "section": "", "rows": undated.height, "stays": undated["stay_id"].n_unique()}
    )
    beyond = tables.stays.filter(
        pl.col("prediction_time").is_null()
        | pl.col("intime").is_null()
        | (pl.col("prediction_time") > pl.col("outtime"))
    )
    late_rows.append(
        {
            "what": "admission or prediction time missing, or prediction after discharge",
            "section": "",
            "rows": beyond.height,
            "stays": beyond.height,
        }
    )
    late_rows = [{**row, "flagged": True} for row in late_rows if row["rows"]]
    says = "No measurement and no note is dated at or after its stay's prediction time."
    if late_rows:
        late_count = sum(row["rows"] for row in late_rows)
        says = f"{plural(late_count, 'row')} could not have been known when the prediction is made."
        if (tables.manifest.get("protocol") or {}).get("retrospective"):
            says += " The protocol is retrospective: its figures hold for comparison only."
    columns = (
        Field("what", "What"), Field("section", "Section"), Field("rows", "Rows", "count"),
        Field("stays", "Stays", "count"),
    )  # fmt: skip
    return Check(
        "times", "Nothing is later than the prediction time", "Measurements and notes from the future of their stay.",
        "leak" if late_rows else "pass", says, columns, late_rows,
    )  # fmt: skip


def prevalence(tables: CohortTables) -> Check:
    """Number of positive stays of each label in each split."""
    if tables.labels is None:
        says = "The cohort has no labels: it serves pretraining, predictions and reports."
        return Check("prevalence", "Labels occur in every split", "Stays that carry each label.", "note", says)
    splits = [name for name in SPLITS if name in set(tables.stays["split"])]
    carried = tables.labels.join(tables.stays.select("stay_id", "split"), on="stay_id")
    labels = tables.cohort.label_set
    counts = carried.group_by("split").agg(pl.len(), pl.col(list(labels)).sum())
    of_split = {row["split"]: row for row in counts.iter_rows(named=True)}
    label_rows, thin = [], 0
    for key, phenotype in labels.items():
        row: dict[str, object] = {"phenotype": phenotype.name}
        few = False
        for split in splits:
            positive, total = of_split[split][key], of_split[split]["len"]
            row[f"{split}_stays"] = positive
            row[split] = positive / total
            few |= positive < FEW or total - positive < FEW
        thin += few
        label_rows.append({**row, "flagged": few})
    absent = [name for name in SPLITS if name not in splits]
    status: Status = "warning" if absent else "note" if thin else "pass"
    says = f"Every label has at least {FEW} stays with it and without it in each split."
    if thin:
        says = (
            f"{plural(thin, 'label')} with fewer than {FEW} stays that carry it, or lack it, in some split: "
            "read the figures with care."
        )
    if absent:
        says = f"Splits without any stay: {', '.join(absent)}. {says}"
    columns = [Field("phenotype", "Label")]
    for split in splits:
        columns += [Field(f"{split}_stays", split.capitalize(), "count"), Field(split, "share", "share")]
    return Check(
        "prevalence", "Labels occur in every split", "Stays that carry each label, by split.",
        status, says, tuple(columns), label_rows,
    )  # fmt: skip


def outcomes(tables: CohortTables) -> Check:
    """Outcomes that contradict each other or their stay, and the number of stays with one."""
    title, asks = "Outcomes fit their stays", "Deaths and discharges that cannot be true of the stay they belong to."
    if tables.outcomes is None:
        says = "The cohort has no outcomes: tasks such as mortality cannot be made of it."
        return Check("outcomes", title, asks, "note", says)
    both = tables.outcomes.join(tables.stays, on="stay_id")
    died, death, out = pl.col("died_in_hospital"), pl.col("death_time"), pl.col("hospital_outtime")
    contradictions = {
        "time of death of a stay that was survived": death.is_not_null() & ~died,
        "death before the stay": death < pl.col("intime"),
        "hospital discharge before the stay": out < pl.col("intime"),
    }
    contradicted = [
        {"what": what, "stays": int(both.select(condition.fill_null(False).sum()).item()), "flagged": True}
        for what, condition in contradictions.items()
    ]
    contradicted = [row for row in contradicted if row["stays"]]
    deaths, decided = int(both["died_in_hospital"].sum()), both["died_in_hospital"].count()
    says = f"{plural(deaths, 'death')} in hospital among {plural(decided, 'stay')} of which it is known"
    says += f"; of {plural(both.height - decided, 'stay')} it is not." if decided < both.height else "."
    if contradicted:
        says = f"{plural(sum(row['stays'] for row in contradicted), 'outcome')} cannot be true. {says}"
    status: Status = "warning" if contradicted else "pass"
    columns = (Field("what", "What"), Field("stays", "Stays", "count"))
    return Check("outcomes", title, asks, status, says, columns, contradicted)
