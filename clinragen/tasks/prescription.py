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

    from clinragen.cohort.orders import already_ordered, by_class, new_starts, readable

    some = readable(cohort).filter(pl.col("kind") == "order")["stay_id"].unique()
    stays = in_intensive_care(cohort).select(
        "stay_id", eligible=pl.col("eligible") & pl.col("stay_id").is_in(some.implode())
    )
    ids, keys = stays["stay_id"].to_numpy(), list(labels())
    new, old = (by_class(rows, ids, keys) for rows in (new_starts(cohort, HOURS), already_ordered(cohort)))
    values = (
        pl.when(stays["eligible"] & ~pl.Series(old[:, column])).then(pl.Series(new[:, column])).alias(key)
        for column, key in enumerate(keys)
    )
    return stays.select("stay_id", *values)


TASK = Task(
    name="prescription",
    summary="Which classes of drugs will be started in the next 24 hours?",
    label_set=lambda cohort: labels(),
    table=table,
    available=lambda cohort: cohort.ordered,
    wording=ListWording("New drugs", "no further class"),
    panel="By class of drugs",
)
