"""``mimic-prep mimic-iv``: prepare a cohort from MIMIC-IV 2.2 to 3.1."""

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
    """Prepare a cohort from MIMIC-IV 2.2 to 3.1.

    Args:
        raw: The folder with hosp/ and icu/, and note/ of MIMIC-IV-Note where you have it.
    """
    from mimic_prep.prepare import prepare

    manifest = prepare(
        raw,
        out,
        source="mimic-iv",
        protocol=protocol,
        settings=settings,
        workers=workers,
        overwrite=overwrite,
        progress=True,
    )
    show_cohort(manifest, out, as_json)
