"""``mimic-prep meds``: prepare a cohort from a MEDS dataset."""

from __future__ import annotations

from clinragen.options import AsJson, Overwrite
from mimic_prep.commands._options import CORES, CohortOut, ProtocolName, ProtocolSettings, Raw, Workers, show_cohort


def command(
    *,
    raw: Raw,
    out: CohortOut,
    protocol: ProtocolName = "admission",
    settings: ProtocolSettings = (),
    codes: str = "default",
    workers: Workers = CORES,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a cohort from a MEDS dataset.

    Args:
        raw: The folder of the dataset, with data/ and metadata/.
        codes: What the codes mean: a name in configs/meds, or a YAML file.
    """
    from mimic_prep.prepare import prepare

    manifest = prepare(
        raw,
        out,
        source="meds",
        protocol=protocol,
        settings=settings,
        codes=codes,
        workers=workers,
        overwrite=overwrite,
        progress=True,
    )
    show_cohort(manifest, out, as_json)
