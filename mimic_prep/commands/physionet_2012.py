"""``mimic-prep physionet-2012``: prepare unlabelled stays to pretrain the series encoder."""

from __future__ import annotations

from clinragen.command_line import answer
from clinragen.options import AsJson, Overwrite
from mimic_prep.commands._options import CohortOut, Raw


def command(*, raw: Raw, out: CohortOut, overwrite: Overwrite = False, as_json: AsJson = False) -> None:
    """Prepare unlabelled stays of the PhysioNet Challenge 2012, to pretrain the series encoder.

    Args:
        raw: The folder with set-a, set-b, set-c.
    """
    from mimic_prep.prepare import prepare

    counts = prepare(raw, out, source="physionet-2012", overwrite=overwrite)["rows"]
    answer(
        f"{out}: {counts['stays']:,} stays, {counts['measurements']:,} measurements", {"out": out, **counts}, as_json
    )
