"""Diagnosis: which labels of the cohort's label set the hospital stay was coded with. Every stay is eligible."""

from __future__ import annotations

from clinragen.tasks import ListWording, Task

TASK = Task(
    name="diagnosis",
    summary="Which diagnoses was the hospital stay coded with?",
    label_set=lambda cohort: cohort.label_set,
    table=lambda cohort: cohort.labels,
    available=lambda cohort: cohort.labelled,
    wording=ListWording("Diagnoses", "none of the listed phenotypes"),
    argued=True,
    panel="By phenotype",
)
