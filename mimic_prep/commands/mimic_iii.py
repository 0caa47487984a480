"""``mimic-prep mimic-iii``: prepare a cohort from MIMIC-III 1.4."""

from __future__ import annotations

from clinragen.options import AsJson, Overwrite
from mimic_prep.commands._options import CORES, CohortOut, ProtocolName, ProtocolSettings, Raw, Workers, show_cohort


def command(
    *,
    raw: Raw,
    out: CohortOut,
    protocol: ProtocolName = "admission",
    settings: ProtocolSettings = (),
    workers: Workers = CORES,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a cohort from MIMIC-III 1.4.

    Args:
        raw: The folder with the tables, such as CHARTEVENTS.csv.gz.
    """
    from mimic_prep.prepare import prepare

    manifest = prepare(
        raw,
        out,
        source="mimic-iii",
        protocol=protocol,
        settings=settings,
        workers=workers,
        overwrite=overwrite,
        progress=True,
    )
    show_cohort(manifest, out, as_json)
