"""Preparation of cohorts from raw tables, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import SettingsLike, overrides

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort


def prepare(
    raw: str | Path,
    out: str | Path,
    *,
    source: str | None = None,
    protocol: str | Path = "admission",
    set: SettingsLike = (),
    codes: str | Path = "default",
    options: Mapping[str, str | Path] | None = None,
    variables: str | Path | Sequence[str | Path] = (),
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Cohort:
    """Prepare a cohort folder from raw tables; an existing cohort of the same tables and settings is kept.

    Args:
        raw: folder of the raw tables, or a database of them: the path of a DuckDB file, or the URL of PostgreSQL.
        out: cohort folder to write.
        source: the command of a source, such as mimic-iv, meds or fhir; by default recognised from the tables.
        protocol: admission (only what was known), paper (retrospective), or a YAML file.
        set: keys of the protocol to override, as ``{"window.hours": 24}``.
        codes: for MEDS and FHIR: the meaning of codes, a name in ``configs/meds`` or a YAML file.
        options: further options of a source by name, such as ``{"zone": "Europe/Berlin"}`` of FHIR.
        variables: variables beside those of the catalogue: a YAML file, a shipped name, or several of them.
        workers: number of parsing threads; all cores by default.
        overwrite: replace another cohort that ``out`` holds.
        progress: show a bar on standard error.

    Raises:
        UserError: raw tables, protocol or settings that cannot be used, or a folder that may not be written.
    """
    from clinragen.cohort.folder import Cohort
    from mimic_prep.prepare import prepare as prepare_folder

    prepare_folder(
        raw,
        Path(out),
        source=source,
        protocol=str(protocol),
        settings=overrides(set),
        options={"codes": str(codes), **{name: str(value) for name, value in (options or {}).items()}},
        variables=[str(name) for name in ([variables] if isinstance(variables, str | Path) else variables)],
        workers=workers,
        overwrite=overwrite,
        progress=progress,
    )
    return Cohort.load(out)
