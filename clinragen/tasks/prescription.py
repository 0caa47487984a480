"""Prescription: which classes of drugs are first started within 24 hours of the prediction time.

Asked of patients in intensive care and alive for whom some drug had been ordered before: a stay without any order is of
a hospital whose orders are not in the data. A class that was ordered or started before is null: to copy what is in
force is no prediction.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from clinragen.label_sets import LabelSet, Phenotype
from clinragen.tasks import ListWording, Task, in_intensive_care

if TYPE_CHECKING:
    import polars as pl

    from clinragen.cohort.folder import Cohort

HOURS = 24
#: Classes of supplies and of what carries or follows a drug: no treatments.
NO_TREATMENT = ("supply", "diluent", "line_flush", "contrast_diagnostic")


@cache
def treatments() -> dict[str, str]:
    """The classes of drugs that treat: key -> readable name."""
    from clinragen.drugs import drug_classes

    return {key: name for key, name in drug_classes().items() if key not in NO_TREATMENT}


@cache
def labels() -> LabelSet:
    """The classes of drugs."""
    return LabelSet("drug classes", tuple(Phenotype(key, name.lower()) for key, name in treatments().items()))


def table(cohort: Cohort) -> pl.DataFrame:
    """stay_id and one column for each class: whether it was first started, null where it had been ordered before."""
    import polars as pl

    from clinragen.cohort.orders import already_ordered, new_starts, readable

    before = already_ordered(cohort)
    some = readable(cohort).filter(pl.col("kind") == "order")["stay_id"].unique()
    stays = in_intensive_care(cohort).select(
        "stay_id", eligible=pl.col("eligible") & pl.col("stay_id").is_in(some.implode())
    )
    new = _wide(new_starts(cohort, HOURS), stays["stay_id"])
    old = _wide(before, stays["stay_id"])
    values = {key: pl.when(stays["eligible"] & ~old[key]).then(new[key]).alias(key) for key in labels()}
    return stays.select("stay_id", *values.values())


def _wide(rows: pl.DataFrame, stay_ids: pl.Series) -> pl.DataFrame:
    """One boolean column for each class, a row for each stay, in their order."""
    import polars as pl

    classes = rows.group_by("stay_id").agg("drug_class")
    wide = stay_ids.to_frame().join(classes, on="stay_id", how="left", maintain_order="left")
    listed = pl.col("drug_class").list
    return wide.select(listed.contains(key).fill_null(False).alias(key) for key in labels())


TASK = Task(
    name="prescription",
    summary="Which classes of drugs will be started in the next 24 hours?",
    label_set=lambda cohort: labels(),
    table=table,
    available=lambda cohort: cohort.ordered,
    wording=ListWording("New drugs", "no further class"),
    panel="By class of drugs",
)
