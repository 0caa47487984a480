"""``mimic-prep synthesize``: write a synthetic hospital as raw MIMIC-IV tables."""

from __future__ import annotations

from clinragen.command_line import answer
from clinragen.options import AsJson, MaybeWholeNumber, Number, Out, Overwrite, Seed, WholeNumber


def command(
    *,
    patients: WholeNumber,
    seed: Seed = 0,
    sites: WholeNumber = 1,
    drift: Number = 0.0,
    recoding: Number = 0.0,
    site_drift: Number = 0.0,
    out: Out,
    workers: MaybeWholeNumber = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a synthetic hospital in raw MIMIC-IV tables, with its ground truth.

    Args:
        patients: Number of patients.
        seed: The same seed gives the same bytes.
        sites: Hospitals that differ in patients, charting and notes; truth/sites.json says in what.
        drift: Change of patients and charting over the years; 0: none, 1: clear.
        recoding: Share of the admissions since a new rule of coding in which two conditions have each other's codes.
        site_drift: How far coding and charting lag of the hospitals lie apart; 0: not at all, 1: clear.
        workers: Processes. Default: one per core.
    """
    from mimic_prep.synthetic.write import synthesize

    counts = synthesize(
        patients, seed, out, sites=sites, drift=drift, recoding=recoding, site_drift=site_drift, workers=workers,
        overwrite=overwrite,
    )  # fmt: skip
    stays, rows = counts["icu/icustays"], sum(counts.values())
    answer(
        f"{out}: {patients} patients, {stays} stays in intensive care, {rows:,} rows; ground truth in truth/",
        {"out": out, "patients": patients, "stays": stays, "rows": counts},
        as_json,
    )
